// The exec server of the emulated host: accepts connections, serves each in a process of its own.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "host/exec_session.h"

namespace snapfaas::host {

// Listens on all addresses: only the forwarded port of this machine's 127.0.0.1 leads here.
Result<UniqueFd> ListenForExec(uint16_t port);

// Returns only when it cannot go on.
Status ServeExecForever(const UniqueFd& listener, const Token& token, const SessionHooks& hooks);

}  // namespace snapfaas::host
