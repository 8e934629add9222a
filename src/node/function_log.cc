#include "node/function_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/unique_fd.h"

namespace snapfaas::node {
namespace {

// 0 where there is none.
uint64_t SizeOf(const std::filesystem::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

// Up to `max` bytes of the file from `offset` on; nothing where there is no such file.
Result<std::string> ReadPart(const std::filesystem::path& path, uint64_t offset, uint64_t max) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT) return std::string();
  if (!file.valid()) return FailErrno(errno, "opening the log {}", path.string());
  std::string text(static_cast<size_t>(max), '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::pread(file.get(), text.data() + size, text.size() - size, static_cast<off_t>(offset + size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "reading the log {}", path.string());
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

bool IsFunctionName(std::string_view name) {
  constexpr size_t kMaxLength = 64;
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= kMaxLength && std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

FunctionLog::FunctionLog(std::filesystem::path path, const Limits& limits, Warn warn)
    : path_(std::move(path)), limits_(limits), warn_(std::move(warn)) {}

std::filesystem::path FunctionLog::OlderPath() const { return path_.string() + ".1"; }

void FunctionLog::Append(std::string_view lines) {
  const std::lock_guard lock(mutex_);
  if (pending_.size() + lines.size() > kMaxPending) {
    dropped_bytes_ += lines.size();
  } else {
    pending_.append(lines);
  }
}

void FunctionLog::Flush() {
  const std::lock_guard file_lock(file_mutex_);
  FlushLocked();
}

void FunctionLog::FlushLocked() {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    text = std::exchange(pending_, {});
    if (const uint64_t dropped = std::exchange(dropped_bytes_, 0); dropped > 0) {
      text += fmt::format("[snapfaas: {} bytes came faster than the disk takes them and are dropped]\n", dropped);
    }
  }
  if (text.empty()) return;
  auto written = RotateWhereFull(text.size());
  if (written) written = Write(text);
  if (written) {
    has_warned_ = false;
  } else if (!std::exchange(has_warned_, true) && warn_) {
    warn_(fmt::format("what functions print is lost: {}", written.error().Message()));
  }
}

void FunctionLog::CountOlder() {
  if (!start_) start_ = SizeOf(OlderPath());
}

Status FunctionLog::RotateWhereFull(uint64_t more_bytes) {
  CountOlder();
  const uint64_t size = SizeOf(path_);
  if (size == 0 || size + more_bytes <= limits_.max_file_bytes) return {};
  if (::rename(path_.c_str(), OlderPath().c_str()) != 0) {
    return FailErrno(errno, "renaming {} to {}", path_.string(), OlderPath().string());
  }
  *start_ += size;
  is_torn_ = false;
  return {};
}

Status FunctionLog::Write(std::string_view text) {
  UniqueFd file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid() && errno == ENOENT) {
    std::error_code ignored;  // the next error says as much
    std::filesystem::create_directories(path_.parent_path(), ignored);
    file.Reset(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  }
  if (!file.valid()) return FailErrno(errno, "opening the log {}", path_.string());
  if (is_torn_) (void)!::write(file.get(), "\n", 1);
  is_torn_ = false;
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno(errno, "writing the log {}", path_.string());
    is_torn_ = text[static_cast<size_t>(written) - 1] != '\n';
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Result<NodeView::LogPiece> FunctionLog::Read(std::optional<uint64_t> from, uint64_t max_bytes) {
  const std::lock_guard file_lock(file_mutex_);
  FlushLocked();
  CountOlder();
  const uint64_t start = *start_;
  const uint64_t end = start + SizeOf(path_);
  const uint64_t oldest = start - std::min(start, SizeOf(OlderPath()));
  const uint64_t max = std::min(max_bytes, end - oldest);
  const uint64_t at = std::clamp(from.value_or(end - max), oldest, end);
  NodeView::LogPiece piece;
  if (at < start) {
    auto older = ReadPart(OlderPath(), at - oldest, std::min(max, start - at));
    if (!older) return Forward(older.error());
    piece.text = std::move(*older);
  }
  if (const uint64_t next = at + piece.text.size(); next >= start && piece.text.size() < max) {
    auto newer = ReadPart(path_, next - start, max - piece.text.size());
    if (!newer) return Forward(newer.error());
    piece.text += *newer;
  }
  piece.next = at + piece.text.size();
  if (!from && at > oldest) {
    const size_t line_end = piece.text.find('\n');
    piece.text.erase(0, line_end == std::string::npos ? 0 : line_end + 1);
  }
  return piece;
}

FunctionLogs::FunctionLogs(std::filesystem::path folder, const FunctionLog::Limits& limits, FunctionLog::Warn warn)
    : folder_(std::move(folder)), limits_(limits), warn_(std::move(warn)) {}

Result<std::shared_ptr<FunctionLog>> FunctionLogs::Of(const std::string& function) {
  if (!IsFunctionName(function)) return Fail(ErrorCode::kInvalidArgument, "'{}' is no name of a function", function);
  const std::lock_guard lock(mutex_);
  auto& log = logs_[function];
  if (!log) log = std::make_shared<FunctionLog>(folder_ / (function + ".log"), limits_, warn_);
  return log;
}

}  // namespace snapfaas::node
