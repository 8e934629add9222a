// VirtioDevice: a device behind a transport, and DeviceHost: what the transport is to it (virtio 1.2, 2).
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>

#include "base/result.h"
#include "devices/virtio/queue.h"

namespace snapfaas::devices::virtio {

// Virtio 1.2, 5.
enum class DeviceType : uint32_t { kConsole = 3, kEntropy = 4, kPmem = 27 };

inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;  // VIRTIO_F_VERSION_1, offered by the transport

// REQUIRES for all: the device's mutex is held.
class DeviceHost {
 public:
  // The queue, while the driver is running and has set it up; otherwise nullptr.
  virtual Queue* queue(size_t index) = 0;

  // Buffers of the queue have been returned: interrupts the driver if it wants to know.
  virtual void SignalUsed(size_t index) = 0;

  // The guest has broken the rules: DEVICE_NEEDS_RESET (2.1.2). Every queue() is nullptr until it resets the device.
  virtual void MarkBroken(const Error& error) = 0;

 protected:
  ~DeviceHost() = default;
};

// One mutex guards the device together with its transport: registers are accessed on vCPU threads, queues are served
// on the device thread (or on a vCPU thread, where there is no ioeventfd). The transport holds it when it calls.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;

  virtual std::string_view name() const = 0;
  virtual DeviceType type() const = 0;
  // The device's own feature bits.
  virtual uint64_t features() const = 0;
  // One entry per queue.
  virtual std::span<const uint16_t> queue_max_sizes() const = 0;
  // The device-specific configuration, as the guest reads it. It never changes, so there is no config generation.
  virtual std::span<const uint8_t> config() const = 0;

  // Serves a queue: the driver has made buffers available, or may have. An error is the guest's fault and breaks the
  // device. Only called between Activate and Deactivate.
  virtual Status ProcessQueue(size_t index) = 0;

  // Forgets what the driver did (2.1, device reset). Not called by a restore.
  virtual void Reset() = 0;

  // The driver is running (DRIVER_OK), in a restored device too; guest memory may not be in place yet, so nothing
  // touches it before the first ProcessQueue.
  void Activate(DeviceHost& host) { host_ = &host; }
  void Deactivate() { host_ = nullptr; }

  std::mutex& mutex() const { return mutex_; }

 protected:
  // The transport, between Activate and Deactivate; otherwise nullptr.
  DeviceHost* host() const { return host_; }

 private:
  mutable std::mutex mutex_;
  DeviceHost* host_ = nullptr;
};

}  // namespace snapfaas::devices::virtio
