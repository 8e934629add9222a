#include "devices/virtio/mmio_transport.h"

#include <gtest/gtest.h>

#include <array>

#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::Access;
using testing::FakeInterrupt;
using testing::MakeMemory;
using testing::TestDriver;

constexpr uint32_t kNeedsReset = 64;

// Returns every chain at once, its writable part untouched.
class EchoDevice final : public VirtioDevice {
 public:
  std::string_view name() const override { return "echo"; }
  DeviceType type() const override { return DeviceType::kEntropy; }
  uint64_t features() const override { return 0x21; }
  std::span<const uint16_t> queue_max_sizes() const override { return sizes_; }
  std::span<const uint8_t> config() const override { return config_; }
  Status ProcessQueue(size_t index) override {
    served.push_back(index);
    Queue* queue = host()->queue(index);
    bool used = false;
    for (;;) {
      auto popped = queue->Pop();
      if (!popped) return Forward(popped.error());
      if (!popped->has_value()) break;
      queue->Return(std::move(**popped), 0);
      used = true;
    }
    if (used) host()->SignalUsed(index);
    return {};
  }
  void Reset() override { ++resets; }

  std::vector<size_t> served;
  int resets = 0;

 private:
  std::array<uint16_t, 2> sizes_ = {16, 8};
  std::array<uint8_t, 6> config_ = {1, 2, 3, 4, 5, 6};
};

class MmioTransportTest : public ::testing::Test {
 protected:
  uint32_t SelectedReady(uint32_t index) {
    driver_.Write32(0x30, index);
    return driver_.Read32(0x44);
  }

  GuestMemory memory_ = MakeMemory(1_MiB);
  FakeInterrupt interrupt_;
  EchoDevice device_;
  std::unique_ptr<MmioTransport> transport_ = MmioTransport::Create(device_, memory_, interrupt_).value();
  TestDriver driver_{memory_, *transport_};
};

TEST_F(MmioTransportTest, IdentifiesItself) {
  EXPECT_EQ(driver_.Read32(0x00), 0x74726976u);
  EXPECT_EQ(driver_.Read32(0x04), 2u);
  EXPECT_EQ(driver_.Read32(0x08), 4u);
  EXPECT_EQ(driver_.Read32(0x70), 0u);
  EXPECT_EQ(driver_.Read32(0xfc), 0u);
  EXPECT_EQ(driver_.Read32(0xb0), 0xffffffffu) << "no shared memory region";
}

TEST_F(MmioTransportTest, OffersFeaturesByHalves) {
  driver_.Write32(0x14, 0);
  EXPECT_EQ(driver_.Read32(0x10), 0x21u);
  driver_.Write32(0x14, 1);
  EXPECT_EQ(driver_.Read32(0x10), 1u) << "VIRTIO_F_VERSION_1";
  driver_.Write32(0x14, 2);
  EXPECT_EQ(driver_.Read32(0x10), 0u);
}

TEST_F(MmioTransportTest, ServesAQueueFromStartToInterrupt) {
  driver_.Start();
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(0);
  EXPECT_TRUE(driver_.TakeUsed(0).has_value());
  EXPECT_EQ(interrupt_.count, 1);
  EXPECT_EQ(driver_.Read32(0x60), 1u);
  driver_.Write32(0x64, 1);
  EXPECT_EQ(driver_.Read32(0x60), 0u);
}

TEST_F(MmioTransportTest, WritingQueueNotifyServesTheQueueToo) {
  driver_.Start();
  driver_.Add(1, {{0x8000, 4, Access::kReadable}});
  driver_.Write32(kMmioQueueNotifyOffset, 1);
  EXPECT_TRUE(driver_.TakeUsed(1).has_value());
}

TEST_F(MmioTransportTest, DoesNotInterruptADriverThatWantsNone) {
  driver_.Start();
  ASSERT_TRUE(memory_.WriteObject(GuestAddress(driver_.queues[0].avail), uint16_t{1}));
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(0);
  EXPECT_TRUE(driver_.TakeUsed(0).has_value());
  EXPECT_EQ(interrupt_.count, 0);
  EXPECT_EQ(driver_.Read32(0x60), 0u);
}

