#include "devices/serial.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <string>

#include "devices/virtio/test_utils.h"

namespace snapfaas::devices {
namespace {

constexpr uint8_t kNoInterrupt = 0x01;
constexpr uint8_t kTransmitterEmpty = 0x02;

class SerialTest : public ::testing::Test {
 protected:
  SerialTest() : file_(::memfd_create("console", MFD_CLOEXEC)), sink_(UniqueFd(::dup(file_.get()))) {}

  void Out(uint64_t offset, uint8_t value) { serial_.Write(offset, {&value, 1}); }
  uint8_t In(uint64_t offset) {
    uint8_t value = 0;
    serial_.Read(offset, {&value, 1});
    return value;
  }
  std::string Output() {
    serial_.Flush();
    std::string text(4096, '\0');
    const ssize_t size = ::pread(file_.get(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return text;
  }

  UniqueFd file_;
  LogSink sink_;
  virtio::testing::FakeInterrupt interrupt_;
  Serial serial_{interrupt_, sink_};
};

TEST_F(SerialTest, WhatIsTransmittedReachesTheSink) {
  for (const char c : std::string("Linux version 6.1\r\nlogin: ")) {
    EXPECT_EQ(In(5) & 0x60, 0x60) << "the transmitter is always ready";
    Out(0, static_cast<uint8_t>(c));
  }
  EXPECT_EQ(Output(), "Linux version 6.1\r\nlogin: ");
  EXPECT_EQ(interrupt_.count, 0) << "no interrupt was enabled";
}

TEST_F(SerialTest, TheDivisorLatchHidesDataAndInterruptEnable) {
  Out(3, 0x83);
  Out(0, 0x01);
  Out(1, 0x02);
  EXPECT_EQ(In(0), 0x01);
  EXPECT_EQ(In(1), 0x02);
  Out(3, 0x03);
  EXPECT_EQ(In(1), 0x00);
  EXPECT_EQ(Output(), "");
}

// As Linux's autoconfig(): which bits stick, and what the modem lines say in loopback.
TEST_F(SerialTest, PassesLinuxsProbe) {
  Out(1, 0);
  EXPECT_EQ(In(1) & 0x0f, 0);
  Out(1, 0x0f);
  EXPECT_EQ(In(1), 0x0f);
  Out(1, 0);
  Out(4, 0x10 | 0x0a);
  EXPECT_EQ(In(6) & 0xf0, 0x90);
  Out(4, 0);
  Out(7, 0xa5);
  EXPECT_EQ(In(7), 0xa5);
  EXPECT_EQ(In(2) >> 6, 0) << "an 8250 before FIFOs are enabled";
  Out(2, 0x01);
  EXPECT_EQ(In(2) >> 6, 3) << "a 16550A after";
}

// As serial8250_do_startup()'s test for a lost transmitter interrupt.
TEST_F(SerialTest, EnablingTheTransmitterInterruptRaisesItAgain) {
  Out(1, 0x02);
  EXPECT_EQ(In(2) & 0x0f, kTransmitterEmpty);
  EXPECT_EQ(In(2) & 0x0f, kNoInterrupt) << "reading clears it";
  Out(1, 0);
  Out(1, 0x02);
  EXPECT_EQ(In(2) & 0x0f, kTransmitterEmpty);
  EXPECT_EQ(interrupt_.count, 2);
}

TEST_F(SerialTest, TransmittingRaisesAnInterruptWhenEnabled) {
  Out(1, 0x02);
  In(2);
  const int before = interrupt_.count;
  Out(0, 'x');
  EXPECT_EQ(interrupt_.count, before + 1);
  EXPECT_EQ(In(2) & 0x0f, kTransmitterEmpty);
}

TEST_F(SerialTest, LoopbackGivesBackWhatIsSent) {
  Out(4, 0x10);
  Out(0, 'z');
  EXPECT_EQ(In(5) & 1, 1);
  EXPECT_EQ(In(0), 'z');
  EXPECT_EQ(In(5) & 1, 0);
  EXPECT_EQ(Output(), "");
}

TEST_F(SerialTest, WideAccessesTouchEachRegister) {
  std::array<uint8_t, 8> all{};
  serial_.Read(0, all);
  EXPECT_EQ(all[5], 0x60);
  const std::array<uint8_t, 2> write = {'a', 0x02};
  serial_.Write(0, write);
  EXPECT_EQ(Output(), "a");
  EXPECT_EQ(In(1), 0x02);
}

TEST_F(SerialTest, ContinuesFromASavedState) {
  Out(3, 0x1b);
  Out(7, 0x77);
  Out(2, 0x01);
  Out(1, 0x02);
  const SerialState state = serial_.Save();
  virtio::testing::FakeInterrupt interrupt;
  Serial restored(interrupt, sink_, &state);
  EXPECT_EQ(restored.Save(), state);
  EXPECT_EQ(interrupt.count, 0);
  restored.Kick();
  EXPECT_EQ(interrupt.count, 1) << "the transmitter interrupt was pending";
  uint8_t iir = 0;
  restored.Read(2, {&iir, 1});
  EXPECT_EQ(iir, 0xc0 | kTransmitterEmpty);
}

TEST_F(SerialTest, ItsStateIsBounded) {
  Out(1, 0x02);
  virtio::testing::ExpectCodecIsBounded(serial_.Save());
}

TEST_F(SerialTest, AStateWithImpossibleBitsIsRefused) {
  for (const size_t position : {size_t{0}, size_t{1}, size_t{3}, size_t{8}, size_t{9}}) {
    ByteWriter writer;
    SerialState().Encode(writer);
    std::vector<uint8_t> bytes = writer.bytes();
    bytes[position] = 0xff;
    ByteReader reader(bytes);
    SerialState::Decode(reader);
    EXPECT_FALSE(reader.ok()) << position;
  }
}

}  // namespace
}  // namespace snapfaas::devices
