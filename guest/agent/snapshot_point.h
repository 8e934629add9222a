// Getting to the snapshot point: as little memory in use as possible, then 124 from every vCPU.
#pragma once

#include "common/doorbell.h"

namespace snapfaas::guest {

// Waits (bounded) until OpenRC's own programs are gone, so that none of them is in the snapshot.
void WaitForOpenRc();

// Has a page fault in a file map that page alone, not the fifteen around it: what a program never uses is then not
// mapped, and can be dropped before the snapshot. ShrinkMemory() sets it back.
void MapFilesSparsely();

// Drops caches that can be read again. Where the kernel's command line has "snapfaas.scrub", also fills the free
// memory with zeroes, which take no space in a snapshot.
void ShrinkMemory();

// Turns off the kernel's chores of housekeeping that pay on a machine that lives long.
void QuietKernel();

// Gives the kernel the time to finish what was put off: what RCU, timers and work queues still have to do would be done
// in each restored VM.
void LetKernelSettle();

// Rings 124 from every vCPU and returns when the host has let this one go on.
//
// A vCPU is held at its write until all have written, so no vCPU may need another between the first write and the last:
// the threads are made and pinned beforehand and meet at a barrier that they spin on.
void RingFromEveryCpu(const DoorbellPage& doorbell);

}  // namespace snapfaas::guest
