// Aliases, settings, URLs, policies and tags.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry/registry.h"
#include "registry/registry_for_tests.h"

namespace snapfaas::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Pair;
using ::testing::SizeIs;

// A function "f" with versions 1 and 2.
class SettingsTest : public RegistryFixture {
 protected:
  void SetUp() override {
    RegistryFixture::SetUp();
    Deploy("f");
    ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
    Update("f", kOtherCode);
    ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
  }

  Result<Alias> MakeAlias(const std::string& name, const std::string& version,
                          const std::map<std::string, double>& weights = {}) {
    return registry().CreateAlias({"f", name, version, "", weights, ""});
  }
};

TEST_F(SettingsTest, AnAliasStandsForItsVersion) {
  ASSERT_TRUE(MakeAlias("live", "1"));
  EXPECT_EQ(registry().GetFunction("f", "live")->version, "1");
  ASSERT_TRUE(registry().UpdateAlias("f", "live", {"2", {}, {}}, ""));
  EXPECT_EQ(registry().GetFunction("f", "live")->version, "2");
  EXPECT_EQ(MakeAlias("live", "1").error().code, ErrorCode::kAlreadyExists);
}

TEST_F(SettingsTest, AliasesHaveRules) {
  EXPECT_EQ(MakeAlias("a", "9").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(MakeAlias("a", "1", {{"9", 0.5}}).error().code, ErrorCode::kNotFound);
  EXPECT_THAT(MakeAlias("a", "1", {{"1", 0.5}}).error().context, HasSubstr("already included"));
  EXPECT_THAT(MakeAlias("a", "$LATEST", {{"1", 0.5}}).error().context, HasSubstr("$LATEST is not supported"));
  EXPECT_THAT(MakeAlias("a", "1", {{"$LATEST", 0.5}}).error().context, HasSubstr("published version"));
  EXPECT_EQ(MakeAlias("a", "1", {{"2", 1.5}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(MakeAlias("a", "1", {{"2", -0.1}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(MakeAlias("a", "1", {{"2", 0.1}, {"3", 0.1}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(MakeAlias("a", "1", {{"2", 0.25}}));
  EXPECT_TRUE(MakeAlias("b", "$LATEST"));
  // Also where an update would break them; then nothing changes.
  EXPECT_FALSE(registry().UpdateAlias("f", "a", {"2", "new", {}}, ""));
  EXPECT_EQ(registry().GetAlias("f", "a")->description, "");
}

TEST_F(SettingsTest, AliasRevisionsAreCompared) {
  const auto made = MakeAlias("live", "1");
  EXPECT_EQ(registry().UpdateAlias("f", "live", {"2", {}, {}}, "stale").error().code, ErrorCode::kIncompatible);
  const auto updated = registry().UpdateAlias("f", "live", {"2", {}, {}}, made->revision);
  ASSERT_TRUE(updated);
  EXPECT_NE(updated->revision, made->revision);
}

TEST_F(SettingsTest, AliasesAreListedByVersion) {
  ASSERT_TRUE(MakeAlias("a", "1"));
  ASSERT_TRUE(MakeAlias("b", "2"));
  ASSERT_TRUE(MakeAlias("c", "2", {{"1", 0.5}}));
  const auto names = [this](const std::string& version, const Page& page) {
    std::vector<std::string> all;
    const auto listed = registry().ListAliases("f", version, page);
    for (const auto& alias : listed->items) all.push_back(alias.name);
    return all;
  };
  EXPECT_THAT(names("", {}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names("1", {}), ElementsAre("a", "c"));
  EXPECT_THAT(names("", {"a", 1}), ElementsAre("b"));
}

TEST_F(SettingsTest, WeightsShareRequests) {
  ASSERT_TRUE(MakeAlias("live", "1", {{"2", 0.25}}));
  ASSERT_TRUE(registry().SetReservedConcurrency("f", 3));
  const auto resolved = registry().Resolve("f", "live");
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->reserved_concurrency, 3U);
  ASSERT_THAT(resolved->choices, SizeIs(2));
  EXPECT_EQ(resolved->Choose(0).version, "1");
  EXPECT_EQ(resolved->Choose(0.7499).version, "1");
  EXPECT_EQ(resolved->Choose(0.7501).version, "2");
  EXPECT_EQ(resolved->Choose(0.9999).version, "2");
}

TEST_F(SettingsTest, QualifiersResolve) {
  EXPECT_EQ(registry().Resolve("f", "")->Choose(0.99).version, "$LATEST");
  EXPECT_EQ(registry().Resolve("f", "$LATEST")->Choose(0).version, "$LATEST");
  EXPECT_EQ(registry().Resolve("f", "2")->Choose(0).version, "2");
  EXPECT_EQ(registry().Resolve("f", "")->reserved_concurrency, std::nullopt);
  EXPECT_EQ(registry().Resolve("g", "").error().code, ErrorCode::kNotFound);
}

TEST_F(SettingsTest, ReservedConcurrencyMayBeNone) {
  EXPECT_EQ(*registry().GetReservedConcurrency("f"), std::nullopt);
  ASSERT_TRUE(registry().SetReservedConcurrency("f", 0));
  EXPECT_EQ(*registry().GetReservedConcurrency("f"), 0U);
  ASSERT_TRUE(registry().SetReservedConcurrency("f", std::nullopt));
  EXPECT_EQ(*registry().GetReservedConcurrency("f"), std::nullopt);
}

TEST_F(SettingsTest, EventInvokeConfigsBelongToAQualifier) {
  const auto set = [this](const std::string& qualifier, uint32_t attempts) {
    return registry().ChangeEventInvokeConfig("f", qualifier, [&](const auto& before) -> Result<EventInvokeConfig> {
      auto config = before.value_or(EventInvokeConfig{});
      config.max_retry_attempts = attempts;
      config.on_failure += "x";
      return config;
    });
  };
  ASSERT_TRUE(set("", 0));
  ASSERT_TRUE(set("1", 1));
  ASSERT_TRUE(set("1", 2));
  EXPECT_EQ(set("9", 1).error().code, ErrorCode::kNotFound);
  const auto latest = registry().GetEventInvokeConfig("f", "$LATEST");
  EXPECT_EQ(latest->max_retry_attempts, 0U);
  EXPECT_EQ(latest->max_event_age_s, std::nullopt);
  EXPECT_EQ(registry().GetEventInvokeConfig("f", "1")->on_failure, "xx");
  EXPECT_THAT(registry().ListEventInvokeConfigs("f", {})->items, SizeIs(2));
  ASSERT_TRUE(registry().DeleteVersion("f", "1"));
  EXPECT_THAT(registry().ListEventInvokeConfigs("f", {})->items, SizeIs(1));
  ASSERT_TRUE(registry().DeleteEventInvokeConfig("f", ""));
  EXPECT_EQ(registry().DeleteEventInvokeConfig("f", "").error().code, ErrorCode::kNotFound);
}

TEST_F(SettingsTest, UrlsAreFoundByTheirIds) {
  ASSERT_TRUE(MakeAlias("live", "1"));
  const Cors cors{true, {"x-a"}, {"GET"}, {"*"}, {"x-b"}, 60};
  const auto made = registry().CreateUrl("f", "live", UrlAuth::kNone, cors);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->id, MatchesRegex("[a-z2-7]{32}"));
  EXPECT_EQ(registry().CreateUrl("f", "live", UrlAuth::kNone, {}).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(registry().CreateUrl("f", "dead", UrlAuth::kNone, {}).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(registry().CreateUrl("f", "", UrlAuth::kAwsIam, {}));
  CrashAndOpen();
  const auto found = registry().FindUrl(made->id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->function, "f");
  EXPECT_EQ(found->qualifier, "live");
  EXPECT_EQ(found->auth, UrlAuth::kNone);
  EXPECT_EQ(found->cors, cors);
  ASSERT_TRUE(registry().UpdateUrl("f", "live", {UrlAuth::kAwsIam, {}}));
  EXPECT_EQ(registry().FindUrl(made->id)->auth, UrlAuth::kAwsIam);
  EXPECT_EQ(registry().FindUrl(made->id)->cors, cors);
  EXPECT_THAT(registry().ListUrls("f", {})->items, SizeIs(2));
  // It goes with its alias.
  ASSERT_TRUE(registry().DeleteAlias("f", "live"));
  EXPECT_EQ(registry().FindUrl(made->id).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(registry().DeleteUrl("f", ""));
  EXPECT_EQ(registry().GetUrl("f", "").error().code, ErrorCode::kNotFound);
}

TEST_F(SettingsTest, PoliciesAreLists) {
  EXPECT_EQ(registry().GetPolicy("f", "").error().code, ErrorCode::kNotFound);
  const auto one = registry().AddPolicyStatement("f", "", {"a", "{\"Sid\":\"a\"}"}, "");
  ASSERT_TRUE(one);
  EXPECT_EQ(registry().AddPolicyStatement("f", "", {"a", "{}"}, "").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(registry().AddPolicyStatement("f", "", {"b", "{}"}, "stale").error().code, ErrorCode::kIncompatible);
  ASSERT_TRUE(registry().AddPolicyStatement("f", "", {"b", "{}"}, one->revision));
  EXPECT_THAT(registry().GetPolicy("f", "")->statements, SizeIs(2));
  EXPECT_EQ(registry().GetPolicy("f", "1").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().RemovePolicyStatement("f", "", "c", "").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(registry().RemovePolicyStatement("f", "", "a", ""));
  ASSERT_TRUE(registry().RemovePolicyStatement("f", "", "b", ""));
  EXPECT_EQ(registry().GetPolicy("f", "").error().code, ErrorCode::kNotFound);
}

TEST_F(SettingsTest, TagsChangeAsAWholeOrNotAtAll) {
  EXPECT_THAT(*registry().GetTags("f"), IsEmpty());
  ASSERT_TRUE(registry().ChangeTags("f", [](auto& tags) -> Status {
    tags["a"] = "1";
    return {};
  }));
  const auto failed = registry().ChangeTags("f", [](auto& tags) -> Status {
    tags.clear();
    return Fail(ErrorCode::kInvalidArgument, "no");
  });
  EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(*registry().GetTags("f"), ElementsAre(Pair("a", "1")));
}

}  // namespace
}  // namespace snapfaas::registry
