// The compressed kernel inside a bzImage (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
#pragma once

#include <string_view>

#include "base/result.h"

namespace snapfaas::host {

// A view into `image`. kCorrupt when it is no bzImage of boot protocol 2.08 or later, or is shorter than it says.
Result<std::string_view> BzImagePayload(std::string_view image);

}  // namespace snapfaas::host
