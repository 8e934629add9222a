#include "host/frame_stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"

namespace snapfaas::host {
namespace {

constexpr size_t kReadChunk = size_t{64} << 10;

bool WouldBlock(int os_errno) { return os_errno == EAGAIN || os_errno == EWOULDBLOCK || os_errno == EINTR; }

tl::unexpected<Error> FailGone() {
  return Fail(ErrorCode::kUnavailable, "the exec connection of the emulated host was closed by the other side");
}

}  // namespace

FrameStream::FrameStream(UniqueFd socket) : socket_(std::move(socket)) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  // Small frames must not wait for each other. Fails on a Unix socket, where it has no meaning.
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

short FrameStream::Events() const { return static_cast<short>(unsent() > 0 ? POLLIN | POLLOUT : POLLIN); }

Status FrameStream::Flush() {
  while (unsent() > 0) {
    const ssize_t n = ::send(fd(), output_.data() + sent_, unsent(), MSG_NOSIGNAL);
    if (n < 0 && WouldBlock(errno)) return {};
    if (n < 0) return FailGone();
    sent_ += static_cast<size_t>(n);
  }
  output_.clear();
  sent_ = 0;
  return {};
}

Status FrameStream::Fill() {
  std::array<uint8_t, kReadChunk> chunk;
  const ssize_t n = ::recv(fd(), chunk.data(), chunk.size(), 0);
  if (n < 0 && WouldBlock(errno)) return {};
  if (n <= 0) return FailGone();
  decoder_.Append(std::span(chunk).first(static_cast<size_t>(n)));
  return {};
}

Status FrameStream::WaitFor(short events, int64_t deadline_ns) const {
  const int64_t left_ms = (deadline_ns - MonotonicNanos()) / 1'000'000;
  if (left_ms <= 0) return Fail(ErrorCode::kTimedOut, "the emulated host's exec server does not answer");
  pollfd wait{fd(), events, 0};
  if (::poll(&wait, 1, static_cast<int>(std::min<int64_t>(left_ms, 60'000))) < 0 && errno != EINTR) {
    return FailErrno(errno, "waiting for the exec connection");
  }
  return {};
}

Status FrameStream::FlushAll(int64_t deadline_ns) {
  for (;;) {
    if (auto status = Flush(); !status) return status;
    if (unsent() == 0) return {};
    if (auto status = WaitFor(POLLOUT, deadline_ns); !status) return status;
  }
}

Result<std::vector<uint8_t>> FrameStream::ReceiveBytes(size_t size, int64_t deadline_ns) {
  std::vector<uint8_t> bytes(size);
  size_t have = 0;
  while (have < size) {
    const ssize_t n = ::recv(fd(), bytes.data() + have, size - have, 0);
    if (n > 0) {
      have += static_cast<size_t>(n);
    } else if (n == 0 || !WouldBlock(errno)) {
      return FailGone();
    } else if (auto status = WaitFor(POLLIN, deadline_ns); !status) {
      return Forward(status.error());
    }
  }
  return bytes;
}

Result<ExecFrame> FrameStream::Receive(int64_t deadline_ns) {
  for (;;) {
    auto frame = Next();
    if (!frame) return Forward(frame.error());
    if (frame->has_value()) return std::move(**frame);
    if (auto status = WaitFor(POLLIN, deadline_ns); !status) return Forward(status.error());
    if (auto status = Fill(); !status) return Forward(status.error());
  }
}

}  // namespace snapfaas::host
