#include "vmm/vcpu_runner.h"

#include <pthread.h>
#include <csignal>

namespace snapfaas::vmm {
namespace {

thread_local VcpuRunner* current_runner = nullptr;

int KickSignal() { return SIGRTMIN; }

// A signal without a handler would end the process; an empty one only interrupts KVM_RUN.
void InstallKickHandler() {
  static const int installed = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    return ::sigaction(KickSignal(), &action, nullptr);
  }();
  static_cast<void>(installed);
}

}  // namespace

void VcpuRunner::Prepare() {
  InstallKickHandler();
  thread_ = std::thread([this] { Loop(); });
}

void VcpuRunner::Start(Wiring wiring) {
  {
    const std::lock_guard lock(mutex_);
    wiring_ = std::move(wiring);
    started_ = true;
  }
  changed_.notify_all();
  if (!thread_.joinable()) Prepare();
}

bool VcpuRunner::WaitForStart() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return started_ || stop_asked_; });
  return started_;
}

void VcpuRunner::Kick() {
  vcpu_.RequestExit();
  if (thread_.joinable()) ::pthread_kill(thread_.native_handle(), KickSignal());
}

void VcpuRunner::RequestPark() {
  park_asked_ = true;
  Kick();
}

void VcpuRunner::ParkHere() { current_runner->park_asked_ = true; }

uint32_t VcpuRunner::CurrentIndex() { return current_runner->vcpu_.index(); }

bool VcpuRunner::WaitParked() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return parked_ || ended_; });
  return parked_;
}

void VcpuRunner::Rewire(const devices::Bus* ports, const devices::Bus* mmio) {
  const std::lock_guard lock(mutex_);
  wiring_.ports = ports;
  wiring_.mmio = mmio;
}

void VcpuRunner::Resume() {
  {
    const std::lock_guard lock(mutex_);
    park_asked_ = false;
  }
  changed_.notify_all();
}

void VcpuRunner::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_asked_ = true;
  }
  changed_.notify_all();
  Kick();
  thread_.join();
}

bool VcpuRunner::ParkIfAsked() {
  if (stop_asked_) return false;
  if (!park_asked_) return true;
  auto completed = vcpu_.CompleteAccess();
  if (!completed) {
    wiring_.on_failed(completed.error());
    return false;
  }
  std::unique_lock lock(mutex_);
  parked_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !park_asked_ || stop_asked_; });
  parked_ = false;
  return !stop_asked_;
}

void VcpuRunner::Loop() {
  current_runner = this;
  const bool started = WaitForStart();
  while (started && ParkIfAsked()) {
    auto exit = vcpu_.Run();
    if (!exit) {
      wiring_.on_failed(exit.error());
      break;
    }
    if (!Handle(*exit)) break;
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

bool VcpuRunner::Handle(const kvm::VcpuExit& exit) {
  if (const auto* write = std::get_if<kvm::MmioWriteExit>(&exit)) {
    wiring_.mmio->Write(write->address.value(), write->data);
  } else if (const auto* read = std::get_if<kvm::MmioReadExit>(&exit)) {
    wiring_.mmio->Read(read->address.value(), read->data);
  } else if (const auto* port_write = std::get_if<kvm::PortWriteExit>(&exit)) {
    for (size_t at = 0; at + port_write->width <= port_write->data.size(); at += port_write->width) {
      wiring_.ports->Write(port_write->port, port_write->data.subspan(at, port_write->width));
    }
  } else if (const auto* port_read = std::get_if<kvm::PortReadExit>(&exit)) {
    for (size_t at = 0; at + port_read->width <= port_read->data.size(); at += port_read->width) {
      wiring_.ports->Read(port_read->port, port_read->data.subspan(at, port_read->width));
    }
  } else if (std::holds_alternative<kvm::InterruptedExit>(exit)) {
    if (!stop_asked_) vcpu_.ClearExitRequest();
  } else if (std::holds_alternative<kvm::ShutdownExit>(exit)) {
    wiring_.on_ended({wire::EndReason::kReset, fmt::format("vCPU {} triple-faulted", vcpu_.index())});
    return false;
  } else if (std::holds_alternative<kvm::SystemResetExit>(exit)) {
    wiring_.on_ended({wire::EndReason::kReset, "the guest asked for a reset"});
    return false;
  } else if (const auto* broken = std::get_if<kvm::BrokenExit>(&exit)) {
    auto regs = vcpu_.GetRegs();
    wiring_.on_failed({ErrorCode::kGuestError, 0,
                       fmt::format("KVM cannot go on with vCPU {} at rip {:#x}: exit reason {}, detail {:#x}; "
                                   "'snapfaas doctor' says what this machine's KVM can do",
                                   vcpu_.index(), regs ? uint64_t{regs->rip} : 0, broken->reason, broken->detail)});
    return false;
  }
  return true;
}

}  // namespace snapfaas::vmm
