// The whole state of one vCPU as a plain struct, and its bytes in a snapshot.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/coding.h"
#include "base/result.h"

namespace snapfaas::kvm {

// More than any KVM has.
inline constexpr uint32_t kMaxMsrs = 1024;

struct VcpuState {
  kvm_regs regs{};
  kvm_sregs sregs{};
  std::vector<uint8_t> xsave;  // as KVM_GET_XSAVE2 (or its elder) gives it
  kvm_xcrs xcrs{};
  kvm_debugregs debugregs{};
  kvm_lapic_state lapic{};
  kvm_mp_state mp_state{};
  kvm_vcpu_events events{};
  std::vector<kvm_msr_entry> msrs;
  uint32_t tsc_khz = 0;

  void Encode(ByteWriter& writer) const;
  static Result<VcpuState> Decode(std::span<const uint8_t> bytes);
};

}  // namespace snapfaas::kvm
