// Where everything is in a microVM: guest-physical addresses and interrupt lines. What the guest's own programs must
// know is in wire/guest_abi.h.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "memory/guest_address.h"
#include "wire/guest_abi.h"

namespace snapfaas::vmm {

// RAM is one range from 0 to at most 3 GiB; devices live above it and below 4 GiB.
inline constexpr uint64_t kMinMemoryBytes = 2_MiB;
inline constexpr uint64_t kMaxMemoryBytes = 3_GiB;
inline constexpr uint32_t kMaxVcpus = 8;

// Low memory, as the boot code lays it out.
inline constexpr GuestAddress kGdt{0x500};
inline constexpr GuestAddress kZeroPage{0x7000};
inline constexpr GuestAddress kBootStack{0x8ff0};
inline constexpr GuestAddress kPageTables{0x9000};  // PML4, PDPT, four page directories
inline constexpr GuestAddress kCmdline{0x20000};
inline constexpr uint64_t kMaxCmdline = 2_KiB;
inline constexpr uint64_t kLowMemoryEnd = 0x9fc00;
inline constexpr GuestAddress kAcpiTables{0xe0000};
inline constexpr uint64_t kAcpiTablesSize = 0x10000;
inline constexpr uint64_t kHighMemoryStart = 1_MiB;

// Virtio-mmio devices, one page and one interrupt line each, in the order of devices below.
inline constexpr GuestAddress kVirtioBase{0xd0010000};
inline constexpr uint64_t kVirtioStride = 0x1000;
inline constexpr uint32_t kVirtioFirstGsi = 5;

// The file system images, as persistent memory behind virtio-pmem devices. Linux maps such memory in pieces of 16 MiB.
inline constexpr GuestAddress kRuntimefsBase{4_GiB};
inline constexpr uint64_t kMaxRuntimefsBytes = 2_GiB;
inline constexpr uint64_t kPmemGranule = 16_MiB;
inline constexpr GuestAddress kAppfsBase{kRuntimefsBase + kMaxRuntimefsBytes};
static_assert(wire::kAppfsDeviceBytes % kPmemGranule == 0);

inline constexpr GuestAddress kIoApic{0xfec00000};
inline constexpr GuestAddress kLocalApic{0xfee00000};
inline constexpr GuestAddress kIntelIdentityMap{0xfeffc000};
inline constexpr GuestAddress kIntelTss{0xfeffd000};

inline constexpr uint32_t kMemorySlotRam = 0;
inline constexpr uint32_t kMemorySlotIdentity = 1;
inline constexpr uint32_t kMemorySlotRuntimefs = 2;
inline constexpr uint32_t kMemorySlotAppfs = 3;

}  // namespace snapfaas::vmm
