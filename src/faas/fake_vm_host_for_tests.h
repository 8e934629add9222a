// FakeVmHost: microVMs that take the time they are told to take, on a ManualTimekeeper, and a strict eye on whoever
// uses them: what breaks the contract of vm_host.h is kept in `violations`.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "faas/manual_timekeeper.h"
#include "faas/vm_host.h"

namespace snapfaas::faas {

inline constexpr uint32_t kOverhead = 2;
inline constexpr uint64_t kCost = 130;  // of a microVM of 128 MiB

inline FunctionSpec Spec(const std::string& function, uint32_t memory_mib = 128,
                         Isolation isolation = Isolation::kReuse) {
  FunctionSpec spec;
  spec.key = function + ":$LATEST@1";
  spec.function = function;
  spec.version = "$LATEST";
  spec.size.memory_mib = memory_mib;
  spec.isolation = isolation;
  spec.timeout_ns = 3 * kSecond;
  return spec;
}

class FakeVmHost : public VmHost {
 public:
  // What is to come of one call.
  struct Plan {
    int64_t launch_ns = 10 * kMilli;
    int64_t run_ns = 5 * kMilli;
    int64_t reset_ns = 2 * kMilli;
    int64_t destroy_ns = 3 * kMilli;
    bool launch_fails = false;
    bool reset_fails = false;
    bool is_gone = false;  // when Invoke comes
    bool answers = true;   // to Invoke; also to Launch and Reset
    FunctionOutcome::Kind kind = FunctionOutcome::Kind::kResult;
  };

  struct Run {
    VmId vm;
    std::string function;
    std::string request;
    int64_t at_ns;
  };

  explicit FakeVmHost(ManualTimekeeper& timekeeper, uint32_t overhead_mib)
      : timekeeper_(timekeeper), overhead_mib_(overhead_mib) {}

  // `plan_for`, where it is set, is asked before each call.
  Plan plan;
  std::function<Plan(const FunctionSpec& spec)> plan_for;

  void LaunchAndInvoke(VmId vm, const FunctionSpec& spec, SharedRequest request, std::function<void()> loaded,
                       AnswerDone done) override {
    const Plan planned = PlanFor(spec);
    Vm& launched = Make(vm, spec);
    if (planned.answers && !planned.launch_fails) {
      timekeeper_.At(timekeeper_.NowNanos() + planned.launch_ns, std::move(loaded));
    }
    StartRun(launched, *request);
    Finish(launched, planned.launch_fails ? planned.launch_ns : planned.launch_ns + planned.run_ns, planned,
           [this, vm, planned, done](bool was_destroyed) {
             if (planned.launch_fails && !was_destroyed) {
               EndRun(vms_.at(vm));
               vms_.erase(vm);
               done({Outcome(FunctionOutcome::Kind::kLaunchFailed), false});
             } else {
               AnswerRun(vm, planned, was_destroyed, done);
             }
           });
  }

  void Launch(VmId vm, const FunctionSpec& spec, StatusDone done) override {
    const Plan planned = PlanFor(spec);
    Vm& launched = Make(vm, spec);
    Finish(launched, planned.launch_ns, planned, [this, vm, planned, done](bool was_destroyed) {
      if (was_destroyed) {
        done(Fail(ErrorCode::kUnavailable, "destroyed"));
      } else if (planned.launch_fails) {
        vms_.erase(vm);
        done(Fail(ErrorCode::kUnavailable, "no shell"));
      } else {
        done({});
      }
    });
  }

  void Invoke(VmId vm, SharedRequest request, AnswerDone done) override {
    Vm& used = Waiting(vm, "Invoke");
    if (used.is_dirty && used.spec.isolation == Isolation::kReset) Violation("Invoke of {}, which was not reset", vm);
    const Plan planned = PlanFor(used.spec);
    if (planned.is_gone) {
      vms_.erase(vm);
      done({Outcome(FunctionOutcome::Kind::kLaunchFailed), false});
      return;
    }
    StartRun(used, *request);
    Finish(used, planned.run_ns, planned,
           [this, vm, planned, done](bool was_destroyed) { AnswerRun(vm, planned, was_destroyed, done); });
  }

  void Reset(VmId vm, StatusDone done) override {
    Vm& used = Waiting(vm, "Reset");
    const Plan planned = PlanFor(used.spec);
    ++resets;
    Finish(used, planned.reset_ns, planned, [this, vm, planned, done](bool was_destroyed) {
      Vm& reset = vms_.at(vm);
      const bool failed = was_destroyed || planned.reset_fails;
      reset.is_broken = reset.is_broken || failed;
      if (!failed) reset.is_dirty = false;
      failed ? done(Fail(ErrorCode::kGuestError, "reset failed")) : done({});
    });
  }

