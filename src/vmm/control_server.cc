#include "vmm/control_server.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <cerrno>

#include "base/clock.h"

namespace snapfaas::vmm {
namespace {

// How long marks are kept back at most; a restore takes a fraction of it.
constexpr itimerspec kHoldTime = {.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 100'000'000}};
constexpr size_t kMostHeld = 16;

bool MayWait(wire::Doorbell value) { return value == wire::Doorbell::kIdentity || value == wire::Doorbell::kMounted; }

}  // namespace

Status ControlServer::Serve(UniqueFd control, const Config& config) {
  auto loop = EventLoop::Create();
  if (!loop) return Forward(loop.error());
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.valid()) return FailErrno(errno, "making a timer");
  ControlServer server(std::move(control), std::move(timer), **loop);
  return server.Run(config);
}

Status ControlServer::Run(const Config& config) {
  MicroVm::Callbacks callbacks;
  callbacks.on_mark = [this](const wire::MarkEvent& mark) { OnMark(mark); };
  callbacks.on_held = [this] { loop_.Post([this] { OnHeld(); }); };
  callbacks.on_ended = [this](const wire::EndedEvent& ended) { Finish(ended); };
  callbacks.on_failed = [this](const Error& error) { Finish(wire::FailedEvent{error}); };
  auto shell = MicroVm::CreateShell(loop_, config, std::move(callbacks));
  if (!shell) {
    Send(wire::FailedEvent{shell.error()});
    return Forward(shell.error());
  }
  vm_ = std::move(*shell);
  auto watch = loop_.Add(control_.get(), EPOLLIN, [this](uint32_t) { OnControlReadable(); });
  if (!watch) return Forward(watch.error());
  watch_ = std::move(*watch);
  auto timer_watch = loop_.Add(timer_.get(), EPOLLIN, [this](uint32_t) { ReleaseMarks(); });
  if (!timer_watch) return Forward(timer_watch.error());
  timer_watch_ = std::move(*timer_watch);
  held_.reserve(kMostHeld);
  Send(wire::ShellReadyEvent{MonotonicNanos()});
  auto served = loop_.Run();
  if (!served) Finish(wire::FailedEvent{served.error()});
  // Stops the vCPUs and writes out the logs, which a launcher may want to read once it has the last event.
  vm_.reset();
  const std::lock_guard lock(mutex_);
  Send(*last_);
  if (const auto* failed = std::get_if<wire::FailedEvent>(&*last_)) return Forward(failed->error);
  return {};
}

void ControlServer::OnControlReadable() {
  auto packet = wire::ReceivePacket(control_.get(), MonotonicNanos() + 1'000'000'000);
  if (!packet) {
    // The launcher is gone or has closed the socket: this is how a microVM is stopped.
    Finish(wire::EndedEvent{wire::EndReason::kStopped, "the launcher closed the control socket"});
    return;
  }
  auto command = wire::DecodeCommand(std::move(*packet));
  auto obeyed = command ? Obey(std::move(*command)) : Status(Forward(command.error()));
  if (!obeyed) Finish(wire::FailedEvent{obeyed.error()});
}

Status ControlServer::Obey(wire::Command command) {
  if (auto* record = std::get_if<wire::RecordWorkingSetCommand>(&command)) {
    auto recorded = vm_->RecordWorkingSet(*record);
    if (!recorded) return Forward(recorded.error());
    Send(*recorded);
    return {};
  }
  if (auto* reset = std::get_if<wire::ResetCommand>(&command)) {
    auto done = vm_->Reset(std::move(*reset));
    if (!done) return Forward(done.error());
    // First the event: marks that come before it are of the guest's former life.
    Send(*done);
    HoldMarks();
    vm_->Resume();
    return {};
  }
  if (auto* prime = std::get_if<wire::PrimeCommand>(&command); prime != nullptr && !obeyed_) {
    auto primed = vm_->Prime(std::move(*prime));
    if (!primed) return primed;
    Send(wire::PrimedEvent{});
    return {};
  }
  if (obeyed_) {
    return Fail(ErrorCode::kInvalidArgument,
                "a VMM obeys one boot or restore command in its life, and no prime after it");
  }
  obeyed_ = true;
  if (auto* boot = std::get_if<wire::BootCommand>(&command)) {
    auto booted = vm_->Boot(std::move(*boot));
    if (!booted) return booted;
  } else if (auto* restore = std::get_if<wire::RestoreCommand>(&command)) {
    auto restored = vm_->Restore(std::move(*restore));
    if (!restored) return Forward(restored.error());
    Send(*restored);
    HoldMarks();
  }
  vm_->Run();
  return {};
}

void ControlServer::OnHeld() {
  auto taken = vm_->TakeSnapshot();
  if (!taken) {
    Finish(wire::FailedEvent{taken.error()});
    return;
  }
  Send(*taken);
  Finish(wire::EndedEvent{wire::EndReason::kStopped, "the snapshot is taken"});
}

void ControlServer::Finish(wire::Event last) {
  {
    const std::lock_guard lock(mutex_);
    if (last_) return;
    last_ = std::move(last);
  }
  loop_.Stop();
}

void ControlServer::OnMark(const wire::MarkEvent& mark) {
  if (MayWait(mark.value)) {
    const std::lock_guard lock(sending_);
    if (holds_marks_ && held_.size() < kMostHeld) {
      held_.push_back(mark);
      return;
    }
  }
  Send(mark);
}

void ControlServer::HoldMarks() {
  const std::lock_guard lock(sending_);
  holds_marks_ = ::timerfd_settime(timer_.get(), 0, &kHoldTime, nullptr) == 0;
}

void ControlServer::ReleaseMarks() {
  uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof(expirations)) < 0) return;
  const std::lock_guard lock(sending_);
  holds_marks_ = false;
  SendHeldMarks();
}

void ControlServer::SendHeldMarks() {
  for (const wire::MarkEvent& mark : held_) {
    static_cast<void>(wire::SendPacket(control_.get(), wire::EncodeEvent(mark)));
  }
  held_.clear();
}

void ControlServer::Send(const wire::Event& event) {
  const std::lock_guard lock(sending_);
  SendHeldMarks();
  // A launcher that no longer listens has closed the socket, which the loop notices by itself.
  static_cast<void>(wire::SendPacket(control_.get(), wire::EncodeEvent(event)));
}

}  // namespace snapfaas::vmm
