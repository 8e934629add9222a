#include "wire/messages.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/coding.h"

namespace snapfaas::wire {
namespace {

constexpr uint8_t kBootTag = 1;
constexpr uint8_t kRestoreTag = 2;
constexpr uint8_t kRecordTag = 3;
constexpr uint8_t kResetTag = 4;
constexpr uint8_t kPrimeTag = 5;
constexpr size_t kMaxText = 16 * 1024;

// Notes for each descriptor of a message whether it is there, and moves it beside the bytes.
class FdSink {
 public:
  explicit FdSink(Packet& packet, ByteWriter& writer) : packet_(packet), writer_(writer) {}
  void Put(UniqueFd fd) {
    writer_.Put(static_cast<uint8_t>(fd.valid() ? 1 : 0));
    if (fd.valid()) packet_.fds.push_back(std::move(fd));
  }
  void Put(SnapshotFds fds) {
    Put(std::move(fds.state));
    Put(std::move(fds.memory));
    Put(std::move(fds.overlay));
    Put(std::move(fds.kernel));
    Put(std::move(fds.packed));
    Put(std::move(fds.kernel_text));
    Put(std::move(fds.plan));
  }
  void Put(DeviceFds fds) {
    Put(std::move(fds.runtimefs));
    Put(std::move(fds.appfs));
    Put(std::move(fds.channel));
    Put(std::move(fds.log));
    Put(std::move(fds.console));
  }

 private:
  Packet& packet_;
  ByteWriter& writer_;
};

class FdSource {
 public:
  FdSource(Packet& packet, ByteReader& reader) : packet_(packet), reader_(reader) {}
  UniqueFd Get() {
    if (reader_.Get<uint8_t>() == 0) return UniqueFd();
    if (next_ >= packet_.fds.size()) {
      reader_.MarkBad();
      return UniqueFd();
    }
    return std::move(packet_.fds[next_++]);
  }
  SnapshotFds GetSnapshot() {
    SnapshotFds fds;
    fds.state = Get();
    fds.memory = Get();
    fds.overlay = Get();
    fds.kernel = Get();
    fds.packed = Get();
    fds.kernel_text = Get();
    fds.plan = Get();
    return fds;
  }
  DeviceFds GetDevices() {
    DeviceFds fds;
    fds.runtimefs = Get();
    fds.appfs = Get();
    fds.channel = Get();
    fds.log = Get();
    fds.console = Get();
    return fds;
  }

