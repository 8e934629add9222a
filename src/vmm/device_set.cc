#include "vmm/device_set.h"

#include <sys/epoll.h>
#include <sys/stat.h>

#include <limits>

#include "vmm/layout.h"
#include "wire/guest_abi.h"

namespace snapfaas::vmm {

namespace virtio = devices::virtio;

namespace {

// What a guest prints in its whole life. A pipe keeps nothing, and its reader sees to what becomes of it; a file would
// grow.
uint64_t LogLimitFor(int fd) {
  struct stat info {};
  const bool is_pipe = fd >= 0 && ::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode);
  return is_pipe ? std::numeric_limits<uint64_t>::max() : devices::LogSink::kDefaultLimit;
}

}  // namespace

void DeviceSetState::Encode(ByteWriter& writer) const {
  serial.Encode(writer);
  runtimefs.Encode(writer);
  appfs.Encode(writer);
  console.Encode(writer);
  for (const auto& transport : transports) transport.Encode(writer);
}

Result<DeviceSetState> DeviceSetState::Decode(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  DeviceSetState state;
  state.serial = devices::SerialState::Decode(reader);
  state.runtimefs = virtio::PmemState::Decode(reader);
  state.appfs = virtio::PmemState::Decode(reader);
  state.console = virtio::ConsoleState::Decode(reader);
  for (auto& transport : state.transports) transport = virtio::TransportState::Decode(reader);
  auto done = reader.Finish("the device state");
  if (!done) return Forward(done.error());
  return state;
}

void DeviceLines::Drain() {
  for (const VirtioLines& lines : virtio) {
    eventfd_t ignored = 0;
    ::eventfd_read(lines.notify.get(), &ignored);
  }
}

DeviceSet::DeviceSet(DeviceLines& lines, UniqueFd console, Callbacks callbacks, const DeviceSetState* state)
    : console_log_(std::move(console)),
      serial_(lines.serial_interrupt, console_log_, state == nullptr ? nullptr : &state->serial),
      power_(std::move(callbacks.on_power_off), callbacks.on_reset),
      i8042_(callbacks.on_reset),
      doorbell_(std::move(callbacks.on_doorbell)) {}

Result<std::unique_ptr<DeviceSet>> DeviceSet::Create(EventLoop& loop, GuestMemory& memory, DeviceLines& lines,
                                                     wire::DeviceFds fds, uint64_t runtimefs_bytes, Callbacks callbacks,
                                                     const DeviceSetState* state) {
  std::unique_ptr<DeviceSet> set(new DeviceSet(lines, std::move(fds.console), std::move(callbacks), state));
  auto runtimefs = std::make_unique<virtio::VirtioPmem>(kRuntimefsBase, virtio::PmemState{runtimefs_bytes});
  set->runtimefs_ = runtimefs.get();
  auto added = set->AddVirtio(kRuntimefsSlot, std::move(runtimefs), loop, memory, lines, state);
  if (!added) return Forward(added.error());
  auto appfs = std::make_unique<virtio::VirtioPmem>(kAppfsBase, virtio::PmemState{wire::kAppfsDeviceBytes});
  set->appfs_ = appfs.get();
  added = set->AddVirtio(kAppfsSlot, std::move(appfs), loop, memory, lines, state);
  if (!added) return Forward(added.error());
  const uint64_t log_limit = LogLimitFor(fds.log.get());
  auto console = virtio::VirtioConsole::Create(loop, {std::move(fds.channel), std::move(fds.log), log_limit},
                                               state == nullptr ? nullptr : &state->console);
  if (!console) return Forward(console.error());
  set->console_ = console->get();
  added = set->AddVirtio(kConsoleSlot, std::move(*console), loop, memory, lines, state);
  if (!added) return Forward(added.error());
  added = set->AddVirtio(kRngSlot, std::make_unique<virtio::VirtioRng>(), loop, memory, lines, state);
  if (!added) return Forward(added.error());
  added = set->AddToBuses();
  if (!added) return Forward(added.error());
  return set;
}

Status DeviceSet::AddVirtio(size_t slot, std::unique_ptr<virtio::VirtioDevice> device, EventLoop& loop,
                            GuestMemory& memory, DeviceLines& lines, const DeviceSetState* state) {
  VirtioSlot& entry = virtio_[slot];
  entry.device = std::move(device);
  VirtioLines& line = lines.virtio[slot];
  auto transport = virtio::MmioTransport::Create(*entry.device, memory, line.interrupt,
                                                 state == nullptr ? nullptr : &state->transports[slot]);
  if (!transport) return Forward(transport.error());
  entry.transport = std::move(*transport);
  auto watch =
      loop.Add(line.notify.get(), EPOLLIN, [transport = entry.transport.get(), notify = line.notify.get()](uint32_t) {
        eventfd_t count = 0;
        if (::eventfd_read(notify, &count) != 0) return;
        // One eventfd serves all queues of a device: a shell registers four instead of eleven.
        for (size_t i = 0; i < transport->queue_count(); ++i) transport->NotifyQueue(i);
      });
  if (!watch) return Forward(watch.error());
  entry.notify_watch = std::move(*watch);
  return {};
}

Status DeviceSet::AddToBuses() {
  struct Place {
    devices::Bus* bus;
    uint64_t base;
    uint64_t size;
    devices::IoHandler* handler;
  };
  std::vector<Place> places = {
      {&ports_, devices::kSerialPort, devices::kSerialPortCount, &serial_},
      {&ports_, devices::kPowerPort, devices::kPowerPortCount, &power_},
      {&ports_, devices::kI8042CommandPort, 1, &i8042_},
      {&ports_, wire::kDoorbellPort, 4, &doorbell_},
      {&mmio_, wire::kDoorbellMmioBase, wire::kDoorbellMmioSize, &doorbell_},
  };
  for (size_t slot = 0; slot < kVirtioSlots; ++slot) {
    places.push_back(
        {&mmio_, kVirtioBase.value() + slot * kVirtioStride, kVirtioStride, virtio_[slot].transport.get()});
  }
  for (const Place& place : places) {
    auto added = place.bus->Add(place.base, place.size, *place.handler);
    if (!added) return added;
  }
  return {};
}

DeviceSetState DeviceSet::Save() const {
  DeviceSetState state;
  state.serial = serial_.Save();
  state.runtimefs = runtimefs_->Save();
  state.appfs = appfs_->Save();
  state.console = console_->Save();
  for (size_t slot = 0; slot < kVirtioSlots; ++slot) state.transports[slot] = virtio_[slot].transport->Save();
  return state;
}

void DeviceSet::Kick() {
  serial_.Kick();
  for (const VirtioSlot& entry : virtio_) entry.transport->Kick();
}

}  // namespace snapfaas::vmm
