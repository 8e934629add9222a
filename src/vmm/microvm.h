// MicroVm: one KVM virtual machine with its memory, vCPUs and devices.
//
//   shell --Boot | Restore--> loaded --Run--> running --(guest or owner)--> stopped
//                                              ^ |  every vCPU rang 124, and a snapshot was asked for
//                                              | v
//                                         Reset' held --TakeSnapshot--> (state and memory are written)
//
// A shell has everything that is slow to make and the same for all: KVM VM, interrupt controllers, memory slots,
// vCPUs, event descriptors. A primed shell has also what all functions of a language have in common: the memory of its
// base snapshot, with the pages that a first request needs in place. All methods are called on the event loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/mapped_region.h"
#include "base/result.h"
#include "kvm/kvm.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"
#include "snapshot/format.h"
#include "snapshot/page_loader.h"
#include "vmm/config.h"
#include "vmm/device_set.h"
#include "vmm/image_window.h"
#include "vmm/snapshotter.h"
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
  MicroVm(const MicroVm&) = delete;
  MicroVm& operator=(const MicroVm&) = delete;
  ~MicroVm();

  // What a snapshot must match to be restored here.
  snapshot::Expectation expectation() const;

  // Loads kernel and devices. REQUIRES: a shell.
  Status Boot(wire::BootCommand command);

  // Puts a base snapshot's memory in place. REQUIRES: a shell.
  Status Prime(wire::PrimeCommand command);

  // Loads memory and state. REQUIRES: a shell; a primed one where the command leaves out what was primed.
  Result<wire::RestoredEvent> Restore(wire::RestoreCommand command);

  // Starts the vCPUs. REQUIRES: loaded, called once.
  void Run();

  // Back to what was restored, under another identity, without the slow things that a new microVM needs; the vCPUs are
  // held until Resume. Nothing of what the guest did is left: its private pages are dropped, its devices are new.
  // REQUIRES: running, after a restore that asked for no snapshot.
  Result<wire::RestoredEvent> Reset(wire::ResetCommand command);
  void Resume();

  // Writes down which pages the guest has touched since the restore. REQUIRES: running, after a restore.
  Result<wire::WorkingSetRecordedEvent> RecordWorkingSet(const wire::RecordWorkingSetCommand& command) const;

  // Writes the machine to the two files given with the command. REQUIRES: on_held was called.
  Result<wire::SnapshotTakenEvent> TakeSnapshot();

 private:
  // The snapshot that it was restored from.
  struct Origin {
    wire::RestoreMode mode{};
    wire::SnapshotFds files;
    snapshot::RestorePlan plan;
    MachineState machine;
    UniqueFd console;  // for a reset to make the devices anew
  };

  MicroVm(EventLoop& loop, const Config& config, Callbacks callbacks, kvm::Kvm kvm, kvm::Vm vm, GuestMemory memory,
          MappedRegion identity_page, ImageWindow runtimefs, ImageWindow appfs);
  Status AttachMemory();
  Status AttachLines();
  Status CreateVcpus();
  Status LoadKernelAndTables(const wire::BootCommand& command);
  // Takes the files over, and what they say into origin_.
  Status ReadSnapshot(wire::SnapshotFds files, wire::RestoreMode mode);
  static snapshot::ImageFiles FilesOf(const Origin& origin);
  Status PlaceMemory();
  // Of a snapshot whose working set's pages lie side by side on disk.
  Status PlacePacked(const snapshot::ImageFiles& files, const snapshot::RestorePlan& plan);
  Status PlaceOverPrimed(wire::SnapshotFds files);
  Status RevertMemory();
  Status MapImages(const wire::DeviceFds& fds);
  // What a restore and a reset have in common, once memory is in place.
  Status LoadMachine(wire::DeviceFds fds, const wire::VmIdentity& identity, int64_t generation);
  Status CreateDevices(wire::DeviceFds fds, const DeviceSetState* state);
  void WriteIdentity(const wire::VmIdentity& identity, int64_t generation);
  Result<snapshot::MemoryMap> WriteMemory();
  // 0 when it was booted.
  Result<uint64_t> BaseChecksum() const;
  void OnDoorbell(uint32_t value);

  EventLoop& loop_;
  Config config_;
  Callbacks callbacks_;
  snapshot::CpuFingerprint cpu_;
  std::vector<uint32_t> msr_indices_;
  // KVM reaches into these mappings for as long as the VM lives: they are destroyed after it.
  GuestMemory memory_;
  UniqueFd single_pages_;  // GuestMemory::BringInSinglePages
  MappedRegion identity_page_;
  ImageWindow runtimefs_;
  ImageWindow appfs_;
  kvm::Kvm kvm_;
  kvm::Vm vm_;
  std::unique_ptr<DeviceLines> lines_;
  std::unique_ptr<DeviceSet> devices_;
  // Their threads use all of the above: they are stopped first.
  std::vector<std::unique_ptr<VcpuRunner>> vcpus_;
  UniqueFd snapshot_state_;
  UniqueFd snapshot_memory_;
  // What it was booted from, kept for the snapshot to refer to; or what it was restored from.
  UniqueFd kernel_;
  std::optional<Origin> origin_;
  std::atomic<uint32_t> held_ = 0;
};

}  // namespace snapfaas::vmm
