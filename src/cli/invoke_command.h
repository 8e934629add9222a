// snapfaas invoke: one request to a function of a node.
#pragma once

#include <CLI/CLI.hpp>

namespace snapfaas::cli {

void AddInvokeCommand(CLI::App& app, int& exit_code);

}  // namespace snapfaas::cli
