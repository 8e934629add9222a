#include "snapshot/working_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/coding.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kChecksum = 0x1122334455667788;
constexpr size_t kSetVersionAt = 8;

WorkingSet SomeSet() { return WorkingSet{{{0, 3}, {10, 1}, {200, 56}}, {{3, 1}, {5, 4}, {11, 2}}}; }

std::vector<uint8_t> SomeSetBytes() { return EncodeWorkingSet(SomeSet(), kChecksum); }

void ExpectRefused(std::span<const uint8_t> bytes, ErrorCode code, std::string_view why) {
  const auto set = DecodeWorkingSet(bytes, kChecksum, 1_MiB);
  ASSERT_FALSE(set) << why;
  EXPECT_EQ(set.error().code, code) << why;
  EXPECT_NE(set.error().context.find(why), std::string::npos) << set.error().context;
}

// As a writer with a bug would: the checksum is right.
std::vector<uint8_t> Resealed(std::vector<uint8_t> bytes, const std::function<void(std::vector<uint8_t>&)>& change) {
  bytes.resize(bytes.size() - 8);
  change(bytes);
  ByteWriter writer;
  writer.PutBytes(bytes);
  writer.Put(Hash64(bytes));
  return writer.Take();
}

TEST(WorkingSet, WhatIsEncodedIsDecoded) {
  for (const WorkingSet& set : {SomeSet(), WorkingSet(), WorkingSet{{{0, 256}}, {}}, WorkingSet{{}, {{255, 1}}}}) {
    const auto decoded = DecodeWorkingSet(EncodeWorkingSet(set, kChecksum), kChecksum, 1_MiB);
    ASSERT_TRUE(decoded) << decoded.error().Message();
    EXPECT_EQ(*decoded, set);
  }
}

TEST(WorkingSet, RecurrenceIsTheShareThatTheOtherHasToo) {
  const WorkingSet set{{{0, 4}}, {{10, 4}}};
  EXPECT_EQ(RecurrenceIn(set, set), 1);
  EXPECT_EQ(RecurrenceIn(WorkingSet(), set), 0);
  EXPECT_EQ(RecurrenceIn(set, WorkingSet()), 1);
  // Whether a page was read or written makes no difference, and what only the other has does not count.
  EXPECT_EQ(RecurrenceIn({{{10, 4}, {100, 50}}, {{0, 2}}}, set), 0.75);
}

TEST(WorkingSet, BeginsAsTheDocumentSays) {
  const auto bytes = SomeSetBytes();
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "SNAPWSET");
  EXPECT_EQ(bytes[kSetVersionAt], 1);
  EXPECT_EQ(bytes[12], 0x88);
  EXPECT_EQ(bytes[19], 0x11);
  EXPECT_EQ(bytes[20], 3);  // runs that were read
  EXPECT_EQ(bytes.size(), 20 + 2 * (4 + 3 * 8) + 8U);
}

TEST(WorkingSet, EveryTruncationIsCorrupt) {
  const auto bytes = SomeSetBytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto set = DecodeWorkingSet(std::span(bytes).first(size), kChecksum, 1_MiB);
    ASSERT_FALSE(set) << size;
    EXPECT_EQ(set.error().code, ErrorCode::kCorrupt) << size;
  }
}

TEST(WorkingSet, EveryFlippedBitIsRefused) {
  auto bytes = SomeSetBytes();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = static_cast<uint8_t>(1U << (bit % 8));
    bytes[bit / 8] ^= flip;
    const auto set = DecodeWorkingSet(bytes, kChecksum, 1_MiB);
    ASSERT_FALSE(set) << "bit " << bit;
    EXPECT_EQ(set.error().code, ErrorCode::kCorrupt) << "bit " << bit;
    bytes[bit / 8] ^= flip;
  }
  EXPECT_TRUE(DecodeWorkingSet(bytes, kChecksum, 1_MiB));
}

TEST(WorkingSet, OfAnotherSnapshotIsIncompatible) {
  ExpectRefused(EncodeWorkingSet(SomeSet(), kChecksum + 1), ErrorCode::kIncompatible, "with another snapshot");
}

TEST(WorkingSet, OfAnotherVersionIsIncompatible) {
  const auto newer = Resealed(SomeSetBytes(), [](auto& bytes) { bytes[kSetVersionAt] = 2; });
  ExpectRefused(newer, ErrorCode::kIncompatible, "version 2, this program reads version 1");
}

TEST(WorkingSet, OfALargerMemoryIsCorrupt) {
  EXPECT_EQ(DecodeWorkingSet(SomeSetBytes(), kChecksum, 1_MiB - kPageSize).error().code, ErrorCode::kCorrupt);
}

TEST(WorkingSet, WhatBeginsOtherwiseOrGoesOnIsCorrupt) {
  ExpectRefused(Resealed(SomeSetBytes(), [](auto& bytes) { bytes[0] = 's'; }), ErrorCode::kCorrupt, "begin as one");
  ExpectRefused(Resealed(SomeSetBytes(), [](auto& bytes) { bytes.push_back(0); }), ErrorCode::kCorrupt, "too many");
}

