// snapfaas bench working-set: which pages requests touch after a restore, how many of them recur from one request and
// from one input to the next, and what prefetching them is worth.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// Into `bench`; as AddHostCommands (host_commands.h).
void AddBenchWorkingSet(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
