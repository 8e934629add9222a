#include "host/exec_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace snapfaas::host {
namespace {

constexpr int64_t kAnswerPatienceNs = 5'000'000'000;
constexpr int64_t kSendPatienceNs = 30'000'000'000;
constexpr size_t kInputChunk = size_t{32} << 10;
// The connection is not read while this much output waits for its reader.
constexpr size_t kMaxPending = size_t{256} << 10;

// Turns the signals that ask this process to end into bytes to poll for; undoes that when it goes.
class SignalCatcher {
 public:
  SignalCatcher() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction action {};
      ::sigaction(number, nullptr, &action);
      if (action.sa_handler != SIG_IGN) sigaddset(&wanted, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &wanted, &before_);
    fd_.Reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &pipe_before_);
  }
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;
  ~SignalCatcher() {
    ::sigaction(SIGPIPE, &pipe_before_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  int fd() const { return fd_.get(); }

  std::optional<uint32_t> Take() const {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return std::nullopt;
    return info.ssi_signo;
  }

 private:
  UniqueFd fd_;
  sigset_t before_{};
  struct sigaction pipe_before_ {};
};

// Output on its way to a descriptor that may be a pipe nobody reads just now. The descriptor is left blocking, since it
// may be shared with other processes: a write of PIPE_BUF bytes does not block when poll(2) says so.
class OutputSink {
 public:
  explicit OutputSink(int fd) : fd_(fd) {
    struct stat info {};
    if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) chunk_ = kMaxPending;
  }

  void Append(std::span<const uint8_t> bytes) {
    if (!closed_) bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  int PollFd() const { return pending() > 0 ? fd_ : -1; }
  size_t pending() const { return bytes_.size() - written_; }
  bool closed() const { return closed_; }

  void Write() {
    const ssize_t n = ::write(fd_, bytes_.data() + written_, std::min(chunk_, pending()));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    closed_ = n < 0;
    written_ += n < 0 ? pending() : static_cast<size_t>(n);
    if (pending() > 0) return;
    bytes_.clear();
    written_ = 0;
  }

 private:
  static constexpr size_t kSafePipeWrite = 4096;

  int fd_;
  size_t chunk_ = kSafePipeWrite;
  bool closed_ = false;
  std::vector<uint8_t> bytes_;
  size_t written_ = 0;
};

class ClientRelay {
 public:
  ClientRelay(FrameStream& stream, const StandardStreams& streams)
      : stream_(stream), in_(streams.in), out_(streams.out), err_(streams.err) {}

  Result<int> Run();

 private:
  enum Slot : size_t { kServer, kSignals, kIn, kOut, kErr, kSlots };

  Status TakeFrames();
  Status Obey(const ExecFrame& frame);
  void TakeInput();
  bool OutputIsFull() const { return out_.pending() + err_.pending() > kMaxPending; }

  FrameStream& stream_;
  SignalCatcher signals_;
  int in_;  // -1 after its end
  OutputSink out_;
  OutputSink err_;
  size_t credit_ = 0;
  std::optional<int> exit_code_;
};

Result<int> ClientRelay::Run() {
  constexpr int kBrokenPipe = 128 + SIGPIPE;
  for (;;) {
    if (exit_code_ && out_.pending() + err_.pending() == 0) return *exit_code_;
    if (out_.closed()) return kBrokenPipe;
    const bool read_server = !exit_code_ && !OutputIsFull();
    const short server_events = static_cast<short>(stream_.Events() & (read_server ? POLLIN | POLLOUT : POLLOUT));
    const bool read_input = credit_ > 0 && !exit_code_;
    std::array<pollfd, kSlots> wait{{{server_events != 0 ? stream_.fd() : -1, server_events, 0},
                                     {signals_.fd(), POLLIN, 0},
                                     {read_input ? in_ : -1, POLLIN, 0},
                                     {out_.PollFd(), POLLOUT, 0},
                                     {err_.PollFd(), POLLOUT, 0}}};
    if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) {
      return FailErrno(errno, "waiting for a command in the emulated host");
    }
    if (wait[kSignals].revents != 0) {
      if (const auto number = signals_.Take()) stream_.Queue(EncodeFrame(FrameKind::kSignal, *number));
    }
    if (wait[kOut].revents != 0) out_.Write();
    if (wait[kErr].revents != 0) err_.Write();
    if (wait[kIn].revents != 0) TakeInput();
    if (read_server && (wait[kServer].revents & ~POLLOUT) != 0) {
      if (auto status = stream_.Fill(); !status) return Forward(status.error());
      if (auto status = TakeFrames(); !status) return Forward(status.error());
    }
    // Once the exit code is there the server is gone, or about to be.
    if (exit_code_) continue;
    if (auto status = stream_.Flush(); !status) return Forward(status.error());
  }
}