TEST_F(MmioTransportTest, StatusBitsOutOfTurnAreNotTaken) {
  driver_.Write32(0x70, 2);
  EXPECT_EQ(driver_.status(), 0u);
  driver_.Write32(0x70, 1);
  driver_.Write32(0x70, 1 | 4);
  EXPECT_EQ(driver_.status(), 1u) << "DRIVER_OK without FEATURES_OK";
  driver_.Write32(0x70, 3);
  driver_.Write32(0x70, 1);
  EXPECT_EQ(driver_.status(), 3u) << "bits are not cleared but by a reset";
}

TEST_F(MmioTransportTest, FeaturesWithoutVersion1AreRefused) {
  driver_.Write32(0x70, 3);
  driver_.Write32(0x24, 0);
  driver_.Write32(0x20, 1);
  driver_.Write32(0x70, 11);
  EXPECT_EQ(driver_.status(), 3u);
}

TEST_F(MmioTransportTest, FeaturesThatWereNotOfferedAreRefused) {
  driver_.Write32(0x70, 3);
  driver_.Write32(0x24, 1);
  driver_.Write32(0x20, 1);
  driver_.Write32(0x24, 0);
  driver_.Write32(0x20, 2);
  driver_.Write32(0x70, 11);
  EXPECT_EQ(driver_.status(), 3u);
}

TEST_F(MmioTransportTest, FeaturesCannotChangeAfterFeaturesOk) {
  driver_.Negotiate();
  driver_.Write32(0x24, 0);
  driver_.Write32(0x20, 0xffff);
  EXPECT_EQ(transport_->Save().driver_features, 0x1'0000'0021u);
}

TEST_F(MmioTransportTest, QueuesThatCannotBeStayNotReady) {
  driver_.Negotiate();
  const auto good = driver_.LayOut(16);
  for (const uint32_t size : {0u, 5u, 32u, 0x10010u}) {
    driver_.WriteQueueRegisters(0, size, good);
    EXPECT_EQ(SelectedReady(0), 0u) << "size " << size;
  }
  auto unaligned = good;
  unaligned.descriptors += 4;
  driver_.WriteQueueRegisters(0, 16, unaligned);
  EXPECT_EQ(SelectedReady(0), 0u);
  auto outside = good;
  outside.used = uint64_t{1} << 40;
  driver_.WriteQueueRegisters(0, 16, outside);
  EXPECT_EQ(SelectedReady(0), 0u);
  driver_.WriteQueueRegisters(0, 16, good);
  EXPECT_EQ(SelectedReady(0), 1u);
}

TEST_F(MmioTransportTest, AQueueThatIsNotThereIsHarmless) {
  driver_.Negotiate();
  driver_.WriteQueueRegisters(2, 8, driver_.LayOut(8));
  EXPECT_EQ(driver_.Read32(0x34), 0u);
  EXPECT_EQ(SelectedReady(2), 0u);
  EXPECT_EQ(SelectedReady(0xffffffff), 0u);
}

TEST_F(MmioTransportTest, QueueSetupBeforeFeaturesOrWhileLiveIsIgnored) {
  driver_.WriteQueueRegisters(0, 8, driver_.LayOut(8));
  EXPECT_EQ(SelectedReady(0), 0u);
  driver_.Start();
  driver_.Write32(0x30, 0);
  driver_.Write32(0x44, 0);
  EXPECT_EQ(driver_.Read32(0x44), 1u);
}

TEST_F(MmioTransportTest, NotifyingAMissingOrUnreadyQueueIsIgnored) {
  driver_.Negotiate();
  driver_.Notify(0);
  driver_.Write32(0x70, 15);
  driver_.Notify(0);
  driver_.Notify(2);
  driver_.Notify(0xffffffff);
  driver_.Write32(kMmioQueueNotifyOffset, 0xffffffff);
  EXPECT_TRUE(device_.served.empty());
}

