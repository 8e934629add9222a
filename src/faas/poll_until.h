#pragma once

#include <poll.h>

#include <cstdint>
#include <span>

#include "base/result.h"

namespace snapfaas::faas {

// Waits until one of `polled` is ready, as its `revents` then say. kTimedOut: `deadline_ns` (MonotonicNanos) passed.
Status PollUntil(std::span<pollfd> polled, int64_t deadline_ns);

}  // namespace snapfaas::faas
