#include "wire/messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/clock.h"
#include "wire/deadline_for_tests.h"

namespace snapfaas::wire {
namespace {

UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

// A descriptor that can be recognised after it has been passed: its pipe holds this byte.
UniqueFd Marked(char mark) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd write_end(ends[1]);
  EXPECT_EQ(::write(write_end.get(), &mark, 1), 1);
  return UniqueFd(ends[0]);
}

char MarkOf(const UniqueFd& fd) {
  char mark = 0;
  return ::read(fd.get(), &mark, 1) == 1 ? mark : '\0';
}

BootCommand FullBoot() {
  BootCommand boot;
  boot.cmdline = "console=ttyS0";
  boot.identity = {"vm-1", "host-1"};
  boot.kernel = Marked('k');
  boot.initramfs = Marked('i');
  boot.devices.runtimefs = Marked('r');
  boot.devices.appfs = Marked('a');
  boot.devices.channel = Marked('c');
  boot.devices.log = Marked('l');
  boot.devices.console = Marked('o');
  boot.snapshot_state = Marked('s');
  boot.snapshot_memory = Marked('m');
  return boot;
}

RestoreCommand SparseRestore() {
  RestoreCommand restore;
  restore.mode = RestoreMode::kCopy;
  restore.identity = {"vm-2", "host-2"};
  restore.snapshot.state = Marked('s');
  restore.snapshot.memory = Marked('m');
  restore.devices.channel = Marked('c');
  return restore;
}

RestoreCommand FullRestore() {
  RestoreCommand restore = SparseRestore();
  restore.mode = RestoreMode::kPrefetch;
  restore.snapshot.overlay = Marked('v');
  restore.snapshot.kernel = Marked('k');
  restore.snapshot.packed = Marked('P');
  restore.snapshot.kernel_text = Marked('t');
  restore.snapshot.plan = Marked('p');
  restore.devices.runtimefs = Marked('r');
  restore.devices.appfs = Marked('a');
  restore.devices.log = Marked('l');
  restore.devices.console = Marked('o');
  restore.function_state = Marked('S');
  restore.function_memory = Marked('M');
  return restore;
}

RecordWorkingSetCommand Record() {
  RecordWorkingSetCommand record;
  record.file = Marked('w');
  return record;
}

ResetCommand Reset() {
  ResetCommand reset;
  reset.channel = Marked('c');
  reset.log = Marked('l');
  reset.identity = {"vm-3", "host-3"};
  return reset;
}

std::vector<Event> OneOfEachEvent() {
  return {ShellReadyEvent{1},
          MarkEvent{Doorbell::kReady, 2, 3},
          RestoredEvent{4, 5, 6},
          SnapshotTakenEvent{7, 8},
          EndedEvent{EndReason::kReset, "panic"},
          FailedEvent{Error{ErrorCode::kCorrupt, ENOSPC, "why"}},
          WorkingSetRecordedEvent{9, 10}};
}

TEST(Messages, BootKeepsItsFieldsAndDescriptors) {
  auto decoded = DecodeCommand(EncodeCommand(FullBoot()));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  const auto& boot = std::get<BootCommand>(*decoded);
  EXPECT_EQ(boot.cmdline, "console=ttyS0");
  EXPECT_EQ(boot.identity.vm_id, "vm-1");
  EXPECT_EQ(boot.identity.hostname, "host-1");
  EXPECT_EQ(MarkOf(boot.kernel), 'k');
  EXPECT_EQ(MarkOf(boot.initramfs), 'i');
  EXPECT_EQ(MarkOf(boot.devices.runtimefs), 'r');
  EXPECT_EQ(MarkOf(boot.devices.appfs), 'a');
  EXPECT_EQ(MarkOf(boot.devices.channel), 'c');
  EXPECT_EQ(MarkOf(boot.devices.log), 'l');
  EXPECT_EQ(MarkOf(boot.devices.console), 'o');
  EXPECT_EQ(MarkOf(boot.snapshot_state), 's');
  EXPECT_EQ(MarkOf(boot.snapshot_memory), 'm');
}

TEST(Messages, AbsentDescriptorsStayAbsentAndTheOthersInPlace) {
  auto decoded = DecodeCommand(EncodeCommand(SparseRestore()));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  const auto& restore = std::get<RestoreCommand>(*decoded);
  EXPECT_EQ(restore.mode, RestoreMode::kCopy);
  EXPECT_EQ(restore.identity.vm_id, "vm-2");
  EXPECT_EQ(MarkOf(restore.snapshot.state), 's');
  EXPECT_EQ(MarkOf(restore.snapshot.memory), 'm');
  EXPECT_FALSE(restore.snapshot.overlay.valid());
  EXPECT_FALSE(restore.snapshot.kernel.valid());
  EXPECT_FALSE(restore.snapshot.packed.valid());
  EXPECT_FALSE(restore.snapshot.kernel_text.valid());
  EXPECT_FALSE(restore.snapshot.plan.valid());
  EXPECT_EQ(MarkOf(restore.devices.channel), 'c');
  EXPECT_FALSE(restore.devices.runtimefs.valid());
  EXPECT_FALSE(restore.devices.appfs.valid());
  EXPECT_FALSE(restore.devices.log.valid());
  EXPECT_FALSE(restore.devices.console.valid());
  EXPECT_FALSE(restore.function_state.valid());
  EXPECT_FALSE(restore.function_memory.valid());
}

TEST(Messages, RestoreKeepsAllItsDescriptors) {
  auto decoded = DecodeCommand(EncodeCommand(FullRestore()));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  const auto& restore = std::get<RestoreCommand>(*decoded);
  EXPECT_EQ(restore.mode, RestoreMode::kPrefetch);
  EXPECT_EQ(MarkOf(restore.snapshot.state), 's');
  EXPECT_EQ(MarkOf(restore.snapshot.memory), 'm');
  EXPECT_EQ(MarkOf(restore.snapshot.overlay), 'v');
  EXPECT_EQ(MarkOf(restore.snapshot.kernel), 'k');
  EXPECT_EQ(MarkOf(restore.snapshot.packed), 'P');
  EXPECT_EQ(MarkOf(restore.snapshot.kernel_text), 't');
  EXPECT_EQ(MarkOf(restore.snapshot.plan), 'p');
  EXPECT_EQ(MarkOf(restore.devices.runtimefs), 'r');
  EXPECT_EQ(MarkOf(restore.devices.appfs), 'a');
  EXPECT_EQ(MarkOf(restore.devices.channel), 'c');
  EXPECT_EQ(MarkOf(restore.devices.log), 'l');
  EXPECT_EQ(MarkOf(restore.devices.console), 'o');
  EXPECT_EQ(MarkOf(restore.function_state), 'S');
  EXPECT_EQ(MarkOf(restore.function_memory), 'M');
}

TEST(Messages, RecordAndResetKeepTheirFieldsAndDescriptors) {
  auto record = DecodeCommand(EncodeCommand(Record()));
  ASSERT_TRUE(record) << record.error().Message();
  EXPECT_EQ(MarkOf(std::get<RecordWorkingSetCommand>(*record).file), 'w');
  auto reset = DecodeCommand(EncodeCommand(Reset()));
  ASSERT_TRUE(reset) << reset.error().Message();
  EXPECT_EQ(std::get<ResetCommand>(*reset).identity.vm_id, "vm-3");
  EXPECT_EQ(std::get<ResetCommand>(*reset).identity.hostname, "host-3");
  EXPECT_EQ(MarkOf(std::get<ResetCommand>(*reset).channel), 'c');
  EXPECT_EQ(MarkOf(std::get<ResetCommand>(*reset).log), 'l');
}

TEST(Messages, EventsKeepTheirFields) {
  const auto decode = [](const Event& event) { return DecodeEvent(EncodeEvent(event)).value(); };
  const auto events = OneOfEachEvent();
  EXPECT_EQ(std::get<ShellReadyEvent>(decode(events[0])).at_ns, 1);
  const auto mark = std::get<MarkEvent>(decode(events[1]));
  EXPECT_EQ(mark.value, Doorbell::kReady);
  EXPECT_EQ(mark.vcpu, 2U);
  EXPECT_EQ(mark.at_ns, 3);
  const auto restored = std::get<RestoredEvent>(decode(events[2]));
  EXPECT_EQ(restored.begun_ns, 4);
  EXPECT_EQ(restored.memory_done_ns, 5);
  EXPECT_EQ(restored.state_done_ns, 6);
  const auto taken = std::get<SnapshotTakenEvent>(decode(events[3]));
  EXPECT_EQ(taken.stored_memory_bytes, 7U);
  EXPECT_EQ(taken.state_bytes, 8U);
  const auto ended = std::get<EndedEvent>(decode(events[4]));
  EXPECT_EQ(ended.reason, EndReason::kReset);
  EXPECT_EQ(ended.detail, "panic");
  const auto failed = std::get<FailedEvent>(decode(events[5]));
  EXPECT_EQ(failed.error.code, ErrorCode::kCorrupt);
  EXPECT_EQ(failed.error.os_errno, ENOSPC);
  EXPECT_EQ(failed.error.context, "why");
  const auto recorded = std::get<WorkingSetRecordedEvent>(decode(events[6]));
  EXPECT_EQ(recorded.read_pages, 9U);
  EXPECT_EQ(recorded.written_pages, 10U);
}

TEST(Messages, EveryTruncationOfACommandIsRefused) {
  for (const auto& bytes : {EncodeCommand(FullBoot()).bytes, EncodeCommand(SparseRestore()).bytes,
                            EncodeCommand(Record()).bytes, EncodeCommand(Reset()).bytes}) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      Packet cut;
      cut.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      for (size_t i = 0; i < kMaxPacketFds; ++i) cut.fds.push_back(OpenNull());
      EXPECT_FALSE(DecodeCommand(std::move(cut))) << size;
    }
  }
}

