// For tests only: a small virtio driver that plays the guest against an MmioTransport, and what it needs around it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "devices/interrupt.h"
#include "devices/virtio/mmio_transport.h"
#include "memory/guest_memory.h"

namespace snapfaas::devices::virtio::testing {

class FakeInterrupt final : public Interrupt {
 public:
  void Trigger() override { ++count; }
  std::atomic<int> count = 0;
};

enum class Access { kReadable, kWritable };

struct Buffer {
  uint64_t address = 0;
  uint32_t length = 0;
  Access access = Access::kReadable;
};

struct Used {
  uint32_t id = 0;
  uint32_t length = 0;
};

// The driver's side of a queue. Its fields are open so that tests can write nonsense.
struct DriverQueue {
  uint16_t size = 0;
  uint64_t descriptors = 0;
  uint64_t avail = 0;
  uint64_t used = 0;
  uint16_t next_avail = 0;
  uint16_t next_used = 0;
  std::deque<uint16_t> free;
};

inline GuestMemory MakeMemory(uint64_t size = 16_MiB) { return std::move(GuestMemory::Create(size)).value(); }

class TestDriver {
 public:
  TestDriver(GuestMemory& memory, MmioTransport& transport) : memory_(memory), transport_(&transport) {}

  // Goes on with a transport that was restored over the same memory.
  void Rebind(MmioTransport& transport) { transport_ = &transport; }

