// snapfaas run, as a user has it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "e2e_environment.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kTwoRequests[] = "{\"n\":1}\n{\"n\":2}\n";

std::vector<std::string> Lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class RunCommandTest : public EndToEndTest {
 protected:
  // Runs the example function with these options; two requests must get two answers that are no errors.
  static void ExpectTwoAnswers(std::vector<std::string> options) {
    std::vector<std::string> arguments = {"run", "--runtime", "python3", "--app",
                                          std::string(SNAPFAAS_EXAMPLES) + "/lorem-python"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto result = RunSnapfaas(arguments, kTwoRequests);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto lines = Lines(result.out);
    ASSERT_EQ(lines.size(), 2u) << result.out << result.err;
    for (const auto& line : lines) {
      const auto answer = json::parse(line, nullptr, false);
      EXPECT_FALSE(answer.is_discarded()) << line;
      EXPECT_FALSE(answer.is_object() && answer.contains("errorType")) << line;
    }
  }
};

TEST_F(RunCommandTest, RestoreByMmap) { ExpectTwoAnswers({"--restore", "mmap"}); }
TEST_F(RunCommandTest, RestoreByCopy) { ExpectTwoAnswers({"--restore", "copy"}); }
TEST_F(RunCommandTest, Boot) { ExpectTwoAnswers({"--boot"}); }
TEST_F(RunCommandTest, TwoVcpus) { ExpectTwoAnswers({"--vcpus", "2"}); }
TEST_F(RunCommandTest, LargestMemory) { ExpectTwoAnswers({"--memory", "3072"}); }

TEST_F(RunCommandTest, TimingsNameEveryPhase) {
  const auto result =
      RunSnapfaas({"run", "--runtime", "python3", "--app", Function("counter").string(), "--timings"}, "{\"id\":1}\n");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = Lines(result.err);
  ASSERT_FALSE(lines.empty());
  const auto timings = json::parse(lines.back(), nullptr, false);
  ASSERT_TRUE(timings.is_object()) << result.err;
  const auto& phases = timings["restore_ms"];
  for (const char* phase : {"vmm", "memory", "identity", "mount", "load", "request", "ready", "response"}) {
    ASSERT_TRUE(phases.contains(phase)) << phase;
    EXPECT_GT(phases[phase].get<double>(), 0) << phase;
  }
  EXPECT_NEAR(phases["response"].get<double>(),
              phases["ready"].get<double>() + phases["load"].get<double>() + phases["request"].get<double>(), 0.01);
}

TEST_F(RunCommandTest, PrintsGoToStandardErrorAndTheContextIsThere) {
  const auto result = RunSnapfaas({"run", "--runtime", "python3", "--app", Function("prints").string()}, "null\n");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out, nullptr, false), json::parse(R"({"function":"prints","memory":"128"})"));
  EXPECT_THAT(result.err, HasSubstr("to the log\n"));
  EXPECT_THAT(result.err, HasSubstr("errors too\n"));
}

TEST_F(RunCommandTest, ExceptionIsALineAndTheVmGoesOn) {
  const auto result =
      RunSnapfaas({"run", "--runtime", "python3", "--app", Function("raises").string()}, "{\"fail\":true}\n{}\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 2u) << result.out;
  const auto error = json::parse(lines[0], nullptr, false);
  EXPECT_EQ(error["errorType"], "KeyError");
  EXPECT_THAT(error["errorMessage"].get<std::string>(), HasSubstr("told to fail"));
  EXPECT_FALSE(error["stackTrace"].empty());
  EXPECT_EQ(json::parse(lines[1], nullptr, false), json::parse(R"({"ok":true})"));
}

// Only where this machine's Python is the guest's, as on Debian 12.
TEST_F(RunCommandTest, FunctionIsLoadedFromBytecodeAndTracebacksShowItsSource) {
  const auto result =
      RunSnapfaas({"run", "--runtime", "python3", "--app", Function("compiled").string()}, "{}\n{\"fail\":true}\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 2u) << result.out << result.err;
  EXPECT_EQ(json::parse(lines[0], nullptr, false), json::parse(R"({"bytecode":true,"source":"/srv/app.py"})"));
  const auto error = json::parse(lines[1], nullptr, false);
  ASSERT_EQ(error["stackTrace"].size(), 1u) << lines[1];
  EXPECT_THAT(error["stackTrace"][0].get<std::string>(), HasSubstr("\"/srv/app.py\", line 8, in handle\n    raise"));
}

TEST_F(RunCommandTest, FunctionThatFillsItsTemporaryFolderIsToldSo) {
  const auto result = RunSnapfaas({"run", "--runtime", "python3", "--app", Function("fills").string()}, "{}\n{}\n");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(R"({"before": [], "error": "No space left on device"})"));
}

TEST_F(RunCommandTest, DeployedFunctionIsRunByItsConfiguration) {
  const auto result = RunSnapfaas({"run", "--runtime", "python3", "--app", Function("deployed").string()}, "{}\n");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto answer = json::parse(result.out, nullptr, false);
  EXPECT_EQ(answer["folder"], "/var/task");
  EXPECT_EQ(answer["file"], "/var/task/app.py");
  EXPECT_EQ(answer["key"], "value");
  EXPECT_EQ(answer["handler"], "app.main");
  EXPECT_EQ(answer["stream"].get<std::string>().substr(10, 10), "/[$LATEST]");
}

TEST_F(RunCommandTest, LineThatIsNoJsonIsAnsweredAndTheExitCodeTells) {
  const auto result = RunSnapfaas({"run", "--runtime", "python3", "--app", Function("raises").string()}, "{oops\n{}\n");
  EXPECT_EQ(result.exit_code, 1);
  const auto lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 2u) << result.out << result.err;
  EXPECT_THAT(lines[0], HasSubstr("request 1 is not JSON"));
  EXPECT_EQ(json::parse(lines[1], nullptr, false), json::parse(R"({"ok":true})"));
}

TEST_F(RunCommandTest, WrongUsageIsExitCodeTwo) {
  const std::string app = Function("raises").string();
  EXPECT_EQ(RunSnapfaas({"run", "--runtime", "python3", "--app", app, "--memory", "100"}).exit_code, 2);
  EXPECT_EQ(RunSnapfaas({"run", "--runtime", "python3", "--app", app, "--vcpus", "9"}).exit_code, 2);
  EXPECT_EQ(RunSnapfaas({"run", "--runtime", "python3", "--app", app, "--boot", "--restore", "copy"}).exit_code, 2);
  EXPECT_EQ(RunSnapfaas({"run", "--app", app}).exit_code, 2);
  EXPECT_EQ(RunSnapfaas({"--help"}).exit_code, 0);
}

}  // namespace
}  // namespace snapfaas::e2e
