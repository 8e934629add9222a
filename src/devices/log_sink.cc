#include "devices/log_sink.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace snapfaas::devices {
namespace {

constexpr std::string_view kLimitNote = "\n[output limit reached: the rest is dropped]\n";

}  // namespace

void LogSink::Write(std::span<const uint8_t> bytes) {
  if (!fd_.valid() || bytes.empty()) return;
  if (bytes.size() <= remaining_) {
    remaining_ -= bytes.size();
    Append(bytes);
    return;
  }
  Append(bytes.first(static_cast<size_t>(remaining_)));
  Flush();
  buffer_ = kLimitNote;
  Flush();
  remaining_ = 0;
  fd_.Reset();
}

void LogSink::Flush() { Emit(buffer_.size()); }

void LogSink::Append(std::span<const uint8_t> bytes) {
  const bool ends_line = std::find(bytes.begin(), bytes.end(), uint8_t{'\n'}) != bytes.end();
  while (!bytes.empty()) {
    const size_t piece = std::min(bytes.size(), kMaxBuffered - buffer_.size());
    const auto part = bytes.first(piece);
    buffer_.append(part.begin(), part.end());
    bytes = bytes.subspan(piece);
    if (buffer_.size() == kMaxBuffered) Flush();
  }
  const size_t newline = ends_line ? buffer_.rfind('\n') : std::string::npos;
  if (newline != std::string::npos) Emit(newline + 1);
}

void LogSink::Emit(size_t size) {
  std::string_view rest = std::string_view(buffer_).substr(0, size);
  while (!rest.empty() && fd_.valid()) {
    const size_t taken = WriteSome(rest);
    if (taken == 0) break;
    rest.remove_prefix(taken);
  }
  buffer_.erase(0, size);
}

size_t LogSink::WriteSome(std::span<const char> bytes) {
  if (kind_ == Kind::kUnknown) {
    struct stat status {};
    const bool known = ::fstat(fd_.get(), &status) == 0;
    kind_ = known && S_ISREG(status.st_mode)    ? Kind::kFile
            : known && S_ISSOCK(status.st_mode) ? Kind::kSocket
                                                : Kind::kOther;
  }
  if (kind_ == Kind::kOther) {
    // Not O_NONBLOCK: that would change the descriptor for whoever shares it. A pipe that polls writable takes a page.
    pollfd poll_fd{fd_.get(), POLLOUT, 0};
    if (::poll(&poll_fd, 1, 0) <= 0 || (poll_fd.revents & POLLOUT) == 0 || (poll_fd.revents & POLLERR) != 0) return 0;
  }
  for (;;) {
    const ssize_t written = kind_ == Kind::kSocket
                                ? ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                : ::write(fd_.get(), bytes.data(), bytes.size());
    if (written >= 0) return static_cast<size_t>(written);
    if (errno != EINTR) return 0;
  }
}

}  // namespace snapfaas::devices
