// What everybody needs who starts microVMs: a built runtime, its base snapshots, the snapshots of functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "base/units.h"
#include "faas/launcher.h"
#include "faas/runtime_files.h"
#include "faas/spawner.h"
#include "images/progress.h"
#include "images/runtimefs.h"
#include "node/node_view.h"
#include "snapshot/catalog.h"
#include "snapshot/store.h"

namespace snapfaas::node {

struct OpenedRuntime {
  images::RuntimeRecipe recipe;
  std::vector<std::string> compile_command;
  images::PackageSource packages;
  std::string kernel_release;
  faas::RuntimeFiles files;
};

// kNotFound names the command that builds the runtime.
Result<OpenedRuntime> OpenRuntime(const std::filesystem::path& data_dir, const std::string& name);

// The folder of what is kept, and who hears of work that somebody waits for. `notice` may be empty.
struct SnapshotHome {
  std::filesystem::path data_dir;
  images::Progress notice;
  // What snapshots may take of the disk before those of functions that were not used for the longest go.
  uint64_t limit_bytes = 10_GiB;
};

Result<snapshot::Catalog> OpenCatalog(FileSystem& files, const std::filesystem::path& data_dir);

// Takes the base snapshot where there is none, or it was made from other images or by another version of this program,
// with a notice; a damaged one is an error.
Result<snapshot::LoadedSnapshot> LoadSnapshot(const SnapshotHome& home, faas::Spawner& spawner,
                                              const faas::RuntimeFiles& files, const faas::VmSize& size,
                                              faas::Tier tier, double timeout_seconds);

// The name of a function's image in the catalogue: its bytes' hash.
Result<std::string> FunctionName(int appfs_fd);

// What there may be of a function's snapshot, and what is to be done about it.
enum class Layer {
  kBase,      // do without
  kAuto,      // use it where there is one
  kFunction,  // take it where there is none
};

// Nothing when the function has no snapshot of this base, or is to do without.
Result<std::optional<snapshot::LoadedSnapshot>> LoadFunctionSnapshot(const SnapshotHome& home, faas::Spawner& spawner,
                                                                     const faas::RuntimeFiles& files,
                                                                     const snapshot::InMemoryImage& runtimefs,
                                                                     const snapshot::LoadedSnapshot& base, int appfs_fd,
                                                                     Layer layer, faas::Tier tier);

// After the first answer of a restored microVM: keeps the pages it touched for later restores, unless there is such a
// set. The snapshot uses it from then on.
Status KeepWorkingSet(const SnapshotHome& home, faas::MicroVm& vm, snapshot::LoadedSnapshot& snapshot);
// The half of it that needs no microVM; the snapshot does not use it yet.
Status SaveWorkingSet(const SnapshotHome& home, const snapshot::WorkingSet& set, const snapshot::Manifest& manifest);

// All that the catalogue holds, whether it can be used or not.
Result<std::vector<SnapshotInfo>> ListSnapshots(const std::filesystem::path& data_dir);

// Takes the base snapshot unless the one that is there is whole and made from these images.
enum class Rebuild { kWhereNeeded, kAlways };
Result<snapshot::Manifest> BuildSnapshotWhereNeeded(const SnapshotHome& home, faas::Spawner& spawner,
                                                    const faas::RuntimeFiles& files, const faas::VmSize& size,
                                                    Rebuild rebuild, double timeout_seconds);

// What waits for a restore in a pool: a bare VMM, or one that has the base snapshot's memory in place.
enum class Shells { kBare, kPrimed };

// The deadline so many seconds from now.
int64_t DeadlineIn(double seconds);

inline constexpr double kBootTimeoutSeconds = 120;
inline constexpr double kRestoreTimeoutSeconds = 60;

}  // namespace snapfaas::node
