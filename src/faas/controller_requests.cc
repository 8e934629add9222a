// The Controller's part that deals with the VmHost: launch, request, reset, and spares.
#include <algorithm>
#include <utility>

#include "faas/controller_vm.h"

namespace snapfaas::faas {
namespace {

constexpr int kLaunchTries = 2;

}  // namespace

// ---- Leases

Controller::Lease& Controller::Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    Drop(nullptr);
    controller_ = std::exchange(other.controller_, nullptr);
    vm_ = other.vm_;
  }
  return *this;
}

StartKind Controller::Lease::start() const { return controller_->Find(vm_)->start; }

void Controller::Lease::Invoke(SharedRequest request, std::function<void()> started, VmHost::AnswerDone done) {
  controller_->Invoke(*controller_->Find(vm_), std::move(request), std::move(started), std::move(done));
}

void Controller::Lease::Abandon(std::function<void()> gone) {
  controller_->Find(vm_)->is_retired = true;
  Drop(std::move(gone));
}

void Controller::Lease::Drop(std::function<void()> gone) {
  Controller* controller = std::exchange(controller_, nullptr);
  if (controller == nullptr) return;
  Vm& vm = *controller->Find(vm_);
  vm.gone = std::move(gone);
  vm.is_leased = false;
  if (vm.state == VmState::kBusy && !vm.is_dirty && !vm.is_retired) {
    controller->BecomeIdle(vm);
  } else {
    controller->End(vm);
  }
}

// ---- Requests

void Controller::Invoke(Vm& vm, SharedRequest request, std::function<void()> started, VmHost::AnswerDone done) {
  vm.request = std::move(request);
  vm.started = std::move(started);
  vm.done = std::move(done);
  if (vm.state == VmState::kStarting) {
    LaunchIfReady(vm);
  } else {
    Send(vm);
  }
}

void Controller::Send(Vm& vm) {
  vm.start = vm.spec.isolation == Isolation::kReset && vm.requests > 0 ? StartKind::kReset : StartKind::kIdle;
  vm.is_dirty = true;
  if (const auto tell = std::exchange(vm.started, nullptr)) tell();
  host_.Invoke(vm.id, vm.request, OnThread(vm, &Controller::OnInvokeAnswer));
}

// It waited for memory, but one of its kind became idle first.
void Controller::TakeOver(Vm& claim, Vm& idle) {
  claims_.remove(&claim);
  claimed_mib_ -= claim.mib;
  claim.is_claim = false;
  claim.id = std::exchange(idle.id, 0);
  claim.reservation = std::move(idle.reservation);
  claim.launched_ns = idle.launched_ns;
  claim.requests = idle.requests;
  SetState(claim, VmState::kBusy);
  ++counts_.idle_hits;
  Forget(idle);
  Send(claim);
}

void Controller::LaunchIfReady(Vm& vm) {
  if (!vm.reservation || (!vm.request && !vm.is_spare)) return;
  vm.launched_ns = timekeeper_.NowNanos();
  if (vm.request) {
    vm.is_dirty = true;
    SetState(vm, VmState::kBusy);
    if (const auto tell = std::exchange(vm.started, nullptr)) tell();
  }
  Launch(vm);
}

void Controller::Launch(Vm& vm) {
  if (!vm.launch_timer) {  // else this is another try
    ++launches_;
    vm.launch_timer = timekeeper_.At(timekeeper_.NowNanos() + options_.longest_launch_ns,
                                     [this, handle = vm.handle] { EndLaunch(*Find(handle)); });
  }
  vm.id = ++last_id_;
  ++vm.tries;
  ++counts_.launches;
  Tell(VmEventKind::kLaunching, vm);
  if (vm.request) {
    host_.LaunchAndInvoke(vm.id, vm.spec, vm.request, OnThread(vm, &Controller::EndLaunch),
                          OnThread(vm, &Controller::OnLaunchAnswer));
  } else {
    SetTimer(vm, options_.launch_allowance_ns, &Controller::End);
    host_.Launch(vm.id, vm.spec, OnThread(vm, &Controller::OnSpareLaunched));
  }
}

