#include "kvm/vcpu.h"

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "kvm/flexible_array.h"
#include "kvm/ioctl.h"

namespace snapfaas::kvm {
namespace {

using MsrBatch = FlexibleArray<kvm_msr_entry, 8>;

// Reads all of `indices`, leaving out those that KVM lists but refuses.
Result<std::vector<kvm_msr_entry>> ReadMsrs(int fd, std::span<const uint32_t> indices) {
  std::vector<kvm_msr_entry> values;
  values.reserve(indices.size());
  while (!indices.empty()) {
    MsrBatch batch(indices.size());
    for (size_t i = 0; i < indices.size(); ++i) batch.entries()[i].index = indices[i];
    const int got = Ioctl(fd, kGetMsrs, batch.data());
    if (got < 0) return FailErrno(errno, "reading MSRs");
    const auto count = static_cast<size_t>(got);
    values.insert(values.end(), batch.entries(), batch.entries() + count);
    indices = indices.subspan(std::min(indices.size(), count + 1));
  }
  return values;
}

// The value an MSR has now, to tell a refused write that changes nothing from one that matters.
bool HasValue(int fd, const kvm_msr_entry& wanted) {
  MsrBatch batch(1);
  batch.entries()[0].index = wanted.index;
  return Ioctl(fd, kGetMsrs, batch.data()) == 1 && batch.entries()[0].data == wanted.data;
}

}  // namespace

Result<Vcpu> Vcpu::Create(UniqueFd fd, uint32_t index, size_t mmap_size) {
  auto region = MappedRegion::OfFile(fd.get(), 0, mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!region) return Forward(region.error(), "mapping the shared area of a vCPU");
  return Vcpu(std::move(fd), index, std::move(*region));
}

Result<VcpuExit> Vcpu::Run() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno == EINTR || errno == EAGAIN) return VcpuExit(InterruptedExit{});
    return FailErrno(errno, "running vCPU {}", index_);
  }
  kvm_run* area = run();
  switch (area->exit_reason) {
    case KVM_EXIT_IO: {
      const uint64_t size = uint64_t{area->io.size} * area->io.count;
      uint8_t* data = run_region_.data() + area->io.data_offset;
      if (area->io.direction == KVM_EXIT_IO_IN) {
        return VcpuExit(PortReadExit{area->io.port, area->io.size, {data, size}});
      }
      return VcpuExit(PortWriteExit{area->io.port, area->io.size, {data, size}});
    }
    case KVM_EXIT_MMIO: {
      const size_t size = std::min<size_t>(area->mmio.len, sizeof(area->mmio.data));
      const GuestAddress address(area->mmio.phys_addr);
      if (area->mmio.is_write != 0) return VcpuExit(MmioWriteExit{address, {area->mmio.data, size}});
      return VcpuExit(MmioReadExit{address, {area->mmio.data, size}});
    }
    case KVM_EXIT_HLT:
      return VcpuExit(HaltExit{});
    case KVM_EXIT_SHUTDOWN:
      return VcpuExit(ShutdownExit{});
    case KVM_EXIT_SYSTEM_EVENT:
      return VcpuExit(SystemResetExit{});
    case KVM_EXIT_INTR:
      return VcpuExit(InterruptedExit{});
    case KVM_EXIT_FAIL_ENTRY:
      return VcpuExit(BrokenExit{area->exit_reason, area->fail_entry.hardware_entry_failure_reason});
    case KVM_EXIT_INTERNAL_ERROR:
      return VcpuExit(BrokenExit{area->exit_reason, area->internal.suberror});
    default:
      return VcpuExit(BrokenExit{area->exit_reason, 0});
  }
}

void Vcpu::RequestExit() { std::atomic_ref<uint8_t>(run()->immediate_exit).store(1, std::memory_order_release); }

void Vcpu::ClearExitRequest() { std::atomic_ref<uint8_t>(run()->immediate_exit).store(0, std::memory_order_release); }

Status Vcpu::CompleteAccess() {
  RequestExit();
  const int result = ::ioctl(fd_.get(), KVM_RUN, 0);
  const int os_errno = errno;
  ClearExitRequest();
  if (result < 0 && os_errno != EINTR) return FailErrno(os_errno, "completing the last access of vCPU {}", index_);
  return {};
}

Status Vcpu::SetCpuid(const std::vector<kvm_cpuid_entry2>& entries) const {
  FlexibleArray<kvm_cpuid_entry2, 8> cpuid(entries.size());
  std::copy(entries.begin(), entries.end(), cpuid.entries());
  if (Ioctl(fd_.get(), kSetCpuid2, cpuid.data()) < 0) return FailErrno(errno, "setting the CPUID of vCPU {}", index_);
  return {};
}

Status Vcpu::SetRegs(const kvm_regs& regs) const {
  if (Ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) return FailErrno(errno, "loading the registers of vCPU {}", index_);
  return {};
}

Result<kvm_regs> Vcpu::GetRegs() const {
  kvm_regs regs{};
  if (Ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0) return FailErrno(errno, "reading the registers of vCPU {}", index_);
  return regs;
}

Status Vcpu::SetSregs(const kvm_sregs& sregs) const {
  if (Ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) {
    return FailErrno(errno, "loading the special registers of vCPU {}", index_);
  }
  return {};
}

