#include "snapshot/format.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

constexpr size_t kStateVersionAt = 8;
constexpr size_t kCountAt = 12;
constexpr size_t kMemoryBytesAt = 24;
constexpr size_t kVcpusAt = 32;
constexpr size_t kBaseChecksumAt = 80;
constexpr size_t kTableAt = 88;
constexpr size_t kMapAt = kTableAt + 4 * 8;  // SomeState() has four sections with the map

constexpr size_t kRunAt = kMapAt + 24;  // the second of three runs
constexpr size_t kLastRunAt = kRunAt + 24;

// As SomeState, over a base, and its second run is of zeroes.
StateFile SomeFunctionState() {
  StateFile state = SomeState();
  state.base_checksum = 0xfedcba9876543298;
  state.memory.runs[1] = {1, 2, 0, PageSource::kZero, 0};
  return state;
}

std::vector<uint8_t> SomeStateBytes() { return EncodeState(SomeState()).value(); }

void PutU32(std::vector<uint8_t>& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

// Makes the checksum right again, as a writer with a bug would.
void Reseal(std::vector<uint8_t>& bytes) {
  const uint64_t checksum = Hash64(std::span<const uint8_t>(bytes).first(bytes.size() - 8));
  PutU32(bytes, bytes.size() - 8, static_cast<uint32_t>(checksum));
  PutU32(bytes, bytes.size() - 4, static_cast<uint32_t>(checksum >> 32));
}

// The bytes were altered by `change` and carry a right checksum: the bounds must catch them.
void ExpectRefusedAfter(const std::function<void(std::vector<uint8_t>&)>& change, std::string_view reason) {
  auto bytes = SomeStateBytes();
  change(bytes);
  Reseal(bytes);
  const auto state = DecodeState(bytes);
  ASSERT_FALSE(state) << reason;
  EXPECT_EQ(state.error().code, ErrorCode::kCorrupt) << reason;
  EXPECT_NE(state.error().context.find(reason), std::string::npos) << state.error().context;
}

void ExpectCannotBeSaved(const std::function<void(StateFile&)>& change) {
  StateFile state = SomeState();
  change(state);
  const auto bytes = EncodeState(state);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument);
}

void ExpectIncompatible(const std::function<void(Expectation&)>& change, std::string_view reason) {
  Expectation expected = SomeMachine();
  change(expected);
  const auto checked = CheckCompatible(SomeState(), expected);
  ASSERT_FALSE(checked) << reason;
  EXPECT_EQ(checked.error().code, ErrorCode::kIncompatible);
  EXPECT_NE(checked.error().context.find(reason), std::string::npos) << checked.error().context;
  EXPECT_NE(checked.error().context.find("snapfaas runtime build"), std::string::npos);
}

TEST(State, WhatIsEncodedIsDecoded) {
  const auto state = DecodeState(SomeStateBytes());
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_EQ(state->machine, SomeMachine());
  EXPECT_EQ(state->base_checksum, 0U);
  EXPECT_EQ(state->memory, SomeState().memory);
  EXPECT_EQ(state->sections, SomeState().sections);
}

TEST(State, OfAFunctionNamesItsBaseAndPagesOfZeroes) {
  const auto bytes = EncodeState(SomeFunctionState()).value();
  EXPECT_EQ(bytes[kBaseChecksumAt], 0x98);
  EXPECT_EQ(bytes[kBaseChecksumAt + 7], 0xfe);
  const auto state = DecodeState(bytes);
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_EQ(state->base_checksum, SomeFunctionState().base_checksum);
  EXPECT_EQ(state->memory, SomeFunctionState().memory);
}

TEST(State, BeginsAsTheDocumentSays) {
  const auto bytes = SomeStateBytes();
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "SNAPFAAS");
  EXPECT_EQ(bytes[kStateVersionAt], 2);
  EXPECT_EQ(bytes[kCountAt], 4);
  EXPECT_EQ(bytes[16], bytes.size());
  EXPECT_EQ(bytes[kMemoryBytesAt + 2], 0x10);
  EXPECT_EQ(bytes[kVcpusAt], 1);
  EXPECT_EQ(std::string(bytes.begin() + 36, bytes.begin() + 48), "AuthenticAMD");
  EXPECT_EQ(bytes[kTableAt], 1);
  EXPECT_EQ(bytes[kTableAt + 4], 3 * 24);
  EXPECT_EQ(bytes[kRunAt], 1);
  EXPECT_EQ(bytes[kRunAt + 4], 2);
  EXPECT_EQ(bytes[kRunAt + 8], 12);
  EXPECT_EQ(bytes[kRunAt + 16], 1);
  EXPECT_EQ(bytes[kRunAt + 20], 77);
}

TEST(State, SectionsAreFoundById) {
  const StateFile state = SomeState();
  ASSERT_NE(state.Find(kFirstVmmSection + 1), nullptr);
  EXPECT_EQ(state.Find(kFirstVmmSection + 1)->bytes, std::vector<uint8_t>{4});
  EXPECT_EQ(state.Find(kFirstVmmSection + 2), nullptr);
}

