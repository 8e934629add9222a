// Loads a kernel for the 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): a bzImage, or
// an ELF executable such as vmlinux or a hand-made test guest.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "memory/guest_address.h"
#include "memory/guest_memory.h"

namespace snapfaas::vmm {

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
