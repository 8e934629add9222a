#include "faas/shell.h"

#include <poll.h>

#include <array>
#include <variant>

#include "base/clock.h"
#include "faas/poll_until.h"
#include "wire/messages.h"

namespace snapfaas::faas {

Result<Shell> Shell::Start(Spawner& spawner, const VmSize& size, int64_t deadline_ns, int give_up) {
  auto valid = CheckVmSize(size);
  if (!valid) return Forward(valid.error());
  const int64_t began = MonotonicNanos();
  auto process = spawner.Spawn(size);
  if (!process) return Forward(process.error());
  Shell shell(size, std::move(*process));
  auto event = shell.WaitForEvent(deadline_ns, give_up);
  if (event) {
    const auto* ready = std::get_if<wire::ShellReadyEvent>(&*event);
    if (ready == nullptr) return Fail(ErrorCode::kCorrupt, "the VMM did not say first that it is set up");
    shell.ready_ns_ = ready->at_ns;
    return shell;
  }
  if (event.error().code != ErrorCode::kTimedOut) return Forward(event.error());
  return Fail(ErrorCode::kTimedOut, "the VMM was not set up within {:.1f} s", ToMillis(MonotonicNanos() - began) / 1e3);
}

Result<wire::Event> Shell::WaitForEvent(int64_t deadline_ns, int give_up) {
  std::array<pollfd, 2> polled{pollfd{process_->control(), POLLIN, 0}, pollfd{give_up, POLLIN, 0}};
  auto spoke = PollUntil(polled, deadline_ns);
  if (!spoke) return Forward(spoke.error());
  if (polled[0].revents == 0) return Fail(ErrorCode::kUnavailable, "the start of a VMM was given up");
  auto packet = wire::ReceivePacket(process_->control(), /*deadline_ns=*/-1);
  if (!packet) {
    if (packet.error().code != ErrorCode::kUnavailable) return Forward(packet.error());
    return Fail(ErrorCode::kUnavailable, "snapfaas-vmm {} before it was set up", process_->DescribeEnd());
  }
  auto event = wire::DecodeEvent(*packet);
  if (!event) return Forward(event.error(), "the VMM is not of this version");
  if (const auto* failed = std::get_if<wire::FailedEvent>(&*event)) return Forward(failed->error);
  return event;
}

Status Shell::Prime(const std::string& base, wire::PrimeCommand command, int64_t deadline_ns, int give_up) {
  auto sent = wire::SendPacket(process_->control(), wire::EncodeCommand(std::move(command)));
  if (!sent) return sent;
  auto event = WaitForEvent(deadline_ns, give_up);
  if (!event) return Forward(event.error(), "priming a VMM");
  if (!std::holds_alternative<wire::PrimedEvent>(*event)) {
    return Fail(ErrorCode::kCorrupt, "the VMM did not say that it is primed");
  }
  primed_with_ = base;
  return {};
}

bool Shell::Waits() const {
  // It has nothing to say before its command.
  pollfd polled{process_->control(), POLLIN, 0};
  (void)::poll(&polled, 1, /*timeout=*/0);
  return polled.revents == 0;
}

bool Shell::IsAlive() const {
  pollfd polled{process_->control(), 0, 0};
  (void)::poll(&polled, 1, /*timeout=*/0);
  return polled.revents == 0;
}

}  // namespace snapfaas::faas
