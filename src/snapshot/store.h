// InMemorySnapshot: a snapshot ready to be mapped (the poster's in-memory snapshot store; the disk is the slower tier).
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_image.h"

namespace snapfaas::snapshot {

// Owns two sealed memfds, `state` and `memory`. Any number of VMMs may be sent them and map the memory privately, also
// after this object is gone; nobody can change them.
class InMemorySnapshot {
 public:
  // Puts the complete memory image together from the snapshot and the files that its VM was booted from, verifying
  // everything against the manifest. kCorrupt or kIncompatible: the snapshot has to be made anew. Whether CPU and
  // devices fit is for the VMM to say (CheckCompatible).
  static Result<InMemorySnapshot> Load(const SnapshotFiles& files, const MemorySources& sources);

  const Manifest& manifest() const { return manifest_; }
  int state_fd() const { return state_.get(); }
  int memory_fd() const { return memory_.get(); }
  // What it takes of the host's memory.
  uint64_t resident_bytes() const { return resident_bytes_; }

 private:
  InMemorySnapshot(Manifest manifest, UniqueFd state, UniqueFd memory, uint64_t resident_bytes);

  Manifest manifest_;
  UniqueFd state_;
  UniqueFd memory_;
  uint64_t resident_bytes_;
};

}  // namespace snapfaas::snapshot
