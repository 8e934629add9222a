// snapfaas run: one microVM, no daemon. One JSON request a line from standard input, one JSON response a line to
// standard output; what the function prints goes to standard error.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// As AddHostCommands (host_commands.h). An exception of the function is a response; the exit code is 0 then.
void AddRunCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
