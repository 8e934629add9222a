// MmioTransport: the register file of a virtio-mmio device, version 2 (virtio 1.2, 4.2).
//
// The driver takes the device through these states by writing Status (3.1.1); a bit that comes out of turn is not
// taken over, and bits once set stay until a reset:
//
//   RESET --ACKNOWLEDGE--> ACKNOWLEDGED --DRIVER--> FEATURES --FEATURES_OK--> QUEUES --DRIVER_OK--> LIVE
//     ^                                              (DriverFeatures)          (Queue*)         (QueueNotify)
//     |                                                                                              |
//     |          FEATURES_OK is refused unless the features are offered ones and hold VERSION_1      | malformed ring
//     |                                                                                              v
//     +---- Status = 0, from every state, or after FAILED ---------------------------------- DEVICE_NEEDS_RESET
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/interrupt.h"
#include "devices/virtio/device.h"
#include "devices/virtio/queue.h"
#include "memory/guest_memory.h"

namespace snapfaas::devices::virtio {

inline constexpr uint64_t kMmioTransportSize = 0x200;     // of the register file; a range of a whole page is fine
inline constexpr uint64_t kMmioQueueNotifyOffset = 0x50;  // where to put ioeventfds: 32 bits, value = queue index

struct TransportState {
  uint32_t device_type = 0;
  uint32_t status = 0;
  uint32_t interrupt_status = 0;
  uint64_t driver_features = 0;
  uint32_t device_features_select = 0;
  uint32_t driver_features_select = 0;
  uint32_t queue_select = 0;
  std::vector<QueueState> queues;

  void Encode(ByteWriter& writer) const;
  static TransportState Decode(ByteReader& reader);  // bad bytes fail the reader
  bool operator==(const TransportState&) const = default;
};

class MmioTransport final : public IoHandler, private DeviceHost {
 public:
  // With a state, continues where Save() left off: it is checked as strictly as what a guest writes, and one that does
  // not fit the device is an error (kIncompatible or kCorrupt). Guest memory is not touched before Kick().
  // REQUIRES: device, memory and interrupt outlive it.
  static Result<std::unique_ptr<MmioTransport>> Create(VirtioDevice& device, GuestMemory& memory, Interrupt& interrupt,
                                                       const TransportState* state = nullptr);
  MmioTransport(const MmioTransport&) = delete;
  MmioTransport& operator=(const MmioTransport&) = delete;
  ~MmioTransport() override;

  std::string_view name() const override { return device_.name(); }
  // Registers take aligned 32-bit accesses only (4.2.2.2): others read zero and write nothing.
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  size_t queue_count() const { return device_.queue_max_sizes().size(); }

  // Serves the queue: to be called on the device thread when its ioeventfd fires. Ignored while there is nothing to
  // serve. Writing QueueNotify through Write() does the same on the calling thread.
  void NotifyQueue(size_t index);

  // REQUIRES: the vCPUs are paused and the device thread serves nothing until memory is saved too. What a queue has
  // pending stays in it.
  TransportState Save() const;

  // After a restore, once memory is in place: serves all queues and repeats an interrupt that was not acknowledged.
  void Kick();

  // Why the device is in DEVICE_NEEDS_RESET; empty when it is not.
  std::string broken_reason() const;

 private:
  MmioTransport(VirtioDevice& device, GuestMemory& memory, Interrupt& interrupt);

  // DeviceHost
  Queue* queue(size_t index) override;
  void SignalUsed(size_t index) override;
  void MarkBroken(const Error& error) override;

  Status Restore(const TransportState& state);
  uint32_t ReadRegister(uint64_t offset) const;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) const;
  void WriteRegister(uint64_t offset, uint32_t value);
  void WriteStatus(uint32_t value);
  void WriteDriverFeatures(uint32_t value);
  void WriteQueueRegister(uint64_t offset, uint32_t value);
  void SetQueueReady(size_t index, uint32_t value);
  void ResetDevice();
  void Serve(size_t index);
  bool live() const;
  uint64_t offered_features() const { return device_.features() | kFeatureVersion1; }

  VirtioDevice& device_;
  GuestMemory& memory_;
  Interrupt& interrupt_;
  // All below under device_.mutex(). state_.queues holds what the driver wrote; a ready queue's progress is in queues_.
  TransportState state_;
  std::vector<std::optional<Queue>> queues_;
  std::string broken_reason_;
};

}  // namespace snapfaas::devices::virtio
