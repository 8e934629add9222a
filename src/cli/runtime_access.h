// What the commands that start microVMs share: a built runtime, a function's image, a base snapshot.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/file_system.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/context.h"
#include "faas/runtime_files.h"
#include "faas/spawner.h"
#include "images/runtimefs.h"
#include "snapshot/catalog.h"
#include "snapshot/store.h"

namespace snapfaas::cli {

struct OpenedRuntime {
  images::RuntimeRecipe recipe;
  std::string kernel_release;
  faas::RuntimeFiles files;
};

// kNotFound names the command that builds the runtime.
Result<OpenedRuntime> OpenRuntime(const Context& context, const std::string& name);
OpenedRuntime FromImages(const images::RuntimeImages& images);

std::filesystem::path VmmPath(const Context& context);

// The function's image as an open file that has no name any more.
Result<UniqueFd> MakeAppfs(const std::filesystem::path& app_dir, const images::RuntimeRecipe& recipe);

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const Context& context);

// Takes the base snapshot where there is none, or it was made from other images, with a notice on standard error; a
// damaged one is an error.
Result<snapshot::InMemorySnapshot> LoadSnapshot(const Context& context, faas::Spawner& spawner,
                                                const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                double timeout_seconds);

// Takes the base snapshot unless the one that is there is whole and made from these images.
enum class Rebuild { kWhereNeeded, kAlways };
Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const Context& context, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds);

// The deadline so many seconds from now.
int64_t DeadlineIn(double seconds);

inline constexpr double kBootTimeoutSeconds = 120;
inline constexpr double kRestoreTimeoutSeconds = 60;

}  // namespace snapfaas::cli
