// RuntimeFiles: the files of one built language runtime, as the launcher needs them, and their base snapshots.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "faas/launcher.h"
#include "faas/spawner.h"
#include "snapshot/catalog.h"
#include "snapshot/store.h"

namespace snapfaas::faas {

struct RuntimeFiles {
  std::string name;
  std::filesystem::path kernel;  // the ELF file: a base snapshot refers to its pages, which a bzImage does not have
  std::filesystem::path initramfs;
  std::filesystem::path rootfs;
  std::string kernel_version;  // names the kernel's build
  std::string inputs_hash;     // names the build of initramfs and rootfs
};

// kNotFound names the missing file.
Result<BootImages> OpenBootImages(const RuntimeFiles& files);

// The runtimefs in memory, for all microVMs of the runtime to share.
Result<snapshot::InMemoryImage> LoadRuntimefs(const RuntimeFiles& files);

// Descriptors for one more microVM of the snapshot.
Result<RestoreImages> OpenRestoreImages(const snapshot::InMemoryImage& runtimefs,
                                        const snapshot::LoadedSnapshot& snapshot, wire::RestoreMode mode);

// The same as a command for a shell of the pool. REQUIRES: a base snapshot in memory.
Result<wire::PrimeCommand> OpenPrimeImages(const snapshot::InMemoryImage& runtimefs,
                                           const snapshot::LoadedSnapshot& base);

// What a base snapshot of these files is made from; it changes with every part that a restored guest has seen.
snapshot::SnapshotSources SourcesOf(const RuntimeFiles& files);

enum class SnapshotPresence { kMissing, kOutOfDate, kUsable };

// Whether the catalogue holds a snapshot of this size, made from these very files. One of another format version is out
// of date: it is from before an upgrade. A damaged one is an error: it is not ours to replace unasked.
Result<SnapshotPresence> LookUpSnapshot(const snapshot::Catalog& catalog, const RuntimeFiles& files,
                                        const VmSize& size);

// In memory, the whole snapshot is read and verified at once; from disk, its pages are read when they are touched.
enum class Tier { kMemory, kDisk };

// Loads a base snapshot of these files. As LoadedSnapshot::Load; kNotFound names a missing file.
Result<snapshot::LoadedSnapshot> LoadSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found,
                                              Tier tier);
// Loads a function snapshot over its base, which is of the same tier.
Result<snapshot::LoadedSnapshot> LoadFunctionSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found,
                                                      const snapshot::LoadedSnapshot& base, Tier tier);

// Restores the base, loads the function that `appfs` holds, takes its snapshot and publishes it. On failure the
// catalogue is as before. kGuestError: the function cannot be loaded.
Result<snapshot::Manifest> BuildFunctionSnapshot(Spawner& spawner, snapshot::Catalog& catalog,
                                                 const snapshot::InMemoryImage& runtimefs,
                                                 const snapshot::LoadedSnapshot& base, const std::string& function,
                                                 UniqueFd appfs, int64_t deadline_ns);

// Boots the runtime, takes its snapshot and publishes it in the catalogue, in place of an older one. On failure the
// catalogue is as before. The first snapshot of a kernel takes two boots (snapshot/kernel_text.h); the deadline is that
// of the first, and the second may take as long.
Result<snapshot::Manifest> BuildSnapshot(Spawner& spawner, snapshot::Catalog& catalog, const RuntimeFiles& files,
                                         const VmSize& size, int64_t deadline_ns);

}  // namespace snapfaas::faas
