#include "sim/measured_vm_host.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/clock.h"

namespace snapfaas::sim {
namespace {

using faas::FunctionOutcome;

faas::VmHost::Answer Unanswered(FunctionOutcome::Kind kind) {
  faas::VmHost::Answer answer;
  answer.outcome.kind = kind;
  return answer;
}

std::optional<double> MillisIn(const std::string& event) {
  double millis = 0;
  const auto [end, error] = std::from_chars(event.data(), event.data() + event.size(), millis);
  if (error != std::errc() || end != event.data() + event.size()) return std::nullopt;
  return millis;
}

// A launch without a waiting shell.
LaunchKind BareOf(LaunchKind kind) {
  return kind == LaunchKind::kFunctionSnapshot ? LaunchKind::kFunctionSnapshotBare : LaunchKind::kBaseSnapshotBare;
}

}  // namespace

MeasuredVmHost::MeasuredVmHost(faas::Timekeeper& timekeeper, Processors& processors, const Costs& costs,
                               const Options& options)
    : timekeeper_(timekeeper), processors_(processors), costs_(costs), options_(options), random_(options.seed) {}

// ---- Shells

void MeasuredVmHost::Prepare(const faas::FunctionSpec& spec, const FunctionCosts& costs) {
  functions_[spec.key] = &costs;
  if (options_.launch == LaunchKind::kBoot) return;
  ShellKind& kind = Use(spec.size);
  kind.ready = ShareOf(kind);
  for (ShellKind& other : kinds_) other.ready = std::min(other.ready, ShareOf(other));
}

MeasuredVmHost::ShellKind& MeasuredVmHost::Use(const faas::VmSize& size) {
  const auto found =
      std::find_if(kinds_.begin(), kinds_.end(), [&size](const auto& kind) { return kind.size == size; });
  if (found == kinds_.end()) {
    kinds_.emplace_front().size = size;
  } else {
    kinds_.splice(kinds_.begin(), kinds_, found);
  }
  return kinds_.front();
}

size_t MeasuredVmHost::ShareOf(const ShellKind& kind) const {
  size_t left = options_.max_shells;
  for (const ShellKind& other : kinds_) {
    const size_t share = std::min(options_.shells_per_kind, left);
    if (&other == &kind) return share;
    left -= share;
  }
  return 0;
}

void MeasuredVmHost::TakeShell(faas::VmId id, Vm& vm, std::function<void(LaunchKind kind)> taken) {
  ++refill_holds_;
  vm.holds_refill = true;
  ShellKind& kind = Use(vm.spec.size);
  // Those that are too many are as good as any until they have been ended.
  if (kind.ready > 0) {
    --kind.ready;
    taken(options_.launch);
    return;
  }
  ++counts_.shells_missing;
  if (!kind.is_starting || kind.taker) {
    taken(BareOf(options_.launch));
    return;
  }
  processors_.Raise(kind.preparation);
  vm.awaited = &kind;
  kind.taker = [this, id, taken = std::move(taken)] {
    vms_.at(id).awaited = nullptr;
    taken(options_.launch);
  };
}

void MeasuredVmHost::ReleaseRefill(Vm& vm) {
  if (!std::exchange(vm.holds_refill, false)) return;
  --refill_holds_;
  Refill();
}

void MeasuredVmHost::Refill() {
  if (is_refilling_ || refill_holds_ > 0) return;
  for (ShellKind& kind : kinds_) {
    if (kind.ready >= ShareOf(kind)) continue;
    is_refilling_ = true;
    kind.is_starting = true;
    kind.preparation = processors_.Start(costs_.shell.Sample(random_), Ahead::kNothing, [this, &kind] {
      is_refilling_ = false;
      kind.is_starting = false;
      ++counts_.shells_started;
      if (const auto taker = std::exchange(kind.taker, nullptr)) {
        taker();
      } else {
        ++kind.ready;
      }
      Refill();
    });
    return;
  }
}

// ---- MicroVMs

MeasuredVmHost::Vm& MeasuredVmHost::Make(faas::VmId id, const faas::FunctionSpec& spec) {
  Vm& vm = vms_[id];
  vm.spec = spec;
  vm.costs = functions_.at(spec.key);
  return vm;
}

void MeasuredVmHost::Begin(faas::VmId id, Vm& vm, const Effort& effort, std::function<void(Vm& vm)> done) {
  vm.phase_began_ns = timekeeper_.NowNanos();
  vm.activity = processors_.Start(effort, Ahead::kBeginning, [this, id, done = std::move(done)] {
    Vm& of = vms_.at(id);
    of.activity.reset();
    done(of);
  });
}

double MeasuredVmHost::EndPhase(Vm& vm) { return ToMillis(timekeeper_.NowNanos() - vm.phase_began_ns); }

void MeasuredVmHost::Start(faas::VmId id, Vm& vm, std::function<void(const LaunchEffort& effort)> loaded) {
  vm.phase_began_ns = timekeeper_.NowNanos();
  const auto restore = [this, id, loaded = std::move(loaded)](LaunchKind kind) { Restore(id, kind, loaded); };
  if (options_.launch == LaunchKind::kBoot) {
    restore(LaunchKind::kBoot);
  } else {
    TakeShell(id, vm, restore);
  }
}

void MeasuredVmHost::Restore(faas::VmId id, LaunchKind kind, std::function<void(const LaunchEffort& effort)> loaded) {
  Vm& launched = vms_.at(id);
  // Where nobody has measured a launch that finds no shell, preparing one comes on top.
  const bool is_known = launched.costs->Of(kind).has_value();
  LaunchEffort effort = launched.costs->Of(is_known ? kind : options_.launch)->Sample(random_);
  if (!is_known) {
    const Effort shell = costs_.shell.Sample(random_);
    effort.start.work_ns += shell.work_ns;
    effort.start.wait_ns += shell.wait_ns;
  }
  launched.timings.from_function_snapshot = options_.launch == LaunchKind::kFunctionSnapshot;
  const int64_t asked_ns = launched.phase_began_ns;
  Begin(id, launched, effort.start, [this, id, asked_ns, effort, loaded = std::move(loaded)](Vm& restored) {
    restored.timings.restore = ToMillis(timekeeper_.NowNanos() - asked_ns);
    Begin(id, restored, effort.load, [this, effort, loaded](Vm& vm) {
      vm.timings.load = EndPhase(vm);
      loaded(effort);
    });
  });
}

void MeasuredVmHost::Run(faas::VmId id, Vm& vm, Effort effort, const faas::FunctionRequest& request, AnswerDone done) {
  if (const auto given_ms = MillisIn(request.event)) effort = vm.costs->run.EffortOf(*given_ms);
  ReleaseRefill(vm);
  const auto answer = [done = std::move(done)](Vm& of, FunctionOutcome::Kind kind, double run_ms) {
    of.interrupted = nullptr;
    Answer result = Unanswered(kind);
    result.is_usable = kind == FunctionOutcome::Kind::kResult;
    result.outcome.timings = of.timings;
    result.outcome.timings.run = run_ms;
    done(std::move(result));
  };
  Begin(id, vm, effort, [this, answer](Vm& of) {
    timekeeper_.Cancel(*std::exchange(of.time_limit, std::nullopt));
    answer(of, FunctionOutcome::Kind::kResult, EndPhase(of));
  });
  vm.time_limit = timekeeper_.At(timekeeper_.NowNanos() + vm.spec.timeout_ns, [this, id, answer] {
    Vm& of = vms_.at(id);
    of.time_limit.reset();
    processors_.Cancel(*std::exchange(of.activity, std::nullopt));
    answer(of, FunctionOutcome::Kind::kTimedOut, EndPhase(of));
  });
}

void MeasuredVmHost::LaunchAndInvoke(faas::VmId id, const faas::FunctionSpec& spec, faas::SharedRequest request,
                                     std::function<void()> loaded, AnswerDone done) {
  Vm& made = Make(id, spec);
  made.interrupted = [done] { done(Unanswered(FunctionOutcome::Kind::kCrashed)); };
  Start(id, made,
        [this, id, request = std::move(request), loaded = std::move(loaded),
         done = std::move(done)](const LaunchEffort& effort) {
          loaded();
          Run(id, vms_.at(id), effort.run, *request, done);
        });
}

void MeasuredVmHost::Launch(faas::VmId id, const faas::FunctionSpec& spec, StatusDone done) {
  Vm& made = Make(id, spec);
  made.interrupted = [done] { done(Fail(ErrorCode::kUnavailable, "the microVM was ended")); };
  Start(id, made, [this, id, done = std::move(done)](const LaunchEffort& /*effort*/) {
    Vm& vm = vms_.at(id);
    vm.interrupted = nullptr;
    ReleaseRefill(vm);
    done({});
  });
}

void MeasuredVmHost::Invoke(faas::VmId id, faas::SharedRequest request, AnswerDone done) {
  Vm& vm = vms_.at(id);
  // What a reset took is told with the next request; it did not wait for it.
  if (!std::exchange(vm.was_reset, false)) vm.timings.restore = vm.timings.load = 0;
  vm.interrupted = [done] { done(Unanswered(FunctionOutcome::Kind::kCrashed)); };
  Run(id, vm, vm.costs->run.Sample(random_), *request, std::move(done));
}

void MeasuredVmHost::Reset(faas::VmId id, StatusDone done) {
  Vm& used = vms_.at(id);
  used.interrupted = [done] { done(Fail(ErrorCode::kUnavailable, "the microVM was ended")); };
  Begin(id, used, costs_.reset.Sample(random_), [this, done = std::move(done)](Vm& vm) {
    vm.interrupted = nullptr;
    vm.was_reset = true;
    vm.timings.restore = EndPhase(vm);
    vm.timings.load = 0;
    done({});
  });
}

void MeasuredVmHost::Destroy(faas::VmId id, std::function<void()> done) {
  const auto found = vms_.find(id);
  if (found == vms_.end()) {
    timekeeper_.Post(std::move(done));
    return;
  }
  Vm& vm = found->second;
  if (vm.activity) processors_.Cancel(*vm.activity);
  if (vm.time_limit) timekeeper_.Cancel(*vm.time_limit);
  if (vm.awaited != nullptr) vm.awaited->taker = nullptr;
  ReleaseRefill(vm);
  if (vm.interrupted) timekeeper_.Post(std::move(vm.interrupted));
  vms_.erase(found);
  processors_.Start(costs_.destroy.Sample(random_), Ahead::kBeginning, std::move(done));
}

}  // namespace snapfaas::sim