void Controller::EndLaunch(Vm& vm) {
  if (!vm.launch_timer) return;
  timekeeper_.Cancel(*std::exchange(vm.launch_timer, std::nullopt));
  const bool was_full = !MayAskForLaunch(Effort::kMakeRoom);
  --launches_;
  ServeClaims();
  if (was_full) NotifyCapacity();
}

void Controller::OnLaunchAnswer(Vm& vm, VmHost::Answer answer) {
  if (vm.state != VmState::kBusy || answer.outcome.kind != FunctionOutcome::Kind::kLaunchFailed) {
    EndLaunch(vm);
    OnAnswer(vm, std::move(answer));
    return;
  }
  ++counts_.launch_failures;
  Tell(VmEventKind::kGone, vm);
  if (vm.tries < kLaunchTries) {
    Launch(vm);
    return;
  }
  // Nothing is left of it but its books, until the lease comes back.
  vm.id = 0;
  vm.reservation.reset();
  EndLaunch(vm);
  ServeClaims();  // a launch that counted no more gives memory back all the same
  NotifyCapacity();
  OnAnswer(vm, std::move(answer));
}

void Controller::OnInvokeAnswer(Vm& vm, VmHost::Answer answer) {
  if (vm.state != VmState::kBusy || answer.outcome.kind != FunctionOutcome::Kind::kLaunchFailed) {
    OnAnswer(vm, std::move(answer));
    return;
  }
  ++counts_.idle_losses;
  Tell(VmEventKind::kGone, vm);
  vm.launched_ns = timekeeper_.NowNanos();
  vm.requests = 0;
  vm.tries = 0;
  vm.start = StartKind::kRestored;
  Launch(vm);
}

void Controller::OnAnswer(Vm& vm, VmHost::Answer answer) {
  if (vm.state != VmState::kBusy || !vm.done) return;
  ++vm.requests;
  vm.request.reset();
  std::exchange(vm.done, nullptr)(std::move(answer));
}

void Controller::Reset(Vm& vm) {
  ++counts_.resets;
  SetState(vm, VmState::kResetting);
  SetTimer(vm, options_.reset_allowance_ns, &Controller::End);
  host_.Reset(vm.id, OnThread(vm, &Controller::OnReset));
}

void Controller::OnReset(Vm& vm, const Status& status) {
  if (vm.state != VmState::kResetting) return;
  CancelTimer(vm);
  if (status) {
    vm.is_dirty = false;
    BecomeIdle(vm);
  } else {
    ++counts_.reset_failures;
    End(vm);
  }
}

// ---- Spares

void Controller::NoteArrival(const FunctionSpec& spec) {
  if (spares_ && !is_draining_) spares_->Arrived(spec);
}

void Controller::OnSpareDue(const FunctionSpec& spec) {
  const bool is_there = std::any_of(vms_.begin(), vms_.end(), [&spec](const auto& entry) {
    const Vm& vm = *entry.second;
    return vm.spec.key == spec.key && vm.state != VmState::kEnding && !vm.is_retired;
  });
  if (is_there) return;
  Vm* vm = MakeRoomFor(spec, Effort::kMakeRoom);
  if (vm == nullptr) return;
  ++counts_.spares;
  vm->is_spare = true;
  LaunchIfReady(*vm);
}

void Controller::OnSpareLaunched(Vm& vm, const Status& status) {
  if (vm.state != VmState::kStarting) return;
  CancelTimer(vm);
  if (status) {
    EndLaunch(vm);
    BecomeIdle(vm);
    return;
  }
  ++counts_.launch_failures;
  Tell(VmEventKind::kGone, vm);
  vm.id = 0;
  if (vm.tries < kLaunchTries) {
    Launch(vm);
  } else {
    End(vm);
  }
}

}  // namespace snapfaas::faas
