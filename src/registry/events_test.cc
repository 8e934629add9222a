// The queue of asynchronous events.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry/registry.h"
#include "registry/registry_for_tests.h"

namespace snapfaas::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EventsTest : public RegistryFixture {
 protected:
  void SetUp() override {
    RegistryFixture::SetUp();
    Deploy("f");
  }

  EventId Add(const std::string& request_id, int64_t now_ms) {
    const auto added = registry().AddEvent({"f", "live", request_id, "{\"n\":1}", "{\"c\":2}"}, now_ms);
    EXPECT_TRUE(added);
    return *added;
  }

  // Request ids.
  std::vector<std::string> Claim(int64_t now_ms, size_t limit = 100) {
    std::vector<std::string> ids;
    const auto claimed = registry().ClaimDueEvents(now_ms, limit);
    EXPECT_TRUE(claimed);
    for (const auto& event : *claimed) ids.push_back(event.what.request_id);
    return ids;
  }
};

TEST_F(EventsTest, AnEventComesBackAsItWas) {
  const auto id = Add("r", 1000);
  const auto claimed = registry().ClaimDueEvents(1000, 10);
  ASSERT_THAT(*claimed, SizeIs(1));
  const Event& event = claimed->front();
  EXPECT_EQ(event.id, id);
  EXPECT_EQ(event.what.function, "f");
  EXPECT_EQ(event.what.qualifier, "live");
  EXPECT_EQ(event.what.request_id, "r");
  EXPECT_EQ(event.what.payload, "{\"n\":1}");
  EXPECT_EQ(event.what.client_context, "{\"c\":2}");
  EXPECT_EQ(event.attempts, 0U);
  EXPECT_EQ(event.accepted_unix_ms, 1000);
}

TEST_F(EventsTest, PayloadsAreBytes) {
  const std::string payload("\"a\0b\xff\"", 6);
  ASSERT_TRUE(registry().AddEvent({"f", "", "r", payload, ""}, 0));
  EXPECT_EQ(registry().ClaimDueEvents(0, 1)->front().what.payload, payload);
}

TEST_F(EventsTest, TheOldestDueComeFirst) {
  Add("b", 20);
  Add("a", 10);
  Add("c", 30);
  Add("later", 100);
  EXPECT_THAT(Claim(50, 2), ElementsAre("a", "b"));
  EXPECT_THAT(Claim(50, 2), ElementsAre("c"));
  EXPECT_THAT(Claim(50), IsEmpty());
}

TEST_F(EventsTest, AClaimedEventIsNobodyElses) {
  const auto id = Add("r", 10);
  EXPECT_THAT(Claim(10), SizeIs(1));
  EXPECT_THAT(Claim(10), IsEmpty());
  EXPECT_EQ(*registry().NextEventDue(), std::nullopt);
  EXPECT_EQ(*registry().CountEvents(), 1U);
  ASSERT_TRUE(registry().EventDone(id));
  EXPECT_EQ(*registry().CountEvents(), 0U);
}

TEST_F(EventsTest, ARetryCountsAPostponementDoesNot) {
  const auto id = Add("r", 10);
  Claim(10);
  ASSERT_TRUE(registry().RetryEventAt(id, 500));
  EXPECT_EQ(*registry().NextEventDue(), 500);
  EXPECT_THAT(Claim(499), IsEmpty());
  auto claimed = registry().ClaimDueEvents(500, 1);
  ASSERT_THAT(*claimed, SizeIs(1));
  EXPECT_EQ(claimed->front().attempts, 1U);
  EXPECT_EQ(claimed->front().accepted_unix_ms, 10);
  ASSERT_TRUE(registry().PostponeEvent(id, 700));
  claimed = registry().ClaimDueEvents(700, 1);
  ASSERT_THAT(*claimed, SizeIs(1));
  EXPECT_EQ(claimed->front().attempts, 1U);
}

TEST_F(EventsTest, AfterACrashWhatWasClaimedIsDueAgain) {
  Add("running", 10);
  const auto failed = Add("failed", 10);
  const auto done = Add("done", 10);
  EXPECT_THAT(Claim(10), SizeIs(3));
  ASSERT_TRUE(registry().RetryEventAt(failed, 1000));
  ASSERT_TRUE(registry().EventDone(done));
  Add("new", 20);
  CrashAndOpen();
  EXPECT_THAT(Claim(20), ElementsAre("running", "new"));
  EXPECT_THAT(Claim(1000), ElementsAre("failed"));
}

TEST_F(EventsTest, AFollowUpTakesItsPlace) {
  Deploy("target");
  const auto id = Add("r", 10);
  Claim(10);
  ASSERT_TRUE(registry().EventDone(id, {"target", "", "r2", "{}", ""}, 50));
  EXPECT_THAT(Claim(50), ElementsAre("r2"));
  // Not twice.
  ASSERT_TRUE(registry().EventDone(id, {"target", "", "r3", "{}", ""}, 50));
  EXPECT_EQ(*registry().CountEvents(), 1U);
}

TEST_F(EventsTest, AFollowUpForNobodyLeavesTheEvent) {
  const auto id = Add("r", 10);
  EXPECT_EQ(registry().EventDone(id, {"gone", "", "r2", "{}", ""}, 50).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(*registry().CountEvents(), 1U);
}

TEST_F(EventsTest, EventsAreForFunctionsThatAreThere) {
  EXPECT_EQ(registry().AddEvent({"gone", "", "r", "{}", ""}, 1).error().code, ErrorCode::kNotFound);
  const auto id = Add("r", 10);
  Claim(10);
  ASSERT_TRUE(registry().DeleteFunction("f"));
  EXPECT_TRUE(registry().RetryEventAt(id, 20));
  EXPECT_TRUE(registry().EventDone(id));
  EXPECT_EQ(*registry().CountEvents(), 0U);
}

}  // namespace
}  // namespace snapfaas::registry
