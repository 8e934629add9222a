#include "cli/completion_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "images/process.h"

namespace snapfaas::cli {
namespace {

using ::testing::HasSubstr;

class CompletionTest : public ::testing::Test {
 protected:
  CompletionTest() : app_("test", "snapfaas") {
    app_.add_option("--data", data_, "the node's \"data\": $HOME");
    auto* runtime = app_.add_subcommand("runtime", "it's a runtime");
    auto* build = runtime->add_subcommand("build", "build it");
    build->add_flag("-f,--force", force_, "anew");
    app_.add_subcommand("run", "run it");
  }

  // What bash offers behind these words, the last of which is being typed.
  std::string Offered(const std::string& words) {
    const std::string script = BashCompletion(app_) + "\nCOMP_WORDS=(snapfaas " + words +
                               "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _snapfaas; echo \"${COMPREPLY[*]}\"";
    const auto ran = images::RunProgram({"bash", "-c", script});
    return ran ? *ran : ran.error().Message();
  }

  bool force_ = false;
  std::string data_;
  CLI::App app_;
};

TEST_F(CompletionTest, BashOffersWhatMayFollow) {
  if (!images::RunProgram({"bash", "-c", "true"})) GTEST_SKIP() << "bash is not installed";
  EXPECT_EQ(Offered("ru"), "runtime run\n");
  EXPECT_EQ(Offered("runtime ''"), "build\n");
  EXPECT_EQ(Offered("runtime build --f"), "--force\n");
  EXPECT_EQ(Offered("runtime build --d"), "--data\n") << "options of the program are understood everywhere";
  EXPECT_EQ(Offered("--data x run"), "runtime run\n");
  EXPECT_EQ(Offered("run ''"), "\n") << "names of files are bash's own business";
}

TEST_F(CompletionTest, DescriptionsAreQuoted) {
  EXPECT_THAT(ZshCompletion(app_), HasSubstr("'runtime:it'\\''s a runtime'"));
  EXPECT_THAT(FishCompletion(app_), HasSubstr("-a 'runtime' -d 'it\\'s a runtime'"));
  EXPECT_THAT(FishCompletion(app_), HasSubstr("= '/runtime/build'\" -a '--force' -d 'anew'"));
}

}  // namespace
}  // namespace snapfaas::cli
