#include "devices/virtio/console.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string_view>

#include "wire/guest_abi.h"

namespace snapfaas::devices::virtio {
namespace {

constexpr uint64_t kFeatureMultiport = uint64_t{1} << 1;  // VIRTIO_CONSOLE_F_MULTIPORT

constexpr size_t kConsolePort = 0;
constexpr size_t kRequestPort = 1;
constexpr size_t kLogPort = 2;

// 5.3.2: receiveq and transmitq of port 0, the control queues, then a pair for each further port. Linux fills every
// receive queue with pages, so those that get nothing are short.
constexpr size_t kControlReceive = 2;
constexpr size_t kControlTransmit = 3;
constexpr uint16_t kConsoleQueueSizes[] = {4, 16, 16, 16, 64, 32, 4, 32};

constexpr size_t ReceiveQueueOf(size_t port) { return port == 0 ? 0 : 2 + 2 * port; }
constexpr size_t TransmitQueueOf(size_t port) { return ReceiveQueueOf(port) + 1; }

// 5.3.6.2
struct ControlMessage {
  uint32_t id;
  uint16_t event;
  uint16_t value;
};
static_assert(sizeof(ControlMessage) == 8);
constexpr uint16_t kDeviceReady = 0;
constexpr uint16_t kDeviceAdd = 1;
constexpr uint16_t kPortReady = 3;
constexpr uint16_t kConsolePortEvent = 4;
constexpr uint16_t kPortOpen = 6;
constexpr uint16_t kPortName = 7;

// What a port's guest side still has to be told, lowest bit first. A set of bits, not a list of messages: a guest that
// asks for ever without taking the answers costs nothing.
constexpr uint8_t kOwesAdd = 1;
constexpr uint8_t kOwesConsole = 2;
constexpr uint8_t kOwesName = 4;
constexpr uint8_t kOwesOpen = 8;
constexpr uint8_t kOwesAll = 15;

constexpr size_t kMaxSegments = 1024;  // IOV_MAX
constexpr size_t kMaxBatchBytes = 1 << 20;

std::string_view PortName(size_t port) {
  return port == kRequestPort ? wire::kRequestPortName : port == kLogPort ? wire::kLogPortName : "";
}

msghdr MessageOf(std::vector<iovec>& segments) {
  msghdr message{};
  message.msg_iov = segments.data();
  message.msg_iovlen = std::min(segments.size(), kMaxSegments);
  return message;
}

uint16_t EventOf(uint8_t owed) {
  switch (owed) {
    case kOwesAdd:
      return kDeviceAdd;
    case kOwesConsole:
      return kConsolePortEvent;
    case kOwesName:
      return kPortName;
    default:
      return kPortOpen;
  }
}

}  // namespace

void ConsoleState::Encode(ByteWriter& writer) const {
  for (const ConsolePortState& port : ports) {
    for (const bool flag : {port.guest_ready, port.guest_open, port.host_open}) {
      writer.Put(static_cast<uint8_t>(flag ? 1 : 0));
    }
    writer.Put(port.owed);
    writer.Put(port.sent_of_first);
  }
}

ConsoleState ConsoleState::Decode(ByteReader& reader) {
  ConsoleState state;
  for (ConsolePortState& port : state.ports) {
    for (bool* flag : {&port.guest_ready, &port.guest_open, &port.host_open}) {
      const auto value = reader.Get<uint8_t>();
      if (value > 1) reader.MarkBad();
      *flag = value == 1;
    }
    port.owed = reader.Get<uint8_t>();
    port.sent_of_first = reader.Get<uint64_t>();
    if (port.owed > kOwesAll || port.sent_of_first > std::numeric_limits<uint32_t>::max()) reader.MarkBad();
  }
  return state;
}

Result<std::unique_ptr<VirtioConsole>> VirtioConsole::Create(EventLoop& loop, ConsoleConfig config,
                                                             const ConsoleState* state) {
  std::unique_ptr<VirtioConsole> console(new VirtioConsole(std::move(config), state));
  if (console->socket_.valid()) {
    auto watch = loop.Add(console->socket_.get(), 0, [raw = console.get()](uint32_t) { raw->OnSocketReady(); });
    if (!watch) return Forward(watch.error(), "the request channel");
    console->watch_ = std::move(*watch);
  }
  return console;
}

VirtioConsole::VirtioConsole(ConsoleConfig config, const ConsoleState* state)
    : socket_(std::move(config.channel)), log_(std::move(config.log), config.log_limit) {
  if (state != nullptr) state_ = *state;
  ConsolePortState& request = state_.ports[kRequestPort];
  if (socket_.valid() && !request.host_open) {
    // The snapshot was taken after its host had closed; here is a new one.
    request.host_open = true;
    if (request.guest_ready) request.owed |= kOwesOpen;
  }
  // 5.3.4: le16 cols, le16 rows, le32 max_nr_ports, le32 emerg_wr.
  const auto ports = static_cast<uint32_t>(kConsolePorts);
  std::memcpy(config_space_.data() + 4, &ports, sizeof(ports));
}

uint64_t VirtioConsole::features() const { return kFeatureMultiport; }

std::span<const uint16_t> VirtioConsole::queue_max_sizes() const {
  static_assert(std::size(kConsoleQueueSizes) == 2 * kConsolePorts + 2);
  return kConsoleQueueSizes;
}

ConsoleState VirtioConsole::Save() const {
  const std::lock_guard lock(mutex());
  return state_;
}

void VirtioConsole::Reset() {
  const bool host_open = state_.ports[kRequestPort].host_open;
  state_ = ConsoleState{};
  state_.ports[kRequestPort].host_open = host_open;
  socket_full_ = false;
  socket_waiting_ = false;
  UpdateWatch();
}

void VirtioConsole::OnSocketReady() {
  const std::lock_guard lock(mutex());
  if (host() == nullptr) {
    socket_full_ = false;
    socket_waiting_ = false;
    UpdateWatch();
    return;
  }
  auto done = Transmit(kRequestPort);
  if (done) done = ReceiveFromSocket();
  if (done) done = SendControl();
  if (!done) host()->MarkBroken(done.error());
  UpdateWatch();
}

Status VirtioConsole::ProcessQueue(size_t index) {
  auto done = Dispatch(index);
  if (done) done = SendControl();
  UpdateWatch();
  return done;
}

Status VirtioConsole::Dispatch(size_t index) {
  if (index == kControlTransmit) return ReceiveControl();
  if (index == ReceiveQueueOf(kRequestPort)) return ReceiveFromSocket();
  for (const size_t port : {kConsolePort, kRequestPort, kLogPort}) {
    if (index == TransmitQueueOf(port)) return Transmit(port);
  }
  return {};  // the control receive queue, which follows every call, and ports that send nothing
}

Status VirtioConsole::ReceiveControl() {
  Queue* queue = host()->queue(kControlTransmit);
  if (queue == nullptr) return {};
  bool used = false;
  for (;;) {
    auto popped = queue->Pop();
    if (!popped) return Forward(popped.error());
    if (!popped->has_value()) break;
    ControlMessage message{};
    const size_t size = (*popped)->CopyOut(0, {reinterpret_cast<uint8_t*>(&message), sizeof(message)});
    queue->Return(std::move(**popped), 0);
    used = true;
    if (size == sizeof(message)) HandleControl(message.id, message.event, message.value);
  }
  if (used) host()->SignalUsed(kControlTransmit);
  // The guest may have opened the port.
  return ReceiveFromSocket();
}

void VirtioConsole::HandleControl(uint32_t port, uint16_t event, uint16_t value) {
  if (event == kDeviceReady) {
    if (value != 1) return;
    for (ConsolePortState& added : state_.ports) added.owed |= kOwesAdd;
    return;
  }
  if (port >= state_.ports.size()) return;
  ConsolePortState& state = state_.ports[port];
  if (event == kPortReady) {
    state.guest_ready = value == 1;
    if (state.guest_ready) state.owed |= kOwesOpen | (port == kConsolePort ? kOwesConsole : kOwesName);
  } else if (event == kPortOpen) {
    state.guest_open = value == 1;
  }
}

Status VirtioConsole::SendControl() {
  Queue* queue = host()->queue(kControlReceive);
  if (queue == nullptr) return {};
  bool used = false;
  for (size_t port = 0; port < state_.ports.size(); ++port) {
    ConsolePortState& state = state_.ports[port];
    while (state.owed != 0) {
      auto popped = queue->Pop();
      if (!popped) return Forward(popped.error());
      if (!popped->has_value()) {
        if (used) host()->SignalUsed(kControlReceive);
        return {};
      }
      DescriptorChain chain = std::move(**popped);
      const auto lowest = static_cast<uint8_t>(1u << std::countr_zero(state.owed));
      const uint16_t event = EventOf(lowest);
      const ControlMessage message{static_cast<uint32_t>(port), event,
                                   static_cast<uint16_t>(event == kPortOpen && !state.host_open ? 0 : 1)};
      const std::string_view name = lowest == kOwesName ? PortName(port) : "";
      size_t written = chain.CopyIn(0, {reinterpret_cast<const uint8_t*>(&message), sizeof(message)});
      written += chain.CopyIn(sizeof(message), {reinterpret_cast<const uint8_t*>(name.data()), name.size()});
      if (written != sizeof(message) + name.size()) {
        queue->PutBack(std::move(chain));
        return Fail(ErrorCode::kGuestError, "a buffer for console control messages is too small");
      }
      queue->Return(std::move(chain), static_cast<uint32_t>(written));
      used = true;
      state.owed &= static_cast<uint8_t>(~lowest);
    }
  }
  if (used) host()->SignalUsed(kControlReceive);
  return {};
}

Status VirtioConsole::Transmit(size_t port) {
  if (port == kRequestPort) socket_full_ = false;
  const size_t index = TransmitQueueOf(port);
  Queue* queue = host()->queue(index);
  if (queue == nullptr) return {};
  bool used = false;
  for (;;) {
    auto popped = queue->Pop();
    if (!popped) return Forward(popped.error());
    if (!popped->has_value()) break;
    if (!TransmitChain(port, **popped)) {
      queue->PutBack(std::move(**popped));
      break;
    }
    state_.ports[port].sent_of_first = 0;
    queue->Return(std::move(**popped), 0);
    used = true;
  }
  if (port == kLogPort) log_.Flush();
  if (used) host()->SignalUsed(index);
  return {};
}

bool VirtioConsole::TransmitChain(size_t port, const DescriptorChain& chain) {
  if (port == kRequestPort) return SendToSocket(chain);
  if (port == kLogPort) {
    for (const iovec& segment : chain.readable()) {
      log_.Write({static_cast<const uint8_t*>(segment.iov_base), segment.iov_len});
    }
  }
  return true;
}

bool VirtioConsole::SendToSocket(const DescriptorChain& chain) {
  uint64_t& sent = state_.ports[kRequestPort].sent_of_first;
  while (sent < chain.readable_bytes()) {
    // Without a socket bytes wait for one to come, unless it has gone.
    if (!socket_.valid()) return !state_.ports[kRequestPort].host_open;
    segments_.clear();
    AppendSlice(chain.readable(), sent, chain.readable_bytes(), segments_);
    const msghdr message = MessageOf(segments_);
    const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      sent += static_cast<uint64_t>(count);
    } else if (errno == EAGAIN) {
      socket_full_ = true;
      return false;
    } else if (errno != EINTR) {
      CloseSocket();
    }
  }
  return true;
}

