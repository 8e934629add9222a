// snapfaas ls, rm, logs: the functions of a node.
#pragma once

#include <CLI/CLI.hpp>

namespace snapfaas::cli {

void AddFunctionCommands(CLI::App& app, int& exit_code);

}  // namespace snapfaas::cli
