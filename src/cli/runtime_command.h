// snapfaas runtime build|snapshot|ls|rm|snapshots|gc: language runtimes, and the snapshots of them and of functions.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// As AddHostCommands (host_commands.h).
void AddRuntimeCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
