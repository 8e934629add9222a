#include "sim/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/clock.h"

namespace snapfaas::sim {
namespace {

using Kind = faas::FunctionOutcome::Kind;
using faas::StartKind;

PhaseCost Ms(double millis) { return {Times({millis}), 1}; }

Costs FixedCosts() {
  Costs costs;
  costs.head_start_ms = 0;
  costs.overhead = Ms(2);
  costs.any.run = Ms(10);
  costs.any.Of(LaunchKind::kFunctionSnapshot) = LaunchCosts{Ms(20), Ms(5), Ms(15)};
  costs.any.Of(LaunchKind::kBaseSnapshot) = LaunchCosts{Ms(20), Ms(50), Ms(15)};
  costs.any.Of(LaunchKind::kBoot) = LaunchCosts{Ms(1000), Ms(0), Ms(15)};
  costs.destroy = Ms(30);
  return costs;
}

Function MakeFunction(const std::string& name, uint32_t memory_mib = 128) {
  Function function;
  function.spec.key = name;
  function.spec.function = name;
  function.spec.size.memory_mib = memory_mib;
  function.spec.timeout_ns = 3 * kSecond;
  function.measured_as = name;
  return function;
}

Request At(double millis, uint32_t function) { return {static_cast<int64_t>(millis * kMilli), function, std::nullopt}; }

Options MakeOptions(uint64_t budget_mib) {
  Options options;
  options.controller.budget_mib = budget_mib;
  options.controller.overhead_mib = 0;
  return options;
}

Outcome OutcomeOf(const Costs& costs, const std::vector<Function>& functions, const std::vector<Request>& requests,
                  const Options& options) {
  auto outcome = Simulate(costs, functions, requests, options);
  EXPECT_TRUE(outcome) << outcome.error().Message();
  return outcome ? *outcome : Outcome();
}

TEST(SimulationTest, LaunchAndThenAWarmRequestTakeWhatTheyCost) {
  const Outcome outcome = OutcomeOf(FixedCosts(), {MakeFunction("a")}, {At(0, 0), At(100, 0)}, MakeOptions(1024));
  ASSERT_EQ(outcome.answers.size(), 2u);
  const Answer& first = outcome.answers[0];
  EXPECT_EQ(first.kind, Kind::kResult);
  EXPECT_EQ(first.timings.start, StartKind::kRestored);
  EXPECT_TRUE(first.timings.from_function_snapshot);
  EXPECT_NEAR(first.timings.restore, 20, 0.01);
  EXPECT_NEAR(first.timings.load, 5, 0.01);
  EXPECT_NEAR(first.timings.run, 15, 0.01);
  EXPECT_NEAR(first.latency_ms, 42, 0.01);
  EXPECT_EQ(outcome.answers[1].timings.start, StartKind::kIdle);
  EXPECT_NEAR(outcome.answers[1].timings.run, 10, 0.01);
  EXPECT_NEAR(outcome.answers[1].latency_ms, 12, 0.01);
  EXPECT_EQ(outcome.vms.launches, 1u);
  EXPECT_EQ(outcome.vms.idle_hits, 1u);
  EXPECT_EQ(outcome.peak_reserved_mib, 128u);
  EXPECT_NEAR(outcome.seconds, 0.112, 1e-4);
  EXPECT_NEAR(outcome.cpu_share, 54.0 / 112, 1e-3);
}

TEST(SimulationTest, WhoComesAfterARestWarmsTheMachineUp) {
  Costs costs = FixedCosts();
  costs.warm_up_ms = 6;
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(100, 0), At(400, 0)}, MakeOptions(1024));
  EXPECT_NEAR(outcome.answers[0].latency_ms, 48, 0.01);
  EXPECT_NEAR(outcome.answers[1].latency_ms, 12, 0.01);
  EXPECT_NEAR(outcome.answers[2].latency_ms, 18, 0.01);
  EXPECT_NEAR(outcome.answers[2].timings.run, 10, 0.01);
}

TEST(SimulationTest, ConcurrentRequestsShareTheOneCpu) {
  const auto functions = std::vector{MakeFunction("a"), MakeFunction("b")};
  const Outcome outcome = OutcomeOf(FixedCosts(), functions, {At(0, 0), At(0, 1)}, MakeOptions(1024));
  for (const Answer& answer : outcome.answers) EXPECT_NEAR(answer.latency_ms, 84, 0.01);
  Options two_cpus = MakeOptions(1024);
  two_cpus.cpus = 2;
  for (const Answer& answer : OutcomeOf(FixedCosts(), functions, {At(0, 0), At(0, 1)}, two_cpus).answers) {
    EXPECT_NEAR(answer.latency_ms, 42, 0.01);
  }
}

TEST(SimulationTest, WithoutSnapshotsEveryLaunchIsABoot) {
  Options options = MakeOptions(1024);
  options.host.launch = LaunchKind::kBoot;
  const Outcome outcome = OutcomeOf(FixedCosts(), {MakeFunction("a")}, {At(0, 0)}, options);
  EXPECT_FALSE(outcome.answers[0].timings.from_function_snapshot);
  EXPECT_NEAR(outcome.answers[0].latency_ms, 1017, 0.01);
  EXPECT_EQ(outcome.shells.shells_missing, 0u);
}

