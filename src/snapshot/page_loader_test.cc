#include "snapshot/page_loader.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/coding.h"
#include "snapshot/pagemap.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kMemorySize = 1_MiB;

RestorePlan SomePlan() {
  RestorePlan plan;
  plan.extents = {{{2, 3}, ImageFile::kKernel, 7}, {{4, 1}, ImageFile::kOverlay, 4}};
  plan.read = {{0, 2}, {9, 1}};
  plan.written = {{5, 2}};
  plan.read_ahead = ReadAhead::kYes;
  return plan;
}

// Whether a plan is accepted for a memory of 256 pages.
bool PlanIsAccepted(const RestorePlan& plan) {
  const auto decoded = DecodePlan(EncodePlan(plan), kMemorySize);
  if (!decoded) {
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
    return false;
  }
  return *decoded == plan;
}

bool PlanIsAccepted(const MapExtent& extent) {
  RestorePlan plan;
  plan.extents = {extent};
  return PlanIsAccepted(plan);
}

TEST(RestorePlan, WhatIsEncodedIsDecoded) {
  EXPECT_TRUE(PlanIsAccepted(RestorePlan()));
  EXPECT_TRUE(PlanIsAccepted(SomePlan()));
  EXPECT_TRUE(PlanIsAccepted(MapExtent{{255, 1}, ImageFile::kKernel, 0xffffffff}));
}

TEST(RestorePlan, EveryTruncationIsCorrupt) {
  const auto bytes = EncodePlan(SomePlan());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto plan = DecodePlan(std::span(bytes).first(size), kMemorySize);
    ASSERT_FALSE(plan) << size;
    EXPECT_EQ(plan.error().code, ErrorCode::kCorrupt) << size;
  }
}

TEST(RestorePlan, BytesTooManyAreCorrupt) {
  auto bytes = EncodePlan(SomePlan());
  bytes.push_back(0);
  EXPECT_EQ(DecodePlan(bytes, kMemorySize).error().code, ErrorCode::kCorrupt);
}

TEST(RestorePlan, UnknownFileIsCorrupt) {
  EXPECT_TRUE(PlanIsAccepted(MapExtent{{0, 1}, ImageFile::kKernelText, 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{0, 1}, static_cast<ImageFile>(4), 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{0, 1}, static_cast<ImageFile>(0xffffffff), 0}));
}

TEST(RestorePlan, UnknownReadAheadIsCorrupt) {
  RestorePlan plan = SomePlan();
  plan.read_ahead = static_cast<ReadAhead>(2);
  EXPECT_FALSE(PlanIsAccepted(plan));
}

TEST(RestorePlan, ExtentThatIsEmptyOrBeyondTheMemoryIsCorrupt) {
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{3, 0}, ImageFile::kOverlay, 3}));
  EXPECT_TRUE(PlanIsAccepted(MapExtent{{0, 256}, ImageFile::kOverlay, 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{0, 257}, ImageFile::kOverlay, 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{255, 2}, ImageFile::kOverlay, 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{0xffffffff, 1}, ImageFile::kOverlay, 0}));
  EXPECT_FALSE(PlanIsAccepted(MapExtent{{1, 0xffffffff}, ImageFile::kOverlay, 0}));
}

TEST(RestorePlan, PagesBeyondTheMemoryAreCorrupt) {
  RestorePlan plan;
  plan.read = {{255, 2}};
  EXPECT_FALSE(PlanIsAccepted(plan));
  plan = RestorePlan();
  plan.written = {{256, 1}};
  EXPECT_FALSE(PlanIsAccepted(plan));
}

TEST(RestorePlan, CountThatNoMemoryHasIsCorrupt) {
  ByteWriter writer;
  writer.Put(uint32_t{0xffffffff});
  EXPECT_EQ(DecodePlan(writer.bytes(), kMemorySize).error().code, ErrorCode::kCorrupt);
}

TEST(RestorePlan, IsReadFromAFileAndNotWhenTooLong) {
  const UniqueFd file = MakeMemoryFile();
  ASSERT_TRUE(WriteAt(file.get(), 0, EncodePlan(SomePlan()), "plan"));
  const auto plan = ReadPlan(file.get(), kMemorySize);
  ASSERT_TRUE(plan) << plan.error().Message();
  EXPECT_EQ(*plan, SomePlan());
  ASSERT_TRUE(SetSize(file.get(), 64_MiB + 1, "plan"));
  EXPECT_EQ(ReadPlan(file.get(), kMemorySize).error().code, ErrorCode::kCorrupt);
}