 private:
  Packet& packet_;
  ByteReader& reader_;
  size_t next_ = 0;
};

void PutIdentity(ByteWriter& writer, const VmIdentity& identity) {
  writer.PutString(identity.vm_id);
  writer.PutString(identity.hostname);
}

VmIdentity GetIdentity(ByteReader& reader) {
  VmIdentity identity;
  identity.vm_id = reader.GetString(kMaxText);
  identity.hostname = reader.GetString(kMaxText);
  return identity;
}

struct CommandEncoder {
  ByteWriter& writer;
  FdSink& fds;
  void operator()(BootCommand boot) const {
    writer.Put(kBootTag);
    writer.PutString(boot.cmdline);
    PutIdentity(writer, boot.identity);
    fds.Put(std::move(boot.kernel));
    fds.Put(std::move(boot.initramfs));
    fds.Put(std::move(boot.devices));
    fds.Put(std::move(boot.snapshot_state));
    fds.Put(std::move(boot.snapshot_memory));
  }
  void operator()(RestoreCommand restore) const {
    writer.Put(kRestoreTag);
    writer.Put(static_cast<uint8_t>(restore.mode));
    PutIdentity(writer, restore.identity);
    fds.Put(std::move(restore.snapshot));
    fds.Put(std::move(restore.devices));
    fds.Put(std::move(restore.function_state));
    fds.Put(std::move(restore.function_memory));
  }
  void operator()(RecordWorkingSetCommand record) const {
    writer.Put(kRecordTag);
    fds.Put(std::move(record.file));
  }
  void operator()(PrimeCommand prime) const {
    writer.Put(kPrimeTag);
    fds.Put(std::move(prime.snapshot));
    fds.Put(std::move(prime.runtimefs));
  }
  void operator()(ResetCommand reset) const {
    writer.Put(kResetTag);
    PutIdentity(writer, reset.identity);
    fds.Put(std::move(reset.channel));
    fds.Put(std::move(reset.log));
  }
};

Command DecodeCommandBody(ByteReader& reader, FdSource& fds) {
  switch (reader.Get<uint8_t>()) {
    case kBootTag: {
      BootCommand boot;
      boot.cmdline = reader.GetString(kMaxText);
      boot.identity = GetIdentity(reader);
      boot.kernel = fds.Get();
      boot.initramfs = fds.Get();
      boot.devices = fds.GetDevices();
      boot.snapshot_state = fds.Get();
      boot.snapshot_memory = fds.Get();
      return boot;
    }
    case kRestoreTag: {
      RestoreCommand restore;
      const auto mode = reader.Get<uint8_t>();
      if (mode > static_cast<uint8_t>(RestoreMode::kPrefetch)) reader.MarkBad();
      restore.mode = static_cast<RestoreMode>(mode);
      restore.identity = GetIdentity(reader);
      restore.snapshot = fds.GetSnapshot();
      restore.devices = fds.GetDevices();
      restore.function_state = fds.Get();
      restore.function_memory = fds.Get();
      return restore;
    }
    case kRecordTag: {
      RecordWorkingSetCommand record;
      record.file = fds.Get();
      return record;
    }
    case kResetTag: {
      ResetCommand reset;
      reset.identity = GetIdentity(reader);
      reset.channel = fds.Get();
      reset.log = fds.Get();
      return reset;
    }
    case kPrimeTag: {
      PrimeCommand prime;
      prime.snapshot = fds.GetSnapshot();
      prime.runtimefs = fds.Get();
      return prime;
    }
    default:
      reader.MarkBad();
      return ResetCommand();
  }
}

struct EventEncoder {
  ByteWriter& writer;
  void operator()(const ShellReadyEvent& event) const { writer.PutI64(event.at_ns); }
  void operator()(const MarkEvent& event) const {
    writer.Put(static_cast<uint32_t>(event.value));
    writer.Put(event.vcpu);
    writer.PutI64(event.at_ns);
  }
  void operator()(const RestoredEvent& event) const {
    writer.PutI64(event.begun_ns);
    writer.PutI64(event.memory_done_ns);
    writer.PutI64(event.state_done_ns);
  }
  void operator()(const SnapshotTakenEvent& event) const {
    writer.Put(event.stored_memory_bytes);
    writer.Put(event.state_bytes);
  }
  void operator()(const WorkingSetRecordedEvent& event) const {
    writer.Put(event.read_pages);
    writer.Put(event.written_pages);
  }
  void operator()(const PrimedEvent& /*event*/) const {}
  void operator()(const EndedEvent& event) const {
    writer.Put(static_cast<uint8_t>(event.reason));
    writer.PutString(std::string_view(event.detail).substr(0, kMaxText));
  }
  void operator()(const FailedEvent& event) const {
    writer.Put(static_cast<uint8_t>(event.error.code));
    writer.Put(static_cast<uint32_t>(event.error.os_errno));
    writer.PutString(std::string_view(event.error.context).substr(0, kMaxText));
  }
};

Event DecodeEventBody(uint8_t tag, ByteReader& reader) {
  switch (tag) {
    case 0:
      return ShellReadyEvent{reader.GetI64()};
    case 1: {
      MarkEvent event;
      event.value = static_cast<Doorbell>(reader.Get<uint32_t>());
      event.vcpu = reader.Get<uint32_t>();
      event.at_ns = reader.GetI64();
      return event;
    }
    case 2: {
      RestoredEvent event;
      event.begun_ns = reader.GetI64();
      event.memory_done_ns = reader.GetI64();
      event.state_done_ns = reader.GetI64();
      return event;
    }
    case 3: {
      SnapshotTakenEvent event;
      event.stored_memory_bytes = reader.Get<uint64_t>();
      event.state_bytes = reader.Get<uint64_t>();
      return event;
    }
    case 4: {
      EndedEvent event;
      const auto reason = reader.Get<uint8_t>();
      if (reason > static_cast<uint8_t>(EndReason::kStopped)) reader.MarkBad();
      event.reason = static_cast<EndReason>(reason);
      event.detail = reader.GetString(kMaxText);
      return event;
    }
    case 5: {
      FailedEvent event;
      const auto code = reader.Get<uint8_t>();
      if (code > static_cast<uint8_t>(ErrorCode::kSystem)) reader.MarkBad();
      event.error.code = static_cast<ErrorCode>(code);
      event.error.os_errno = static_cast<int>(reader.Get<uint32_t>());
      event.error.context = reader.GetString(kMaxText);
      return event;
    }
    case 6: {
      WorkingSetRecordedEvent event;
      event.read_pages = reader.Get<uint64_t>();
      event.written_pages = reader.Get<uint64_t>();
      return event;
    }
    case 7:
      return PrimedEvent{};
    default:
      reader.MarkBad();
      return EndedEvent{};
  }
}

}  // namespace

Packet EncodeCommand(Command command) {
  Packet packet;
  ByteWriter writer;
  FdSink fds(packet, writer);
  std::visit(CommandEncoder{writer, fds}, std::move(command));
  packet.bytes = writer.Take();
  return packet;
}

Result<Command> DecodeCommand(Packet packet) {
  ByteReader reader(packet.bytes);
  FdSource fds(packet, reader);
  auto command = DecodeCommandBody(reader, fds);
  auto done = reader.Finish("a command");
  if (!done) return Forward(done.error());
  return command;
}

Packet EncodeEvent(const Event& event) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(event.index()));
  std::visit(EventEncoder{writer}, event);
  return Packet{writer.Take(), {}};
}

