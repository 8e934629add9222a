#include "snapshot/page_runs.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/units.h"

namespace snapfaas::snapshot {
namespace {

using Runs = std::vector<PageRun>;

std::vector<uint8_t> Encoded(const Runs& runs) {
  ByteWriter writer;
  PutRuns(writer, runs);
  return writer.Take();
}

// Whether the reader accepts the runs for a memory of ten pages.
bool RunsAreAccepted(const Runs& runs, uint64_t memory_bytes = 10 * kPageSize) {
  const auto bytes = Encoded(runs);
  ByteReader reader(bytes);
  const Runs got = GetRuns(reader, memory_bytes);
  return reader.Finish("runs").has_value() && got == runs;
}

TEST(PageRuns, AppendedPagesJoinTheirNeighbour) {
  Runs runs;
  for (const uint32_t page : {2U, 3U, 4U, 6U, 9U, 10U}) AppendPage(runs, page);
  EXPECT_EQ(runs, (Runs{{2, 3}, {6, 1}, {9, 2}}));
}

TEST(PageRuns, MergeIsTheUnion) {
  EXPECT_EQ(Merge({{1, 2}, {10, 1}}, {{5, 1}}), (Runs{{1, 2}, {5, 1}, {10, 1}}));
  EXPECT_EQ(Merge({{1, 2}}, {{3, 2}}), (Runs{{1, 4}}));
  EXPECT_EQ(Merge({{1, 8}}, {{3, 2}}), (Runs{{1, 8}}));
  EXPECT_EQ(Merge({{3, 4}}, {{1, 4}, {6, 5}}), (Runs{{1, 10}}));
  EXPECT_EQ(Merge({{1, 2}}, {{1, 2}}), (Runs{{1, 2}}));
  EXPECT_EQ(Merge({}, {{4, 1}}), (Runs{{4, 1}}));
  EXPECT_EQ(Merge({}, {}), Runs());
}

TEST(PageRuns, CoalesceClosesGapsUpToItsBoundAndNoFarther) {
  const Runs runs = {{0, 1}, {3, 1}, {7, 2}};
  EXPECT_EQ(Coalesce(runs, 0), runs);
  EXPECT_EQ(Coalesce(runs, 1), runs);
  EXPECT_EQ(Coalesce(runs, 2), (Runs{{0, 4}, {7, 2}}));
  EXPECT_EQ(Coalesce(runs, 3), (Runs{{0, 9}}));
  EXPECT_EQ(Coalesce({{0, 2}, {2, 1}}, 0), (Runs{{0, 3}}));
}

TEST(PageRuns, RunsAtTheEndOfAllPagesDoNotWrap) {
  constexpr uint32_t kLast = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ((PageRun{kLast, kLast}).end(), uint64_t{kLast} * 2);
  EXPECT_EQ(Coalesce({{0, 1}, {kLast, 1}}, 16), (Runs{{0, 1}, {kLast, 1}}));
}

TEST(PageRuns, WhatIsPutIsGot) {
  EXPECT_TRUE(RunsAreAccepted({}));
  EXPECT_TRUE(RunsAreAccepted({{0, 1}, {2, 3}, {9, 1}}));
  EXPECT_TRUE(RunsAreAccepted({{0, 10}}));
}

TEST(PageRuns, AreLaidOutAsTheDocumentSays) {
  EXPECT_EQ(Encoded({{0x0201, 3}}), (std::vector<uint8_t>{1, 0, 0, 0, 1, 2, 0, 0, 3, 0, 0, 0}));
}

TEST(PageRuns, EmptyRunIsRefused) { EXPECT_FALSE(RunsAreAccepted({{1, 0}})); }

TEST(PageRuns, RunOutsideTheMemoryIsRefused) {
  EXPECT_FALSE(RunsAreAccepted({{0, 11}}));
  EXPECT_FALSE(RunsAreAccepted({{9, 2}}));
  EXPECT_FALSE(RunsAreAccepted({{10, 1}}));
  EXPECT_FALSE(RunsAreAccepted({{0xffffffff, 1}}));
  EXPECT_FALSE(RunsAreAccepted({{1, 0xffffffff}}));
}

TEST(PageRuns, OverlappingTouchingAndDescendingRunsAreRefused) {
  EXPECT_FALSE(RunsAreAccepted({{1, 3}, {3, 1}}));
  EXPECT_FALSE(RunsAreAccepted({{1, 3}, {4, 1}}));
  EXPECT_FALSE(RunsAreAccepted({{5, 1}, {1, 1}}));
  EXPECT_FALSE(RunsAreAccepted({{5, 1}, {5, 1}}));
}

TEST(PageRuns, MostRunsOfAMemoryAreAcceptedAndACountAboveItIsNot) {
  EXPECT_TRUE(RunsAreAccepted({{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}}));
  const std::vector<uint8_t> huge = {0xff, 0xff, 0xff, 0xff};
  ByteReader reader(huge);
  EXPECT_TRUE(GetRuns(reader, 64_GiB).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(PageRuns, SubtractLeavesWhatOnlyTheFirstHas) {
  EXPECT_EQ(Subtract({{0, 10}}, {{2, 3}, {8, 4}}), (Runs{{0, 2}, {5, 3}}));
  EXPECT_EQ(Subtract({{0, 4}, {6, 4}}, {{3, 4}}), (Runs{{0, 3}, {7, 3}}));
  EXPECT_EQ(Subtract({{5, 2}}, {{0, 5}, {7, 1}}), (Runs{{5, 2}}));
  EXPECT_EQ(Subtract({{5, 2}}, {{4, 9}}), Runs());
  EXPECT_EQ(Subtract({}, {{4, 9}}), Runs());
}

TEST(PageRuns, EveryTruncationIsRefused) {
  const auto bytes = Encoded({{0, 1}, {2, 3}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader reader(std::span<const uint8_t>(bytes).first(size));
    GetRuns(reader, 10 * kPageSize);
    EXPECT_FALSE(reader.ok()) << size;
  }
}

}  // namespace
}  // namespace snapfaas::snapshot
