// snapfaas bench density: what idle microVMs take of the machine's memory as there are more and more of them.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// Into `bench`; as AddHostCommands (host_commands.h).
void AddBenchDensity(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
