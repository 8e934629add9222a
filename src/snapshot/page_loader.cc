#include "snapshot/page_loader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/coding.h"
#include "snapshot/format.h"
#include "snapshot/io.h"
#include "snapshot/page_runs.h"
#include "snapshot/working_set.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::string_view kPlanWhat = "the restore plan";
constexpr uint64_t kMaxPlanBytes = 64_MiB;

constexpr std::array kImageFiles = {ImageFile::kOverlay, ImageFile::kKernel, ImageFile::kPacked,
                                    ImageFile::kKernelText};

int FdOf(const ImageFiles& files, ImageFile file) {
  switch (file) {
    case ImageFile::kOverlay:
      return files.overlay;
    case ImageFile::kKernel:
      return files.kernel;
    case ImageFile::kPacked:
      return files.packed;
    case ImageFile::kKernelText:
      return files.kernel_text;
  }
  return -1;
}

std::string_view FileNameOf(ImageFile file) {
  switch (file) {
    case ImageFile::kOverlay:
      return "the function snapshot's memory image";
    case ImageFile::kKernel:
      return "the runtime's kernel image";
    case ImageFile::kPacked:
      return "the snapshot's working pages";
    case ImageFile::kKernelText:
      return "the kernel's text";
  }
  return "an unknown file";
}

std::vector<MapExtent> GetExtents(ByteReader& reader, uint64_t memory_bytes) {
  const uint64_t memory_pages = memory_bytes / kPageSize;
  const uint32_t count = reader.GetCount(static_cast<uint32_t>(memory_pages));
  std::vector<MapExtent> extents;
  extents.reserve(std::min<size_t>(count, reader.remaining() / sizeof(MapExtent)));
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    MapExtent extent;
    extent.run.first_page = reader.Get<uint32_t>();
    extent.run.pages = reader.Get<uint32_t>();
    const auto file = reader.Get<uint32_t>();
    extent.file = static_cast<ImageFile>(file);
    extent.file_page = reader.Get<uint32_t>();
    const bool known = std::ranges::find(kImageFiles, extent.file) != kImageFiles.end();
    if (!known || extent.run.pages == 0 || extent.run.end() > memory_pages) reader.MarkBad();
    extents.push_back(extent);
  }
  return extents;
}

// Calls `use(from, to)` for each stretch of the file that holds data.
template <typename Use>
Status ForEachDataStretch(int fd, uint64_t size, Use use) {
  uint64_t at = 0;
  while (at < size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    const off_t hole = data < 0 ? data : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return FailErrno(errno, "looking for holes in {}", kImageWhat);
    at = std::min<uint64_t>(static_cast<uint64_t>(hole), size);
    auto used = use(static_cast<uint64_t>(data), at);
    if (!used) return used;
  }
  return {};
}

Status CheckLength(int fd, uint64_t bytes, std::string_view what) {
  auto size = SizeOf(fd, what);
  if (!size) return Forward(size.error());
  if (*size >= bytes) return {};
  return Fail(ErrorCode::kCorrupt, "{} has {} bytes instead of {}; rebuild the snapshot", what, *size, bytes);
}

// What the plan's extents take of the file, from its start on.
uint64_t BytesUsedOf(ImageFile file, const RestorePlan& plan) {
  uint64_t end = 0;
  for (const MapExtent& extent : plan.extents) {
    if (extent.file == file) end = std::max(end, uint64_t{extent.file_page} + extent.run.pages);
  }
  return end * kPageSize;
}

Status CheckExtents(const ImageFiles& files, const RestorePlan& plan) {
  for (const ImageFile file : kImageFiles) {
    const uint64_t used = BytesUsedOf(file, plan);
    if (used == 0) continue;
    if (FdOf(files, file) < 0) return Fail(ErrorCode::kInvalidArgument, "{} is missing", FileNameOf(file));
    auto checked = CheckLength(FdOf(files, file), used, FileNameOf(file));
    if (!checked) return checked;
  }
  return {};
}