TEST(Messages, EveryTruncationOfAnEventIsRefused) {
  for (const auto& event : OneOfEachEvent()) {
    const auto bytes = EncodeEvent(event).bytes;
    for (size_t size = 0; size < bytes.size(); ++size) {
      Packet cut;
      cut.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(DecodeEvent(cut)) << event.index() << " at " << size;
    }
  }
}

TEST(Messages, BytesTooManyAreRefused) {
  Packet command = EncodeCommand(SparseRestore());
  command.bytes.push_back(0);
  EXPECT_FALSE(DecodeCommand(std::move(command)));
  Packet event = EncodeEvent(ShellReadyEvent{1});
  event.bytes.push_back(0);
  EXPECT_FALSE(DecodeEvent(event));
}

TEST(Messages, MissingDescriptorIsRefused) {
  Packet packet = EncodeCommand(FullBoot());
  packet.fds.pop_back();
  EXPECT_FALSE(DecodeCommand(std::move(packet)));
}

TEST(Messages, UnknownCommandIsRefused) {
  Packet packet;
  packet.bytes = {99};
  EXPECT_EQ(DecodeCommand(std::move(packet)).error().code, ErrorCode::kCorrupt);
}

TEST(Messages, UnknownRestoreModeIsRefused) {
  Packet packet = EncodeCommand(SparseRestore());
  packet.bytes[1] = 3;
  EXPECT_FALSE(DecodeCommand(std::move(packet)));
}