// An image with 0x11 and 0x22 in pages 1 and 2, 0x33 in its last, an overlay with 0xa0 + page in pages 0 to 9, a kernel
// of four pages 0xe0 to 0xe3.
class PageLoader : public testing::Test {
 protected:
  PageLoader()
      : image_(MakeMemoryFile()),
        overlay_(MakeSource({0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9})),
        kernel_(MakeSource({0xe0, 0xe1, 0xe2, 0xe3})) {
    EXPECT_TRUE(SetSize(image_.get(), kMemorySize, "image"));
    Fill(1, 0x11);
    Fill(2, 0x22);
    Fill(255, 0x33);
  }

  void Fill(uint64_t page, uint8_t value) {
    EXPECT_TRUE(WriteAt(image_.get(), page * kPageSize, std::vector<uint8_t>(kPageSize, value), "image"));
  }

  ImageFiles files() const { return {image_.get(), overlay_.get(), kernel_.get()}; }

  static RestorePlan PlanOf(std::vector<MapExtent> extents) {
    RestorePlan plan;
    plan.extents = std::move(extents);
    return plan;
  }

  // What both ways put into memory; fails when they differ.
  GuestMemory Place(const RestorePlan& plan) {
    GuestMemory copied = MakeMemory(kMemorySize);
    GuestMemory mapped = MakeMemory(kMemorySize);
    const auto copy = CopyMemory(files(), plan, copied);
    EXPECT_TRUE(copy) << copy.error().Message();
    const auto map = MapMemory(files(), plan, mapped);
    EXPECT_TRUE(map) << map.error().Message();
    EXPECT_EQ(std::memcmp(copied.host_base(), mapped.host_base(), kMemorySize), 0);
    return mapped;
  }

  // The byte that fills the page.
  static int ValueOf(const GuestMemory& memory, uint64_t page) {
    const std::span bytes(memory.host_base() + page * kPageSize, kPageSize);
    for (const uint8_t byte : bytes) EXPECT_EQ(byte, bytes[0]) << "page " << page;
    return bytes[0];
  }

  // Neither way begins: the memory is as it was.
  void ExpectRefused(const RestorePlan& plan, ErrorCode code, std::string_view why) {
    GuestMemory memory = MakeMemory(kMemorySize);
    FillPage(memory, 1, 0x99);
    for (const bool copies : {true, false}) {
      const auto placed = copies ? CopyMemory(files(), plan, memory) : MapMemory(files(), plan, memory);
      ASSERT_FALSE(placed) << why;
      EXPECT_EQ(placed.error().code, code);
      EXPECT_NE(placed.error().context.find(why), std::string::npos) << placed.error().context;
      EXPECT_EQ(ValueOf(memory, 1), 0x99);
    }
  }

  UniqueFd image_;
  UniqueFd overlay_;
  UniqueFd kernel_;
};

TEST_F(PageLoader, ImageAloneIsTheMemory) {
  const GuestMemory memory = Place(RestorePlan());
  EXPECT_EQ(ValueOf(memory, 0), 0);
  EXPECT_EQ(ValueOf(memory, 1), 0x11);
  EXPECT_EQ(ValueOf(memory, 255), 0x33);
}

TEST_F(PageLoader, ExtentsLieOverTheImage) {
  const GuestMemory memory = Place(PlanOf({
      {{2, 2}, ImageFile::kKernel, 1},
      {{8, 2}, ImageFile::kOverlay, 8},
      {{255, 1}, ImageFile::kKernel, 3},
  }));
  EXPECT_EQ(ValueOf(memory, 1), 0x11);
  EXPECT_EQ(ValueOf(memory, 2), 0xe1);
  EXPECT_EQ(ValueOf(memory, 3), 0xe2);
  EXPECT_EQ(ValueOf(memory, 4), 0);
  EXPECT_EQ(ValueOf(memory, 8), 0xa8);
  EXPECT_EQ(ValueOf(memory, 9), 0xa9);
  EXPECT_EQ(ValueOf(memory, 255), 0xe3);
}

TEST_F(PageLoader, LaterExtentsLieOverEarlierOnes) {
  const GuestMemory memory = Place(PlanOf({
      {{1, 4}, ImageFile::kKernel, 0},
      {{2, 2}, ImageFile::kOverlay, 2},
      {{3, 1}, ImageFile::kKernel, 0},
  }));
  EXPECT_EQ(ValueOf(memory, 1), 0xe0);
  EXPECT_EQ(ValueOf(memory, 2), 0xa2);
  EXPECT_EQ(ValueOf(memory, 3), 0xe0);
  EXPECT_EQ(ValueOf(memory, 4), 0xe3);
}