// A request to fetch more than a disk's read-ahead, 128 KiB unless set, is cut to it in silence.
void Fetch(int fd, uint64_t offset, uint64_t bytes) {
  constexpr uint64_t kAtOnce = 128_KiB;
  for (uint64_t done = 0; done < bytes; done += kAtOnce) {
    ::posix_fadvise(fd, static_cast<off_t>(offset + done), static_cast<off_t>(std::min(kAtOnce, bytes - done)),
                    POSIX_FADV_WILLNEED);
  }
}

}  // namespace

std::vector<uint8_t> EncodePlan(const RestorePlan& plan) {
  ByteWriter writer;
  writer.Put(static_cast<uint32_t>(plan.extents.size()));
  for (const MapExtent& extent : plan.extents) {
    writer.Put(extent.run.first_page);
    writer.Put(extent.run.pages);
    writer.Put(static_cast<uint32_t>(extent.file));
    writer.Put(extent.file_page);
  }
  PutRuns(writer, plan.changed);
  PutRuns(writer, plan.read);
  PutRuns(writer, plan.written);
  PutRuns(writer, plan.late);
  writer.Put(static_cast<uint32_t>(plan.read_ahead));
  return writer.Take();
}

Result<RestorePlan> DecodePlan(std::span<const uint8_t> bytes, uint64_t memory_bytes) {
  ByteReader reader(bytes);
  RestorePlan plan;
  plan.extents = GetExtents(reader, memory_bytes);
  plan.changed = GetRuns(reader, memory_bytes);
  plan.read = GetRuns(reader, memory_bytes);
  plan.written = GetRuns(reader, memory_bytes);
  plan.late = GetRuns(reader, memory_bytes);
  const auto read_ahead = reader.Get<uint32_t>();
  plan.read_ahead = read_ahead == 0 ? ReadAhead::kNo : ReadAhead::kYes;
  if (read_ahead > 1) reader.MarkBad();
  auto done = reader.Finish(kPlanWhat);
  if (!done) return Forward(done.error());
  return plan;
}

Result<RestorePlan> ReadPlan(int fd, uint64_t memory_bytes) {
  auto size = SizeOf(fd, kPlanWhat);
  if (!size) return Forward(size.error());
  if (*size > kMaxPlanBytes) return Fail(ErrorCode::kCorrupt, "{} is too long", kPlanWhat);
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(fd, 0, bytes, kPlanWhat);
  if (!read) return Forward(read.error());
  return DecodePlan(bytes, memory_bytes);
}

Status CopyMemory(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory) {
  auto checked = CheckLength(files.image, memory.size(), kImageWhat);
  if (checked) checked = CheckExtents(files, plan);
  if (!checked) return checked;
  auto copied = ForEachDataStretch(files.image, memory.size(), [&](uint64_t from, uint64_t to) -> Status {
    auto slice = memory.Slice(GuestAddress(from), to - from);
    if (!slice) return Forward(slice.error());
    return ReadAt(files.image, from, *slice, kImageWhat);
  });
  if (!copied) return copied;
  for (const MapExtent& extent : plan.extents) {
    auto slice = memory.Slice(GuestAddress(extent.run.offset()), extent.run.bytes());
    if (!slice) return Forward(slice.error());
    auto read = ReadAt(FdOf(files, extent.file), extent.file_page * kPageSize, *slice, FileNameOf(extent.file));
    if (!read) return read;
  }
  return {};
}

Status MapMemory(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory, PackedPages packed) {
  auto checked = CheckLength(files.image, memory.size(), kImageWhat);
  if (checked) checked = CheckExtents(files, plan);
  if (!checked) return checked;
  auto mapped = memory.MapPrivateImage(files.image);
  if (!mapped) return mapped;
  for (const MapExtent& extent : plan.extents) {
    if (extent.file == ImageFile::kPacked && packed == PackedPages::kLeftOut) continue;
    mapped = memory.MapPrivatePages(FdOf(files, extent.file), extent.file_page, extent.run);
    if (!mapped) return mapped;
  }
  return {};
}