TEST(Messages, UnknownEventIsRefused) {
  Packet packet;
  packet.bytes = {99};
  EXPECT_FALSE(DecodeEvent(packet));
}

TEST(Messages, UnknownEndReasonIsRefused) {
  Packet packet = EncodeEvent(EndedEvent{EndReason::kStopped, ""});
  packet.bytes[1] = 3;
  EXPECT_FALSE(DecodeEvent(packet));
}

TEST(Messages, UnknownErrorCodeIsRefused) {
  Packet packet = EncodeEvent(FailedEvent{Error{ErrorCode::kSystem, 0, ""}});
  packet.bytes[1] = static_cast<uint8_t>(ErrorCode::kSystem) + 1;
  EXPECT_FALSE(DecodeEvent(packet));
}

TEST(Messages, CommandLineAboveItsLimitIsRefused) {
  BootCommand boot;
  boot.cmdline = std::string(16 * 1024 + 1, 'x');
  EXPECT_FALSE(DecodeCommand(EncodeCommand(std::move(boot))));
}

TEST(Messages, LongErrorIsCutRatherThanLost) {
  const FailedEvent failed{Error{ErrorCode::kSystem, 0, std::string(100'000, 'x')}};
  const auto decoded = DecodeEvent(EncodeEvent(failed));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<FailedEvent>(*decoded).error.context, std::string(16 * 1024, 'x'));
}

TEST(Socket, CommandCrossesWithItsDescriptors) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  ASSERT_TRUE(SendPacket(pair->first.get(), EncodeCommand(FullBoot())));
  auto packet = ReceivePacket(pair->second.get(), Soon());
  ASSERT_TRUE(packet) << packet.error().Message();
  ASSERT_EQ(packet->fds.size(), 9U);
  for (const auto& fd : packet->fds) EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  auto command = DecodeCommand(std::move(*packet));
  ASSERT_TRUE(command);
  EXPECT_EQ(MarkOf(std::get<BootCommand>(*command).snapshot_memory), 'm');
}

TEST(Socket, PacketsKeepTheirBounds) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  for (const auto& event : OneOfEachEvent()) ASSERT_TRUE(SendPacket(pair->first.get(), EncodeEvent(event)));
  for (const auto& event : OneOfEachEvent()) {
    const auto packet = ReceivePacket(pair->second.get(), Soon());
    ASSERT_TRUE(packet);
    EXPECT_EQ(DecodeEvent(*packet)->index(), event.index());
  }
}

