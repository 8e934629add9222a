#include "bootstrap/native/channel.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace snapfaas::guest::native {
namespace {

// What stays in memory of a payload's buffer.
constexpr size_t kKeptBytes = size_t{128} << 10;
// What is there from the start: most payloads are smaller.
constexpr size_t kPresentBytes = size_t{16} << 10;

}  // namespace

void Die(const char* format, ...) {
  char line[512] = "snapfaas-bootstrap: ";
  const size_t used = std::strlen(line);
  va_list args;
  va_start(args, format);
  std::vsnprintf(line + used, sizeof(line) - used - 1, format, args);
  va_end(args);
  std::strcat(line, "\n");
  if (::write(STDERR_FILENO, line, std::strlen(line)) < 0) ::_exit(1);
  ::_exit(1);
}

PayloadMemory::PayloadMemory(size_t bytes) : size_(bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) Die("no memory for payloads");
  data_ = static_cast<char*>(memory);
  ::madvise(data_, kPresentBytes, MADV_POPULATE_WRITE);
}

PayloadMemory::~PayloadMemory() { ::munmap(data_, size_); }

void PayloadMemory::Shrink(size_t used) {
  if (used > kKeptBytes) ::madvise(data_ + kKeptBytes, size_ - kKeptBytes, MADV_DONTNEED);
}

Channel::Frame Channel::Next() {
  begin_ += taken_;
  taken_ = 0;
  if (begin_ == end_) {
    memory_.Shrink(end_);
    begin_ = end_ = 0;
  }
  const std::string_view ahead(memory_.data() + begin_, end_ - begin_);
  const size_t line_end = ahead.substr(0, kMaxHeaderBytes).find('\n');
  if (line_end == std::string_view::npos) {
    if (ahead.size() >= kMaxHeaderBytes) Die("the host sent a frame header without an end");
    wanted_ = kMaxHeaderBytes;
    return {};
  }
  const std::string_view header = ahead.substr(0, line_end);
  const size_t space = header.find(' ');
  const std::string_view digits = space == std::string_view::npos ? std::string_view() : header.substr(space + 1);
  size_t length = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (space == 0 || digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() ||
      length > kMaxFrameBytes) {
    Die("the host sent a malformed frame header");
  }
  wanted_ = line_end + 1 + length;
  if (ahead.size() < wanted_) return {};
  taken_ = wanted_;
  return {header.substr(0, space), ahead.substr(line_end + 1, length)};
}

bool Channel::HasSomethingToRead() const {
  pollfd poll{fd_, POLLIN, 0};
  return ::poll(&poll, 1, 0) > 0;
}

bool Channel::Read() {
  // A frame that does not fit behind what was there before it goes to the front.
  if (begin_ > 0 && taken_ == 0 && begin_ + wanted_ > memory_.size()) {
    std::memmove(memory_.data(), memory_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const ssize_t got = ::read(fd_, memory_.data() + end_, memory_.size() - end_);
  if (got < 0 && errno != EINTR && errno != EAGAIN) Die("cannot read the request channel: %s", std::strerror(errno));
  if (got > 0) end_ += static_cast<size_t>(got);
  return got != 0;
}

void Channel::Write(std::string_view kind, std::string_view payload) {
  char header[kMaxHeaderBytes];
  const int length =
      std::snprintf(header, sizeof(header), "%.*s %zu\n", static_cast<int>(kind.size()), kind.data(), payload.size());
  std::string_view head(header, static_cast<size_t>(length));
  while (!head.empty() || !payload.empty()) {
    // writev only reads them.
    const iovec pieces[] = {{const_cast<char*>(head.data()), head.size()},
                            {const_cast<char*>(payload.data()), payload.size()}};
    const ssize_t put = ::writev(fd_, pieces, 2);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) Die("cannot write to the request channel: %s", std::strerror(errno));
    const size_t of_head = std::min(static_cast<size_t>(put), head.size());
    head.remove_prefix(of_head);
    payload.remove_prefix(static_cast<size_t>(put) - of_head);
  }
}

}  // namespace snapfaas::guest::native
