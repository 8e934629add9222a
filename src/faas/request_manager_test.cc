#include "faas/request_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "faas/fake_vm_host_for_tests.h"
#include "faas/manual_timekeeper.h"

namespace snapfaas::faas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = FunctionOutcome::Kind;
using Throttle = FunctionOutcome::Throttle;
using Ticket = RequestManager::Ticket;

FunctionSpec Reserving(const std::string& function, uint32_t concurrency) {
  FunctionSpec spec = Spec(function);
  spec.reserved_concurrency = concurrency;
  return spec;
}

class RequestManagerTest : public ::testing::Test {
 protected:
  void Make(uint64_t vms, const RequestManager::Options& options = {}) {
    Make({.budget_mib = vms * kCost, .overhead_mib = kOverhead}, options);
  }
  void Make(const Controller::Options& of_controller, const RequestManager::Options& options) {
    controller_.emplace(timekeeper_, host_, of_controller);
    manager_.emplace(timekeeper_, *controller_, options);
  }

  void TearDown() override {
    if (manager_ && !is_drained_) Drain();
    EXPECT_THAT(host_.violations, IsEmpty());
    EXPECT_EQ(host_.living(), 0u);
    for (const auto& [id, outcomes] : outcomes_) EXPECT_EQ(outcomes.size(), 1u) << id;
  }

  void Drain() {
    manager_->Drain(timekeeper_.NowNanos() + 100 * kSecond, [this] { is_drained_ = true; });
    timekeeper_.RunAll();
    EXPECT_TRUE(is_drained_);
    EXPECT_EQ(controller_->budget().reserved(), 0u);
  }

  // A request by the name `id`.
  Ticket Submit(const std::string& id, const FunctionSpec& spec, std::string event = "{}") {
    outcomes_[id];
    auto request = std::make_shared<FunctionRequest>();
    request->id = id;
    request->event = std::move(event);
    const Ticket ticket = manager_->Submit(spec, std::move(request), [this, id](FunctionOutcome outcome) {
      answered_.push_back(id);
      outcomes_[id].push_back(std::move(outcome));
    });
    timekeeper_.RunPosted();
    return ticket;
  }

  bool IsAnswered(const std::string& id) { return !outcomes_[id].empty(); }
  FunctionOutcome Outcome(const std::string& id) {
    EXPECT_TRUE(IsAnswered(id)) << id;
    return IsAnswered(id) ? outcomes_[id].front() : FunctionOutcome();
  }
  std::vector<std::string> Began() const {
    std::vector<std::string> began;
    for (const auto& run : host_.runs) began.push_back(run.request);
    return began;
  }
  // The host takes so long for each request of this function.
  void Takes(const std::string& function, int64_t run_ns) {
    durations_[function] = run_ns;
    host_.plan_for = [this](const FunctionSpec& spec) {
      FakeVmHost::Plan plan = host_.plan;
      if (const auto found = durations_.find(spec.function); found != durations_.end()) plan.run_ns = found->second;
      return plan;
    };
  }
  void Settle() { timekeeper_.RunFor(kSecond); }

  ManualTimekeeper timekeeper_;
  FakeVmHost host_{timekeeper_, kOverhead};
  std::optional<Controller> controller_;
  std::optional<RequestManager> manager_;
  std::map<std::string, std::vector<FunctionOutcome>> outcomes_;
  std::vector<std::string> answered_;
  std::map<std::string, int64_t> durations_;
  bool is_drained_ = false;
};

TEST_F(RequestManagerTest, FirstRequestLaunchesTheNextFindsItIdle) {
  Make(2);
  Submit("1", Spec("a"));
  EXPECT_EQ(manager_->counts().running, 1u);
  Settle();
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
  EXPECT_EQ(Outcome("1").timings.start, StartKind::kRestored);
  Submit("2", Spec("a"));
  Settle();
  EXPECT_EQ(Outcome("2").timings.start, StartKind::kIdle);
  EXPECT_EQ(host_.made.size(), 1u);
  EXPECT_EQ(manager_->counts().running, 0u);
  EXPECT_EQ(manager_->counts().answered, 2u);
}

TEST_F(RequestManagerTest, RequestIsAnsweredBeforeItsVmIsReset) {
  Make(1);
  FunctionSpec spec = Spec("a");
  spec.isolation = Isolation::kReset;
  host_.plan.reset_ns = 500 * kMilli;
  Submit("1", spec);
  Submit("2", spec);
  timekeeper_.RunFor(100 * kMilli);
  EXPECT_TRUE(IsAnswered("1"));
  EXPECT_FALSE(IsAnswered("2"));
  Settle();
  EXPECT_EQ(Outcome("2").timings.start, StartKind::kReset);
  EXPECT_GE(Outcome("2").timings.queued, 500);
}

