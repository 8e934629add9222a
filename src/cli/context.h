// Context: where a snapfaas command finds and keeps its things.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "base/result.h"

namespace snapfaas::cli {

struct Context {
  std::filesystem::path data_dir;   // what is built here: runtimes/, snapshots/, kernels; may not exist yet
  std::filesystem::path share_dir;  // what the build made: guest programs, bootstraps, service files
  std::filesystem::path bin_dir;    // the executables, snapfaas-vmm beside snapfaas
};

// Exit codes of every command.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// `data_option` is the value of --data, empty when not given; then $SNAPFAAS_DATA, $XDG_DATA_HOME/snapfaas and
// ~/.local/share/snapfaas are tried in this order. All paths are absolute. Makes no folders.
Result<Context> MakeContext(const std::string& data_option);

// The path of this very executable.
Result<std::filesystem::path> ExecutablePath();

// Prints "snapfaas: <message>" to standard error and returns kExitFailure.
int ReportFailure(const Error& error);

// What a subcommand is to call: the action on what `make` gives, with its exit code kept in `exit_code`.
template <typename Make, typename Action>
std::function<void()> KeepExitCode(Make make, Action action, int& exit_code) {
  return [make = std::move(make), action = std::move(action), &exit_code] {
    const auto made = make();
    const auto code = made ? action(*made) : Result<int>(Forward(made.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  };
}

}  // namespace snapfaas::cli
