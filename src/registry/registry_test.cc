// The registry on real databases.
#include "registry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "registry/registry_for_tests.h"

namespace snapfaas::registry {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class RegistryTest : public RegistryFixture {};

// --- Opening ---

TEST_F(RegistryTest, WhatIsAcknowledgedOutlivesACrash) {
  Deploy("thumbs");
  ASSERT_TRUE(registry().PublishVersion("thumbs", {}, ""));
  ASSERT_TRUE(registry().CreateAlias({"thumbs", "live", "1", "", {}, ""}));
  ASSERT_TRUE(registry().SetReservedConcurrency("thumbs", 7));
  const auto before = registry().GetFunction("thumbs", "");
  CrashAndOpen();
  const auto after = registry().GetFunction("thumbs", "");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->config, before->config);
  EXPECT_EQ(after->code, before->code);
  EXPECT_EQ(after->deployed, before->deployed);
  EXPECT_EQ(after->revision, before->revision);
  EXPECT_EQ(after->last_modified_unix_ms, before->last_modified_unix_ms);
  EXPECT_EQ(registry().GetAlias("thumbs", "live")->version, "1");
  EXPECT_EQ(*registry().GetReservedConcurrency("thumbs"), 7U);
}

TEST_F(RegistryTest, EveryFieldOfAConfigurationComesBack) {
  FunctionConfig config;
  config.runtime = "python3.12";
  config.handler = "app.handler";
  config.role = "arn:aws:iam::000000000000:role/r";
  config.description = "d\xc3\xa9j\xc3\xa0 vu";
  config.timeout_s = 900;
  config.memory_mib = 3072;
  config.environment = {{"A", "1"}, {"B", "x\"y"}};
  config.snap_start = SnapStart::kPublishedVersions;
  config.isolation = Isolation::kReset;
  config.dead_letter_arn = "arn:aws:sqs:us-east-1:000000000000:q";
  config.tracing_mode = "Active";
  config.ephemeral_storage_mib = 1024;
  ASSERT_TRUE(registry().CreateFunction("f", config, kCode, {{"team", "a"}}, Publish::kNo));
  CrashAndOpen();
  EXPECT_EQ(registry().GetFunction("f", "")->config, config);
  EXPECT_THAT(*registry().GetTags("f"), ElementsAre(Pair("team", "a")));
}

TEST_F(RegistryTest, GarbageIsNoRegistry) {
  Close();
  std::ofstream(file()) << std::string(8192, 'x');
  const auto opened = Registry::Open(file());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(opened.error().context, HasSubstr(file().string()));
  EXPECT_THAT(opened.error().context, HasSubstr("move it"));
}

TEST_F(RegistryTest, DamageWithinIsFound) {
  for (int i = 0; i < 50; ++i) Create("function-" + std::to_string(i));
  Close();
  std::fstream bytes(file(), std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(4096);
  bytes << std::string(static_cast<size_t>(fs::file_size(file())) - 4096, '\x5a');
  bytes.close();
  const auto opened = Registry::Open(file());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
}

TEST_F(RegistryTest, ANewerVersionIsRefused) {
  Close();
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &connection), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(connection, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(connection);
  const auto opened = Registry::Open(file());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kIncompatible);
  EXPECT_THAT(opened.error().context, HasSubstr("newer SnapFaaS"));
}

TEST_F(RegistryTest, IsOpenOnce) {
  const auto second = Registry::Open(file());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().context, HasSubstr("in use"));
}

TEST_F(RegistryTest, AFolderThatIsNotThereIsNamed) {
  const auto opened = Registry::Open("/nonexistent/registry.db");
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().context, HasSubstr("/nonexistent/registry.db"));
}

// --- Functions and deployments ---

TEST_F(RegistryTest, AFunctionIsPendingUntilItIsDeployed) {
  const auto made = Create("f");
  EXPECT_EQ(made.version, kLatest);
  EXPECT_EQ(made.state, State::kPending);
  EXPECT_EQ(made.state_reason_code, "Creating");
  EXPECT_EQ(made.update_status, UpdateStatus::kNone);
  ASSERT_TRUE(registry().FinishDeployment("f", kLatest, made.deployment, "image"));
  const auto done = registry().GetFunction("f", "");
  EXPECT_EQ(done->state, State::kActive);
  EXPECT_EQ(done->state_reason, "");
  EXPECT_EQ(done->update_status, UpdateStatus::kSuccessful);
  ASSERT_TRUE(done->deployed);
  EXPECT_EQ(*done->deployed, (Deployed{"image", made.config, kCode}));
  EXPECT_EQ(done->revision, made.revision);
}

