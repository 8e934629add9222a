// What the commands that start microVMs share: a built runtime, a function's image, snapshots. As
// node/runtime_access.h has it, for a command's context, with notices on standard error.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/file_system.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/context.h"
#include "faas/runtime_files.h"
#include "faas/spawner.h"
#include "node/runtime_access.h"
#include "snapshot/catalog.h"
#include "snapshot/store.h"

namespace snapfaas::cli {

using node::DeadlineIn;
using node::kBootTimeoutSeconds;
using node::kRestoreTimeoutSeconds;
using node::Layer;
using node::OpenedRuntime;
using node::Rebuild;
using node::Shells;

// kNotFound names the command that builds the runtime.
Result<OpenedRuntime> OpenRuntime(const Context& context, const std::string& name);

std::filesystem::path VmmPath(const Context& context);

// Fetches the Debian packages that a function asks for, where they are not there yet: in the emulated host, which has
// no network, they must be.
Status FetchPackages(const std::filesystem::path& app_dir, const OpenedRuntime& runtime);

// The function's image as an open file that has no name any more, in the folder `in`, or with temporary files.
Result<UniqueFd> MakeAppfs(const std::filesystem::path& app_dir, const OpenedRuntime& runtime,
                           const std::filesystem::path& in = {});

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const Context& context);

Result<snapshot::LoadedSnapshot> LoadSnapshot(const Context& context, faas::Spawner& spawner,
                                              const faas::RuntimeFiles& files, const faas::VmSize& size,
                                              faas::Tier tier, double timeout_seconds);

Result<std::optional<snapshot::LoadedSnapshot>> LoadFunctionSnapshot(const Context& context, faas::Spawner& spawner,
                                                                     const faas::RuntimeFiles& files,
                                                                     const snapshot::InMemoryImage& runtimefs,
                                                                     const snapshot::LoadedSnapshot& base, int appfs_fd,
                                                                     Layer layer, faas::Tier tier);

Status KeepWorkingSet(const Context& context, faas::MicroVm& vm, snapshot::LoadedSnapshot& snapshot);

// A way to restore and what it stands for.
struct RestoreChoice {
  std::string_view name;
  wire::RestoreMode mode;
  faas::Tier tier;
  Shells shells = Shells::kBare;
};
std::span<const RestoreChoice> RestoreChoices();
// REQUIRES: the name of one of them.
const RestoreChoice& RestoreChoiceOf(std::string_view name);
inline constexpr char kDefaultRestore[] = "prefetch";

Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const Context& context, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds);

}  // namespace snapfaas::cli
