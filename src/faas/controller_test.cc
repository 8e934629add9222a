#include "faas/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>
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
using ::testing::Pair;
using Effort = Controller::Effort;
using Kind = FunctionOutcome::Kind;
using Lease = Controller::Lease;
using Usability = Controller::Usability;

class ControllerTest : public ::testing::Test {
 protected:
  // For `vms` microVMs of 128 MiB.
  void Make(uint64_t vms, Controller::Options options = {}) {
    options.budget_mib = vms * kCost;
    options.overhead_mib = kOverhead;
    options.idle_ttl_ns = 100 * kSecond;
    controller_.emplace(timekeeper_, host_, options, [this](const Controller::VmEvent& event) {
      if (event.kind == Controller::VmEventKind::kEvicted) evicted_.push_back(event.spec.function);
      events_.emplace_back(event.kind, event.vm);
    });
    controller_->SetOnCapacity([this] { ++capacity_calls_; });
  }

  void TearDown() override {
    EXPECT_THAT(host_.violations, IsEmpty());
    if (controller_ && !is_drained_) Drain();
    EXPECT_EQ(host_.living(), 0u);
  }

  void Drain() {
    controller_->Drain([this] { is_drained_ = true; });
    timekeeper_.RunAll();
    EXPECT_TRUE(is_drained_);
    EXPECT_EQ(controller_->budget().reserved(), 0u);
    EXPECT_THAT(controller_->List(), IsEmpty());
  }

  struct Call {
    bool started = false;
    std::optional<Kind> kind;
    bool is_usable = false;
  };

  std::shared_ptr<Call> Send(Lease& lease) {
    auto call = std::make_shared<Call>();
    lease.Invoke(
        std::make_shared<FunctionRequest>(), [call] { call->started = true; },
        [call](const VmHost::Answer& answer) {
          call->kind = answer.outcome.kind;
          call->is_usable = answer.is_usable;
        });
    return call;
  }

  Lease Allocated(const FunctionSpec& spec, Effort effort = Effort::kMakeRoom) {
    auto lease = controller_->Allocate(spec, effort);
    if (!lease) throw std::runtime_error("nothing to be had for " + spec.function);
    return std::move(*lease);
  }

  // One request, from Allocate to Free. Time goes on as far as its answer takes.
  Kind RunOne(const FunctionSpec& spec) {
    Lease lease = Allocated(spec);
    const auto call = Send(lease);
    while (!call->kind && timekeeper_.Step()) {
    }
    const Kind kind = call->kind.value_or(Kind::kCancelled);
    controller_->Free(std::move(lease), call->is_usable ? Usability::kUsable : Usability::kUnusable);
    return kind;
  }

  // What is under way ends; what is idle does not expire.
  void Settle() { timekeeper_.RunFor(kSecond); }

  ManualTimekeeper timekeeper_;
  FakeVmHost host_{timekeeper_, kOverhead};
  std::optional<Controller> controller_;
  std::vector<std::string> evicted_;
  std::vector<std::pair<Controller::VmEventKind, VmId>> events_;
  int capacity_calls_ = 0;
  bool is_drained_ = false;
};

TEST_F(ControllerTest, IdleVmTakesTheNextRequest) {
  Make(4);
  EXPECT_EQ(RunOne(Spec("a")), Kind::kResult);
  Lease lease = Allocated(Spec("a"), Effort::kIdleOnly);
  Send(lease);
  EXPECT_EQ(lease.start(), StartKind::kIdle);
  EXPECT_THAT(host_.made, ElementsAre("a:$LATEST@1"));
  EXPECT_EQ(controller_->counts().idle_hits, 1u);
}

TEST_F(ControllerTest, VmServesItsOwnKeyOnly) {
  Make(4);
  RunOne(Spec("a"));
  FunctionSpec changed = Spec("a");
  changed.key = "a:$LATEST@2";
  EXPECT_FALSE(controller_->Allocate(changed, Effort::kIdleOnly));
  RunOne(changed);
  EXPECT_THAT(host_.made, ElementsAre("a:$LATEST@1", "a:$LATEST@2"));
}

