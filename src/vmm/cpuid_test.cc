#include "vmm/cpuid.h"

#include <gtest/gtest.h>

#include <string>

namespace snapfaas::vmm {
namespace {

std::vector<kvm_cpuid_entry2> Host() {
  std::vector<kvm_cpuid_entry2> entries(5);
  // function, index, flags, eax, ebx, ecx, edx, padding
  entries[0] = {0, 0, 0, 0, 0x68747541, 0x444d4163, 0x69746e65, {}};
  entries[1] = {1, 0, 0, 0x00800f12, 0x05100800, 0, 0, {}};
  entries[2] = {0xa, 0, 0, 0x07300404, 1, 0, 0, {}};
  entries[3] = {0xb, 1, 0, 0, 0, 0, 9, {}};
  entries[4] = {0xd, 0, 0, 7, 576, 832, 0, {}};
  return entries;
}

TEST(CpuidTest, GuestSeesAHypervisorAndItsOwnApicId) {
  const auto cpuid = GuestCpuid(Host(), 3, 4, TscDeadline::kPresent);
  EXPECT_NE(cpuid[1].ecx & (1u << 31), 0u);
  EXPECT_NE(cpuid[1].ecx & (1u << 24), 0u);
  EXPECT_EQ(cpuid[1].ebx >> 24, 3u);
  EXPECT_EQ((cpuid[1].ebx >> 16) & 0xff, 4u);
  EXPECT_EQ(cpuid[3].edx, 3u);
}

TEST(CpuidTest, PerformanceCountersAreHidden) {
  const auto cpuid = GuestCpuid(Host(), 0, 1, TscDeadline::kAbsent);
  EXPECT_EQ(cpuid[2].eax, 0u);
  EXPECT_EQ(cpuid[1].ecx & (1u << 24), 0u);
}

TEST(CpuidTest, FingerprintNamesTheCpu) {
  const auto print = Fingerprint(GuestCpuid(Host(), 0, 1, TscDeadline::kPresent));
  EXPECT_EQ(std::string(print.vendor.begin(), print.vendor.end()), "AuthenticAMD");
  EXPECT_EQ(print.family, 0x17u);
  EXPECT_EQ(print.model, 0x01u);
  EXPECT_EQ(print.stepping, 2u);
  EXPECT_EQ(print.xsave_bytes, 832u);
}

TEST(CpuidTest, FingerprintChangesWithAFeatureButNotWithWhatIsSwitchedOn) {
  auto host = Host();
  const auto before = Fingerprint(host);
  host[4].ebx = 832;
  EXPECT_EQ(Fingerprint(host), before);
  host[1].ecx |= 1;
  EXPECT_NE(Fingerprint(host).cpuid_hash, before.cpuid_hash);
}

}  // namespace
}  // namespace snapfaas::vmm
