// snapfaas bench load, which sends a workload to a node, and snapfaas bench overhead, which measures what a node adds
// to a warm call. Both need no KVM here: the node may be anywhere.
#pragma once

#include <CLI/CLI.hpp>

namespace snapfaas::cli {

void AddLoadCommands(CLI::App& bench, int& exit_code);

}  // namespace snapfaas::cli
