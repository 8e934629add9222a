#include "node/function_log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/scratch_folder_for_tests.h"
namespace snapfaas::node {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class FunctionLogTest : public ::testing::Test {
 protected:
  std::shared_ptr<FunctionLog> Open(uint64_t max_file_bytes = 1000) {
    return std::make_shared<FunctionLog>(path(), FunctionLog::Limits{max_file_bytes},
                                         [this](std::string_view line) { warnings_.emplace_back(line); });
  }
  std::filesystem::path path() const { return folder_.path() / "logs" / "f.log"; }

  ScratchFolder folder_;
  std::vector<std::string> warnings_;
};

// Ten bytes.
std::string Line(int number) { return fmt::format("line {:04}\n", number); }

TEST_F(FunctionLogTest, NothingLoggedReadsAsNothingAndMakesNoFile) {
  const auto log = Open();
  const auto piece = log->Read(std::nullopt, 100);
  ASSERT_TRUE(piece) << piece.error().Message();
  EXPECT_EQ(piece->text, "");
  EXPECT_EQ(piece->next, 0U);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(FunctionLogTest, FollowingGivesEachLineOnceThroughRotations) {
  const auto log = Open(100);
  std::string expected;
  std::string seen;
  uint64_t next = 0;
  for (int i = 0; i < 100; ++i) {
    log->Append(Line(i));
    expected += Line(i);
    if (i % 7 != 0) continue;
    const auto piece = log->Read(next, 1000);
    ASSERT_TRUE(piece) << piece.error().Message();
    seen += piece->text;
    next = piece->next;
  }
  EXPECT_EQ(seen + log->Read(next, 1000)->text, expected);
}

TEST_F(FunctionLogTest, KeepsOneOlderFileAndNoMore) {
  const auto log = Open(100);
  for (int i = 0; i < 1000; ++i) {
    log->Append(Line(i));
    log->Flush();
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path().parent_path())) {
    EXPECT_LE(entry.file_size(), 100U);
    ++files;
  }
  EXPECT_EQ(files, 2U);
}

TEST_F(FunctionLogTest, APlaceThatIsGoneMeansTheOldestThatIsLeft) {
  const auto log = Open(100);
  for (int i = 0; i < 35; ++i) {
    log->Append(Line(i));
    log->Flush();
  }
  const auto piece = log->Read(0, 1000);
  EXPECT_EQ(piece->text.substr(0, 10), Line(20));
  EXPECT_EQ(piece->text.size(), 150U);
  EXPECT_EQ(piece->next, 350U);
}

TEST_F(FunctionLogTest, ReadingInPiecesOverBothFilesGivesAllOfThem) {
  const auto log = Open(100);
  std::string expected;
  for (int i = 0; i < 15; ++i) {
    log->Append(Line(i));
    log->Flush();
    expected += Line(i);
  }
  std::string seen;
  for (uint64_t next = 0; next < 150;) {
    const auto piece = log->Read(next, 33);
    ASSERT_TRUE(piece && !piece->text.empty());
    EXPECT_LE(piece->text.size(), 33U);
    seen += piece->text;
    next = piece->next;
  }
  EXPECT_EQ(seen, expected);
}

TEST_F(FunctionLogTest, TheEndComesInWholeLines) {
  const auto log = Open();
  for (int i = 0; i < 20; ++i) log->Append(Line(i));
  const auto piece = log->Read(std::nullopt, 25);
  EXPECT_EQ(piece->text, Line(18) + Line(19));
  EXPECT_EQ(piece->next, 200U);
}

TEST_F(FunctionLogTest, ANewNodeGoesOnWithTheFilesThatAreThere) {
  {
    const auto log = Open(100);
    for (int i = 0; i < 15; ++i) {
      log->Append(Line(i));
      log->Flush();
    }
  }
  const auto log = Open(100);
  log->Append(Line(15));
  const auto all = log->Read(0, 1000);
  EXPECT_EQ(all->text.size(), 160U);
  EXPECT_EQ(all->text.substr(150), Line(15));
  const auto beyond = log->Read(100000, 1000);
  EXPECT_EQ(beyond->text, "");
  EXPECT_EQ(beyond->next, 160U);
}

TEST_F(FunctionLogTest, WhatComesFasterThanTheDiskIsDroppedWithANote) {
  const auto log = Open(uint64_t{10} << 20);
  const std::string lines = std::string(99'999, 'x') + "\n";
  for (int i = 0; i < 12; ++i) log->Append(lines);
  const auto piece = log->Read(0, uint64_t{10} << 20);
  EXPECT_LT(piece->text.size(), FunctionLog::kMaxPending + 200);
  EXPECT_THAT(piece->text, HasSubstr("200000 bytes came faster"));
}

TEST_F(FunctionLogTest, AFullDiskIsToldOnceUntilItTakesTextAgain) {
  const auto log = Open();
  std::filesystem::create_directories(path().parent_path());
  std::filesystem::create_symlink("/dev/full", path());
  for (int i = 0; i < 3; ++i) {
    log->Append(Line(i));
    log->Flush();
  }
  EXPECT_THAT(warnings_, SizeIs(1));
  EXPECT_THAT(warnings_.front(), HasSubstr("No space left"));
  std::filesystem::remove(path());
  log->Append(Line(3));
  EXPECT_EQ(log->Read(0, 1000)->text, Line(3));
  std::filesystem::remove(path());
  std::filesystem::create_symlink("/dev/full", path());
  log->Append(Line(4));
  log->Flush();
  EXPECT_THAT(warnings_, SizeIs(2));
  std::filesystem::remove(path());
}

TEST_F(FunctionLogTest, NamesThatLeaveTheFolderAreRefused) {
  FunctionLogs logs(folder_.path(), FunctionLog::Limits(), nullptr);
  for (const char* name : {"", "..", "a/b", "a.b", "a b"}) {
    const auto log = logs.Of(name);
    ASSERT_FALSE(log) << name;
    EXPECT_EQ(log.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(logs.Of(std::string(65, 'a')));
  const auto log = logs.Of(std::string(64, 'a'));
  ASSERT_TRUE(log) << log.error().Message();
  EXPECT_EQ(*logs.Of(std::string(64, 'a')), *log);
}

}  // namespace
}  // namespace snapfaas::node
