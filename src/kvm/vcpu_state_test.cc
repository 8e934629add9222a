#include "kvm/vcpu_state.h"

#include <gtest/gtest.h>

#include "kvm/flexible_array.h"
#include "kvm/vm.h"

namespace snapfaas::kvm {
namespace {

VcpuState Example() {
  VcpuState state;
  state.regs.rip = 0x1234;
  state.sregs.cr3 = 0x9000;
  state.xsave.assign(kXsaveBytes, 7);
  state.msrs = {{0x10, 0, 42}, {0x4b564d01, 0, 43}};
  state.tsc_khz = 2'000'000;
  return state;
}

std::vector<uint8_t> Encoded(const VcpuState& state) {
  ByteWriter writer;
  state.Encode(writer);
  return writer.Take();
}

TEST(VcpuStateTest, ComesBackAsItWas) {
  auto decoded = VcpuState::Decode(Encoded(Example()));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  EXPECT_EQ(decoded->regs.rip, 0x1234u);
  EXPECT_EQ(decoded->sregs.cr3, 0x9000u);
  EXPECT_EQ(decoded->xsave, Example().xsave);
  ASSERT_EQ(decoded->msrs.size(), 2u);
  EXPECT_EQ(decoded->msrs[1].data, 43u);
  EXPECT_EQ(decoded->tsc_khz, 2'000'000u);
}

TEST(VcpuStateTest, EveryTruncationIsRefused) {
  const auto bytes = Encoded(Example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(VcpuState::Decode(std::span(bytes).first(size))) << size;
  }
}

TEST(VcpuStateTest, TrailingBytesAreRefused) {
  auto bytes = Encoded(Example());
  bytes.push_back(0);
  EXPECT_FALSE(VcpuState::Decode(bytes));
}

TEST(VcpuStateTest, ShortFpuStateIsRefused) {
  VcpuState state = Example();
  state.xsave.resize(kXsaveBytes - 1);
  EXPECT_FALSE(VcpuState::Decode(Encoded(state)));
}

TEST(VcpuStateTest, TooManyControlRegistersAreRefused) {
  VcpuState state = Example();
  state.xcrs.nr_xcrs = KVM_MAX_XCRS + 1;
  EXPECT_FALSE(VcpuState::Decode(Encoded(state)));
}

TEST(VmStateTest, ControllersOutOfOrderAreRefused) {
  VmState state;
  for (uint32_t i = 0; i < state.irqchips.size(); ++i) state.irqchips[i].chip_id = i;
  ByteWriter good;
  state.Encode(good);
  EXPECT_TRUE(VmState::Decode(good.bytes()));
  state.irqchips[1].chip_id = 2;
  ByteWriter bad;
  state.Encode(bad);
  EXPECT_FALSE(VmState::Decode(bad.bytes()));
}

}  // namespace
}  // namespace snapfaas::kvm
