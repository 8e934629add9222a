// snapfaas simulate: a workload or a trace on a simulated node (docs/simulator.md).
#pragma once

#include <CLI/CLI.hpp>

namespace snapfaas::cli {

void AddSimulateCommand(CLI::App& app, int& exit_code);

}  // namespace snapfaas::cli