TEST_F(ControllerTest, LastUsedVmIsTakenFirst) {
  Make(4);
  {
    Lease first = Allocated(Spec("a"));
    Lease second = Allocated(Spec("a"));
    Send(first);
    Send(second);
    Settle();
    controller_->Free(std::move(second), Usability::kUsable);
    controller_->Free(std::move(first), Usability::kUsable);
  }
  RunOne(Spec("a"));
  EXPECT_EQ(host_.runs.back().vm, 1u);
}

TEST_F(ControllerTest, LeastRecentlyUsedIdleVmsMakeRoom) {
  Make(3);
  RunOne(Spec("a"));
  RunOne(Spec("b"));
  RunOne(Spec("c"));
  RunOne(Spec("a"));
  // Takes two of them.
  RunOne(Spec("big", 256));
  EXPECT_THAT(evicted_, ElementsAre("b", "c"));
  EXPECT_EQ(controller_->counts().evictions, 2u);
}

TEST_F(ControllerTest, MemoryIsFreeWhenTheHostSaysSoNotBefore) {
  Make(1);
  host_.plan.destroy_ns = 50 * kMilli;
  RunOne(Spec("a"));
  Lease lease = Allocated(Spec("b"));
  const auto call = Send(lease);
  timekeeper_.RunFor(49 * kMilli);
  EXPECT_FALSE(call->started);
  EXPECT_EQ(controller_->budget().reserved(), kCost);
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_TRUE(call->started);
  EXPECT_EQ(controller_->budget().reserved(), kCost);
}

TEST_F(ControllerTest, NobodyTakesWhatWasEvictedForAnother) {
  Make(2);
  RunOne(Spec("a"));
  RunOne(Spec("b"));
  Lease first = Allocated(Spec("c"));  // waits for a's memory
  Lease second = Allocated(Spec("d"));
  EXPECT_FALSE(controller_->Allocate(Spec("e"), Effort::kMakeRoom));
  EXPECT_THAT(evicted_, ElementsAre("a", "b"));
  const auto later = Send(second);
  const auto earlier = Send(first);
  Settle();
  EXPECT_TRUE(earlier->started && later->started);
}

TEST_F(ControllerTest, NothingIsEvictedInVain) {
  Make(2);
  RunOne(Spec("a"));
  Lease busy = Allocated(Spec("b"));
  Send(busy);
  EXPECT_FALSE(controller_->Allocate(Spec("big", 256), Effort::kMakeRoom));
  EXPECT_THAT(evicted_, IsEmpty());
}

TEST_F(ControllerTest, CapacityIsToldWhenAVmBecomesIdleAndWhenMemoryComesBack) {
  Make(1);
  Lease lease = Allocated(Spec("a"));
  const auto call = Send(lease);
  Settle();
  ASSERT_TRUE(call->kind);
  EXPECT_EQ(capacity_calls_, 0);
  controller_->Free(std::move(lease), Usability::kUsable);
  EXPECT_EQ(capacity_calls_, 0) << "within the call";
  timekeeper_.RunPosted();
  EXPECT_EQ(capacity_calls_, 1);
  controller_->RetireFunction("a");
  timekeeper_.RunPosted();
  const int before = capacity_calls_;
  Settle();
  EXPECT_EQ(capacity_calls_, before + 1);
}

TEST_F(ControllerTest, InsistingGetsWhatBecomesFree) {
  Make(3);
  Lease first = Allocated(Spec("a"));
  Lease second = Allocated(Spec("b"));
  Send(first);
  Send(second);
  Lease big = Allocated(Spec("big", 256), Effort::kInsist);
  const auto call = Send(big);
  EXPECT_FALSE(controller_->Allocate(Spec("other", 256), Effort::kInsist)) << "one at a time";
  Settle();
  EXPECT_FALSE(call->started);
  controller_->Free(std::move(first), Usability::kUsable);
  EXPECT_FALSE(controller_->Allocate(Spec("a"), Effort::kMakeRoom));
  Settle();
  EXPECT_TRUE(call->started);
}