  uint32_t Read32(uint64_t offset) {
    uint32_t value = 0;
    transport_->Read(offset, {reinterpret_cast<uint8_t*>(&value), sizeof(value)});
    return value;
  }
  void Write32(uint64_t offset, uint32_t value) {
    transport_->Write(offset, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)});
  }
  uint32_t status() { return Read32(0x70); }

  uint64_t Allocate(uint64_t size, uint64_t alignment = 16) {
    next_ = (next_ + alignment - 1) / alignment * alignment;
    return std::exchange(next_, next_ + size);
  }

  // Up to FEATURES_OK with the offered device features and VERSION_1.
  void Negotiate() {
    Write32(0x70, 1);
    Write32(0x70, 3);
    for (uint32_t half = 0; half < 2; ++half) {
      Write32(0x14, half);
      Write32(0x24, half);
      Write32(0x20, Read32(0x10));
    }
    Write32(0x70, 11);
    ASSERT_EQ(status(), 11u);
  }

  void WriteQueueRegisters(uint32_t index, uint32_t size, const DriverQueue& queue) {
    Write32(0x30, index);
    Write32(0x38, size);
    Write32(0x80, static_cast<uint32_t>(queue.descriptors));
    Write32(0x84, static_cast<uint32_t>(queue.descriptors >> 32));
    Write32(0x90, static_cast<uint32_t>(queue.avail));
    Write32(0x94, static_cast<uint32_t>(queue.avail >> 32));
    Write32(0xa0, static_cast<uint32_t>(queue.used));
    Write32(0xa4, static_cast<uint32_t>(queue.used >> 32));
    Write32(0x44, 1);
  }

  DriverQueue LayOut(uint16_t size) {
    DriverQueue queue;
    queue.size = size;
    queue.descriptors = Allocate(16u * size, 16);
    queue.avail = Allocate(6u + 2u * size, 2);
    queue.used = Allocate(6u + 8u * size, 4);
    for (uint16_t i = 0; i < size; ++i) queue.free.push_back(i);
    return queue;
  }

  // All queues at their largest, then DRIVER_OK.
  void Start() {
    Negotiate();
    for (uint32_t i = 0; i < transport_->queue_count(); ++i) {
      Write32(0x30, i);
      queues.push_back(LayOut(static_cast<uint16_t>(Read32(0x34))));
      WriteQueueRegisters(i, queues[i].size, queues[i]);
      ASSERT_EQ(Read32(0x44), 1u) << "queue " << i;
    }
    Write32(0x70, 15);
    ASSERT_EQ(status(), 15u);
  }

  void WriteDescriptor(size_t queue, uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
    const GuestAddress at(queues[queue].descriptors + 16u * index);
    ASSERT_TRUE(memory_.WriteObject(at, address));
    ASSERT_TRUE(memory_.WriteObject(at + 8, length));
    ASSERT_TRUE(memory_.WriteObject(at + 12, flags));
    ASSERT_TRUE(memory_.WriteObject(at + 14, next));
  }

  // Makes the chain that begins at `head` available.
  void Publish(size_t index, uint16_t head) {
    DriverQueue& queue = queues[index];
    ASSERT_TRUE(memory_.WriteObject(GuestAddress(queue.avail + 4 + 2u * (queue.next_avail % queue.size)), head));
    ++queue.next_avail;
    ASSERT_TRUE(memory_.StoreRelease16(GuestAddress(queue.avail + 2), queue.next_avail));
  }

  // Links the buffers and makes them available; returns the head.
  uint16_t Add(size_t index, const std::vector<Buffer>& buffers) {
    DriverQueue& queue = queues[index];
    std::vector<uint16_t> slots;
    for (size_t i = 0; i < buffers.size(); ++i) {
      slots.push_back(queue.free.front());
      queue.free.pop_front();
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      const auto flags = static_cast<uint16_t>((last ? 0 : 1) | (buffers[i].access == Access::kWritable ? 2 : 0));
      WriteDescriptor(index, slots[i], buffers[i].address, buffers[i].length, flags, last ? uint16_t{0} : slots[i + 1]);
    }
    Publish(index, slots[0]);
    return slots[0];
  }

  void Notify(uint32_t index) { transport_->NotifyQueue(index); }

  // The next used buffer; its descriptors become free (for chains of `links` neighbours in the free list).
  std::optional<Used> TakeUsed(size_t index) {
    DriverQueue& queue = queues[index];
    const auto published = memory_.LoadAcquire16(GuestAddress(queue.used + 2)).value();
    if (published == queue.next_used) return std::nullopt;
    const auto used =
        memory_.ReadObject<Used>(GuestAddress(queue.used + 4 + 8u * (queue.next_used % queue.size))).value();
    ++queue.next_used;
    Free(index, static_cast<uint16_t>(used.id));
    return used;
  }

  std::string Text(uint64_t address, size_t length) {
    std::string text(length, '\0');
    EXPECT_TRUE(memory_.Read(GuestAddress(address), {reinterpret_cast<uint8_t*>(text.data()), length}));
    return text;
  }
  uint64_t Put(std::string_view text) {
    const uint64_t address = Allocate(text.size() + 1);
    Overwrite(address, text);
    return address;
  }
  void Overwrite(uint64_t address, std::string_view text) {
    EXPECT_TRUE(memory_.Write(GuestAddress(address), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  }
  uint64_t DescriptorAddress(size_t index, uint32_t head) {
    return memory_.ReadObject<uint64_t>(GuestAddress(queues[index].descriptors + 16u * head)).value();
  }

  std::vector<DriverQueue> queues;

 private:
  void Free(size_t index, uint16_t head) {
    DriverQueue& queue = queues[index];
    for (uint16_t at = head;;) {
      queue.free.push_back(at);
      const GuestAddress descriptor(queue.descriptors + 16u * at);
      const auto flags = memory_.ReadObject<uint16_t>(descriptor + 12).value();
      if ((flags & 1) == 0) break;
      at = memory_.ReadObject<uint16_t>(descriptor + 14).value();
    }
  }

  GuestMemory& memory_;
  MmioTransport* transport_;
  uint64_t next_ = 0x1000;
};

// Decode() must take what Encode() gave, and fail on every shorter input and on one byte more.
template <typename State>
void ExpectCodecIsBounded(const State& state) {
  ByteWriter writer;
  state.Encode(writer);
  const std::vector<uint8_t>& bytes = writer.bytes();
  ByteReader whole(bytes);
  EXPECT_TRUE(State::Decode(whole) == state);
  EXPECT_TRUE(whole.Finish("state"));
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader truncated(std::span<const uint8_t>(bytes).first(size));
    State::Decode(truncated);
    EXPECT_FALSE(truncated.Finish("state")) << "cut to " << size << " bytes";
  }
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  ByteReader with_more(longer);
  State::Decode(with_more);
  EXPECT_FALSE(with_more.Finish("state"));
}

}  // namespace snapfaas::devices::virtio::testing
