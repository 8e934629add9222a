#include "node/runtime_access.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/mapped_region.h"
#include "base/units.h"
#include "snapshot/hash.h"

namespace snapfaas::node {
namespace {

std::string Describe(const faas::RuntimeFiles& files, const faas::VmSize& size) {
  return fmt::format("{} with {} MiB and {} vCPU", files.name, size.memory_mib, size.vcpus);
}

void Tell(const SnapshotHome& home, std::string_view line) {
  if (home.notice) home.notice(line);
}

snapshot::SnapshotKey SnapshotKeyOf(const faas::RuntimeFiles& files, const faas::VmSize& size) {
  return {files.name, size.memory_mib, size.vcpus, {}};
}

// Whole, and made from these images.
bool CanBeUsed(const snapshot::Catalog& catalog, const faas::RuntimeFiles& files, const faas::VmSize& size) {
  auto found = catalog.Find(SnapshotKeyOf(files, size));
  return found && found->manifest.sources == faas::SourcesOf(files) &&
         faas::LoadSnapshot(files, *found, faas::Tier::kMemory);
}

// Restores from disk read the working set's pages in one go where somebody has put them side by side: whoever loads
// such a snapshot first. True: they are there now, for who loads it again. Without them restores are slower and as
// right.
bool PackWorkingPages(const SnapshotHome& home, snapshot::Catalog& catalog, const snapshot::SnapshotFiles& found,
                      const snapshot::LoadedSnapshot& loaded, faas::Tier tier) {
  if (tier != faas::Tier::kDisk || !found.working_set || found.working_pages.valid()) return false;
  const auto packed = catalog.SaveWorkingPages(found.manifest.key, found.manifest.state_checksum, [&](int fd) {
    return loaded.WriteWorkingPages(fd, *found.working_set);
  });
  if (!packed) Tell(home, fmt::format("restores from disk will be slower: {}", packed.error().Message()));
  return packed.has_value();
}

// Nobody waits for this: what cannot be removed now is when the next snapshot is taken.
void MakeRoom(const SnapshotHome& home, snapshot::Catalog& catalog) {
  const auto collected = catalog.Collect(home.limit_bytes);
  if (!collected) return;
  const size_t removed = collected->unusable.size() + collected->evicted.size();
  if (removed == 0) return;
  Tell(home, fmt::format("removed {} function snapshot{} that were unusable or not used for the longest", removed,
                         removed == 1 ? "" : "s"));
}

}  // namespace

int64_t DeadlineIn(double seconds) { return MonotonicNanos() + static_cast<int64_t>(seconds * 1e9); }

Result<OpenedRuntime> OpenRuntime(const std::filesystem::path& data_dir, const std::string& name) {
  auto opened = images::OpenRuntime(data_dir, name);
  if (!opened) return Forward(opened.error());
  const images::RuntimeImages& images = *opened;
  OpenedRuntime runtime;
  runtime.recipe = images.recipe;
  runtime.compile_command = images.compile_command;
  runtime.packages = images.packages;
  runtime.kernel_release = images.kernel_release;
  runtime.files.name = images.recipe.name;
  runtime.files.kernel = images.kernel_elf;
  runtime.files.initramfs = images.initramfs;
  runtime.files.rootfs = images.rootfs;
  // The folder's name holds the release and the package's version.
  runtime.files.kernel_version = images.kernel.parent_path().filename().string();
  runtime.files.inputs_hash = images.inputs_hash;
  return runtime;
}

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const std::filesystem::path& data_dir) {
  return snapshot::Catalog::Open(files, (data_dir / "snapshots").string());
}

Result<snapshot::LoadedSnapshot> LoadSnapshot(const SnapshotHome& home, faas::Spawner& spawner,
                                              const faas::RuntimeFiles& files, const faas::VmSize& size,
                                              faas::Tier tier, double timeout_seconds) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, home.data_dir);
  if (!catalog) return Forward(catalog.error());
  auto presence = faas::LookUpSnapshot(*catalog, files, size);
  if (!presence) return Forward(presence.error());
  if (*presence != faas::SnapshotPresence::kUsable) {
    const bool missing = *presence == faas::SnapshotPresence::kMissing;
    Tell(home, fmt::format("the base snapshot of {} is {}: taking it now", Describe(files, size),
                           missing ? "missing" : "out of date"));
    auto built = faas::BuildSnapshot(spawner, *catalog, files, size, DeadlineIn(timeout_seconds));
    if (!built) return Forward(built.error(), "taking the base snapshot");
  }
  auto found = catalog->Find(SnapshotKeyOf(files, size));
  if (!found) return Forward(found.error());
  auto loaded = faas::LoadSnapshot(files, *found, tier);
  if (!loaded || !PackWorkingPages(home, *catalog, *found, *loaded, tier)) return loaded;
  found = catalog->Find(SnapshotKeyOf(files, size));
  if (!found) return Forward(found.error());
  return faas::LoadSnapshot(files, *found, tier);
}

