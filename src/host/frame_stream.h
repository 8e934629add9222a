// FrameStream: one end of an exec connection, for use in a poll(2) loop. Never blocks, except where a deadline is
// named.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "host/exec_protocol.h"

namespace snapfaas::host {

class FrameStream {
 public:
  // Takes a connected stream socket and makes it non-blocking.
  explicit FrameStream(UniqueFd socket);

  int fd() const { return socket_.get(); }
  // Bytes that were queued and not yet taken by the socket: poll for POLLOUT while there are any.
  size_t unsent() const { return output_.size() - sent_; }
  // The events to poll for.
  short Events() const;

  void Queue(std::span<const uint8_t> bytes) { output_.insert(output_.end(), bytes.begin(), bytes.end()); }

  // Sends what the socket takes now. kUnavailable when the other side is gone.
  Status Flush();
  // Reads what is there now. kUnavailable when the other side has closed.
  Status Fill();
  // The next whole frame of what was read.
  Result<std::optional<ExecFrame>> Next() { return decoder_.Next(); }

  // Sends all that is queued, by `deadline_ns` (MonotonicNanos).
  Status FlushAll(int64_t deadline_ns);
  // Exactly `size` bytes, before any frame was read.
  Result<std::vector<uint8_t>> ReceiveBytes(size_t size, int64_t deadline_ns);
  Result<ExecFrame> Receive(int64_t deadline_ns);

 private:
  Status WaitFor(short events, int64_t deadline_ns) const;

  UniqueFd socket_;
  FrameDecoder decoder_;
  std::vector<uint8_t> output_;
  size_t sent_ = 0;
};

}  // namespace snapfaas::host
