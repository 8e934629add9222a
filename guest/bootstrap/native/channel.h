// The request channel (docs/guest_contract.md): frames to and from the host.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

namespace snapfaas::guest::native {

// src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
inline constexpr size_t kMaxResponseBytes = 6'291'556;
inline constexpr size_t kMaxFrameBytes = kMaxResponseBytes + size_t{64} * 1024;

// Anonymous memory for one payload, reserved whole and touched as far as it is used, so that nothing is allocated while
// a request is on its way.
class PayloadMemory {
 public:
  explicit PayloadMemory(size_t bytes);
  ~PayloadMemory();
  PayloadMemory(const PayloadMemory&) = delete;
  PayloadMemory& operator=(const PayloadMemory&) = delete;

  char* data() const { return data_; }
  size_t size() const { return size_; }

  // Gives back what a large payload of `used` bytes has touched.
  void Shrink(size_t used);

 private:
  char* data_;
  size_t size_;
};

class Channel {
 public:
  explicit Channel(int fd) : fd_(fd), memory_(kMaxFrameBytes + kMaxHeaderBytes) {}

  int fd() const { return fd_; }

  struct Frame {
    std::string_view kind;  // empty: there is none yet
    std::string_view payload;
  };

  // The next frame as far as it can be had without waiting. The frame before it is gone then. Ends the process when the
  // host breaks the framing.
  Frame Next();

  // What poll(2) says of it; true too when no host is connected.
  bool HasSomethingToRead() const;

  // Reads what is there, and waits if nothing is. False: no host is connected now.
  bool Read();

  // Blocks until the host's side has taken all of it. Ends the process when it cannot.
  void Write(std::string_view kind, std::string_view payload);

 private:
  static constexpr size_t kMaxHeaderBytes = 64;

  int fd_;
  PayloadMemory memory_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t taken_ = 0;   // bytes of the frame that was handed out, at begin_
  size_t wanted_ = 0;  // bytes of a frame that is not complete
};

// Ends the process with one line on standard error: "snapfaas-bootstrap: <text>".
[[noreturn, gnu::format(printf, 1, 2)]] void Die(const char* format, ...);

}  // namespace snapfaas::guest::native