TEST_F(MmioTransportTest, ConfigReadsBeyondTheEndYieldZero) {
  std::array<uint8_t, 4> got = {9, 9, 9, 9};
  transport_->Read(0x104, got);
  EXPECT_EQ(got, (std::array<uint8_t, 4>{5, 6, 0, 0}));
  got.fill(9);
  transport_->Read(0x106, got);
  EXPECT_EQ(got, (std::array<uint8_t, 4>{0, 0, 0, 0}));
  got.fill(9);
  transport_->Read(~uint64_t{0} - 3, got);
  EXPECT_EQ(got, (std::array<uint8_t, 4>{0, 0, 0, 0}));
  std::array<uint8_t, 1> byte{};
  transport_->Read(0x101, byte);
  EXPECT_EQ(byte[0], 2);
}

TEST_F(MmioTransportTest, ConfigWritesAreIgnored) {
  driver_.Write32(0x100, 0xffffffff);
  EXPECT_EQ(driver_.Read32(0x100), 0x04030201u);
}

TEST_F(MmioTransportTest, OddWidthsAndUnalignedRegistersReadZeroAndWriteNothing) {
  for (const size_t width : {1u, 2u, 3u, 8u}) {
    std::vector<uint8_t> bytes(width, 0xff);
    transport_->Read(0, bytes);
    EXPECT_EQ(bytes, std::vector<uint8_t>(width, 0)) << width;
    bytes.assign(width, 1);
    transport_->Write(0x70, bytes);
    EXPECT_EQ(driver_.status(), 0u) << width;
  }
  std::array<uint8_t, 4> bytes = {1, 0, 0, 0};
  transport_->Write(0x71, bytes);
  EXPECT_EQ(driver_.status(), 0u);
  transport_->Read(0x02, bytes);
  EXPECT_EQ(bytes, (std::array<uint8_t, 4>{0, 0, 0, 0}));
}

TEST_F(MmioTransportTest, AMalformedRingNeedsAResetAndAResetMends) {
  driver_.Start();
  driver_.Publish(0, 999);
  driver_.Notify(0);
  EXPECT_EQ(driver_.status(), 15u | kNeedsReset);
  EXPECT_EQ(driver_.Read32(0x60), 2u) << "a configuration change";
  EXPECT_EQ(interrupt_.count, 1);
  EXPECT_NE(transport_->broken_reason().find("999"), std::string::npos);
  device_.served.clear();
  driver_.Notify(0);
  EXPECT_TRUE(device_.served.empty()) << "a broken device serves nothing";

  driver_.Write32(0x70, 0);
  EXPECT_EQ(driver_.status(), 0u);
  EXPECT_EQ(device_.resets, 1);
  EXPECT_EQ(driver_.Read32(0x60), 0u);
  EXPECT_EQ(transport_->broken_reason(), "");
  driver_.queues.clear();
  driver_.Start();
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(0);
  EXPECT_TRUE(driver_.TakeUsed(0).has_value());
}

TEST_F(MmioTransportTest, AResetForgetsTheQueues) {
  driver_.Start();
  driver_.Write32(0x70, 0);
  EXPECT_EQ(SelectedReady(0), 0u);
  driver_.Notify(0);
  EXPECT_TRUE(device_.served.empty());
}

class TransportStateTest : public MmioTransportTest {
 protected:
  void SetUp() override { driver_.Start(); }
  Result<std::unique_ptr<MmioTransport>> Restore(const TransportState& state) {
    return MmioTransport::Create(other_device_, memory_, other_interrupt_, &state);
  }
  void ExpectRefused(const TransportState& state, ErrorCode code) {
    auto restored = Restore(state);
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code, code) << restored.error().Message();
  }

  EchoDevice other_device_;
  FakeInterrupt other_interrupt_;
};

TEST_F(TransportStateTest, ARestoredTransportContinues) {
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(0);
  ASSERT_TRUE(driver_.TakeUsed(0));
  driver_.Write32(0x64, 1);
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});  // not notified: in flight while the snapshot is taken
  const TransportState state = transport_->Save();
  transport_.reset();

  auto restored = Restore(state);
  ASSERT_TRUE(restored);
  EXPECT_EQ((*restored)->Save(), state);
  EXPECT_TRUE(other_device_.served.empty()) << "memory is not touched before Kick";
  driver_.Rebind(**restored);
  EXPECT_EQ(driver_.status(), 15u);
  (*restored)->Kick();
  EXPECT_TRUE(driver_.TakeUsed(0).has_value());
  EXPECT_GE(other_interrupt_.count, 1);
  driver_.Add(1, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(1);
  EXPECT_TRUE(driver_.TakeUsed(1).has_value());
}

