// snapfaas host exec|start|stop|status, and what other commands use to forward themselves into the emulated host.
#pragma once

#include <CLI/CLI.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "host/emulated_host.h"

namespace snapfaas::cli {

// `context` is asked for when a subcommand runs, since --data is known only then. The subcommand leaves the exit code
// of the program in `exit_code`.
void AddHostCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

// That of <data>/host.
host::EmulatedHost HostOf(const Context& context);

// Does nothing when it runs already.
Status StartEmulatedHost(const Context& context);

// Runs `argv` in the emulated host of <data>/host, starting it (and building what it boots from) where needed, with
// this process's standard streams. The current folder, the data, share and bin folders and `shares` are visible, live
// and writable, at their own paths. Returns the command's exit code.
Result<int> RunInEmulatedHost(const Context& context, std::vector<std::string> argv,
                              const std::vector<std::filesystem::path>& shares = {});

}  // namespace snapfaas::cli
