#include "cli/runtime_access.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "images/appfs.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

// Notices go to standard error.
node::SnapshotHome HomeOf(const Context& context) {
  return {context.data_dir, [](std::string_view line) { fmt::print(stderr, "snapfaas: {}\n", line); }};
}

}  // namespace

std::filesystem::path VmmPath(const Context& context) { return context.bin_dir / "snapfaas-vmm"; }

Result<OpenedRuntime> OpenRuntime(const Context& context, const std::string& name) {
  return node::OpenRuntime(context.data_dir, name);
}

Status FetchPackages(const std::filesystem::path& app_dir, const OpenedRuntime& runtime) {
  auto fetched = images::FetchFunctionPackages(
      app_dir, runtime.packages, [](std::string_view line) { fmt::print(stderr, "snapfaas: {}\n", line); });
  if (!fetched) return Forward(fetched.error());
  return {};
}

Result<UniqueFd> MakeAppfs(const std::filesystem::path& app_dir, const OpenedRuntime& runtime,
                           const std::filesystem::path& in) {
  std::error_code failure;
  const auto parent = in.empty() ? std::filesystem::temp_directory_path(failure) : in;
  if (failure) return FailErrno(failure.value(), "finding the folder for temporary files");
  auto folder = images::TemporaryFolder::Create(parent);
  if (!folder) return Forward(folder.error());
  const auto image = folder->path() / "appfs.erofs";
  auto built = images::BuildAppfs(app_dir, runtime.recipe, runtime.compile_command, image,
                                  images::HandlerCheck::kRequired, runtime.packages);
  if (!built) return Forward(built.error());
  UniqueFd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "opening {}", image.string());
  return file;
}

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const Context& context) {
  return node::OpenCatalog(files, context.data_dir);
}

Result<snapshot::LoadedSnapshot> LoadSnapshot(const Context& context, faas::Spawner& spawner,
                                              const faas::RuntimeFiles& files, const faas::VmSize& size,
                                              faas::Tier tier, double timeout_seconds) {
  return node::LoadSnapshot(HomeOf(context), spawner, files, size, tier, timeout_seconds);
}

Result<std::optional<snapshot::LoadedSnapshot>> LoadFunctionSnapshot(const Context& context, faas::Spawner& spawner,
                                                                     const faas::RuntimeFiles& files,
                                                                     const snapshot::InMemoryImage& runtimefs,
                                                                     const snapshot::LoadedSnapshot& base, int appfs_fd,
                                                                     Layer layer, faas::Tier tier) {
  return node::LoadFunctionSnapshot(HomeOf(context), spawner, files, runtimefs, base, appfs_fd, layer, tier);
}

Status KeepWorkingSet(const Context& context, faas::MicroVm& vm, snapshot::LoadedSnapshot& snapshot) {
  return node::KeepWorkingSet(HomeOf(context), vm, snapshot);
}

std::span<const RestoreChoice> RestoreChoices() {
  static constexpr RestoreChoice kChoices[] = {
      {"copy", wire::RestoreMode::kCopy, faas::Tier::kMemory},
      {"mmap", wire::RestoreMode::kMmap, faas::Tier::kMemory},
      {"prefetch", wire::RestoreMode::kPrefetch, faas::Tier::kMemory},
      {"primed", wire::RestoreMode::kPrefetch, faas::Tier::kMemory, Shells::kPrimed},
      {"disk", wire::RestoreMode::kMmap, faas::Tier::kDisk},
      {"disk-prefetch", wire::RestoreMode::kPrefetch, faas::Tier::kDisk},
  };
  return kChoices;
}

const RestoreChoice& RestoreChoiceOf(std::string_view name) {
  const auto choices = RestoreChoices();
  return *std::find_if(choices.begin(), choices.end(), [name](const RestoreChoice& c) { return c.name == name; });
}

Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const Context& context, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds) {
  return node::BuildSnapshotWhereNeeded(HomeOf(context), spawner, files, size, rebuild, timeout_seconds);
}

}  // namespace snapfaas::cli