Result<kvm_sregs> Vcpu::GetSregs() const {
  kvm_sregs sregs{};
  if (Ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) {
    return FailErrno(errno, "reading the special registers of vCPU {}", index_);
  }
  return sregs;
}

Status Vcpu::SetMsrs(std::span<const kvm_msr_entry> msrs) const {
  while (!msrs.empty()) {
    MsrBatch batch(msrs.size());
    std::copy(msrs.begin(), msrs.end(), batch.entries());
    const int set = Ioctl(fd_.get(), kSetMsrs, batch.data());
    if (set < 0) return FailErrno(errno, "loading the MSRs of vCPU {}", index_);
    const auto count = static_cast<size_t>(set);
    if (count >= msrs.size()) break;
    // KVM stops at the first it refuses. Some it lists are read-only: no loss where the value is there already.
    const kvm_msr_entry& refused = msrs[count];
    if (!HasValue(fd_.get(), refused)) {
      return Fail(ErrorCode::kIncompatible, "this host's KVM refuses MSR {:#x} = {:#x} for vCPU {}",
                  uint32_t{refused.index}, uint64_t{refused.data}, index_);
    }
    msrs = msrs.subspan(count + 1);
  }
  return {};
}

Result<VcpuState> Vcpu::Save(std::span<const uint32_t> msr_indices) const {
  VcpuState state;
  const int fd = fd_.get();
  auto regs = GetRegs();
  if (!regs) return Forward(regs.error());
  state.regs = *regs;
  auto sregs = GetSregs();
  if (!sregs) return Forward(sregs.error());
  state.sregs = *sregs;
  const int xsave_size = Ioctl(fd, KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2));
  state.xsave.resize(std::max(kXsaveBytes, static_cast<size_t>(std::max(0, xsave_size))));
  const unsigned long get_xsave = xsave_size > 0 ? kGetXsave2 : kGetXsave;
  if (Ioctl(fd, get_xsave, state.xsave.data()) < 0) return FailErrno(errno, "reading the FPU state of a vCPU");
  if (Ioctl(fd, KVM_GET_XCRS, &state.xcrs) < 0) return FailErrno(errno, "reading the XCRs of a vCPU");
  if (Ioctl(fd, KVM_GET_DEBUGREGS, &state.debugregs) < 0) return FailErrno(errno, "reading the debug registers");
  if (Ioctl(fd, KVM_GET_LAPIC, &state.lapic) < 0) return FailErrno(errno, "reading the local APIC of a vCPU");
  if (Ioctl(fd, KVM_GET_MP_STATE, &state.mp_state) < 0) return FailErrno(errno, "reading the run state of a vCPU");
  if (Ioctl(fd, KVM_GET_VCPU_EVENTS, &state.events) < 0) return FailErrno(errno, "reading a vCPU's pending events");
  auto msrs = ReadMsrs(fd, msr_indices);
  if (!msrs) return Forward(msrs.error());
  state.msrs = std::move(*msrs);
  const int khz = Ioctl(fd, KVM_GET_TSC_KHZ);
  state.tsc_khz = khz > 0 ? static_cast<uint32_t>(khz) : 0;
  return state;
}

Status Vcpu::Restore(const VcpuState& state) const {
  const int fd = fd_.get();
  kvm_mp_state mp_state = state.mp_state;
  if (Ioctl(fd, KVM_SET_MP_STATE, &mp_state) < 0) return FailErrno(errno, "loading the run state of a vCPU");
  auto set = SetRegs(state.regs);
  if (!set) return set;
  // SREGS hold the APIC base, so they come before the APIC; the APIC comes before the MSRs, or a pending TSC deadline
  // is dropped.
  set = SetSregs(state.sregs);
  if (!set) return set;
  const int xsave_size = Ioctl(fd, KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2));
  if (state.xsave.size() != std::max(kXsaveBytes, static_cast<size_t>(std::max(0, xsave_size)))) {
    return Fail(ErrorCode::kIncompatible, "the snapshot's FPU state of {} bytes does not fit this host's CPU",
                state.xsave.size());
  }
  if (Ioctl(fd, kSetXsave, state.xsave.data()) < 0) return FailErrno(errno, "loading the FPU state of a vCPU");
  if (Ioctl(fd, KVM_SET_XCRS, &state.xcrs) < 0) return FailErrno(errno, "loading the XCRs of a vCPU");
  if (Ioctl(fd, KVM_SET_DEBUGREGS, &state.debugregs) < 0) return FailErrno(errno, "loading the debug registers");
  if (Ioctl(fd, KVM_SET_LAPIC, &state.lapic) < 0) return FailErrno(errno, "loading the local APIC of a vCPU");
  set = SetMsrs(state.msrs);
  if (!set) return set;
  if (Ioctl(fd, KVM_SET_VCPU_EVENTS, &state.events) < 0) return FailErrno(errno, "loading a vCPU's pending events");
  // Tells the guest's watchdog that it was paused. Fails for a guest that never set up kvm-clock, which needs no
  // telling.
  Ioctl(fd, KVM_KVMCLOCK_CTRL);
  return {};
}

}  // namespace snapfaas::kvm
