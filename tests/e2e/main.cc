#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "host/kvm_probe.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const auto probe = snapfaas::host::ProbeKvm();
  if (!snapfaas::host::KvmUsable(probe)) {
    fmt::print(stderr, "the end-to-end tests need usable KVM ({}); run them by ./dev test e2e\n",
               snapfaas::host::Describe(probe));
    return 1;
  }
  return RUN_ALL_TESTS();
}
