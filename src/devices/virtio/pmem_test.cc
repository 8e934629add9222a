#include "devices/virtio/pmem.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "base/units.h"
#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::Access;

constexpr uint32_t kPmemFlush = 0;
constexpr GuestAddress kStart{4_GiB};

class PmemTest : public ::testing::Test {
 protected:
  void SetUp() override { driver_.Start(); }

  // One request; the result as the driver finds it.
  uint32_t Request(uint32_t type) {
    EXPECT_TRUE(memory_.WriteObject(GuestAddress(0x20000), type));
    driver_.Add(0, {{0x20000, sizeof(type), Access::kReadable}, {0x20100, 4, Access::kWritable}});
    driver_.Notify(0);
    const auto used = driver_.TakeUsed(0);
    EXPECT_TRUE(used.has_value() && used->length == 4);
    return memory_.ReadObject<uint32_t>(GuestAddress(0x20100)).value();
  }

  GuestMemory memory_ = testing::MakeMemory(1_MiB);
  testing::FakeInterrupt interrupt_;
  VirtioPmem pmem_{kStart, PmemState{96_MiB}};
  std::unique_ptr<MmioTransport> transport_ = MmioTransport::Create(pmem_, memory_, interrupt_).value();
  testing::TestDriver driver_{memory_, *transport_};
};

TEST_F(PmemTest, TellsWhereItsMemoryIs) {
  uint64_t words[2];
  ASSERT_EQ(pmem_.config().size(), sizeof(words));
  std::memcpy(words, pmem_.config().data(), sizeof(words));
  EXPECT_EQ(words[0], kStart.value());
  EXPECT_EQ(words[1], 96_MiB);
}

TEST_F(PmemTest, FlushesAtOnce) { EXPECT_EQ(Request(kPmemFlush), 0u); }

TEST_F(PmemTest, RefusesWhatIsNoFlush) { EXPECT_EQ(Request(7), 1u); }

TEST_F(PmemTest, ARequestWithoutRoomForItsResultBreaksTheDevice) {
  driver_.Add(0, {{0x20000, 4, Access::kReadable}, {0x20100, 3, Access::kWritable}});
  driver_.Notify(0);
  EXPECT_EQ(driver_.status() & 64, 64u);
}

TEST(PmemStateTest, CodecIsBounded) { testing::ExpectCodecIsBounded(PmemState{96_MiB}); }

}  // namespace
}  // namespace snapfaas::devices::virtio
