// Catalog: the snapshots on disk, one folder each (docs/snapshot_format.md, "The catalogue's folder").
//
//   Begin(key) -> PendingSnapshot --Publish--> seen by Open, List
//                       |
//                       +-- destroyed unpublished: its folder is removed
//
// Several processes may have the same catalogue open. A snapshot that was found is pinned by a shared flock on its open
// memory file, for as long as that, a duplicate (a VMM's too) or a mapping of it is there: Collect leaves it alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/manifest.h"

namespace snapfaas::snapshot {

// A snapshot being made: a locked temporary folder with two empty files for a VMM to fill.
class PendingSnapshot {
 public:
  PendingSnapshot(PendingSnapshot&& other) noexcept;
  PendingSnapshot& operator=(PendingSnapshot&&) = delete;
  PendingSnapshot(const PendingSnapshot&) = delete;
  PendingSnapshot& operator=(const PendingSnapshot&) = delete;
  ~PendingSnapshot();

  const SnapshotKey& key() const { return key_; }
  // Open for reading and writing; duplicate them for the VMM.
  int state_fd() const { return state_.get(); }
  int memory_fd() const { return memory_.get(); }

 private:
  friend class Catalog;
  PendingSnapshot(FileSystem& files, SnapshotKey key, std::string folder, UniqueFd lock);

  FileSystem* files_;  // nullptr: published or moved from
  SnapshotKey key_;
  std::string folder_;
  UniqueFd lock_;
  UniqueFd state_;
  UniqueFd memory_;
};

// What Collect removed, and what there is now.
struct Collected {
  struct Removed {
    std::string folder;  // its name
    uint64_t disk_bytes = 0;
  };
  std::vector<Removed> unusable;  // in the order of their names
  std::vector<Removed> evicted;   // for the limit, the least recently used first
  size_t bases = 0;               // those that are left, and of them:
  size_t unusable_bases = 0;      // for `snapfaas runtime build --force` to replace
  size_t functions = 0;           // those that are left, and of them:
  size_t pinned_functions = 0;    // that would have gone otherwise
  uint64_t base_disk_bytes = 0;   // of those that are left
  uint64_t disk_bytes = 0;        // of all that is left
  bool is_within_limit = true;    // false: what is left is base snapshots, or pinned

  uint64_t removed_disk_bytes() const;
};

class Catalog {
 public:
  // Makes the root folder where it is missing, sweeps what crashed builders left, finishes or undoes a replacement that
  // was cut short. `files` must outlive the catalogue and its pending snapshots.
  static Result<Catalog> Open(FileSystem& files, std::string root);

  Result<PendingSnapshot> Begin(const SnapshotKey& key);

  // Checks what the VMM has written, writes the manifest, makes all of it outlast a power cut and puts it in the place
  // of an older one of the same key. On failure the older one is still there and the pending one is removed.
  Result<Manifest> Publish(PendingSnapshot pending, const SnapshotSources& sources);

  // Pins it, and notes that it was used now. kNotFound, kCorrupt, kIncompatible: each says which command makes the
  // snapshot.
  Result<SnapshotFiles> Find(const SnapshotKey& key) const;

  // Keeps what was recorded with the snapshot of this state checksum, in place of an older one. kNotFound: that
  // snapshot is no longer there.
  Status SaveWorkingSet(const SnapshotKey& key, uint64_t state_checksum, const WorkingSet& set);

  // As above for its pages, which `write` puts into an empty file (working_pages.h).
  Status SaveWorkingPages(const SnapshotKey& key, uint64_t state_checksum, const std::function<Status(int fd)>& write);

  struct Entry {
    std::string folder;         // its name
    Result<Manifest> manifest;  // or why it cannot be used
    bool is_base = true;
    // Of a function whose base is not there, or was replaced.
    bool is_orphan = false;
    uint64_t disk_bytes = 0;
    int64_t last_use_unix_ns = 0;

    bool IsUsable() const { return manifest && !is_orphan; }
  };
  Result<std::vector<Entry>> List() const;

  // Removes the function snapshots that nobody can use again: broken, of another format version, or taken on a base
  // that is not there any more. Then, while all snapshots together take more of the disk than `limit_bytes`, the
  // function snapshots that were not used for the longest. Base snapshots and pinned ones stay.
  Result<Collected> Collect(uint64_t limit_bytes);

  // Also a pinned one, which stays whole for those who have it. kNotFound when there is none.
  Status Remove(const SnapshotKey& key);

  const std::string& root() const { return root_; }

 private:
  Catalog(FileSystem& files, std::string root);

  std::string PathOf(const std::string& name) const;
  // REQUIRES of these: the root is locked, to change something exclusively.
  Status Sweep();
  Result<std::vector<Entry>> Survey() const;
  Entry EntryOf(const std::string& name) const;
  Result<bool> IsPinned(const Entry& entry) const;
  Status RemoveFolder(const std::string& name);
  // Finishes or undoes the replacement of the snapshot with this folder name that a crash has cut short.
  Status SettleReplacement(const std::string& name);
  Status SwapIn(const PendingSnapshot& pending);
  Result<Manifest> Describe(const PendingSnapshot& pending, const SnapshotSources& sources) const;
  Result<SnapshotFiles> OpenFolder(const std::string& folder, const SnapshotKey& key) const;
  Result<Manifest> ReadManifest(const std::string& folder) const;
  std::optional<WorkingSet> ReadWorkingSet(const std::string& folder, const Manifest& manifest) const;
  UniqueFd OpenWorkingPages(const std::string& folder, const SnapshotFiles& files) const;
  // Puts the file `name`, which `write` fills, into the folder of the snapshot, in place of an older one.
  Status SaveBeside(const SnapshotKey& key, uint64_t state_checksum, std::string_view name,
                    const std::function<Status(int fd)>& write);

  FileSystem* files_;
  std::string root_;
};

}  // namespace snapfaas::snapshot