TEST(SimulationTest, BootsDoNotPileUpHoweverLongTheyTake) {
  Costs costs = FixedCosts();
  costs.any.Of(LaunchKind::kBoot)->start = Ms(5000);
  Options options = MakeOptions(4096);
  options.controller.max_launches = 2;
  options.host.launch = LaunchKind::kBoot;
  std::vector<Request> requests;
  requests.reserve(20);
  for (int i = 0; i < 20; ++i) requests.push_back(At(i * 500.0, 0));
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a")}, requests, options);
  EXPECT_LE(outcome.vms.launches, 4u);
  for (const Answer& answer : outcome.answers) EXPECT_LT(answer.latency_ms, 21'000);
}

TEST(SimulationTest, LittleMemoryCostsEvictionsWhoseEndIsWaitedFor) {
  const auto functions = std::vector{MakeFunction("a"), MakeFunction("b")};
  const std::vector<Request> requests = {At(0, 0), At(100, 1), At(300, 0)};
  const Outcome outcome = OutcomeOf(FixedCosts(), functions, requests, MakeOptions(128));
  EXPECT_EQ(outcome.vms.evictions, 2u);
  EXPECT_EQ(outcome.vms.launches, 3u);
  EXPECT_NEAR(outcome.answers[1].timings.queued, 30, 0.01);
  EXPECT_NEAR(outcome.answers[1].latency_ms, 72, 0.01);
  EXPECT_EQ(outcome.peak_reserved_mib, 128u);
}

TEST(SimulationTest, CountsAreTheControllersAndAddUp) {
  std::vector<Function> functions;
  functions.reserve(5);
  for (int i = 0; i < 5; ++i) functions.push_back(MakeFunction(std::string(1, static_cast<char>('a' + i))));
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 500; ++i) requests.push_back(At(i * 17.0, (i * i + i / 7) % 5));
  const Outcome outcome = OutcomeOf(FixedCosts(), functions, requests, MakeOptions(3 * 128));
  const auto started = [&outcome](StartKind kind) {
    return static_cast<uint64_t>(std::count_if(outcome.answers.begin(), outcome.answers.end(), [kind](const Answer& a) {
      return a.kind == Kind::kResult && a.timings.start == kind;
    }));
  };
  EXPECT_GT(outcome.vms.evictions, 0u);
  EXPECT_EQ(started(StartKind::kRestored), outcome.vms.launches);
  EXPECT_EQ(started(StartKind::kIdle), outcome.vms.idle_hits);
  EXPECT_EQ(outcome.requests.submitted, requests.size());
  EXPECT_EQ(outcome.requests.answered, started(StartKind::kRestored) + started(StartKind::kIdle));
  EXPECT_LE(outcome.peak_reserved_mib, 3 * 128u);
}

TEST(SimulationTest, RequestsThatWaitTooLongAreThrottled) {
  Options options = MakeOptions(128);
  options.requests.max_wait_ns = 50 * kMilli;
  Costs costs = FixedCosts();
  costs.any.Of(LaunchKind::kFunctionSnapshot)->run = Ms(500);
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(10, 0)}, options);
  EXPECT_EQ(outcome.answers[0].kind, Kind::kResult);
  EXPECT_EQ(outcome.answers[1].kind, Kind::kThrottled);
  EXPECT_EQ(outcome.requests.throttled_queue_timeout, 1u);
}

TEST(SimulationTest, TimeLimitEndsTheMicroVm) {
  Costs costs = FixedCosts();
  costs.any.run = Ms(5000);
  const Outcome outcome =
      OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(100, 0), At(10'000, 0)}, MakeOptions(1024));
  EXPECT_EQ(outcome.answers[1].kind, Kind::kTimedOut);
  EXPECT_NEAR(outcome.answers[1].timings.run, 3000, 0.01);
  EXPECT_EQ(outcome.answers[2].timings.start, StartKind::kRestored);
}

TEST(SimulationTest, RunTimesOfARequestAreItsOwn) {
  std::vector<Request> requests = {At(0, 0), At(1000, 0)};
  requests[0].run_ms = 400;
  requests[1].run_ms = 0.25;
  const Outcome outcome = OutcomeOf(FixedCosts(), {MakeFunction("a")}, requests, MakeOptions(1024));
  EXPECT_NEAR(outcome.answers[0].timings.run, 400, 0.01);
  EXPECT_NEAR(outcome.answers[1].timings.run, 0.25, 0.01);
}

TEST(SimulationTest, PreparingAVmmTakesNothingFromRequests) {
  Costs costs = FixedCosts();
  costs.shell = Ms(100);
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(80, 0)}, MakeOptions(1024));
  EXPECT_NEAR(outcome.answers[0].latency_ms, 42, 0.1);
  EXPECT_NEAR(outcome.answers[1].latency_ms, 12, 0.1);
  EXPECT_EQ(outcome.shells.shells_missing, 0u);
  EXPECT_EQ(outcome.shells.shells_started, 0u) << "it took longer than what was simulated";
}

