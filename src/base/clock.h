// Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a host share: stamps taken by the VMM and by its
// launcher can be subtracted.
#pragma once

#include <chrono>
#include <cstdint>

namespace snapfaas {

inline constexpr int64_t kMilli = 1'000'000;
inline constexpr int64_t kSecond = 1000 * kMilli;

int64_t MonotonicNanos();
int64_t RealtimeNanos();

constexpr double ToMillis(int64_t nanos) { return static_cast<double>(nanos) / 1e6; }

// std::chrono's steady clock is the clock that MonotonicNanos reads.
inline std::chrono::steady_clock::time_point TimePoint(int64_t nanos) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(nanos));
}

}  // namespace snapfaas