TEST_F(RegistryTest, AFunctionThatCannotBeDeployedHasFailed) {
  const auto made = Create("f");
  ASSERT_TRUE(registry().FailDeployment("f", kLatest, made.deployment, "InvalidZipFileException", "no app.py"));
  const auto failed = registry().GetFunction("f", "");
  EXPECT_EQ(failed->state, State::kFailed);
  EXPECT_EQ(failed->state_reason, "no app.py");
  EXPECT_EQ(failed->state_reason_code, "InvalidZipFileException");
  EXPECT_FALSE(failed->deployed);
  // It can be mended.
  const auto updated = registry().UpdateCode("f", {kOtherCode, {}, Publish::kNo}, "");
  ASSERT_TRUE(updated);
  EXPECT_EQ(updated->state, State::kPending);
  ASSERT_TRUE(registry().FinishDeployment("f", kLatest, updated->deployment, "image"));
  EXPECT_EQ(registry().GetFunction("f", "")->state, State::kActive);
}

TEST_F(RegistryTest, AnUpdateServesTheOldImageUntilItIsDone) {
  const auto before = Deploy("f");
  const auto updated = registry().UpdateConfig(
      "f", [](FunctionConfig& config) { config.timeout_s = 9; }, "");
  ASSERT_TRUE(updated);
  EXPECT_NE(updated->revision, before.revision);
  EXPECT_EQ(updated->state, State::kActive);
  EXPECT_EQ(updated->update_status, UpdateStatus::kInProgress);
  EXPECT_EQ(updated->config.timeout_s, 9U);
  EXPECT_EQ(updated->deployed, before.deployed);
  ASSERT_TRUE(registry().FinishDeployment("f", kLatest, updated->deployment, "image2"));
  EXPECT_EQ(registry().GetFunction("f", "")->deployed->config.timeout_s, 9U);
}

TEST_F(RegistryTest, AnUpdateThatFailsLeavesTheOldImage) {
  const auto before = Deploy("f");
  const auto updated = registry().UpdateCode("f", {kOtherCode, {}, Publish::kNo}, "");
  ASSERT_TRUE(registry().FailDeployment("f", kLatest, updated->deployment, "FunctionError", "it does not load"));
  const auto after = registry().GetFunction("f", "");
  EXPECT_EQ(after->state, State::kActive);
  EXPECT_EQ(after->update_status, UpdateStatus::kFailed);
  EXPECT_EQ(after->update_reason, "it does not load");
  EXPECT_EQ(after->deployed, before.deployed);
  EXPECT_EQ(after->code, kOtherCode);
}

