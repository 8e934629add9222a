#include "host/kvm_probe.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace snapfaas::host {
namespace {

constexpr KvmState kAllStates[] = {KvmState::kMissing,        KvmState::kNoPermission,    KvmState::kWrongApiVersion,
                                   KvmState::kCannotCreateVm, KvmState::kInterpretsRing0, KvmState::kUsable};

KvmProbe ProbeOf(KvmState state) {
  KvmProbe probe;
  probe.state = state;
  return probe;
}

TEST(KvmProbe, OnlyUsableIsUsableAndNeedsNoMend) {
  for (const auto state : kAllStates) {
    const bool usable = state == KvmState::kUsable;
    EXPECT_EQ(KvmUsable(ProbeOf(state)), usable) << KvmStateName(state);
    EXPECT_EQ(Mend(ProbeOf(state)).empty(), usable) << KvmStateName(state);
    EXPECT_FALSE(Describe(ProbeOf(state)).empty()) << KvmStateName(state);
  }
}

TEST(KvmProbe, NamesDiffer) {
  std::set<std::string_view> names;
  for (const auto state : kAllStates) names.insert(KvmStateName(state));
  EXPECT_EQ(names.size(), std::size(kAllStates));
}

TEST(KvmProbe, MendOfAMissingDeviceFollowsTheCpu) {
  auto probe = ProbeOf(KvmState::kMissing);
  probe.vendor = CpuVendor::kAmd;
  probe.virtualization = true;
  EXPECT_NE(Mend(probe).find("modprobe kvm_amd"), std::string::npos);
  probe.vendor = CpuVendor::kIntel;
  EXPECT_NE(Mend(probe).find("modprobe kvm_intel"), std::string::npos);
  probe.virtualization = false;
  EXPECT_NE(Mend(probe).find("VMX"), std::string::npos);
  probe.hypervisor = true;
  EXPECT_NE(Mend(probe).find("nested"), std::string::npos);
}

TEST(KvmProbe, AbsentDeviceIsMissing) {
  const auto probe = ProbeKvm("/nonexistent/kvm");
  EXPECT_EQ(probe.state, KvmState::kMissing);
  EXPECT_NE(probe.detail.find("/nonexistent/kvm"), std::string::npos);
}

TEST(KvmProbe, DeviceThatIsNoKvmHasTheWrongVersion) {
  EXPECT_EQ(ProbeKvm("/dev/null").state, KvmState::kWrongApiVersion);
}

}  // namespace
}  // namespace snapfaas::host
