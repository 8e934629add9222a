// VirtioConsole: byte streams between host and guest by name (virtio 1.2, 5.3, with VIRTIO_CONSOLE_F_MULTIPORT).
//
//   port 0  hvc0, a console whose output is discarded
//   port 1  wire::kRequestPortName: a stream socket, both directions
//   port 2  wire::kLogPortName: guest to host, into a LogSink
//
// The request port has flow control both ways: while the socket is full, guest buffers wait in the queue; while the
// guest has no buffers posted or has not opened the port, nothing is read from the socket. Without a socket the port
// looks open and bytes wait, as for a slow host: a snapshot taken so can be restored with a socket. When the host
// closes the socket the guest sees the port closed, and what it writes is discarded.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/coding.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "devices/log_sink.h"
#include "devices/virtio/device.h"

namespace snapfaas::devices::virtio {

inline constexpr size_t kConsolePorts = 3;

struct ConsolePortState {
  bool guest_ready = false;    // the guest said VIRTIO_CONSOLE_PORT_READY
  bool guest_open = false;     // the guest said VIRTIO_CONSOLE_PORT_OPEN
  bool host_open = true;       // what the guest is (or will be) told about our side
  uint8_t owed = 0;            // control messages still to be sent to the guest, one bit each
  uint64_t sent_of_first = 0;  // bytes of the first available transmit buffer that the socket has taken

  bool operator==(const ConsolePortState&) const = default;
};

struct ConsoleState {
  std::array<ConsolePortState, kConsolePorts> ports;

  void Encode(ByteWriter& writer) const;
  static ConsoleState Decode(ByteReader& reader);  // bad bytes fail the reader
  bool operator==(const ConsoleState&) const = default;
};

struct ConsoleConfig {
  UniqueFd channel;  // stream socket behind the request port; may be absent
  UniqueFd log;      // behind the log port; may be absent: discarded
  uint64_t log_limit = LogSink::kDefaultLimit;
};

class VirtioConsole final : public VirtioDevice {
 public:
  // The socket is watched by `loop`, from the first time the guest (or MmioTransport::Kick) notifies a queue on.
  // REQUIRES: the loop outlives it, and does not run, or runs on this thread, when it is destroyed.
  static Result<std::unique_ptr<VirtioConsole>> Create(EventLoop& loop, ConsoleConfig config,
                                                       const ConsoleState* state = nullptr);

  std::string_view name() const override { return "virtio-console"; }
  DeviceType type() const override { return DeviceType::kConsole; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_max_sizes() const override;
  std::span<const uint8_t> config() const override { return config_space_; }
  Status ProcessQueue(size_t index) override;
  void Reset() override;

  // As MmioTransport::Save: the loop serves nothing until memory is saved too.
  ConsoleState Save() const;

 private:
  VirtioConsole(ConsoleConfig config, const ConsoleState* state);

  void OnSocketReady();
  Status Dispatch(size_t index);
  Status ReceiveControl();
  Status SendControl();
  void HandleControl(uint32_t port, uint16_t event, uint16_t value);
  Status Transmit(size_t port);
  // Whether the bytes were all taken.
  bool TransmitChain(size_t port, const DescriptorChain& chain);
  bool SendToSocket(const DescriptorChain& chain);
  Status ReceiveFromSocket();
  // Takes a batch of receive buffers into chains_ and segments_; returns how many bytes they hold.
  Result<uint64_t> CollectBuffers(Queue& queue);
  void PutBackFrom(Queue& queue, size_t first);
  void ReturnFilled(Queue& queue, size_t bytes);
  void CloseSocket();
  void UpdateWatch();

  UniqueFd socket_;
  LogSink log_;
  ConsoleState state_;
  std::array<uint8_t, 12> config_space_{};
  bool socket_full_ = false;     // wait until it takes more
  bool socket_waiting_ = false;  // the guest has buffers for what comes: wait for it
  std::vector<iovec> segments_;  // of the transfer at hand
  std::vector<DescriptorChain> chains_;
  EventLoop::Watch watch_;  // last: goes first
};

}  // namespace snapfaas::devices::virtio
