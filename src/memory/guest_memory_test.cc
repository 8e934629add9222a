#include "memory/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <vector>

#include "base/mapped_region.h"
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

// A file whose pages hold 0x10, 0x11, 0x12, ...
UniqueFd MakeImage(uint8_t pages) {
  UniqueFd image(::memfd_create("image", MFD_CLOEXEC));
  for (uint8_t page = 0; page < pages; ++page) {
    const std::vector<uint8_t> bytes(kPageSize, 0x10 + page);
    EXPECT_EQ(::pwrite(image.get(), bytes.data(), kPageSize, static_cast<off_t>(page * kPageSize)),
              static_cast<ssize_t>(kPageSize));
  }
  return image;
}

// Whether the host's page tables have the page (proc(5), /proc/pid/pagemap).
bool IsMapped(const GuestMemory& memory, uint64_t page) {
  const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  uint64_t entry = 0;
  const uint64_t index = reinterpret_cast<uintptr_t>(memory.host_base()) / kPageSize + page;
  EXPECT_EQ(::pread(pagemap.get(), &entry, sizeof(entry), static_cast<off_t>(index * sizeof(entry))),
            static_cast<ssize_t>(sizeof(entry)));
  return (entry >> 63) != 0;
}

uint8_t FirstByteOf(const GuestMemory& memory, uint64_t page) {
  return memory.ReadObject<uint8_t>(GuestAddress(page * kPageSize)).value();
}

TEST(GuestMemory, SomePagesOfAnImageLieOverAnother) {
  const UniqueFd image = MakeImage(4);
  const UniqueFd overlay = MakeImage(8);
  GuestMemory memory = std::move(GuestMemory::Create(4 * kPageSize).value());
  const uint8_t* base = memory.host_base();
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  ASSERT_TRUE(memory.MapPrivatePages(overlay.get(), 6, {1, 2}));
  EXPECT_EQ(memory.host_base(), base);
  EXPECT_EQ(FirstByteOf(memory, 0), 0x10);
  EXPECT_EQ(FirstByteOf(memory, 1), 0x16);
  EXPECT_EQ(FirstByteOf(memory, 2), 0x17);
  EXPECT_EQ(FirstByteOf(memory, 3), 0x13);
  ASSERT_TRUE(memory.WriteObject(GuestAddress(kPageSize), uint8_t{1}));
  uint8_t stored = 0;
  ASSERT_EQ(::pread(overlay.get(), &stored, 1, 6 * kPageSize), 1);
  EXPECT_EQ(stored, 0x16);
}

TEST(GuestMemory, PagesOutsideAreNotMapped) {
  const UniqueFd image = MakeImage(8);
  GuestMemory memory = Make();
  for (const PageRun& run : {PageRun{0, 3}, PageRun{1, 2}, PageRun{2, 1}, PageRun{0xffffffff, 0xffffffff}}) {
    const auto mapped = memory.MapPrivatePages(image.get(), 0, run);
    ASSERT_FALSE(mapped) << run.first_page;
    EXPECT_EQ(mapped.error().code, ErrorCode::kGuestError);
  }
  EXPECT_EQ(FirstByteOf(memory, 0), 0);
  EXPECT_EQ(FirstByteOf(memory, 1), 0);
}

TEST(GuestMemory, DroppedPagesShowTheImageAgain) {
  const UniqueFd image = MakeImage(2);
  GuestMemory memory = std::move(GuestMemory::Create(2 * kPageSize).value());
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  ASSERT_TRUE(memory.WriteObject(GuestAddress(kPageSize), uint8_t{1}));
  ASSERT_TRUE(memory.DropPages());
  EXPECT_EQ(FirstByteOf(memory, 0), 0x10);
  EXPECT_EQ(FirstByteOf(memory, 1), 0x11);
}

TEST(GuestMemory, DroppedPagesWithoutAnImageAreZeroes) {
  GuestMemory memory = Make();
  ASSERT_TRUE(memory.WriteObject(GuestAddress(0), uint64_t{1}));
  ASSERT_TRUE(memory.DropPages());
  EXPECT_EQ(memory.ReadObject<uint64_t>(GuestAddress(0)).value(), 0U);
}

