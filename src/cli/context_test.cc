#include "cli/context.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace snapfaas::cli {
namespace {

// Sets an environment variable (or unsets it) for one test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    Set(value);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() { Set(old_ ? old_->c_str() : nullptr); }

 private:
  void Set(const char* value) {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }
  const char* name_;
  std::optional<std::string> old_;
};

std::string DataDir(const std::string& option) {
  auto context = MakeContext(option);
  return context ? context->data_dir.string() : "error: " + context.error().Message();
}

TEST(Context, OptionWinsOverTheEnvironment) {
  const ScopedVariable own("SNAPFAAS_DATA", "/own");
  EXPECT_EQ(DataDir("/given"), "/given");
}

TEST(Context, OptionIsMadeAbsolute) { EXPECT_EQ(DataDir("there/../here"), std::filesystem::current_path() / "here"); }

TEST(Context, OwnVariableWinsOverXdg) {
  const ScopedVariable own("SNAPFAAS_DATA", "/own");
  const ScopedVariable xdg("XDG_DATA_HOME", "/xdg");
  EXPECT_EQ(DataDir(""), "/own");
}

TEST(Context, XdgWinsOverHome) {
  const ScopedVariable own("SNAPFAAS_DATA", nullptr);
  const ScopedVariable xdg("XDG_DATA_HOME", "/xdg");
  const ScopedVariable home("HOME", "/home/me");
  EXPECT_EQ(DataDir(""), "/xdg/snapfaas");
}

TEST(Context, RelativeXdgIsIgnored) {
  const ScopedVariable own("SNAPFAAS_DATA", nullptr);
  const ScopedVariable xdg("XDG_DATA_HOME", "xdg");
  const ScopedVariable home("HOME", "/home/me");
  EXPECT_EQ(DataDir(""), "/home/me/.local/share/snapfaas");
}

TEST(Context, NoHomeIsAnErrorThatSaysWhatToDo) {
  const ScopedVariable own("SNAPFAAS_DATA", nullptr);
  const ScopedVariable xdg("XDG_DATA_HOME", nullptr);
  const ScopedVariable home("HOME", nullptr);
  EXPECT_NE(DataDir("").find("--data"), std::string::npos);
}

TEST(Context, ShareIsBesideTheFolderOfTheExecutables) {
  auto context = MakeContext("/given");
  ASSERT_TRUE(context);
  EXPECT_EQ(context->share_dir, context->bin_dir.parent_path() / "share/snapfaas");
}

}  // namespace
}  // namespace snapfaas::cli
