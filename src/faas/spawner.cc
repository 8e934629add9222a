#include "faas/spawner.h"

namespace snapfaas::faas {

Status CheckVmSize(const VmSize& size) {
  if (size.memory_mib < kMinMemoryMib || size.memory_mib > kMaxMemoryMib || size.memory_mib % kMemoryStepMib != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "{} MiB of memory is not a size that a microVM can have: {} to {} in steps of {}", size.memory_mib,
                kMinMemoryMib, kMaxMemoryMib, kMemoryStepMib);
  }
  if (size.vcpus < 1 || size.vcpus > kMaxVcpus) {
    return Fail(ErrorCode::kInvalidArgument, "a microVM has 1 to {} vCPUs, not {}", kMaxVcpus, size.vcpus);
  }
  return {};
}

}  // namespace snapfaas::faas
