// snapfaas doctor [--json]: what this machine can do, and what to mend.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// As AddHostCommands. The exit code is 0 where functions can run here, by KVM or in the emulated host, else 1.
void AddDoctorCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
