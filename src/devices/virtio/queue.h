// Queue: the device's side of a split virtqueue (virtio 1.2, 2.7). The rings lie in guest memory and are hostile:
// every field is read once and checked, and what does not make sense is an error (kGuestError), after which the
// transport puts the device into DEVICE_NEEDS_RESET. Indirect descriptors and event indices are not offered.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/coding.h"
#include "base/result.h"
#include "memory/guest_memory.h"

namespace snapfaas::devices::virtio {

inline constexpr uint16_t kMaxQueueSize = 1024;  // as large as any of our devices allows; IOV_MAX holds a whole chain

// A queue as the driver has set it up, and how far the device has come in it.
struct QueueState {
  uint32_t size = 0;
  bool ready = false;
  uint64_t descriptor_area = 0;  // guest-physical addresses
  uint64_t driver_area = 0;      // available ring
  uint64_t device_area = 0;      // used ring
  uint16_t next_avail = 0;       // free-running, as in the rings
  uint16_t next_used = 0;

  void Encode(ByteWriter& writer) const;
  static QueueState Decode(ByteReader& reader);  // bad bytes fail the reader
  bool operator==(const QueueState&) const = default;
};

// A chain of buffers that the driver has made available, taken from a queue by Pop(). It must go back to that queue
// by Return() or PutBack(); dropping it is a bug in the device (debug builds assert).
//
// The segments point into guest memory and are checked to lie in it. They are for calls that copy (readv, writev,
// memcpy), not for parsing in place.
class DescriptorChain {
 public:
  DescriptorChain(DescriptorChain&& other) noexcept;
  DescriptorChain& operator=(DescriptorChain&& other) noexcept;
  DescriptorChain(const DescriptorChain&) = delete;
  DescriptorChain& operator=(const DescriptorChain&) = delete;
  ~DescriptorChain();

  // What the driver gives to the device to read, and after it what the device may write. Without empty segments.
  std::span<const iovec> readable() const { return std::span<const iovec>(segments_).first(readable_count_); }
  std::span<const iovec> writable() const { return std::span<const iovec>(segments_).subspan(readable_count_); }
  uint64_t readable_bytes() const { return readable_bytes_; }
  uint64_t writable_bytes() const { return writable_bytes_; }

  // Copies from byte `offset` of the readable part; returns how many bytes there were, at most to.size().
  size_t CopyOut(uint64_t offset, std::span<uint8_t> to) const;
  // Copies to byte `offset` of the writable part; returns how many bytes fitted.
  size_t CopyIn(uint64_t offset, std::span<const uint8_t> from);

 private:
  friend class Queue;
  explicit DescriptorChain(uint16_t head) : head_(head) {}

  std::optional<uint16_t> head_;  // nothing once moved from or returned
  std::vector<iovec> segments_;
  size_t readable_count_ = 0;
  uint64_t readable_bytes_ = 0;
  uint64_t writable_bytes_ = 0;
};

// Appends to `out` the part [offset, offset + length) of `segments`, as far as it exists.
void AppendSlice(std::span<const iovec> segments, uint64_t offset, uint64_t length, std::vector<iovec>& out);

// Whether the driver should tell the device of new buffers (2.7.10).
enum class DriverNotifications { kWanted, kUnwanted };

// Not thread-safe: used under the device's lock.
class Queue {
 public:
  // Checks size, alignment and place of the rings (2.7): an error names what is wrong with them.
  // REQUIRES: memory outlives the queue.
  static Result<Queue> Create(GuestMemory& memory, const QueueState& state, uint16_t max_size);

  uint16_t size() const { return static_cast<uint16_t>(state_.size); }
  const QueueState& state() const { return state_; }

  // The next available chain; nothing when the driver has made none available.
  Result<std::optional<DescriptorChain>> Pop();

  // Gives a chain back to the driver as used, `written` bytes of its writable part filled from the start (2.7.8).
  void Return(DescriptorChain chain, uint32_t written);

  // Undoes Pop, as if it had never been. Several chains go back in reverse order. REQUIRES: nothing popped after it
  // has been returned.
  void PutBack(DescriptorChain chain);

  // Whether the driver wants an interrupt for what has been returned so far (2.7.7.2).
  bool WantsInterrupt() const;

  // Advises the driver. After a change to kWanted, Pop again: a buffer may have come just before.
  void SetNotifications(DriverNotifications wanted);

 private:
  Queue(GuestMemory& memory, const QueueState& state) : memory_(&memory), state_(state) {}
  Status Collect(DescriptorChain& chain);
  void Retire(DescriptorChain& chain);

  GuestMemory* memory_;
  QueueState state_;
  std::vector<std::vector<iovec>> spare_;  // segment lists to be used again
};

}  // namespace snapfaas::devices::virtio
