#include "cli/simulated_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/clock.h"

namespace snapfaas::cli {
namespace {

using testing::HasSubstr;

Workload LoremWorkload() {
  Workload workload;
  workload.seed = 5;
  workload.duration_seconds = 10;
  LoadFunction function;
  function.name = "lorem";
  function.memory_mib = 200;
  function.users = 2;
  function.mu_ms = 200;
  function.end_seconds = 10;
  workload.functions.push_back(function);
  return workload;
}

sim::Costs SomeCosts() {
  auto costs =
      sim::ParseCosts({{R"({"overhead": 1, "destroy": 20, "run": [3, 4, 5], "restored": {"restore": 20, "load": 8},
          "boot": {"boot": 900}})",
                        "costs.json"}});
  EXPECT_TRUE(costs) << costs.error().Message();
  return *costs;
}

node::NodeConfig ConfigWith(uint64_t budget_mib) {
  node::NodeConfig config;
  config.budget_mib = budget_mib;
  return config;
}

TEST(SimulatedLoadTest, PlanIsThatOfALoad) {
  const Workload workload = LoremWorkload();
  const auto load = LoadOfWorkload(workload, 1, 1);
  const auto arrivals = MakeArrivals(workload);
  ASSERT_TRUE(load && arrivals);
  ASSERT_EQ(load->requests.size(), arrivals->size());
  for (size_t i = 0; i < arrivals->size(); ++i) EXPECT_EQ(load->requests[i].at_ns, (*arrivals)[i].at_ns);
  EXPECT_EQ(load->functions[0].spec.size.memory_mib, 256u);  // in the node's steps
}

TEST(SimulatedLoadTest, CopiesHaveCallsOfTheirOwnAndTakeWhatTheirModelTakes) {
  const auto load = LoadOfWorkload(LoremWorkload(), 3, 1);
  ASSERT_TRUE(load);
  ASSERT_EQ(load->functions.size(), 3u);
  EXPECT_EQ(load->workload.functions[2].name, "lorem-3");
  EXPECT_EQ(load->functions[2].measured_as, "lorem");
  EXPECT_NE(load->functions[2].spec.key, load->functions[0].spec.key);
  std::vector<std::vector<int64_t>> calls(3);
  for (const sim::Request& request : load->requests) calls[request.function].push_back(request.at_ns);
  EXPECT_NE(calls[0], calls[1]);
  EXPECT_NEAR(static_cast<double>(calls[1].size()), 100, 40);
}

