#include "devices/virtio/console.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::Access;
using testing::Buffer;
using testing::FakeInterrupt;
using testing::MakeMemory;
using testing::TestDriver;

constexpr size_t kControlReceive = 2;
constexpr size_t kControlTransmit = 3;
constexpr size_t kRequestReceive = 4;
constexpr size_t kRequestTransmit = 5;
constexpr size_t kLogTransmit = 7;

struct Control {
  uint32_t id = 0;
  uint16_t event = 0;
  uint16_t value = 0;
  bool operator==(const Control&) const = default;
};
constexpr uint16_t kDeviceReady = 0;
constexpr uint16_t kDeviceAdd = 1;
constexpr uint16_t kPortReady = 3;
constexpr uint16_t kConsolePort = 4;
constexpr uint16_t kPortOpen = 6;
constexpr uint16_t kPortName = 7;

std::pair<UniqueFd, UniqueFd> Sockets() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Bytes that tell their place in the stream.
std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 7 + i / 251) & 0xff);
  return text;
}

// The device thread runs while `loop_thread_` does; the test plays the guest.
class ConsoleTest : public ::testing::Test {
 protected:
  void TearDown() override { StopLoop(); }

  void Open(ConsoleConfig config, const ConsoleState* state = nullptr, const TransportState* transport = nullptr) {
    transport_.reset();
    console_ = VirtioConsole::Create(*loop_, std::move(config), state).value();
    transport_ = MmioTransport::Create(*console_, memory_, interrupt_, transport).value();
    if (driver_ == nullptr) {
      driver_ = std::make_unique<TestDriver>(memory_, *transport_);
    } else {
      driver_->Rebind(*transport_);
    }
  }
  void OpenWithSocket(const ConsoleState* state = nullptr, const TransportState* transport = nullptr) {
    auto [device_end, host_end] = Sockets();
    host_ = std::move(host_end);
    Open({.channel = std::move(device_end), .log = UniqueFd(::dup(log_.get())), .log_limit = 1000}, state, transport);
  }
  void StartLoop() {
    loop_thread_ = std::thread([this] { EXPECT_TRUE(loop_->Run()); });
  }
  void StopLoop() {
    if (!loop_thread_.joinable()) return;
    loop_->Stop();
    loop_thread_.join();
  }
  // One pass over what is ready now, on this thread.
  void RunLoopOnce() {
    loop_->Post([this] { loop_->Post([this] { loop_->Stop(); }); });
    ASSERT_TRUE(loop_->Run());
  }

