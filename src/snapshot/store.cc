#include "snapshot/store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/mapped_region.h"
#include "base/units.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/memory_file.h"
#include "snapshot/page_runs.h"
#include "snapshot/working_pages.h"

namespace snapfaas::snapshot {
namespace {

Result<std::vector<uint8_t>> ReadVerifiedState(const SnapshotFiles& files) {
  auto size = SizeOf(files.state.get(), kStateWhat);
  if (!size) return Forward(size.error());
  if (*size != files.manifest.state_bytes || *size > kMaxStateBytes) {
    return Fail(ErrorCode::kCorrupt, "{} has {} bytes instead of {}; {}", kStateWhat, *size, files.manifest.state_bytes,
                kMend);
  }
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(files.state.get(), 0, bytes, kStateWhat);
  if (!read) return Forward(read.error());
  return bytes;
}

Status CheckBelongsTo(const Manifest& manifest, std::span<const uint8_t> bytes, const StateFile& state) {
  if (Hash64(bytes) != manifest.state_checksum || state.machine.memory_bytes != manifest.memory_bytes ||
      state.machine.vcpus != manifest.key.vcpus || Checksum(state.memory) != manifest.memory_checksum ||
      state.memory.StoredBytes() != manifest.stored_bytes || state.base_checksum != manifest.base_checksum) {
    return Fail(ErrorCode::kCorrupt, "{} does not belong to its manifest; {}", kStateWhat, kMend);
  }
  return {};
}

Result<UniqueFd> Duplicate(int fd) {
  if (fd < 0) return UniqueFd();
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return FailErrno(errno, "duplicating a descriptor of a snapshot");
  return copy;
}

uint64_t BytesInMemory(int fd) {
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0) return 0;
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

// Where the run's pages are for a restore from disk; what of it is in the kernel's text is in memory.
MapExtent ExtentOf(const MemoryRun& run, const KernelText* text) {
  if (run.source != PageSource::kKernel) return {{run.first_page, run.pages}, ImageFile::kOverlay, run.first_page};
  const bool in_text = text != nullptr && text->range().Has(run.source_page);
  return {{run.first_page, run.pages},
          in_text ? ImageFile::kKernelText : ImageFile::kKernel,
          in_text ? run.source_page - text->range().first_page : run.source_page};
}

// The map's runs, neighbours from one file that go on where the last one ends joined. The text begins with a region of
// its own in the kernel's file: no run is in it by half.
void AppendExtents(const MemoryMap& map, const KernelText* text, std::vector<MapExtent>& extents) {
  const size_t first = extents.size();
  for (const MemoryRun& run : map.runs) {
    const MapExtent extent = ExtentOf(run, text);
    if (extents.size() > first) {
      MapExtent& last = extents.back();
      if (last.file == extent.file && last.run.end() == extent.run.first_page &&
          last.file_page + last.run.pages == extent.file_page) {
        last.run.pages += extent.run.pages;
        continue;
      }
    }
    extents.push_back(extent);
  }
}

std::vector<PageRun> RunsOf(const MemoryMap& map) {
  std::vector<PageRun> runs;
  runs.reserve(map.runs.size());
  for (const MemoryRun& run : map.runs) runs.push_back({run.first_page, run.pages});
  return Coalesce(runs, 0);
}

std::vector<PageRun> RunsFrom(ImageFile file, std::span<const MapExtent> extents) {
  std::vector<PageRun> runs;
  for (const MapExtent& extent : extents) {
    if (extent.file == file) runs.push_back(extent.run);
  }
  std::ranges::sort(runs, {}, &PageRun::first_page);
  return runs;
}

// Pages that a restore from disk finds in memory.
std::vector<PageRun> InMemoryRuns(std::span<const MapExtent> extents) {
  return Subtract(RunsFrom(ImageFile::kKernelText, extents), RunsFrom(ImageFile::kOverlay, extents));
}

// What of the extents is not in `runs`.
std::vector<MapExtent> Outside(std::span<const MapExtent> extents, std::span<const PageRun> runs) {
  std::vector<MapExtent> left;
  for (const MapExtent& extent : extents) {
    for (const PageRun& run : Subtract({extent.run}, {runs.begin(), runs.end()})) {
      left.push_back({run, extent.file, extent.file_page + run.first_page - extent.run.first_page});
    }
  }
  return left;
}

// Every extent is a mapping to be made at each restore. Differences that lie this close are mapped together, and the
// pages of the base between them kept twice.
constexpr uint32_t kOverlayGap = 8;

// Fills the gaps in the overlay with the base's pages; returns what is to be laid over the base.
Result<std::vector<MapExtent>> CloseGaps(const MemoryMap& map, int overlay, int base_image) {
  const std::vector<PageRun> runs = RunsOf(map);
  std::vector<uint8_t> gap(kOverlayGap * kPageSize);
  std::vector<MapExtent> extents;
  for (const PageRun& run : runs) {
    const bool joins = !extents.empty() && run.first_page <= extents.back().run.end() + kOverlayGap;
    if (!joins) {
      extents.push_back({run, ImageFile::kOverlay, run.first_page});
      continue;
    }
    PageRun& last = extents.back().run;
    const auto bytes = std::span(gap).first((run.first_page - last.end()) * kPageSize);
    auto done = ReadAt(base_image, last.end() * kPageSize, bytes, "the base snapshot's memory image");
    if (done) done = WriteAt(overlay, last.end() * kPageSize, bytes, "the function snapshot's memory image");
    if (!done) return Forward(done.error());
    last.pages = static_cast<uint32_t>(run.end() - last.first_page);
  }
  return extents;
}

}  // namespace

Status LoadedSnapshot::TakeState(const SnapshotFiles& files, MemoryMap& map) {
  auto bytes = ReadVerifiedState(files);
  if (!bytes) return Forward(bytes.error());
  auto decoded = DecodeState(*bytes);
  if (!decoded) return Forward(decoded.error());
  auto belongs = CheckBelongsTo(files.manifest, *bytes, *decoded);
  if (!belongs) return belongs;
  auto state = MakeSealed("snapfaas-state", *bytes);
  if (!state) return Forward(state.error());
  state_ = std::move(*state);
  map = std::move(decoded->memory);
  return {};
}

Status LoadedSnapshot::ShareBase(const LoadedSnapshot& base) {
  if (manifest_.base_checksum != base.manifest_.state_checksum) {
    return Fail(ErrorCode::kIncompatible,
                "the function snapshot was taken on another base snapshot than there is now; "
                "it has to be taken anew");
  }
  auto image = Duplicate(base.image_.get());
  if (!image) return Forward(image.error());
  auto kernel = Duplicate(base.kernel_.get());
  if (!kernel) return Forward(kernel.error());
  image_ = std::move(*image);
  kernel_ = std::move(*kernel);
  text_ = base.text_;
  // Without what the base has packed: that is laid over everything, and some of it holds what this snapshot changes.
  plan_.extents = base.unpacked_;
  base_written_ = base.plan_.written;
  return {};
}

Status LoadedSnapshot::TakeWorkingPages(const SnapshotFiles& files) {
  if (!files.working_set || !files.working_pages.valid()) return {};
  auto packed = Duplicate(files.working_pages.get());
  if (!packed) return Forward(packed.error());
  packed_ = std::move(*packed);
  const std::vector<MapExtent> extents =
      Outside(ExtentsOfWorkingPages(*files.working_set), InMemoryRuns(plan_.extents));
  const std::vector<PageRun> runs = RunsFrom(ImageFile::kPacked, extents);
  // Each extent costs a restore a mapping; what the packed pages cover as a whole needs none of its own.
  std::erase_if(plan_.extents, [&runs](const MapExtent& extent) { return Subtract({extent.run}, runs).empty(); });
  plan_.extents.insert(plan_.extents.end(), extents.begin(), extents.end());
  return {};
}

Status LoadedSnapshot::WriteWorkingPages(int fd, const WorkingSet& set) const {
  auto memory = GuestMemory::Create(manifest_.memory_bytes);
  if (!memory) return Forward(memory.error());
  auto mapped = MapMemory(images(), plan_, *memory);
  if (!mapped) return mapped;
  return snapshot::WriteWorkingPages(fd, set, manifest_.state_checksum, *memory);
}

Status LoadedSnapshot::FinishPlan(const SnapshotFiles& files) {
  unpacked_ = plan_.extents;
  if (tier_ == Tier::kDisk) {
    plan_.read_ahead = ReadAhead::kYes;
    auto taken = TakeWorkingPages(files);
    if (!taken) return taken;
  }
  return UseWorkingSet(files.working_set.value_or(WorkingSet()));
}

Status LoadedSnapshot::UseWorkingSet(const WorkingSet& set) {
  // The host maps what lies close to a page together with it: one call for a neighbourhood is enough. It must not reach
  // beyond the packed pages: what is there would come from the disk page by page.
  constexpr uint32_t kMappedAround = 16;
  plan_.read = Coalesce(set.read, packed_.valid() ? kPackedGap : kMappedAround);
  plan_.written = set.written;
  auto rewritten = RewritePlan();
  if (rewritten && tier_ == Tier::kMemory && manifest_.key.IsBase()) CollapseReadRegions();
  return rewritten;
}

Status LoadedSnapshot::RewritePlan() {
  plan_.late = Subtract(Subtract(plan_.written, plan_.changed), base_written_);
  auto plan = MakeSealed("snapfaas-plan", EncodePlan(plan_));
  if (!plan) return Forward(plan.error());
  plan_fd_ = std::move(*plan);
  return {};
}

Status LoadedSnapshot::LearnFrom(LoadedSnapshot& function) {
  plan_.written = Merge(plan_.written, Merge(function.plan_.changed, function.plan_.written));
  plan_.read = Merge(plan_.read, function.plan_.read);
  function.base_written_ = plan_.written;
  auto rewritten = RewritePlan();
  return rewritten ? function.RewritePlan() : rewritten;
}

// Where much is read and nothing written, such as the kernel's text, one fault is to bring in 2 MiB.
void LoadedSnapshot::CollapseReadRegions() {
  constexpr uint32_t kHugePages = kHugePageSize / kPageSize;
  constexpr uint32_t kWorthIt = 32;
  std::vector<uint32_t> read(manifest_.memory_bytes / kHugePageSize + 1);
  std::vector<bool> written(read.size());
  for (const PageRun& run : plan_.read) {
    for (uint64_t page = run.first_page; page < run.end(); ++page) ++read[page / kHugePages];
  }
  for (const PageRun& run : plan_.written) {
    for (uint64_t page = run.first_page; page < run.end(); ++page) written[page / kHugePages] = true;
  }
  for (size_t region = 0; region < manifest_.memory_bytes / kHugePageSize; ++region) {
    if (read[region] >= kWorthIt && !written[region]) Collapse(image_.get(), region * kHugePageSize, kHugePageSize);
  }
}

Result<LoadedSnapshot> LoadedSnapshot::Load(const SnapshotFiles& files, const MemorySources& sources) {
  LoadedSnapshot snapshot(Tier::kMemory, files.manifest);
  MemoryMap map;
  auto done = snapshot.TakeState(files, map);
  if (!done) return Forward(done.error());
  auto image = MakeMemfd("snapfaas-memory");
  if (!image) return Forward(image.error());
  done = CopyVerified(files.memory.get(), image->get(), map, files.manifest.memory_bytes, sources);
  if (done) done = SealMemfd(image->get());
  if (!done) return Forward(done.error());
  snapshot.image_ = std::move(*image);
  done = snapshot.FinishPlan(files);
  if (!done) return Forward(done.error());
  return snapshot;
}

Result<LoadedSnapshot> LoadedSnapshot::LoadFunction(const SnapshotFiles& files, const LoadedSnapshot& base,
                                                    const MemorySources& sources) {
  LoadedSnapshot snapshot(Tier::kMemory, files.manifest);
  MemoryMap map;
  auto done = snapshot.TakeState(files, map);
  if (done) done = snapshot.ShareBase(base);
  if (!done) return Forward(done.error());
  auto overlay = MakeMemfd("snapfaas-overlay");
  if (!overlay) return Forward(overlay.error());
  done = CopyVerified(files.memory.get(), overlay->get(), map, files.manifest.memory_bytes, sources);
  if (!done) return Forward(done.error());
  auto extents = CloseGaps(map, overlay->get(), base.image_.get());
  if (!extents) return Forward(extents.error());
  done = SealMemfd(overlay->get());
  if (!done) return Forward(done.error());
  snapshot.overlay_ = std::move(*overlay);
  snapshot.plan_.extents = std::move(*extents);
  snapshot.plan_.changed = RunsOf(map);
  done = snapshot.FinishPlan(files);
  if (!done) return Forward(done.error());
  return snapshot;
}

Result<LoadedSnapshot> LoadedSnapshot::OpenOnDisk(const SnapshotFiles& files, const MemorySources& sources,
                                                  std::shared_ptr<const KernelText> text) {
  LoadedSnapshot snapshot(Tier::kDisk, files.manifest);
  MemoryMap map;
  auto done = snapshot.TakeState(files, map);
  if (!done) return Forward(done.error());
  auto image = Duplicate(files.memory.get());
  if (!image) return Forward(image.error());
  auto kernel = Duplicate(sources.kernel_fd);
  if (!kernel) return Forward(kernel.error());
  snapshot.image_ = std::move(*image);
  snapshot.kernel_ = std::move(*kernel);
  snapshot.text_ = std::move(text);
  std::erase_if(map.runs, [](const MemoryRun& run) { return run.IsStored(); });
  AppendExtents(map, snapshot.text_.get(), snapshot.plan_.extents);
  done = snapshot.FinishPlan(files);
  if (!done) return Forward(done.error());
  return snapshot;
}

Result<LoadedSnapshot> LoadedSnapshot::OpenFunctionOnDisk(const SnapshotFiles& files, const LoadedSnapshot& base) {
  LoadedSnapshot snapshot(Tier::kDisk, files.manifest);
  MemoryMap map;
  auto done = snapshot.TakeState(files, map);
  if (done) done = snapshot.ShareBase(base);
  if (!done) return Forward(done.error());
  auto overlay = Duplicate(files.memory.get());
  if (!overlay) return Forward(overlay.error());
  snapshot.overlay_ = std::move(*overlay);
  AppendExtents(map, nullptr, snapshot.plan_.extents);
  done = snapshot.FinishPlan(files);
  if (!done) return Forward(done.error());
  return snapshot;
}

std::string LoadedSnapshot::base_id() const {
  if (tier_ == Tier::kDisk) return {};
  const uint64_t checksum = manifest_.key.IsBase() ? manifest_.state_checksum : manifest_.base_checksum;
  return fmt::format("{}@{:016x}", manifest_.key.Base().FolderName(), checksum);
}

uint64_t LoadedSnapshot::resident_bytes() const {
  uint64_t bytes = BytesInMemory(state_.get()) + BytesInMemory(plan_fd_.get());
  if (tier_ == Tier::kMemory) bytes += BytesInMemory(manifest_.key.IsBase() ? image_.get() : overlay_.get());
  return bytes;
}

}  // namespace snapfaas::snapshot