TEST_F(ControllerTest, AVmOfItsOwnKindServesWhoWaitsForMemory) {
  Make(1);
  Lease busy = Allocated(Spec("a"));
  Send(busy);
  Lease waiting = Allocated(Spec("a"), Effort::kInsist);
  const auto call = Send(waiting);
  Settle();
  controller_->Free(std::move(busy), Usability::kUsable);
  EXPECT_TRUE(call->started);
  EXPECT_EQ(waiting.start(), StartKind::kIdle);
  Settle();
  EXPECT_EQ(call->kind, Kind::kResult);
  EXPECT_EQ(host_.made.size(), 1u);
  EXPECT_EQ(host_.destroys, 0u);
  controller_->Free(std::move(waiting), Usability::kUsable);
  RunOne(Spec("a"));
  EXPECT_EQ(host_.made.size(), 1u);
}

TEST_F(ControllerTest, OnlySoManyLaunchesAreUnderWay) {
  Make(4, {.max_launches = 2});
  host_.plan.run_ns = kSecond;
  Lease first = Allocated(Spec("a"));
  Lease second = Allocated(Spec("b"));
  Send(first);
  Send(second);
  timekeeper_.RunFor(9 * kMilli);
  EXPECT_FALSE(controller_->Allocate(Spec("c"), Effort::kMakeRoom)) << "there is memory, but no launch to be had";
  EXPECT_EQ(capacity_calls_, 0);
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_EQ(capacity_calls_, 1) << "loaded, though their requests run";
  RunOne(Spec("c"));
}

TEST_F(ControllerTest, WhoInsistsGetsTheNextLaunch) {
  Make(4, {.max_launches = 1});
  Lease first = Allocated(Spec("a"));
  Send(first);
  Lease next = Allocated(Spec("b"), Effort::kInsist);
  const auto call = Send(next);
  EXPECT_FALSE(controller_->Allocate(Spec("c"), Effort::kInsist)) << "one at a time";
  timekeeper_.RunFor(9 * kMilli);
  EXPECT_FALSE(call->started);
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_TRUE(call->started);
}

TEST_F(ControllerTest, ALaunchThatHangsHoldsNobodyUp) {
  Make(4, {.max_launches = 1});
  host_.plan.answers = false;
  Lease hangs = Allocated(Spec("a"));
  Send(hangs);
  timekeeper_.RunFor(1900 * kMilli);
  EXPECT_FALSE(controller_->Allocate(Spec("b"), Effort::kMakeRoom));
  timekeeper_.RunFor(200 * kMilli);
  EXPECT_EQ(capacity_calls_, 1);
  host_.plan.answers = true;
  RunOne(Spec("b"));
}

TEST_F(ControllerTest, ALaunchThatFailsOrIsGivenUpMakesWayForTheNext) {
  Make(4, {.max_launches = 1});
  host_.plan.launch_fails = true;
  EXPECT_EQ(RunOne(Spec("a")), Kind::kLaunchFailed);
  host_.plan = {.launch_ns = kSecond};
  Lease given_up = Allocated(Spec("b"));
  Send(given_up);
  given_up.Abandon(nullptr);
  EXPECT_EQ(RunOne(Spec("c")), Kind::kResult);
}

