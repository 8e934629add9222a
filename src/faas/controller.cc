#include "faas/controller.h"

#include <algorithm>

#include "faas/controller_vm.h"

namespace snapfaas::faas {
const char* VmStateName(VmState state) {
  switch (state) {
    case VmState::kStarting:
      return "starting";
    case VmState::kIdle:
      return "idle";
    case VmState::kBusy:
      return "busy";
    case VmState::kResetting:
      return "resetting";
    case VmState::kEnding:
      return "ending";
  }
  return "unknown";
}

Controller::Controller(Timekeeper& timekeeper, VmHost& host, const Options& options,
                       std::function<void(const VmEvent& event)> on_event)
    : timekeeper_(timekeeper),
      host_(host),
      options_(options),
      on_event_(std::move(on_event)),
      budget_(options.budget_mib) {
  if (options_.spare_lead_ns) {
    spares_.emplace(timekeeper_, *options_.spare_lead_ns, [this](const FunctionSpec& spec) { OnSpareDue(spec); });
  }
}

Controller::~Controller() {
  for (auto& [handle, vm] : vms_) {
    CancelTimer(*vm);
    if (vm->launch_timer) timekeeper_.Cancel(*vm->launch_timer);
  }
}

Status Controller::CheckFits(const FunctionSpec& spec) const {
  if (CostMib(spec) <= budget_.total()) return {};
  return Fail(
      ErrorCode::kResourceExhausted,
      "a microVM of function {} takes {} MiB ({} and {} for its process), but all microVMs together may take {}: "
      "give the function less memory or the node a larger memory budget",
      spec.function, CostMib(spec), spec.size.memory_mib, options_.overhead_mib, budget_.total());
}

std::optional<Controller::Lease> Controller::Allocate(const FunctionSpec& spec, Effort effort) {
  Vm* vm = nullptr;
  if (const auto idle = idle_by_key_.find(spec.key); idle != idle_by_key_.end()) {
    vm = idle->second.rbegin()->second;
    TakeFromIdle(*vm);
    SetState(*vm, VmState::kBusy);
    ++counts_.idle_hits;
  } else if (effort != Effort::kIdleOnly) {
    vm = MakeRoomFor(spec, effort);
  }
  if (vm == nullptr) return std::nullopt;
  vm->is_leased = true;
  return Lease(*this, vm->handle);
}

void Controller::Free(Lease lease, Usability usability) {
  Vm& vm = *Find(lease.vm_);
  lease.controller_ = nullptr;
  vm.is_leased = false;
  const bool is_answered = vm.state == VmState::kBusy && !vm.done;
  if (!is_answered || usability == Usability::kUnusable || vm.is_retired) {
    End(vm);
  } else if (vm.spec.isolation == Isolation::kReset && vm.is_dirty) {
    Reset(vm);
  } else {
    BecomeIdle(vm);
  }
}

// ---- Memory

int64_t Controller::UncommittedMib() const {
  return static_cast<int64_t>(budget_.total()) - static_cast<int64_t>(budget_.reserved()) +
         static_cast<int64_t>(ending_mib_) - static_cast<int64_t>(claimed_mib_);
}

bool Controller::MayAskForLaunch(Effort effort) const {
  if (launches_ + claims_.size() < options_.max_launches) return true;
  // Who insists is the next one.
  return effort == Effort::kInsist && claims_.empty();
}

Controller::Vm* Controller::MakeRoomFor(const FunctionSpec& spec, Effort effort) {
  if (is_draining_ || !MayAskForLaunch(effort)) return nullptr;
  const auto cost = static_cast<int64_t>(CostMib(spec));
  const int64_t uncommitted = UncommittedMib();
  const bool fits = cost <= uncommitted + static_cast<int64_t>(idle_mib_);
  // One may insist at a time, so that what is claimed can be had.
  const bool may_insist = effort == Effort::kInsist && uncommitted >= 0 && CheckFits(spec);
  if (!fits && !may_insist) return nullptr;

  const Handle handle = ++last_handle_;
  Vm& vm = *vms_.emplace(handle, std::make_unique<Vm>(handle, spec, CostMib(spec))).first->second;
  vm.since_ns = timekeeper_.NowNanos();
  claims_.push_back(&vm);
  claimed_mib_ += vm.mib;
  EvictToFit();
  ServeClaims();
  return &vm;
}

void Controller::EvictToFit() {
  while (UncommittedMib() < 0 && !idle_.empty()) Evict();
}

void Controller::Evict() {
  Vm& vm = *idle_.begin()->second;
  ++counts_.evictions;
  Tell(VmEventKind::kEvicted, vm);
  End(vm);
}

void Controller::ServeClaims() {
  while (!claims_.empty() && launches_ < options_.max_launches) {
    Vm& vm = *claims_.front();
    vm.reservation = budget_.TryReserve(vm.mib);
    if (!vm.reservation) return;
    claims_.pop_front();
    claimed_mib_ -= vm.mib;
    vm.is_claim = false;
    LaunchIfReady(vm);
  }
}

std::optional<MemoryBudget::Reservation> Controller::ReserveForWork(const VmSize& size) {
  if (is_draining_ || !claims_.empty()) return std::nullopt;
  const uint64_t mib = uint64_t{size.memory_mib} + options_.overhead_mib;
  if (auto reservation = budget_.TryReserve(mib)) return reservation;
  const auto wanted = static_cast<int64_t>(mib);
  if (UncommittedMib() + static_cast<int64_t>(idle_mib_) < wanted) return std::nullopt;
  while (UncommittedMib() < wanted && !idle_.empty()) Evict();
  return std::nullopt;
}

void Controller::EndWork(MemoryBudget::Reservation reservation) {
  { const MemoryBudget::Reservation ended = std::move(reservation); }
  ServeClaims();
  NotifyCapacity();
}

// ---- Idle and ending

void Controller::BecomeIdle(Vm& vm) {
  vm.is_dirty = false;
  const auto claim = std::find_if(claims_.begin(), claims_.end(), [&vm](const Vm* waiting) {
    return waiting->request && waiting->spec.key == vm.spec.key && waiting->mib == vm.mib;
  });
  if (claim != claims_.end()) {
    TakeOver(**claim, vm);
    return;
  }
  SetState(vm, VmState::kIdle);
  vm.idle_place = ++last_idle_;
  idle_.emplace(vm.idle_place, &vm);
  idle_by_key_[vm.spec.key].emplace(vm.idle_place, &vm);
  idle_mib_ += vm.mib;
  SetTimer(vm, options_.idle_ttl_ns, &Controller::OnExpired);
  EvictToFit();
  NotifyCapacity();
}

void Controller::TakeFromIdle(Vm& vm) {
  CancelTimer(vm);
  idle_.erase(vm.idle_place);
  const auto of_key = idle_by_key_.find(vm.spec.key);
  of_key->second.erase(vm.idle_place);
  if (of_key->second.empty()) idle_by_key_.erase(of_key);
  idle_mib_ -= vm.mib;
}

void Controller::OnExpired(Vm& vm) {
  ++counts_.expirations;
  Tell(VmEventKind::kExpired, vm);
  End(vm);
}

void Controller::End(Vm& vm) {
  if (vm.state == VmState::kEnding) return;
  if (vm.state == VmState::kIdle) TakeFromIdle(vm);
  CancelTimer(vm);
  vm.request.reset();
  vm.started = nullptr;
  vm.done = nullptr;
  EndLaunch(vm);
  if (vm.id == 0) {
    Forget(vm);
    return;
  }
  SetState(vm, VmState::kEnding);
  ending_mib_ += vm.mib;
  // What is ending counts as free for new claims already.
  NotifyCapacity();
  host_.Destroy(vm.id, OnThread(vm, &Controller::OnDestroyed));
}

void Controller::OnDestroyed(Vm& vm) {
  ending_mib_ -= vm.mib;
  Tell(VmEventKind::kGone, vm);
  Forget(vm);
}

void Controller::Forget(Vm& vm) {
  if (vm.is_claim) {
    claims_.remove(&vm);
    claimed_mib_ -= vm.mib;
  }
  if (vm.gone) timekeeper_.Post(std::move(vm.gone));
  vms_.erase(vms_.find(vm.handle));
  ServeClaims();
  NotifyCapacity();
  if (vms_.empty() && drained_) timekeeper_.Post(std::exchange(drained_, nullptr));
}

void Controller::Retire(const std::function<bool(const FunctionSpec& spec)>& matches) {
  std::vector<Handle> unused;  // ending them changes what is walked through
  for (auto& [handle, vm] : vms_) {
    if (!matches(vm->spec)) continue;
    vm->is_retired = true;
    if (!vm->is_leased) unused.push_back(handle);
  }
  for (const Handle handle : unused) {
    if (Vm* vm = Find(handle)) End(*vm);
  }
  if (spares_) spares_->Forget(matches);
}

void Controller::RetireKey(const std::string& key) {
  Retire([&key](const FunctionSpec& spec) { return spec.key == key; });
}

void Controller::RetireFunction(const std::string& function) {
  Retire([&function](const FunctionSpec& spec) { return spec.function == function; });
}

void Controller::Drain(std::function<void()> done) {
  is_draining_ = true;
  Retire([](const FunctionSpec&) { return true; });
  if (vms_.empty()) {
    timekeeper_.Post(std::move(done));
  } else {
    drained_ = std::move(done);
  }
}

// ---- What is seen from outside

std::vector<Controller::VmInfo> Controller::List() const {
  std::vector<VmInfo> list;
  for (const auto& [handle, vm] : vms_) {
    if (vm->id == 0) continue;
    list.push_back({vm->id, vm->spec.function, vm->spec.version, vm->state, vm->spec.size, vm->launched_ns,
                    vm->since_ns, vm->requests});
  }
  return list;
}

size_t Controller::CountVms(VmState state) const {
  return static_cast<size_t>(std::count_if(vms_.begin(), vms_.end(), [state](const auto& entry) {
    return entry.second->id != 0 && entry.second->state == state;
  }));
}

// ---- Tools

Controller::Vm* Controller::Find(Handle handle) {
  const auto found = vms_.find(handle);
  return found == vms_.end() ? nullptr : found->second.get();
}

void Controller::SetState(Vm& vm, VmState state) {
  vm.state = state;
  vm.since_ns = timekeeper_.NowNanos();
}

void Controller::SetTimer(Vm& vm, int64_t after_ns, void (Controller::*then)(Vm& vm)) {
  CancelTimer(vm);
  vm.timer = timekeeper_.At(timekeeper_.NowNanos() + after_ns, [this, handle = vm.handle, then] {
    Vm& due = *Find(handle);
    due.timer.reset();
    (this->*then)(due);
  });
}

void Controller::CancelTimer(Vm& vm) {
  if (vm.timer) timekeeper_.Cancel(*vm.timer);
  vm.timer.reset();
}

void Controller::NotifyCapacity() {
  if (capacity_noted_ || is_draining_ || !on_capacity_) return;
  capacity_noted_ = true;
  timekeeper_.Post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    capacity_noted_ = false;
    on_capacity_();
  });
}

void Controller::Tell(VmEventKind kind, const Vm& vm) {
  if (on_event_) on_event_({kind, vm.id, vm.spec});
}

}  // namespace snapfaas::faas
