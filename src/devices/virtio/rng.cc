#include "devices/virtio/rng.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace snapfaas::devices::virtio {
namespace {

constexpr uint16_t kRngQueueSizes[] = {16};

// Returns how many bytes were filled.
uint32_t FillRandom(std::span<const iovec> segments) {
  size_t filled = 0;
  for (const iovec& segment : segments) {
    size_t done = 0;
    const size_t wanted = std::min(segment.iov_len, VirtioRng::kMaxBytesPerRequest - filled);
    while (done < wanted) {
      const ssize_t got = ::getrandom(static_cast<uint8_t*>(segment.iov_base) + done, wanted - done, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return static_cast<uint32_t>(filled + done);
      done += static_cast<size_t>(got);
    }
    filled += done;
  }
  return static_cast<uint32_t>(filled);
}

}  // namespace

std::span<const uint16_t> VirtioRng::queue_max_sizes() const { return kRngQueueSizes; }

Status VirtioRng::ProcessQueue(size_t index) {
  Queue* queue = host()->queue(index);
  if (queue == nullptr) return {};
  bool used = false;
  for (;;) {
    auto popped = queue->Pop();
    if (!popped) return Forward(popped.error());
    if (!popped->has_value()) break;
    DescriptorChain chain = std::move(**popped);
    // 5.4.6.1: the driver must not place device-readable buffers into the queue.
    if (chain.readable_bytes() != 0 || chain.writable_bytes() == 0) {
      queue->PutBack(std::move(chain));
      return Fail(ErrorCode::kGuestError, "a request for random bytes is not a writable buffer");
    }
    const uint32_t filled = FillRandom(chain.writable());
    queue->Return(std::move(chain), filled);
    used = true;
  }
  if (used) host()->SignalUsed(index);
  return {};
}

}  // namespace snapfaas::devices::virtio
