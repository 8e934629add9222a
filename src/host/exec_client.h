// The client's side of one exec connection.
#pragma once

#include <unistd.h>

#include "base/result.h"
#include "host/exec_protocol.h"
#include "host/frame_stream.h"

namespace snapfaas::host {

struct StandardStreams {
  int in = STDIN_FILENO;
  int out = STDOUT_FILENO;
  int err = STDERR_FILENO;
};

// Connects to the exec server at 127.0.0.1:`port` and greets it.
Result<FrameStream> ConnectToExecServer(uint16_t port, const Token& token);

Status PingExecServer(FrameStream& stream);

// Runs the command at the other side, moving `streams` until it has ended. While it runs, SIGINT, SIGTERM and SIGHUP go
// to the command, unless this process ignores them. Returns its exit code, 128 + n after signal n; 141 (as after
// SIGPIPE) when nobody reads `streams.out` any more. kUnavailable when the connection breaks.
Result<int> RunRemoteCommand(FrameStream& stream, const ExecRequest& request, const StandardStreams& streams);

}  // namespace snapfaas::host
