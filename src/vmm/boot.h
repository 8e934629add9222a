// Everything between "the kernel is in memory" and the first guest instruction of a boot: zero page, page tables,
// descriptors and registers, as the 64-bit boot protocol wants them.
#pragma once

#include <linux/kvm.h>

#include <optional>
#include <string_view>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "vmm/kernel_loader.h"

namespace snapfaas::vmm {

struct BootPlan {
  LoadedKernel kernel;
  std::optional<LoadedInitramfs> initramfs;
  std::string_view cmdline;
  GuestAddress rsdp;
};

// Fills low memory. kInvalidArgument when the command line is too long.
Status WriteBootStructures(const BootPlan& plan, GuestMemory& memory);

// Registers of the boot processor; the others wait for its INIT and SIPI.
kvm_regs BootRegisters(const BootPlan& plan);

// `sregs` are those of a vCPU after reset; afterwards it is in long mode, all of the low 4 GiB mapped one to one.
void SetLongMode(kvm_sregs& sregs);

}  // namespace snapfaas::vmm