Status PlaceOverBase(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory) {
  for (const PageRun& run : plan.changed) {
    auto slice = memory.Slice(GuestAddress(run.offset()), run.bytes());
    if (!slice) return Forward(slice.error());
    auto read = ReadAt(files.overlay, run.offset(), *slice, FileNameOf(ImageFile::kOverlay));
    if (!read) return read;
  }
  for (const PageRun& run : plan.late) memory.Populate(run, PageAccess::kWrite);
  return {};
}

Status RevertMemory(const ImageFiles& files, const RestorePlan& plan, uint64_t most, GuestMemory& memory) {
  const std::vector<PageRun> own = RecordWorkingSet(memory).written;
  uint64_t kept = 0;
  auto changed = plan.changed.begin();
  for (const PageRun& run : own) {
    auto slice = memory.Slice(GuestAddress(run.offset()), run.bytes());
    if (!slice) return Forward(slice.error());
    kept += run.pages;
    const auto overlaps = [&run](const PageRun& other) {
      return other.first_page < run.end() && run.first_page < other.end();
    };
    while (changed != plan.changed.end() && changed->end() <= run.first_page) ++changed;
    const bool touches_change = changed != plan.changed.end() && overlaps(*changed);
    if (kept > most && !touches_change) {
      auto dropped = memory.DropPages(run);
      if (!dropped) return dropped;
      continue;
    }
    auto read = ReadAt(files.image, run.offset(), *slice, kImageWhat);
    if (!read) return read;
    for (auto part = changed; part != plan.changed.end() && overlaps(*part); ++part) {
      const uint64_t first = std::max(part->first_page, run.first_page);
      const uint64_t end = std::min(part->end(), run.end());
      const auto bytes = slice->subspan((first - run.first_page) * kPageSize, (end - first) * kPageSize);
      read = ReadAt(files.overlay, first * kPageSize, bytes, FileNameOf(ImageFile::kOverlay));
      if (!read) return read;
    }
  }
  return {};
}

Result<MappedRegion> ReadPacked(const ImageFiles& files, const RestorePlan& plan) {
  const uint64_t bytes = BytesUsedOf(ImageFile::kPacked, plan);
  auto region = MappedRegion::Anonymous(bytes, kHugePageSize);
  if (!region) return Forward(region.error());
  // One fault for 2 MiB, where the host has as much in one piece.
  ::madvise(region->data(), region->size(), MADV_HUGEPAGE);
  auto read = ReadAt(files.packed, 0, region->bytes(), FileNameOf(ImageFile::kPacked));
  if (!read) return Forward(read.error());
  return region;
}

Status TakePacked(const MappedRegion& packed, const RestorePlan& plan, GuestMemory& memory) {
  for (const MapExtent& extent : plan.extents) {
    if (extent.file != ImageFile::kPacked) continue;
    auto taken = memory.TakePages(packed, extent.file_page, extent.run);
    if (!taken) return taken;
  }
  return {};
}

void FetchAhead(const ImageFiles& files, const RestorePlan& plan) {
  if (plan.read_ahead == ReadAhead::kNo) return;
  // Neighbours that are this close are fetched by one request: a seek costs more than reading what lies between.
  constexpr uint32_t kReadAheadGap = 16;
  for (const PageRun& run : Coalesce(Merge(plan.read, plan.written), kReadAheadGap)) {
    Fetch(files.image, run.offset(), run.bytes());
  }
  for (const MapExtent& extent : plan.extents) {
    Fetch(FdOf(files, extent.file), extent.file_page * kPageSize, extent.run.bytes());
  }
}

void PrefetchMemory(const RestorePlan& plan, GuestMemory& memory) {
  // From the lowest page up, behind FetchAhead. What a run for reading has of pages to be written, as runs that lie
  // close are one, comes before it.
  auto written = plan.written.begin();
  const auto populate_written = [&](uint64_t end) {
    for (; written != plan.written.end() && written->first_page < end; ++written) {
      memory.Populate(*written, PageAccess::kWrite);
    }
  };
  for (const PageRun& run : plan.read) {
    populate_written(run.end());
    memory.Populate(run, PageAccess::kRead);
  }
  populate_written(UINT64_MAX);
}

}  // namespace snapfaas::snapshot
