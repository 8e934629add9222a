#include "devices/virtio/queue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstring>
#include <limits>
#include <utility>

namespace snapfaas::devices::virtio {
namespace {

// 2.7.5
struct Descriptor {
  uint64_t addr;
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
constexpr uint16_t kDescNext = 1;
constexpr uint16_t kDescWrite = 2;

// 2.7.8
struct UsedElement {
  uint32_t id;
  uint32_t len;
};
static_assert(sizeof(UsedElement) == 8);

constexpr uint16_t kAvailNoInterrupt = 1;  // VIRTQ_AVAIL_F_NO_INTERRUPT
constexpr uint16_t kUsedNoNotify = 1;      // VIRTQ_USED_F_NO_NOTIFY
constexpr uint64_t kFlagsOffset = 0;       // in both rings
constexpr uint64_t kIndexOffset = 2;
constexpr uint64_t kRingOffset = 4;

Status CheckArea(const GuestMemory& memory, std::string_view name, uint64_t address, uint64_t size,
                 uint64_t alignment) {
  if (address % alignment != 0) {
    return Fail(ErrorCode::kGuestError, "the {} at {:#x} is not aligned to {} bytes", name, address, alignment);
  }
  auto slice = memory.Slice(GuestAddress(address), size);
  if (!slice) return Forward(slice.error(), name);
  return {};
}

// Calls `copy(segment part, bytes done before)` for each piece of [offset, offset + length) of the segments.
template <typename Copy>
size_t ForEachPiece(std::span<const iovec> segments, uint64_t offset, size_t length, Copy copy) {
  size_t done = 0;
  for (const iovec& segment : segments) {
    if (done == length) break;
    if (offset >= segment.iov_len) {
      offset -= segment.iov_len;
      continue;
    }
    const size_t piece = std::min(segment.iov_len - static_cast<size_t>(offset), length - done);
    copy(static_cast<uint8_t*>(segment.iov_base) + offset, piece, done);
    done += piece;
    offset = 0;
  }
  return done;
}

}  // namespace

void QueueState::Encode(ByteWriter& writer) const {
  writer.Put(size);
  writer.Put(static_cast<uint8_t>(ready ? 1 : 0));
  writer.Put(descriptor_area);
  writer.Put(driver_area);
  writer.Put(device_area);
  writer.Put(next_avail);
  writer.Put(next_used);
}

QueueState QueueState::Decode(ByteReader& reader) {
  QueueState state;
  state.size = reader.Get<uint32_t>();
  const auto ready = reader.Get<uint8_t>();
  if (ready > 1) reader.MarkBad();
  state.ready = ready == 1;
  state.descriptor_area = reader.Get<uint64_t>();
  state.driver_area = reader.Get<uint64_t>();
  state.device_area = reader.Get<uint64_t>();
  state.next_avail = reader.Get<uint16_t>();
  state.next_used = reader.Get<uint16_t>();
  return state;
}

DescriptorChain::DescriptorChain(DescriptorChain&& other) noexcept
    : head_(std::exchange(other.head_, std::nullopt)),
      segments_(std::move(other.segments_)),
      readable_count_(std::exchange(other.readable_count_, 0)),
      readable_bytes_(std::exchange(other.readable_bytes_, 0)),
      writable_bytes_(std::exchange(other.writable_bytes_, 0)) {}

DescriptorChain& DescriptorChain::operator=(DescriptorChain&& other) noexcept {
  if (this != &other) {
    assert(!head_.has_value() && "a descriptor chain was not returned to its queue");
    head_ = std::exchange(other.head_, std::nullopt);
    segments_ = std::move(other.segments_);
    readable_count_ = std::exchange(other.readable_count_, 0);
    readable_bytes_ = std::exchange(other.readable_bytes_, 0);
    writable_bytes_ = std::exchange(other.writable_bytes_, 0);
  }
  return *this;
}

DescriptorChain::~DescriptorChain() {
  assert(!head_.has_value() && "a descriptor chain was not returned to its queue");
}

size_t DescriptorChain::CopyOut(uint64_t offset, std::span<uint8_t> to) const {
  return ForEachPiece(readable(), offset, to.size(), [&](const uint8_t* piece, size_t size, size_t done) {
    std::memcpy(to.data() + done, piece, size);
  });
}

size_t DescriptorChain::CopyIn(uint64_t offset, std::span<const uint8_t> from) {
  return ForEachPiece(writable(), offset, from.size(),
                      [&](uint8_t* piece, size_t size, size_t done) { std::memcpy(piece, from.data() + done, size); });
}

void AppendSlice(std::span<const iovec> segments, uint64_t offset, uint64_t length, std::vector<iovec>& out) {
  ForEachPiece(segments, offset, length, [&](uint8_t* piece, size_t size, size_t) { out.push_back({piece, size}); });
}

Result<Queue> Queue::Create(GuestMemory& memory, const QueueState& state, uint16_t max_size) {
  if (state.size == 0 || state.size > max_size || !std::has_single_bit(state.size)) {
    return Fail(ErrorCode::kGuestError, "a queue size of {} is not a power of two up to {}", state.size, max_size);
  }
  const uint64_t size = state.size;
  auto checked = CheckArea(memory, "descriptor table", state.descriptor_area, 16 * size, 16);
  if (checked) checked = CheckArea(memory, "available ring", state.driver_area, 6 + 2 * size, 2);
  if (checked) checked = CheckArea(memory, "used ring", state.device_area, 6 + 8 * size, 4);
  if (!checked) return Forward(checked.error());
  return Queue(memory, state);
}

Result<std::optional<DescriptorChain>> Queue::Pop() {
  const GuestAddress ring(state_.driver_area);
  const auto available = memory_->LoadAcquire16(ring + kIndexOffset);
  if (!available) return Forward(available.error());
  const auto pending = static_cast<uint16_t>(*available - state_.next_avail);
  if (pending == 0) return std::optional<DescriptorChain>();
  if (pending > state_.size) {
    return Fail(ErrorCode::kGuestError, "the available index jumped to {}, {} past the {} entries of the ring",
                *available, pending - state_.size, state_.size);
  }
  const uint64_t slot = state_.next_avail % state_.size;
  const auto head = memory_->ReadObject<uint16_t>(ring + kRingOffset + 2 * slot);
  if (!head) return Forward(head.error());

  DescriptorChain chain(*head);
  if (!spare_.empty()) {
    chain.segments_ = std::move(spare_.back());
    spare_.pop_back();
  }
  auto collected = Collect(chain);
  if (!collected) {
    Retire(chain);
    return Forward(collected.error());
  }
  ++state_.next_avail;
  return std::optional<DescriptorChain>(std::move(chain));
}

Status Queue::Collect(DescriptorChain& chain) {
  uint16_t index = *chain.head_;
  bool seen_writable = false;
  for (uint32_t count = 0; count < state_.size; ++count) {
    if (index >= state_.size) {
      return Fail(ErrorCode::kGuestError, "descriptor {} lies outside a table of {}", index, state_.size);
    }
    const auto descriptor =
        memory_->ReadObject<Descriptor>(GuestAddress(state_.descriptor_area) + sizeof(Descriptor) * index);
    if (!descriptor) return Forward(descriptor.error());
    if ((descriptor->flags & ~(kDescNext | kDescWrite)) != 0) {
      return Fail(ErrorCode::kGuestError, "descriptor {} has flags {:#x} that were not negotiated", index,
                  descriptor->flags);
    }
    const bool writable = (descriptor->flags & kDescWrite) != 0;
    // 2.7.4.2: the driver must place writable elements after readable ones.
    if (!writable && seen_writable) {
      return Fail(ErrorCode::kGuestError, "descriptor {} is readable after a writable one", index);
    }
    seen_writable = writable;
    const auto slice = memory_->Slice(GuestAddress(descriptor->addr), descriptor->len);
    if (!slice) return Forward(slice.error(), "descriptor buffer");
    if (!slice->empty()) chain.segments_.push_back({slice->data(), slice->size()});
    if (writable) {
      chain.writable_bytes_ += descriptor->len;
    } else {
      chain.readable_bytes_ += descriptor->len;
      chain.readable_count_ = chain.segments_.size();
    }
    // 2.7.5.2: a chain holds at most 2^32 bytes; and a used length must be able to say it.
    if (chain.readable_bytes_ + chain.writable_bytes_ > std::numeric_limits<uint32_t>::max()) {
      return Fail(ErrorCode::kGuestError, "a descriptor chain holds more than 2^32 bytes");
    }
    if ((descriptor->flags & kDescNext) == 0) return {};
    index = descriptor->next;
  }
  return Fail(ErrorCode::kGuestError, "a descriptor chain has more than {} links: it loops", state_.size);
}

void Queue::Retire(DescriptorChain& chain) {
  chain.head_.reset();
  chain.segments_.clear();
  spare_.push_back(std::move(chain.segments_));
}

// The rings were found to lie in memory by Create, so these accesses cannot fail.

void Queue::Return(DescriptorChain chain, uint32_t written) {
  const GuestAddress ring(state_.device_area);
  const UsedElement element{*chain.head_, written};
  const uint64_t slot = state_.next_used % state_.size;
  (void)memory_->WriteObject(ring + kRingOffset + sizeof(UsedElement) * slot, element);
  ++state_.next_used;
  (void)memory_->StoreRelease16(ring + kIndexOffset, state_.next_used);
  Retire(chain);
}

void Queue::PutBack(DescriptorChain chain) {
  --state_.next_avail;
  Retire(chain);
}

bool Queue::WantsInterrupt() const {
  // The flag must be read after the driver can see the used index (2.7.10: the driver clears it, then looks again).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto flags = memory_->LoadAcquire16(GuestAddress(state_.driver_area) + kFlagsOffset);
  return !flags || (*flags & kAvailNoInterrupt) == 0;
}

void Queue::SetNotifications(DriverNotifications wanted) {
  const uint16_t flags = wanted == DriverNotifications::kWanted ? 0 : kUsedNoNotify;
  (void)memory_->StoreRelease16(GuestAddress(state_.device_area) + kFlagsOffset, flags);
  // The next look at the available index must come after this store.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace snapfaas::devices::virtio
