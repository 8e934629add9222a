#include "faas/runtime_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/file_system.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/kernel_text.h"

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

std::filesystem::path RunningKernelPath(const RuntimeFiles& files) { return files.kernel.string() + ".running"; }

// The running kernel, or the kernel where there is none yet.
Result<UniqueFd> OpenKernel(const RuntimeFiles& files) {
  UniqueFd running(::open(RunningKernelPath(files).c_str(), O_RDONLY | O_CLOEXEC));
  if (running.valid()) return running;
  return OpenForReading(files.kernel, "kernel");
}

snapshot::SnapshotKey KeyOf(const RuntimeFiles& files, const VmSize& size) {
  return {files.name, size.memory_mib, size.vcpus, {}};
}

// One copy in memory for all who have it now.
Result<std::shared_ptr<const snapshot::KernelText>> KernelTextOf(int kernel_fd) {
  struct stat info {};
  if (::fstat(kernel_fd, &info) != 0) return FailErrno(errno, "looking at the kernel");
  static std::mutex mutex;
  static std::map<std::pair<dev_t, ino_t>, std::weak_ptr<const snapshot::KernelText>> loaded;
  const std::lock_guard lock(mutex);
  auto& known = loaded[{info.st_dev, info.st_ino}];
  if (auto text = known.lock()) return text;
  auto text = snapshot::KernelText::Load(kernel_fd);
  if (text) known = *text;
  return text;
}

// Boots the runtime and has it write its snapshot.
Status TakeBaseSnapshot(Spawner& spawner, const RuntimeFiles& files, const VmSize& size,
                        const snapshot::PendingSnapshot& pending, int64_t deadline_ns) {
  auto images = OpenBootImages(files);
  if (!images) return Forward(images.error());
  auto state = Duplicate(pending.state_fd());
  if (!state) return Forward(state.error());
  auto memory = Duplicate(pending.memory_fd());
  if (!memory) return Forward(memory.error());
  auto vm = MicroVm::Launch(spawner, size, deadline_ns);
  if (!vm) return Forward(vm.error());
  auto taken = vm->BootToSnapshot(std::move(*images), std::move(*state), std::move(*memory), deadline_ns);
  if (!taken) return Forward(taken.error());
  return {};
}

// The kernel patches its text otherwise for several vCPUs: those snapshots hold theirs.
constexpr uint32_t kTextVcpus = 1;

// True: there is a running kernel now, with this snapshot's text, which a snapshot that is taken anew need not hold.
Result<bool> KeepKernelText(const RuntimeFiles& files, const snapshot::PendingSnapshot& pending) {
  if (pending.key().vcpus != kTextVcpus) return false;
  auto state = snapshot::ReadState(pending.state_fd());
  if (!state) return Forward(state.error());
  PosixFileSystem file_system;
  return snapshot::MakeRunningKernel(file_system, files.kernel.string(), RunningKernelPath(files).string(),
                                     pending.memory_fd(), state->memory);
}

}  // namespace

