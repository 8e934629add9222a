#include "kvm/vm.h"

#include <cerrno>

#include "kvm/ioctl.h"
#include "kvm/vcpu.h"

namespace snapfaas::kvm {

void VmState::Encode(ByteWriter& writer) const {
  for (const kvm_irqchip& chip : irqchips) writer.PutStruct(chip);
  writer.Put(static_cast<uint64_t>(clock.clock));
}

Result<VmState> VmState::Decode(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  VmState state;
  for (size_t i = 0; i < state.irqchips.size(); ++i) {
    state.irqchips[i] = reader.GetStruct<kvm_irqchip>();
    if (state.irqchips[i].chip_id != i) reader.MarkBad();
  }
  state.clock.clock = reader.Get<uint64_t>();
  auto done = reader.Finish("the interrupt controller and clock state");
  if (!done) return Forward(done.error());
  return state;
}

Status Vm::SetMemorySlot(uint32_t slot, GuestAddress base, std::span<uint8_t> host, SlotAccess access) const {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = access == SlotAccess::kReadOnly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = base.value();
  region.memory_size = host.size();
  region.userspace_addr = reinterpret_cast<uint64_t>(host.data());
  if (Ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
    return FailErrno(errno, "giving the VM memory slot {} of {} bytes at {:#x}", slot, host.size(), base.value());
  }
  return {};
}

Status Vm::ReserveIntelPages(GuestAddress identity_map, GuestAddress tss) const {
  uint64_t address = identity_map.value();
  if (Ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &address) < 0) {
    return FailErrno(errno, "placing the identity map page");
  }
  if (Ioctl(fd_.get(), KVM_SET_TSS_ADDR, tss.value()) < 0) return FailErrno(errno, "placing the TSS pages");
  return {};
}

Status Vm::CreateIrqchip() const {
  if (Ioctl(fd_.get(), KVM_CREATE_IRQCHIP) < 0) return FailErrno(errno, "creating the in-kernel interrupt controller");
  return {};
}

Result<Vcpu> Vm::CreateVcpu(uint32_t index) const {
  UniqueFd fd(Ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
  if (!fd.valid()) return FailErrno(errno, "creating vCPU {}", index);
  return Vcpu::Create(std::move(fd), index, vcpu_mmap_size_);
}

Status Vm::AddIrqFd(int event_fd, uint32_t gsi) const {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<uint32_t>(event_fd);
  irqfd.gsi = gsi;
  if (Ioctl(fd_.get(), KVM_IRQFD, &irqfd) < 0) return FailErrno(errno, "attaching an eventfd to interrupt {}", gsi);
  return {};
}

Status Vm::AddIoEventFd(int event_fd, GuestAddress address) const {
  kvm_ioeventfd io_event{};
  io_event.addr = address.value();
  io_event.len = 4;
  io_event.fd = event_fd;
  if (Ioctl(fd_.get(), KVM_IOEVENTFD, &io_event) < 0) {
    return FailErrno(errno, "attaching an eventfd to address {:#x}", address.value());
  }
  return {};
}

Result<VmState> Vm::Save() const {
  VmState state;
  for (uint32_t i = 0; i < state.irqchips.size(); ++i) {
    state.irqchips[i].chip_id = i;
    if (Ioctl(fd_.get(), KVM_GET_IRQCHIP, &state.irqchips[i]) < 0) {
      return FailErrno(errno, "reading interrupt controller {}", i);
    }
  }
  if (Ioctl(fd_.get(), KVM_GET_CLOCK, &state.clock) < 0) return FailErrno(errno, "reading the VM's clock");
  return state;
}

Status Vm::Restore(const VmState& state) const {
  for (size_t i = 0; i < state.irqchips.size(); ++i) {
    kvm_irqchip chip = state.irqchips[i];
    if (Ioctl(fd_.get(), KVM_SET_IRQCHIP, &chip) < 0) return FailErrno(errno, "loading interrupt controller {}", i);
  }
  // Without KVM_CLOCK_REALTIME: the guest's monotonic clock goes on from where it stood, it does not jump.
  kvm_clock_data clock{};
  clock.clock = state.clock.clock;
  if (Ioctl(fd_.get(), KVM_SET_CLOCK, &clock) < 0) return FailErrno(errno, "loading the VM's clock");
  return {};
}

}  // namespace snapfaas::kvm
