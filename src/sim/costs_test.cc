#include "sim/costs.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace snapfaas::sim {
namespace {

using testing::HasSubstr;

double Once(const PhaseCost& cost) {
  Random random(1);
  return cost.times.Millis(random);
}

std::string ErrorOf(const std::string& text) {
  const auto costs = ParseCosts({{text, "costs.json"}});
  EXPECT_FALSE(costs);
  if (costs) return {};
  EXPECT_EQ(costs.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(costs.error().Message(), HasSubstr("costs.json: "));
  return costs.error().Message();
}

TEST(TimesTest, SamplesAreTheGivenOnes) {
  const Times times({1, 2, 4});
  Random random(7);
  std::vector<int> seen(5, 0);
  for (int i = 0; i < 300; ++i) ++seen[static_cast<size_t>(times.Millis(random))];
  for (const size_t value : {size_t{1}, size_t{2}, size_t{4}}) EXPECT_GT(seen[value], 60);
  EXPECT_EQ(seen[3], 0);
}

TEST(TimesTest, SamplesAreAsLikelyAsTheyWeigh) {
  const Times times({1, 2, 3}, {2, 1, 5});
  Random random(7);
  std::vector<int> seen(4, 0);
  for (int i = 0; i < 8000; ++i) ++seen[static_cast<size_t>(times.Millis(random))];
  EXPECT_NEAR(seen[1], 2000, 150);
  EXPECT_NEAR(seen[2], 1000, 150);
  EXPECT_NEAR(seen[3], 5000, 150);
}

TEST(TimesTest, LogNormalHasItsMedianAndItsTail) {
  const Times times = Times::LogNormal(10, 50);
  Random random(3);
  std::vector<double> drawn;
  drawn.reserve(20'000);
  for (int i = 0; i < 20'000; ++i) drawn.push_back(times.Millis(random));
  std::sort(drawn.begin(), drawn.end());
  EXPECT_NEAR(drawn[10'000], 10, 0.5);
  EXPECT_NEAR(drawn[19'800], 50, 5);
}

TEST(CostsTest, OwnFormIsRead) {
  const auto costs = ParseCosts({{R"({
    "cpus": 8, "head_start": 1.5, "warm_up": 0.4, "overhead": 0.3, "shell": [9, 9], "reset": 2, "destroy": {"median": 5, "p99": 5},
    "run": {"samples": [4], "cpu": 0.25},
    "restored": {"restore": 2, "load": 1, "run": 6},
    "boot": {"boot": 300},
    "functions": {"thumbnail": {"run": 50, "restored": {"run": 70}}}
  })",
                                  "costs.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(costs->cpus, 8);
  EXPECT_EQ(costs->head_start_ms, 1.5);
  EXPECT_EQ(costs->warm_up_ms, 0.4);
  EXPECT_EQ(Once(costs->shell), 9);
  EXPECT_NEAR(Once(costs->destroy), 5, 1e-9);
  EXPECT_EQ(costs->any.run.cpu, 0.25);
  const LaunchCosts& restored = *costs->any.Of(LaunchKind::kFunctionSnapshot);
  EXPECT_EQ(Once(restored.start), 2);
  EXPECT_EQ(Once(restored.load), 1);
  EXPECT_EQ(Once(restored.run), 6);
  EXPECT_EQ(Once(costs->any.Of(LaunchKind::kBoot)->start), 300);
  EXPECT_EQ(Once(costs->any.Of(LaunchKind::kBoot)->run), 4);  // as any request
  EXPECT_FALSE(costs->any.Of(LaunchKind::kBaseSnapshot));
  const FunctionCosts& thumbnail = costs->Of("thumbnail");
  EXPECT_EQ(Once(thumbnail.run), 50);
  EXPECT_EQ(Once(thumbnail.Of(LaunchKind::kFunctionSnapshot)->run), 70);
  EXPECT_EQ(Once(thumbnail.Of(LaunchKind::kFunctionSnapshot)->start), 2);
  EXPECT_EQ(Once(thumbnail.Of(LaunchKind::kBoot)->run), 50);
  EXPECT_EQ(&costs->Of("unknown"), &costs->any);
}

TEST(CostsTest, EffortIsSplitBetweenWorkAndWaiting) {
  const Effort effort = PhaseCost{Times({8}), 0.25}.EffortOf(8);
  EXPECT_EQ(effort.work_ns, 2e6);
  EXPECT_EQ(effort.wait_ns, 6e6);
}

TEST(CostsTest, BadFilesAreNamedWithThePlace) {
  EXPECT_THAT(ErrorOf("{"), HasSubstr("no JSON"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("must have run"));
  EXPECT_THAT(ErrorOf(R"({"run": -1})"), HasSubstr("run must be milliseconds"));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "restore": 3})"), HasSubstr("\"restore\""));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "restored": {"load": 3}})"), HasSubstr("restored must have restore"));
  EXPECT_THAT(ErrorOf(R"({"run": {"median": 5}})"), HasSubstr("both median and p99"));
  EXPECT_THAT(ErrorOf(R"({"run": {"median": 5, "p99": 4}})"), HasSubstr("run must have a median"));
  EXPECT_THAT(ErrorOf(R"({"run": {"samples": []}})"), HasSubstr("run.samples must be a list"));
  EXPECT_THAT(ErrorOf(R"({"run": {"samples": [1], "cpu": 2}})"), HasSubstr("run.cpu must be a share"));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "cpus": 0})"), HasSubstr("cpus must be"));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "head_start": -1})"), HasSubstr("head_start must be"));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "warm_up": "long"})"), HasSubstr("warm_up must be"));
  EXPECT_THAT(ErrorOf(R"({"run": 1, "functions": {"a": {"runs": 2}}})"), HasSubstr("functions.a has \"runs\""));
}