Result<std::string> FunctionName(int appfs_fd) {
  struct stat info {};
  if (::fstat(appfs_fd, &info) != 0) return FailErrno(errno, "looking at the function's image");
  auto image = MappedRegion::OfFile(appfs_fd, 0, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE);
  if (!image) return Forward(image.error(), "the function's image");
  return snapshot::IdentityHash({reinterpret_cast<const char*>(image->data()), image->size()});
}

Result<std::optional<snapshot::LoadedSnapshot>> LoadFunctionSnapshot(const SnapshotHome& home, faas::Spawner& spawner,
                                                                     const faas::RuntimeFiles& files,
                                                                     const snapshot::InMemoryImage& runtimefs,
                                                                     const snapshot::LoadedSnapshot& base, int appfs_fd,
                                                                     Layer layer, faas::Tier tier) {
  if (layer == Layer::kBase) return std::optional<snapshot::LoadedSnapshot>();
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, home.data_dir);
  if (!catalog) return Forward(catalog.error());
  auto name = FunctionName(appfs_fd);
  if (!name) return Forward(name.error());
  snapshot::SnapshotKey key = base.manifest().key;
  key.function = *name;
  auto found = catalog->Find(key);
  const bool usable = found && found->manifest.base_checksum == base.manifest().state_checksum;
  if (!usable && layer == Layer::kAuto) return std::optional<snapshot::LoadedSnapshot>();
  if (!usable) {
    UniqueFd appfs(::fcntl(appfs_fd, F_DUPFD_CLOEXEC, 0));
    if (!appfs.valid()) return FailErrno(errno, "duplicating the function's image");
    // The base may be on disk here; the guest does not mind.
    auto built = faas::BuildFunctionSnapshot(spawner, *catalog, runtimefs, base, *name, std::move(appfs),
                                             DeadlineIn(kBootTimeoutSeconds));
    if (!built) return Forward(built.error(), "taking the function's snapshot");
    found = catalog->Find(key);
    if (!found) return Forward(found.error());
    MakeRoom(home, *catalog);
  }
  auto loaded = faas::LoadFunctionSnapshot(files, *found, base, tier);
  if (loaded && PackWorkingPages(home, *catalog, *found, *loaded, tier)) {
    found = catalog->Find(key);
    if (!found) return Forward(found.error());
    loaded = faas::LoadFunctionSnapshot(files, *found, base, tier);
  }
  if (!loaded) return Forward(loaded.error());
  return std::optional(std::move(*loaded));
}

Status KeepWorkingSet(const SnapshotHome& home, faas::MicroVm& vm, snapshot::LoadedSnapshot& snapshot) {
  if (snapshot.has_working_set()) return {};
  auto set = vm.RecordWorkingSet(DeadlineIn(kRestoreTimeoutSeconds));
  if (!set) return Forward(set.error());
  auto saved = SaveWorkingSet(home, *set, snapshot.manifest());
  if (!saved) return saved;
  return snapshot.UseWorkingSet(*set);
}

Status SaveWorkingSet(const SnapshotHome& home, const snapshot::WorkingSet& set, const snapshot::Manifest& manifest) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, home.data_dir);
  if (!catalog) return Forward(catalog.error());
  const auto base = catalog->Find(manifest.key.Base());
  const bool can_narrow = !manifest.key.IsBase() && base && base->working_set;
  return catalog->SaveWorkingSet(manifest.key, manifest.state_checksum,
                                 can_narrow ? snapshot::Narrow(set, *base->working_set) : set);
}

Result<std::vector<SnapshotInfo>> ListSnapshots(const std::filesystem::path& data_dir) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, data_dir);
  if (!catalog) return Forward(catalog.error());
  auto entries = catalog->List();
  if (!entries) return Forward(entries.error());
  std::vector<SnapshotInfo> infos;
  for (const auto& entry : *entries) {
    SnapshotInfo info;
    info.folder = entry.folder;
    info.disk_bytes = entry.disk_bytes;
    info.last_use_unix_ms = entry.last_use_unix_ns / 1'000'000;
    info.is_usable = entry.IsUsable();
    if (entry.manifest) {
      const snapshot::SnapshotKey& key = entry.manifest->key;
      info.runtime = key.runtime;
      info.function = key.function;
      info.memory_mib = key.memory_mib;
      info.vcpus = key.vcpus;
      if (entry.is_orphan) info.problem = "its base snapshot is not there any more";
    } else {
      info.problem = entry.manifest.error().Message();
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const SnapshotHome& home, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, home.data_dir);
  if (!catalog) return Forward(catalog.error());
  if (rebuild == Rebuild::kWhereNeeded && CanBeUsed(*catalog, files, size)) {
    auto found = catalog->Find(SnapshotKeyOf(files, size));
    if (!found) return Forward(found.error());
    return found->manifest;
  }
  Tell(home, fmt::format("taking the base snapshot of {}", Describe(files, size)));
  return faas::BuildSnapshot(spawner, *catalog, files, size, DeadlineIn(timeout_seconds));
}

}  // namespace snapfaas::node
