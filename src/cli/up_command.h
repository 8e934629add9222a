// `snapfaas up | down | status | config`: a node's life on this machine.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

void AddNodeLifeCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
