#include "base/clock.h"

#include <ctime>

namespace snapfaas {
namespace {

int64_t Read(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int64_t MonotonicNanos() { return Read(CLOCK_MONOTONIC); }
int64_t RealtimeNanos() { return Read(CLOCK_REALTIME); }

}  // namespace snapfaas
