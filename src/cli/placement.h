// Where a command's microVMs run: on this machine's KVM, or in the emulated host, into which the whole command is then
// forwarded. It runs there as it would have run here.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "cli/context.h"

namespace snapfaas::cli {

enum class Placement { kHere, kEmulatedHost };

// kUnavailable inside the emulated host when even its KVM does not work.
Result<Placement> ChoosePlacement();

// Runs this very command line in the emulated host. `shares`: folders beside the current and the data folder that the
// command needs. Returns its exit code.
Result<int> ForwardThisCommand(const Context& context, const std::vector<std::filesystem::path>& shares);

}  // namespace snapfaas::cli
