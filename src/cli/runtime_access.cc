#include "cli/runtime_access.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "images/appfs.h"

namespace snapfaas::cli {
namespace {

// A folder in the place for temporary files, removed with what is in it.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> Create() {
    std::error_code failure;
    const auto parent = std::filesystem::temp_directory_path(failure);
    if (failure) return FailErrno(failure.value(), "finding the folder for temporary files");
    std::string pattern = (parent / "snapfaas-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return FailErrno(errno, "making a folder in {}", parent.string());
    return TemporaryFolder(pattern);
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

std::string Describe(const faas::RuntimeFiles& files, const faas::VmSize& size) {
  return fmt::format("{} with {} MiB and {} vCPU", files.name, size.memory_mib, size.vcpus);
}

snapshot::SnapshotKey KeyOf(const faas::RuntimeFiles& files, const faas::VmSize& size) {
  return {files.name, size.memory_mib, size.vcpus};
}

// Whole, and made from these images.
bool CanBeUsed(const snapshot::Catalog& catalog, const faas::RuntimeFiles& files, const faas::VmSize& size) {
  auto found = catalog.Find(KeyOf(files, size));
  return found && found->manifest.sources == faas::SourcesOf(files) && faas::LoadSnapshot(files, *found);
}

}  // namespace

int64_t DeadlineIn(double seconds) { return MonotonicNanos() + static_cast<int64_t>(seconds * 1e9); }

std::filesystem::path VmmPath(const Context& context) { return context.bin_dir / "snapfaas-vmm"; }

OpenedRuntime FromImages(const images::RuntimeImages& images) {
  OpenedRuntime runtime;
  runtime.recipe = images.recipe;
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

Result<OpenedRuntime> OpenRuntime(const Context& context, const std::string& name) {
  auto opened = images::OpenRuntime(context.data_dir, name);
  if (!opened) return Forward(opened.error());
  return FromImages(*opened);
}

Result<UniqueFd> MakeAppfs(const std::filesystem::path& app_dir, const images::RuntimeRecipe& recipe) {
  auto folder = TemporaryFolder::Create();
  if (!folder) return Forward(folder.error());
  const auto image = folder->path() / "appfs.erofs";
  auto built = images::BuildAppfs(app_dir, recipe, image);
  if (!built) return Forward(built.error());
  UniqueFd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "opening {}", image.string());
  return file;
}

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const Context& context) {
  return snapshot::Catalog::Open(files, (context.data_dir / "snapshots").string());
}

Result<snapshot::InMemorySnapshot> LoadSnapshot(const Context& context, faas::Spawner& spawner,
                                                const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                double timeout_seconds) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, context);
  if (!catalog) return Forward(catalog.error());
  auto presence = faas::LookUpSnapshot(*catalog, files, size);
  if (!presence) return Forward(presence.error());
  if (*presence != faas::SnapshotPresence::kUsable) {
    const bool missing = *presence == faas::SnapshotPresence::kMissing;
    fmt::print(stderr, "snapfaas: the base snapshot of {} is {}: taking it now\n", Describe(files, size),
               missing ? "missing" : "out of date");
    auto built = faas::BuildSnapshot(spawner, *catalog, files, size, DeadlineIn(timeout_seconds));
    if (!built) return Forward(built.error(), "taking the base snapshot");
  }
  auto found = catalog->Find(KeyOf(files, size));
  if (!found) return Forward(found.error());
  return faas::LoadSnapshot(files, *found);
}

Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const Context& context, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds) {
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, context);
  if (!catalog) return Forward(catalog.error());
  if (rebuild == Rebuild::kWhereNeeded && CanBeUsed(*catalog, files, size)) {
    auto found = catalog->Find(KeyOf(files, size));
    if (!found) return Forward(found.error());
    return found->manifest;
  }
  fmt::print(stderr, "snapfaas: taking the base snapshot of {}\n", Describe(files, size));
  return faas::BuildSnapshot(spawner, *catalog, files, size, DeadlineIn(timeout_seconds));
}

}  // namespace snapfaas::cli
