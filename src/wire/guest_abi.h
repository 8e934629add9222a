// What the host and the code inside a guest agree on, below the request channel: addresses, doorbell values and the
// identity page. Included by the VMM and by guest/, so it depends on nothing. docs/guest_contract.md explains it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace snapfaas::wire {

// The doorbell of the SnapFaaS poster: a write of one of the values below, 8, 16 or 32 bits wide, to this I/O port or
// to the first byte of this MMIO page.
inline constexpr uint16_t kDoorbellPort = 0x3f0;
inline constexpr uint64_t kDoorbellMmioBase = 0xd000'0000;
inline constexpr uint64_t kDoorbellMmioSize = 0x1000;

enum class Doorbell : uint32_t {
  // Progress marks, stamped by the VMM; they change nothing.
  kKernelUp = 1,   // the initramfs runs: the kernel's own boot is over
  kAgentUp = 2,    // the agent runs: OpenRC's part is over
  kRuntimeUp = 3,  // the language bootstrap waits for a function
  kMounted = 4,    // the appfs is mounted; the bootstrap has been told to load
  kIdentity = 5,   // before it: the machine has its identity: clock, host name, boot id, random seed
  // The poster's values.
  kSnapshot = 124,  // from every vCPU: take the snapshot here. A vCPU is held until all have rung
  kReady = 126,     // ready for requests
};

// A page the guest can only read, filled by the host before the first guest instruction after a boot or a restore.
inline constexpr uint64_t kIdentityPageBase = 0xd000'1000;
inline constexpr uint64_t kIdentityPageSize = 0x1000;
inline constexpr uint64_t kIdentityMagic = 0x31444953'50414e53;  // "SNAPSID1", little-endian

struct IdentityPage {
  uint64_t magic;
  uint64_t generation;  // 0 after a boot, differing after every restore
  int64_t realtime_ns;  // the host's CLOCK_REALTIME when the vCPUs were let go
  uint8_t has_appfs;    // 1: /dev/pmem1 holds an appfs to be mounted
  uint8_t checkpoint;   // 1: once the function is loaded, go to the snapshot point (124) again
  uint8_t reserved[6];  // zero
  uint8_t seed[64];     // from the host's random source, never used twice
  char vm_id[64];       // NUL-terminated
  char hostname[64];    // NUL-terminated
};
static_assert(sizeof(IdentityPage) == 224);

// Named ports of the virtio console.
inline constexpr char kRequestPortName[] = "snapfaas.requests";
inline constexpr char kLogPortName[] = "snapfaas.log";

// How the agent's line on the console begins when the language bootstrap has ended, after "snapfaas-agent: ": AWS
// Lambda's words, for a person. "Runtime exited with error: exit status 1", "... with error: signal: killed", "...
// without providing a reason".
inline constexpr char kRuntimeExited[] = "Runtime exited";

// /dev/pmem1 always has this size, so that any appfs fits behind a snapshot; past the image it reads as zeroes. AWS
// Lambda allows a function 250 MiB.
inline constexpr uint64_t kAppfsDeviceBytes = uint64_t{256} << 20;

}  // namespace snapfaas::wire
