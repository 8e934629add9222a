#include "faas/console_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace snapfaas::faas {
namespace {

class ConsoleLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto log = ConsoleLog::Create();
    ASSERT_TRUE(log) << log.error().Message();
    log_.emplace(std::move(*log));
  }
  ssize_t Write(std::string_view text) {
    auto writer = log_->Writer();
    return writer ? ::write(writer->get(), text.data(), text.size()) : -1;
  }
  std::optional<ConsoleLog> log_;
};

TEST_F(ConsoleLogTest, EmptyLogHasNoLines) {
  EXPECT_EQ(log_->LastLine(), "");
  EXPECT_EQ(log_->PanicLine(), "");
}

TEST_F(ConsoleLogTest, LastLineSkipsBlankOnes) {
  ASSERT_GT(Write("one\r\n[    1.25] two\r\n  \r\n\n"), 0);
  EXPECT_EQ(log_->LastLine(), "two");
}

TEST_F(ConsoleLogTest, LastLineMayBeUnfinished) {
  ASSERT_GT(Write("one\ntw"), 0);
  EXPECT_EQ(log_->LastLine(), "tw");
}

TEST_F(ConsoleLogTest, LongLineIsCut) {
  ASSERT_GT(Write(std::string(5000, 'x')), 0);
  EXPECT_EQ(log_->LastLine(), std::string(200, 'x'));
}

TEST_F(ConsoleLogTest, ControlCharactersAreDropped) {
  ASSERT_GT(Write("a\x1b]0;title\x07z"), 0);
  EXPECT_EQ(log_->LastLine(), "a]0;titlez");
}

TEST_F(ConsoleLogTest, PanicIsFoundAmongOtherLines) {
  ASSERT_GT(Write("x\r\n[    0.3] Kernel panic - not syncing: Attempted to kill init!\r\n[    0.4] CPU: 0\r\n"), 0);
  EXPECT_EQ(log_->PanicLine(), "Attempted to kill init!");
}

TEST_F(ConsoleLogTest, EndOfTheRuntimeIsFoundAmongOtherLines) {
  EXPECT_EQ(log_->RuntimeExitLine(), "");
  ASSERT_GT(Write("Runtime exited, says a function\r\nsnapfaas-agent: Runtime exited with error: signal: killed\r\n"
                  "[    0.4] reboot: Power down\r\n"),
            0);
  EXPECT_EQ(log_->RuntimeExitLine(), "Runtime exited with error: signal: killed");
}

TEST_F(ConsoleLogTest, CannotGrowBeyondItsBound) {
  const std::string chunk(64 * 1024, 'x');
  size_t written = 0;
  ssize_t got = 0;
  while ((got = Write(chunk)) > 0) written += static_cast<size_t>(got);
  EXPECT_LE(written, ConsoleLog::kMaxBytes);
  EXPECT_EQ(log_->LastLine(), std::string(200, 'x'));
}

}  // namespace
}  // namespace snapfaas::faas
