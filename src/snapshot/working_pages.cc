#include "snapshot/working_pages.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/coding.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/page_runs.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kPagesMagic = 0x53475057'50414e53;  // "SNAPWPGS", little-endian
constexpr uint32_t kPagesVersion = 1;
constexpr std::string_view kPagesWhat = "the snapshot's working pages";

std::vector<PageRun> PackedRuns(const WorkingSet& set) { return Coalesce(Merge(set.read, set.written), kPackedGap); }

// The first page of the file. A reader makes it too and compares: there is nothing to parse.
std::vector<uint8_t> MakeHeader(const std::vector<PageRun>& runs, uint64_t snapshot_checksum) {
  ByteWriter hashed;
  PutRuns(hashed, runs);
  ByteWriter writer;
  writer.Put(kPagesMagic);
  writer.Put(kPagesVersion);
  writer.Put(snapshot_checksum);
  writer.Put(PagesOf(runs));
  writer.Put(Hash64(hashed.bytes()));
  std::vector<uint8_t> header = writer.Take();
  header.resize(kPageSize);
  return header;
}

}  // namespace

Status WriteWorkingPages(int fd, const WorkingSet& set, uint64_t snapshot_checksum, const GuestMemory& memory) {
  const std::vector<PageRun> runs = PackedRuns(set);
  uint64_t at = kPageSize;
  for (const PageRun& run : runs) {
    auto pages = memory.Slice(GuestAddress(run.offset()), run.bytes());
    if (!pages) return Forward(pages.error());
    auto written = WriteAt(fd, at, *pages, kPagesWhat);
    if (!written) return written;
    at += run.bytes();
  }
  return WriteAt(fd, 0, MakeHeader(runs, snapshot_checksum), kPagesWhat);
}

bool HoldsWorkingPages(int fd, const WorkingSet& set, uint64_t snapshot_checksum) {
  const std::vector<PageRun> runs = PackedRuns(set);
  const auto size = SizeOf(fd, kPagesWhat);
  if (!size || *size != (PagesOf(runs) + 1) * kPageSize) return false;
  std::array<uint8_t, kPageSize> header{};
  if (!ReadAt(fd, 0, header, kPagesWhat)) return false;
  return std::ranges::equal(header, MakeHeader(runs, snapshot_checksum));
}

std::vector<MapExtent> ExtentsOfWorkingPages(const WorkingSet& set) {
  std::vector<MapExtent> extents;
  uint32_t file_page = 1;
  for (const PageRun& run : PackedRuns(set)) {
    extents.push_back({run, ImageFile::kPacked, file_page});
    file_page += run.pages;
  }
  return extents;
}

}  // namespace snapfaas::snapshot
