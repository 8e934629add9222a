#include "cli/load_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "cli/http_node_for_tests.h"

namespace snapfaas::cli {
namespace {

using Answer = HttpNodeForTests::Answer;
using Request = HttpNodeForTests::Request;
using testing::Each;
using testing::HasSubstr;

constexpr char kState[] = R"({"memory_budget_mib":2048,"memory_reserved_mib":384,"vms_busy":1,"vms_idle":2,
                              "requests_queued":3,"counts":{"launches":7,"evictions":1}})";

std::string TargetOf(const Request& request) { return std::string(request.target()); }
bool AsksForState(const Request& request) { return TargetOf(request) == "/v1/node"; }

// Answers for the node's state; the rest is the test's.
HttpNodeForTests::Script With(HttpNodeForTests::Script invoke) {
  return [invoke = std::move(invoke)](const Request& request) {
    return AsksForState(request) ? Answer{200, kState} : invoke(request);
  };
}

Answer Warm(const Request& /*request*/) { return {200, "{}", {{"X-SnapFaaS-Start", "idle"}}}; }

LoadTarget TargetAt(const std::string& url) {
  auto endpoint = ParseEndpoint(url);
  EXPECT_TRUE(endpoint);
  return {*endpoint, std::nullopt, http::SigningScope()};
}

Workload WorkloadNamed(const std::vector<std::string>& names) {
  Workload workload;
  workload.duration_seconds = 0.01;
  for (const std::string& name : names) workload.functions.emplace_back().name = name;
  return workload;
}

// `count` requests of the first function, all due at once.
std::vector<Arrival> AtOnce(size_t count) { return std::vector<Arrival>(count); }

LoadRun Load(const HttpNodeForTests& node, const Workload& workload, const std::vector<Arrival>& plan,
             const LoadOptions& options = {}) {
  auto run = RunLoad(TargetAt(node.url()), workload, plan, options);
  EXPECT_TRUE(run) << run.error().Message();
  return run ? *std::move(run) : LoadRun();
}

TEST(LoadRunnerTest, EachRequestOfThePlanIsSentOnce) {
  const HttpNodeForTests node(With(Warm));
  Workload workload = WorkloadNamed({"a", "b:2"});
  workload.functions[1].event = R"({"n":3})";
  const LoadRun run = Load(node, workload, {{0, 0, 0}, {1'000'000, 1, 5}, {2'000'000, 0, 1}});
  std::vector<std::string> sent;
  for (const Request& request : node.Seen()) {
    if (!AsksForState(request)) sent.push_back(TargetOf(request) + " " + request.body());
  }
  EXPECT_THAT(sent, testing::UnorderedElementsAre("/2015-03-31/functions/a/invocations {}",
                                                  "/2015-03-31/functions/b%3A2/invocations {\"n\":3}",
                                                  "/2015-03-31/functions/a/invocations {}"));
  ASSERT_EQ(run.samples.size(), 3U);
  EXPECT_EQ(run.samples[1].function, 1U);
  EXPECT_EQ(run.samples[1].user, 5U);
  EXPECT_EQ(run.samples[1].due_ns, 1'000'000);
  EXPECT_TRUE(run.samples[1].succeeded());
  EXPECT_TRUE(run.problems.empty());
}

TEST(LoadRunnerTest, NothingIsSentBeforeItsTimeAndLagIsPartOfLatency) {
  const HttpNodeForTests node(With(Warm));
  const LoadRun run = Load(node, WorkloadNamed({"a"}), {{0, 0, 0}, {20'000'000, 0, 0}, {20'000'000, 0, 1}});
  for (const LoadSample& sample : run.samples) {
    EXPECT_GE(sample.lag_ms, 0);
    EXPECT_GT(sample.response_ms, 0);
    EXPECT_NEAR(sample.latency_ms, sample.lag_ms + sample.response_ms, 1e-6);
  }
  EXPECT_GE(run.seconds, 0.02);
}

// A closed loop would wait for answers that do not come before all requests are there.
TEST(LoadRunnerTest, RequestsDoNotWaitForAnswers) {
  constexpr size_t kRequests = 40;
  std::mutex mutex;
  std::condition_variable all_here;
  size_t here = 0;
  const HttpNodeForTests node(With([&](const Request& request) {
    std::unique_lock lock(mutex);
    ++here;
    all_here.notify_all();
    const bool are_all = all_here.wait_for(lock, std::chrono::seconds(20), [&here] { return here == kRequests; });
    return are_all ? Warm(request) : Answer{500};
  }));
  const LoadRun run = Load(node, WorkloadNamed({"a"}), AtOnce(kRequests));
  const auto succeeded = std::count_if(run.samples.begin(), run.samples.end(),
                                       [](const LoadSample& sample) { return sample.succeeded(); });
  EXPECT_EQ(succeeded, static_cast<int64_t>(kRequests));
  EXPECT_GE(node.connections(), kRequests);
}