TEST(SimulatedLoadTest, EmptyLoadsAreRefused) {
  Workload workload = LoremWorkload();
  workload.functions[0].mu_ms = 1e9;
  const auto load = LoadOfWorkload(workload, 1, 1);
  ASSERT_FALSE(load);
  EXPECT_EQ(load.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(load.error().Message(), HasSubstr("no request at all: lower mu"));
  const auto trace = LoadOfTrace({}, 1);
  ASSERT_FALSE(trace);
  EXPECT_THAT(trace.error().Message(), HasSubstr("no request at all"));
}

TEST(SimulatedLoadTest, SummaryHasTheControllersCounts) {
  const auto load = LoadOfWorkload(LoremWorkload(), 4, 1);
  ASSERT_TRUE(load);
  const auto outcome =
      sim::Simulate(SomeCosts(), load->functions, load->requests, SimulationOptions(ConfigWith(2 * 264), 1));
  ASSERT_TRUE(outcome);
  const LoadSummary summary = Summarize("simulated", load->workload, ToLoadRun(*load, *outcome));
  EXPECT_EQ(summary.outcomes.total(), load->requests.size());
  EXPECT_EQ(summary.starts.restored, outcome->vms.launches);
  EXPECT_EQ(summary.starts.warm, outcome->vms.idle_hits);
  EXPECT_EQ(summary.starts.cold, 0u);
  EXPECT_GT(summary.counts->at("evictions"), 0u);
  EXPECT_EQ(summary.counts->at("evictions"), outcome->vms.evictions);
  EXPECT_EQ(summary.peak_reserved_mib, 2 * 264u);
  EXPECT_EQ(SimulationOptions(ConfigWith(264), 16).controller.max_launches, 32u) << "as the node has it";
  EXPECT_EQ(summary.queued.count, summary.starts.restored + summary.starts.warm);
}

TEST(SimulatedLoadTest, BootsAreColdAndThrottlesAreCounted) {
  const auto load = LoadOfWorkload(LoremWorkload(), 4, 1);
  ASSERT_TRUE(load);
  node::NodeConfig config = ConfigWith(264);
  config.queue_seconds = 1;
  sim::Options options = SimulationOptions(config, 1);
  options.host.launch = sim::LaunchKind::kBoot;
  const auto outcome = sim::Simulate(SomeCosts(), load->functions, load->requests, options);
  ASSERT_TRUE(outcome);
  const LoadSummary summary = Summarize("simulated", load->workload, ToLoadRun(*load, *outcome));
  EXPECT_GT(summary.starts.cold, 0u);
  EXPECT_EQ(summary.starts.restored, 0u);
  EXPECT_EQ(summary.outcomes.throttled, outcome->requests.throttled_queue_timeout);
  EXPECT_GT(summary.outcomes.throttled, 0u);
  EXPECT_LT(summary.success_rate(), 1);
}

TEST(SimulatedLoadTest, MicroVmThatIsNotReadyInTimeIsNoStart) {
  auto load = LoadOfWorkload(LoremWorkload(), 1, 1);
  ASSERT_TRUE(load);
  auto costs = sim::ParseCosts({{R"({"run": 1, "boot": {"boot": 600000}})", "costs.json"}});
  ASSERT_TRUE(costs);
  sim::Options options = SimulationOptions(ConfigWith(264), 1);
  options.host.launch = sim::LaunchKind::kBoot;
  const auto outcome = sim::Simulate(*costs, load->functions, load->requests, options);
  ASSERT_TRUE(outcome);
  const LoadSummary summary = Summarize("simulated", load->workload, ToLoadRun(*load, *outcome));
  EXPECT_GT(summary.outcomes.function_errors, 0u);
  EXPECT_EQ(summary.starts.warm, 0u);
  EXPECT_EQ(summary.scheduling.count, 0u);
}

constexpr char kReal[] = R"({"seed": 5, "runs": [
  {"name": "snapshots off", "memory_budget_mib": 1, "success_rate": 0.1},
  {"name": "snapshots on", "memory_budget_mib": 2048, "success_rate": 0.8, "latency_ms": {"all": {"p50": 10, "p95": 40}},
   "starts": {"cold_start_share": 0}, "counts": {"launches": 7}}]})";

TEST(SimulatedLoadTest, RealRunIsSetBesideTheSimulatedOne) {
  const auto real = ReadRealRun(kReal, "real.json", sim::LaunchKind::kFunctionSnapshot);
  ASSERT_TRUE(real) << real.error().Message();
  EXPECT_EQ(real->budget_mib, 2048u);
  EXPECT_EQ(real->seed, 5u);
  EXPECT_EQ(ReadRealRun(kReal, "real.json", sim::LaunchKind::kBaseSnapshot)->name, "snapshots off");
  LoadSummary simulated;
  simulated.outcomes.succeeded = 4;
  simulated.outcomes.throttled = 1;
  simulated.latency.p50 = 9;
  simulated.counts.emplace()["launches"] = 7;
  const auto rows = CompareRuns(*real, simulated);
  EXPECT_NEAR(*rows[0].difference(), 0, 1e-9);
  EXPECT_NEAR(*rows[1].difference(), -10, 1e-9);
  EXPECT_TRUE(rows[0].is_checked && rows[1].is_checked);
  EXPECT_NEAR(*rows[2].difference(), -100, 1e-9);
  EXPECT_FALSE(FidelityRow({"x", 0, 1}).difference());
  EXPECT_THAT(FidelityTable(rows), testing::AllOf(HasSubstr("latency p50, ms"), HasSubstr("-10.0 %")));
  EXPECT_EQ(FidelityJson(rows)[1]["difference_percent"], -10);
}

TEST(SimulatedLoadTest, OtherFilesThanResultsAreRefused) {
  for (const char* text : {"{", "[]", R"({"seed": 1, "runs": []})", R"({"runs": [{"name": "load"}]})"}) {
    const auto real = ReadRealRun(text, "real.json", sim::LaunchKind::kFunctionSnapshot);
    ASSERT_FALSE(real) << text;
    EXPECT_EQ(real.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(real.error().Message(), HasSubstr("real.json"));
  }
}

}  // namespace
}  // namespace snapfaas::cli