// A report of `snapfaas bench load` with these requests, each "[due, latency, start, queued, restore, load, run]".
std::string Report(const std::vector<std::string>& requests, const std::string& function = "a") {
  std::string rows;
  for (const std::string& request : requests) {
    rows += fmt::format("{}[\"load\", \"{}\", 200, false, {}]", rows.empty() ? "" : ",\n", function, request);
  }
  return fmt::format(R"({{"benchmark": "load", "accelerator": "emulated-host",
    "runs": [{{"name": "load", "counts": {{"shells_started": 4, "shells_starting_ms": 1000}}}}],
    "sample_columns": ["run", "function", "status", "function_error", "due_ms", "latency_ms", "start", "queued_ms",
                       "restore_ms", "load_ms", "run_ms"],
    "samples": [{}]}})",
                     rows);
}

std::vector<std::string> QuietRequests() {
  std::vector<std::string> requests;
  // The function's first launch counts for nothing.
  requests.emplace_back(R"(-9000, 1061, "restored", 0, 20, 8, 1025)");
  for (int i = 0; i < 10; ++i) requests.push_back(fmt::format(R"({}, 12, "warm", 0, 0, 0, 7)", i * 1000));
  requests.emplace_back(R"(20000, 61, "restored", 0, 20, 8, 25)");
  requests.emplace_back(R"(30000, 101, "restored", 40, 20, 8, 25)");
  return requests;
}

