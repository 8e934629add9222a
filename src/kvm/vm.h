// One KVM virtual machine: memory slots, the in-kernel interrupt controllers, event descriptors, clock.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/coding.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/guest_address.h"

namespace snapfaas::kvm {

class Vcpu;

enum class SlotAccess { kReadWrite, kReadOnly };

// What a VM holds beside memory and vCPUs.
struct VmState {
  std::array<kvm_irqchip, 3> irqchips{};  // master PIC, slave PIC, I/O APIC
  kvm_clock_data clock{};

  void Encode(ByteWriter& writer) const;
  static Result<VmState> Decode(std::span<const uint8_t> bytes);
};

class Vm {
 public:
  // Memory slots, vCPUs and event descriptors all hang on this; `fd` comes from KVM_CREATE_VM.
  Vm(UniqueFd fd, size_t vcpu_mmap_size) : fd_(std::move(fd)), vcpu_mmap_size_(vcpu_mmap_size) {}

  // REQUIRES: host memory outlives the Vm; base and size are whole pages.
  Status SetMemorySlot(uint32_t slot, GuestAddress base, std::span<uint8_t> host, SlotAccess access) const;

  // Intel's real-mode emulation wants three pages and one page of guest-physical space that nothing else uses.
  Status ReserveIntelPages(GuestAddress identity_map, GuestAddress tss) const;

  // PICs, I/O APIC and local APICs in the kernel. REQUIRES: no vCPU yet.
  Status CreateIrqchip() const;

  Result<Vcpu> CreateVcpu(uint32_t index) const;

  // A write to the eventfd raises an edge on the interrupt line.
  Status AddIrqFd(int event_fd, uint32_t gsi) const;

  // Any 32-bit guest write to `address` signals the eventfd instead of leaving the guest; its value is lost.
  Status AddIoEventFd(int event_fd, GuestAddress address) const;

  // REQUIRES: no vCPU runs.
  Result<VmState> Save() const;
  Status Restore(const VmState& state) const;

 private:
  UniqueFd fd_;
  size_t vcpu_mmap_size_;
};

}  // namespace snapfaas::kvm
