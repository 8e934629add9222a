// Frames: how requests and responses cross the request channel (docs/guest_contract.md, "Request channel").
//
// A frame is a header line "<kind> <length>\n" (kind: 1 to 31 of [a-z-]; length: decimal) and then `length` bytes.
// The header is text so that every language, the shell included, reads it with its own read-a-line function.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace snapfaas::wire {

// AWS Lambda's limit of 6 MB for requests and 6,291,556 bytes for responses, and room for error reports.
inline constexpr size_t kMaxFrameBytes = 6'291'556 + 64 * 1024;

struct Frame {
  std::string kind;
  std::string payload;
};

std::string EncodeFrame(std::string_view kind, std::string_view payload);

// Takes a byte stream in pieces of any size, yields frames. The other side is hostile: a malformed header or a length
// above the limit is an error, after which the stream is of no further use.
class FrameParser {
 public:
  explicit FrameParser(size_t max_payload = kMaxFrameBytes) : max_payload_(max_payload) {}

  void Append(std::string_view bytes) { buffer_.append(bytes); }

  // The next whole frame; nothing when more bytes are needed.
  Result<std::optional<Frame>> Next();

 private:
  size_t max_payload_;
  std::string buffer_;
};

// Writes a whole frame to a stream socket or pipe, blocking until `deadline_ns` (MonotonicNanos) at most.
Status WriteFrame(int fd, std::string_view kind, std::string_view payload, int64_t deadline_ns);

// Reads until `parser` yields a frame. kTimedOut at the deadline, kUnavailable when the other side has closed.
Result<Frame> ReadFrame(int fd, FrameParser& parser, int64_t deadline_ns);

}  // namespace snapfaas::wire
