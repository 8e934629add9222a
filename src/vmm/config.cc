#include "vmm/config.h"

#include "vmm/layout.h"

namespace snapfaas::vmm {

Status Config::Check() const {
  if (memory_bytes < kMinMemoryBytes || memory_bytes > kMaxMemoryBytes || memory_bytes % 1_MiB != 0) {
    return Fail(ErrorCode::kInvalidArgument, "a microVM has {} to {} MiB of memory, not {} bytes",
                kMinMemoryBytes >> 20, kMaxMemoryBytes >> 20, memory_bytes);
  }
  if (vcpus < 1 || vcpus > kMaxVcpus) {
    return Fail(ErrorCode::kInvalidArgument, "a microVM has 1 to {} vCPUs, not {}", kMaxVcpus, vcpus);
  }
  return {};
}

}  // namespace snapfaas::vmm
