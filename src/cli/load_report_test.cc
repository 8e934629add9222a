#include "cli/load_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/overhead_report.h"

namespace snapfaas::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

Workload TwoFunctions() {
  Workload workload;
  workload.duration_seconds = 0.3;
  workload.functions.resize(2);
  workload.functions[0].name = "first";
  workload.functions[1].name = "second";
  return workload;
}

LoadSample LoadSampleOf(uint32_t function, double latency_ms, Start start, int status = 200) {
  LoadSample sample;
  sample.function = function;
  sample.latency_ms = latency_ms;
  sample.response_ms = latency_ms;
  sample.start = start;
  sample.status = status;
  return sample;
}

NodeState StateOf(uint64_t reserved_mib, std::map<std::string, uint64_t> counts) {
  NodeState state;
  state.budget_mib = 2048;
  state.reserved_mib = reserved_mib;
  state.vms_idle = 3;
  state.counts = std::move(counts);
  return state;
}

LoadRun MixedRun() {
  LoadRun run;
  run.seconds = 2;
  run.samples = {LoadSampleOf(0, 10, Start::kWarm),
                 LoadSampleOf(0, 20, Start::kWarm),
                 LoadSampleOf(0, 100, Start::kRestored),
                 LoadSampleOf(1, 400, Start::kCold),
                 LoadSampleOf(1, 7, Start::kWarm),
                 LoadSampleOf(1, 9000, Start::kUnknown, 429),
                 LoadSampleOf(1, 9000, Start::kUnknown, 503),
                 LoadSampleOf(0, 9000, Start::kUnknown, 0)};
  run.samples[4].has_function_error = true;
  run.samples[7].lag_ms = 50;
  run.states = {StateOf(256, {{"evictions", 5}, {"launches", 7}}), StateOf(1024, {{"evictions", 6}, {"launches", 8}})};
  run.after = StateOf(512, {{"evictions", 9}, {"launches", 17}});
  run.problems = {{"status 503: gone", 1}};
  return run;
}

TEST(LoadReportTest, PercentilesAreMeasuredLatencies) {
  std::vector<double> millis;
  for (int i = 200; i > 0; --i) millis.push_back(i);
  const LatencySpread spread = LatencySpreadOf(millis);
  EXPECT_EQ(spread.count, 200U);
  EXPECT_EQ(spread.p50, 100);
  EXPECT_EQ(spread.p90, 180);
  EXPECT_EQ(spread.p95, 190);
  EXPECT_EQ(spread.p99, 198);
  EXPECT_EQ(spread.max, 200);
  EXPECT_EQ(LatencySpreadOf({7}).p50, 7);
  EXPECT_EQ(LatencySpreadOf({7}).p99, 7);
  EXPECT_EQ(LatencySpreadOf({}).count, 0U);
}

TEST(LoadReportTest, EveryRequestHasOneOutcome) {
  const LoadSummary summary = Summarize("run", TwoFunctions(), MixedRun());
  EXPECT_EQ(summary.outcomes.total(), 8U);
  EXPECT_EQ(summary.outcomes.succeeded, 4U);
  EXPECT_EQ(summary.outcomes.function_errors, 1U);
  EXPECT_EQ(summary.outcomes.throttled, 1U);
  EXPECT_EQ(summary.outcomes.failed, 1U);
  EXPECT_EQ(summary.outcomes.unanswered, 1U);
  EXPECT_EQ(summary.success_rate(), 0.5);
  EXPECT_DOUBLE_EQ(summary.offered_per_second(), 8 / 0.3);
  // One came too late.
  EXPECT_DOUBLE_EQ(summary.succeeded_per_second(), 3 / 0.3);
}

TEST(LoadReportTest, LatenciesAreOfRequestsThatSucceeded) {
  const LoadSummary summary = Summarize("run", TwoFunctions(), MixedRun());
  EXPECT_EQ(summary.latency.count, 4U);
  EXPECT_EQ(summary.latency.max, 400);
  EXPECT_EQ(summary.warm.count, 2U);
  EXPECT_EQ(summary.warm.max, 20);
  EXPECT_EQ(summary.restored.max, 100);
  EXPECT_EQ(summary.cold.max, 400);
  ASSERT_EQ(summary.functions.size(), 2U);
  EXPECT_EQ(summary.functions[0].name, "first");
  EXPECT_EQ(summary.functions[0].latency.count, 3U);
  EXPECT_EQ(summary.functions[1].outcomes.throttled, 1U);
  EXPECT_EQ(summary.functions[1].starts.cold, 1U);
}

// What a warm request says of a restore was a reset, for which it did not wait.
TEST(LoadReportTest, SchedulingIsAllThatComesBeforeTheFunction) {
  LoadRun run;
  for (const Start start : {Start::kWarm, Start::kRestored, Start::kCold, Start::kUnknown}) {
    LoadSample& sample = run.samples.emplace_back(LoadSampleOf(0, 500, start));
    sample.queued_ms = 1;
    sample.restore_ms = start == Start::kCold ? 40 : 20;
    sample.load_ms = 10;
    sample.run_ms = 100;
  }
  const LoadSummary summary = Summarize("run", TwoFunctions(), run);
  EXPECT_EQ(summary.scheduling.count, 3U);
  EXPECT_EQ(summary.scheduling.p50, 31);
  EXPECT_EQ(summary.scheduling.max, 51);
  EXPECT_EQ(ToJson(summary)["scheduling_ms"]["p50"], 31);
}