TEST_F(RegistryTest, OneChangeAtATime) {
  const auto made = Create("f");
  const auto pending = registry().UpdateCode("f", {kOtherCode, {}, Publish::kNo}, "");
  ASSERT_FALSE(pending);
  EXPECT_EQ(pending.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(pending.error().context, HasSubstr("Pending"));
  ASSERT_TRUE(registry().FinishDeployment("f", kLatest, made.deployment, "image"));
  ASSERT_TRUE(registry().UpdateCode("f", {kOtherCode, {}, Publish::kNo}, ""));
  const auto busy = registry().UpdateConfig(
      "f", [](FunctionConfig& config) { config.timeout_s = 9; }, "");
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(busy.error().context, HasSubstr("update is in progress"));
  EXPECT_EQ(registry().PublishVersion("f", {}, "").error().code, ErrorCode::kUnavailable);
}

TEST_F(RegistryTest, ADeploymentThatComesLateChangesNothing) {
  const auto made = Create("f");
  EXPECT_EQ(registry().FinishDeployment("f", kLatest, "another", "image").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(registry().FinishDeployment("f", kLatest, made.deployment, "image"));
  EXPECT_EQ(registry().FinishDeployment("f", kLatest, made.deployment, "image2").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().FailDeployment("f", kLatest, "", "x", "y").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().GetFunction("f", "")->deployed->image, "image");
  ASSERT_TRUE(registry().DeleteFunction("f"));
  EXPECT_EQ(registry().FinishDeployment("f", kLatest, made.deployment, "image").error().code, ErrorCode::kNotFound);
}

TEST_F(RegistryTest, DeploymentsUnderWayAreKnownAfterACrash) {
  Deploy("done");
  const auto made = Create("new");
  CrashAndOpen();
  const auto pending = registry().PendingDeployments();
  ASSERT_TRUE(pending);
  ASSERT_THAT(*pending, SizeIs(1));
  EXPECT_EQ(pending->front().function, "new");
  EXPECT_EQ(pending->front().version, kLatest);
  EXPECT_EQ(pending->front().deployment, made.deployment);
}

TEST_F(RegistryTest, RevisionsAreCompared) {
  const auto made = Deploy("f");
  const auto other = registry().UpdateConfig(
      "f", [](FunctionConfig& config) { config.timeout_s = 9; }, "stale");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kIncompatible);
  EXPECT_EQ(registry().GetFunction("f", "")->config.timeout_s, 3U);
  EXPECT_TRUE(registry().UpdateConfig(
      "f", [](FunctionConfig& config) { config.timeout_s = 9; }, made.revision));
}

TEST_F(RegistryTest, NamesAreTakenOnce) {
  Create("f");
  EXPECT_EQ(registry().CreateFunction("f", {}, kCode, {}, Publish::kNo).error().code, ErrorCode::kAlreadyExists);
  ASSERT_TRUE(registry().DeleteFunction("f"));
  EXPECT_TRUE(registry().CreateFunction("f", {}, kCode, {}, Publish::kNo));
}

TEST_F(RegistryTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(registry().GetFunction("f", "").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().DeleteFunction("f").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().ListVersions("f", {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().SetReservedConcurrency("f", 1).error().code, ErrorCode::kNotFound);
  Create("f");
  EXPECT_EQ(registry().GetFunction("f", "1").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().GetFunction("f", "live").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().Resolve("f", "live").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().GetEventInvokeConfig("f", "").error().code, ErrorCode::kNotFound);
}

// --- Versions ---

TEST_F(RegistryTest, PublishingCopiesLatest) {
  Deploy("f");
  const auto published = registry().PublishVersion("f", {"first", ""}, "");
  ASSERT_TRUE(published);
  EXPECT_TRUE(published->is_new);
  EXPECT_EQ(published->version.version, "1");
  EXPECT_EQ(published->version.config.description, "first");
  EXPECT_EQ(published->version.state, State::kPending);
  EXPECT_FALSE(published->version.deployed);
  EXPECT_EQ(registry().GetFunction("f", "")->config.description, "");
}

TEST_F(RegistryTest, PublishingTheSameAgainAnswersTheSame) {
  Deploy("f");
  ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
  const auto again = registry().PublishVersion("f", {"another description", ""}, "");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->version.version, "1");
  Update("f", kOtherCode);
  EXPECT_EQ(registry().PublishVersion("f", {}, "")->version.version, "2");
}

TEST_F(RegistryTest, NumbersAreNotUsedTwice) {
  Deploy("f");
  ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
  ASSERT_TRUE(registry().DeleteVersion("f", "1"));
  EXPECT_EQ(registry().PublishVersion("f", {}, "")->version.version, "2");
}

TEST_F(RegistryTest, PublishingChecksCodeAndRevision) {
  const auto made = Deploy("f");
  EXPECT_EQ(registry().PublishVersion("f", {{}, "AAAA"}, "").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(registry().PublishVersion("f", {}, "stale").error().code, ErrorCode::kIncompatible);
  EXPECT_TRUE(registry().PublishVersion("f", {{}, CodeSha256(kCode)}, made.revision));
}

TEST_F(RegistryTest, CreatingMayPublish) {
  const auto made = registry().CreateFunction("f", {}, kCode, {}, Publish::kYes);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->version, "1");
  EXPECT_THAT(*registry().PendingDeployments(), SizeIs(2));
}

TEST_F(RegistryTest, DeletingAVersion) {
  Deploy("f");
  ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
  EXPECT_EQ(registry().DeleteVersion("f", kLatest).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(registry().DeleteVersion("f", "2").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry().DeleteVersion("f", "01").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(registry().CreateAlias({"f", "live", "1", "", {}, ""}));
  const auto referred = registry().DeleteVersion("f", "1");
  ASSERT_FALSE(referred);
  EXPECT_THAT(referred.error().context, HasSubstr("[live]"));
  ASSERT_TRUE(registry().DeleteAlias("f", "live"));
  EXPECT_THAT(*registry().DeleteVersion("f", "1"), ElementsAre("1"));
}

TEST_F(RegistryTest, DeletingAFunctionTakesAllWithIt) {
  Deploy("f");
  ASSERT_TRUE(registry().PublishVersion("f", {}, ""));
  ASSERT_TRUE(registry().CreateAlias({"f", "live", "1", "", {}, ""}));
  const auto url = registry().CreateUrl("f", "live", UrlAuth::kNone, {});
  ASSERT_TRUE(url);
  ASSERT_TRUE(registry().AddEvent({"f", "", "r", "{}", ""}, 1));
  EXPECT_THAT(*registry().DeleteFunction("f"), ElementsAre("$LATEST", "1"));
  EXPECT_EQ(registry().FindUrl(url->id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(*registry().CountEvents(), 0U);
  Create("f");
  EXPECT_EQ(registry().GetAlias("f", "live").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(registry().ListVersions("f", {})->items, SizeIs(1));
}

// --- Lists ---

template <typename List>
std::vector<std::string> AllPages(const List& list, size_t limit) {
  std::vector<std::string> names;
  Page page{"", limit};
  do {
    const auto listed = list(page);
    EXPECT_TRUE(listed);
    EXPECT_LE(listed->items.size(), limit);
    for (const auto& one : listed->items) names.push_back(one.function + ":" + one.version);
    page.after = listed->next;
  } while (!page.after.empty());
  return names;
}

TEST_F(RegistryTest, PagesLeaveNothingOut) {
  for (const char* name : {"c", "a", "b"}) Deploy(name);
  for (int i = 0; i < 10; ++i) {
    Update("b", i % 2 == 0 ? kOtherCode : kCode);
    ASSERT_TRUE(registry().PublishVersion("b", {}, ""));
  }
  for (const size_t limit : {1U, 2U, 3U, 50U}) {
    EXPECT_THAT(AllPages([&](const Page& page) { return registry().ListFunctions(page); }, limit),
                ElementsAre("a:$LATEST", "b:$LATEST", "c:$LATEST"));
    const auto all = AllPages([&](const Page& page) { return registry().ListFunctionsAndVersions(page); }, limit);
    ASSERT_THAT(all, SizeIs(13));
    EXPECT_EQ(all[1], "b:$LATEST");
    EXPECT_EQ(all[11], "b:10");
    const auto versions = AllPages([&](const Page& page) { return registry().ListVersions("b", page); }, limit);
    ASSERT_THAT(versions, SizeIs(11));
    EXPECT_EQ(versions[2], "b:2");
    EXPECT_EQ(versions[10], "b:10");
  }
  EXPECT_THAT(registry().ListFunctions({"zzz", 5})->items, IsEmpty());
}

TEST_F(RegistryTest, Counts) {
  Create("a");
  Deploy("b");
  ASSERT_TRUE(registry().PublishVersion("b", {}, ""));
  ASSERT_TRUE(registry().SetReservedConcurrency("a", 5));
  ASSERT_TRUE(registry().SetReservedConcurrency("b", 7));
  const auto counts = registry().Counts();
  EXPECT_EQ(counts->functions, 2U);
  EXPECT_EQ(counts->code_bytes, 3 * kCode.size);
  EXPECT_EQ(counts->reserved_concurrency, 12U);
  EXPECT_THAT(*registry().CodeInUse(), ElementsAre(kCode.sha256));
  EXPECT_THAT(*registry().ImagesInUse(), ElementsAre("image"));
}

TEST_F(RegistryTest, GenerationChangesWithEveryChange) {
  Deploy("f");
  uint64_t before = registry().generation();
  const auto changed = [&] { return std::exchange(before, registry().generation()) != registry().generation(); };
  ASSERT_TRUE(registry().Resolve("f", ""));
  EXPECT_FALSE(changed());
  ASSERT_TRUE(registry().SetReservedConcurrency("f", 0));
  EXPECT_TRUE(changed());
  Update("f", kOtherCode);
  EXPECT_TRUE(changed());
  ASSERT_TRUE(registry().AddEvent({"f", "", "r", "{}", ""}, 1));
  EXPECT_FALSE(changed());
  EXPECT_FALSE(registry().DeleteVersion("f", "9"));
  EXPECT_FALSE(changed());
  ASSERT_TRUE(registry().DeleteFunction("f"));
  EXPECT_TRUE(changed());
}

}  // namespace
}  // namespace snapfaas::registry
