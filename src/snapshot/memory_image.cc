#include "snapshot/memory_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/page_index.h"
#include "snapshot/pagemap.h"

namespace snapfaas::snapshot {
namespace {

constexpr size_t kMaxRunBytes = kMaxRunPages * kPageSize;

alignas(kPageSize) constexpr std::array<uint8_t, kPageSize> kZeroPage{};

bool IsZero(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), kZeroPage.size());
    if (std::memcmp(bytes.data(), kZeroPage.data(), size) != 0) return false;
    bytes = bytes.subspan(size);
  }
  return true;
}

// Gathers neighbouring pages into runs and writes each stored run at its place.
class RunWriter {
 public:
  RunWriter(int fd, std::span<const uint8_t> memory) : fd_(fd), memory_(memory) {}

  Status Add(uint64_t page, const PagePlace& place) {
    if (run_.pages == kMaxRunPages || run_.first_page + run_.pages != page || place != Next()) {
      auto flushed = Flush();
      if (!flushed) return flushed;
    }
    if (run_.pages == 0) {
      run_.first_page = static_cast<uint32_t>(page);
      run_.source = place.source;
      run_.source_page = place.page;
    }
    ++run_.pages;
    return {};
  }

  Status Flush() {
    if (run_.pages == 0) return {};
    const uint64_t offset = run_.first_page * kPageSize;
    const auto bytes = memory_.subspan(offset, run_.pages * kPageSize);
    run_.checksum = run_.source == PageSource::kZero ? 0 : Hash64(bytes);
    if (run_.IsStored()) {
      auto written = WriteAt(fd_, offset, bytes, kImageWhat);
      if (!written) return written;
    }
    map_.runs.push_back(run_);
    run_ = {};
    return {};
  }

  MemoryMap TakeMap() { return std::move(map_); }

  // Where a page must be to go on with the run.
  PagePlace Next() const {
    if (run_.source != PageSource::kKernel) return {run_.source, 0};
    return {run_.source, run_.source_page + run_.pages};
  }

 private:
  int fd_;
  std::span<const uint8_t> memory_;
  MemoryRun run_;
  MemoryMap map_;
};

Status CheckSize(int fd, const MemoryMap& map, uint64_t size) {
  auto actual = SizeOf(fd, kImageWhat);
  if (!actual) return Forward(actual.error());
  if (*actual != size) return Damaged(kImageWhat, fmt::format("it has {} bytes instead of {}", *actual, size));
  const bool inside = std::all_of(map.runs.begin(), map.runs.end(), [&](const MemoryRun& run) {
    return run.pages <= kMaxRunPages && (uint64_t{run.first_page} + run.pages) * kPageSize <= size;
  });
  if (!inside) return Damaged(kImageWhat, "its map names pages that it does not have");
  return {};
}

tl::unexpected<Error> SourceChanged(PageSource source, std::string_view why) {
  return Fail(ErrorCode::kIncompatible, "{} was changed since the snapshot was taken ({}); {}", NameOf(source), why,
              kMend);
}

Status ReadStored(int fd, const MemoryRun& run, std::span<uint8_t> bytes) {
  auto read = ReadAt(fd, run.first_page * kPageSize, bytes, kImageWhat);
  if (!read) return read;
  if (Hash64(bytes) != run.checksum) {
    return Damaged(kImageWhat, fmt::format("the pages from {} on are altered", run.first_page));
  }
  return {};
}

Status ReadReferred(int fd, const MemoryRun& run, std::span<uint8_t> bytes) {
  if (fd < 0) {
    return Fail(ErrorCode::kInvalidArgument, "the snapshot cannot be loaded without {}", NameOf(run.source));
  }
  auto read = ReadAt(fd, run.source_page * kPageSize, bytes, NameOf(run.source));
  if (!read && read.error().code == ErrorCode::kCorrupt) return SourceChanged(run.source, "it is shorter");
  if (!read) return read;
  if (Hash64(bytes) != run.checksum) {
    return SourceChanged(run.source, fmt::format("its pages from {} on differ", run.source_page));
  }
  return {};
}

// Compares every run's checksum; `use` gets each good run that has bytes.
template <typename Use>
Status ForEachRun(int fd, const MemoryMap& map, const MemorySources& sources, Use use) {
  std::vector<uint8_t> buffer(kMaxRunBytes);
  for (const auto& run : map.runs) {
    if (run.source == PageSource::kZero) continue;
    const auto bytes = std::span(buffer).first(run.pages * kPageSize);
    auto read = run.IsStored() ? ReadStored(fd, run, bytes) : ReadReferred(sources.FdOf(run.source), run, bytes);
    if (!read) return read;
    auto used = use(run, std::span<const uint8_t>(bytes));
    if (!used) return used;
  }
  return {};
}

Status CheckZero(int fd, uint64_t from, uint64_t to) {
  std::vector<uint8_t> buffer(kMaxRunBytes);
  while (from < to) {
    const auto bytes = std::span(buffer).first(std::min<uint64_t>(buffer.size(), to - from));
    auto read = ReadAt(fd, from, bytes, kImageWhat);
    if (!read) return read;
    if (!IsZero(bytes)) return Damaged(kImageWhat, fmt::format("it holds bytes after {} that belong to no page", from));
    from += bytes.size();
  }
  return {};
}

// Walks the stretches of the file that take space, and the stored runs beside them.
class StrayBytes {
 public:
  StrayBytes(int fd, const MemoryMap& map) : fd_(fd), run_(map.runs.begin()), end_(map.runs.end()) {}

