#include "base/file_system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>

#include "base/fault_injecting_file_system.h"
#include "base/scratch_folder_for_tests.h"

namespace snapfaas {
namespace {

// Runs over a temporary folder that goes with the test.
class FileSystemTest : public testing::Test {
 protected:
  std::string Path(std::string_view name) const { return root_ + "/" + std::string(name); }

  static void Write(FileSystem& files, const std::string& path, std::string_view bytes) {
    auto fd = files.OpenForWriting(path);
    ASSERT_TRUE(fd) << fd.error().Message();
    ASSERT_TRUE(WriteAll(fd->get(), bytes));
  }

  ScratchFolder folder_;
  std::string root_ = folder_.path().string();
  PosixFileSystem files_;
};

TEST_F(FileSystemTest, WritesAndReadsAFile) {
  Write(files_, Path("a"), "hello");
  EXPECT_EQ(files_.FileSize(Path("a")).value(), 5U);
  EXPECT_EQ(files_.ReadSmallFile(Path("a"), 5).value(), "hello");
  EXPECT_TRUE(files_.Exists(Path("a")).value());
  EXPECT_FALSE(files_.Exists(Path("b")).value());
}

TEST_F(FileSystemTest, ErrorsNameThePathAndTheReason) {
  const auto missing = files_.OpenForReading(Path("missing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().Message().find(Path("missing") + ": No such file"), std::string::npos);
}

TEST_F(FileSystemTest, NewFileInPlaceOfAnotherIsRefused) {
  Write(files_, Path("a"), "old");
  EXPECT_EQ(files_.OpenForWriting(Path("a")).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(files_.ReadSmallFile(Path("a"), 16).value(), "old");
}

TEST_F(FileSystemTest, NewFileIsForItsOwnerOnly) {
  Write(files_, Path("a"), "");
  struct stat info {};
  ASSERT_EQ(::stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0U);
}

TEST_F(FileSystemTest, FileAboveTheLimitIsRefused) {
  Write(files_, Path("a"), "hello");
  EXPECT_EQ(files_.ReadSmallFile(Path("a"), 4).error().code, ErrorCode::kCorrupt);
}

TEST_F(FileSystemTest, SymbolicLinkIsNotFollowed) {
  Write(files_, Path("a"), "hello");
  std::filesystem::create_symlink(Path("a"), Path("link"));
  EXPECT_FALSE(files_.OpenForReading(Path("link")));
  EXPECT_TRUE(files_.Exists(Path("link")).value());
}

TEST_F(FileSystemTest, ListIsSorted) {
  Write(files_, Path("b"), "");
  Write(files_, Path("a"), "");
  ASSERT_TRUE(files_.CreateFolder(Path("c")));
  EXPECT_EQ(files_.List(root_).value(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(files_.List(Path("missing")).error().code, ErrorCode::kNotFound);
}

TEST_F(FileSystemTest, RenameReplacesAFile) {
  Write(files_, Path("a"), "new");
  Write(files_, Path("b"), "old");
  ASSERT_TRUE(files_.Rename(Path("a"), Path("b")));
  EXPECT_EQ(files_.ReadSmallFile(Path("b"), 16).value(), "new");
  EXPECT_FALSE(files_.Exists(Path("a")).value());
}

TEST_F(FileSystemTest, SyncsFilesAndFolders) {
  Write(files_, Path("a"), "x");
  EXPECT_TRUE(files_.SyncFile(Path("a")));
  EXPECT_TRUE(files_.SyncFolder(root_));
  EXPECT_FALSE(files_.SyncFile(Path("missing")));
  EXPECT_FALSE(files_.SyncFolder(Path("missing")));
}

TEST_F(FileSystemTest, RemovesWhatIsThereOnly) {
  Write(files_, Path("a"), "x");
  EXPECT_TRUE(files_.RemoveFile(Path("a")));
  EXPECT_EQ(files_.RemoveFile(Path("a")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(files_.RemoveFolder(Path("f")).error().code, ErrorCode::kNotFound);
}

TEST_F(FileSystemTest, SecondLockerIsTurnedAwayUntilTheFirstLetsGo) {
  auto first = files_.LockFolder(root_, LockMode::kExclusive);
  ASSERT_TRUE(first);
  EXPECT_EQ(files_.LockFolder(root_, LockMode::kTryExclusive).error().code, ErrorCode::kUnavailable);
  first->Reset();
  EXPECT_TRUE(files_.LockFolder(root_, LockMode::kTryExclusive));
}

TEST_F(FileSystemTest, ReadersShareALock) {
  auto first = files_.LockFolder(root_, LockMode::kShared);
  EXPECT_TRUE(files_.LockFolder(root_, LockMode::kShared));
  EXPECT_FALSE(files_.LockFolder(root_, LockMode::kTryExclusive));
}

TEST_F(FileSystemTest, LockOnAFileLastsAsLongAsADuplicateOfItsDescriptor) {
  Write(files_, Path("a"), "x");
  auto reader = files_.OpenForReading(Path("a"));
  const auto other = files_.OpenForReading(Path("a"));
  ASSERT_TRUE(reader && other);
  ASSERT_TRUE(Lock(reader->get(), LockMode::kTryShared, "a"));
  UniqueFd duplicate(::dup(reader->get()));
  reader->Reset();
  EXPECT_EQ(Lock(other->get(), LockMode::kTryExclusive, "a").error().code, ErrorCode::kUnavailable);
  duplicate.Reset();
  EXPECT_TRUE(Lock(other->get(), LockMode::kTryExclusive, "a"));
  EXPECT_EQ(Lock(files_.OpenForReading(Path("a"))->get(), LockMode::kTryShared, "a").error().code,
            ErrorCode::kUnavailable);
}

TEST_F(FileSystemTest, TellsDiskSpaceOfAFileWithHoles) {
  const UniqueFd file = std::move(files_.OpenForWriting(Path("a")).value());
  ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
  EXPECT_EQ(files_.Inspect(Path("a"))->disk_bytes, 0U);
  ASSERT_TRUE(WriteAll(file.get(), std::string(1 << 16, 'x')));
  ASSERT_EQ(::fsync(file.get()), 0);
  const auto info = files_.Inspect(Path("a"));
  EXPECT_FALSE(info->is_folder);
  EXPECT_GE(info->disk_bytes, 1U << 16);
  EXPECT_LT(info->disk_bytes, 1U << 20);
  EXPECT_TRUE(files_.Inspect(root_)->is_folder);
  EXPECT_EQ(files_.Inspect(Path("missing")).error().code, ErrorCode::kNotFound);
}

TEST_F(FileSystemTest, TouchedFolderIsModifiedNow) {
  ASSERT_TRUE(files_.CreateFolder(Path("f")));
  const auto old = std::filesystem::last_write_time(Path("f")) - std::chrono::hours(1);
  std::filesystem::last_write_time(Path("f"), old);
  const int64_t before = files_.Inspect(Path("f"))->modified_unix_ns;
  ASSERT_TRUE(files_.Touch(Path("f")));
  EXPECT_GT(files_.Inspect(Path("f"))->modified_unix_ns, before + 3'000'000'000'000);
  EXPECT_EQ(files_.Touch(Path("missing")).error().code, ErrorCode::kNotFound);
}

TEST_F(FileSystemTest, CreatesFoldersOnTheWay) {
  ASSERT_TRUE(CreateFolders(files_, Path("a/b/c")));
  ASSERT_TRUE(CreateFolders(files_, Path("a/b/c")));
  EXPECT_TRUE(std::filesystem::is_directory(Path("a/b/c")));
}

TEST_F(FileSystemTest, RemovesAFlatFolder) {
  ASSERT_TRUE(files_.CreateFolder(Path("f")));
  Write(files_, Path("f/a"), "x");
  EXPECT_TRUE(RemoveFlatFolder(files_, Path("f")));
  EXPECT_FALSE(files_.Exists(Path("f")).value());
  EXPECT_TRUE(RemoveFlatFolder(files_, Path("f")));
}

TEST_F(FileSystemTest, FaultHitsTheNamedOperationOnce) {
  FaultInjectingFileSystem faulty(root_);
  faulty.FailAt(1, ENOSPC);
  EXPECT_TRUE(faulty.CreateFolder(Path("a")));
  EXPECT_EQ(faulty.CreateFolder(Path("b")).error().os_errno, ENOSPC);
  EXPECT_FALSE(files_.Exists(Path("b")).value());
  EXPECT_TRUE(faulty.CreateFolder(Path("b")));
  EXPECT_EQ(faulty.operations(), 3);
}

TEST_F(FileSystemTest, AfterACrashNothingWorksUntilTheRestart) {
  FaultInjectingFileSystem faulty(root_);
  faulty.CrashAt(0);
  EXPECT_TRUE(faulty.List(root_));
  EXPECT_FALSE(faulty.CreateFolder(Path("a")));
  EXPECT_FALSE(faulty.List(root_));
  ASSERT_TRUE(faulty.Restart(Losses::kNothing));
  EXPECT_TRUE(faulty.CreateFolder(Path("a")));
}

TEST_F(FileSystemTest, PowerCutLosesWhatWasNotSynced) {
  Write(files_, Path("before"), "old");
  FaultInjectingFileSystem faulty(root_);
  Write(faulty, Path("synced"), "kept");
  ASSERT_TRUE(faulty.SyncFile(Path("synced")));
  Write(faulty, Path("bytes_only"), "kept");
  ASSERT_TRUE(faulty.SyncFolder(root_));
  Write(faulty, Path("neither"), "lost");
  ASSERT_TRUE(faulty.RemoveFile(Path("before")));
  ASSERT_TRUE(faulty.Restart(Losses::kUnsyncedAnything));
  EXPECT_EQ(faulty.List(root_).value(), (std::vector<std::string>{"before", "bytes_only", "synced"}));
  EXPECT_EQ(faulty.ReadSmallFile(Path("before"), 16).value(), "old");
  EXPECT_EQ(faulty.ReadSmallFile(Path("synced"), 16).value(), "kept");
  EXPECT_EQ(faulty.ReadSmallFile(Path("bytes_only"), 16).value(), "");
}

TEST_F(FileSystemTest, PowerCutMayKeepNamesAndLoseBytes) {
  FaultInjectingFileSystem faulty(root_);
  Write(faulty, Path("a"), "lost");
  ASSERT_TRUE(faulty.Rename(Path("a"), Path("b")));
  ASSERT_TRUE(faulty.Restart(Losses::kUnsyncedBytes));
  EXPECT_EQ(faulty.List(root_).value(), std::vector<std::string>{"b"});
  EXPECT_EQ(faulty.ReadSmallFile(Path("b"), 16).value(), "");
}

TEST_F(FileSystemTest, RenamedFolderThatWasSyncedKeepsItsFiles) {
  FaultInjectingFileSystem faulty(root_);
  ASSERT_TRUE(faulty.CreateFolder(Path("f")));
  Write(faulty, Path("f/a"), "kept");
  ASSERT_TRUE(faulty.SyncFile(Path("f/a")));
  ASSERT_TRUE(faulty.SyncFolder(Path("f")));
  ASSERT_TRUE(faulty.Rename(Path("f"), Path("g")));
  ASSERT_TRUE(faulty.SyncFolder(root_));
  ASSERT_TRUE(faulty.Restart(Losses::kUnsyncedAnything));
  EXPECT_EQ(faulty.ReadSmallFile(Path("g/a"), 16).value(), "kept");
  EXPECT_FALSE(faulty.Exists(Path("f")).value());
}

}  // namespace
}  // namespace snapfaas