TEST(WorkingSet, PageThatIsReadAndWrittenIsCorrupt) {
  const std::vector<WorkingSet> overlapping = {
      {{{5, 1}}, {{5, 1}}},
      {{{0, 10}}, {{9, 1}}},
      {{{9, 1}}, {{0, 10}}},
      {{{0, 1}, {20, 4}}, {{2, 1}, {22, 10}}},
      {{{0, 1}, {20, 4}, {40, 1}}, {{2, 1}, {18, 3}}},
  };
  for (const WorkingSet& set : overlapping) {
    ExpectRefused(EncodeWorkingSet(set, kChecksum), ErrorCode::kCorrupt, "in both of its parts");
  }
}

TEST(WorkingSet, TooLongIsNotRead) {
  const UniqueFd file = MakeMemoryFile();
  ASSERT_TRUE(SetSize(file.get(), kMaxWorkingSetBytes + 1, "set"));
  EXPECT_EQ(ReadRecordedWorkingSet(file.get(), 1_MiB).error().code, ErrorCode::kCorrupt);
  const std::vector<uint8_t> bytes(kMaxWorkingSetBytes + 1);
  ExpectRefused(bytes, ErrorCode::kCorrupt, "too long");
}

TEST(WorkingSet, IsReadAsAVmmWritesIt) {
  const UniqueFd file = MakeMemoryFile();
  ASSERT_TRUE(WriteAt(file.get(), 0, EncodeWorkingSet(SomeSet(), 0), "set"));
  const auto set = ReadRecordedWorkingSet(file.get(), 1_MiB);
  ASSERT_TRUE(set) << set.error().Message();
  EXPECT_EQ(*set, SomeSet());
  EXPECT_FALSE(ReadRecordedWorkingSet(MakeMemoryFile().get(), 1_MiB));
}

TEST(WorkingSet, CountsItsPages) {
  EXPECT_EQ(PagesOf(SomeSet().read), 60U);
  EXPECT_EQ(PagesOf({}), 0U);
}

// A page is a run's when one of them has it.
bool Has(const std::vector<PageRun>& runs, uint64_t page) {
  return std::any_of(runs.begin(), runs.end(),
                     [page](const PageRun& run) { return page >= run.first_page && page < run.end(); });
}

TEST(RecordWorkingSet, TellsPagesThatWereReadFromThoseThatWereWritten) {
  const UniqueFd image = MakeMemoryFile();
  ASSERT_TRUE(WriteAt(image.get(), 0, std::vector<uint8_t>(4_MiB, 0x77), "image"));
  GuestMemory memory = MakeMemory(4_MiB);
  ASSERT_TRUE(memory.MapPrivateImage(image.get()));
  EXPECT_EQ(RecordWorkingSet(memory), WorkingSet());

  FillPage(memory, 600, 1);
  FillPage(memory, 601, 2);
  ASSERT_TRUE(memory.WriteObject(GuestAddress(103 * kPageSize), uint8_t{3}));
  // Behind the writes: where the host had mapped a huge page, a write takes its other pages out of the page tables.
  EXPECT_EQ(memory.ReadObject<uint8_t>(GuestAddress(100 * kPageSize)).value(), 0x77);
  const WorkingSet set = RecordWorkingSet(memory);
  EXPECT_EQ(set.written, (std::vector<PageRun>{{103, 1}, {600, 2}}));
  EXPECT_TRUE(Has(set.read, 100));
  EXPECT_FALSE(Has(set.read, 103));
  EXPECT_FALSE(Has(set.read, 600));
  // The host maps a page's neighbours along, and not the whole file.
  EXPECT_LE(PagesOf(set.read), 64U);
  // What a VMM writes, its reader accepts.
  const auto decoded = DecodeWorkingSet(EncodeWorkingSet(set, kChecksum), kChecksum, memory.size());
  ASSERT_TRUE(decoded) << decoded.error().Message();
  EXPECT_EQ(*decoded, set);
}

TEST(NarrowWorkingSet, KeepsOfHugePagesWhatTheBaseIsKnownToTouch) {
  // Regions of 512 pages: the second and third whole, a part of the first and fourth, and of the fifth.
  const WorkingSet set = {{{500, 1300}, {2048, 10}}, {{1900, 5}, {2300, 2}}};
  const WorkingSet base = {{{3, 4}, {510, 5}, {600, 2}, {1530, 20}}, {{700, 1}, {1900, 9}}};
  const WorkingSet narrowed = Narrow(set, base);
  EXPECT_EQ(narrowed.written, set.written);
  EXPECT_EQ(narrowed.read, (std::vector<PageRun>{{500, 15}, {600, 2}, {700, 1}, {1530, 270}, {2048, 10}}));
}

TEST(NarrowWorkingSet, LeavesSmallPagesAsTheyAre) {
  const WorkingSet set = {{{1, 511}, {513, 400}}, {{1000, 1}}};
  EXPECT_EQ(Narrow(set, {{{2, 3}}, {}}), set);
  EXPECT_EQ(Narrow({}, set), WorkingSet());
  EXPECT_EQ(Narrow({{{0, 1024}}, {}}, {}), WorkingSet());
}

}  // namespace
}  // namespace snapfaas::snapshot
