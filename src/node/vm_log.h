// VmLog: takes what one microVM prints to its function's log, between the lines that Lambda puts around each request.
//
//   guest ─> VMM ─> pipe ─┬─ LogReader's thread: always ─────────┐
//                         └─ End: what is there at the answer ───┴─> lines ─> FunctionLog, tail of the request
//
// A guest flushes its output before it answers, and the VMM has put it into the pipe then: End needs to take what is
// there, and never waits. The VMM drops what a full pipe does not take. So a guest that prints without end costs the
// one reading thread, which serves all microVMs in turn, and nobody else; a line is cut at kMaxLine.
//
// What is printed outside of a request stands outside of the brackets. A line without an end is ended by End.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "node/function_log.h"

namespace snapfaas::node {

// One thread for the pipes and log files of all microVMs.
class LogReader {
 public:
  static Result<std::unique_ptr<LogReader>> Create();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;
  // REQUIRES: its VmLogs are gone.
  ~LogReader();

 private:
  friend class VmLog;
  explicit LogReader(std::unique_ptr<EventLoop> loop);

  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

// What stands in a request's REPORT.
struct RequestReport {
  enum class Start { kIdle, kRestored, kInit };  // kInit: from a base snapshot
  double duration_ms = 0;
  double start_ms = 0;  // of the restore, or of that and the function's load
  Start start = Start::kIdle;
  uint32_t memory_mib = 0;
  uint64_t used_mib = 0;
  std::string complaint;  // a line before END, e.g. of a timeout; empty: none
};

class VmLog {
 public:
  static constexpr size_t kMaxLine = 256_KiB;
  static constexpr size_t kTailBytes = 4_KiB;

  // The log may be shared with other microVMs of the function.
  static Result<VmLog> Create(LogReader& reader, std::shared_ptr<FunctionLog> log);

  VmLog(VmLog&&) noexcept = default;
  VmLog& operator=(VmLog&&) = delete;
  VmLog(const VmLog&) = delete;
  VmLog& operator=(const VmLog&) = delete;
  // Takes what is still in the pipe.
  ~VmLog();

  // The end for the VMM. Once.
  UniqueFd TakeWriter() { return std::move(writer_); }

  void Begin(const std::string& request_id, const std::string& version);

  // Returns the last kTailBytes of what the request has logged, START and REPORT included.
  std::string End(const RequestReport& report);

 private:
  class Stream;
  VmLog(LogReader& reader, std::shared_ptr<Stream> stream, UniqueFd writer);

  LogReader* reader_;
  std::shared_ptr<Stream> stream_;  // shared with the reader's thread
  UniqueFd writer_;
  std::string request_id_;
};

}  // namespace snapfaas::node