  // Stretches must ascend.
  Status CheckStretch(uint64_t from, uint64_t to) {
    while (from < to) {
      while (run_ != end_ && (!run_->IsStored() || EndOf(*run_) <= from)) ++run_;
      const uint64_t run_begin = run_ == end_ ? to : run_->first_page * kPageSize;
      if (run_begin > from) {
        const uint64_t gap_end = std::min(run_begin, to);
        auto zero = CheckZero(fd_, from, gap_end);
        if (!zero) return zero;
        from = gap_end;
      } else {
        from = EndOf(*run_);
      }
    }
    return {};
  }

 private:
  static uint64_t EndOf(const MemoryRun& run) { return (uint64_t{run.first_page} + run.pages) * kPageSize; }

  int fd_;
  std::vector<MemoryRun>::const_iterator run_;
  std::vector<MemoryRun>::const_iterator end_;
};

// A file system that takes less space than it reports as data does not know its holes.
bool HolesAreUnknown(int fd, uint64_t size) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return false;
  const off_t first_hole = ::lseek(fd, 0, SEEK_HOLE);
  return static_cast<uint64_t>(info.st_blocks) * 512 < size && first_hole >= 0 &&
         static_cast<uint64_t>(first_hole) >= size;
}

Status CheckHoles(int fd, const MemoryMap& map, uint64_t size, UnknownHoles unknown) {
  if (unknown == UnknownHoles::kSkip && HolesAreUnknown(fd, size)) return {};
  StrayBytes stray(fd, map);
  off_t at = 0;
  for (;;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    const off_t hole = data < 0 ? data : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return FailErrno(errno, "looking for holes in {}", kImageWhat);
    auto checked = stray.CheckStretch(static_cast<uint64_t>(data), static_cast<uint64_t>(hole));
    if (!checked) return checked;
    at = hole;
  }
}

// Calls `use(page number)` for each page that `counts`, which is one of the Pagemap's questions.
template <typename Counts, typename Use>
Status ForEachPage(const GuestMemory& memory, Counts counts, Use use) {
  constexpr uint64_t kPagesAtOnce = 64 * 1024;
  const uint64_t pages = memory.size() / kPageSize;
  Pagemap pagemap(memory.host_base());
  for (uint64_t first = 0; first < pages; first += kPagesAtOnce) {
    const size_t count = std::min(kPagesAtOnce, pages - first);
    pagemap.Load(first, count);
    for (size_t i = 0; i < count; ++i) {
      if (!std::invoke(counts, pagemap, i)) continue;
      auto used = use(first + i);
      if (!used) return used;
    }
  }
  return {};
}

}  // namespace

int MemorySources::FdOf(PageSource source) const {
  switch (source) {
    case PageSource::kStored:
    case PageSource::kZero:
      return -1;
    case PageSource::kKernel:
      return kernel_fd;
  }
  return -1;
}

Result<MemoryMap> WriteMemoryImage(int fd, const GuestMemory& memory, const MemorySources& sources) {
  auto clean = PageIndex::Build(sources);
  if (!clean) return Forward(clean.error());
  auto sized = SetSize(fd, memory.size(), kImageWhat);
  if (!sized) return Forward(sized.error());
  const std::span<const uint8_t> bytes(memory.host_base(), memory.size());
  RunWriter writer(fd, bytes);
  auto added = ForEachPage(memory, &Pagemap::Touched, [&](uint64_t number) -> Status {
    const auto page = bytes.subspan(number * kPageSize, kPageSize);
    if (IsZero(page)) return {};
    auto place = clean->Find(page, writer.Next());
    if (!place) return Forward(place.error());
    return writer.Add(number, *place);
  });
  if (!added) return Forward(added.error());
  auto flushed = writer.Flush();
  if (!flushed) return Forward(flushed.error());
  return writer.TakeMap();
}

Result<MemoryMap> WriteLayerImage(int fd, const GuestMemory& memory, const GuestMemory& base) {
  auto sized = SetSize(fd, memory.size(), kImageWhat);
  if (!sized) return Forward(sized.error());
  const std::span<const uint8_t> bytes(memory.host_base(), memory.size());
  RunWriter writer(fd, bytes);
  auto added = ForEachPage(memory, &Pagemap::Private, [&](uint64_t number) -> Status {
    const auto page = bytes.subspan(number * kPageSize, kPageSize);
    if (std::memcmp(page.data(), base.host_base() + number * kPageSize, kPageSize) == 0) return {};
    return writer.Add(number, {IsZero(page) ? PageSource::kZero : PageSource::kStored, 0});
  });
  if (!added) return Forward(added.error());
  auto flushed = writer.Flush();
  if (!flushed) return Forward(flushed.error());
  return writer.TakeMap();
}

Status VerifyMemoryImage(int fd, const MemoryMap& map, uint64_t size, const MemorySources& sources,
                         UnknownHoles unknown) {
  auto sized = CheckSize(fd, map, size);
  if (!sized) return sized;
  auto runs = ForEachRun(fd, map, sources, [](const MemoryRun&, std::span<const uint8_t>) { return Status(); });
  if (!runs) return runs;
  return CheckHoles(fd, map, size, unknown);
}

Status CopyVerified(int from, int to, const MemoryMap& map, uint64_t size, const MemorySources& sources) {
  auto sized = CheckSize(from, map, size);
  if (!sized) return sized;
  auto empty = SetSize(to, size, kImageWhat);
  if (!empty) return empty;
  auto copied = ForEachRun(from, map, sources, [to](const MemoryRun& run, std::span<const uint8_t> bytes) {
    return WriteAt(to, run.first_page * kPageSize, bytes, kImageWhat);
  });
  if (!copied) return copied;
  // Strays stay behind in any case; they only show that the file is not what was written.
  return CheckHoles(from, map, size, UnknownHoles::kSkip);
}

}  // namespace snapfaas::snapshot
