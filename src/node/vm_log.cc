#include "node/vm_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <system_error>
#include <utility>

namespace snapfaas::node {
namespace {

constexpr int kPipeBytes = 256 * 1024;
constexpr size_t kPieceBytes = 64_KiB;
constexpr std::string_view kCut = " [cut]\n";

std::string StartLine(const std::string& request_id, const std::string& version) {
  return fmt::format("START RequestId: {} Version: {}\n", request_id, version);
}

std::string LastLines(const std::string& request_id, const RequestReport& report) {
  std::string text;
  if (!report.complaint.empty()) text += report.complaint + "\n";
  text += fmt::format(
      "END RequestId: {0}\n"
      "REPORT RequestId: {0}\tDuration: {1:.2f} ms\tBilled Duration: {2:.0f} ms\tMemory Size: {3} MB\t"
      "Max Memory Used: {4} MB\t",
      request_id, report.duration_ms, std::ceil(report.duration_ms), report.memory_mib, report.used_mib);
  if (report.start == RequestReport::Start::kRestored)
    text += fmt::format("Restore Duration: {:.2f} ms\t", report.start_ms);
  if (report.start == RequestReport::Start::kInit) text += fmt::format("Init Duration: {:.2f} ms\t", report.start_ms);
  return text + "\n";
}

}  // namespace

LogReader::LogReader(std::unique_ptr<EventLoop> loop)
    : loop_(std::move(loop)), thread_([this] { (void)loop_->Run(); }) {}

LogReader::~LogReader() {
  loop_->Stop();
  thread_.join();
}

Result<std::unique_ptr<LogReader>> LogReader::Create() {
  auto loop = EventLoop::Create();
  if (!loop) return Forward(loop.error());
  try {
    return std::unique_ptr<LogReader>(new LogReader(std::move(*loop)));
  } catch (const std::system_error& failure) {
    return FailErrno(failure.code().value(), "starting the thread that reads logs");
  }
}

// The reading end of the pipe and what came out of it.
class VmLog::Stream : public std::enable_shared_from_this<VmLog::Stream> {
 public:
  Stream(EventLoop& loop, std::shared_ptr<FunctionLog> log, UniqueFd pipe)
      : loop_(loop), log_(std::move(log)), pipe_(std::move(pipe)) {}

  Status Watch() {
    auto watch = loop_.Add(pipe_.get(), EPOLLIN, [weak = weak_from_this()](uint32_t) {
      if (const auto stream = weak.lock()) stream->OnReadable();
    });
    if (!watch) return Forward(watch.error());
    const std::lock_guard lock(mutex_);
    watch_ = std::move(*watch);
    return {};
  }

  // On the loop's thread.
  void Unwatch() { watch_.Reset(); }

  void Begin(std::string_view start_line) {
    const std::lock_guard lock(mutex_);
    // What came before belongs to nobody's request.
    Drain();
    EndLine();
    tail_.clear();
    in_request_ = true;
    Emit(start_line);
  }

  std::string End(std::string_view last_lines) {
    const std::lock_guard lock(mutex_);
    Drain();
    EndLine();
    Emit(last_lines);
    in_request_ = false;
    std::string tail = std::exchange(tail_, {});
    if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
    return tail;
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    Drain();
    EndLine();
  }

 private:
  // On the loop's thread: one piece, then it is another pipe's turn.
  void OnReadable() {
    const std::lock_guard lock(mutex_);
    (void)TakePiece();
    if (has_ended_) watch_.Reset();
  }

  // What a pipe may hold, and no more: a guest that goes on printing holds up nobody.
  void Drain() {
    for (size_t taken = 0; taken < static_cast<size_t>(kPipeBytes);) {
      const size_t piece = TakePiece();
      if (piece == 0) return;
      taken += piece;
    }
  }

  size_t TakePiece() {
    if (has_ended_) return 0;
    std::array<char, kPieceBytes> bytes;
    const ssize_t got = ::read(pipe_.get(), bytes.data(), bytes.size());
    if (got > 0) {
      TakeText({bytes.data(), static_cast<size_t>(got)});
      return static_cast<size_t>(got);
    }
    has_ended_ = got == 0 || (errno != EAGAIN && errno != EINTR);
    return 0;
  }

  void TakeText(std::string_view text) {
    const size_t whole = text.rfind('\n');
    if (whole == std::string_view::npos) {
      ExtendLine(text);
      return;
    }
    const size_t first = text.find('\n');
    ExtendLine(text.substr(0, first));
    EndLine(LineEnd::kThere);
    if (whole > first) Emit(text.substr(first + 1, whole - first));
    ExtendLine(text.substr(whole + 1));
  }

  void ExtendLine(std::string_view text) {
    const size_t room = kMaxLine - line_.size();
    line_.append(text.substr(0, room));
    if (text.size() > room) is_cut_ = true;
  }

  enum class LineEnd { kThere, kMissing };
  void EndLine(LineEnd end = LineEnd::kMissing) {
    if (line_.empty() && end == LineEnd::kMissing) return;
    line_ += is_cut_ ? kCut : "\n";
    Emit(line_);
    line_.clear();
    if (line_.capacity() > kPieceBytes) line_.shrink_to_fit();
    is_cut_ = false;
  }

  // Whole lines.
  void Emit(std::string_view lines) {
    if (in_request_) {
      tail_.append(lines.substr(lines.size() - std::min(lines.size(), kTailBytes)));
      if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    }
    log_->Append(lines);
    if (flush_is_due_.exchange(true)) return;
    loop_.Post([stream = shared_from_this()] {
      stream->flush_is_due_ = false;
      stream->log_->Flush();
    });
  }

  EventLoop& loop_;
  const std::shared_ptr<FunctionLog> log_;
  const UniqueFd pipe_;
  std::atomic<bool> flush_is_due_ = false;

  std::mutex mutex_;  // guards what follows
  std::string line_;  // without its end
  bool is_cut_ = false;
  bool in_request_ = false;
  bool has_ended_ = false;  // nobody can write to the pipe any more
  std::string tail_;
  EventLoop::Watch watch_;  // last: it goes before the pipe is closed
};

VmLog::VmLog(LogReader& reader, std::shared_ptr<Stream> stream, UniqueFd writer)
    : reader_(&reader), stream_(std::move(stream)), writer_(std::move(writer)) {}

Result<VmLog> VmLog::Create(LogReader& reader, std::shared_ptr<FunctionLog> log) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno(errno, "making a pipe for a function's log");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) return FailErrno(errno, "setting up a pipe for a function's log");
  // A smaller one will do where the system's limit for all pipes is reached.
  (void)::fcntl(ours.get(), F_SETPIPE_SZ, kPipeBytes);
  auto stream = std::make_shared<Stream>(*reader.loop_, std::move(log), std::move(ours));
  auto watched = stream->Watch();
  if (!watched) return Forward(watched.error());
  return VmLog(reader, std::move(stream), std::move(theirs));
}

VmLog::~VmLog() {
  if (!stream_) return;
  stream_->Close();
  reader_->loop_->Post([stream = std::move(stream_)] { stream->Unwatch(); });
}

void VmLog::Begin(const std::string& request_id, const std::string& version) {
  request_id_ = request_id;
  stream_->Begin(StartLine(request_id, version));
}

std::string VmLog::End(const RequestReport& report) { return stream_->End(LastLines(request_id_, report)); }

}  // namespace snapfaas::node
