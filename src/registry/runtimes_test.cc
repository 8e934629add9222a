#include "registry/runtimes.h"

#include <gtest/gtest.h>

namespace snapfaas::registry {
namespace {

const Runtimes& Some() {
  static const Runtimes runtimes({{"python3", {"python3.8", "python3.13"}, 128}, {"R", {}, 256}, {"other", {"R"}, 0}});
  return runtimes;
}

TEST(RuntimesTest, LambdasNamesMeanOurs) {
  EXPECT_EQ(Some().Find("python3.13")->name, "python3");
  EXPECT_EQ(Some().NameOf("python3.8"), "python3");
}

TEST(RuntimesTest, OurOwnNamesAreTakenFirst) {
  EXPECT_EQ(Some().NameOf("python3"), "python3");
  EXPECT_EQ(Some().Find("R")->min_memory_mib, 256u);
}

TEST(RuntimesTest, UnknownNamesAreNobodys) {
  for (const char* name : {"", "python3.", "python2.7", "r"}) {
    EXPECT_EQ(Some().Find(name), nullptr) << name;
    EXPECT_EQ(Some().NameOf(name), name);
  }
  EXPECT_EQ(Runtimes().Find("python3"), nullptr);
}

}  // namespace
}  // namespace snapfaas::registry
