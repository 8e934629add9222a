// A TCP port of this machine that nobody listens at.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace snapfaas::host {

// Of 127.0.0.1, and free just now: whoever is to listen there says so if somebody was faster.
Result<uint16_t> FindFreePort();

}  // namespace snapfaas::host