  void SendControl(Control message) {
    const uint64_t address = driver_->Allocate(sizeof(message));
    ASSERT_TRUE(memory_.WriteObject(GuestAddress(address), message));
    driver_->Add(kControlTransmit, {{address, sizeof(message), Access::kReadable}});
    driver_->Notify(kControlTransmit);
    ASSERT_TRUE(driver_->TakeUsed(kControlTransmit).has_value());
  }
  void PostControlBuffers(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      driver_->Add(kControlReceive, {{driver_->Allocate(64), 64, Access::kWritable}});
    }
    driver_->Notify(kControlReceive);
  }
  // The next control message with the name that follows it, if any.
  std::optional<std::pair<Control, std::string>> TakeControl() {
    const auto used = driver_->TakeUsed(kControlReceive);
    if (!used) return std::nullopt;
    const uint64_t address = driver_->DescriptorAddress(kControlReceive, used->id);
    return std::pair{memory_.ReadObject<Control>(GuestAddress(address)).value(),
                     driver_->Text(address + sizeof(Control), used->length - sizeof(Control))};
  }
  void ExpectControl(Control message, std::string_view name = "") {
    const auto got = TakeControl();
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->first, message) << got->first.id << " " << got->first.event << " " << got->first.value;
    EXPECT_EQ(got->second, name);
  }

  // As Linux does it: all ports announced, named and opened.
  void BringUp() {
    driver_->Start();
    PostControlBuffers(16);
    SendControl({0, kDeviceReady, 1});
    for (uint32_t port = 0; port < 3; ++port) SendControl({port, kPortReady, 1});
    for (uint32_t port = 1; port < 3; ++port) SendControl({port, kPortOpen, 1});
    while (TakeControl()) {
    }
  }

  void PostReceiveBuffers(size_t count, uint32_t size) {
    for (size_t i = 0; i < count; ++i) {
      driver_->Add(kRequestReceive, {{driver_->Allocate(size), size, Access::kWritable}});
    }
    driver_->Notify(kRequestReceive);
  }
  std::string TakeReceived() {
    std::string text;
    while (const auto used = driver_->TakeUsed(kRequestReceive)) {
      text += driver_->Text(driver_->DescriptorAddress(kRequestReceive, used->id), used->length);
    }
    return text;
  }
  void Send(size_t queue, std::string_view text) {
    driver_->Add(queue, {{driver_->Put(text), static_cast<uint32_t>(text.size()), Access::kReadable}});
    driver_->Notify(static_cast<uint32_t>(queue));
  }
  void HostSends(std::string_view text) {
    ASSERT_EQ(::send(host_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  std::string HostReceives() {
    std::string text(1 << 20, '\0');
    const ssize_t size = ::recv(host_.get(), text.data(), text.size(), MSG_DONTWAIT);
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }
  std::string Log() {
    std::string text(1 << 16, '\0');
    const ssize_t size = ::pread(log_.get(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }

  GuestMemory memory_ = MakeMemory(32_MiB);
  FakeInterrupt interrupt_;
  UniqueFd log_{::memfd_create("log", MFD_CLOEXEC)};
  UniqueFd host_;
  std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
  std::unique_ptr<VirtioConsole> console_;
  std::unique_ptr<MmioTransport> transport_;
  std::unique_ptr<TestDriver> driver_;
  std::thread loop_thread_;
};

TEST_F(ConsoleTest, AnnouncesItsPorts) {
  OpenWithSocket();
  EXPECT_EQ(driver_->Read32(0x104), 3u);
  driver_->Start();
  PostControlBuffers(16);
  EXPECT_FALSE(TakeControl().has_value()) << "silent until the driver is ready";
  SendControl({0, kDeviceReady, 1});
  for (uint32_t port = 0; port < 3; ++port) ExpectControl({port, kDeviceAdd, 1});
  SendControl({0, kPortReady, 1});
  ExpectControl({0, kConsolePort, 1});
  ExpectControl({0, kPortOpen, 1});
  SendControl({1, kPortReady, 1});
  ExpectControl({1, kPortName, 1}, "snapfaas.requests");
  ExpectControl({1, kPortOpen, 1});
  SendControl({2, kPortReady, 1});
  ExpectControl({2, kPortName, 1}, "snapfaas.log");
  ExpectControl({2, kPortOpen, 1});
  EXPECT_FALSE(TakeControl().has_value());
}

TEST_F(ConsoleTest, ControlMessagesWaitForBuffers) {
  OpenWithSocket();
  driver_->Start();
  for (int i = 0; i < 1000; ++i) SendControl({0, kDeviceReady, 1});
  PostControlBuffers(2);
  ExpectControl({0, kDeviceAdd, 1});
  ExpectControl({1, kDeviceAdd, 1});
  EXPECT_FALSE(TakeControl().has_value());
  PostControlBuffers(8);
  ExpectControl({2, kDeviceAdd, 1});
  EXPECT_FALSE(TakeControl().has_value()) << "asking often changes nothing";
}

TEST_F(ConsoleTest, NonsenseOnTheControlQueueIsIgnored) {
  OpenWithSocket();
  driver_->Start();
  PostControlBuffers(8);
  SendControl({0, kDeviceReady, 0});
  SendControl({3, kPortReady, 1});
  SendControl({0xffffffff, kPortOpen, 1});
  SendControl({1, 999, 1});
  driver_->Add(kControlTransmit, {{driver_->Allocate(8), 7, Access::kReadable}});
  driver_->Add(kControlTransmit, {{driver_->Allocate(8), 8, Access::kWritable}});
  driver_->Notify(kControlTransmit);
  EXPECT_FALSE(TakeControl().has_value());
  EXPECT_EQ(driver_->status(), 15u);
}

TEST_F(ConsoleTest, AControlBufferThatIsTooSmallBreaksTheDevice) {
  OpenWithSocket();
  driver_->Start();
  driver_->Add(kControlReceive, {{driver_->Allocate(8), 7, Access::kWritable}});
  SendControl({0, kDeviceReady, 1});
  EXPECT_EQ(driver_->status() & 64, 64u);
}

TEST_F(ConsoleTest, CarriesBytesBothWays) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(4, 4096);
  HostSends("event");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "event");
  Send(kRequestTransmit, "result");
  EXPECT_EQ(HostReceives(), "result");
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
}

TEST_F(ConsoleTest, BytesWaitUntilTheGuestOpensThePort) {
  OpenWithSocket();
  driver_->Start();
  PostControlBuffers(16);
  SendControl({0, kDeviceReady, 1});
  SendControl({1, kPortReady, 1});
  PostReceiveBuffers(4, 4096);
  HostSends("early");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "");
  SendControl({1, kPortOpen, 1});
  EXPECT_EQ(TakeReceived(), "early");
  SendControl({1, kPortOpen, 0});
  HostSends("late");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "");
}

