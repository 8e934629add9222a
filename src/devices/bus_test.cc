#include "devices/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace snapfaas::devices {
namespace {

class Recorder final : public IoHandler {
 public:
  std::string_view name() const override { return "recorder"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    for (auto& byte : data) byte = static_cast<uint8_t>(offset++);
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    ++writes;
    last_offset = offset;
    last_size = data.size();
  }
  int writes = 0;
  uint64_t last_offset = 0;
  size_t last_size = 0;
};

constexpr std::array<uint8_t, 4> kFourBytes = {1, 2, 3, 4};

TEST(BusTest, RoutesByAddressWithTheOffsetIntoTheRange) {
  Bus bus;
  Recorder first;
  Recorder second;
  ASSERT_TRUE(bus.Add(0x200, 0x10, second));
  ASSERT_TRUE(bus.Add(0x100, 0x100, first));
  std::array<uint8_t, 2> got{};
  bus.Read(0x104, got);
  EXPECT_EQ(got, (std::array<uint8_t, 2>{4, 5}));
  bus.Write(0x20c, kFourBytes);
  EXPECT_EQ(first.writes, 0);
  EXPECT_EQ(second.writes, 1);
  EXPECT_EQ(second.last_offset, 0xcu);
  EXPECT_EQ(second.last_size, 4u);
}

TEST(BusTest, UnmappedReadsAreAllOnesAndWritesAreIgnored) {
  Bus bus;
  Recorder device;
  ASSERT_TRUE(bus.Add(0x100, 8, device));
  for (const uint64_t address : {uint64_t{0}, uint64_t{0xff}, uint64_t{0x108}, std::numeric_limits<uint64_t>::max()}) {
    std::array<uint8_t, 1> got{};
    bus.Read(address, got);
    EXPECT_EQ(got[0], 0xff);
    bus.Write(address, std::span(kFourBytes).first(1));
  }
  EXPECT_EQ(device.writes, 0);
}

TEST(BusTest, AnAccessAcrossTheEndOfARangeIsRefused) {
  Bus bus;
  Recorder device;
  Recorder neighbour;
  ASSERT_TRUE(bus.Add(0x100, 8, device));
  ASSERT_TRUE(bus.Add(0x108, 8, neighbour));
  std::array<uint8_t, 4> got{};
  bus.Read(0x106, got);
  EXPECT_EQ(got, (std::array<uint8_t, 4>{0xff, 0xff, 0xff, 0xff}));
  bus.Write(0x106, kFourBytes);
  EXPECT_EQ(device.writes, 0);
  EXPECT_EQ(neighbour.writes, 0);
}

TEST(BusTest, OverlapsAreErrors) {
  Bus bus;
  Recorder device;
  ASSERT_TRUE(bus.Add(0x100, 0x10, device));
  for (const auto& [base, size] : {std::pair{0x100u, 0x10u}, std::pair{0x10fu, 1u}, std::pair{0xf8u, 9u},
                                   std::pair{0xf0u, 0x100u}, std::pair{0x104u, 2u}}) {
    auto added = bus.Add(base, size, device);
    ASSERT_FALSE(added) << base;
    EXPECT_EQ(added.error().code, ErrorCode::kAlreadyExists);
  }
  EXPECT_TRUE(bus.Add(0xf8, 8, device));
  EXPECT_TRUE(bus.Add(0x110, 1, device));
}

TEST(BusTest, EmptyAndWrappingRangesAreErrors) {
  Bus bus;
  Recorder device;
  EXPECT_FALSE(bus.Add(0x100, 0, device));
  EXPECT_FALSE(bus.Add(std::numeric_limits<uint64_t>::max(), 2, device));
  EXPECT_TRUE(bus.Add(std::numeric_limits<uint64_t>::max(), 1, device));
}

}  // namespace
}  // namespace snapfaas::devices
