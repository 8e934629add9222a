// LogSink: where a guest's console and log output goes. The guest may print for ever, so the bytes are counted, and
// nothing here waits for a slow reader.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/unique_fd.h"
#include "base/units.h"

namespace snapfaas::devices {

// Not thread-safe: the device that writes to it holds its own lock.
class LogSink {
 public:
  static constexpr uint64_t kDefaultLimit = 4_MiB;

  // Writes to `fd` (a file, pipe, terminal or stream socket); an invalid one discards everything. After `limit` bytes
  // of output one line says that the rest is dropped.
  explicit LogSink(UniqueFd fd, uint64_t limit = kDefaultLimit) : fd_(std::move(fd)), remaining_(limit) {}
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;
  ~LogSink() { Flush(); }

  // Keeps an unfinished last line (up to kMaxBuffered bytes) until it is finished or flushed. What a full pipe cannot
  // take at once is dropped.
  void Write(std::span<const uint8_t> bytes);
  void Flush();

 private:
  enum class Kind { kUnknown, kFile, kSocket, kOther };
  static constexpr size_t kMaxBuffered = 4096;

  void Append(std::span<const uint8_t> bytes);
  // Writes the first `size` buffered bytes and forgets them.
  void Emit(size_t size);
  // One piece of at most 4096 bytes. Returns how many bytes were taken; 0 when the reader is slow or gone.
  size_t WriteSome(std::span<const char> bytes);

  UniqueFd fd_;
  uint64_t remaining_;
  Kind kind_ = Kind::kUnknown;  // looked up at the first write
  std::string buffer_;
};

}  // namespace snapfaas::devices
