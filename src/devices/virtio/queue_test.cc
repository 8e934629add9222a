#include "devices/virtio/queue.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::MakeMemory;

constexpr uint64_t kDescriptors = 0x1000;
constexpr uint64_t kAvail = 0x2000;
constexpr uint64_t kUsed = 0x3000;
constexpr uint16_t kSize = 8;
constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;

class QueueTest : public ::testing::Test {
 protected:
  static QueueState State() { return {kSize, true, kDescriptors, kAvail, kUsed, 0, 0}; }
  Queue Make() { return std::move(Queue::Create(memory_, State(), 256)).value(); }

  void Describe(uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next = 0) {
    const GuestAddress at(kDescriptors + 16u * index);
    ASSERT_TRUE(memory_.WriteObject(at, address));
    ASSERT_TRUE(memory_.WriteObject(at + 8, length));
    ASSERT_TRUE(memory_.WriteObject(at + 12, flags));
    ASSERT_TRUE(memory_.WriteObject(at + 14, next));
  }
  void Publish(uint16_t head) {
    ASSERT_TRUE(memory_.WriteObject(GuestAddress(kAvail + 4 + 2u * (avail_ % kSize)), head));
    ++avail_;
    ASSERT_TRUE(memory_.StoreRelease16(GuestAddress(kAvail + 2), avail_));
  }
  uint16_t UsedIndex() { return memory_.LoadAcquire16(GuestAddress(kUsed + 2)).value(); }
  std::array<uint32_t, 2> UsedElement(unsigned slot) {
    return memory_.ReadObject<std::array<uint32_t, 2>>(GuestAddress(kUsed + 4 + 8 * slot)).value();
  }
  void ExpectPopFails(std::string_view because) {
    Queue queue = Make();
    auto popped = queue.Pop();
    ASSERT_FALSE(popped);
    EXPECT_EQ(popped.error().code, ErrorCode::kGuestError);
    EXPECT_NE(popped.error().context.find(because), std::string::npos) << popped.error().context;
    EXPECT_EQ(queue.state().next_avail, 0);
    EXPECT_EQ(UsedIndex(), 0);
  }

  GuestMemory memory_ = MakeMemory(1_MiB);
  uint16_t avail_ = 0;
};

TEST_F(QueueTest, PopsAChainAndReturnsIt) {
  Describe(3, 0x8000, 4, kNext, 5);
  Describe(5, 0x9000, 6, kNext | kWrite, 1);
  Describe(1, 0xa000, 2, kWrite);
  ASSERT_TRUE(memory_.WriteObject(GuestAddress(0x8000), std::array<char, 4>{'a', 'b', 'c', 'd'}));
  Publish(3);
  Queue queue = Make();
  auto popped = queue.Pop();
  ASSERT_TRUE(popped);
  ASSERT_TRUE(popped->has_value());
  DescriptorChain chain = std::move(**popped);
  EXPECT_EQ(chain.readable_bytes(), 4u);
  EXPECT_EQ(chain.writable_bytes(), 8u);
  EXPECT_EQ(chain.writable().size(), 2u);
  std::array<uint8_t, 8> got{};
  EXPECT_EQ(chain.CopyOut(1, got), 3u);
  EXPECT_EQ(std::memcmp(got.data(), "bcd", 3), 0);
  const std::array<uint8_t, 5> put = {1, 2, 3, 4, 5};
  EXPECT_EQ(chain.CopyIn(4, put), 4u) << "only four bytes fit";
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(0x9004)).value(), 0x0201);
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(0xa000)).value(), 0x0403);
  queue.Return(std::move(chain), 8);
  EXPECT_EQ(UsedIndex(), 1);
  EXPECT_EQ(UsedElement(0), (std::array<uint32_t, 2>{3, 8}));
  auto empty = queue.Pop();
  ASSERT_TRUE(empty);
  EXPECT_FALSE(empty->has_value());
}

TEST_F(QueueTest, WhatIsPutBackIsPoppedAgain) {
  Describe(0, 0x8000, 1, 0);
  Describe(1, 0x8000, 2, 0);
  Publish(0);
  Publish(1);
  Queue queue = Make();
  DescriptorChain first = std::move(**queue.Pop());
  DescriptorChain second = std::move(**queue.Pop());
  queue.PutBack(std::move(second));
  queue.PutBack(std::move(first));
  EXPECT_EQ(queue.state().next_avail, 0);
  EXPECT_EQ(UsedIndex(), 0);
  DescriptorChain again = std::move(**queue.Pop());
  EXPECT_EQ(again.readable_bytes(), 1u);
  queue.Return(std::move(again), 0);
}

TEST_F(QueueTest, IndicesWrapRound) {
  Describe(2, 0x8000, 1, kWrite);
  QueueState state = State();
  state.next_avail = 0xfffe;
  state.next_used = 0xfffe;
  avail_ = 0xfffe;
  Queue queue = std::move(Queue::Create(memory_, state, 256)).value();
  for (int i = 0; i < 5; ++i) Publish(2);
  for (int i = 0; i < 5; ++i) queue.Return(std::move(**queue.Pop()), 1);
  EXPECT_EQ(UsedIndex(), 3);
  EXPECT_EQ(queue.state().next_avail, 3);
}

TEST_F(QueueTest, EmptyBuffersAreLeftOut) {
  Describe(0, 0x8000, 0, kNext, 1);
  Describe(1, 0x8000, 3, kNext, 2);
  Describe(2, 0x8000, 0, kWrite);
  Publish(0);
  Queue queue = Make();
  DescriptorChain chain = std::move(**queue.Pop());
  EXPECT_EQ(chain.readable().size(), 1u);
  EXPECT_EQ(chain.writable().size(), 0u);
  queue.Return(std::move(chain), 0);
}