Result<Event> DecodeEvent(const Packet& packet) {
  ByteReader reader(packet.bytes);
  Event event = DecodeEventBody(reader.Get<uint8_t>(), reader);
  auto done = reader.Finish("an event of the VMM");
  if (!done) return Forward(done.error());
  return event;
}

Status SendPacket(int socket, const Packet& packet) {
  if (packet.bytes.size() > kMaxPacketBytes || packet.fds.size() > kMaxPacketFds) {
    return Fail(ErrorCode::kInvalidArgument, "a control message of {} bytes and {} descriptors is too large",
                packet.bytes.size(), packet.fds.size());
  }
  iovec part{const_cast<uint8_t*>(packet.bytes.data()), packet.bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPacketFds * sizeof(int))> control{};
  if (!packet.fds.empty()) {
    const size_t size = packet.fds.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    for (size_t i = 0; i < packet.fds.size(); ++i) {
      const int fd = packet.fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno == EPIPE || errno == ECONNRESET) {
      return Fail(ErrorCode::kUnavailable, "the other side closed the control socket");
    }
    if (errno != EINTR) return FailErrno(errno, "sending on the control socket");
  }
  return {};
}

Result<Packet> ReceivePacket(int socket, int64_t deadline_ns) {
  while (deadline_ns >= 0) {
    const int64_t left = deadline_ns - MonotonicNanos();
    if (left <= 0) return Fail(ErrorCode::kTimedOut, "no message came in time");
    pollfd poll_fd{socket, POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(left / 1'000'000 + 1, 1'000'000)));
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return FailErrno(errno, "waiting on the control socket");
  }
  Packet packet;
  packet.bytes.resize(kMaxPacketBytes);
  iovec part{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPacketFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && errno == ECONNRESET)) {
    return Fail(ErrorCode::kUnavailable, "the other side closed the control socket");
  }
  if (got < 0) return FailErrno(errno, "receiving on the control socket");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      packet.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Fail(ErrorCode::kCorrupt, "a control message was cut short");
  }
  packet.bytes.resize(static_cast<size_t>(got));
  return packet;
}

Result<std::pair<UniqueFd, UniqueFd>> SocketPair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return FailErrno(errno, "making a socket pair");
  return std::make_pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

}  // namespace snapfaas::wire