TEST_F(TransportStateTest, KickRepeatsAnInterruptThatWasNotAcknowledged) {
  driver_.Add(0, {{0x8000, 4, Access::kReadable}});
  driver_.Notify(0);
  auto restored = Restore(transport_->Save());
  ASSERT_TRUE(restored);
  EXPECT_EQ(other_interrupt_.count, 0);
  (*restored)->Kick();
  EXPECT_EQ(other_interrupt_.count, 1);
}

TEST_F(TransportStateTest, KickIsSilentWhenNothingIsPending) {
  auto restored = Restore(transport_->Save());
  ASSERT_TRUE(restored);
  (*restored)->Kick();
  EXPECT_EQ(other_interrupt_.count, 0);
}

TEST_F(TransportStateTest, ABrokenDeviceStaysBroken) {
  driver_.Publish(0, 999);
  driver_.Notify(0);
  auto restored = Restore(transport_->Save());
  ASSERT_TRUE(restored);
  (*restored)->Kick();
  EXPECT_TRUE(other_device_.served.empty());
  EXPECT_EQ((*restored)->Save().status & kNeedsReset, kNeedsReset);
}

TEST_F(TransportStateTest, ADeviceBeforeDriverOkIsRestoredIdle) {
  driver_.Write32(0x70, 0);
  driver_.Negotiate();
  auto restored = Restore(transport_->Save());
  ASSERT_TRUE(restored);
  driver_.Rebind(**restored);
  EXPECT_EQ(driver_.status(), 11u);
}

TEST_F(TransportStateTest, ItsStateIsBounded) { testing::ExpectCodecIsBounded(transport_->Save()); }

TEST_F(TransportStateTest, TooManyQueuesAreRefused) {
  TransportState state = transport_->Save();
  state.queues.resize(17);
  ByteWriter writer;
  state.Encode(writer);
  ByteReader reader(writer.bytes());
  TransportState::Decode(reader);
  EXPECT_FALSE(reader.ok());
}

TEST_F(TransportStateTest, AnotherDeviceTypeIsIncompatible) {
  TransportState state = transport_->Save();
  state.device_type = 2;
  ExpectRefused(state, ErrorCode::kIncompatible);
}

TEST_F(TransportStateTest, AnotherNumberOfQueuesIsIncompatible) {
  TransportState state = transport_->Save();
  state.queues.pop_back();
  ExpectRefused(state, ErrorCode::kIncompatible);
}

TEST_F(TransportStateTest, FeaturesNotOfferedAreIncompatible) {
  TransportState state = transport_->Save();
  state.driver_features |= 2;
  ExpectRefused(state, ErrorCode::kIncompatible);
}

TEST_F(TransportStateTest, AnImpossibleStatusIsCorrupt) {
  TransportState state = transport_->Save();
  for (const uint32_t status : {4u, 12u, 2u, 0x100u | 15u}) {
    state.status = status;
    ExpectRefused(state, ErrorCode::kCorrupt);
  }
}

TEST_F(TransportStateTest, UnknownInterruptBitsAreCorrupt) {
  TransportState state = transport_->Save();
  state.interrupt_status = 4;
  ExpectRefused(state, ErrorCode::kCorrupt);
}

TEST_F(TransportStateTest, AReadyQueueBeforeFeaturesOkIsCorrupt) {
  TransportState state = transport_->Save();
  state.status = 3;
  ExpectRefused(state, ErrorCode::kCorrupt);
}

TEST_F(TransportStateTest, AQueueOutsideMemoryIsCorrupt) {
  TransportState state = transport_->Save();
  state.queues[0].descriptor_area = uint64_t{1} << 50;
  ExpectRefused(state, ErrorCode::kCorrupt);
}

TEST_F(TransportStateTest, AQueueOfABadSizeIsCorrupt) {
  for (const uint32_t size : {0u, 3u, 32u, 0x80000000u}) {
    TransportState state = transport_->Save();
    state.queues[0].size = size;
    ExpectRefused(state, ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace snapfaas::devices::virtio
