// snapfaas ps, top, snapshots: what a node is doing and what it keeps.
#pragma once

#include <CLI/CLI.hpp>

namespace snapfaas::cli {

void AddNodeCommands(CLI::App& app, int& exit_code);

}  // namespace snapfaas::cli
