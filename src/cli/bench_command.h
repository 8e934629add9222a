// snapfaas bench: breakdown says where the time goes in a boot and in a restore, as in the poster's table; restore
// (bench_restore.h) compares the ways to restore; density and working-set measure memory; load and overhead
// (load_command.h) measure a running node.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// As AddHostCommands (host_commands.h).
void AddBenchCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
