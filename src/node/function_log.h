// FunctionLog: the log of one function, for all of its microVMs and versions: <folder>/<function>.log, text in lines.
//
// It may grow to a limit, then becomes <function>.log.1, in place of an older one, and a new one is begun. Places in it
// are counted from the first byte that the older file held when the node started, and go on through rotations.
//
// Append only remembers; whoever appends sees to it that Flush is called soon (vm_log.h). So a slow disk delays nobody,
// and beyond kMaxPending what comes is dropped, with a note in the log. No file stays open. A disk that is full loses
// text, and is told once until it takes some again.
//
// Every function may be called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "node/node_view.h"

namespace snapfaas::node {

class FunctionLog {
 public:
  static constexpr uint64_t kMaxPending = 1_MiB;

  struct Limits {
    uint64_t max_file_bytes = 10_MiB;  // exceeded by at most what is flushed at once
  };
  // Gets one line, without its end.
  using Warn = std::function<void(std::string_view line)>;

  // Makes no file.
  FunctionLog(std::filesystem::path path, const Limits& limits, Warn warn);
  FunctionLog(const FunctionLog&) = delete;
  FunctionLog& operator=(const FunctionLog&) = delete;
  ~FunctionLog() { Flush(); }

  // REQUIRES: whole lines.
  void Append(std::string_view lines);

  // Writes what is pending to the disk.
  void Flush();

  // From `from` on, or from the oldest byte that is left; a place beyond the end, as after a restart of the node, means
  // the end. Without a place: whole lines from the end. Flushes first. Nothing where nothing was logged.
  Result<NodeView::LogPiece> Read(std::optional<uint64_t> from, uint64_t max_bytes);

 private:
  std::filesystem::path OlderPath() const;
  // REQUIRES of these: file_mutex_ is held.
  void FlushLocked();
  Status Write(std::string_view text);
  Status RotateWhereFull(uint64_t more_bytes);
  void CountOlder();

  const std::filesystem::path path_;
  const Limits limits_;
  const Warn warn_;

  std::mutex mutex_;  // guards what follows
  std::string pending_;
  uint64_t dropped_bytes_ = 0;

  std::mutex file_mutex_;          // the files, and what follows; taken before mutex_
  std::optional<uint64_t> start_;  // the place of the newer file's first byte; unknown before the first use
  bool is_torn_ = false;           // the file ends within a line
  bool has_warned_ = false;
};

class FunctionLogs {
 public:
  FunctionLogs(std::filesystem::path folder, const FunctionLog::Limits& limits, FunctionLog::Warn warn);

  // kInvalidArgument: this can be no function's name. The same object at every call.
  Result<std::shared_ptr<FunctionLog>> Of(const std::string& function);

 private:
  const std::filesystem::path folder_;
  const FunctionLog::Limits limits_;
  const FunctionLog::Warn warn_;

  std::mutex mutex_;
  // Shared with the microVMs that write to them; kept, since places in a log are to mean the same at the next call.
  std::map<std::string, std::shared_ptr<FunctionLog>> logs_;
};

}  // namespace snapfaas::node
