// MicroVm: one KVM virtual machine with its memory, vCPUs and devices.
//
//   shell --Boot | Restore--> loaded --Run--> running --(guest or owner)--> stopped
//                                                |  every vCPU rang 124, and a snapshot was asked for
//                                                v
//                                              held --TakeSnapshot--> (state and memory are written)
//
// A shell has everything that is slow to make and the same for all: KVM VM, interrupt controllers, memory slots,
// vCPUs, event descriptors. All methods are called on the event loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/mapped_region.h"
#include "base/result.h"
#include "kvm/kvm.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"
#include "snapshot/format.h"
#include "vmm/config.h"
#include "vmm/device_set.h"
#include "vmm/vcpu_runner.h"
#include "wire/messages.h"

namespace snapfaas::vmm {

class MicroVm {
 public:
  // All are called on vCPU threads.
  struct Callbacks {
    // Every ring but a 124 that is held for a snapshot.
    std::function<void(wire::MarkEvent)> on_mark;
    // Every vCPU is held at its 124.
    std::function<void()> on_held;
    std::function<void(wire::EndedEvent)> on_ended;
    std::function<void(Error)> on_failed;
  };

  static Result<std::unique_ptr<MicroVm>> CreateShell(EventLoop& loop, const Config& config, Callbacks callbacks);
  ~MicroVm();

  // What a snapshot must match to be restored here.
  snapshot::Expectation expectation() const;

  // Loads kernel and devices. REQUIRES: a shell.
  Status Boot(wire::BootCommand command);

  // Loads memory and state. REQUIRES: a shell.
  Result<wire::RestoredEvent> Restore(wire::RestoreCommand command);

  // Starts the vCPUs. REQUIRES: loaded, called once.
  void Run();

  // Writes the machine to the two files given with the boot command. REQUIRES: on_held was called.
  Result<wire::SnapshotTakenEvent> TakeSnapshot();

 private:
  MicroVm(EventLoop& loop, const Config& config, Callbacks callbacks, kvm::Kvm kvm, kvm::Vm vm, GuestMemory memory,
          MappedRegion identity_page);
  Status AttachMemory();
  Status KeepSources(wire::BootCommand& command);
  Status PlaceMemory(const wire::RestoreCommand& command, const snapshot::MemoryMap& map);
  Status AttachLines();
  Status CreateVcpus();
  Status LoadKernelAndTables(const wire::BootCommand& command);
  Status LoadState(const snapshot::StateFile& state);
  Status CreateDevices(wire::DeviceFds fds, const DeviceSetState* state);
  void WriteIdentity(const wire::VmIdentity& identity, uint64_t generation, bool has_appfs);
  void OnDoorbell(uint32_t value);

  EventLoop& loop_;
  Config config_;
  Callbacks callbacks_;
  snapshot::CpuFingerprint cpu_;
  std::vector<uint32_t> msr_indices_;
  // KVM reaches into these mappings for as long as the VM lives: they are destroyed after it.
  GuestMemory memory_;
  MappedRegion identity_page_;
  kvm::Kvm kvm_;
  kvm::Vm vm_;
  std::unique_ptr<DeviceLines> lines_;
  std::unique_ptr<DeviceSet> devices_;
  // Their threads use all of the above: they are stopped first.
  std::vector<std::unique_ptr<VcpuRunner>> vcpus_;
  UniqueFd snapshot_state_;
  UniqueFd snapshot_memory_;
  // What it was booted from, kept for the snapshot to refer to.
  UniqueFd kernel_;
  UniqueFd runtimefs_;
  std::atomic<uint32_t> held_ = 0;
};

}  // namespace snapfaas::vmm
