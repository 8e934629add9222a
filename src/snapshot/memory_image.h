// The `memory` file of a snapshot (docs/snapshot_format.md): a sparse file whose offsets are guest-physical addresses.
// It holds the dirty pages; clean ones are referred to in the kernel that the VM was booted from. With those filled in
// it is the complete image that a VMM restores from.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "snapshot/format.h"

namespace snapfaas::snapshot {

// Borrowed descriptors of the files that a VM was booted from; -1: not at hand.
struct MemorySources {
  int kernel_fd = -1;

  // -1 where there is no file.
  int FdOf(PageSource source) const;
};

// Fills an empty file with the pages that are neither zero nor in a source; the rest stays holes. Untouched memory is
// neither read nor populated, where /proc is mounted (else all of it is read, with the same outcome).
// REQUIRES: nothing writes to the memory meanwhile; it is GuestMemory::Create's, with no image mapped into it.
// kResourceExhausted: the disk is full. kCorrupt: a source is not a regular file.
Result<MemoryMap> WriteMemoryImage(int fd, const GuestMemory& memory, const MemorySources& sources);

// As above for a function snapshot: the pages that differ from those of `base`, which is as the memory was when its VM
// was restored. REQUIRES: both are of one size.
Result<MemoryMap> WriteLayerImage(int fd, const GuestMemory& memory, const GuestMemory& base);

// What to do with bytes outside the runs on a file system that cannot tell where the holes are, such as 9p.
enum class UnknownHoles {
  kRead,  // read them all: slow on a large file
  kSkip,  // for a caller that never uses them
};

// The file is `size` bytes, every run has its checksum, and all bytes outside the stored runs are zero: kCorrupt
// otherwise. kIncompatible: a source is not the file that the snapshot was taken with.
Status VerifyMemoryImage(int fd, const MemoryMap& map, uint64_t size, const MemorySources& sources,
                         UnknownHoles unknown = UnknownHoles::kRead);

// Verifies a memory image while making the complete one of it and its sources in another, empty file.
Status CopyVerified(int from, int to, const MemoryMap& map, uint64_t size, const MemorySources& sources);

}  // namespace snapfaas::snapshot