Status ClientRelay::TakeFrames() {
  while (!exit_code_) {
    auto frame = stream_.Next();
    if (!frame) return Forward(frame.error());
    if (!frame->has_value()) return {};
    if (auto status = Obey(**frame); !status) return status;
  }
  return {};
}

Status ClientRelay::Obey(const ExecFrame& frame) {
  switch (frame.kind) {
    case FrameKind::kStdout:
      out_.Append(frame.payload);
      return {};
    case FrameKind::kStderr:
      err_.Append(frame.payload);
      return {};
    case FrameKind::kRefused:
      return Fail(ErrorCode::kUnavailable, "the emulated host: {}",
                  std::string(frame.payload.begin(), frame.payload.end()));
    case FrameKind::kStdinCredit:
    case FrameKind::kExit: {
      const auto number = DecodeNumber(frame);
      if (!number) return Forward(number.error());
      if (frame.kind == FrameKind::kExit) {
        exit_code_ = static_cast<int>(*number & 0xff);
      } else {
        credit_ = std::min<size_t>(credit_ + *number, kStdinWindow);
      }
      return {};
    }
    default:
      return Fail(ErrorCode::kCorrupt, "exec protocol: frame kind {} from the server", static_cast<int>(frame.kind));
  }
}

void ClientRelay::TakeInput() {
  std::array<uint8_t, kInputChunk> chunk;
  const ssize_t n = ::read(in_, chunk.data(), std::min(chunk.size(), credit_));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    stream_.Queue(EncodeFrame(FrameKind::kStdinEnd));
    in_ = -1;
    return;
  }
  credit_ -= static_cast<size_t>(n);
  stream_.Queue(EncodeFrame(FrameKind::kStdin, std::span<const uint8_t>(chunk).first(static_cast<size_t>(n))));
}

}  // namespace

Result<FrameStream> ConnectToExecServer(uint16_t port, const Token& token) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return FailErrno(errno, "opening a socket to the emulated host");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno(errno, "connecting to the emulated host at 127.0.0.1:{}", port);
  }
  FrameStream stream(std::move(socket));
  stream.Queue(EncodeGreeting(token));
  return stream;
}

Status PingExecServer(FrameStream& stream) {
  const int64_t deadline = MonotonicNanos() + kAnswerPatienceNs;
  stream.Queue(EncodeFrame(FrameKind::kPing));
  if (auto status = stream.FlushAll(deadline); !status) return status;
  const auto answer = stream.Receive(deadline);
  if (!answer) return Forward(answer.error());
  if (answer->kind != FrameKind::kPong) return Fail(ErrorCode::kCorrupt, "exec protocol: no pong after a ping");
  return {};
}

Result<int> RunRemoteCommand(FrameStream& stream, const ExecRequest& request, const StandardStreams& streams) {
  const auto payload = EncodeExecRequest(request);
  if (payload.size() > kMaxExecPayload) {
    return Fail(ErrorCode::kInvalidArgument, "arguments and environment of {} bytes are more than {}", payload.size(),
                kMaxExecPayload);
  }
  stream.Queue(EncodeFrame(FrameKind::kExec, payload));
  if (auto status = stream.FlushAll(MonotonicNanos() + kSendPatienceNs); !status) return Forward(status.error());
  return ClientRelay(stream, streams).Run();
}

}  // namespace snapfaas::host
