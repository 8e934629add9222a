#include "faas/runtime_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/file_system.h"
#include "base/scratch_folder_for_tests.h"
#include "snapshot/test_support.h"

namespace snapfaas::faas {
namespace {

const VmSize kSize{1, 1};

class LookUpSnapshotTest : public testing::Test {
 protected:
  LookUpSnapshotTest() {
    runtime_.name = "python3";
    runtime_.kernel_version = "6.1";
    runtime_.inputs_hash = "inputs";
  }

  void Publish(const snapshot::SnapshotSources& sources) {
    auto pending = catalog_.Begin({runtime_.name, kSize.memory_mib, kSize.vcpus, {}});
    ASSERT_TRUE(pending) << pending.error().Message();
    snapshot::TakeSnapshot(pending->state_fd(), pending->memory_fd(), 7);
    auto published = catalog_.Publish(std::move(*pending), sources);
    ASSERT_TRUE(published) << published.error().Message();
  }

  std::filesystem::path ManifestPath() const {
    return std::filesystem::path(catalog_.root()) / "python3-1mib-1vcpu" / "manifest.json";
  }

  void WriteManifest(const std::string& text) const { std::ofstream(ManifestPath(), std::ios::trunc) << text; }

  Result<SnapshotPresence> LookUp() const { return LookUpSnapshot(catalog_, runtime_, kSize); }

  ScratchFolder folder_;
  PosixFileSystem files_;
  snapshot::Catalog catalog_ =
      std::move(snapshot::Catalog::Open(files_, folder_.path().string() + "/snapshots").value());
  RuntimeFiles runtime_;
};

TEST_F(LookUpSnapshotTest, ThereIsNone) { EXPECT_EQ(LookUp().value(), SnapshotPresence::kMissing); }

TEST_F(LookUpSnapshotTest, OfTheseImagesIsUsable) {
  Publish(SourcesOf(runtime_));
  EXPECT_EQ(LookUp().value(), SnapshotPresence::kUsable);
}

TEST_F(LookUpSnapshotTest, OfOtherImagesIsOutOfDate) {
  Publish(SourcesOf(runtime_));
  runtime_.inputs_hash = "newer inputs";
  EXPECT_EQ(LookUp().value(), SnapshotPresence::kOutOfDate);
}

TEST_F(LookUpSnapshotTest, OfAnotherFormatVersionIsOutOfDate) {
  Publish(SourcesOf(runtime_));
  WriteManifest("{\n  \"format_version\": 1\n}\n");
  EXPECT_EQ(LookUp().value(), SnapshotPresence::kOutOfDate);
}

TEST_F(LookUpSnapshotTest, DamagedIsAnError) {
  Publish(SourcesOf(runtime_));
  WriteManifest("no manifest");
  const auto presence = LookUp();
  ASSERT_FALSE(presence);
  EXPECT_EQ(presence.error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace snapfaas::faas
