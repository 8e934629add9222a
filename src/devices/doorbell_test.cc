#include "devices/doorbell.h"

#include <gtest/gtest.h>

#include <array>

namespace snapfaas::devices {
namespace {

TEST(DoorbellTest, RingsFor8And16And32Bits) {
  std::vector<uint32_t> rung;
  DoorbellDevice doorbell([&](uint32_t value) { rung.push_back(value); });
  const std::array<uint8_t, 4> bytes = {124, 1, 2, 0x80};
  doorbell.Write(0, std::span(bytes).first(1));
  doorbell.Write(0, std::span(bytes).first(2));
  doorbell.Write(0, bytes);
  EXPECT_EQ(rung, (std::vector<uint32_t>{124, 0x17c, 0x8002017c}));
}

TEST(DoorbellTest, OtherWidthsAndOffsetsAreIgnored) {
  int rung = 0;
  DoorbellDevice doorbell([&](uint32_t) { ++rung; });
  const std::array<uint8_t, 8> bytes = {124, 0, 0, 0, 0, 0, 0, 0};
  doorbell.Write(0, bytes);
  doorbell.Write(0, std::span(bytes).first(3));
  doorbell.Write(0, std::span(bytes).first(0));
  doorbell.Write(1, std::span(bytes).first(1));
  doorbell.Write(4, std::span(bytes).first(4));
  EXPECT_EQ(rung, 0);
  std::array<uint8_t, 4> got = {1, 1, 1, 1};
  doorbell.Read(0, got);
  EXPECT_EQ(got, (std::array<uint8_t, 4>{0, 0, 0, 0}));
}

}  // namespace
}  // namespace snapfaas::devices
