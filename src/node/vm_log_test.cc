#include "node/vm_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "base/scratch_folder_for_tests.h"
namespace snapfaas::node {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class VmLogTest : public ::testing::Test {
 protected:
  VmLogTest() {
    log_ = std::make_shared<FunctionLog>(folder_.path() / "f.log", FunctionLog::Limits(), nullptr);
    auto reader = LogReader::Create();
    EXPECT_TRUE(reader) << reader.error().Message();
    reader_ = std::move(*reader);
  }

  // The microVM's log, and the VMM's end of it, which takes all that it is given.
  std::pair<VmLog, UniqueFd> Open() {
    auto log = VmLog::Create(*reader_, log_);
    EXPECT_TRUE(log) << log.error().Message();
    UniqueFd writer = log->TakeWriter();
    return {std::move(*log), std::move(writer)};
  }
  static void Print(const UniqueFd& writer, std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(writer.get(), text.data(), text.size());
      ASSERT_GT(written, 0);
      text.remove_prefix(static_cast<size_t>(written));
    }
  }
  std::string Text() { return log_->Read(0, 100_MiB)->text; }

  ScratchFolder folder_;
  std::shared_ptr<FunctionLog> log_;
  std::unique_ptr<LogReader> reader_;
};

TEST_F(VmLogTest, WhatIsPrintedStandsBetweenStartAndEndOfItsRequest) {
  auto [log, writer] = Open();
  log.Begin("r-1", "$LATEST");
  Print(writer, "one\ntwo\n");
  const std::string first = log.End({.duration_ms = 1.234,
                                     .start_ms = 20,
                                     .start = RequestReport::Start::kRestored,
                                     .memory_mib = 128,
                                     .used_mib = 33,
                                     .complaint = ""});
  Print(writer, "between\n");
  log.Begin("r-2", "7");
  const std::string second = log.End({.duration_ms = 2, .memory_mib = 128, .used_mib = 34, .complaint = ""});
  EXPECT_EQ(first,
            "START RequestId: r-1 Version: $LATEST\none\ntwo\nEND RequestId: r-1\n"
            "REPORT RequestId: r-1\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 33 MB\tRestore Duration: 20.00 ms\t\n");
  EXPECT_EQ(second,
            "START RequestId: r-2 Version: 7\nEND RequestId: r-2\n"
            "REPORT RequestId: r-2\tDuration: 2.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 34 MB\t\n");
  EXPECT_EQ(Text(), first + "between\n" + second);
}

TEST_F(VmLogTest, AStartFromABaseSnapshotIsAnInitAndAComplaintStandsBeforeTheEnd) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  const std::string tail = log.End({.duration_ms = 1000,
                                    .start_ms = 30,
                                    .start = RequestReport::Start::kInit,
                                    .memory_mib = 256,
                                    .used_mib = 1,
                                    .complaint = "too late"});
  EXPECT_THAT(tail, HasSubstr("\ntoo late\nEND RequestId: r\n"));
  EXPECT_THAT(tail, EndsWith("\tInit Duration: 30.00 ms\t\n"));
}

TEST_F(VmLogTest, ALineWithoutAnEndIsEnded) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  Print(writer, "no end");
  EXPECT_THAT(log.End({}), HasSubstr("\nno end\nEND RequestId: r\n"));
}

TEST_F(VmLogTest, TheTailIsTheLast4KilobytesAndTheLogHasEverything) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  std::string printed;
  for (int i = 0; i < 10'000; ++i) printed += fmt::format("line {}\n", i);
  Print(writer, printed);
  const std::string tail = log.End({});
  EXPECT_EQ(tail.size(), VmLog::kTailBytes);
  EXPECT_THAT(tail, HasSubstr("line 9999\nEND RequestId: r\n"));
  EXPECT_EQ(Text().substr(Text().find('\n') + 1, printed.size()), printed);
}

TEST_F(VmLogTest, ALongLineIsCut) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  Print(writer, std::string(3 * VmLog::kMaxLine, 'x'));
  Print(writer, "\nnext\n");
  log.End({});
  EXPECT_THAT(Text(), HasSubstr(std::string(VmLog::kMaxLine, 'x') + " [cut]\nnext\nEND"));
}

TEST_F(VmLogTest, PipesAreReadWhileNobodyAsks) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  // More than all that stands between would hold, were it not taken away.
  Print(writer, std::string(2_MiB, '\n'));
  log.End({});
  EXPECT_THAT(Text(), AllOf(StartsWith("START"), HasSubstr("END RequestId: r")));
}

TEST_F(VmLogTest, MicroVmsOfOneFunctionShareItsLogByLines) {
  auto [first, first_writer] = Open();
  auto [second, second_writer] = Open();
  first.Begin("a", "1");
  second.Begin("b", "1");
  Print(first_writer, "half of ");
  Print(second_writer, "whole\n");
  EXPECT_THAT(second.End({}), AllOf(HasSubstr("whole\n"), Not(HasSubstr("half"))));
  Print(first_writer, "a line\n");
  EXPECT_THAT(first.End({}), HasSubstr("half of a line\n"));
}

TEST_F(VmLogTest, LastWordsAreTakenWhenTheMicroVmGoes) {
  {
    auto [log, writer] = Open();
    Print(writer, "last words");
    writer.Reset();
  }
  EXPECT_EQ(Text(), "last words\n");
}

TEST_F(VmLogTest, AWriterThatIsGoneIsNoTrouble) {
  auto [log, writer] = Open();
  log.Begin("r", "1");
  Print(writer, "before the end\n");
  writer.Reset();
  EXPECT_THAT(log.End({}), HasSubstr("before the end\nEND"));
  log.Begin("s", "1");
  EXPECT_THAT(log.End({}), StartsWith("START RequestId: s"));
}

}  // namespace
}  // namespace snapfaas::node
