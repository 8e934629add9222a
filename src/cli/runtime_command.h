// snapfaas runtime build|snapshot|ls|rm: language runtimes and their base snapshots.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// As AddHostCommands (host_commands.h).
void AddRuntimeCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
