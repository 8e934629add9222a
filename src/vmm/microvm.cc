#include "vmm/microvm.h"

#include <fcntl.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/file_system.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/memory_image.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/cpuid.h"
#include "vmm/kernel_loader.h"
#include "vmm/layout.h"
#include "vmm/snapshotter.h"
#include "wire/guest_abi.h"

namespace snapfaas::vmm {
namespace {

GuestAddress VirtioBase(size_t slot) { return kVirtioBase + slot * kVirtioStride; }
uint32_t VirtioGsi(size_t slot) { return kVirtioFirstGsi + static_cast<uint32_t>(slot); }

template <size_t kSize>
void CopyText(char (&to)[kSize], std::string_view from) {
  const size_t size = std::min(from.size(), kSize - 1);
  std::memcpy(to, from.data(), size);
}

}  // namespace

MicroVm::MicroVm(EventLoop& loop, const Config& config, Callbacks callbacks, kvm::Kvm kvm, kvm::Vm vm,
                 GuestMemory memory, MappedRegion identity_page)
    : loop_(loop),
      config_(config),
      callbacks_(std::move(callbacks)),
      memory_(std::move(memory)),
      identity_page_(std::move(identity_page)),
      kvm_(std::move(kvm)),
      vm_(std::move(vm)) {}

MicroVm::~MicroVm() {
  for (auto& vcpu : vcpus_) vcpu->Stop();
  if (devices_) devices_->Flush();
}

Result<std::unique_ptr<MicroVm>> MicroVm::CreateShell(EventLoop& loop, const Config& config, Callbacks callbacks) {
  auto checked = config.Check();
  if (!checked) return Forward(checked.error());
  auto kvm = kvm::Kvm::Open();
  if (!kvm) return Forward(kvm.error());
  auto vm = kvm->CreateVm();
  if (!vm) return Forward(vm.error());
  auto memory = GuestMemory::Create(config.memory_bytes);
  if (!memory) return Forward(memory.error());
  auto identity_page = MappedRegion::Anonymous(wire::kIdentityPageSize);
  if (!identity_page) return Forward(identity_page.error());
  std::unique_ptr<MicroVm> shell(new MicroVm(loop, config, std::move(callbacks), std::move(*kvm), std::move(*vm),
                                             std::move(*memory), std::move(*identity_page)));
  // Memory slots first: once there is an interrupt controller, each costs a wait for RCU.
  auto done = shell->AttachMemory();
  if (done) done = shell->vm_.CreateIrqchip();
  if (done) done = shell->AttachLines();
  if (done) done = shell->CreateVcpus();
  if (!done) return Forward(done.error());
  return shell;
}

Status MicroVm::AttachMemory() {
  auto done = vm_.ReserveIntelPages(kIntelIdentityMap, kIntelTss);
  if (!done) return done;
  done = vm_.SetMemorySlot(kMemorySlotRam, GuestAddress(0), {memory_.host_base(), memory_.size()},
                           kvm::SlotAccess::kReadWrite);
  if (!done) return done;
  return vm_.SetMemorySlot(kMemorySlotIdentity, GuestAddress(wire::kIdentityPageBase), identity_page_.bytes(),
                           kvm::SlotAccess::kReadOnly);
}

Status MicroVm::AttachLines() {
  auto serial = MakeEventFd();
  if (!serial) return Forward(serial.error());
  auto done = vm_.AddIrqFd(serial->get(), devices::kSerialIrq);
  if (!done) return done;
  std::vector<VirtioLines> virtio;
  for (size_t slot = 0; slot < kVirtioSlots; ++slot) {
    auto interrupt = MakeEventFd();
    if (!interrupt) return Forward(interrupt.error());
    auto notify = MakeEventFd();
    if (!notify) return Forward(notify.error());
    done = vm_.AddIrqFd(interrupt->get(), VirtioGsi(slot));
    if (!done) return done;
    done = vm_.AddIoEventFd(notify->get(), VirtioBase(slot) + devices::virtio::kMmioQueueNotifyOffset);
    if (!done) return done;
    virtio.push_back({EventLine(std::move(*interrupt)), std::move(*notify)});
  }
  lines_ = std::make_unique<DeviceLines>(DeviceLines{std::move(virtio), EventLine(std::move(*serial))});
  return {};
}

Status MicroVm::CreateVcpus() {
  auto supported = kvm_.SupportedCpuid();
  if (!supported) return Forward(supported.error());
  auto msrs = kvm_.MsrIndices();
  if (!msrs) return Forward(msrs.error());
  msr_indices_ = std::move(*msrs);
  const TscDeadline deadline =
      kvm_.CheckExtension(KVM_CAP_TSC_DEADLINE_TIMER) != 0 ? TscDeadline::kPresent : TscDeadline::kAbsent;
  for (uint32_t i = 0; i < config_.vcpus; ++i) {
    auto vcpu = vm_.CreateVcpu(i);
    if (!vcpu) return Forward(vcpu.error());
    const auto cpuid = GuestCpuid(*supported, i, config_.vcpus, deadline);
    if (i == 0) cpu_ = Fingerprint(cpuid);
    auto set = vcpu->SetCpuid(cpuid);
    if (!set) return set;
    vcpus_.push_back(std::make_unique<VcpuRunner>(std::move(*vcpu)));
  }
  return {};
}

snapshot::Expectation MicroVm::expectation() const {
  const std::span<const uint8_t> set(reinterpret_cast<const uint8_t*>(kDeviceSet.data()), kDeviceSet.size());
  return {config_.memory_bytes, config_.vcpus, cpu_, snapshot::Hash64(set)};
}

Status MicroVm::CreateDevices(wire::DeviceFds fds, const DeviceSetState* state) {
  DeviceSet::Callbacks callbacks;
  callbacks.on_doorbell = [this](uint32_t value) { OnDoorbell(value); };
  callbacks.on_power_off = [this] {
    callbacks_.on_ended({wire::EndReason::kPowerOff, "the guest switched itself off"});
  };
  callbacks.on_reset = [this] { callbacks_.on_ended({wire::EndReason::kReset, "the guest reset itself"}); };
  auto devices = DeviceSet::Create(loop_, memory_, *lines_, std::move(fds), std::move(callbacks), state);
  if (!devices) return Forward(devices.error());
  devices_ = std::move(*devices);
  return {};
}

void MicroVm::WriteIdentity(const wire::VmIdentity& identity, uint64_t generation, bool has_appfs) {
  wire::IdentityPage page{};
  page.magic = wire::kIdentityMagic;
  page.generation = generation;
  page.has_appfs = has_appfs ? 1 : 0;
  // Does not fail and does not block once the host's random source is up, which it is before any of this runs.
  static_cast<void>(::getrandom(page.seed, sizeof(page.seed), 0));
  CopyText(page.vm_id, identity.vm_id);
  CopyText(page.hostname, identity.hostname);
  page.realtime_ns = RealtimeNanos();
  std::memcpy(identity_page_.data(), &page, sizeof(page));
}

Status MicroVm::Boot(wire::BootCommand command) {
  auto loaded = LoadKernelAndTables(command);
  if (!loaded) return loaded;
  auto kept = KeepSources(command);
  if (!kept) return kept;
  snapshot_state_ = std::move(command.snapshot_state);
  snapshot_memory_ = std::move(command.snapshot_memory);
  WriteIdentity(command.identity, 0, command.devices.appfs.valid());
  return CreateDevices(std::move(command.devices), nullptr);
}

Status MicroVm::KeepSources(wire::BootCommand& command) {
  if (!command.snapshot_state.valid()) return {};
  kernel_ = std::move(command.kernel);
  const int runtimefs = command.devices.runtimefs.get();
  if (runtimefs < 0) return {};
  runtimefs_ = UniqueFd(::fcntl(runtimefs, F_DUPFD_CLOEXEC, 0));
  if (!runtimefs_.valid()) return FailErrno(errno, "duplicating the runtimefs's descriptor");
  return {};
}

Status MicroVm::LoadKernelAndTables(const wire::BootCommand& command) {
  auto kernel = LoadKernel(command.kernel.get(), memory_);
  if (!kernel) return Forward(kernel.error());
  BootPlan plan{std::move(*kernel), std::nullopt, command.cmdline, GuestAddress()};
  if (command.initramfs.valid()) {
    auto initramfs = LoadInitramfs(command.initramfs.get(), plan.kernel.initramfs_limit, memory_);
    if (!initramfs) return Forward(initramfs.error());
    plan.initramfs = *initramfs;
  }
  std::vector<AcpiDevice> virtio;
  for (size_t slot = 0; slot < kVirtioSlots; ++slot) {
    virtio.push_back({VirtioBase(slot), static_cast<uint32_t>(kVirtioStride), VirtioGsi(slot)});
  }
  auto rsdp = WriteAcpiTables(memory_, config_.vcpus, virtio);
  if (!rsdp) return Forward(rsdp.error());
  plan.rsdp = *rsdp;
  auto written = WriteBootStructures(plan, memory_);
  if (!written) return written;
  const kvm::Vcpu& boot_cpu = vcpus_[0]->vcpu();
  auto sregs = boot_cpu.GetSregs();
  if (!sregs) return Forward(sregs.error());
  SetLongMode(*sregs);
  auto set = boot_cpu.SetSregs(*sregs);
  if (!set) return set;
  return boot_cpu.SetRegs(BootRegisters(plan));
}

Status MicroVm::PlaceMemory(const wire::RestoreCommand& command, const snapshot::MemoryMap& map) {
  const int image = command.memory.get();
  if (command.mode == wire::RestoreMode::kCopy) return snapshot::CopyMemoryImage(image, map, memory_);
  // A page beyond the file's end would kill this process when it is touched.
  constexpr std::string_view kWhat = "the snapshot's memory image";
  auto size = snapshot::SizeOf(image, kWhat);
  if (!size) return Forward(size.error());
  if (*size < memory_.size()) {
    return Fail(ErrorCode::kCorrupt, "{} has {} bytes instead of {}; {}", kWhat, *size, memory_.size(),
                snapshot::kMend);
  }
  return memory_.MapPrivateImage(image);
}

Result<wire::RestoredEvent> MicroVm::Restore(wire::RestoreCommand command) {
  wire::RestoredEvent event;
  event.begun_ns = MonotonicNanos();
  auto state = snapshot::ReadState(command.state.get());
  if (!state) return Forward(state.error());
  auto compatible = snapshot::CheckCompatible(*state, expectation());
  if (!compatible) return Forward(compatible.error());
  auto placed = PlaceMemory(command, state->memory);
  if (!placed) return Forward(placed.error());
  event.memory_done_ns = MonotonicNanos();
  auto machine = FromSections(*state);
  if (!machine) return Forward(machine.error());
  const bool has_appfs = command.devices.appfs.valid();
  auto created = CreateDevices(std::move(command.devices), &machine->devices);
  if (!created) return Forward(created.error());
  for (size_t i = 0; i < vcpus_.size(); ++i) {
    auto restored = vcpus_[i]->vcpu().Restore(machine->vcpus[i]);
    if (!restored) return Forward(restored.error());
  }
  auto restored = vm_.Restore(machine->vm);
  if (!restored) return Forward(restored.error());
  // Any value but 0 will do; the restore's time differs from one restore to the next.
  WriteIdentity(command.identity, static_cast<uint64_t>(event.begun_ns), has_appfs);
  devices_->Kick();
  event.state_done_ns = MonotonicNanos();
  return event;
}

void MicroVm::Run() {
  for (auto& vcpu : vcpus_) {
    vcpu->Start({&devices_->ports(), &devices_->mmio(), callbacks_.on_ended, callbacks_.on_failed});
  }
}

void MicroVm::OnDoorbell(uint32_t value) {
  const auto doorbell = static_cast<wire::Doorbell>(value);
  if (doorbell == wire::Doorbell::kSnapshot && snapshot_state_.valid()) {
    VcpuRunner::ParkHere();
    if (held_.fetch_add(1) + 1 == vcpus_.size()) callbacks_.on_held();
    return;
  }
  callbacks_.on_mark({doorbell, VcpuRunner::CurrentIndex(), MonotonicNanos()});
}

Result<wire::SnapshotTakenEvent> MicroVm::TakeSnapshot() {
  MachineState machine;
  for (auto& vcpu : vcpus_) {
    vcpu->WaitParked();
    auto state = vcpu->vcpu().Save(msr_indices_);
    if (!state) return Forward(state.error());
    machine.vcpus.push_back(std::move(*state));
  }
  auto vm = vm_.Save();
  if (!vm) return Forward(vm.error());
  machine.vm = *vm;
  machine.devices = devices_->Save();
  auto map = snapshot::WriteMemoryImage(snapshot_memory_.get(), memory_, {kernel_.get(), runtimefs_.get()});
  if (!map) return Forward(map.error());
  const uint64_t stored = map->StoredBytes();
  auto bytes = snapshot::EncodeState({expectation(), std::move(*map), ToSections(machine)});
  if (!bytes) return Forward(bytes.error());
  auto written = WriteAll(snapshot_state_.get(), {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!written) return Forward(written.error(), "writing the snapshot's state");
  return wire::SnapshotTakenEvent{stored, bytes->size()};
}

}  // namespace snapfaas::vmm
