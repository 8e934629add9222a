#include "host/qemu_monitor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "base/json.h"
#include "base/unique_fd.h"
#include "host/qemu_command.h"

namespace snapfaas::host {
namespace {

constexpr int64_t kPatienceNs = 5'000'000'000;
constexpr size_t kMaxLineBytes = size_t{64} << 10;

// A socket's path has 107 bytes at most, a folder's may have more: it is reached through its descriptor.
Result<UniqueFd> Connect(const std::filesystem::path& folder) {
  const UniqueFd at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at.valid()) return FailErrno(errno, "opening {}", folder.string());
  const std::string path = fmt::format("/proc/self/fd/{}/{}", at.get(), kMonitorSocket);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return FailErrno(errno, "making a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Fail(ErrorCode::kUnavailable, "the emulated host has no monitor in {} ({}): snapfaas host stop",
                folder.string(), std::strerror(errno));
  }
  return socket;
}

class Monitor {
 public:
  explicit Monitor(UniqueFd socket) : socket_(std::move(socket)), deadline_ns_(MonotonicNanos() + kPatienceNs) {}

  // The next message that has `member`; what comes before it, such as events, is of no interest.
  Result<nlohmann::json> ReadUntil(std::string_view member) {
    for (;;) {
      auto line = ReadLine();
      if (!line) return Forward(line.error());
      auto message = nlohmann::json::parse(*line, nullptr, /*allow_exceptions=*/false);
      if (message.is_discarded()) return Fail(ErrorCode::kCorrupt, "QEMU's monitor said '{}'", *line);
      if (message.contains("error")) {
        return Fail(ErrorCode::kSystem, "QEMU's monitor refused: {}", message["error"].dump());
      }
      if (message.contains(member)) return message;
    }
  }

  Status Send(const nlohmann::json& message) {
    const std::string line = message.dump() + "\n";
    // A request is shorter than any socket's buffer.
    const ssize_t n = ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL);
    if (n != static_cast<ssize_t>(line.size())) return FailErrno(n < 0 ? errno : EIO, "speaking to QEMU's monitor");
    return {};
  }

 private:
  Result<std::string> ReadLine() {
    for (;;) {
      if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      if (buffer_.size() > kMaxLineBytes) return Fail(ErrorCode::kCorrupt, "QEMU's monitor sends a line without end");
      auto filled = Fill();
      if (!filled) return Forward(filled.error());
    }
  }

  Status Fill() {
    pollfd waiting{socket_.get(), POLLIN, 0};
    const int64_t left_ms = std::max<int64_t>(0, (deadline_ns_ - MonotonicNanos()) / 1'000'000);
    if (::poll(&waiting, 1, static_cast<int>(left_ms)) <= 0) {
      return Fail(ErrorCode::kTimedOut, "QEMU's monitor does not answer");
    }
    std::array<char, 4096> piece{};
    const ssize_t n = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (n <= 0) return Fail(ErrorCode::kUnavailable, "QEMU has closed its monitor");
    buffer_.append(piece.data(), static_cast<size_t>(n));
    return {};
  }

  UniqueFd socket_;
  int64_t deadline_ns_;
  std::string buffer_;
};

std::string WithoutLineEnd(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> RunMonitorCommand(const std::filesystem::path& folder, std::string_view command) {
  auto socket = Connect(folder);
  if (!socket) return Forward(socket.error());
  Monitor monitor(std::move(*socket));
  auto greeting = monitor.ReadUntil("QMP");
  if (!greeting) return Forward(greeting.error());
  const nlohmann::json steps[] = {
      {{"execute", "qmp_capabilities"}},
      {{"execute", "human-monitor-command"}, {"arguments", {{"command-line", command}}}},
  };
  nlohmann::json last;
  for (const auto& step : steps) {
    auto sent = monitor.Send(step);
    if (!sent) return Forward(sent.error());
    auto answer = monitor.ReadUntil("return");
    if (!answer) return Forward(answer.error());
    last = std::move((*answer)["return"]);
  }
  if (!last.is_string()) return Fail(ErrorCode::kCorrupt, "QEMU's monitor answered {}", last.dump());
  return WithoutLineEnd(last.get<std::string>());
}

}  // namespace snapfaas::host