TEST(SimulationTest, WhatIsShortGoesBeforeTheRestOfWhatIsLong) {
  Costs costs = FixedCosts();
  costs.head_start_ms = 6;
  std::vector<Request> requests = {At(0, 0), At(500, 1), At(1000, 0), At(1100, 1)};
  requests[2].run_ms = 400;
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a"), MakeFunction("b")}, requests, MakeOptions(1024));
  EXPECT_NEAR(outcome.answers[3].latency_ms, 1 + 6 + 2 * 4 + 1, 0.1);
  EXPECT_NEAR(outcome.answers[2].latency_ms, 1 + 400 + 12 + 1, 0.1);
}

TEST(SimulationTest, LaunchWithoutAWaitingVmmCostsMore) {
  Costs costs = FixedCosts();
  costs.shell = Ms(100);
  costs.any.Of(LaunchKind::kFunctionSnapshotBare) = LaunchCosts{Ms(70), Ms(9), Ms(16)};
  Options options = MakeOptions(4096);
  options.cpus = 8;
  options.host.shells_per_kind = 2;
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(0, 0), At(0, 0)}, options);
  EXPECT_NEAR(outcome.answers[1].latency_ms, 42, 0.01);
  EXPECT_NEAR(outcome.answers[2].latency_ms, 97, 0.01);
  EXPECT_EQ(outcome.shells.shells_missing, 1u);
  costs.any.Of(LaunchKind::kFunctionSnapshotBare).reset();
  EXPECT_NEAR(OutcomeOf(costs, {MakeFunction("a")}, {At(0, 0), At(0, 0), At(0, 0)}, options).answers[2].latency_ms, 142,
              0.01);
}

TEST(SimulationTest, LaunchTakesTheVmmThatIsBeingPrepared) {
  Costs costs = FixedCosts();
  costs.shell = Ms(100);
  Options options = MakeOptions(4096);
  options.cpus = 8;
  options.host.shells_per_kind = 1;
  // Its preparation began at 26 ms: 1 ms of overhead, 25 to be loaded.
  const Outcome outcome = OutcomeOf(costs, {MakeFunction("a"), MakeFunction("b")}, {At(0, 0), At(100, 1)}, options);
  EXPECT_NEAR(outcome.answers[1].timings.restore, 45, 0.01);
  EXPECT_EQ(outcome.shells.shells_missing, 1u);
}

TEST(SimulationTest, AVmmThatIsWaitedForIsPreparedHoweverBusyTheMachineIs) {
  Costs costs = FixedCosts();
  costs.shell = Ms(100);
  Options options = MakeOptions(4096);
  options.host.shells_per_kind = 1;
  std::vector<Request> requests = {At(0, 0), At(1000, 1), At(1060, 2)};
  requests[1].run_ms = 2500;
  const auto functions = std::vector{MakeFunction("a"), MakeFunction("b"), MakeFunction("c")};
  const Outcome outcome = OutcomeOf(costs, functions, requests, options);
  EXPECT_LT(outcome.answers[2].latency_ms, 400);
}

TEST(SimulationTest, OneSeedGivesOneOutcomeAndAnotherSeedAnother) {
  Costs costs = FixedCosts();
  costs.overhead.times = Times::LogNormal(2, 8);
  costs.any.run.times = Times({5, 6, 7, 8, 9, 30});
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 300; ++i) requests.push_back(At(i * 11.0, i % 3));
  const auto functions = std::vector{MakeFunction("a"), MakeFunction("b"), MakeFunction("c")};
  const auto latencies = [&](uint64_t seed) {
    Options options = MakeOptions(256);
    options.host.seed = seed;
    std::vector<double> millis;
    for (const Answer& answer : OutcomeOf(costs, functions, requests, options).answers)
      millis.push_back(answer.latency_ms);
    return millis;
  };
  EXPECT_EQ(latencies(1), latencies(1));
  EXPECT_NE(latencies(1), latencies(2));
}

TEST(SimulationTest, NoRequestsEndAtOnce) {
  const Outcome outcome = OutcomeOf(FixedCosts(), {MakeFunction("a")}, {}, MakeOptions(128));
  EXPECT_TRUE(outcome.answers.empty());
  EXPECT_EQ(outcome.seconds, 0);
}

TEST(SimulationTest, CostsWithoutSuchLaunchesAreRefused) {
  Costs costs = FixedCosts();
  costs.any.Of(LaunchKind::kBoot).reset();
  Options options = MakeOptions(128);
  options.host.launch = LaunchKind::kBoot;
  const auto outcome = Simulate(costs, {MakeFunction("thumbnail")}, {At(0, 0)}, options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.error().Message(), testing::AllOf(testing::HasSubstr("thumbnail"), testing::HasSubstr("boot")));
}

}  // namespace
}  // namespace snapfaas::sim
