// snapfaas bench load, which sends a workload to a node, and snapfaas bench overhead, which measures what a node adds
// to a warm call. Both need no KVM here: the node may be anywhere.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

void AddLoadCommands(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
