// The `working_pages` file of a snapshot (docs/snapshot_format.md): the pages of its working set side by side, for
// restores from disk. Where they lie in the memory image each few of them would be a request of their own; here they
// are read in one go, as REAP does (ASPLOS '21).
//
// It is advice, as the working set is.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "snapshot/page_loader.h"
#include "snapshot/working_set.h"

namespace snapfaas::snapshot {

// Each run is a mapping to be made at each restore; pages between runs that lie this close are read along.
inline constexpr uint32_t kPackedGap = 8;

// Fills an empty file. `memory` is as a restore leaves it; `snapshot_checksum` that of the state file.
Status WriteWorkingPages(int fd, const WorkingSet& set, uint64_t snapshot_checksum, const GuestMemory& memory);

// Whether the file was made of this set and snapshot and is whole. The pages themselves are not verified.
bool HoldsWorkingPages(int fd, const WorkingSet& set, uint64_t snapshot_checksum);

// Where the pages of such a file belong.
std::vector<MapExtent> ExtentsOfWorkingPages(const WorkingSet& set);

}  // namespace snapfaas::snapshot
