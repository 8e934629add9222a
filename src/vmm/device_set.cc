#include "vmm/device_set.h"

#include <sys/epoll.h>

#include "vmm/layout.h"
#include "wire/guest_abi.h"

namespace snapfaas::vmm {

namespace virtio = devices::virtio;

void DeviceSetState::Encode(ByteWriter& writer) const {
  serial.Encode(writer);
  for (const auto& block : blocks) block.Encode(writer);
  console.Encode(writer);
  for (const auto& transport : transports) transport.Encode(writer);
}

Result<DeviceSetState> DeviceSetState::Decode(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  DeviceSetState state;
  state.serial = devices::SerialState::Decode(reader);
  for (auto& block : state.blocks) block = virtio::BlockState::Decode(reader);
  state.console = virtio::ConsoleState::Decode(reader);
  for (auto& transport : state.transports) transport = virtio::TransportState::Decode(reader);
  auto done = reader.Finish("the device state");
  if (!done) return Forward(done.error());
  return state;
}

DeviceSet::DeviceSet(DeviceLines& lines, UniqueFd console, Callbacks callbacks, const DeviceSetState* state)
    : console_log_(std::move(console)),
      serial_(lines.serial_interrupt, console_log_, state == nullptr ? nullptr : &state->serial),
      power_(std::move(callbacks.on_power_off), callbacks.on_reset),
      i8042_(callbacks.on_reset),
      doorbell_(std::move(callbacks.on_doorbell)) {}

Result<std::unique_ptr<DeviceSet>> DeviceSet::Create(EventLoop& loop, GuestMemory& memory, DeviceLines& lines,
                                                     wire::DeviceFds fds, Callbacks callbacks,
                                                     const DeviceSetState* state) {
  std::unique_ptr<DeviceSet> set(new DeviceSet(lines, std::move(fds.console), std::move(callbacks), state));
  virtio::BlockConfig disks[] = {{std::move(fds.runtimefs), std::nullopt, "runtimefs"},
                                 {std::move(fds.appfs), wire::kAppfsDeviceBytes, "appfs"}};
  for (size_t slot = kRuntimefsSlot; slot <= kAppfsSlot; ++slot) {
    auto block = virtio::VirtioBlock::Create(std::move(disks[slot]), state == nullptr ? nullptr : &state->blocks[slot]);
    if (!block) return Forward(block.error());
    set->blocks_[slot] = block->get();
    auto added = set->AddVirtio(slot, std::move(*block), loop, memory, lines, state);
    if (!added) return Forward(added.error());
  }
  auto console =
      virtio::VirtioConsole::Create(loop, {std::move(fds.channel), std::move(fds.log), devices::LogSink::kDefaultLimit},
                                    state == nullptr ? nullptr : &state->console);
  if (!console) return Forward(console.error());
  set->console_ = console->get();
  auto added = set->AddVirtio(kConsoleSlot, std::move(*console), loop, memory, lines, state);
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
  for (size_t i = 0; i < blocks_.size(); ++i) state.blocks[i] = blocks_[i]->Save();
  state.console = console_->Save();
  for (size_t slot = 0; slot < kVirtioSlots; ++slot) state.transports[slot] = virtio_[slot].transport->Save();
  return state;
}

void DeviceSet::Kick() {
  serial_.Kick();
  for (const VirtioSlot& entry : virtio_) entry.transport->Kick();
}

}  // namespace snapfaas::vmm
