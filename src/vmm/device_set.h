// All devices of a microVM and the two buses that they stand on.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/doorbell.h"
#include "devices/log_sink.h"
#include "devices/power.h"
#include "devices/serial.h"
#include "devices/virtio/console.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/pmem.h"
#include "devices/virtio/rng.h"
#include "memory/guest_memory.h"
#include "vmm/event_line.h"
#include "wire/messages.h"

namespace snapfaas::vmm {

// Slots of virtio devices, in the order of their addresses.
inline constexpr size_t kRuntimefsSlot = 0;
inline constexpr size_t kAppfsSlot = 1;
inline constexpr size_t kConsoleSlot = 2;
inline constexpr size_t kRngSlot = 3;
inline constexpr size_t kVirtioSlots = 4;

// Names the devices and the version of their saved states: snapshots are restored only into the same set.
inline constexpr std::string_view kDeviceSet =
    "serial-1 power-1 i8042-1 doorbell-1 virtio-mmio-1 pmem-1 pmem-1 console-1/3 rng-1";

// The host's ends of a virtio device's lines, which a shell prepares before it knows what to run.
struct VirtioLines {
  EventLine interrupt;
  UniqueFd notify;  // rung when the guest writes QueueNotify
};

struct DeviceLines {
  std::vector<VirtioLines> virtio;  // kVirtioSlots
  EventLine serial_interrupt;

  // Forgets what the guest has rung and nobody has heard. REQUIRES: no vCPU runs.
  void Drain();
};

struct DeviceSetState {
  devices::SerialState serial;
  devices::virtio::PmemState runtimefs;
  devices::virtio::PmemState appfs;
  devices::virtio::ConsoleState console;
  std::array<devices::virtio::TransportState, kVirtioSlots> transports;

  void Encode(ByteWriter& writer) const;
  static Result<DeviceSetState> Decode(std::span<const uint8_t> bytes);
};

class DeviceSet {
 public:
  // Called on vCPU threads.
  struct Callbacks {
    std::function<void(uint32_t)> on_doorbell;
    std::function<void()> on_power_off;
    std::function<void()> on_reset;
  };

  // `runtimefs_bytes`: what the guest sees of its root file system at kRuntimefsBase. The images themselves are mapped
  // by the caller. With a state, the devices go on
  // where Save() left them; guest memory is not touched before Kick().
  // REQUIRES: everything borrowed outlives the set; the loop does not run, or runs on this thread.
  static Result<std::unique_ptr<DeviceSet>> Create(EventLoop& loop, GuestMemory& memory, DeviceLines& lines,
                                                   wire::DeviceFds fds, uint64_t runtimefs_bytes, Callbacks callbacks,
                                                   const DeviceSetState* state = nullptr);

  const devices::Bus& ports() const { return ports_; }
  const devices::Bus& mmio() const { return mmio_; }

  // REQUIRES: the vCPUs are parked and the loop serves nothing until memory is saved too.
  DeviceSetState Save() const;

  // After a restore, once memory and interrupt controllers are in place: serves what was waiting in the queues.
  void Kick();

  // Writes out unfinished console lines.
  void Flush() { serial_.Flush(); }

 private:
  DeviceSet(DeviceLines& lines, UniqueFd console, Callbacks callbacks, const DeviceSetState* state);
  Status AddVirtio(size_t slot, std::unique_ptr<devices::virtio::VirtioDevice> device, EventLoop& loop,
                   GuestMemory& memory, DeviceLines& lines, const DeviceSetState* state);
  Status AddToBuses();

  struct VirtioSlot {
    std::unique_ptr<devices::virtio::VirtioDevice> device;
    std::unique_ptr<devices::virtio::MmioTransport> transport;
    EventLoop::Watch notify_watch;
  };

  devices::LogSink console_log_;
  devices::Serial serial_;
  devices::PowerControl power_;
  devices::I8042 i8042_;
  devices::DoorbellDevice doorbell_;
  std::array<VirtioSlot, kVirtioSlots> virtio_;
  // The same devices by their own types, for saving.
  devices::virtio::VirtioPmem* runtimefs_ = nullptr;
  devices::virtio::VirtioPmem* appfs_ = nullptr;
  devices::virtio::VirtioConsole* console_ = nullptr;
  devices::Bus ports_;
  devices::Bus mmio_;
};

}  // namespace snapfaas::vmm
