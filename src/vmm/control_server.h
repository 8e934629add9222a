// ControlServer: the life of one snapfaas-vmm process, from shell to the last event (wire/messages.h).
#pragma once

#include <memory>
#include <mutex>
#include <optional>

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
  ControlServer(UniqueFd control, EventLoop& loop) : control_(std::move(control)), loop_(loop) {}
  Status Run(const Config& config);
  void OnControlReadable();
  Status Obey(wire::Command command);
  void OnHeld();
  // Ends the process with `last` as its last event. The first end counts; what comes later is a consequence of it.
  // From any thread.
  void Finish(wire::Event last);
  void Send(const wire::Event& event);

  UniqueFd control_;
  EventLoop& loop_;
  std::mutex mutex_;
  std::optional<wire::Event> last_;  // under mutex_
  bool obeyed_ = false;
  std::unique_ptr<MicroVm> vm_;
  EventLoop::Watch watch_;
};

}  // namespace snapfaas::vmm