TEST_F(RequestManagerTest, RequestsOfAKeyAreServedInTheirOrder) {
  Make(1);
  for (const char* id : {"1", "2", "3", "4"}) Submit(id, Spec("a"));
  EXPECT_EQ(manager_->counts().queued, 3u);
  Settle();
  EXPECT_THAT(answered_, ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(host_.made.size(), 1u);
}

TEST_F(RequestManagerTest, NoMoreLaunchesThanRequests) {
  Make(8);
  for (const char* id : {"1", "2", "3"}) Submit(id, Spec("a"));
  Settle();
  EXPECT_EQ(host_.made.size(), 3u);
  EXPECT_EQ(controller_->counts().launches, 3u);
}

TEST_F(RequestManagerTest, IdleVmTakesTheNextRequestWhileAnotherIsLaunched) {
  Make(2);
  host_.plan.launch_ns = 100 * kMilli;
  Submit("1", Spec("a"));
  timekeeper_.RunFor(50 * kMilli);
  Submit("2", Spec("a"));
  Submit("3", Spec("a"));
  timekeeper_.RunFor(60 * kMilli);  // the first is answered, the second still launches
  EXPECT_THAT(Began(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(host_.runs[2].vm, 1u);
}

// Queues

// Else a burst has the host busy with launches, which make one another slow, and more requests come meanwhile.
TEST_F(RequestManagerTest, BurstWaitsForTheVmsThatAreThereNotForOneEach) {
  Make({.budget_mib = 20 * kCost, .overhead_mib = kOverhead, .max_launches = 1}, {});
  host_.plan.launch_ns = 100 * kMilli;
  for (int i = 0; i < 10; ++i) Submit(std::to_string(i), Spec("a"));
  Submit("b", Spec("b"));
  timekeeper_.RunFor(199 * kMilli);
  // The first microVM has answered nine, the second is loaded in a moment.
  EXPECT_EQ(answered_.size(), 9u);
  EXPECT_EQ(host_.made.size(), 2u);
  Settle();
  EXPECT_EQ(answered_.size(), 11u);
  EXPECT_EQ(host_.made.size(), 3u) << "with b's";
}

TEST_F(RequestManagerTest, FullQueueThrottles) {
  Make(1, {.max_queue = 2});
  for (const char* id : {"1", "2", "3", "4"}) Submit(id, Spec("a"));
  EXPECT_EQ(Outcome("4").kind, Kind::kThrottled);
  EXPECT_EQ(Outcome("4").throttle, Throttle::kQueueFull);
  EXPECT_THAT(Outcome("4").message, HasSubstr("2 of function a"));
  EXPECT_FALSE(IsAnswered("3"));
  // Another function has room.
  Submit("5", Spec("b"));
  EXPECT_FALSE(IsAnswered("5"));
  EXPECT_EQ(manager_->counts().throttled_queue_full, 1u);
  EXPECT_EQ(manager_->counts().queued, 3u);
}

TEST_F(RequestManagerTest, QueuesAreBoundedTogether) {
  Make(1, {.max_queue_total = 2});
  for (const char* id : {"1", "2"}) Submit(id, Spec("a"));
  Submit("3", Spec("b"));
  Submit("4", Spec("c"));
  EXPECT_FALSE(IsAnswered("3"));
  EXPECT_EQ(Outcome("4").throttle, Throttle::kQueueFull);
  Settle();
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, EventsThatWaitAreBoundedInBytes) {
  Make(1, {.max_queue_bytes = 1000});
  Submit("1", Spec("a"), std::string(2000, ' '));  // does not wait
  Submit("2", Spec("a"), std::string(900, ' '));
  Submit("3", Spec("a"), std::string(200, ' '));
  EXPECT_FALSE(IsAnswered("2"));
  EXPECT_EQ(Outcome("3").throttle, Throttle::kQueueFull);
  Settle();
  Submit("4", Spec("b"), std::string(900, ' '));
  Settle();
  EXPECT_EQ(Outcome("4").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, RequestThatWaitsTooLongIsThrottled) {
  Make(1, {.max_wait_ns = 2 * kSecond});
  Takes("a", 10 * kSecond);
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  timekeeper_.RunFor(2 * kSecond - kMilli);
  EXPECT_FALSE(IsAnswered("2"));
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_EQ(Outcome("2").throttle, Throttle::kQueueTimeout);
  EXPECT_DOUBLE_EQ(Outcome("2").timings.queued, 2000);
  EXPECT_EQ(manager_->counts().throttled_queue_timeout, 1u);
  EXPECT_EQ(manager_->counts().queued, 0u);
}

TEST_F(RequestManagerTest, WaitingForMemoryOfEvictedVmsCountsAsWaiting) {
  Make(1, {.max_wait_ns = 2 * kSecond});
  host_.plan.destroy_ns = 4 * kSecond;
  Submit("1", Spec("a"));
  Settle();
  Submit("2", Spec("b"));
  EXPECT_EQ(manager_->counts().queued, 1u);
  timekeeper_.RunFor(3 * kSecond);
  EXPECT_EQ(Outcome("2").throttle, Throttle::kQueueTimeout);
  EXPECT_THAT(Began(), ElementsAre("1"));
  // What it gave up is another's.
  Submit("3", Spec("c"));
  timekeeper_.RunFor(3 * kSecond);
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, FunctionThatCanNeverFitIsAnsweredAtOnce) {
  Make(1);
  Submit("1", Spec("huge", 3072));
  EXPECT_EQ(Outcome("1").kind, Kind::kLaunchFailed);
  EXPECT_THAT(Outcome("1").message, HasSubstr("3074 MiB"));
}

// Reserved concurrency

TEST_F(RequestManagerTest, MoreThanReservedIsThrottled) {
  Make(8);
  for (const char* id : {"1", "2", "3"}) Submit(id, Reserving("a", 2));
  EXPECT_EQ(Outcome("3").throttle, Throttle::kReservedConcurrency);
  EXPECT_THAT(Outcome("3").message, HasSubstr("reserved concurrency is 2"));
  EXPECT_EQ(host_.Running("a"), 2u);
  Settle();
  Submit("4", Reserving("a", 2));
  Settle();
  EXPECT_EQ(Outcome("4").kind, Kind::kResult);
  EXPECT_EQ(manager_->counts().throttled_reserved_concurrency, 1u);
}

TEST_F(RequestManagerTest, ReservedConcurrencyCountsAllVersionsAndThoseThatWait) {
  Make(1);
  FunctionSpec version = Reserving("a", 2);
  version.key = "a:1@1";
  Submit("1", Reserving("a", 2));
  Submit("2", version);
  Submit("3", Reserving("a", 2));
  EXPECT_FALSE(IsAnswered("2"));
  EXPECT_EQ(Outcome("3").throttle, Throttle::kReservedConcurrency);
}

TEST_F(RequestManagerTest, NoneReservedThrottlesAll) {
  Make(1);
  Submit("1", Reserving("a", 0));
  EXPECT_EQ(Outcome("1").throttle, Throttle::kReservedConcurrency);
}

TEST_F(RequestManagerTest, LoweredReservedConcurrencyHoldsForThoseThatWait) {
  Make(2);
  Takes("busy", 100 * kMilli);
  Submit("b1", Spec("busy"));
  Submit("b2", Spec("busy"));
  for (const char* id : {"1", "2", "3"}) Submit(id, Spec("a"));
  Submit("4", Reserving("a", 1));
  EXPECT_EQ(Outcome("4").throttle, Throttle::kReservedConcurrency);
  while (timekeeper_.NowNanos() < 3 * kSecond && timekeeper_.Step()) ASSERT_LE(host_.Running("a"), 1u);
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, CancelledRequestCountsUntilItsVmIsGone) {
  Make(8);
  host_.plan.destroy_ns = 100 * kMilli;
  const Ticket first = Submit("1", Reserving("a", 1));
  manager_->Cancel(first);
  timekeeper_.RunPosted();
  EXPECT_EQ(Outcome("1").kind, Kind::kCancelled);
  Submit("2", Reserving("a", 1));
  EXPECT_EQ(Outcome("2").throttle, Throttle::kReservedConcurrency);
  Settle();
  Submit("3", Reserving("a", 1));
  Settle();
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
}

// Fairness

TEST_F(RequestManagerTest, FloodOfOneFunctionDoesNotStarveAnother) {
  Make(2);
  Takes("flood", 100 * kMilli);
  for (int i = 0; i < 400; ++i) Submit("f" + std::to_string(i), Spec("flood"));
  timekeeper_.RunFor(100 * kMilli);
  Submit("1", Spec("a"));
  timekeeper_.RunFor(1500 * kMilli);
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, FunctionsShareWhatThereIsWithoutMakingVmsAnewForEachRequest) {
  Make(2);
  for (const char* function : {"a", "b", "c", "d"}) {
    Takes(function, 20 * kMilli);
    for (int i = 0; i < 200; ++i) Submit(function + std::to_string(i), Spec(function));
  }
  timekeeper_.RunFor(8 * kSecond);
  for (const char* function : {"a", "b", "c", "d"}) {
    const auto of_function = [function](const auto& run) { return run.function == function; };
    EXPECT_GT(std::count_if(host_.runs.begin(), host_.runs.end(), of_function), 100) << function;
  }
  EXPECT_LT(host_.made.size(), 20u);
}

TEST_F(RequestManagerTest, LargeFunctionIsNotStarvedBySmallOnes) {
  Make(4);
  Takes("small", 100 * kMilli);
  for (int i = 0; i < 400; ++i) Submit("s" + std::to_string(i), Spec("small"));
  Submit("1", Spec("large", 512));
  timekeeper_.RunFor(1500 * kMilli);
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
}

TEST_F(RequestManagerTest, WarmVmIsNotEndedForItsOwnFunctionsNextRequest) {
  Make(1);
  Takes("a", 2 * kSecond);
  for (const char* id : {"1", "2", "3"}) Submit(id, Spec("a"));
  timekeeper_.RunFor(10 * kSecond);
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
  EXPECT_EQ(host_.made.size(), 1u);
}

// Failures

TEST_F(RequestManagerTest, LaunchThatFailsTwiceIsReported) {
  Make(1);
  host_.plan.launch_fails = true;
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  Settle();
  EXPECT_EQ(Outcome("1").kind, Kind::kLaunchFailed);
  EXPECT_EQ(Outcome("2").kind, Kind::kLaunchFailed);
  EXPECT_EQ(controller_->counts().launch_failures, 4u);
  EXPECT_EQ(manager_->counts().launch_failed, 2u);
}

TEST_F(RequestManagerTest, CrashIsReportedAndTheNextRequestGetsAnotherVm) {
  Make(1);
  host_.plan.kind = Kind::kCrashed;
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  Settle();
  EXPECT_EQ(Outcome("1").kind, Kind::kCrashed);
  EXPECT_EQ(Outcome("2").kind, Kind::kCrashed);
  EXPECT_EQ(host_.made.size(), 2u);
}

TEST_F(RequestManagerTest, SilentHostIsOverruledAtTheTimeLimit) {
  Make(1, {.launch_allowance_ns = 10 * kSecond, .grace_ns = kSecond});
  host_.plan.answers = false;
  Submit("1", Spec("a"));
  timekeeper_.RunFor(14 * kSecond - kMilli);
  EXPECT_FALSE(IsAnswered("1"));
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_EQ(Outcome("1").kind, Kind::kTimedOut);
  EXPECT_THAT(Outcome("1").message, HasSubstr("14 s"));
  Settle();
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(manager_->counts().timed_out, 1u);
}

TEST_F(RequestManagerTest, ErrorOfTheFunctionLeavesItsVmIdle) {
  Make(1);
  host_.plan.kind = Kind::kError;
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  Settle();
  EXPECT_EQ(Outcome("2").kind, Kind::kError);
  EXPECT_EQ(host_.made.size(), 1u);
  EXPECT_EQ(manager_->counts().answered, 2u);
  EXPECT_EQ(manager_->counts().errors, 2u);
}

// Cancel

TEST_F(RequestManagerTest, CancelledWaitingRequestLeavesItsQueue) {
  Make(1);
  Submit("1", Spec("a"));
  const Ticket second = Submit("2", Spec("a"));
  Submit("3", Spec("a"));
  manager_->Cancel(second);
  timekeeper_.RunPosted();
  EXPECT_EQ(Outcome("2").kind, Kind::kCancelled);
  Settle();
  EXPECT_THAT(Began(), ElementsAre("1", "3"));
  EXPECT_EQ(manager_->counts().cancelled, 1u);
}

TEST_F(RequestManagerTest, CancelledRunningRequestsVmEnds) {
  Make(1);
  Takes("a", 100 * kSecond);
  const Ticket first = Submit("1", Spec("a"));
  Submit("2", Spec("b"));
  Settle();
  manager_->Cancel(first);
  timekeeper_.RunPosted();
  EXPECT_EQ(Outcome("1").kind, Kind::kCancelled);
  Settle();
  EXPECT_EQ(Outcome("2").kind, Kind::kResult);
  EXPECT_EQ(controller_->CountVms(VmState::kBusy), 0u);
}

TEST_F(RequestManagerTest, CancelledRequestThatWaitsForMemoryDoesNotBegin) {
  Make(1);
  Submit("1", Spec("a"));
  Settle();
  manager_->Cancel(Submit("2", Spec("b")));
  Settle();
  EXPECT_EQ(Outcome("2").kind, Kind::kCancelled);
  EXPECT_THAT(Began(), ElementsAre("1"));
}

TEST_F(RequestManagerTest, CancelAfterTheAnswerDoesNothing) {
  Make(1);
  const Ticket first = Submit("1", Spec("a"));
  Settle();
  manager_->Cancel(first);
  manager_->Cancel(99);
  Settle();
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
  EXPECT_EQ(host_.living(), 1u);
}

// Retire

TEST_F(RequestManagerTest, RetiredKeysWaitingRequestsEndAndItsRunningOnesGoOn) {
  Make(1);
  FunctionSpec changed = Spec("a");
  changed.key = "a:$LATEST@2";
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  Submit("3", changed);
  manager_->RetireKey("a:$LATEST@1");
  timekeeper_.RunPosted();
  EXPECT_EQ(Outcome("2").kind, Kind::kRetired);
  Settle();
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
  EXPECT_EQ(Outcome("3").kind, Kind::kResult);
  EXPECT_EQ(host_.living(), 1u);
  EXPECT_EQ(manager_->counts().retired, 1u);
}

TEST_F(RequestManagerTest, RequestThatWaitsForMemoryIsRetiredToo) {
  Make(1);
  Submit("1", Spec("a"));
  Settle();
  Submit("2", Spec("b"));
  manager_->RetireFunction("b");
  Settle();
  EXPECT_EQ(Outcome("2").kind, Kind::kRetired);
  EXPECT_THAT(Began(), ElementsAre("1"));
}

// Drain

TEST_F(RequestManagerTest, DrainRefusesNewRequestsAndLetsTheOthersEnd) {
  Make(1);
  Submit("1", Spec("a"));
  Submit("2", Spec("b"));
  manager_->Drain(timekeeper_.NowNanos() + 100 * kSecond, [this] {
    is_drained_ = true;
    EXPECT_EQ(host_.living(), 0u);
  });
  Submit("3", Spec("a"));
  EXPECT_EQ(Outcome("3").kind, Kind::kStopping);
  EXPECT_FALSE(is_drained_);
  Settle();
  EXPECT_TRUE(is_drained_);
  EXPECT_EQ(Outcome("1").kind, Kind::kResult);
  EXPECT_EQ(Outcome("2").kind, Kind::kResult);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
  EXPECT_EQ(timekeeper_.timers(), 0u);
}

TEST_F(RequestManagerTest, DrainWithNothingToDoIsDone) {
  Make(1);
  Drain();
  EXPECT_EQ(timekeeper_.timers(), 0u);
}

TEST_F(RequestManagerTest, DrainEndsWhatIsLeftAtItsDeadline) {
  Make(1);
  Takes("a", 1000 * kSecond);
  Submit("1", Spec("a"));
  Submit("2", Spec("a"));
  manager_->Drain(timekeeper_.NowNanos() + 5 * kSecond, [this] { is_drained_ = true; });
  timekeeper_.RunFor(4 * kSecond);
  EXPECT_FALSE(IsAnswered("1"));
  timekeeper_.RunFor(2 * kSecond);
  EXPECT_EQ(Outcome("1").kind, Kind::kStopping);
  EXPECT_EQ(Outcome("2").kind, Kind::kStopping);
  EXPECT_TRUE(is_drained_);
}

TEST_F(RequestManagerTest, WhatComesAfterItsEndIsHarmless) {
  Make(1);
  Submit("1", Spec("a"));
  timekeeper_.RunFor(kMilli);
  manager_->Cancel(1);
  manager_.reset();
  controller_.reset();
  timekeeper_.RunAll();  // the answer of the host
  EXPECT_FALSE(IsAnswered("1"));
  outcomes_.clear();
  host_.Destroy(1, [] {});
  timekeeper_.RunAll();
}

}  // namespace
}  // namespace snapfaas::faas