TEST(LoadRunnerTest, HeadersSayHowARequestCameToItsMicroVm) {
  std::atomic<size_t> count = 0;
  const HttpNodeForTests node(With([&count](const Request& /*request*/) -> Answer {
    const http::Fields starts[] = {{{"X-SnapFaaS-Start", "idle"}},
                                   {{"X-SnapFaaS-Start", "reset"}},
                                   {{"X-SnapFaaS-Start", "restored"}, {"X-SnapFaaS-Snapshot", "base"}},
                                   {{"X-SnapFaaS-Start", "restored"}, {"X-SnapFaaS-Snapshot", "function"}},
                                   {}};
    http::Fields headers = starts[count++ % 5];
    for (const char* phase : {"Queued", "Restore", "Load", "Run", "Total"}) {
      headers.emplace_back(std::string("X-SnapFaaS-") + phase + "-Ms", "1.250");
    }
    return {200, "{}", headers};
  }));
  SequentialCalls calls;
  calls.function = "a";
  calls.warm_up = 0;
  calls.runs = 5;
  const auto samples = RunSequentially(TargetAt(node.url()), calls);
  ASSERT_TRUE(samples) << samples.error().Message();
  std::vector<Start> starts;
  for (const LoadSample& sample : *samples) starts.push_back(sample.start);
  EXPECT_THAT(starts,
              testing::ElementsAre(Start::kWarm, Start::kWarm, Start::kCold, Start::kRestored, Start::kUnknown));
  const LoadSample& sample = samples->front();
  const std::vector<double> phases = {sample.queued_ms, sample.restore_ms, sample.load_ms, sample.run_ms,
                                      sample.total_ms};
  EXPECT_THAT(phases, Each(1.25));
}

TEST(LoadRunnerTest, WhatDoesNotSucceedIsCountedByItsReason) {
  const HttpNodeForTests node(With([](const Request& request) -> Answer {
    if (TargetOf(request).find("/throttled/") != std::string::npos) {
      return {429, R"({"message":"Rate Exceeded.","Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"})"};
    }
    if (TargetOf(request).find("/missing/") != std::string::npos) return {404, R"({"Message":"Function not found"})"};
    return {200, R"({"errorType":"KeyError","errorMessage":"'n'"})", {{"X-Amz-Function-Error", "Unhandled"}}};
  }));
  const LoadRun run =
      Load(node, WorkloadNamed({"throttled", "missing", "faulty"}), {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 2, 1}});
  const std::map<std::string, uint64_t> expected = {
      {"status 429: ReservedFunctionConcurrentInvocationLimitExceeded", 1},
      {"status 404: Function not found", 1},
      {"function error: KeyError", 2}};
  EXPECT_EQ(run.problems, expected);
  EXPECT_EQ(run.samples[0].status, 429);
  EXPECT_EQ(run.samples[2].status, 200);
  EXPECT_TRUE(run.samples[2].has_function_error);
}

TEST(LoadRunnerTest, KindsOfProblemsAreBounded) {
  std::atomic<int> count = 0;
  const HttpNodeForTests node(With([&count](const Request& /*request*/) {
    return Answer{500, R"({"message":"failure )" + std::to_string(count++) + "\"}"};
  }));
  const LoadRun run = Load(node, WorkloadNamed({"a"}), AtOnce(50));
  EXPECT_LE(run.problems.size(), 17U);
  EXPECT_GT(run.problems.at("others"), 30U);
}

TEST(LoadRunnerTest, ARequestWithoutAnAnswerIsGivenUp) {
  std::mutex mutex;
  std::condition_variable released;
  bool is_released = false;
  const HttpNodeForTests node(With([&](const Request& request) {
    if (TargetOf(request).find("/stuck/") == std::string::npos) return Warm(request);
    std::unique_lock lock(mutex);
    released.wait(lock, [&is_released] { return is_released; });
    return Warm(request);
  }));
  LoadOptions options;
  options.timeout_seconds = 0.05;
  const LoadRun run = Load(node, WorkloadNamed({"stuck"}), AtOnce(2), options);
  EXPECT_EQ(run.samples[0].status, 0);
  EXPECT_GE(run.samples[0].response_ms, 40);
  EXPECT_EQ(run.problems.at("no answer in time"), 2U);
  {
    const std::lock_guard lock(mutex);
    is_released = true;
  }
  released.notify_all();
}

TEST(LoadRunnerTest, ABrokenConnectionIsOneRequestsLoss) {
  std::atomic<int> count = 0;
  const HttpNodeForTests node(
      With([&count](const Request& request) { return count++ == 0 ? Answer{.hang_up = true} : Warm(request); }));
  const LoadRun run = Load(node, WorkloadNamed({"a"}), AtOnce(3));
  EXPECT_EQ(run.problems.at("the node closed the connection"), 1U);
  const auto succeeded = std::count_if(run.samples.begin(), run.samples.end(),
                                       [](const LoadSample& sample) { return sample.succeeded(); });
  EXPECT_EQ(succeeded, 2);
}

