// InMemorySnapshot: a snapshot ready to be mapped (the poster's in-memory snapshot store; the disk is the slower tier).
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/manifest.h"

namespace snapfaas::snapshot {

// Owns two sealed memfds, `state` and `memory`. Any number of VMMs may be sent them and map the memory privately, also
// after this object is gone; nobody can change them.
class InMemorySnapshot {
 public:
  // Copies the stored runs, verifying everything against the manifest. kCorrupt or kIncompatible: the snapshot has to
  // be made anew. Whether CPU and devices fit is for the VMM to say (CheckCompatible).
  static Result<InMemorySnapshot> Load(const SnapshotFiles& files);

  const Manifest& manifest() const { return manifest_; }
  int state_fd() const { return state_.get(); }
  int memory_fd() const { return memory_.get(); }
  // What it takes of the host's memory.
  uint64_t resident_bytes() const { return manifest_.stored_bytes + manifest_.state_bytes; }

 private:
  InMemorySnapshot(Manifest manifest, UniqueFd state, UniqueFd memory);

  Manifest manifest_;
  UniqueFd state_;
  UniqueFd memory_;
};

}  // namespace snapfaas::snapshot
