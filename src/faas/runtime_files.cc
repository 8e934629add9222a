#include "faas/runtime_files.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "snapshot/hash.h"

namespace snapfaas::faas {
namespace {

Result<UniqueFd> OpenForReading(const std::filesystem::path& path, std::string_view what) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "opening the {} {}", what, path.string());
  return file;
}

Result<UniqueFd> Duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return FailErrno(errno, "duplicating a descriptor of a snapshot");
  return copy;
}

snapshot::SnapshotKey KeyOf(const RuntimeFiles& files, const VmSize& size) {
  return {files.name, size.memory_mib, size.vcpus};
}

}  // namespace

Result<BootImages> OpenBootImages(const RuntimeFiles& files) {
  auto kernel = OpenForReading(files.kernel, "kernel");
  if (!kernel) return Forward(kernel.error());
  auto initramfs = OpenForReading(files.initramfs, "initramfs");
  if (!initramfs) return Forward(initramfs.error());
  auto runtimefs = OpenForReading(files.rootfs, "runtimefs");
  if (!runtimefs) return Forward(runtimefs.error());
  BootImages images;
  images.kernel = std::move(*kernel);
  images.initramfs = std::move(*initramfs);
  images.runtimefs = std::move(*runtimefs);
  return images;
}

Result<RestoreImages> OpenRestoreImages(const RuntimeFiles& files, const snapshot::InMemorySnapshot& snapshot,
                                        wire::RestoreMode mode) {
  auto state = Duplicate(snapshot.state_fd());
  if (!state) return Forward(state.error());
  auto memory = Duplicate(snapshot.memory_fd());
  if (!memory) return Forward(memory.error());
  auto runtimefs = OpenForReading(files.rootfs, "runtimefs");
  if (!runtimefs) return Forward(runtimefs.error());
  RestoreImages images;
  images.mode = mode;
  images.state = std::move(*state);
  images.memory = std::move(*memory);
  images.runtimefs = std::move(*runtimefs);
  return images;
}

snapshot::SnapshotSources SourcesOf(const RuntimeFiles& files) {
  snapshot::SnapshotSources sources;
  sources.kernel = snapshot::IdentityHash(fmt::format("{}\n{}", files.kernel_version, kKernelCommandLine));
  sources.initramfs = snapshot::IdentityHash(fmt::format("initramfs\n{}", files.inputs_hash));
  sources.runtimefs = snapshot::IdentityHash(fmt::format("runtimefs\n{}", files.inputs_hash));
  return sources;
}

Result<SnapshotPresence> LookUpSnapshot(const snapshot::Catalog& catalog, const RuntimeFiles& files,
                                        const VmSize& size) {
  auto found = catalog.Find(KeyOf(files, size));
  if (!found && found.error().code == ErrorCode::kNotFound) return SnapshotPresence::kMissing;
  if (!found) return Forward(found.error());
  return found->manifest.sources == SourcesOf(files) ? SnapshotPresence::kUsable : SnapshotPresence::kOutOfDate;
}

Result<snapshot::InMemorySnapshot> LoadSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found) {
  auto kernel = OpenForReading(files.kernel, "kernel");
  if (!kernel) return Forward(kernel.error());
  auto runtimefs = OpenForReading(files.rootfs, "runtimefs");
  if (!runtimefs) return Forward(runtimefs.error());
  return snapshot::InMemorySnapshot::Load(found, {kernel->get(), runtimefs->get()});
}

Result<snapshot::Manifest> BuildSnapshot(Spawner& spawner, snapshot::Catalog& catalog, const RuntimeFiles& files,
                                         const VmSize& size, int64_t deadline_ns) {
  auto images = OpenBootImages(files);
  if (!images) return Forward(images.error());
  auto pending = catalog.Begin(KeyOf(files, size));
  if (!pending) return Forward(pending.error());
  auto state = Duplicate(pending->state_fd());
  if (!state) return Forward(state.error());
  auto memory = Duplicate(pending->memory_fd());
  if (!memory) return Forward(memory.error());
  auto vm = MicroVm::Launch(spawner, size, deadline_ns);
  if (!vm) return Forward(vm.error());
  auto taken = vm->BootToSnapshot(std::move(*images), std::move(*state), std::move(*memory), deadline_ns);
  if (!taken) return Forward(taken.error());
  return catalog.Publish(std::move(*pending), SourcesOf(files));
}

}  // namespace snapfaas::faas
