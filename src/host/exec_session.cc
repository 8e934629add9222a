#include "host/exec_session.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "base/clock.h"
#include "host/frame_stream.h"
#include "host/remote_command.h"

namespace snapfaas::host {
namespace {

constexpr int64_t kGreetingPatienceNs = 5'000'000'000;
constexpr int64_t kRequestPatienceNs = 30'000'000'000;
constexpr int64_t kExitPatienceNs = 3'600'000'000'000;
constexpr size_t kOutputChunk = size_t{32} << 10;
// No more output is read from the command while this much waits for the client.
constexpr size_t kMaxUnsent = size_t{256} << 10;

// Moves bytes between one connection and one command.
class CommandRelay {
 public:
  CommandRelay(FrameStream& stream, RemoteCommand& command) : stream_(stream), command_(command) {}

  // Until the command has ended and its output is queued. An error means that the client is gone or talks nonsense.
  Status Run();

 private:
  enum Slot : size_t { kClient, kEnded, kIn, kOut, kErr, kSlots };

  Status TakeFrames();
  Status Obey(ExecFrame frame);
  void FeedInput();
  // Moves one chunk; returns whether there may be more at once.
  bool TakeOutput(UniqueFd& pipe, FrameKind kind);
  // As much as a full pipe holds.
  void DrainOutput(UniqueFd& pipe, FrameKind kind);

  FrameStream& stream_;
  RemoteCommand& command_;
  std::vector<uint8_t> input_;  // at most kStdinWindow
  bool input_ended_ = false;
};

Status CommandRelay::Run() {
  stream_.Queue(EncodeFrame(FrameKind::kStdinCredit, static_cast<uint32_t>(kStdinWindow)));
  // The client may have sent more along with its request.
  if (auto status = TakeFrames(); !status) return status;
  for (;;) {
    const short output_events = stream_.unsent() < kMaxUnsent ? POLLIN : 0;
    // poll(2) skips negative descriptors; a pipe that is not to be read now is skipped too, or its hang-up would spin.
    const auto output_fd = [&](const UniqueFd& pipe) { return output_events != 0 ? pipe.get() : -1; };
    std::array<pollfd, kSlots> wait{{{stream_.fd(), stream_.Events(), 0},
                                     {command_.ended.get(), POLLIN, 0},
                                     {input_.empty() ? -1 : command_.stdin_pipe.get(), POLLOUT, 0},
                                     {output_fd(command_.stdout_pipe), output_events, 0},
                                     {output_fd(command_.stderr_pipe), output_events, 0}}};
    if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) return FailErrno(errno, "waiting for a command");
    if ((wait[kClient].revents & ~POLLOUT) != 0) {
      if (auto status = stream_.Fill(); !status) return status;
      if (auto status = TakeFrames(); !status) return status;
    }
    if (wait[kIn].revents != 0) FeedInput();
    if (wait[kOut].revents != 0) TakeOutput(command_.stdout_pipe, FrameKind::kStdout);
    if (wait[kErr].revents != 0) TakeOutput(command_.stderr_pipe, FrameKind::kStderr);
    if (wait[kEnded].revents != 0) break;
    if (auto status = stream_.Flush(); !status) return status;
  }
  // What it wrote before its end is in the pipes. Processes that it left behind may hold them open: not waited for.
  DrainOutput(command_.stdout_pipe, FrameKind::kStdout);
  DrainOutput(command_.stderr_pipe, FrameKind::kStderr);
  return {};
}

Status CommandRelay::TakeFrames() {
  for (;;) {
    auto frame = stream_.Next();
    if (!frame) return Forward(frame.error());
    if (!frame->has_value()) return {};
    if (auto status = Obey(std::move(**frame)); !status) return status;
  }
}

Status CommandRelay::Obey(ExecFrame frame) {
  switch (frame.kind) {
    case FrameKind::kStdin:
      if (input_.size() + frame.payload.size() > kStdinWindow) {
        return Fail(ErrorCode::kCorrupt, "exec protocol: more standard input than there was credit for");
      }
      input_.insert(input_.end(), frame.payload.begin(), frame.payload.end());
      FeedInput();
      return {};
    case FrameKind::kStdinEnd:
      input_ended_ = true;
      FeedInput();
      return {};
    case FrameKind::kSignal: {
      auto number = DecodeNumber(frame);
      if (!number) return Forward(number.error());
      command_.Signal(static_cast<int>(*number));
      return {};
    }
    default:
      return Fail(ErrorCode::kCorrupt, "exec protocol: frame kind {} while a command runs",
                  static_cast<int>(frame.kind));
  }
}

void CommandRelay::FeedInput() {
  uint32_t taken = 0;
  if (!command_.stdin_pipe.valid()) {
    // The command does not read any more: its input is thrown away, as if it had been read.
    taken = static_cast<uint32_t>(input_.size());
  } else if (!input_.empty()) {
    const ssize_t n = ::write(command_.stdin_pipe.get(), input_.data(), input_.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) command_.stdin_pipe.Reset();
    taken = static_cast<uint32_t>(n < 0 ? input_.size() : static_cast<size_t>(n));
  }
  if (taken > 0) {
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(taken));
    stream_.Queue(EncodeFrame(FrameKind::kStdinCredit, taken));
  }
  if (input_.empty() && input_ended_) command_.stdin_pipe.Reset();
}

