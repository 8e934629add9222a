#include "vmm/microvm.h"

#include <fcntl.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "base/file_system.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/memory_image.h"
#include "snapshot/page_runs.h"
#include "snapshot/working_set.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/cpuid.h"
#include "vmm/kernel_loader.h"
#include "vmm/layout.h"
#include "vmm/page_toucher.h"
#include "vmm/snapshotter.h"
#include "wire/guest_abi.h"

namespace snapfaas::vmm {
namespace {

GuestAddress VirtioBase(size_t slot) { return kVirtioBase + slot * kVirtioStride; }
uint32_t VirtioGsi(size_t slot) { return kVirtioFirstGsi + static_cast<uint32_t>(slot); }

// What a reset leaves to a microVM whose snapshot has no working set.
constexpr uint64_t kLeastKeptPages = 256;

template <size_t kSize>
void CopyText(char (&to)[kSize], std::string_view from) {
  const size_t size = std::min(from.size(), kSize - 1);
  std::memcpy(to, from.data(), size);
}

Result<UniqueFd> DuplicateIfValid(int fd) {
  if (fd < 0) return UniqueFd();
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return FailErrno(errno, "duplicating a device's descriptor");
  return copy;
}

}  // namespace

MicroVm::MicroVm(EventLoop& loop, const Config& config, Callbacks callbacks, kvm::Kvm kvm, kvm::Vm vm,
                 GuestMemory memory, MappedRegion identity_page, ImageWindow runtimefs, ImageWindow appfs)
    : loop_(loop),
      config_(config),
      callbacks_(std::move(callbacks)),
      memory_(std::move(memory)),
      identity_page_(std::move(identity_page)),
      runtimefs_(std::move(runtimefs)),
      appfs_(std::move(appfs)),
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
  auto runtimefs = ImageWindow::Create(kMaxRuntimefsBytes, "runtimefs");
  if (!runtimefs) return Forward(runtimefs.error());
  auto appfs = ImageWindow::Create(wire::kAppfsDeviceBytes, "appfs");
  if (!appfs) return Forward(appfs.error());
  std::unique_ptr<MicroVm> shell(new MicroVm(loop, config, std::move(callbacks), std::move(*kvm), std::move(*vm),
                                             std::move(*memory), std::move(*identity_page), std::move(*runtimefs),
                                             std::move(*appfs)));
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
  done = vm_.SetMemorySlot(kMemorySlotIdentity, GuestAddress(wire::kIdentityPageBase), identity_page_.bytes(),
                           kvm::SlotAccess::kReadOnly);
  if (!done) return done;
  done = vm_.SetMemorySlot(kMemorySlotRuntimefs, kRuntimefsBase, runtimefs_.bytes(), kvm::SlotAccess::kReadOnly);
  if (!done) return done;
  return vm_.SetMemorySlot(kMemorySlotAppfs, kAppfsBase, appfs_.bytes(), kvm::SlotAccess::kReadOnly);
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
    vcpus_.back()->Prepare();
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
  auto mapped = MapImages(fds);
  if (!mapped) return mapped;
  const uint64_t runtimefs_bytes = (runtimefs_.image_bytes() + kPmemGranule - 1) / kPmemGranule * kPmemGranule;
  if (state != nullptr && state->runtimefs.size != runtimefs_bytes) {
    return Fail(ErrorCode::kIncompatible, "the snapshot was taken with another runtimefs image; {}", snapshot::kMend);
  }
  auto devices =
      DeviceSet::Create(loop_, memory_, *lines_, std::move(fds), runtimefs_bytes, std::move(callbacks), state);
  if (!devices) return Forward(devices.error());
  devices_ = std::move(*devices);
  return {};
}

