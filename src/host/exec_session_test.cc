// Client and server of the exec protocol against each other over a socket pair, without an emulated host.
#include "host/exec_session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "base/clock.h"
#include "host/exec_client.h"

namespace snapfaas::host {
namespace {

const Token kToken = [] {
  Token token{};
  token.fill(0x5a);
  return token;
}();

// A server in a process of its own, as in the emulated host.
class Server {
 public:
  Server() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      const SessionHooks hooks{[](const std::string& folder) -> Status {
                                 if (folder == "/missing") return Fail(ErrorCode::kNotFound, "no /missing here");
                                 return {};
                               },
                               [](const std::string&) -> Status { return {}; }, [] { ::_exit(42); }};
      const auto status = ServeExecConnection(UniqueFd(ends[1]), kToken, hooks);
      ::_exit(status ? 0 : 1);
    }
    ::close(ends[1]);
    client_.Reset(ends[0]);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    client_.Reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  UniqueFd TakeClient() { return std::move(client_); }
  int ExitCode() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = 0;
  UniqueFd client_;
};

FrameStream Greeted(Server& server) {
  FrameStream stream(server.TakeClient());
  stream.Queue(EncodeGreeting(kToken));
  return stream;
}

ExecRequest Shell(const std::string& script) {
  return {{"sh", "-c", script}, "/", {"PATH=/usr/bin:/bin", "GREETING=hello"}, {}, {}};
}

struct Outcome {
  Result<int> exit_code = 0;
  std::string out;
  std::string err;
};

class ExecSessionTest : public testing::Test {
 protected:
  std::string Path(const char* name) const {
    return testing::TempDir() + "exec_session_" + std::to_string(::getpid()) + name;
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  Outcome Run(const ExecRequest& request, const std::string& input = "") {
    std::ofstream(Path("in"), std::ios::binary) << input;
    const UniqueFd in(::open(Path("in").c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd out(::open(Path("out").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const UniqueFd err(::open(Path("err").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    Server server;
    auto stream = Greeted(server);
    Outcome outcome{RunRemoteCommand(stream, request, {in.get(), out.get(), err.get()}), ReadFile(Path("out")),
                    ReadFile(Path("err"))};
    return outcome;
  }
  void TearDown() override {
    for (const char* name : {"in", "out", "err"}) ::unlink(Path(name).c_str());
  }
};

TEST_F(ExecSessionTest, ExitCodeComesBack) {
  EXPECT_EQ(Run(Shell("exit 0")).exit_code.value_or(-1), 0);
  EXPECT_EQ(Run(Shell("exit 7")).exit_code.value_or(-1), 7);
}

TEST_F(ExecSessionTest, DeathBySignalIs128AndItsNumber) {
  EXPECT_EQ(Run(Shell("kill -9 $$")).exit_code.value_or(-1), 137);
}

TEST_F(ExecSessionTest, OutputsStayApart) {
  const auto outcome = Run(Shell("echo out; echo err >&2"));
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
}

TEST_F(ExecSessionTest, EnvironmentAndFolderAreTheRequests) {
  auto request = Shell("echo $GREETING; pwd");
  request.cwd = "/usr";
  EXPECT_EQ(Run(request).out, "hello\n/usr\n");
}

TEST_F(ExecSessionTest, AMegabyteOfInputComesBackUnchanged) {
  std::string input;
  for (int i = 0; input.size() < (size_t{1} << 20); ++i) input += std::to_string(i * 7919) + "\n";
  const auto outcome = Run({{"cat"}, "/", {"PATH=/usr/bin:/bin"}, {}, {}}, input);
  EXPECT_EQ(*outcome.exit_code, 0);
  EXPECT_TRUE(outcome.out == input) << outcome.out.size() << " of " << input.size();
}

TEST_F(ExecSessionTest, InputThatNobodyReadsDoesNotBlock) {
  const auto outcome = Run(Shell("exec <&-; sleep 0.2; exit 3"), std::string(size_t{2} << 20, 'x'));
  ASSERT_TRUE(outcome.exit_code) << outcome.exit_code.error().Message();
  EXPECT_EQ(*outcome.exit_code, 3);
}

TEST_F(ExecSessionTest, UnknownCommandIs127AndSaysSo) {
  const auto outcome = Run({{"no-such-command"}, "/", {"PATH=/usr/bin:/bin"}, {}, {}});
  EXPECT_EQ(*outcome.exit_code, 127);
  EXPECT_NE(outcome.err.find("no-such-command"), std::string::npos);
}

TEST_F(ExecSessionTest, AProcessLeftBehindIsNotWaitedFor) {
  const int64_t start = MonotonicNanos();
  EXPECT_EQ(Run(Shell("sleep 20 & echo started")).out, "started\n");
  EXPECT_LT(ToMillis(MonotonicNanos() - start), 10'000);
}

TEST_F(ExecSessionTest, ShareThatFailsRefusesTheCommand) {
  auto request = Shell("exit 0");
  request.shares = {"/missing"};
  const auto outcome = Run(request);
  ASSERT_FALSE(outcome.exit_code);
  EXPECT_NE(outcome.exit_code.error().Message().find("no /missing here"), std::string::npos);
}

TEST(ExecServer, PingIsAnswered) {
  Server server;
  auto stream = Greeted(server);
  EXPECT_TRUE(PingExecServer(stream));
}

TEST(ExecServer, PowerOffIsObeyed) {
  Server server;
  auto stream = Greeted(server);
  stream.Queue(EncodeFrame(FrameKind::kPowerOff));
  ASSERT_TRUE(stream.FlushAll(MonotonicNanos() + 1'000'000'000));
  EXPECT_EQ(server.ExitCode(), 42);
}

TEST(ExecServer, WrongTokenIsClosedUnanswered) {
  Server server;
  FrameStream stream(server.TakeClient());
  Token wrong = kToken;
  wrong.back() ^= 1;
  stream.Queue(EncodeGreeting(wrong));
  const auto status = PingExecServer(stream);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(server.ExitCode(), 1);
}

// Sends bytes after a good greeting; returns the server's exit code, 1 for a connection that it gave up.
int ServerAfter(const std::vector<std::vector<uint8_t>>& frames) {
  Server server;
  auto stream = Greeted(server);
  for (const auto& frame : frames) stream.Queue(frame);
  EXPECT_TRUE(stream.FlushAll(MonotonicNanos() + 5'000'000'000));
  return server.ExitCode();
}

TEST(ExecServer, UnknownFrameKindEndsTheConnection) { EXPECT_EQ(ServerAfter({{99, 0, 0, 0, 0}}), 1); }

TEST(ExecServer, StdinBeforeARequestEndsTheConnection) {
  EXPECT_EQ(ServerAfter({EncodeFrame(FrameKind::kStdin, "x")}), 1);
}

TEST(ExecServer, SecondRequestOnAConnectionEndsIt) {
  const auto request = EncodeFrame(FrameKind::kExec, EncodeExecRequest(Shell("sleep 20")));
  EXPECT_EQ(ServerAfter({request, request}), 1);
}

TEST(ExecServer, InputBeyondTheCreditEndsTheConnection) {
  const std::string too_much(kStdinWindow + 1, 'x');
  EXPECT_EQ(ServerAfter({EncodeFrame(FrameKind::kExec, EncodeExecRequest(Shell("sleep 20"))),
                         EncodeFrame(FrameKind::kStdin, too_much)}),
            1);
}

TEST(ExecServer, ClientThatGoesAwayTakesTheCommandsGroupWithIt) {
  std::array<int, 2> alive{};
  ASSERT_EQ(::pipe2(alive.data(), 0), 0);  // inherited by the command: end of file once all of its group are gone
  UniqueFd alive_read(alive[0]);
  {
    Server server;
    ::close(alive[1]);
    auto stream = Greeted(server);
    stream.Queue(EncodeFrame(FrameKind::kExec, EncodeExecRequest(Shell("sleep 60 & echo up; wait"))));
    ASSERT_TRUE(stream.FlushAll(MonotonicNanos() + 5'000'000'000));
    for (FrameKind kind = FrameKind::kPing; kind != FrameKind::kStdout;) {
      const auto frame = stream.Receive(MonotonicNanos() + 5'000'000'000);
      ASSERT_TRUE(frame);
      kind = frame->kind;
    }
  }
  pollfd wait{alive_read.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 10'000), 1);
  char byte = 0;
  EXPECT_EQ(::read(alive_read.get(), &byte, 1), 0);
}

TEST(ExecServer, SignalReachesTheCommand) {
  Server server;
  auto stream = Greeted(server);
  stream.Queue(EncodeFrame(FrameKind::kExec,
                           EncodeExecRequest(Shell("trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"))));
  ASSERT_TRUE(stream.FlushAll(MonotonicNanos() + 5'000'000'000));
  for (;;) {
    const auto frame = stream.Receive(MonotonicNanos() + 10'000'000'000);
    ASSERT_TRUE(frame) << frame.error().Message();
    if (frame->kind == FrameKind::kStdout) stream.Queue(EncodeFrame(FrameKind::kSignal, uint32_t{SIGTERM}));
    ASSERT_TRUE(stream.Flush());
    if (frame->kind != FrameKind::kExit) continue;
    EXPECT_EQ(*DecodeNumber(*frame), 9u);
    return;
  }
}

}  // namespace
}  // namespace snapfaas::host
