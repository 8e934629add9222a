// snapfaas bench restore: the ways to bring a microVM to life side by side, with a full boot, the poster's copy, the
// reset in place and the floor that KVM sets. Each run is a request that waits when its microVM comes to life, and a
// second one to the then idle microVM.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

// Into `bench`; as AddHostCommands (host_commands.h).
void AddBenchRestore(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code);

// The folder that --app means for a runtime where it is to be measured beside others: "{runtime}" is its name.
std::string AppOfRuntime(std::string pattern, std::string_view runtime);

}  // namespace snapfaas::cli