  void Destroy(VmId vm, std::function<void()> done) override {
    ++destroys;
    const auto found = vms_.find(vm);
    if (found == vms_.end()) {
      timekeeper_.Post(done);
      return;
    }
    if (found->second.is_ending) Violation("Destroy of {} twice", vm);
    found->second.is_ending = true;
    if (const auto pending = std::exchange(found->second.pending, nullptr)) {
      timekeeper_.Cancel(found->second.timer);
      timekeeper_.Post([pending] { pending(true); });
    }
    timekeeper_.At(timekeeper_.NowNanos() + PlanFor(found->second.spec).destroy_ns, [this, vm, done] {
      EndRun(vms_.at(vm));
      vms_.erase(vm);
      done();
    });
  }

  // What there is.
  uint64_t MemoryMib() const {
    uint64_t sum = 0;
    for (const auto& [id, vm] : vms_) sum += vm.spec.size.memory_mib + overhead_mib_;
    return sum;
  }
  size_t living() const { return vms_.size(); }
  size_t Running(const std::string& function) const {
    const auto found = running_.find(function);
    return found == running_.end() ? 0 : found->second;
  }
  std::vector<std::string> RequestsOf(VmId vm) const {
    std::vector<std::string> requests;
    for (const auto& run : runs) {
      if (run.vm == vm) requests.push_back(run.request);
    }
    return requests;
  }

  std::vector<std::string> violations;
  std::vector<Run> runs;          // as they began
  std::vector<std::string> made;  // keys of the microVMs, by id from 1 on
  size_t resets = 0;
  size_t destroys = 0;

 private:
  struct Vm {
    FunctionSpec spec;
    bool is_dirty = false;
    bool is_broken = false;  // may be destroyed only
    bool is_ending = false;
    bool runs = false;
    std::function<void(bool was_destroyed)> pending;
    Timekeeper::TimerId timer = 0;
  };

  template <typename... Args>
  void Violation(fmt::format_string<Args...> format, Args&&... args) {
    violations.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  Plan PlanFor(const FunctionSpec& spec) const { return plan_for ? plan_for(spec) : plan; }

  static FunctionOutcome Outcome(FunctionOutcome::Kind kind) {
    FunctionOutcome outcome;
    outcome.kind = kind;
    return outcome;
  }

  Vm& Make(VmId vm, const FunctionSpec& spec) {
    if (!used_ids_.insert(vm).second) Violation("id {} used twice", vm);
    made.push_back(spec.key);
    Vm& launched = vms_[vm];
    launched.spec = spec;
    return launched;
  }

  Vm& Waiting(VmId vm, const char* call) {
    const auto found = vms_.find(vm);
    if (found == vms_.end() || found->second.pending || found->second.is_broken || found->second.is_ending) {
      Violation("{} of {}, which does not wait", call, vm);
    }
    return vms_[vm];
  }

  void Finish(Vm& vm, int64_t after_ns, const Plan& planned, std::function<void(bool)> pending) {
    vm.pending = std::move(pending);
    vm.timer = planned.answers ? timekeeper_.At(timekeeper_.NowNanos() + after_ns,
                                                [&vm] { std::exchange(vm.pending, nullptr)(false); })
                               : 0;
  }

  void StartRun(Vm& vm, const FunctionRequest& request) {
    vm.runs = true;
    vm.is_dirty = true;
    ++running_[vm.spec.function];
    const auto id = std::find_if(vms_.begin(), vms_.end(), [&vm](const auto& entry) { return &entry.second == &vm; });
    runs.push_back({id->first, vm.spec.function, request.id, timekeeper_.NowNanos()});
  }

  void EndRun(Vm& vm) {
    if (!std::exchange(vm.runs, false)) return;
    --running_[vm.spec.function];
  }

  void AnswerRun(VmId id, const Plan& planned, bool was_destroyed, const AnswerDone& done) {
    if (was_destroyed) {
      done({Outcome(FunctionOutcome::Kind::kCrashed), false});
      return;
    }
    Vm& vm = vms_.at(id);
    EndRun(vm);
    const bool is_usable =
        planned.kind == FunctionOutcome::Kind::kResult || planned.kind == FunctionOutcome::Kind::kError;
    vm.is_broken = !is_usable;
    done({Outcome(planned.kind), is_usable});
  }

  ManualTimekeeper& timekeeper_;
  const uint32_t overhead_mib_;
  std::map<VmId, Vm> vms_;
  std::set<VmId> used_ids_;
  std::map<std::string, size_t> running_;
};

}  // namespace snapfaas::faas