TEST(GuestMemory, PopulatedPagesAreThereAndHoldTheSame) {
  const UniqueFd image = MakeImage(4);
  for (const PageAccess access : {PageAccess::kRead, PageAccess::kWrite}) {
    GuestMemory memory = std::move(GuestMemory::Create(4 * kPageSize).value());
    ASSERT_TRUE(memory.MapPrivateImage(image.get()));
    memory.Populate({1, 2}, access);
    memory.Populate({3, 2}, access);  // outside: left out
    EXPECT_TRUE(IsMapped(memory, 1));
    EXPECT_TRUE(IsMapped(memory, 2));
    // Reading maps the neighbours that the host has at hand along.
    if (access == PageAccess::kWrite) {
      EXPECT_FALSE(IsMapped(memory, 3));
    }
    EXPECT_EQ(FirstByteOf(memory, 1), 0x11);
    EXPECT_EQ(FirstByteOf(memory, 2), 0x12);
    EXPECT_EQ(FirstByteOf(memory, 3), 0x13);
    ASSERT_TRUE(memory.WriteObject(GuestAddress(kPageSize), uint8_t{1}));
    uint8_t stored = 0;
    ASSERT_EQ(::pread(image.get(), &stored, 1, kPageSize), 1);
    EXPECT_EQ(stored, 0x11);
  }
}

TEST(GuestMemory, TouchedPagesComeAlone) {
  const UniqueFd image = MakeImage(8);
  GuestMemory memory = std::move(GuestMemory::Create(8 * kPageSize).value());
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  const auto single = memory.BringInSinglePages();
  if (!single) GTEST_SKIP() << single.error().Message();
  EXPECT_EQ(FirstByteOf(memory, 2), 0x12);
  ASSERT_TRUE(memory.WriteObject(GuestAddress(5 * kPageSize), uint8_t{1}));
  for (uint64_t page = 0; page < 8; ++page) EXPECT_EQ(IsMapped(memory, page), page == 2 || page == 5) << page;
}

TEST(GuestMemory, TakesPagesAsTheyAreAndOverWhatIsThere) {
  const UniqueFd image = MakeImage(8);
  GuestMemory memory = std::move(GuestMemory::Create(8 * kPageSize).value());
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  ASSERT_TRUE(memory.WriteObject(GuestAddress(3 * kPageSize), uint8_t{1}));
  const MappedRegion from = std::move(MappedRegion::Anonymous(4 * kPageSize, kHugePageSize).value());
  for (uint8_t page = 0; page < 4; ++page) from.data()[page * kPageSize] = 0x20 + page;
  ASSERT_TRUE(memory.TakePages(from, 1, {3, 2}));
  EXPECT_TRUE(IsMapped(memory, 3));
  EXPECT_EQ(FirstByteOf(memory, 2), 0x12);
  EXPECT_EQ(FirstByteOf(memory, 3), 0x21);
  EXPECT_EQ(FirstByteOf(memory, 4), 0x22);
  EXPECT_EQ(FirstByteOf(memory, 5), 0x15);
  // They were moved; what is left can still be used.
  EXPECT_EQ(from.data()[kPageSize], 0);
  EXPECT_EQ(from.data()[3 * kPageSize], 0x23);
}

TEST(GuestMemory, TakesNoPagesBeyondItsEnd) {
  GuestMemory memory = std::move(GuestMemory::Create(4 * kPageSize).value());
  const MappedRegion from = std::move(MappedRegion::Anonymous(4 * kPageSize).value());
  const auto taken = memory.TakePages(from, 0, {3, 2});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kGuestError);
}

TEST(GuestAddress, ArithmeticWrapsAndOrders) {
  EXPECT_EQ((GuestAddress(std::numeric_limits<uint64_t>::max()) + 2).value(), 1U);
  EXPECT_LT(GuestAddress(1), GuestAddress(2));
}

}  // namespace
}  // namespace snapfaas