TEST(LoadRunnerTest, TheNodesStateIsLookedAtBeforeDuringAndAfter) {
  std::atomic<int> asked = 0;
  std::mutex mutex;
  std::condition_variable changed;
  const HttpNodeForTests node([&](const Request& request) {
    if (AsksForState(request)) {
      const std::lock_guard lock(mutex);
      ++asked;
      changed.notify_all();
      return Answer{200, kState};
    }
    // Lasts until the node was looked at meanwhile.
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(20), [&asked] { return asked >= 3; });
    return Warm(request);
  });
  LoadOptions options;
  options.look_every_seconds = 0.001;
  std::atomic<int> progressed = 0;
  options.progress = [&progressed](const LoadProgress& progress) {
    ++progressed;
    EXPECT_LE(progress.answered, progress.sent);
  };
  const LoadRun run = Load(node, WorkloadNamed({"a"}), AtOnce(1), options);
  ASSERT_GE(run.states.size(), 2U);
  EXPECT_GT(run.states.back().at_seconds, 0);
  EXPECT_EQ(run.states[0].budget_mib, 2048U);
  EXPECT_EQ(run.states[0].reserved_mib, 384U);
  EXPECT_EQ(run.states[0].vms_idle, 2U);
  ASSERT_TRUE(run.after);
  EXPECT_EQ(run.after->counts.at("launches"), 7U);
  EXPECT_GT(progressed, 0);
}

TEST(LoadRunnerTest, ANodeThatBreaksDownIsInTheSamples) {
  std::atomic<int> asked = 0;
  const HttpNodeForTests node([&asked](const Request& request) {
    if (AsksForState(request) && asked++ == 0) return Answer{200, kState};
    return Answer{.hang_up = true};
  });
  const LoadRun run = Load(node, WorkloadNamed({"a"}), AtOnce(2));
  EXPECT_FALSE(run.after);
  EXPECT_EQ(run.problems.at("the node closed the connection"), 2U);
}

TEST(LoadRunnerTest, WithoutANodeNothingBegins) {
  std::string url;
  {
    const HttpNodeForTests node(Warm);
    url = node.url();
    const auto run = RunLoad(TargetAt(url), WorkloadNamed({"a"}), AtOnce(1), {});
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, ErrorCode::kIncompatible);
  }
  const auto run = RunLoad(TargetAt(url), WorkloadNamed({"a"}), AtOnce(1), {});
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::kUnavailable);
}

TEST(LoadRunnerTest, RequestsAreSignedWhereThereAreCredentials) {
  const HttpNodeForTests node(With(Warm));
  LoadTarget target = TargetAt(node.url());
  target.credentials = http::Credentials{"AKID", "secret"};
  ASSERT_TRUE(RunLoad(target, WorkloadNamed({"a"}), AtOnce(2), {}));
  for (const Request& request : node.Seen()) {
    EXPECT_THAT(std::string(request["Authorization"]), HasSubstr("Credential=AKID/"));
  }
}

TEST(LoadRunnerTest, SequentialCallsShareAConnection) {
  const HttpNodeForTests node(Warm);
  SequentialCalls calls;
  calls.function = "a";
  calls.event = "[1]";
  calls.warm_up = 2;
  calls.runs = 20;
  const auto samples = RunSequentially(TargetAt(node.url()), calls);
  ASSERT_TRUE(samples) << samples.error().Message();
  EXPECT_EQ(samples->size(), 20U);
  EXPECT_EQ(node.Seen().size(), 22U);
  EXPECT_EQ(node.Seen().back().body(), "[1]");
  EXPECT_EQ(node.connections(), 1U);
}

TEST(LoadRunnerTest, ASequentialCallThatFailsEndsThem) {
  std::atomic<int> count = 0;
  const HttpNodeForTests node([&count](const Request& request) {
    return count++ < 3 ? Warm(request) : Answer{404, R"({"Message":"Function not found"})"};
  });
  SequentialCalls calls;
  calls.function = "a";
  const auto samples = RunSequentially(TargetAt(node.url()), calls);
  ASSERT_FALSE(samples);
  EXPECT_THAT(samples.error().Message(), HasSubstr("call 4 of a did not succeed: status 404: Function not found"));
}

TEST(LoadRunnerTest, WhatIsNoNodesStateIsRefused) {
  for (const char* text : {"", "[]", "{}", R"({"counts":3})", "<html>"}) {
    const auto state = ParseNodeState(text);
    ASSERT_FALSE(state) << text;
    EXPECT_EQ(state.error().code, ErrorCode::kIncompatible);
  }
}

}  // namespace
}  // namespace snapfaas::cli
