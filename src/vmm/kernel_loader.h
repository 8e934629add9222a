// Loads a kernel for the 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): a bzImage, or
// an ELF executable such as vmlinux or a hand-made test guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "memory/guest_address.h"
#include "memory/guest_memory.h"

namespace snapfaas::vmm {

// Offsets in a bzImage; the zero page has its setup header at the same place.
inline constexpr size_t kSetupHeaderOffset = 0x1f1;
inline constexpr size_t kSetupMagicOffset = 0x202;
inline constexpr uint32_t kSetupMagic = 0x53726448;  // "HdrS"

struct LoadedKernel {
  GuestAddress entry;
  // The setup header (boot.rst, "The Real-Mode Kernel Header"), which the zero page repeats; a bzImage has one.
  std::vector<uint8_t> setup_header;
  uint64_t initramfs_limit;  // an initramfs must end at or below this guest-physical address
};

// kInvalidArgument when the file is no x86-64 kernel or does not fit into the memory.
Result<LoadedKernel> LoadKernel(int kernel_fd, GuestMemory& memory);

struct LoadedInitramfs {
  GuestAddress base;
  uint64_t size;
};

// Puts the file as high as memory and `limit` allow.
Result<LoadedInitramfs> LoadInitramfs(int initramfs_fd, uint64_t limit, GuestMemory& memory);

}  // namespace snapfaas::vmm
