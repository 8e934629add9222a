#include "snapshot/working_set.h"

#include <algorithm>
#include <string_view>

#include "base/coding.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/page_runs.h"
#include "snapshot/pagemap.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kSetMagic = 0x5445535750414e53;  // "SNAPWSET", little-endian
constexpr uint32_t kSetVersion = 1;
constexpr std::string_view kSetWhat = "the snapshot's working set";

tl::unexpected<Error> DamagedSet(std::string_view why) {
  return Fail(ErrorCode::kCorrupt, "{} is damaged ({})", kSetWhat, why);
}

bool Disjoint(const WorkingSet& set) {
  auto read = set.read.begin();
  for (const PageRun& written : set.written) {
    while (read != set.read.end() && read->end() <= written.first_page) ++read;
    if (read != set.read.end() && read->first_page < written.end()) return false;
  }
  return true;
}

}  // namespace

uint64_t PagesOf(std::span<const PageRun> runs) {
  uint64_t pages = 0;
  for (const PageRun& run : runs) pages += run.pages;
  return pages;
}

std::vector<PageRun> AllPages(const WorkingSet& set) { return Merge(set.read, set.written); }

double RecurrenceIn(const WorkingSet& other, const WorkingSet& set) {
  const auto pages = AllPages(set);
  if (pages.empty()) return 1;
  const auto missing = Subtract(pages, AllPages(other));
  return 1 - static_cast<double>(PagesOf(missing)) / static_cast<double>(PagesOf(pages));
}

WorkingSet RecordWorkingSet(const GuestMemory& memory) {
  constexpr uint64_t kPagesAtOnce = 64 * 1024;
  const uint64_t pages = memory.size() / kPageSize;
  Pagemap pagemap(memory.host_base());
  WorkingSet set;
  for (uint64_t first = 0; first < pages; first += kPagesAtOnce) {
    const size_t count = std::min(kPagesAtOnce, pages - first);
    pagemap.Load(first, count);
    for (size_t i = 0; i < count; ++i) {
      if (pagemap.Touched(i)) AppendPage(pagemap.Private(i) ? set.written : set.read, first + i);
    }
  }
  return set;
}

WorkingSet Narrow(const WorkingSet& set, const WorkingSet& base) {
  constexpr uint64_t kPages = kHugePageSize / kPageSize;
  std::vector<PageRun> huge;
  for (const PageRun& run : Coalesce(set.read, 0)) {
    const uint64_t first = (run.first_page + kPages - 1) / kPages * kPages;
    const uint64_t end = run.end() / kPages * kPages;
    if (first < end) huge.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(end - first)});
  }
  const std::vector<PageRun> known = Merge(base.read, base.written);
  const std::vector<PageRun> known_there = Subtract(known, Subtract(known, huge));
  return {Merge(Subtract(set.read, huge), known_there), set.written};
}

std::vector<uint8_t> EncodeWorkingSet(const WorkingSet& set, uint64_t snapshot_checksum) {
  ByteWriter writer;
  writer.Put(kSetMagic);
  writer.Put(kSetVersion);
  writer.Put(snapshot_checksum);
  PutRuns(writer, set.read);
  PutRuns(writer, set.written);
  writer.Put(Hash64(writer.bytes()));
  return writer.Take();
}

Result<WorkingSet> DecodeWorkingSet(std::span<const uint8_t> bytes, uint64_t snapshot_checksum, uint64_t memory_bytes) {
  if (bytes.size() > kMaxWorkingSetBytes) return DamagedSet("it is too long");
  if (bytes.size() < sizeof(kSetMagic) + kChecksumBytes) return DamagedSet("it is truncated");
  const auto content = bytes.first(bytes.size() - kChecksumBytes);
  if (ByteReader(bytes.last(kChecksumBytes)).Get<uint64_t>() != Hash64(content)) {
    return DamagedSet("its checksum differs");
  }
  ByteReader reader(content);
  if (reader.Get<uint64_t>() != kSetMagic) return DamagedSet("it does not begin as one");
  if (const auto version = reader.Get<uint32_t>(); version != kSetVersion) {
    return Fail(ErrorCode::kIncompatible, "{} has version {}, this program reads version {}", kSetWhat, version,
                kSetVersion);
  }
  if (reader.Get<uint64_t>() != snapshot_checksum) {
    return Fail(ErrorCode::kIncompatible, "{} was recorded with another snapshot", kSetWhat);
  }
  WorkingSet set;
  set.read = GetRuns(reader, memory_bytes);
  set.written = GetRuns(reader, memory_bytes);
  auto done = reader.Finish(kSetWhat);
  if (!done) return Forward(done.error());
  if (!Disjoint(set)) return DamagedSet("a page is in both of its parts");
  return set;
}

Result<WorkingSet> ReadRecordedWorkingSet(int fd, uint64_t memory_bytes) {
  auto size = SizeOf(fd, kSetWhat);
  if (!size) return Forward(size.error());
  if (*size > kMaxWorkingSetBytes) return DamagedSet("it is too long");
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(fd, 0, bytes, kSetWhat);
  if (!read) return Forward(read.error());
  return DecodeWorkingSet(bytes, 0, memory_bytes);
}

}  // namespace snapfaas::snapshot
