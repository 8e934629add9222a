#include "images/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/unique_fd.h"

namespace snapfaas::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(RunProgramTest, ReturnsBothOutputs) {
  const auto output = RunProgram({"sh", "-c", "echo out; echo err >&2"});
  ASSERT_TRUE(output) << output.error().Message();
  EXPECT_EQ(*output, "out\nerr\n");
}

TEST(RunProgramTest, FailureNamesProgramStatusAndLastLines) {
  const auto output = RunProgram({"sh", "-c", "for i in $(seq 100 199); do echo line $i; done; exit 3"});
  ASSERT_FALSE(output);
  EXPECT_THAT(output.error().context, HasSubstr("sh failed with status 3"));
  EXPECT_THAT(output.error().context, HasSubstr("line 199"));
  EXPECT_THAT(output.error().context, Not(HasSubstr("line 150")));
}

TEST(RunProgramTest, SignalIsReported) {
  const auto output = RunProgram({"sh", "-c", "kill -TERM $$"});
  ASSERT_FALSE(output);
  EXPECT_THAT(output.error().context, HasSubstr("killed by signal 15"));
}

TEST(RunProgramTest, MissingProgramIsUnavailable) {
  const auto output = RunProgram({"no-such-program-here"});
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(output.error().context, HasSubstr("no-such-program-here"));
}

TEST(RunProgramTest, LinesComeOneByOneAndTheLastNeedsNoEnd) {
  std::vector<std::string> lines;
  const ProgramOptions options{.on_line = [&](std::string_view line) { lines.emplace_back(line); }};
  ASSERT_TRUE(RunProgram({"printf", "a\\nb\\nc"}, options));
  EXPECT_THAT(lines, ElementsAre("a", "b", "c"));
}

TEST(RunProgramTest, MuchOutputKeepsItsEndAndEveryLine) {
  size_t lines = 0;
  const ProgramOptions options{.on_line = [&](std::string_view) { ++lines; }};
  const auto output = RunProgram({"sh", "-c", "seq 1 400000"}, options);
  ASSERT_TRUE(output);
  EXPECT_EQ(lines, 400000u);
  EXPECT_LE(output->size(), size_t{1} << 20);
  EXPECT_TRUE(output->ends_with("400000\n"));
}

TEST(RunProgramTest, NothingThatIsOpenHereIsOpenThere) {
  const UniqueFd inherited(::open("/dev/null", O_RDONLY));  // as a caller's may be: not to be closed at exec
  ASSERT_TRUE(inherited.valid());
  const auto output = RunProgram({"ls", "/proc/self/fd"});
  ASSERT_TRUE(output) << output.error().Message();
  EXPECT_EQ(*output, "0\n1\n2\n3\n");  // the last is the folder that ls reads
}

TEST(RunProgramTest, FolderAndEnvironmentAreSet) {
  const auto output = RunProgram({"sh", "-c", "pwd; echo $NAME"}, {.folder = "/", .environment = {{"NAME", "value"}}});
  ASSERT_TRUE(output);
  EXPECT_EQ(*output, "/\nvalue\n");
}

}  // namespace
}  // namespace snapfaas::images
