#include "devices/power.h"

#include <gtest/gtest.h>

#include <array>

namespace snapfaas::devices {
namespace {

class PowerTest : public ::testing::Test {
 protected:
  void Out(uint16_t port, uint8_t value) { power_.Write(port - kPowerPort, {&value, 1}); }

  int offs_ = 0;
  int resets_ = 0;
  PowerControl power_{[this] { ++offs_; }, [this] { ++resets_; }};
};

TEST_F(PowerTest, SleepEnableWithS5PowersOff) {
  Out(kSleepControlPort, static_cast<uint8_t>(kSleepEnable | (kSleepTypeS5 << 2)));
  EXPECT_EQ(offs_, 1);
  EXPECT_EQ(resets_, 0);
}

TEST_F(PowerTest, OtherSleepTypesAndNoEnableAreIgnored) {
  Out(kSleepControlPort, static_cast<uint8_t>(kSleepTypeS5 << 2));
  Out(kSleepControlPort, static_cast<uint8_t>(kSleepEnable | (3u << 2)));
  Out(kSleepStatusPort, static_cast<uint8_t>(kSleepEnable | (kSleepTypeS5 << 2)));
  EXPECT_EQ(offs_, 0);
}

TEST_F(PowerTest, TheResetValueResets) {
  Out(kResetPort, 0x05);
  EXPECT_EQ(resets_, 0);
  Out(kResetPort, kResetValue);
  EXPECT_EQ(resets_, 1);
}

TEST_F(PowerTest, WideAccessesAreIgnoredAndReadsAreZero) {
  const std::array<uint8_t, 2> wide = {static_cast<uint8_t>(kSleepEnable | (kSleepTypeS5 << 2)), 0};
  power_.Write(0, wide);
  EXPECT_EQ(offs_, 0);
  std::array<uint8_t, 3> got = {1, 2, 3};
  power_.Read(0, got);
  EXPECT_EQ(got, (std::array<uint8_t, 3>{0, 0, 0}));
}

TEST(I8042Test, OnlyTheResetCommandResets) {
  int resets = 0;
  I8042 controller([&] { ++resets; });
  uint8_t value = 0xd1;
  controller.Write(0, {&value, 1});
  EXPECT_EQ(resets, 0);
  controller.Read(0, {&value, 1});
  EXPECT_EQ(value, 0);
  value = kI8042ResetCommand;
  controller.Write(0, {&value, 1});
  EXPECT_EQ(resets, 1);
}

}  // namespace
}  // namespace snapfaas::devices