TEST(CostsTest, ReportGivesWhatRequestsTookThatWereAlone) {
  auto requests = QuietRequests();
  // Two that met each other, and one that met the preparation of the VMM after the last launch.
  requests.emplace_back(R"(50000, 900, "warm", 0, 0, 0, 500)");
  requests.emplace_back(R"(50100, 900, "warm", 0, 0, 0, 500)");
  requests.emplace_back(R"(30300, 900, "warm", 0, 0, 0, 500)");
  const auto costs = ParseCosts({{Report(requests), "load.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(costs->cpus, 1);
  EXPECT_EQ(Once(costs->shell), 250);
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(costs->overhead.times.Millis(random), 5);
    EXPECT_EQ(costs->Of("a").run.times.Millis(random), 7);
    EXPECT_EQ(costs->Of("b").run.times.Millis(random), 7);
  }
  const LaunchCosts& restored = *costs->any.Of(LaunchKind::kFunctionSnapshot);
  EXPECT_EQ(Once(restored.start), 23);  // 3 of what the node had to do beside it
  EXPECT_EQ(Once(restored.load), 8);
  EXPECT_EQ(Once(restored.run), 25);
  EXPECT_EQ(Once(costs->destroy), 40);
  EXPECT_TRUE(costs->reset.times.empty());
}

TEST(CostsTest, TheQueueOfWhoWaitsForNothingIsOverhead) {
  auto requests = QuietRequests();
  for (auto& request : requests) {
    if (const size_t at = request.find("12, \"warm\", 0,"); at != std::string::npos) {
      request.replace(at, 15, "13, \"warm\", 1,");
    }
  }
  const auto costs = ParseCosts({{Report(requests), "load.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(Once(costs->overhead), 6);  // of 13, 7 are the run
  EXPECT_EQ(Once(costs->destroy), 39);
}

TEST(CostsTest, WhatTookLongerAfterARestIsWarmUp) {
  auto requests = QuietRequests();
  for (int i = 0; i < 10; ++i) {
    // Right after the one that is alone after a rest.
    requests.push_back(fmt::format(R"({}, 9, "warm", 0, 0, 0, 5)", i * 1000 + 100));
  }
  const auto costs = ParseCosts({{Report(requests), "load.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(costs->warm_up_ms, 3);  // 1 of them outside the microVM
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(costs->overhead.times.Millis(random), 4);
    EXPECT_EQ(costs->any.run.times.Millis(random), 5);
  }
  const LaunchCosts& restored = *costs->any.Of(LaunchKind::kFunctionSnapshot);
  EXPECT_EQ(Once(restored.start), 23);
  EXPECT_EQ(Once(restored.run), 23);
}

TEST(CostsTest, OneHalfOfARunCountsWhereItIsAskedFor) {
  auto requests = QuietRequests();
  for (int i = 0; i < 10; ++i) requests.push_back(fmt::format(R"({}, 99, "warm", 0, 0, 0, 90)", 110'000 + i * 900));
  const auto costs = ParseCosts({{Report(requests), "load.json"}}, Half{10, false});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_THAT(costs->any.run.times.samples(), testing::Each(7));
  EXPECT_EQ(costs->any.run.times.samples().size(), 10u);
  for (const double at_ms : {0.0, 9'999.0, 20'000.0}) {
    EXPECT_TRUE((Half{10, false}.Has(at_ms)));
    EXPECT_FALSE((Half{10, true}.Has(at_ms)));
  }
  EXPECT_FALSE((Half{10, false}.Has(10'000)));
  EXPECT_TRUE((Half{10, true}.Has(10'000)));
}

TEST(CostsTest, WhatIsLackingComesFromAnotherRun) {
  std::vector<std::string> warm;
  warm.reserve(10);
  for (int i = 0; i < 10; ++i) warm.push_back(fmt::format(R"({}, 9, "warm", 0, 0, 0, 5)", i * 1000));
  const auto alone = ParseCosts({{Report(warm), "warm.json"}});
  ASSERT_TRUE(alone) << alone.error().Message();
  EXPECT_FALSE(alone->any.Of(LaunchKind::kFunctionSnapshot));
  const CostsFile other{Report(QuietRequests()), "load.json"};
  const auto costs = ParseCosts({{Report(warm), "warm.json"}}, std::nullopt, other);
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(Once(costs->any.Of(LaunchKind::kFunctionSnapshot)->load), 8);
  EXPECT_EQ(Once(costs->Of("a").Of(LaunchKind::kFunctionSnapshot)->load), 8);
  EXPECT_EQ(Once(costs->destroy), 40);
  EXPECT_EQ(Once(costs->any.run), 5) << "that was there";
  EXPECT_FALSE(ParseCosts({{Report(warm), "warm.json"}}, std::nullopt, CostsFile{"{}", "load.json"}));
}

TEST(CostsTest, LongRequestsThatMetNoOtherStandForThoseThatDid) {
  std::vector<std::string> requests;
  for (int i = 0; i < 400; ++i) {
    const int millis = i % 2 == 0 ? 100 : 800;
    requests.push_back(fmt::format(R"({}, {}, "warm", 0, 0, 0, {})", i * 1000, millis, millis));
  }
  const auto costs = ParseCosts({{Report(requests), "load.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  Random random(5);
  int longer = 0;
  for (int i = 0; i < 10'000; ++i) longer += costs->any.run.times.Millis(random) > 400 ? 1 : 0;
  // One in a second comes: e^0.8 of the long ones for each e^0.1 of the others.
  EXPECT_NEAR(longer, 6680, 150);
}

TEST(CostsTest, TooFewWarmRequestsAreJoinedByThoseOfAnotherRun) {
  const std::string few = Report({R"(0, 90, "restored", 40, 9, 0, 31)", R"(1000, 9, "warm", 0, 0, 0, 5)"});
  EXPECT_FALSE(ParseCosts({{few, "few.json"}}));
  std::vector<std::string> warm;
  warm.reserve(10);
  for (int i = 0; i < 10; ++i) warm.push_back(fmt::format(R"({}, 9, "warm", 0, 0, 0, 5)", i * 1000));
  const auto costs = ParseCosts({{few, "few.json"}}, std::nullopt, CostsFile{Report(warm), "warm.json"});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(Once(costs->any.run), 5);
}

TEST(CostsTest, SeveralReportsCountTogether) {
  auto slower = QuietRequests();
  for (auto& request : slower) {
    if (request.ends_with("0, 7")) request.replace(request.size() - 1, 1, "9");
  }
  const auto costs = ParseCosts({{Report(QuietRequests()), "a.json"}, {Report(slower), "b.json"}});
  ASSERT_TRUE(costs) << costs.error().Message();
  EXPECT_EQ(costs->any.run.times.samples().size(), 20u);
  EXPECT_EQ(costs->any.Of(LaunchKind::kFunctionSnapshot)->run.times.samples().size(), 4u);
  EXPECT_EQ(Once(costs->shell), 250);
  EXPECT_FALSE(ParseCosts({{Report(QuietRequests()), "a.json"}, {R"({"run": 1})", "b.json"}}));
}

TEST(CostsTest, PhasesOfALaunchAreDrawnTogether) {
  const LaunchCosts launch{{Times({1, 2, 3})}, {Times({10, 20, 30})}, {Times({100, 200, 300})}};
  Random random(1);
  for (int i = 0; i < 20; ++i) {
    const LaunchEffort effort = launch.Sample(random);
    EXPECT_EQ(effort.load.work_ns, 10 * effort.start.work_ns);
    EXPECT_EQ(effort.run.work_ns, 100 * effort.start.work_ns);
  }
}

TEST(CostsTest, LaunchesWithoutAVmmAndBootsAreAdded) {
  auto costs = ParseCosts({{Report(QuietRequests()), "load.json"}});
  ASSERT_TRUE(costs);
  auto bare = QuietRequests();
  for (auto& request : bare) {
    if (const size_t at = request.find("20, 8"); at != std::string::npos) request.replace(at, 5, "15, 13");
  }
  ASSERT_TRUE(AddBareCosts({Report(bare), "bare.json"}, *costs));
  EXPECT_EQ(Once(costs->Of("a").Of(LaunchKind::kFunctionSnapshotBare)->load), 13);
  EXPECT_EQ(Once(costs->Of("a").Of(LaunchKind::kFunctionSnapshot)->load), 8);
  ASSERT_TRUE(AddBootCosts({R"({"samples": {"boot_ms": {"ready": [4000], "load": [30], "request": [90]}}})", "b.json"},
                           *costs));
  const LaunchCosts& boot = *costs->Of("a").Of(LaunchKind::kBoot);
  EXPECT_EQ(Once(boot.start), 4000);
  EXPECT_EQ(Once(boot.load), 30);
  EXPECT_EQ(Once(boot.run), 7);
  EXPECT_FALSE(AddBootCosts({"{}", "b.json"}, *costs));
  EXPECT_FALSE(AddBareCosts({"{}", "b.json"}, *costs));
}

TEST(CostsTest, ReportsThatSayTooLittleAreRefused) {
  auto few = QuietRequests();
  few.erase(few.begin() + 1, few.begin() + 6);
  EXPECT_THAT(ErrorOf(Report(few)), HasSubstr("only 5 warm requests met no other"));
  EXPECT_THAT(ErrorOf(Report({R"("x", 12, "warm", 0, 0, 0, 7)"})), HasSubstr("no request of a load"));
  EXPECT_THAT(ErrorOf(R"({"sample_columns": ["run"], "samples": []})"), HasSubstr("the requests have no function"));
}

}  // namespace
}  // namespace snapfaas::sim
