// Between a stopped machine and the sections of a snapshot's state file (docs/snapshot_format.md).
#pragma once

#include <vector>

#include "base/result.h"
#include "kvm/vcpu_state.h"
#include "kvm/vm.h"
#include "snapshot/format.h"
#include "vmm/device_set.h"

namespace snapfaas::vmm {

// Everything of a microVM but its RAM.
struct MachineState {
  kvm::VmState vm;
  DeviceSetState devices;
  std::vector<kvm::VcpuState> vcpus;
};

std::vector<snapshot::Section> ToSections(const MachineState& state);

// kCorrupt when a section is missing or cannot be what it claims to be.
Result<MachineState> FromSections(const snapshot::StateFile& file);

}  // namespace snapfaas::vmm
