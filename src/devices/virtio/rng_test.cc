#include "devices/virtio/rng.h"

#include <gtest/gtest.h>

#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::Access;

class RngTest : public ::testing::Test {
 protected:
  void SetUp() override { driver_.Start(); }

  GuestMemory memory_ = testing::MakeMemory(1_MiB);
  testing::FakeInterrupt interrupt_;
  VirtioRng rng_;
  std::unique_ptr<MmioTransport> transport_ = MmioTransport::Create(rng_, memory_, interrupt_).value();
  testing::TestDriver driver_{memory_, *transport_};
};

TEST_F(RngTest, FillsBuffersWithDifferentBytes) {
  driver_.Add(0, {{0x20000, 32, Access::kWritable}, {0x20100, 32, Access::kWritable}});
  driver_.Notify(0);
  const auto used = driver_.TakeUsed(0);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->length, 64u);
  const std::string nothing(32, '\0');
  EXPECT_NE(driver_.Text(0x20000, 32), nothing);
  EXPECT_NE(driver_.Text(0x20100, 32), nothing);
  EXPECT_NE(driver_.Text(0x20000, 32), driver_.Text(0x20100, 32));
  EXPECT_EQ(interrupt_.count, 1);
}

TEST_F(RngTest, GivesNoMoreThanItsBoundPerRequest) {
  driver_.Add(0, {{0x20000, 3000, Access::kWritable}, {0x30000, 0x20000, Access::kWritable}});
  driver_.Notify(0);
  EXPECT_EQ(driver_.TakeUsed(0)->length, VirtioRng::kMaxBytesPerRequest);
  EXPECT_EQ(driver_.Text(0x30000 + 1096, 64), std::string(64, '\0'));
}

TEST_F(RngTest, AReadableBufferBreaksTheDevice) {
  driver_.Add(0, {{0x20000, 8, Access::kReadable}, {0x20100, 32, Access::kWritable}});
  driver_.Notify(0);
  EXPECT_EQ(driver_.status() & 64, 64u);
}

TEST_F(RngTest, AnEmptyRequestBreaksTheDevice) {
  driver_.Add(0, {{0x20000, 0, Access::kWritable}});
  driver_.Notify(0);
  EXPECT_EQ(driver_.status() & 64, 64u);
}

}  // namespace
}  // namespace snapfaas::devices::virtio
