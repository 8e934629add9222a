#include "wire/frame.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/clock.h"

namespace snapfaas::wire {
namespace {

constexpr size_t kMaxKind = 31;
constexpr size_t kMaxHeader = kMaxKind + 1 + 20;

bool IsKind(std::string_view kind) {
  return !kind.empty() && kind.size() <= kMaxKind &&
         std::all_of(kind.begin(), kind.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

// Waits for `events`; kTimedOut at the deadline.
Status WaitFor(int fd, short events, int64_t deadline_ns) {
  for (;;) {
    const int64_t left = deadline_ns - MonotonicNanos();
    if (left <= 0) return Fail(ErrorCode::kTimedOut, "the deadline passed");
    pollfd poll_fd{fd, events, 0};
    const int64_t millis = std::min<int64_t>(left / 1'000'000 + 1, 1'000'000);
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(millis));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return FailErrno(errno, "waiting on the channel");
  }
}

}  // namespace

std::string EncodeFrame(std::string_view kind, std::string_view payload) {
  return fmt::format("{} {}\n{}", kind, payload.size(), payload);
}

Result<std::optional<Frame>> FrameParser::Next() {
  const size_t newline = buffer_.find('\n');
  if (std::min(newline, buffer_.size()) > kMaxHeader) return Fail(ErrorCode::kCorrupt, "a frame header has no end");
  if (newline == std::string::npos) return std::optional<Frame>();
  const std::string_view header = std::string_view(buffer_).substr(0, newline);
  const size_t space = header.find(' ');
  size_t length = 0;
  const char* end = header.data() + header.size();
  const auto parsed = space == std::string_view::npos ? std::from_chars_result{}
                                                      : std::from_chars(header.data() + space + 1, end, length);
  if (space == std::string_view::npos || !IsKind(header.substr(0, space)) || parsed.ec != std::errc() ||
      parsed.ptr != end) {
    return Fail(ErrorCode::kCorrupt, "a frame header is malformed");
  }
  if (length > max_payload_) {
    return Fail(ErrorCode::kCorrupt, "a frame of {} bytes is above the limit of {}", length, max_payload_);
  }
  if (buffer_.size() - newline - 1 < length) return std::optional<Frame>();
  Frame frame{std::string(header.substr(0, space)), buffer_.substr(newline + 1, length)};
  buffer_.erase(0, newline + 1 + length);
  return std::optional<Frame>(std::move(frame));
}

Status WriteFrame(int fd, std::string_view kind, std::string_view payload, int64_t deadline_ns) {
  const std::string bytes = EncodeFrame(kind, payload);
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) {
      return Fail(ErrorCode::kUnavailable, "the other side closed the channel");
    }
    if (errno != EAGAIN) return FailErrno(errno, "writing to the channel");
    auto ready = WaitFor(fd, POLLOUT, deadline_ns);
    if (!ready) return ready;
  }
  return {};
}

Result<Frame> ReadFrame(int fd, FrameParser& parser, int64_t deadline_ns) {
  std::array<char, 65536> chunk;
  for (;;) {
    auto frame = parser.Next();
    if (!frame) return Forward(frame.error());
    if (frame->has_value()) return std::move(**frame);
    auto ready = WaitFor(fd, POLLIN, deadline_ns);
    if (!ready) return Forward(ready.error());
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) {
      parser.Append({chunk.data(), static_cast<size_t>(got)});
    } else if (got == 0 || errno == ECONNRESET) {
      return Fail(ErrorCode::kUnavailable, "the other side closed the channel");
    } else if (errno != EAGAIN && errno != EINTR) {
      return FailErrno(errno, "reading from the channel");
    }
  }
}

}  // namespace snapfaas::wire
