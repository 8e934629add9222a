// The working set of a snapshot: the pages that a microVM restored from it touched up to its first answer
// (docs/snapshot_format.md, "working_set"). Most of them recur from one request to the next, whatever its input (REAP,
// ASPLOS '21), so that a restore does well to have them in place before the guest runs.
//
// It is advice: a restore without one, or with one that no longer fits, is slower and as right.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "memory/page_run.h"

namespace snapfaas::snapshot {

struct WorkingSet {
  // Ascending, and no page in both. What was only read comes in with its neighbours, as the host maps it.
  std::vector<PageRun> read;
  std::vector<PageRun> written;

  bool operator==(const WorkingSet&) const = default;
};

uint64_t PagesOf(std::span<const PageRun> runs);

// All its pages, read or written, ascending.
std::vector<PageRun> AllPages(const WorkingSet& set);

// The share of `set` that `other` has too, 0 to 1: how well a restore is served that brings in `other`. 1 for no pages.
double RecurrenceIn(const WorkingSet& other, const WorkingSet& set);

// Of a guest that was restored by mapping an image privately. Its vCPUs may go on running.
WorkingSet RecordWorkingSet(const GuestMemory& memory);

// `set` of a function snapshot, and `base` that of the snapshot below it. A base's image has huge pages where its own
// set reads much: a recording over one takes in all of it. There, what the base's set says is all that is known.
WorkingSet Narrow(const WorkingSet& set, const WorkingSet& base);

inline constexpr size_t kMaxWorkingSetBytes = 16 * 1024 * 1024;

// `snapshot_checksum` is that of the state file it belongs to.
std::vector<uint8_t> EncodeWorkingSet(const WorkingSet& set, uint64_t snapshot_checksum);

// kCorrupt: damaged, or not of a VM with so much memory. kIncompatible: of another version or another snapshot.
Result<WorkingSet> DecodeWorkingSet(std::span<const uint8_t> bytes, uint64_t snapshot_checksum, uint64_t memory_bytes);

// As a VMM has written it, with a snapshot checksum of 0.
Result<WorkingSet> ReadRecordedWorkingSet(int fd, uint64_t memory_bytes);

}  // namespace snapfaas::snapshot
