// Soon: a deadline that a test does not reach unless something hangs.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace snapfaas::wire {

inline int64_t Soon() { return MonotonicNanos() + 10 * kSecond; }

}  // namespace snapfaas::wire