TEST(State, EveryTruncationIsCorrupt) {
  const auto bytes = SomeStateBytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto state = DecodeState(std::span(bytes).first(size));
    ASSERT_FALSE(state) << size;
    EXPECT_EQ(state.error().code, ErrorCode::kCorrupt) << size;
  }
}

TEST(State, EveryFlippedBitIsRefused) {
  auto bytes = SomeStateBytes();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = static_cast<uint8_t>(1U << (bit % 8));
    bytes[bit / 8] ^= flip;
    EXPECT_FALSE(DecodeState(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= flip;
  }
  EXPECT_TRUE(DecodeState(bytes));
}

TEST(State, BytesTooManyAreCorrupt) {
  auto bytes = SomeStateBytes();
  bytes.push_back(0);
  EXPECT_EQ(DecodeState(bytes).error().code, ErrorCode::kCorrupt);
}

TEST(State, AnotherVersionIsIncompatibleWhateverFollows) {
  auto bytes = SomeStateBytes();
  bytes[kStateVersionAt] = 3;
  const auto state = DecodeState(bytes);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().code, ErrorCode::kIncompatible);
  EXPECT_NE(state.error().context.find("snapfaas runtime build"), std::string::npos);
}

TEST(State, NoSectionsIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kCountAt, 0); }, "impossible number of sections");
}

TEST(State, SectionCountAboveItsLimitIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kCountAt, 65); }, "impossible number of sections");
}

TEST(State, SectionCountBeyondTheFileIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kCountAt, 64); }, "");
}

TEST(State, SectionLargerThanTheFileIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kTableAt + 12, 0xffffffff); }, "do not fill it");
}

TEST(State, SectionsThatLeaveBytesOverAreCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kTableAt + 12, 2); }, "do not fill it");
}

TEST(State, SectionWithReservedIdIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kTableAt + 8, 2); }, "reserved id");
}

TEST(State, SecondSectionWithOneIdIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kTableAt + 16, kFirstVmmSection); }, "one id");
}

TEST(State, NoMemoryMapIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kTableAt, kFirstVmmSection + 2); }, "no memory map");
}

TEST(State, MemoryMapOfNoWholeRunsIsCorrupt) {
  ExpectRefusedAfter(
      [](auto& bytes) {
        PutU32(bytes, kTableAt + 4, 3 * 24 - 1);
        PutU32(bytes, kTableAt + 12, 4);
      },
      "memory map is cut");
}

TEST(State, EmptyRunIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kMapAt + 4, 0); }, "impossible length");
}

TEST(State, RunAboveItsLimitIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kMapAt + 4, 257); }, "impossible length");
}

TEST(State, OverlappingRunsAreCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kRunAt, 0); }, "overlap");
}

TEST(State, DescendingRunsAreCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kLastRunAt, 1); }, "overlap");
}

TEST(State, RunThatEndsOutsideTheMemoryIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kLastRunAt, 201); }, "outside the memory");
}

TEST(State, LastPageOfAllIsOutsideTheMemory) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kLastRunAt, 0xffffffff); }, "outside the memory");
}

TEST(State, UnknownSourceIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kRunAt + 16, 3); }, "unknown source");
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kRunAt + 16, 0xffffffff); }, "unknown source");
}

TEST(State, StoredRunWithASourcePageIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kRunAt + 16, 0); }, "without a source file names a page");
}

TEST(State, ZeroesInABaseSnapshotAreCorrupt) {
  ExpectRefusedAfter(
      [](auto& bytes) {
        for (const uint32_t field : {8U, 12U, 20U}) PutU32(bytes, kRunAt + field, 0);
        PutU32(bytes, kRunAt + 16, 2);
      },
      "a base snapshot names pages of zeroes");
}

TEST(State, ZeroesWithAChecksumAreCorrupt) {
  ExpectRefusedAfter(
      [](auto& bytes) {
        PutU32(bytes, kBaseChecksumAt, 1);
        PutU32(bytes, kRunAt + 16, 2);
        PutU32(bytes, kRunAt + 20, 0);
      },
      "a run of zeroes has a checksum");
}

TEST(State, ZeroesWithASourcePageAreCorrupt) {
  ExpectRefusedAfter(
      [](auto& bytes) {
        PutU32(bytes, kBaseChecksumAt, 1);
        PutU32(bytes, kRunAt + 8, 0);
        PutU32(bytes, kRunAt + 16, 2);
      },
      "without a source file names a page");
}

TEST(State, SourcePagesBeyondEverySourceAreCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kRunAt + 20, 0xffffffff); }, "outside every source");
}

TEST(State, DirtyMemoryIsWhatIsStored) {
  EXPECT_EQ(SomeState().memory.StoredBytes(), kPageSize);
  EXPECT_EQ(SomeState().memory.ResidentBytes(), 59 * kPageSize);
  EXPECT_EQ(SomeFunctionState().memory.StoredBytes(), kPageSize);
  EXPECT_EQ(SomeFunctionState().memory.ResidentBytes(), 57 * kPageSize);
}

TEST(State, NoMemoryIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kMemoryBytesAt, 0); }, "impossible memory size");
}

TEST(State, MemoryOfNoWholePagesIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { bytes[kMemoryBytesAt] = 1; }, "impossible memory size");
}

TEST(State, MemoryAboveItsLimitIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { bytes[kMemoryBytesAt + 5] = 1; }, "impossible memory size");
}

TEST(State, NoVcpusIsCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kVcpusAt, 0); }, "impossible number of vCPUs");
}

TEST(State, VcpusAboveTheirLimitAreCorrupt) {
  ExpectRefusedAfter([](auto& bytes) { PutU32(bytes, kVcpusAt, 65); }, "impossible number of vCPUs");
}

TEST(State, WriterRefusesWhatAReaderWould) {
  ExpectCannotBeSaved([](StateFile& state) { state.machine.vcpus = 0; });
  ExpectCannotBeSaved([](StateFile& state) { state.machine.memory_bytes = 1_MiB + 1; });
  ExpectCannotBeSaved([](StateFile& state) { state.memory.runs[0].pages = kMaxRunPages + 1; });
  ExpectCannotBeSaved([](StateFile& state) { state.memory.runs[2].first_page = 2; });
  ExpectCannotBeSaved([](StateFile& state) { state.memory.runs[0].source_page = 1; });
  ExpectCannotBeSaved([](StateFile& state) { state.memory.runs[1] = {1, 2, 0, PageSource::kZero, 0}; });
  ExpectCannotBeSaved([](StateFile& state) { state.sections[0].id = kFirstVmmSection - 1; });
  ExpectCannotBeSaved([](StateFile& state) { state.sections[1].id = kFirstVmmSection; });
  ExpectCannotBeSaved([](StateFile& state) { state.sections[0].bytes.resize(kMaxStateBytes); });
  ExpectCannotBeSaved([](StateFile& state) {
    for (uint32_t i = 0; i < kMaxSections; ++i) state.sections.push_back({kFirstVmmSection + 100 + i, {}});
  });
}

TEST(State, WorstMemoryMapOf3072MiBFits) {
  StateFile state;
  state.machine = SomeMachine();
  state.machine.memory_bytes = 3072_MiB;
  for (uint32_t page = 0; page < 3072_MiB / kPageSize; ++page) state.memory.runs.push_back({page, 1, page});
  const auto bytes = EncodeState(state);
  ASSERT_TRUE(bytes);
  EXPECT_LT(bytes->size(), kMaxStateBytes * 2 / 3);
  EXPECT_EQ(DecodeState(*bytes)->memory, state.memory);
}

TEST(State, IsReadFromAFileWhereverItsPositionIs) {
  const UniqueFd file = MakeMemoryFile();
  ASSERT_TRUE(WriteAt(file.get(), 0, SomeStateBytes(), "state"));
  ASSERT_EQ(::lseek(file.get(), 5, SEEK_SET), 5);
  EXPECT_TRUE(ReadState(file.get()));
}

TEST(State, FileAboveTheLimitIsNotRead) {
  const UniqueFd file = MakeMemoryFile();
  ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(kMaxStateBytes + 1)), 0);
  EXPECT_EQ(ReadState(file.get()).error().code, ErrorCode::kCorrupt);
}

TEST(State, EmptyFileAndPipeAreCorrupt) {
  EXPECT_EQ(ReadState(MakeMemoryFile().get()).error().code, ErrorCode::kCorrupt);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  EXPECT_EQ(ReadState(read_end.get()).error().code, ErrorCode::kCorrupt);
}

TEST(Compatible, SameMachineIs) { EXPECT_TRUE(CheckCompatible(SomeState(), SomeMachine())); }

TEST(Compatible, OtherMemorySizeIsNot) {
  ExpectIncompatible([](auto& machine) { machine.memory_bytes = 2_MiB; }, "1 MiB of memory, not 2 MiB");
}

TEST(Compatible, OtherVcpusAreNot) {
  ExpectIncompatible([](auto& machine) { machine.vcpus = 2; }, "1 vCPUs, not 2");
}

TEST(Compatible, OtherVendorIsNot) {
  ExpectIncompatible([](auto& machine) { machine.cpu.vendor = {'G', 'e', 'n', 'u', 'i', 'n', 'e'}; },
                     "another CPU (AuthenticAMD family 25 model 1 stepping 2; this is Genuine?????");
}

TEST(Compatible, OtherFamilyModelOrSteppingIsNot) {
  ExpectIncompatible([](auto& machine) { machine.cpu.family = 26; }, "another CPU");
  ExpectIncompatible([](auto& machine) { machine.cpu.model = 26; }, "another CPU");
  ExpectIncompatible([](auto& machine) { machine.cpu.stepping = 26; }, "another CPU");
}

TEST(Compatible, OtherCpuidOrXsaveIsNot) {
  ExpectIncompatible([](auto& machine) { machine.cpu.cpuid_hash = 1; }, "other features");
  ExpectIncompatible([](auto& machine) { machine.cpu.xsave_bytes = 1; }, "other features");
}

TEST(Compatible, OtherDevicesAreNot) {
  ExpectIncompatible([](auto& machine) { machine.device_set_hash = 1; }, "other devices");
}

}  // namespace
}  // namespace snapfaas::snapshot
