// Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a host share: stamps taken by the VMM and by its
// launcher can be subtracted.
#pragma once

#include <cstdint>

namespace snapfaas {

int64_t MonotonicNanos();
int64_t RealtimeNanos();

constexpr double ToMillis(int64_t nanos) { return static_cast<double>(nanos) / 1e6; }

}  // namespace snapfaas
