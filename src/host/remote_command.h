// RemoteCommand: a process group started for a client of the exec server, with pipes for its standard streams.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"
#include "host/exec_protocol.h"

namespace snapfaas::host {

class RemoteCommand {
 public:
  // Starts it in a session of its own. A command that cannot be executed is not an error: as in a shell it complains on
  // its standard error and exits with 127 (not found) or 126.
  static Result<RemoteCommand> Start(const ExecRequest& request);

  RemoteCommand(RemoteCommand&&) noexcept = default;
  RemoteCommand& operator=(RemoteCommand&&) noexcept = default;

  // Our ends of its pipes, non-blocking.
  UniqueFd stdin_pipe;
  UniqueFd stdout_pipe;
  UniqueFd stderr_pipe;
  // Readable when the command has ended.
  UniqueFd ended;

  void Signal(int signal) const;

  // REQUIRES: `ended` is readable.
  uint32_t ExitCode() const;

  // Asks the group to end, waits up to two seconds, kills what is left.
  void Kill() const;

 private:
  explicit RemoteCommand(pid_t group) : group_(group) {}

  pid_t group_;
};

}  // namespace snapfaas::host
