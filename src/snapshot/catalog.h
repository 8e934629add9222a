// Catalog: the snapshots on disk, one folder each (docs/snapshot_format.md, "The catalogue's folder").
//
//   Begin(key) -> PendingSnapshot --Publish--> seen by Open, List
//                       |
//                       +-- destroyed unpublished: its folder is removed
//
// Several processes may have the same catalogue open.
#pragma once

#include <string>
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

class Catalog {
 public:
  // Makes the root folder where it is missing, sweeps what crashed builders left, finishes or undoes a replacement that
  // was cut short. `files` must outlive the catalogue and its pending snapshots.
  static Result<Catalog> Open(FileSystem& files, std::string root);

  Result<PendingSnapshot> Begin(const SnapshotKey& key);

  // Checks what the VMM has written, writes the manifest, makes all of it outlast a power cut and puts it in the place
  // of an older one of the same key. On failure the older one is still there and the pending one is removed.
  Result<Manifest> Publish(PendingSnapshot pending, const SnapshotSources& sources);

  // kNotFound, kCorrupt, kIncompatible: each says which command makes the snapshot.
  Result<SnapshotFiles> Find(const SnapshotKey& key) const;

  struct Entry {
    std::string folder;         // its name
    Result<Manifest> manifest;  // or why it cannot be used
  };
  Result<std::vector<Entry>> List() const;

  // kNotFound when there is none.
  Status Remove(const SnapshotKey& key);

  const std::string& root() const { return root_; }

 private:
  Catalog(FileSystem& files, std::string root);

  std::string PathOf(const std::string& name) const;
  Status Sweep();
  // Finishes or undoes the replacement of the snapshot with this folder name that a crash has cut short.
  Status SettleReplacement(const std::string& name);
  Status SwapIn(const PendingSnapshot& pending);
  Result<Manifest> Describe(const PendingSnapshot& pending, const SnapshotSources& sources) const;
  Result<SnapshotFiles> OpenFolder(const std::string& folder, const SnapshotKey& key) const;
  Result<Manifest> ReadManifest(const std::string& folder) const;

  FileSystem* files_;
  std::string root_;
};

}  // namespace snapfaas::snapshot
