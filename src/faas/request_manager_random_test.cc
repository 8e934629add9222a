// Request Manager, Controller and a moody host, driven at random: what must always hold is checked after each event.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "faas/controller.h"
#include "faas/fake_vm_host_for_tests.h"
#include "faas/manual_timekeeper.h"
#include "faas/request_manager.h"

namespace snapfaas::faas {
namespace {

using Kind = FunctionOutcome::Kind;
using Ticket = RequestManager::Ticket;

constexpr int kEvents = 400;

class Chaos {
 public:
  explicit Chaos(uint32_t seed) : random_(seed) {
    host_.plan_for = [this](const FunctionSpec&) { return PlanAtRandom(); };
    Controller::Options options{.budget_mib = 1100, .overhead_mib = kOverhead, .idle_ttl_ns = 2 * kSecond};
    if (Chance(50)) options.spare_lead_ns = 50 * kMilli;
    if (Chance(50)) options.max_launches = static_cast<size_t>(Between(1, 3));
    options.longest_launch_ns = 200 * kMilli;
    controller_.emplace(timekeeper_, host_, options);
    manager_.emplace(timekeeper_, *controller_,
                     RequestManager::Options{.max_queue = 20,
                                             .max_queue_total = 50,
                                             .max_wait_ns = 3 * kSecond,
                                             .patience_ns = 300 * kMilli,
                                             .launch_allowance_ns = kSecond,
                                             .grace_ns = 100 * kMilli});
  }

  void Run() {
    for (int i = 0; i < kEvents && !testing::Test::HasFailure(); ++i) {
      Act();
      // Now and then long enough for idle microVMs to expire.
      const int64_t until = timekeeper_.NowNanos() + (Chance(1) ? 5000 : Between(0, 30)) * kMilli;
      while (timekeeper_.Step(until)) Check();
      timekeeper_.RunUntil(until);
    }
    bool drained = false;
    manager_->Drain(timekeeper_.NowNanos() + (Chance(50) ? 100 : 1) * kSecond, [&drained] { drained = true; });
    while (timekeeper_.Step()) Check();
    EXPECT_TRUE(drained);
    EXPECT_EQ(host_.living(), 0u);
    EXPECT_EQ(controller_->budget().reserved(), 0u);
    EXPECT_EQ(timekeeper_.timers(), 0u);
    for (const auto& [id, answers] : answers_) EXPECT_EQ(answers, 1) << id;
    CheckCounts();
  }

  // That the run was worth its name.
  std::map<std::string, uint64_t> Counts() const {
    const auto requests = manager_->counts();
    const auto& vms = controller_->counts();
    return {{"answered", requests.answered},
            {"cancelled", requests.cancelled},
            {"retired", requests.retired},
            {"crashed", requests.crashed},
            {"timed out", requests.timed_out},
            {"refused", requests.refused},
            {"launch failed", requests.launch_failed},
            {"queue full", requests.throttled_queue_full},
            {"queue timeout", requests.throttled_queue_timeout},
            {"reserved concurrency", requests.throttled_reserved_concurrency},
            {"evictions", vms.evictions},
            {"expirations", vms.expirations},
            {"idle hits", vms.idle_hits},
            {"resets", vms.resets},
            {"reset failures", vms.reset_failures}};
  }

 private:
  int64_t Between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }
  bool Chance(int percent) { return Between(1, 100) <= percent; }

  FakeVmHost::Plan PlanAtRandom() {
    FakeVmHost::Plan plan;
    plan.launch_ns = Between(1, 60) * kMilli;
    plan.run_ns = Between(0, Chance(10) ? 1500 : 80) * kMilli;
    plan.reset_ns = Between(0, 20) * kMilli;
    plan.destroy_ns = Between(0, 40) * kMilli;
    plan.launch_fails = Chance(8);
    plan.reset_fails = Chance(8);
    plan.is_gone = Chance(5);
    plan.answers = !Chance(2);
    plan.kind = Chance(5) ? Kind::kCrashed : Chance(5) ? Kind::kTimedOut : Chance(10) ? Kind::kError : Kind::kResult;
    return plan;
  }

