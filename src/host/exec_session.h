// The server's side of one exec connection: checks the greeting, obeys one Exec, Ping or PowerOff.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "host/exec_protocol.h"

namespace snapfaas::host {

struct SessionHooks {
  // Makes a folder of the machine visible, before a command that names it as a share.
  std::function<Status(const std::string& folder)> share;
  // Brings the copy in memory of a file of the machine up to date, after its folder was shared.
  std::function<Status(const std::string& file)> keep_resident;
  std::function<void()> power_off;
};

// Serves the connection to its end: when it returns, the command has ended or, its client being gone, was killed.
// REQUIRES: a process of its own (it waits for its children), SIGCHLD not ignored.
Status ServeExecConnection(UniqueFd socket, const Token& token, const SessionHooks& hooks);

}  // namespace snapfaas::host
