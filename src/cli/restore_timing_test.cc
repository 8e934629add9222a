#include "cli/restore_timing.h"

#include <gtest/gtest.h>

#include "base/scratch_folder_for_tests.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

snapshot::Manifest SomeManifest() {
  snapshot::Manifest manifest;
  manifest.key = {"lua5.4", 256, 2, {}};
  manifest.state_checksum = 0xfedcba9876543210;
  return manifest;
}

TEST(RestoreTimingTest, IsReadAsItWasWritten) {
  const RestoreTiming timing{0xfedcba9876543210, "kvm", {3.5, 1, 2}};
  const auto decoded = DecodeRestoreTiming(EncodeRestoreTiming(timing));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->snapshot, timing.snapshot);
  EXPECT_EQ(decoded->accelerator, "kvm");
  EXPECT_EQ(decoded->ready_ms, timing.ready_ms);
  EXPECT_EQ(decoded->MedianMs(), 2);
}

TEST(RestoreTimingTest, AnythingElseIsNothing) {
  for (const char* text :
       {"", "[]", "{}", R"({"snapshot":-1,"accelerator":"kvm","ready_ms":[1]})",
        R"({"snapshot":1,"accelerator":1,"ready_ms":[1]})", R"({"snapshot":1,"accelerator":"kvm","ready_ms":[]})",
        R"({"snapshot":1,"accelerator":"kvm","ready_ms":["1"]})"}) {
    EXPECT_FALSE(DecodeRestoreTiming(text)) << text;
  }
}

TEST(RestoreTimingTest, AnotherSnapshotsTimingIsNotFound) {
  const ScratchFolder data;
  snapshot::Manifest manifest = SomeManifest();
  EXPECT_FALSE(FindRestoreTiming(data.path(), manifest));
  ASSERT_TRUE(images::MakeFolders(data.path() / "runtimes/lua5.4"));
  ASSERT_TRUE(images::WriteWholeFile(data.path() / "runtimes/lua5.4/restores-256mib-2vcpu.json",
                                     EncodeRestoreTiming({manifest.state_checksum, "kvm", {4}})));
  ASSERT_TRUE(FindRestoreTiming(data.path(), manifest));
  manifest.state_checksum ^= 1;
  EXPECT_FALSE(FindRestoreTiming(data.path(), manifest));
}

}  // namespace
}  // namespace snapfaas::cli