Status VirtioConsole::ReceiveFromSocket() {
  socket_waiting_ = false;
  const size_t index = ReceiveQueueOf(kRequestPort);
  Queue* queue = host()->queue(index);
  if (queue == nullptr || !socket_.valid() || !state_.ports[kRequestPort].guest_open) return {};
  bool used = false;
  bool starved = false;
  for (;;) {
    const auto room = CollectBuffers(*queue);
    if (!room) return Forward(room.error());
    if (chains_.empty()) {
      if (starved) break;
      // Only now is the device interested in new buffers; one may have come just before.
      queue->SetNotifications(DriverNotifications::kWanted);
      starved = true;
      continue;
    }
    msghdr message = MessageOf(segments_);
    const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
    const int error = errno;
    ReturnFilled(*queue, count > 0 ? static_cast<size_t>(count) : 0);
    used = used || count > 0;
    // Less than there was room for: the socket has no more for now.
    const bool drained = count > 0 ? static_cast<uint64_t>(count) < *room : count < 0 && error == EAGAIN;
    if (drained) {
      socket_waiting_ = true;
      queue->SetNotifications(DriverNotifications::kUnwanted);
      break;
    }
    if (count == 0 || (count < 0 && error != EINTR)) {
      CloseSocket();
      break;
    }
    starved = false;
  }
  if (used) host()->SignalUsed(index);
  return {};
}