TEST_F(ControllerTest, WhatCanNeverFitIsAnErrorThatNamesTheSizes) {
  Make(2);
  EXPECT_TRUE(controller_->CheckFits(Spec("a", 256)));
  const auto fits = controller_->CheckFits(Spec("huge", 512));
  ASSERT_FALSE(fits);
  EXPECT_EQ(fits.error().code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(fits.error().Message(), HasSubstr("huge takes 514 MiB"));
  EXPECT_THAT(fits.error().Message(), HasSubstr("260"));
  EXPECT_FALSE(controller_->Allocate(Spec("huge", 512), Effort::kInsist));
}

TEST_F(ControllerTest, IdleVmExpires) {
  Make(2);
  RunOne(Spec("a"));
  timekeeper_.RunFor(60 * kSecond);
  RunOne(Spec("a"));
  timekeeper_.RunFor(99 * kSecond);
  EXPECT_EQ(controller_->CountVms(VmState::kIdle), 1u);
  timekeeper_.RunFor(2 * kSecond);
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(controller_->counts().expirations, 1u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(ControllerTest, ResetComesAfterTheAnswerAndBeforeTheNextRequest) {
  Make(1);
  const auto spec = Spec("a", 128, Isolation::kReset);
  RunOne(spec);
  EXPECT_EQ(controller_->CountVms(VmState::kResetting), 1u);
  EXPECT_FALSE(controller_->Allocate(spec, Effort::kMakeRoom)) << "it is dirty";
  Settle();
  EXPECT_EQ(host_.resets, 1u);
  Lease lease = Allocated(spec, Effort::kIdleOnly);
  Send(lease);
  EXPECT_EQ(lease.start(), StartKind::kReset);
}

TEST_F(ControllerTest, FailedResetEndsTheVm) {
  Make(1);
  const auto spec = Spec("a", 128, Isolation::kReset);
  host_.plan.reset_fails = true;
  RunOne(spec);
  Settle();
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(controller_->counts().reset_failures, 1u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(ControllerTest, ResetWithoutEndIsEnded) {
  Make(1);
  Lease lease = Allocated(Spec("a", 128, Isolation::kReset));
  Send(lease);
  Settle();
  host_.plan.answers = false;
  controller_->Free(std::move(lease), Usability::kUsable);
  timekeeper_.RunFor(9 * kSecond);
  EXPECT_EQ(controller_->CountVms(VmState::kResetting), 1u);
  timekeeper_.RunFor(2 * kSecond);
  EXPECT_EQ(host_.living(), 0u);
}

TEST_F(ControllerTest, FailedLaunchIsTriedOnceMore) {
  Make(1);
  host_.plan_for = [tries = 0](const FunctionSpec&) mutable {
    FakeVmHost::Plan plan;
    plan.launch_fails = ++tries == 1;
    return plan;
  };
  EXPECT_EQ(RunOne(Spec("a")), Kind::kResult);
  EXPECT_EQ(controller_->counts().launches, 2u);
  EXPECT_EQ(controller_->counts().launch_failures, 1u);
}

TEST_F(ControllerTest, LaunchThatFailsTwiceIsReportedAndCostsNothing) {
  Make(1);
  host_.plan.launch_fails = true;
  Lease lease = Allocated(Spec("a"));
  const auto call = Send(lease);
  Settle();
  EXPECT_EQ(call->kind, Kind::kLaunchFailed);
  EXPECT_EQ(controller_->counts().launch_failures, 2u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
  EXPECT_THAT(controller_->List(), IsEmpty());
  controller_->Free(std::move(lease), Usability::kUnusable);
  host_.plan.launch_fails = false;
  EXPECT_EQ(RunOne(Spec("a")), Kind::kResult);
}

TEST_F(ControllerTest, RequestThatFindsItsVmGoneGetsANewOne) {
  Make(1);
  RunOne(Spec("f"));
  host_.plan.is_gone = true;
  Lease lease = Allocated(Spec("f"));
  const auto call = Send(lease);
  while (!call->kind) ASSERT_TRUE(timekeeper_.Step());
  EXPECT_EQ(call->kind, Kind::kResult);
  EXPECT_EQ(lease.start(), StartKind::kRestored);
  EXPECT_EQ(controller_->counts().idle_losses, 1u);
  EXPECT_EQ(controller_->counts().launch_failures, 0u);
  controller_->Free(std::move(lease), Usability::kUsable);
  EXPECT_EQ(host_.living(), 1u);
}

TEST_F(ControllerTest, VmThatMisbehavedIsNotUsedAgain) {
  Make(1);
  host_.plan.kind = Kind::kCrashed;
  EXPECT_EQ(RunOne(Spec("a")), Kind::kCrashed);
  EXPECT_FALSE(controller_->Allocate(Spec("a"), Effort::kIdleOnly));
  Settle();
  EXPECT_EQ(host_.destroys, 1u);
  EXPECT_EQ(host_.living(), 0u);
}

TEST_F(ControllerTest, RetiredVmsEndIdleOnesNowBusyOnesWhenFree) {
  Make(4);
  Lease busy = Allocated(Spec("a"));
  const auto call = Send(busy);
  RunOne(Spec("b"));
  {
    Lease second = Allocated(Spec("a"));
    Send(second);
    Settle();
    controller_->Free(std::move(second), Usability::kUsable);
  }
  controller_->RetireKey("a:$LATEST@1");
  Settle();
  EXPECT_EQ(host_.living(), 2u);
  EXPECT_EQ(call->kind, Kind::kResult);
  controller_->Free(std::move(busy), Usability::kUsable);
  Settle();
  EXPECT_EQ(host_.living(), 1u);
  EXPECT_TRUE(controller_->Allocate(Spec("b"), Effort::kIdleOnly));
}

TEST_F(ControllerTest, RetiringAFunctionMeansAllItsVersions) {
  Make(4);
  FunctionSpec version = Spec("a");
  version.key = "a:1@1";
  version.version = "1";
  RunOne(Spec("a"));
  RunOne(version);
  RunOne(Spec("ab"));
  controller_->RetireFunction("a");
  Settle();
  ASSERT_EQ(controller_->List().size(), 1u);
  EXPECT_EQ(controller_->List()[0].function, "ab");
}

TEST_F(ControllerTest, ResettingVmThatIsRetiredEnds) {
  Make(1);
  RunOne(Spec("a", 128, Isolation::kReset));
  controller_->RetireFunction("a");
  Settle();
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(controller_->counts().reset_failures, 0u);
}

TEST_F(ControllerTest, RetiredVmIsNotResetBeforeItEnds) {
  Make(1);
  Lease lease = Allocated(Spec("a", 128, Isolation::kReset));
  Send(lease);
  controller_->RetireFunction("a");
  Settle();
  controller_->Free(std::move(lease), Usability::kUsable);
  Settle();
  EXPECT_EQ(host_.resets, 0u);
  EXPECT_EQ(host_.living(), 0u);
}

TEST_F(ControllerTest, LeaseLostWithARequestInItEndsTheVm) {
  Make(1);
  {
    Lease lease = Allocated(Spec("a"));
    Send(lease);
    timekeeper_.RunFor(kMilli);
  }
  Settle();
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(ControllerTest, LeaseLostWithoutARequestLeavesTheVmIdle) {
  Make(1);
  RunOne(Spec("a"));
  Allocated(Spec("a"), Effort::kIdleOnly);
  EXPECT_EQ(controller_->CountVms(VmState::kIdle), 1u);
  Allocated(Spec("a"), Effort::kIdleOnly);
}

TEST_F(ControllerTest, LeaseLostBeforeItsLaunchGivesMemoryBack) {
  Make(1);
  Allocated(Spec("a"));
  EXPECT_EQ(controller_->budget().reserved(), 0u);
  RunOne(Spec("b"));
  { Allocated(Spec("c")); }  // waits for b's memory
  Settle();
  EXPECT_EQ(RunOne(Spec("d")), Kind::kResult);
}

TEST_F(ControllerTest, AbandonSaysWhenNothingIsLeft) {
  Make(1);
  host_.plan.destroy_ns = 50 * kMilli;
  Lease lease = Allocated(Spec("a"));
  const auto call = Send(lease);
  timekeeper_.RunFor(kMilli);
  bool gone = false;
  lease.Abandon([&gone] { gone = true; });
  timekeeper_.RunFor(49 * kMilli);
  EXPECT_FALSE(gone);
  timekeeper_.RunFor(2 * kMilli);
  EXPECT_TRUE(gone);
  EXPECT_FALSE(call->kind);
  EXPECT_EQ(host_.living(), 0u);
}

TEST_F(ControllerTest, DrainWaitsForWhatIsLent) {
  Make(2);
  RunOne(Spec("a"));
  Lease lease = Allocated(Spec("b"));
  Send(lease);
  controller_->Drain([this] { is_drained_ = true; });
  Settle();
  EXPECT_FALSE(is_drained_);
  EXPECT_EQ(host_.living(), 1u);
  controller_->Free(std::move(lease), Usability::kUsable);
  Settle();
  EXPECT_TRUE(is_drained_);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(ControllerTest, WorkTakesItsMemoryFromTheBudget) {
  Make(2);
  auto first = controller_->ReserveForWork({128, 1});
  ASSERT_TRUE(first);
  EXPECT_EQ(controller_->budget().reserved(), kCost);
  Lease lease = Allocated(Spec("f"));
  EXPECT_FALSE(controller_->Allocate(Spec("g"), Effort::kMakeRoom));
  EXPECT_FALSE(controller_->ReserveForWork({128, 1}));
  capacity_calls_ = 0;
  controller_->EndWork(std::move(*first));
  timekeeper_.RunAll();
  EXPECT_GT(capacity_calls_, 0);
  EXPECT_TRUE(controller_->Allocate(Spec("g"), Effort::kMakeRoom));
}

TEST_F(ControllerTest, WorkMayEndIdleVms) {
  Make(2);
  RunOne(Spec("f"));
  RunOne(Spec("g"));
  EXPECT_FALSE(controller_->ReserveForWork({128, 1}));
  EXPECT_THAT(evicted_, ElementsAre("f"));
  while (!controller_->ReserveForWork({128, 1})) ASSERT_TRUE(timekeeper_.Step());
  EXPECT_THAT(evicted_, ElementsAre("f"));
}

TEST_F(ControllerTest, WhatWasPostedBeforeItsEndIsHarmless) {
  Make(1);
  RunOne(Spec("a"));  // capacity is to be told
  controller_.reset();
  timekeeper_.RunAll();
  EXPECT_EQ(capacity_calls_, 0);
  host_.Destroy(1, [] {});
  timekeeper_.RunAll();
}

TEST_F(ControllerTest, ListTellsWhatThereIs) {
  Make(3);
  RunOne(Spec("a"));
  const int64_t idle_since = timekeeper_.NowNanos();
  Settle();
  Lease lease = Allocated(Spec("big", 256));
  Send(lease);
  const auto list = controller_->List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].function, "a");
  EXPECT_EQ(list[0].version, "$LATEST");
  EXPECT_STREQ(VmStateName(list[0].state), "idle");
  EXPECT_EQ(list[0].since_ns, idle_since);
  EXPECT_EQ(list[0].requests, 1u);
  EXPECT_STREQ(VmStateName(list[1].state), "busy");
  EXPECT_EQ(list[1].size.memory_mib, 256u);
  EXPECT_EQ(list[1].requests, 0u);
  EXPECT_EQ(controller_->budget().peak_reserved(), kCost + 258);
}

TEST_F(ControllerTest, EventsTellEachVmsLife) {
  using enum Controller::VmEventKind;
  Make(1);
  host_.plan_for = [launches = 0](const FunctionSpec& spec) mutable {
    FakeVmHost::Plan plan;
    plan.launch_fails = spec.function == "a" && ++launches == 1;
    return plan;
  };
  RunOne(Spec("a"));
  Lease lease = Allocated(Spec("b"));
  const auto call = Send(lease);
  Settle();
  controller_->Free(std::move(lease), Usability::kUsable);
  timekeeper_.RunFor(101 * kSecond);
  EXPECT_THAT(events_, ElementsAre(Pair(kLaunching, 1u), Pair(kGone, 1u), Pair(kLaunching, 2u), Pair(kEvicted, 2u),
                                   Pair(kGone, 2u), Pair(kLaunching, 3u), Pair(kExpired, 3u), Pair(kGone, 3u)));
}

// Spares

class SpareTest : public ControllerTest {
 protected:
  static constexpr int64_t kPeriod = 300 * kSecond;  // longer than an idle microVM lives

  SpareTest() { Make(2, {.spare_lead_ns = kSecond}); }

  void Call(const FunctionSpec& spec) {
    controller_->NoteArrival(spec);
    RunOne(spec);
  }
  void CallRegularly(const FunctionSpec& spec, int64_t until_ns) {
    for (int64_t at = timekeeper_.NowNanos(); at <= until_ns; at += kPeriod) {
      timekeeper_.RunUntil(at);
      Call(spec);
    }
  }
};

TEST_F(SpareTest, FunctionWithARhythmFindsASpare) {
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(Spec("a"), begin + 4 * kPeriod);
  EXPECT_EQ(controller_->counts().spares, 0u);
  timekeeper_.RunUntil(begin + 5 * kPeriod - 10 * kMilli);
  EXPECT_EQ(controller_->counts().spares, 1u);
  Lease lease = Allocated(Spec("a"), Effort::kIdleOnly);
  Send(lease);
  EXPECT_EQ(lease.start(), StartKind::kIdle);
}

TEST_F(SpareTest, SpareNeedsNoReset) {
  const auto spec = Spec("a", 128, Isolation::kReset);
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(spec, begin + 4 * kPeriod);
  timekeeper_.RunUntil(begin + 5 * kPeriod);
  const size_t resets = host_.resets;
  Lease lease = Allocated(spec, Effort::kIdleOnly);
  Send(lease);
  EXPECT_EQ(lease.start(), StartKind::kIdle);
  EXPECT_EQ(host_.resets, resets);
}

TEST_F(SpareTest, SpareThatFailsTwiceLeavesNothing) {
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(Spec("a"), begin + 4 * kPeriod);
  host_.plan.launch_fails = true;
  timekeeper_.RunUntil(begin + 5 * kPeriod);
  EXPECT_EQ(controller_->counts().launch_failures, 2u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(SpareTest, SpareThatIsNeverReadyIsEnded) {
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(Spec("a"), begin + 4 * kPeriod);
  host_.plan.answers = false;
  timekeeper_.RunUntil(begin + 5 * kPeriod);
  EXPECT_EQ(host_.living(), 1u);
  timekeeper_.RunFor(61 * kSecond);
  EXPECT_EQ(host_.living(), 0u);
  EXPECT_EQ(controller_->budget().reserved(), 0u);
}

TEST_F(SpareTest, NoSpareWhereOneWaits) {
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(Spec("a"), begin + 4 * kPeriod);
  timekeeper_.RunUntil(begin + 5 * kPeriod - 2 * kSecond);
  RunOne(Spec("a"));
  timekeeper_.RunUntil(begin + 5 * kPeriod);
  EXPECT_EQ(controller_->counts().spares, 0u);
}

TEST_F(SpareTest, RetiredFunctionGetsNone) {
  const int64_t begin = timekeeper_.NowNanos();
  CallRegularly(Spec("a"), begin + 4 * kPeriod);
  controller_->RetireFunction("a");
  timekeeper_.RunUntil(begin + 6 * kPeriod);
  EXPECT_EQ(controller_->counts().spares, 0u);
}

}  // namespace
}  // namespace snapfaas::faas
