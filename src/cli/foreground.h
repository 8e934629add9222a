// Runs a program as if it were this one: its end is ours.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace snapfaas::cli {

// Waits for it and returns its exit code, 128 + n after signal n. SIGTERM and SIGHUP that reach this process go to it;
// SIGINT comes from a terminal, which tells both. REQUIRES: no other thread.
Result<int> RunAndWait(std::vector<std::string> command);

}  // namespace snapfaas::cli
