#include "faas/poll_until.h"

#include <algorithm>
#include <cerrno>

#include "base/clock.h"

namespace snapfaas::faas {

Status PollUntil(std::span<pollfd> polled, int64_t deadline_ns) {
  for (;;) {
    const int64_t left = deadline_ns - MonotonicNanos();
    if (left <= 0) return Fail(ErrorCode::kTimedOut, "the deadline passed");
    const int ready =
        ::poll(polled.data(), polled.size(), static_cast<int>(std::min<int64_t>(left / 1'000'000 + 1, 1'000'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return FailErrno(errno, "waiting for a microVM");
  }
}

}  // namespace snapfaas::faas