TEST_F(ConsoleTest, BytesWaitInTheSocketWhileTheGuestHasNoBuffers) {
  OpenWithSocket();
  BringUp();
  HostSends("0123456789");
  RunLoopOnce();
  PostReceiveBuffers(1, 4);
  EXPECT_EQ(TakeReceived(), "0123");
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(driver_->queues[kRequestReceive].used)).value(), 0)
      << "the device asks to be told of new buffers";
  PostReceiveBuffers(2, 4);
  EXPECT_EQ(TakeReceived(), "456789");
}

TEST_F(ConsoleTest, AsksForNoNotificationsWhileItWaitsForTheSocket) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(1, 4096);
  EXPECT_EQ(memory_.ReadObject<uint16_t>(GuestAddress(driver_->queues[kRequestReceive].used)).value(), 1);
}

TEST_F(ConsoleTest, GuestBuffersWaitWhileTheSocketIsFull) {
  OpenWithSocket();
  BringUp();
  const std::string payload = Pattern(1 << 20);
  Send(kRequestTransmit, payload);
  Send(kRequestTransmit, "end");
  EXPECT_FALSE(driver_->TakeUsed(kRequestTransmit).has_value());
  std::string got;
  for (int i = 0; i < 1000 && got.size() < payload.size() + 3; ++i) {
    got += HostReceives();
    RunLoopOnce();
  }
  EXPECT_TRUE(got == payload + "end");
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
}