// The function that failed had been started, too.
TEST(LoadReportTest, ColdStartsAreAShareOfWhatFunctionsAnswered) {
  const LoadSummary summary = Summarize("run", TwoFunctions(), MixedRun());
  EXPECT_EQ(summary.starts.warm, 3U);
  EXPECT_DOUBLE_EQ(summary.starts.cold_start_share(), 0.4);
  EXPECT_EQ(StartCounts().cold_start_share(), 0);
}

TEST(LoadReportTest, TheNodesCountsAreThoseOfTheRun) {
  const LoadSummary summary = Summarize("run", TwoFunctions(), MixedRun());
  ASSERT_TRUE(summary.counts);
  EXPECT_EQ(summary.counts->at("evictions"), 4U);
  EXPECT_EQ(summary.counts->at("launches"), 10U);
  EXPECT_EQ(summary.peak_reserved_mib, 1024U);
  EXPECT_EQ(summary.budget_mib, 2048U);
  EXPECT_EQ(summary.idle_before, 3U);
}

TEST(LoadReportTest, ALateGeneratorSaysSo) {
  LoadRun run = MixedRun();
  EXPECT_THAT(Describe(Summarize("run", TwoFunctions(), run)), HasSubstr("the generator was late"));
  run.samples[7].lag_ms = 1;
  EXPECT_THAT(Describe(Summarize("run", TwoFunctions(), run)), Not(HasSubstr("the generator was late")));
}

TEST(LoadReportTest, ANodeThatIsGoneAfterwardsIsNamed) {
  LoadRun run = MixedRun();
  run.after.reset();
  const LoadSummary summary = Summarize("run", TwoFunctions(), run);
  EXPECT_THAT(Describe(summary), HasSubstr("the node did not answer after the run"));
  EXPECT_FALSE(ToJson(summary).contains("counts"));
}

TEST(LoadReportTest, TheTextHasWhatMatters) {
  const std::string text = Describe(Summarize("snapshots on", TwoFunctions(), MixedRun()));
  for (const char* part :
       {"snapshots on: 8 requests in 0.3 s, 26.7 a second; the last answer after 2.0 s", "succeeded 4 of 8 (50.00 %)",
        "throttled 1", "1 times: status 503: gone", "cold starts 40.00 %", "at most 1024 of 2048 MiB",
        "10 launched, 4 evicted", "send lag", "second"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(LoadReportTest, ComparisonsAreRatiosOfOffToOn) {
  LoadRun off = MixedRun();
  off.samples = {LoadSampleOf(0, 400, Start::kCold), LoadSampleOf(0, 10, Start::kWarm)};
  LoadRun on = MixedRun();
  on.samples = {LoadSampleOf(0, 100, Start::kRestored), LoadSampleOf(0, 10, Start::kWarm)};
  const auto workload = TwoFunctions();
  const LoadSummary off_summary = Summarize("off", workload, off);
  const LoadSummary on_summary = Summarize("on", workload, on);
  EXPECT_THAT(Comparison(off_summary, on_summary), testing::ContainsRegex("cold start p50, ms +400.0 +100.0 +4.00x"));
  const auto json = ComparisonJson(off_summary, on_summary)["off_to_on"];
  EXPECT_EQ(json["cold_start_p50"], 4);
  EXPECT_EQ(json["warm_p50"], 1);
  off.samples.clear();
  EXPECT_TRUE(ComparisonJson(Summarize("off", workload, off), on_summary)["off_to_on"]["warm_p50"].is_null());
}

TEST(LoadReportTest, TheJsonHasEverySample) {
  const LoadRun run = MixedRun();
  const Workload workload = TwoFunctions();
  nlohmann::ordered_json head;
  head["runs"] = nlohmann::ordered_json::array({ToJson(Summarize("a", workload, run))});
  const auto json = nlohmann::json::parse(WithSamples(head, workload, {{"a", run}, {"b", run}}));
  EXPECT_EQ(json["runs"][0]["latency_ms"]["all"]["count"], 4);
  EXPECT_EQ(json["runs"][0]["counts"]["evictions"], 4);
  const auto& columns = json["sample_columns"];
  ASSERT_EQ(json["samples"].size(), 16U);
  for (const auto& row : json["samples"]) EXPECT_EQ(row.size(), columns.size());
  EXPECT_EQ(json["samples"][3],
            nlohmann::json::parse(R"(["a","second",0,0.0,0.0,400.0,400.0,200,false,"cold",0.0,0.0,0.0,0.0,0.0])"));
  EXPECT_EQ(json["samples"][8][0], "b");
}

TEST(OverheadReportTest, WhatIsAddedIsToldCallByCall) {
  std::vector<LoadSample> samples;
  for (int i = 0; i < 3; ++i) {
    LoadSample sample = LoadSampleOf(0, 5 + i, Start::kWarm);
    sample.run_ms = 2 + i;
    sample.total_ms = 4 + i;
    samples.push_back(sample);
  }
  samples.push_back(LoadSampleOf(0, 900, Start::kRestored));
  const OverheadSummary summary = SummarizeOverhead(samples);
  EXPECT_EQ(summary.client.p50, 6);
  EXPECT_EQ(summary.vm.p50, 3);
  EXPECT_EQ(summary.added.max, 3);
  EXPECT_EQ(summary.in_node.p50, 2);
  EXPECT_EQ(summary.in_http.p50, 1);
  EXPECT_EQ(summary.not_warm, 1U);
  EXPECT_EQ(summary.ratio(), 1);
  EXPECT_THAT(Describe(summary), HasSubstr("1 calls were not warm"));
  EXPECT_EQ(ToJson(summary)["added_to_vm"], 1);
}

}  // namespace
}  // namespace snapfaas::cli
