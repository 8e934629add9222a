#include "memory/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <limits>

#include "base/unique_fd.h"
#include "base/units.h"

namespace snapfaas {
namespace {

constexpr uint64_t kSize = 2 * kPageSize;

GuestMemory Make() { return std::move(GuestMemory::Create(kSize).value()); }

TEST(GuestMemory, IsZeroedAndOfItsSize) {
  const GuestMemory memory = Make();
  EXPECT_EQ(memory.size(), kSize);
  EXPECT_EQ(memory.ReadObject<uint64_t>(GuestAddress(kSize - 8)).value(), 0U);
}

TEST(GuestMemory, SizeThatIsNoWholeNumberOfPagesIsRefused) {
  EXPECT_EQ(GuestMemory::Create(0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(GuestMemory::Create(kPageSize + 1).error().code, ErrorCode::kInvalidArgument);
}

TEST(GuestMemory, WhatIsWrittenIsRead) {
  GuestMemory memory = Make();
  ASSERT_TRUE(memory.WriteObject(GuestAddress(100), uint32_t{0xdeadbeef}));
  EXPECT_EQ(memory.ReadObject<uint32_t>(GuestAddress(100)).value(), 0xdeadbeefU);
  EXPECT_EQ(memory.ReadObject<uint8_t>(GuestAddress(100)).value(), 0xef);
}

TEST(GuestMemory, LastByteIsInsideAndTheNextIsNot) {
  GuestMemory memory = Make();
  EXPECT_TRUE(memory.WriteObject(GuestAddress(kSize - 4), uint32_t{1}));
  EXPECT_EQ(memory.WriteObject(GuestAddress(kSize - 3), uint32_t{1}).error().code, ErrorCode::kGuestError);
  EXPECT_EQ(memory.ReadObject<uint8_t>(GuestAddress(kSize)).error().code, ErrorCode::kGuestError);
}

TEST(GuestMemory, RefusedWriteChangesNothing) {
  GuestMemory memory = Make();
  EXPECT_FALSE(memory.WriteObject(GuestAddress(kSize - 3), uint32_t{0x01010101}));
  EXPECT_EQ(memory.ReadObject<uint8_t>(GuestAddress(kSize - 1)).value(), 0);
}

TEST(GuestMemory, RangeThatWrapsAroundIsOutside) {
  GuestMemory memory = Make();
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_FALSE(memory.Slice(GuestAddress(kMax), 2));
  EXPECT_FALSE(memory.Slice(GuestAddress(1), kMax));
  EXPECT_FALSE(memory.ReadObject<uint32_t>(GuestAddress(kMax - 1)));
}

TEST(GuestMemory, EmptyRangeAtTheEndIsInside) {
  GuestMemory memory = Make();
  EXPECT_TRUE(memory.Slice(GuestAddress(kSize), 0));
  EXPECT_FALSE(memory.Slice(GuestAddress(kSize + 1), 0));
  EXPECT_TRUE(memory.Read(GuestAddress(0), {}));
}

TEST(GuestMemory, IndicesAreStoredAndLoaded) {
  GuestMemory memory = Make();
  ASSERT_TRUE(memory.StoreRelease16(GuestAddress(2), 0x1234));
  EXPECT_EQ(memory.LoadAcquire16(GuestAddress(2)).value(), 0x1234);
}

TEST(GuestMemory, MisalignedIndexIsRefused) {
  GuestMemory memory = Make();
  EXPECT_EQ(memory.StoreRelease16(GuestAddress(3), 1).error().code, ErrorCode::kGuestError);
  EXPECT_EQ(memory.LoadAcquire16(GuestAddress(3)).error().code, ErrorCode::kGuestError);
}

TEST(GuestMemory, IndexOutsideIsRefused) {
  GuestMemory memory = Make();
  EXPECT_FALSE(memory.StoreRelease16(GuestAddress(kSize), 1));
  EXPECT_FALSE(memory.LoadAcquire16(GuestAddress(kSize)));
}

TEST(GuestMemory, PrivateImageIsSeenAndNotChanged) {
  UniqueFd image(::memfd_create("image", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(image.get(), kSize), 0);
  const std::array<uint8_t, 1> seven = {7};
  ASSERT_EQ(::pwrite(image.get(), seven.data(), 1, 5), 1);

  GuestMemory memory = Make();
  const uint8_t* base = memory.host_base();
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  EXPECT_EQ(memory.host_base(), base);
  EXPECT_EQ(memory.ReadObject<uint8_t>(GuestAddress(5)).value(), 7);
  ASSERT_TRUE(memory.WriteObject(GuestAddress(5), uint8_t{8}));
  uint8_t stored = 0;
  ASSERT_EQ(::pread(image.get(), &stored, 1, 5), 1);
  EXPECT_EQ(stored, 7);
}

TEST(GuestAddress, ArithmeticWrapsAndOrders) {
  EXPECT_EQ((GuestAddress(std::numeric_limits<uint64_t>::max()) + 2).value(), 1U);
  EXPECT_LT(GuestAddress(1), GuestAddress(2));
}

}  // namespace
}  // namespace snapfaas