TEST_F(PageLoader, HoleInTheOverlayIsZeroesOverTheImage) {
  ASSERT_TRUE(SetSize(overlay_.get(), kMemorySize, "overlay"));
  Fill(20, 0x44);
  EXPECT_EQ(ValueOf(Place(PlanOf({{{20, 1}, ImageFile::kOverlay, 20}})), 20), 0);
}

TEST_F(PageLoader, WhatTheGuestWritesStaysItsOwn) {
  const RestorePlan plan = PlanOf({{{2, 1}, ImageFile::kKernel, 0}, {{3, 1}, ImageFile::kOverlay, 3}});
  GuestMemory memory = Place(plan);
  for (uint64_t page = 1; page < 4; ++page) FillPage(memory, page, 0x99);
  const GuestMemory again = Place(plan);
  EXPECT_EQ(ValueOf(again, 1), 0x11);
  EXPECT_EQ(ValueOf(again, 2), 0xe0);
  EXPECT_EQ(ValueOf(again, 3), 0xa3);
}

TEST_F(PageLoader, ShortImageIsRefusedBeforeAnythingIsPlaced) {
  ASSERT_TRUE(SetSize(image_.get(), kMemorySize - 1, "image"));
  ExpectRefused(RestorePlan(), ErrorCode::kCorrupt, "the snapshot's memory image has 1048575 bytes");
}

TEST_F(PageLoader, ShortOverlayOrKernelIsRefusedBeforeAnythingIsPlaced) {
  ExpectRefused(PlanOf({{{1, 1}, ImageFile::kOverlay, 1}, {{10, 1}, ImageFile::kOverlay, 10}}), ErrorCode::kCorrupt,
                "the function snapshot's memory image has 40960 bytes instead of");
  ExpectRefused(PlanOf({{{1, 3}, ImageFile::kKernel, 2}}), ErrorCode::kCorrupt, "the runtime's kernel image has 16384");
  ExpectRefused(PlanOf({{{1, 1}, ImageFile::kKernel, 0xffffffff}}), ErrorCode::kCorrupt, "kernel image");
}

TEST_F(PageLoader, PartOfAPageIsRefusedBeforeAnythingIsPlaced) {
  ASSERT_TRUE(SetSize(kernel_.get(), 4 * kPageSize - 1, "kernel"));
  ExpectRefused(PlanOf({{{1, 1}, ImageFile::kKernel, 3}}), ErrorCode::kCorrupt, "kernel image has 16383 bytes");
  EXPECT_EQ(ValueOf(Place(PlanOf({{{1, 1}, ImageFile::kKernel, 2}})), 1), 0xe2);
}

TEST_F(PageLoader, MissingFileIsRefusedBeforeAnythingIsPlaced) {
  kernel_ = UniqueFd();
  ExpectRefused(PlanOf({{{1, 1}, ImageFile::kKernel, 0}}), ErrorCode::kInvalidArgument, "kernel image is missing");
  overlay_ = UniqueFd();
  ExpectRefused(PlanOf({{{1, 1}, ImageFile::kOverlay, 0}}), ErrorCode::kInvalidArgument,
                "function snapshot's memory image is missing");
}

class Prefetch : public PageLoader {
 protected:
  enum class Presence { kAbsent, kShared, kPrivate };

  static Presence PresenceOf(const GuestMemory& memory, uint64_t page) {
    Pagemap pagemap(memory.host_base());
    pagemap.Load(page, 1);
    if (pagemap.Private(0)) return Presence::kPrivate;
    return pagemap.Touched(0) ? Presence::kShared : Presence::kAbsent;
  }
};

TEST_F(Prefetch, CopiesWhatIsWrittenAndMapsWhatIsRead) {
  RestorePlan plan = PlanOf({{{8, 2}, ImageFile::kOverlay, 8}, {{100, 1}, ImageFile::kKernel, 0}});
  plan.read = {{1, 1}, {9, 1}};
  plan.written = {{2, 1}, {8, 1}, {100, 1}, {200, 1}};
  for (const ReadAhead read_ahead : {ReadAhead::kNo, ReadAhead::kYes}) {
    plan.read_ahead = read_ahead;
    GuestMemory memory = MakeMemory(kMemorySize);
    FetchAhead(files(), plan);
    ASSERT_TRUE(MapMemory(files(), plan, memory));
    EXPECT_EQ(PresenceOf(memory, 2), Presence::kAbsent);
    PrefetchMemory(plan, memory);
    for (const uint32_t page : {2U, 8U, 100U, 200U}) EXPECT_EQ(PresenceOf(memory, page), Presence::kPrivate) << page;
    for (const uint32_t page : {1U, 9U}) EXPECT_EQ(PresenceOf(memory, page), Presence::kShared) << page;
    EXPECT_EQ(PresenceOf(memory, 255), Presence::kAbsent);
    // Nothing but that is its own.
    Pagemap pagemap(memory.host_base());
    pagemap.Load(0, kMemorySize / kPageSize);
    size_t own = 0;
    for (size_t page = 0; page < kMemorySize / kPageSize; ++page) own += pagemap.Private(page) ? 1U : 0U;
    EXPECT_EQ(own, 4U);
    EXPECT_EQ(ValueOf(memory, 1), 0x11);
    EXPECT_EQ(ValueOf(memory, 2), 0x22);
    EXPECT_EQ(ValueOf(memory, 8), 0xa8);
    EXPECT_EQ(ValueOf(memory, 100), 0xe0);
    EXPECT_EQ(ValueOf(memory, 200), 0);
  }
}