TEST_F(ConsoleTest, CarriesSixMegabytesToTheGuest) {
  OpenWithSocket();
  BringUp();
  StartLoop();
  const std::string payload = Pattern(6'291'456);
  std::thread host([&] {
    for (size_t at = 0; at < payload.size();) {
      const ssize_t sent = ::send(host_.get(), payload.data() + at, payload.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += static_cast<size_t>(sent);
    }
  });
  std::vector<uint64_t> buffers;
  for (int i = 0; i < 64; ++i) buffers.push_back(driver_->Allocate(4096));
  for (const uint64_t buffer : buffers) driver_->Add(kRequestReceive, {{buffer, 4096, Access::kWritable}});
  driver_->Notify(kRequestReceive);
  std::string got;
  const int64_t deadline = MonotonicNanos() + 60'000'000'000;
  while (got.size() < payload.size() && MonotonicNanos() < deadline) {
    const auto used = driver_->TakeUsed(kRequestReceive);
    if (!used) {
      std::this_thread::yield();
      continue;
    }
    const uint64_t buffer = driver_->DescriptorAddress(kRequestReceive, used->id);
    got += driver_->Text(buffer, used->length);
    driver_->Add(kRequestReceive, {{buffer, 4096, Access::kWritable}});
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // As a driver does: notify unless the device asked for none.
    if (memory_.LoadAcquire16(GuestAddress(driver_->queues[kRequestReceive].used)).value() == 0) {
      driver_->Notify(kRequestReceive);
    }
  }
  ::shutdown(host_.get(), SHUT_RDWR);
  host.join();
  EXPECT_TRUE(got == payload) << got.size();
}

TEST_F(ConsoleTest, CarriesSixMegabytesToTheHost) {
  OpenWithSocket();
  BringUp();
  StartLoop();
  const std::string payload = Pattern(6'291'456);
  std::string got;
  std::thread host([&] {
    std::string chunk(65536, '\0');
    while (got.size() < payload.size()) {
      const ssize_t size = ::recv(host_.get(), chunk.data(), chunk.size(), 0);
      if (size <= 0) break;
      got.append(chunk, 0, static_cast<size_t>(size));
    }
  });
  constexpr size_t kChunk = 32768;
  std::vector<uint64_t> buffers;
  for (int i = 0; i < 8; ++i) buffers.push_back(driver_->Allocate(kChunk));
  size_t free = buffers.size();
  size_t next = 0;
  const int64_t deadline = MonotonicNanos() + 60'000'000'000;
  for (size_t at = 0; at < payload.size() && MonotonicNanos() < deadline;) {
    while (driver_->TakeUsed(kRequestTransmit)) ++free;
    if (free == 0) {
      std::this_thread::yield();
      continue;
    }
    const uint64_t buffer = buffers[next++ % buffers.size()];
    --free;
    const std::string_view part = std::string_view(payload).substr(at, kChunk);
    driver_->Overwrite(buffer, part);
    driver_->Add(kRequestTransmit, {{buffer, static_cast<uint32_t>(part.size()), Access::kReadable}});
    driver_->Notify(kRequestTransmit);
    at += part.size();
  }
  host.join();
  EXPECT_TRUE(got == payload) << got.size();
}

TEST_F(ConsoleTest, TheLogPortIsBounded) {
  OpenWithSocket();
  BringUp();
  Send(kLogTransmit, "unfinished");
  EXPECT_EQ(Log(), "unfinished");
  for (int i = 0; i < 100; ++i) {
    Send(kLogTransmit, std::string(99, 'x') + "\n");
    EXPECT_TRUE(driver_->TakeUsed(kLogTransmit).has_value());
  }
  EXPECT_LT(Log().size(), 1100u);
  EXPECT_NE(Log().find("limit reached"), std::string::npos);
}

TEST_F(ConsoleTest, OutputOfTheConsolePortIsDiscarded) {
  OpenWithSocket();
  BringUp();
  Send(1, "kernel message");
  EXPECT_TRUE(driver_->TakeUsed(1).has_value());
  EXPECT_EQ(HostReceives(), "");
  EXPECT_EQ(Log(), "");
}

TEST_F(ConsoleTest, AHostThatClosesIsReportedOnceAndOutputIsDiscarded) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(4, 4096);
  HostSends("last");
  host_.Reset();
  RunLoopOnce();
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "last");
  PostControlBuffers(4);
  ExpectControl({1, kPortOpen, 0});
  EXPECT_FALSE(TakeControl().has_value());
  Send(kRequestTransmit, "nobody hears");
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
  EXPECT_EQ(driver_->status(), 15u);
}

TEST_F(ConsoleTest, AHostThatClosesWhileItsSocketIsFullFreesTheGuest) {
  OpenWithSocket();
  BringUp();
  Send(kRequestTransmit, Pattern(1 << 20));
  EXPECT_FALSE(driver_->TakeUsed(kRequestTransmit).has_value());
  host_.Reset();
  RunLoopOnce();
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
}

TEST_F(ConsoleTest, AReceiveBufferThatIsNotWritableBreaksTheDevice) {
  OpenWithSocket();
  BringUp();
  driver_->Add(kRequestReceive, {{driver_->Allocate(16), 16, Access::kReadable}});
  driver_->Notify(kRequestReceive);
  EXPECT_EQ(driver_->status() & 64, 64u);
  HostSends("x");
  RunLoopOnce();
  RunLoopOnce();
}

TEST_F(ConsoleTest, AMalformedRingFoundByTheLoopBreaksTheDevice) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(1, 16);
  driver_->Publish(kRequestReceive, 777);
  HostSends("x");
  RunLoopOnce();
  EXPECT_EQ(driver_->status() & 64, 64u);
}