TEST_F(QueueTest, HonoursTheNoInterruptFlag) {
  Queue queue = Make();
  EXPECT_TRUE(queue.WantsInterrupt());
  ASSERT_TRUE(memory_.WriteObject(GuestAddress(kAvail), uint16_t{1}));
  EXPECT_FALSE(queue.WantsInterrupt());
}

TEST_F(QueueTest, TellsTheDriverWhetherToNotify) {
  Queue queue = Make();
  queue.SetNotifications(DriverNotifications::kUnwanted);
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(kUsed)).value(), 1);
  queue.SetNotifications(DriverNotifications::kWanted);
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(kUsed)).value(), 0);
}

TEST_F(QueueTest, HeadOutOfRange) {
  Publish(kSize);
  ExpectPopFails("outside a table");
}

TEST_F(QueueTest, NextOutOfRange) {
  Describe(0, 0x8000, 1, kNext, 0xffff);
  Publish(0);
  ExpectPopFails("outside a table");
}

TEST_F(QueueTest, ChainThatLoops) {
  Describe(0, 0x8000, 1, kNext, 1);
  Describe(1, 0x8000, 1, kNext, 0);
  Publish(0);
  ExpectPopFails("loops");
}

TEST_F(QueueTest, ChainOfTheWholeTableIsFineAndOneMoreIsNot) {
  for (uint16_t i = 0; i < kSize; ++i) {
    Describe(i, 0x8000, 1, i + 1 < kSize ? kNext : uint16_t{0}, static_cast<uint16_t>(i + 1));
  }
  Publish(0);
  Queue queue = Make();
  auto popped = queue.Pop();
  ASSERT_TRUE(popped);
  EXPECT_EQ((*popped)->readable().size(), kSize);
  queue.PutBack(std::move(**popped));
  Describe(kSize - 1, 0x8000, 1, kNext, 0);
  ExpectPopFails("loops");
}

TEST_F(QueueTest, ReadableAfterWritable) {
  Describe(0, 0x8000, 1, kNext | kWrite, 1);
  Describe(1, 0x8000, 1, 0);
  Publish(0);
  ExpectPopFails("readable after a writable");
}

TEST_F(QueueTest, IndirectWithoutNegotiation) {
  Describe(0, 0x8000, 16, kIndirect);
  Publish(0);
  ExpectPopFails("not negotiated");
}

TEST_F(QueueTest, BufferOutsideMemory) {
  Describe(0, 1_MiB - 1, 2, 0);
  Publish(0);
  ExpectPopFails("outside its memory");
}

TEST_F(QueueTest, BufferThatWrapsRound) {
  Describe(0, ~uint64_t{0}, 2, 0);
  Publish(0);
  ExpectPopFails("outside its memory");
}

TEST_F(QueueTest, AvailableIndexThatJumps) {
  ASSERT_TRUE(memory_.StoreRelease16(GuestAddress(kAvail + 2), kSize + 1));
  ExpectPopFails("jumped");
}

TEST_F(QueueTest, AvailableIndexThatGoesBack) {
  ASSERT_TRUE(memory_.StoreRelease16(GuestAddress(kAvail + 2), 0xffff));
  ExpectPopFails("jumped");
}

class QueueSetupTest : public QueueTest {
 protected:
  void ExpectRefused(const QueueState& state) {
    auto queue = Queue::Create(memory_, state, 256);
    ASSERT_FALSE(queue);
    EXPECT_EQ(queue.error().code, ErrorCode::kGuestError);
  }
  QueueState state_ = State();
};

TEST_F(QueueSetupTest, SizeZero) {
  state_.size = 0;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, SizeNotAPowerOfTwo) {
  state_.size = 6;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, SizeAboveTheLargest) {
  state_.size = 512;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, SizeThatDoesNotFit16Bits) {
  state_.size = 0x10000;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, UnalignedDescriptorTable) {
  state_.descriptor_area += 8;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, UnalignedAvailableRing) {
  state_.driver_area += 1;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, UnalignedUsedRing) {
  state_.device_area += 2;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, DescriptorTableAcrossTheEndOfMemory) {
  state_.descriptor_area = 1_MiB - 16 * kSize + 16;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, AvailableRingAcrossTheEndOfMemory) {
  state_.driver_area = 1_MiB - 4;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, UsedRingOutsideMemory) {
  state_.device_area = ~uint64_t{0} - 3;
  ExpectRefused(state_);
}

TEST_F(QueueSetupTest, ItsStateIsBounded) {
  state_.next_avail = 0x1234;
  testing::ExpectCodecIsBounded(state_);
}

TEST(AppendSliceTest, TakesThePartThatExists) {
  std::array<uint8_t, 10> bytes{};
  const std::array<iovec, 3> segments = {iovec{bytes.data(), 3}, iovec{bytes.data() + 3, 3},
                                         iovec{bytes.data() + 6, 4}};
  std::vector<iovec> out;
  AppendSlice(segments, 2, 5, out);
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].iov_base, bytes.data() + 2);
  EXPECT_EQ(out[0].iov_len, 1u);
  EXPECT_EQ(out[1].iov_len, 3u);
  EXPECT_EQ(out[2].iov_len, 1u);
  out.clear();
  AppendSlice(segments, 9, 100, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].iov_len, 1u);
  out.clear();
  AppendSlice(segments, 10, 1, out);
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace snapfaas::devices::virtio