class Packed : public Prefetch {
 protected:
  // The packed pages 0xb1, 0xb2, 0xb3 behind the file's first page; the first two are at 40 and 41, the other is at 7.
  Packed() : packed_(MakeSource({0, 0xb1, 0xb2, 0xb3})) {
    plan_ =
        PlanOf({{{40, 4}, ImageFile::kKernel, 0}, {{40, 2}, ImageFile::kPacked, 1}, {{7, 1}, ImageFile::kPacked, 3}});
    plan_.read_ahead = ReadAhead::kYes;
  }

  ImageFiles with_packed() const {
    ImageFiles all = files();
    all.packed = packed_.get();
    return all;
  }

  UniqueFd packed_;
  RestorePlan plan_;
};

TEST_F(Packed, WhatIsReadIsInPlaceAndThisMappingsOwn) {
  GuestMemory memory = MakeMemory(kMemorySize);
  const auto packed = ReadPacked(with_packed(), plan_);
  ASSERT_TRUE(packed) << packed.error().Message();
  ASSERT_TRUE(MapMemory(with_packed(), plan_, memory, PackedPages::kLeftOut));
  EXPECT_EQ(PresenceOf(memory, 7), Presence::kAbsent);
  ASSERT_TRUE(TakePacked(*packed, plan_, memory));
  for (const uint32_t page : {7U, 40U, 41U}) EXPECT_EQ(PresenceOf(memory, page), Presence::kPrivate) << page;
  EXPECT_EQ(ValueOf(memory, 40), 0xb1);
  EXPECT_EQ(ValueOf(memory, 41), 0xb2);
  EXPECT_EQ(ValueOf(memory, 42), 0xe2);
  EXPECT_EQ(ValueOf(memory, 7), 0xb3);
  EXPECT_EQ(ValueOf(memory, 1), 0x11);

  // Another memory of the same files does not see what this one writes.
  FillPage(memory, 40, 0x99);
  GuestMemory other = MakeMemory(kMemorySize);
  ASSERT_TRUE(MapMemory(with_packed(), plan_, other));
  EXPECT_EQ(ValueOf(other, 40), 0xb1);
  ASSERT_TRUE(TakePacked(ReadPacked(with_packed(), plan_).value(), plan_, other));
  EXPECT_EQ(ValueOf(other, 40), 0xb1);
  EXPECT_EQ(ValueOf(memory, 40), 0x99);
}

TEST_F(Packed, AFileThatIsTooShortIsCorrupt) {
  ASSERT_TRUE(SetSize(packed_.get(), 4 * kPageSize - 1, "packed"));
  const auto packed = ReadPacked(with_packed(), plan_);
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().code, ErrorCode::kCorrupt);
}

TEST_F(Packed, ADroppedMemoryCanBePlacedAgain) {
  GuestMemory memory = MakeMemory(kMemorySize);
  for (int time = 0; time < 2; ++time) {
    ASSERT_TRUE(MapMemory(with_packed(), plan_, memory, PackedPages::kLeftOut));
    ASSERT_TRUE(TakePacked(ReadPacked(with_packed(), plan_).value(), plan_, memory));
    EXPECT_EQ(ValueOf(memory, 41), 0xb2) << time;
    FillPage(memory, 41, 0x99);
    ASSERT_TRUE(memory.DropPages());
  }
}

TEST_F(Prefetch, IsAdviceThatPagesOutsideTheMemoryDoNotHurt) {
  RestorePlan plan;
  plan.written = {{250, 100}};
  plan.read = {{0xffffffff, 1}, {1, 1}};
  GuestMemory memory = MakeMemory(kMemorySize);
  ASSERT_TRUE(MapMemory(files(), plan, memory));
  PrefetchMemory(plan, memory);
  EXPECT_EQ(PresenceOf(memory, 1), Presence::kShared);
}

}  // namespace
}  // namespace snapfaas::snapshot