  // Of eight functions, each with its own size, isolation and reserved concurrency.
  FunctionSpec SpecAtRandom() {
    const int64_t number = std::min(Between(0, 7), Between(0, 7));
    FunctionSpec spec;
    spec.function = "f" + std::to_string(number);
    spec.version = Chance(70) ? "$LATEST" : "1";
    spec.key = spec.function + ":" + spec.version;
    spec.size.memory_mib = number == 7 ? 1024 : static_cast<uint32_t>(128 * (1 + number % 3));
    spec.isolation = number % 2 == 0 ? Isolation::kReuse : Isolation::kReset;
    spec.timeout_ns = kSecond;
    if (number % 3 == 1) spec.reserved_concurrency = static_cast<uint32_t>(number);
    if (spec.reserved_concurrency) reserved_[spec.function] = *spec.reserved_concurrency;
    return spec;
  }

  void Act() {
    for (int64_t requests = Chance(10) ? 30 : Between(0, 3); requests > 0; --requests) Submit(SpecAtRandom());
    if (Chance(15) && !tickets_.empty()) {
      manager_->Cancel(tickets_[static_cast<size_t>(Between(0, static_cast<int64_t>(tickets_.size()) - 1))]);
    }
    // The last ones, of which many still wait.
    if (Chance(15) && !tickets_.empty()) manager_->Cancel(tickets_.back());
    if (Chance(4)) Retire(SpecAtRandom());
  }

  void Submit(const FunctionSpec& spec) {
    const std::string id = std::to_string(answers_.size());
    auto request = std::make_shared<FunctionRequest>();
    request->id = id;
    answers_[id] = 0;
    tickets_.push_back(manager_->Submit(spec, std::move(request), [this, id](const FunctionOutcome&) {
      ++answers_[id];
      EXPECT_EQ(answers_[id], 1) << id;
    }));
  }

  void Retire(const FunctionSpec& spec) {
    const bool whole_function = Chance(50);
    if (whole_function) {
      manager_->RetireFunction(spec.function);
    } else {
      manager_->RetireKey(spec.key);
    }
    // Posted behind it, so that it happens right after it.
    timekeeper_.Post([this, spec, whole_function] {
      for (const char* version : {"$LATEST", "1"}) {
        if (whole_function || spec.version == version) retired_[spec.function + ":" + version] = host_.made.size();
      }
    });
  }

  void Check() {
    ASSERT_TRUE(host_.violations.empty()) << host_.violations.front();
    const MemoryBudget& budget = controller_->budget();
    ASSERT_LE(budget.reserved(), budget.total());
    ASSERT_LE(host_.MemoryMib(), budget.reserved());
    for (const auto& [function, reserved] : reserved_) ASSERT_LE(host_.Running(function), reserved) << function;
    for (; seen_runs_ < host_.runs.size(); ++seen_runs_) {
      const auto& run = host_.runs[seen_runs_];
      ASSERT_GT(run.vm, retired_[host_.made[run.vm - 1]]) << "a retired microVM ran request " << run.request;
    }
  }

  void CheckCounts() {
    const auto c = manager_->counts();
    EXPECT_EQ(c.queued, 0u);
    EXPECT_EQ(c.running, 0u);
    EXPECT_EQ(c.submitted, answers_.size());
    EXPECT_EQ(c.submitted, c.answered + c.throttled_reserved_concurrency + c.throttled_queue_full +
                               c.throttled_queue_timeout + c.timed_out + c.crashed + c.launch_failed + c.cancelled +
                               c.retired + c.refused);
  }

  std::mt19937 random_;
  ManualTimekeeper timekeeper_;
  FakeVmHost host_{timekeeper_, kOverhead};
  std::optional<Controller> controller_;
  std::optional<RequestManager> manager_;
  std::map<std::string, int> answers_;
  std::vector<Ticket> tickets_;
  std::map<std::string, uint32_t> reserved_;
  std::map<std::string, VmId> retired_;  // the last microVM of a key that must not be used any more
  size_t seen_runs_ = 0;
};

TEST(RequestManagerRandomTest, WhatMustHoldHoldsWhateverHappens) {
  std::map<std::string, uint64_t> counts;
  for (uint32_t seed = 1; seed <= 10 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Chaos chaos(seed);
    chaos.Run();
    for (const auto& [name, count] : chaos.Counts()) counts[name] += count;
  }
  for (const auto& [name, count] : counts) EXPECT_GT(count, 0u) << name << " was not under test";
}

}  // namespace
}  // namespace snapfaas::faas