bool CommandRelay::TakeOutput(UniqueFd& pipe, FrameKind kind) {
  if (!pipe.valid()) return false;
  std::array<uint8_t, kOutputChunk> chunk;
  const ssize_t n = ::read(pipe.get(), chunk.data(), chunk.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    pipe.Reset();
    return false;
  }
  stream_.Queue(EncodeFrame(kind, std::span<const uint8_t>(chunk).first(static_cast<size_t>(n))));
  return true;
}

void CommandRelay::DrainOutput(UniqueFd& pipe, FrameKind kind) {
  constexpr int kMostReads = 64;  // a page each, where the command wrote in small pieces
  for (int i = 0; i < kMostReads; ++i) {
    if (!TakeOutput(pipe, kind)) return;
  }
}

Status Refuse(FrameStream& stream, const Error& error) {
  stream.Queue(EncodeFrame(FrameKind::kRefused, error.Message()));
  return stream.FlushAll(MonotonicNanos() + kRequestPatienceNs);
}

Status ServeExec(FrameStream& stream, std::span<const uint8_t> payload, const SessionHooks& hooks) {
  auto request = DecodeExecRequest(payload);
  if (!request) return Refuse(stream, request.error());
  for (const auto& folder : request->shares) {
    if (auto status = hooks.share(folder); !status) return Refuse(stream, status.error());
  }
  for (const auto& file : request->resident) {
    if (auto status = hooks.keep_resident(file); !status) return Refuse(stream, status.error());
  }
  auto command = RemoteCommand::Start(*request);
  if (!command) return Refuse(stream, command.error());
  if (auto status = CommandRelay(stream, *command).Run(); !status) {
    command->Kill();
    return status;
  }
  stream.Queue(EncodeFrame(FrameKind::kExit, command->ExitCode()));
  return stream.FlushAll(MonotonicNanos() + kExitPatienceNs);
}

}  // namespace

Status ServeExecConnection(UniqueFd socket, const Token& token, const SessionHooks& hooks) {
  // A command may close its input at any time.
  ::signal(SIGPIPE, SIG_IGN);
  FrameStream stream(std::move(socket));
  const auto greeting = stream.ReceiveBytes(kGreetingBytes, MonotonicNanos() + kGreetingPatienceNs);
  if (!greeting) return Forward(greeting.error());
  if (!GreetingIsValid(*greeting, token)) return Fail(ErrorCode::kPermissionDenied, "a client without the token");

  const auto frame = stream.Receive(MonotonicNanos() + kRequestPatienceNs);
  if (!frame) return Forward(frame.error());
  switch (frame->kind) {
    case FrameKind::kExec:
      return ServeExec(stream, frame->payload, hooks);
    case FrameKind::kPing:
      stream.Queue(EncodeFrame(FrameKind::kPong));
      return stream.FlushAll(MonotonicNanos() + kRequestPatienceNs);
    case FrameKind::kPowerOff:
      hooks.power_off();
      return {};
    default:
      return Fail(ErrorCode::kCorrupt, "exec protocol: frame kind {} as a request", static_cast<int>(frame->kind));
  }
}

}  // namespace snapfaas::host
