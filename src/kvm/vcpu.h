// One vCPU. Run() enters the guest and says why it came back; the thread that calls Run() is the vCPU.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/mapped_region.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "kvm/vcpu_state.h"
#include "memory/guest_address.h"

namespace snapfaas::kvm {

// The data spans point into the area shared with the kernel, valid until the next Run(). A read's answer is written
// there; the access completes at the start of the next Run().
struct PortReadExit {
  uint16_t port;
  uint32_t width;  // bytes of one access; the span holds one or more
  std::span<uint8_t> data;
};
struct PortWriteExit {
  uint16_t port;
  uint32_t width;
  std::span<const uint8_t> data;
};
struct MmioReadExit {
  GuestAddress address;
  std::span<uint8_t> data;
};
struct MmioWriteExit {
  GuestAddress address;
  std::span<const uint8_t> data;
};
struct HaltExit {};         // only without the in-kernel interrupt controller
struct ShutdownExit {};     // a triple fault, or INIT of the boot processor
struct SystemResetExit {};  // KVM_EXIT_SYSTEM_EVENT asking for a reset or shutdown
struct InterruptedExit {};  // a signal, or immediate exit
struct BrokenExit {         // KVM cannot go on with this guest
  uint32_t reason;
  uint64_t detail;
};

using VcpuExit = std::variant<PortReadExit, PortWriteExit, MmioReadExit, MmioWriteExit, HaltExit, ShutdownExit,
                              SystemResetExit, InterruptedExit, BrokenExit>;

class Vcpu {
 public:
  static Result<Vcpu> Create(UniqueFd fd, uint32_t index, size_t mmap_size);

  uint32_t index() const { return index_; }

  Result<VcpuExit> Run();

  // Makes the current or next Run() of another thread return InterruptedExit; that thread must also be sent a signal
  // in case it is inside the guest already.
  void RequestExit();
  void ClearExitRequest();

  // Finishes the access of the last exit without running any guest instruction. REQUIRES: Run() is not running.
  Status CompleteAccess();

  Status SetCpuid(const std::vector<kvm_cpuid_entry2>& entries) const;
  Status SetRegs(const kvm_regs& regs) const;
  Result<kvm_regs> GetRegs() const;
  Status SetSregs(const kvm_sregs& sregs) const;
  Result<kvm_sregs> GetSregs() const;
  Status SetMsrs(std::span<const kvm_msr_entry> msrs) const;

  // REQUIRES: Run() is not running and the last access is complete. MSRs that the host lists but cannot read are
  // left out.
  Result<VcpuState> Save(std::span<const uint32_t> msr_indices) const;

  // REQUIRES: SetCpuid was called with what the saved vCPU had.
  Status Restore(const VcpuState& state) const;

 private:
  Vcpu(UniqueFd fd, uint32_t index, MappedRegion run)
      : fd_(std::move(fd)), index_(index), run_region_(std::move(run)) {}

  kvm_run* run() const { return reinterpret_cast<kvm_run*>(run_region_.data()); }

  UniqueFd fd_;
  uint32_t index_;
  MappedRegion run_region_;
};

}  // namespace snapfaas::kvm
