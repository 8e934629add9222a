// QEMU's monitor, over QMP (docs/interop/qmp-spec.txt of QEMU): commands to a machine that runs.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace snapfaas::host {

// Runs one command of the human monitor in the QEMU whose monitor socket is in `folder`, and returns what it prints,
// without the line's end. kUnavailable: nobody answers there. Takes five seconds at most.
Result<std::string> RunMonitorCommand(const std::filesystem::path& folder, std::string_view command);

}  // namespace snapfaas::host