Result<BootImages> OpenBootImages(const RuntimeFiles& files) {
  auto kernel = OpenKernel(files);
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

Result<snapshot::InMemoryImage> LoadRuntimefs(const RuntimeFiles& files) {
  auto runtimefs = OpenForReading(files.rootfs, "runtimefs");
  if (!runtimefs) return Forward(runtimefs.error());
  return snapshot::InMemoryImage::Load(runtimefs->get(), "the runtimefs");
}

Result<RestoreImages> OpenRestoreImages(const snapshot::InMemoryImage& runtimefs,
                                        const snapshot::LoadedSnapshot& snapshot, wire::RestoreMode mode) {
  RestoreImages images;
  images.mode = mode;
  const snapshot::ImageFiles files = snapshot.images();
  for (const auto& [copy, fd] :
       {std::pair(&images.snapshot.state, snapshot.state_fd()), std::pair(&images.snapshot.memory, files.image),
        std::pair(&images.snapshot.overlay, files.overlay), std::pair(&images.snapshot.kernel, files.kernel),
        std::pair(&images.snapshot.packed, files.packed), std::pair(&images.snapshot.kernel_text, files.kernel_text),
        std::pair(&images.snapshot.plan, snapshot.plan_fd()), std::pair(&images.runtimefs, runtimefs.fd())}) {
    if (fd < 0) continue;
    auto duplicate = Duplicate(fd);
    if (!duplicate) return Forward(duplicate.error());
    *copy = std::move(*duplicate);
  }
  if (mode == wire::RestoreMode::kPrefetch) images.base = snapshot.base_id();
  return images;
}

Result<wire::PrimeCommand> OpenPrimeImages(const snapshot::InMemoryImage& runtimefs,
                                           const snapshot::LoadedSnapshot& base) {
  auto images = OpenRestoreImages(runtimefs, base, wire::RestoreMode::kPrefetch);
  if (!images) return Forward(images.error());
  return wire::PrimeCommand{std::move(images->snapshot), std::move(images->runtimefs)};
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
  if (!found && found.error().code == ErrorCode::kIncompatible) return SnapshotPresence::kOutOfDate;
  if (!found) return Forward(found.error());
  return found->manifest.sources == SourcesOf(files) ? SnapshotPresence::kUsable : SnapshotPresence::kOutOfDate;
}

Result<snapshot::LoadedSnapshot> LoadSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found,
                                              Tier tier) {
  auto kernel = OpenKernel(files);
  if (!kernel) return Forward(kernel.error());
  if (tier == Tier::kDisk) {
    auto text = KernelTextOf(kernel->get());
    if (!text) return Forward(text.error());
    return snapshot::LoadedSnapshot::OpenOnDisk(found, {kernel->get()}, std::move(*text));
  }
  return snapshot::LoadedSnapshot::Load(found, {kernel->get()});
}

Result<snapshot::LoadedSnapshot> LoadFunctionSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found,
                                                      const snapshot::LoadedSnapshot& base, Tier tier) {
  if (tier == Tier::kDisk) return snapshot::LoadedSnapshot::OpenFunctionOnDisk(found, base);
  auto kernel = OpenKernel(files);
  if (!kernel) return Forward(kernel.error());
  return snapshot::LoadedSnapshot::LoadFunction(found, base, {kernel->get()});
}

Result<snapshot::Manifest> BuildFunctionSnapshot(Spawner& spawner, snapshot::Catalog& catalog,
                                                 const snapshot::InMemoryImage& runtimefs,
                                                 const snapshot::LoadedSnapshot& base, const std::string& function,
                                                 UniqueFd appfs, int64_t deadline_ns) {
  snapshot::SnapshotKey key = base.manifest().key;
  key.function = function;
  auto images = OpenRestoreImages(runtimefs, base, wire::RestoreMode::kMmap);
  if (!images) return Forward(images.error());
  auto pending = catalog.Begin(key);
  if (!pending) return Forward(pending.error());
  auto state = Duplicate(pending->state_fd());
  if (!state) return Forward(state.error());
  auto memory = Duplicate(pending->memory_fd());
  if (!memory) return Forward(memory.error());
  auto vm = MicroVm::Launch(spawner, {key.memory_mib, key.vcpus}, deadline_ns);
  if (!vm) return Forward(vm.error());
  FunctionFiles files;
  files.appfs = std::move(appfs);
  auto taken =
      vm->RestoreToSnapshot(std::move(*images), std::move(files), std::move(*state), std::move(*memory), deadline_ns);
  if (!taken) return Forward(taken.error());
  return catalog.Publish(std::move(*pending), base.manifest().sources);
}

Result<snapshot::Manifest> BuildSnapshot(Spawner& spawner, snapshot::Catalog& catalog, const RuntimeFiles& files,
                                         const VmSize& size, int64_t deadline_ns) {
  const int64_t patience_ns = deadline_ns - MonotonicNanos();
  for (bool again = true;;) {
    auto pending = catalog.Begin(KeyOf(files, size));
    if (!pending) return Forward(pending.error());
    // The time is that of one boot: the second has as much.
    auto taken = TakeBaseSnapshot(spawner, files, size, *pending, MonotonicNanos() + patience_ns);
    if (!taken) return Forward(taken.error());
    // Once for a kernel. Where it cannot be kept, for lack of space for instance, the snapshot is larger and as right.
    const auto kept = again ? KeepKernelText(files, *pending) : false;
    again = false;
    if (!kept || !*kept) return catalog.Publish(std::move(*pending), SourcesOf(files));
  }
}

}  // namespace snapfaas::faas
