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

// Descriptors for one more microVM of the snapshot.
Result<RestoreImages> OpenRestoreImages(const RuntimeFiles& files, const snapshot::InMemorySnapshot& snapshot,
                                        wire::RestoreMode mode);

// What a base snapshot of these files is made from; it changes with every part that a restored guest has seen.
snapshot::SnapshotSources SourcesOf(const RuntimeFiles& files);

enum class SnapshotPresence { kMissing, kOutOfDate, kUsable };

// Whether the catalogue holds a snapshot of this size, made from these very files. A damaged snapshot, or one of
// another format version, is an error: it is not ours to replace unasked.
Result<SnapshotPresence> LookUpSnapshot(const snapshot::Catalog& catalog, const RuntimeFiles& files,
                                        const VmSize& size);

// Loads a snapshot of these files into memory. As InMemorySnapshot::Load; kNotFound names a missing file.
Result<snapshot::InMemorySnapshot> LoadSnapshot(const RuntimeFiles& files, const snapshot::SnapshotFiles& found);

// Boots the runtime, takes its snapshot and publishes it in the catalogue, in place of an older one. On failure the
// catalogue is as before.
Result<snapshot::Manifest> BuildSnapshot(Spawner& spawner, snapshot::Catalog& catalog, const RuntimeFiles& files,
                                         const VmSize& size, int64_t deadline_ns);

}  // namespace snapfaas::faas
