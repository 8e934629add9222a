// ControlServer: the life of one snapfaas-vmm process, from shell to the last event (wire/messages.h).
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/config.h"
#include "vmm/microvm.h"

namespace snapfaas::vmm {

class ControlServer {
 public:
  // Makes the shell and serves the socket until the guest ends, fails, or the launcher closes the socket. Everything
  // that goes wrong has been reported to the launcher when this returns.
  static Status Serve(UniqueFd control, const Config& config);

 private:
  ControlServer(UniqueFd control, UniqueFd timer, EventLoop& loop)
      : control_(std::move(control)), timer_(std::move(timer)), loop_(loop) {}
  Status Run(const Config& config);
  void OnControlReadable();
  Status Obey(wire::Command command);
  void OnHeld();
  // From a vCPU's thread.
  void OnMark(const wire::MarkEvent& mark);
  // From now on marks on the way to the function's being ready wait for the next event, as each would cost a system
  // call and wake the launcher while the guest is about to serve a request; but not for long, as the launcher wants to
  // know how far a guest has come that never gets ready.
  void HoldMarks();
  void ReleaseMarks();
  // Ends the process with `last` as its last event. The first end counts; what comes later is a consequence of it.
  // From any thread.
  void Finish(wire::Event last);
  // From any thread.
  void Send(const wire::Event& event);
  void SendHeldMarks();  // REQUIRES: sending_ is locked

  UniqueFd control_;
  UniqueFd timer_;
  EventLoop& loop_;
  std::mutex mutex_;
  std::optional<wire::Event> last_;  // under mutex_
  std::mutex sending_;
  bool holds_marks_ = false;           // under sending_
  std::vector<wire::MarkEvent> held_;  // under sending_
  bool obeyed_ = false;
  std::unique_ptr<MicroVm> vm_;
  EventLoop::Watch watch_;
  EventLoop::Watch timer_watch_;
};

}  // namespace snapfaas::vmm
