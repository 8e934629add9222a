#include "devices/log_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <string_view>

namespace snapfaas::devices {
namespace {

void Put(LogSink& sink, std::string_view text) {
  sink.Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

class LogSinkTest : public ::testing::Test {
 protected:
  LogSinkTest() : file_(::memfd_create("log", MFD_CLOEXEC)) {}
  UniqueFd Writer() const { return UniqueFd(::dup(file_.get())); }
  std::string Contents() const {
    std::string text(10 << 20, '\0');
    const ssize_t size = ::pread(file_.get(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }
  UniqueFd file_;
};

TEST_F(LogSinkTest, WritesWholeLinesAndTheRestWhenFlushed) {
  LogSink sink(Writer());
  Put(sink, "one\ntw");
  EXPECT_EQ(Contents(), "one\n");
  Put(sink, "o");
  EXPECT_EQ(Contents(), "one\n");
  sink.Flush();
  EXPECT_EQ(Contents(), "one\ntwo");
}

TEST_F(LogSinkTest, KeepsOrderInLongLines) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i);
  {
    LogSink sink(Writer());
    Put(sink, text);
  }
  EXPECT_EQ(Contents(), text);
}

TEST_F(LogSinkTest, StopsAtItsLimitWithOneNote) {
  LogSink sink(Writer(), 10);
  for (int i = 0; i < 1000; ++i) Put(sink, "abcd");
  EXPECT_EQ(Contents(), "abcdabcdab\n[output limit reached: the rest is dropped]\n");
}

TEST_F(LogSinkTest, WithoutADescriptorDiscards) {
  LogSink sink{UniqueFd()};
  Put(sink, "nothing\n");
  sink.Flush();
}

TEST_F(LogSinkTest, AFullPipeDropsInsteadOfBlocking) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd reader(pipe[0]);
  LogSink sink{UniqueFd(pipe[1])};
  const std::string line = std::string(1023, 'x') + "\n";
  for (int i = 0; i < 1000; ++i) Put(sink, line);  // hangs here if it blocks
  std::string got(1 << 20, '\0');
  EXPECT_GE(::read(reader.get(), got.data(), got.size()), 32768);
}

TEST_F(LogSinkTest, AFullSocketDropsInsteadOfBlocking) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  UniqueFd reader(pair[0]);
  LogSink sink{UniqueFd(pair[1])};
  const std::string line = std::string(1023, 'x') + "\n";
  for (int i = 0; i < 2000; ++i) Put(sink, line);
  reader.Reset();
  Put(sink, line);
}

TEST_F(LogSinkTest, AClosedPipeIsNoSignal) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  ::close(pipe[0]);
  LogSink sink{UniqueFd(pipe[1])};
  Put(sink, "nobody reads\n");  // SIGPIPE would end the test
}

}  // namespace
}  // namespace snapfaas::devices