void MicroVm::WriteIdentity(const wire::VmIdentity& identity, int64_t generation) {
  wire::IdentityPage page{};
  page.magic = wire::kIdentityMagic;
  page.generation = static_cast<uint64_t>(generation);
  page.has_appfs = appfs_.image_bytes() != 0 ? 1 : 0;
  page.checkpoint = origin_ && snapshot_state_.valid() ? 1 : 0;
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
  if (command.snapshot_state.valid()) kernel_ = std::move(command.kernel);
  snapshot_state_ = std::move(command.snapshot_state);
  snapshot_memory_ = std::move(command.snapshot_memory);
  auto created = CreateDevices(std::move(command.devices), nullptr);
  if (created) WriteIdentity(command.identity, 0);
  return created;
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

// Each once: a primed shell has its runtimefs already, and a microVM that is reset has both.
Status MicroVm::MapImages(const wire::DeviceFds& fds) {
  for (const auto& [window, image] :
       {std::pair(&runtimefs_, fds.runtimefs.get()), std::pair(&appfs_, fds.appfs.get())}) {
    if (image < 0 || window->image_bytes() != 0) continue;
    auto mapped = window->Map(image);
    if (!mapped) return mapped;
  }
  return {};
}

Status MicroVm::ReadSnapshot(wire::SnapshotFds files, wire::RestoreMode mode) {
  auto state = snapshot::ReadState(files.state.get());
  if (!state) return Forward(state.error());
  auto compatible = snapshot::CheckCompatible(*state, expectation());
  if (!compatible) return compatible;
  auto machine = FromSections(*state);
  if (!machine) return Forward(machine.error());
  Origin origin;
  origin.machine = std::move(*machine);
  if (files.plan.valid()) {
    auto plan = snapshot::ReadPlan(files.plan.get(), memory_.size());
    if (!plan) return Forward(plan.error());
    origin.plan = std::move(*plan);
  }
  origin.mode = mode;
  origin.files = std::move(files);
  origin_ = std::move(origin);
  return {};
}

snapshot::ImageFiles MicroVm::FilesOf(const Origin& origin) {
  const wire::SnapshotFds& files = origin.files;
  return {files.memory.get(), files.overlay.get(), files.kernel.get(), files.packed.get(), files.kernel_text.get()};
}

Status MicroVm::PlaceMemory() {
  const snapshot::ImageFiles files = FilesOf(*origin_);
  const snapshot::RestorePlan& plan = origin_->plan;
  if (origin_->mode == wire::RestoreMode::kCopy) return snapshot::CopyMemory(files, plan, memory_);
  const bool prefetches = origin_->mode == wire::RestoreMode::kPrefetch;
  if (prefetches && files.packed >= 0) return PlacePacked(files, plan);
  std::thread fetcher;
  if (prefetches && plan.read_ahead == snapshot::ReadAhead::kYes) {
    fetcher = std::thread([&files, &plan] { snapshot::FetchAhead(files, plan); });
  }
  auto mapped = snapshot::MapMemory(files, plan, memory_);
  if (mapped && prefetches) snapshot::PrefetchMemory(plan, memory_);
  if (fetcher.joinable()) fetcher.join();
  if (!mapped) return mapped;
  if (plan.read.empty() && plan.written.empty()) {
    // The working set is still to be recorded. Where single pages cannot be had it is larger than it need be.
    auto single = memory_.BringInSinglePages();
    if (single) single_pages_ = std::move(*single);
  }
  return {};
}

Status MicroVm::PlacePacked(const snapshot::ImageFiles& files, const snapshot::RestorePlan& plan) {
  Result<MappedRegion> packed = MappedRegion();
  std::thread reader([&] { packed = snapshot::ReadPacked(files, plan); });
  auto mapped = snapshot::MapMemory(files, plan, memory_, snapshot::PackedPages::kLeftOut);
  reader.join();
  if (!mapped) return mapped;
  if (!packed) return Forward(packed.error());
  return snapshot::TakePacked(*packed, plan, memory_);
}

Status MicroVm::PlaceOverPrimed(wire::SnapshotFds files) {
  if (!files.state.valid()) return {};
  files.memory = std::move(origin_->files.memory);
  files.kernel = std::move(origin_->files.kernel);
  auto done = ReadSnapshot(std::move(files), wire::RestoreMode::kPrefetch);
  return done ? snapshot::PlaceOverBase(FilesOf(*origin_), origin_->plan, memory_) : done;
}

Status MicroVm::RevertMemory() {
  if (origin_->mode == wire::RestoreMode::kPrefetch && origin_->plan.read_ahead == snapshot::ReadAhead::kNo) {
    // Twice what a request is known to write.
    const uint64_t most =
        2 * (snapshot::PagesOf(origin_->plan.written) + snapshot::PagesOf(origin_->plan.changed)) + kLeastKeptPages;
    return snapshot::RevertMemory(FilesOf(*origin_), origin_->plan, most, memory_);
  }
  auto dropped = memory_.DropPages();
  return dropped ? PlaceMemory() : dropped;
}

Status MicroVm::Prime(wire::PrimeCommand command) {
  if (origin_) return Fail(ErrorCode::kInvalidArgument, "a VMM is primed once");
  auto done = ReadSnapshot(std::move(command.snapshot), wire::RestoreMode::kPrefetch);
  if (done) done = PlaceMemory();
  if (done && command.runtimefs.valid()) done = runtimefs_.Map(command.runtimefs.get());
  if (!done) return done;
  runtimefs_.Populate();
  const auto pages = snapshot::Merge(origin_->plan.read, origin_->plan.written);
  return TouchPages(vcpus_[0]->vcpu(), identity_page_, GuestAddress(wire::kIdentityPageBase), pages);
}

Status MicroVm::LoadMachine(wire::DeviceFds fds, const wire::VmIdentity& identity, int64_t generation) {
  auto done = CreateDevices(std::move(fds), &origin_->machine.devices);
  if (!done) return done;
  for (size_t i = 0; i < vcpus_.size(); ++i) {
    done = vcpus_[i]->vcpu().Restore(origin_->machine.vcpus[i]);
    if (!done) return done;
  }
  done = vm_.Restore(origin_->machine.vm);
  if (!done) return done;
  WriteIdentity(identity, generation);
  devices_->Kick();
  return {};
}

Result<wire::RestoredEvent> MicroVm::Restore(wire::RestoreCommand command) {
  wire::RestoredEvent event;
  event.begun_ns = MonotonicNanos();
  const bool primed = origin_.has_value();
  Status done;
  if (primed) {
    done = PlaceOverPrimed(std::move(command.snapshot));
  } else {
    done = ReadSnapshot(std::move(command.snapshot), command.mode);
    if (done) done = PlaceMemory();
  }
  if (!done) return Forward(done.error());
  event.memory_done_ns = MonotonicNanos();
  snapshot_state_ = std::move(command.function_state);
  snapshot_memory_ = std::move(command.function_memory);
  auto console = DuplicateIfValid(command.devices.console.get());
  if (!console) return Forward(console.error());
  origin_->console = std::move(*console);
  // Any generation but 0 will do; the restore's time differs from one restore to the next.
  done = LoadMachine(std::move(command.devices), command.identity, event.begun_ns);
  if (!done) return Forward(done.error());
  event.state_done_ns = MonotonicNanos();
  return event;
}

Result<wire::RestoredEvent> MicroVm::Reset(wire::ResetCommand command) {
  if (!origin_ || snapshot_state_.valid()) {
    return Fail(ErrorCode::kInvalidArgument, "only a restored microVM can be reset");
  }
  wire::RestoredEvent event;
  event.begun_ns = MonotonicNanos();
  for (auto& vcpu : vcpus_) vcpu->RequestPark();
  for (auto& vcpu : vcpus_) {
    if (!vcpu->WaitParked()) return Fail(ErrorCode::kGuestError, "the guest is over; it cannot be reset");
  }
  // The devices first: nothing of theirs reaches into memory afterwards.
  devices_.reset();
  lines_->Drain();
  auto done = RevertMemory();
  if (!done) return Forward(done.error());
  event.memory_done_ns = MonotonicNanos();
  wire::DeviceFds fds;
  auto console = DuplicateIfValid(origin_->console.get());
  if (!console) return Forward(console.error());
  fds.console = std::move(*console);
  fds.channel = std::move(command.channel);
  fds.log = std::move(command.log);
  done = LoadMachine(std::move(fds), command.identity, event.begun_ns);
  if (!done) return Forward(done.error());
  for (auto& vcpu : vcpus_) vcpu->Rewire(&devices_->ports(), &devices_->mmio());
  event.state_done_ns = MonotonicNanos();
  return event;
}

void MicroVm::Resume() {
  for (auto& vcpu : vcpus_) vcpu->Resume();
}

Result<wire::WorkingSetRecordedEvent> MicroVm::RecordWorkingSet(const wire::RecordWorkingSetCommand& command) const {
  if (!origin_ || origin_->mode == wire::RestoreMode::kCopy) {
    return Fail(ErrorCode::kInvalidArgument, "only a microVM that maps its snapshot has a working set");
  }
  const snapshot::WorkingSet set = snapshot::RecordWorkingSet(memory_);
  auto written = snapshot::WriteAt(command.file.get(), 0, snapshot::EncodeWorkingSet(set, 0), "the working set");
  if (!written) return Forward(written.error());
  return wire::WorkingSetRecordedEvent{snapshot::PagesOf(set.read), snapshot::PagesOf(set.written)};
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

Result<snapshot::MemoryMap> MicroVm::WriteMemory() {
  if (!origin_) return snapshot::WriteMemoryImage(snapshot_memory_.get(), memory_, {kernel_.get()});
  // The base as it was restored, all of its files together: its image alone lacks the kernel's pages where it is on
  // disk.
  auto base = GuestMemory::Create(memory_.size());
  if (!base) return Forward(base.error());
  auto mapped = snapshot::MapMemory(FilesOf(*origin_), origin_->plan, *base);
  if (!mapped) return Forward(mapped.error());
  return snapshot::WriteLayerImage(snapshot_memory_.get(), memory_, *base);
}

Result<uint64_t> MicroVm::BaseChecksum() const {
  if (!origin_) return uint64_t{0};
  const int state = origin_->files.state.get();
  auto size = snapshot::SizeOf(state, "the base snapshot's state");
  if (!size) return Forward(size.error());
  std::vector<uint8_t> bytes(*size);
  auto read = snapshot::ReadAt(state, 0, bytes, "the base snapshot's state");
  if (!read) return Forward(read.error());
  return snapshot::Hash64(bytes);
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
  auto base_checksum = BaseChecksum();
  if (!base_checksum) return Forward(base_checksum.error());
  auto map = WriteMemory();
  if (!map) return Forward(map.error());
  const uint64_t stored = map->StoredBytes();
  auto bytes = snapshot::EncodeState({expectation(), *base_checksum, std::move(*map), ToSections(machine)});
  if (!bytes) return Forward(bytes.error());
  auto written = WriteAll(snapshot_state_.get(), {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!written) return Forward(written.error(), "writing the snapshot's state");
  return wire::SnapshotTakenEvent{stored, bytes->size()};
}

}  // namespace snapfaas::vmm