Result<uint64_t> VirtioConsole::CollectBuffers(Queue& queue) {
  segments_.clear();
  uint64_t bytes = 0;
  while (segments_.size() + queue.size() <= kMaxSegments && bytes < kMaxBatchBytes) {
    auto popped = queue.Pop();
    if (!popped) {
      PutBackFrom(queue, 0);
      return Forward(popped.error());
    }
    if (!popped->has_value()) break;
    const uint64_t room = (*popped)->writable_bytes();
    const auto writable = (*popped)->writable();
    segments_.insert(segments_.end(), writable.begin(), writable.end());
    bytes += room;
    chains_.push_back(std::move(**popped));
    if (room == 0) {
      PutBackFrom(queue, 0);
      return Fail(ErrorCode::kGuestError, "a receive buffer of the console has no writable part");
    }
  }
  return bytes;
}

void VirtioConsole::PutBackFrom(Queue& queue, size_t first) {
  while (chains_.size() > first) {
    queue.PutBack(std::move(chains_.back()));
    chains_.pop_back();
  }
  chains_.clear();
}

void VirtioConsole::ReturnFilled(Queue& queue, size_t bytes) {
  size_t index = 0;
  for (; index < chains_.size() && bytes > 0; ++index) {
    const auto filled = static_cast<size_t>(std::min<uint64_t>(bytes, chains_[index].writable_bytes()));
    queue.Return(std::move(chains_[index]), static_cast<uint32_t>(filled));
    bytes -= filled;
  }
  PutBackFrom(queue, index);
}

void VirtioConsole::CloseSocket() {
  socket_full_ = false;
  socket_waiting_ = false;
  UpdateWatch();
  socket_.Reset();
  ConsolePortState& request = state_.ports[kRequestPort];
  request.host_open = false;
  if (request.guest_ready) request.owed |= kOwesOpen;
}

void VirtioConsole::UpdateWatch() {
  const uint32_t events = (socket_waiting_ ? uint32_t{EPOLLIN} : 0u) | (socket_full_ ? uint32_t{EPOLLOUT} : 0u);
  // Fails only where memory for the watch is exhausted; the channel then stays silent and the request times out.
  (void)watch_.SetEvents(events);
}

}  // namespace snapfaas::devices::virtio
