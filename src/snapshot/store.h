// LoadedSnapshot: a snapshot ready to be restored from, in memory (the poster's in-memory snapshot store) or on disk,
// the slower tier.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/in_memory_image.h"
#include "snapshot/kernel_text.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_image.h"
#include "snapshot/page_loader.h"
#include "snapshot/working_set.h"

namespace snapfaas::snapshot {

// Any number of VMMs may be sent its descriptors, also after this object is gone. In memory they are sealed memfds that
// nobody can change; on disk they are the published files, which nobody does change.
class LoadedSnapshot {
 public:
  // Puts the complete memory image of a base snapshot together from the snapshot and the kernel that its VM was booted
  // from, verifying everything against the manifest. kCorrupt or kIncompatible: the snapshot has to be made anew.
  // Whether CPU and devices fit is for the VMM to say (CheckCompatible).
  static Result<LoadedSnapshot> Load(const SnapshotFiles& files, const MemorySources& sources);

  // A function snapshot: what differs from `base`, which it shares. kIncompatible: it was taken on another base.
  static Result<LoadedSnapshot> LoadFunction(const SnapshotFiles& files, const LoadedSnapshot& base,
                                             const MemorySources& sources);

  // Verifies all but the memory's bytes, which a restore reads from the disk when they are touched. `text` is that of
  // the kernel, where it has one: in memory, for all snapshots on disk to share.
  // REQUIRES: the same tier for a function snapshot and its base.
  static Result<LoadedSnapshot> OpenOnDisk(const SnapshotFiles& files, const MemorySources& sources,
                                           std::shared_ptr<const KernelText> text = nullptr);
  static Result<LoadedSnapshot> OpenFunctionOnDisk(const SnapshotFiles& files, const LoadedSnapshot& base);

  // From now on restores may bring these pages in at once. Done by the above with what the catalogue has.
  Status UseWorkingSet(const WorkingSet& set);

  // Adds to this base's pages what one of its functions changes and touches: shells that are primed from now on have
  // them in place for it, and for others of its kind. REQUIRES: in memory; `function` was loaded over this base.
  Status LearnFrom(LoadedSnapshot& function);

  const Manifest& manifest() const { return manifest_; }
  bool has_working_set() const { return !plan_.read.empty() || !plan_.written.empty(); }

  // Names the base snapshot, its own or the one under it; empty on disk, where nothing is shared in memory.
  std::string base_id() const;

  // Borrowed; -1: there is none.
  int state_fd() const { return state_.get(); }
  int plan_fd() const { return plan_fd_.get(); }
  ImageFiles images() const {
    return {image_.get(), overlay_.get(), kernel_.get(), packed_.get(), text_ ? text_->fd() : -1};
  }

  // Fills an empty file with the pages of `set` as a restore leaves them (working_pages.h).
  Status WriteWorkingPages(int fd, const WorkingSet& set) const;

  // What it takes of the host's memory by itself: a function snapshot without its base. 0 on disk, but for the state.
  uint64_t resident_bytes() const;

 private:
  enum class Tier { kMemory, kDisk };

  LoadedSnapshot(Tier tier, Manifest manifest) : tier_(tier), manifest_(std::move(manifest)) {}
  Status TakeState(const SnapshotFiles& files, MemoryMap& map);
  Status ShareBase(const LoadedSnapshot& base);
  Status TakeWorkingPages(const SnapshotFiles& files);
  Status FinishPlan(const SnapshotFiles& files);
  Status RewritePlan();
  void CollapseReadRegions();

  Tier tier_;
  Manifest manifest_;
  UniqueFd state_;
  UniqueFd image_;
  UniqueFd overlay_;
  UniqueFd kernel_;
  UniqueFd packed_;
  std::shared_ptr<const KernelText> text_;
  RestorePlan plan_;
  std::vector<MapExtent> unpacked_;    // the plan's extents where nothing is packed: what a function snapshot builds on
  std::vector<PageRun> base_written_;  // what a shell that was primed with the base has of its own
  UniqueFd plan_fd_;
};

}  // namespace snapfaas::snapshot