TEST(Socket, MostDescriptorsCrossAndMoreAreRefused) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  Packet packet;
  packet.bytes = {1};
  for (size_t i = 0; i < kMaxPacketFds; ++i) packet.fds.push_back(OpenNull());
  ASSERT_TRUE(SendPacket(pair->first.get(), packet));
  EXPECT_EQ(ReceivePacket(pair->second.get(), Soon())->fds.size(), kMaxPacketFds);
  packet.fds.push_back(OpenNull());
  EXPECT_EQ(SendPacket(pair->first.get(), packet).error().code, ErrorCode::kInvalidArgument);
}

TEST(Socket, PacketAboveTheLimitIsNotSent) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  Packet packet;
  packet.bytes.resize(kMaxPacketBytes + 1);
  EXPECT_EQ(SendPacket(pair->first.get(), packet).error().code, ErrorCode::kInvalidArgument);
}

TEST(Socket, PacketThatWasCutIsCorrupt) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  const std::vector<uint8_t> large(kMaxPacketBytes + 1);
  ASSERT_EQ(::send(pair->first.get(), large.data(), large.size(), 0), static_cast<ssize_t>(large.size()));
  EXPECT_EQ(ReceivePacket(pair->second.get(), Soon()).error().code, ErrorCode::kCorrupt);
}

TEST(Socket, SilenceEndsAtTheDeadline) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  const auto packet = ReceivePacket(pair->second.get(), MonotonicNanos() + kSecond / 100);
  EXPECT_EQ(packet.error().code, ErrorCode::kTimedOut);
}

TEST(Socket, OtherSideGoneIsUnavailable) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  pair->first.Reset();
  EXPECT_EQ(ReceivePacket(pair->second.get(), -1).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(SendPacket(pair->second.get(), EncodeEvent(ShellReadyEvent{1})).error().code, ErrorCode::kUnavailable);
}

TEST(Socket, LastPacketIsReadAfterTheOtherSideHasGone) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(SendPacket(pair->first.get(), EncodeEvent(EndedEvent{EndReason::kPowerOff, ""})));
  pair->first.Reset();
  EXPECT_TRUE(ReceivePacket(pair->second.get(), Soon()));
  EXPECT_FALSE(ReceivePacket(pair->second.get(), Soon()));
}

}  // namespace
}  // namespace snapfaas::wire