TEST_F(ConsoleTest, AResetStopsReadingAndTheNextDriverStartsAfresh) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(4, 4096);
  driver_->Write32(0x70, 0);
  HostSends("kept");
  RunLoopOnce();
  driver_->queues.clear();
  BringUp();
  PostReceiveBuffers(4, 4096);
  EXPECT_EQ(TakeReceived(), "kept");
}

TEST_F(ConsoleTest, ARestoredGuestsPortsWorkAtOnceWithAFreshSocket) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(2, 4096);
  const ConsoleState state = console_->Save();
  const TransportState transport = transport_->Save();
  testing::ExpectCodecIsBounded(state);

  OpenWithSocket(&state, &transport);
  EXPECT_EQ(console_->Save(), state);
  HostSends("event");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "") << "memory is not touched before Kick";
  transport_->Kick();
  EXPECT_EQ(TakeReceived(), "event");
  HostSends("more");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "more");
  Send(kRequestTransmit, "result");
  EXPECT_EQ(HostReceives(), "result");
  PostControlBuffers(2);
  EXPECT_FALSE(TakeControl().has_value()) << "nothing is told twice";
}

TEST_F(ConsoleTest, ASnapshotWithoutASocketIsRestoredWithOne) {
  Open({.channel = UniqueFd(), .log = UniqueFd()});
  BringUp();
  PostReceiveBuffers(2, 4096);
  Send(kRequestTransmit, "waits");
  EXPECT_FALSE(driver_->TakeUsed(kRequestTransmit).has_value());
  const ConsoleState state = console_->Save();
  const TransportState transport = transport_->Save();

  OpenWithSocket(&state, &transport);
  transport_->Kick();
  EXPECT_EQ(HostReceives(), "waits");
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
  HostSends("event");
  RunLoopOnce();
  EXPECT_EQ(TakeReceived(), "event");
}

TEST_F(ConsoleTest, ASnapshotInTheMiddleOfATransferContinuesWhereItWas) {
  OpenWithSocket();
  BringUp();
  const std::string payload = Pattern(1 << 20);
  Send(kRequestTransmit, payload);
  std::string got = HostReceives();
  const ConsoleState state = console_->Save();
  const TransportState transport = transport_->Save();
  EXPECT_GT(state.ports[1].sent_of_first, 0u);
  for (std::string more = HostReceives(); !more.empty(); more = HostReceives()) got += more;
  EXPECT_EQ(got.size(), state.ports[1].sent_of_first);

  OpenWithSocket(&state, &transport);
  transport_->Kick();
  for (int i = 0; i < 1000 && got.size() < payload.size(); ++i) {
    got += HostReceives();
    RunLoopOnce();
  }
  EXPECT_TRUE(got == payload);
}

TEST_F(ConsoleTest, ASnapshotAfterTheHostClosedIsOpenAgainWithASocket) {
  OpenWithSocket();
  BringUp();
  PostReceiveBuffers(2, 4096);
  host_.Reset();
  RunLoopOnce();
  ExpectControl({1, kPortOpen, 0});
  const ConsoleState state = console_->Save();
  const TransportState transport = transport_->Save();
  EXPECT_FALSE(state.ports[1].host_open);

  OpenWithSocket(&state, &transport);
  transport_->Kick();
  ExpectControl({1, kPortOpen, 1});
}

TEST_F(ConsoleTest, AnImpossibleStateIsRefused) {
  for (const size_t position : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{11}}) {
    ByteWriter writer;
    ConsoleState().Encode(writer);
    std::vector<uint8_t> bytes = writer.bytes();
    bytes[position] = 0xff;
    ByteReader reader(bytes);
    ConsoleState::Decode(reader);
    EXPECT_FALSE(reader.ok()) << position;
  }
}

TEST_F(ConsoleTest, AHostileSentCountIsHarmless) {
  OpenWithSocket();
  BringUp();
  ConsoleState state = console_->Save();
  const TransportState transport = transport_->Save();
  state.ports[1].sent_of_first = 0xffffffff;
  OpenWithSocket(&state, &transport);
  Send(kRequestTransmit, "short");
  EXPECT_TRUE(driver_->TakeUsed(kRequestTransmit).has_value());
  Send(kRequestTransmit, "next");
  EXPECT_EQ(HostReceives(), "next");
}

}  // namespace
}  // namespace snapfaas::devices::virtio
