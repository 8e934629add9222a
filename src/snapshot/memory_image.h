// The `memory` file of a snapshot (docs/snapshot_format.md): a sparse file whose offsets are guest-physical addresses.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "snapshot/format.h"

namespace snapfaas::snapshot {

// Fills an empty file with the pages that are not zero; the rest stays holes. Untouched memory is neither read nor
// populated, where /proc is mounted (else all of it is read, with the same outcome).
// REQUIRES: nothing writes to the memory meanwhile; it is GuestMemory::Create's, with no image mapped into it.
// kResourceExhausted: the disk is full.
Result<MemoryMap> WriteMemoryImage(int fd, const GuestMemory& memory);

// Reads the stored pages into fresh, zeroed memory: the poster's way to restore. Checksums are not compared.
// kCorrupt when the file is too short, kIncompatible when a run lies outside the memory.
Status CopyMemoryImage(int fd, const MemoryMap& map, GuestMemory& memory);

// What to do with bytes outside the runs on a file system that cannot tell where the holes are, such as 9p.
enum class UnknownHoles {
  kRead,  // read them all: slow on a large file
  kSkip,  // for a caller that never uses them
};

// The file is `size` bytes, every run has its checksum, and all bytes outside the runs are zero. kCorrupt otherwise.
Status VerifyMemoryImage(int fd, const MemoryMap& map, uint64_t size, UnknownHoles unknown = UnknownHoles::kRead);

// Verifies a memory image while copying its runs to the same places of another, empty file.
Status CopyVerified(int from, int to, const MemoryMap& map, uint64_t size);

}  // namespace snapfaas::snapshot
