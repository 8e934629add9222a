#include "host/emulated_host.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "host/exec_client.h"
#include "host/free_port.h"
#include "host/host_record.h"
#include "host/machine_setup.h"
#include "host/process.h"
#include "host/qemu_command.h"
#include "host/qemu_monitor.h"

namespace snapfaas::host {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBootPatienceNs = 120'000'000'000;
constexpr std::chrono::milliseconds kStopPatience{5000};
constexpr std::chrono::milliseconds kBootPoll{20};
constexpr size_t kQuotedLines = 12;

// A run folder as one caller sees it while it holds the lock.
class RunFolder {
 public:
  explicit RunFolder(fs::path path) : path_(std::move(path)) {}

  const fs::path& path() const { return path_; }
  fs::path record() const { return path_ / "host.json"; }
  fs::path token() const { return path_ / "token"; }
  fs::path console_log() const { return path_ / "console.log"; }
  fs::path qemu_log() const { return path_ / "qemu.log"; }

  Status Make() const {
    std::error_code failure;
    fs::create_directories(path_, failure);
    if (!failure) fs::permissions(path_, fs::perms::owner_all, failure);
    if (failure) return FailErrno(failure.value(), "making {}", path_.string());
    return {};
  }

  void Remove() const {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  // Nothing when no host was started, or its start was broken off before there was a process.
  std::optional<HostRecord> Read() const {
    const auto text = ReadPrivateFile(record());
    if (!text) return std::nullopt;
    const auto decoded = DecodeHostRecord(*text);
    if (!decoded) return std::nullopt;
    return *decoded;
  }

  Result<Token> ReadToken() const {
    const auto bytes = ReadPrivateFile(token());
    if (!bytes) return Forward(bytes.error());
    Token read{};
    if (bytes->size() != read.size()) return Fail(ErrorCode::kCorrupt, "{} is damaged", token().string());
    std::memcpy(read.data(), bytes->data(), read.size());
    return read;
  }

  // What a person needs to see when it did not start, or died.
  std::string LastWords() const {
    std::string words;
    for (const auto& [name, file] : {std::pair{"QEMU", qemu_log()}, std::pair{"its console", console_log()}}) {
      const auto lines = LastLines(file, kQuotedLines);
      if (!lines.empty()) words += fmt::format("\nThe last lines of {}:\n{}", name, lines);
    }
    return words;
  }

 private:
  fs::path path_;
};

Result<UniqueFd> LockStateFolder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return FailErrno(failure.value(), "making {}", folder.string());
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::flock(fd.get(), LOCK_EX) != 0) return FailErrno(errno, "locking {}", folder.string());
  return fd;
}

HostStatus StatusOf(const HostRecord& record, HostStatus::State state) {
  HostStatus status;
  status.state = state;
  status.pid = record.process.pid;
  status.port = record.port;
  status.memory_mib = record.memory_mib;
  status.started_unix = record.started_unix;
  return status;
}

Result<HostRecord> Launch(const RunFolder& run, const HostImages& images, HostClock clock) {
  const auto token = NewToken();
  if (!token) return Forward(token.error());
  const std::string token_text(token->begin(), token->end());
  if (auto status = WritePrivateFile(run.token(), token_text); !status) return Forward(status.error());
  const auto port = FindFreePort();
  if (!port) return Forward(port.error());

  HostRecord record;
  record.port = *port;
  record.memory_mib = ChooseMemoryMib(AvailableMemoryMib());
  record.started_unix = RealtimeNanos() / 1'000'000'000;
  auto process = StartDaemon(QemuCommand({images.kernel, images.initramfs, run.token(), run.console_log(),
                                          record.memory_mib, record.port, clock}),
                             run.qemu_log(), run.path());
  if (!process) {
    if (process.error().code != ErrorCode::kNotFound) return Forward(process.error());
    return Fail(ErrorCode::kNotFound, "{} is not installed: apt-get install qemu-system-x86", kQemuProgram);
  }
  record.process = *process;
  if (auto status = WritePrivateFile(run.record(), EncodeHostRecord(record)); !status) {
    KillProcess(record.process);
    return Forward(status.error());
  }
  return record;
}

Status WaitUntilReady(const RunFolder& run, const HostRecord& record) {
  const int64_t deadline = MonotonicNanos() + kBootPatienceNs;
  for (;;) {
    const auto console = LastLines(run.console_log(), kQuotedLines);
    if (console.find(kReadyLine) != std::string::npos) break;
    if (!IsAlive(record.process) || console.find(kFailedLine) != std::string::npos) {
      return Fail(ErrorCode::kUnavailable, "the emulated host did not start");
    }
    if (MonotonicNanos() > deadline) {
      return Fail(ErrorCode::kTimedOut, "the emulated host was not ready after {} s", kBootPatienceNs / 1'000'000'000);
    }
    std::this_thread::sleep_for(kBootPoll);
  }
  const auto token = run.ReadToken();
  if (!token) return Forward(token.error());
  auto stream = ConnectToExecServer(record.port, *token);
  if (!stream) return Forward(stream.error());
  return PingExecServer(*stream);
}

// The environment of this process, less what names things that exist outside only.
std::vector<std::string> ForwardedEnvironment() {
  constexpr std::array<std::string_view, 7> kLeftOut{
      "DBUS_SESSION_BUS_ADDRESS=", "DISPLAY=", "SSH_", "TMPDIR=", "WAYLAND_DISPLAY=", "XAUTHORITY=",
      "XDG_RUNTIME_DIR="};
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const auto starts_it = [&](std::string_view name) { return text.starts_with(name); };
    if (std::none_of(kLeftOut.begin(), kLeftOut.end(), starts_it)) environment.emplace_back(text);
  }
  return environment;
}

}  // namespace

Result<HostStatus> EmulatedHost::Query() const {
  const auto lock = LockStateFolder(state_dir_);
  if (!lock) return Forward(lock.error());
  const RunFolder run(run_dir());
  const auto record = run.Read();
  if (!record) {
    run.Remove();
    return HostStatus();
  }
  if (IsAlive(record->process)) return StatusOf(*record, HostStatus::State::kRunning);
  auto status = StatusOf(*record, HostStatus::State::kDied);
  status.last_console = run.LastWords();
  run.Remove();
  return status;
}

Result<HostStatus> EmulatedHost::Start(const std::function<Result<HostImages>()>& images, const Progress& progress,
                                       HostClock clock) const {
  const auto lock = LockStateFolder(state_dir_);
  if (!lock) return Forward(lock.error());
  const RunFolder run(run_dir());
  auto record = run.Read();
  // One that is alive may still be booting: its starter was killed, or we would not have the lock.
  const bool was_alive = record && IsAlive(record->process);
  if (!was_alive) {
    run.Remove();
    const auto ready_images = images();
    if (!ready_images) return Forward(ready_images.error());
    if (progress) progress("starting the emulated host");
    if (auto status = run.Make(); !status) return Forward(status.error());
    auto launched = Launch(run, *ready_images, clock);
    if (!launched) {
      run.Remove();
      return Forward(launched.error());
    }
    record = *launched;
  }
  if (auto status = WaitUntilReady(run, *record); !status) {
    KillProcess(record->process);
    auto error = status.error();
    error.context += run.LastWords();
    run.Remove();
    return Forward(std::move(error));
  }
  return StatusOf(*record, HostStatus::State::kRunning);
}

Status EmulatedHost::Stop() const {
  const auto lock = LockStateFolder(state_dir_);
  if (!lock) return Forward(lock.error());
  const RunFolder run(run_dir());
  const auto record = run.Read();
  if (record && IsAlive(record->process)) {
    if (const auto token = run.ReadToken(); token) {
      if (auto stream = ConnectToExecServer(record->port, *token); stream) {
        stream->Queue(EncodeFrame(FrameKind::kPowerOff));
        // Where this fails it is killed below.
        [[maybe_unused]] const auto sent = stream->FlushAll(MonotonicNanos() + 1'000'000'000);
        WaitUntilGone(record->process, kStopPatience);
      }
    }
    KillProcess(record->process);
  }
  run.Remove();
  return {};
}

Result<int> EmulatedHost::Exec(const ExecRequest& request) const {
  const RunFolder run(run_dir());
  const auto record = run.Read();
  if (!record || !IsAlive(record->process)) {
    return Fail(ErrorCode::kUnavailable, "the emulated host is not running: snapfaas host start");
  }
  const auto token = run.ReadToken();
  if (!token) return Forward(token.error());
  auto stream = ConnectToExecServer(record->port, *token);
  if (!stream) return Forward(stream.error());
  auto exit_code = RunRemoteCommand(*stream, request, StandardStreams());
  if (!exit_code && !IsAlive(record->process)) {
    return Fail(ErrorCode::kUnavailable, "the emulated host ended while {} ran{}", request.argv[0], run.LastWords());
  }
  return exit_code;
}

Status EmulatedHost::ForwardPort(const std::string& address, uint16_t port, uint16_t inside) const {
  auto said =
      RunMonitorCommand(run_dir(), fmt::format("hostfwd_add {} tcp:{}:{}-:{}", kNetworkName, address, port, inside));
  if (!said) return Forward(said.error());
  // It says nothing when all is well.
  if (said->empty()) return {};
  return Fail(ErrorCode::kAlreadyExists, "{} port {} cannot be listened on, somebody else may: {}", address, port,
              *said);
}

Status EmulatedHost::StopForwarding(const std::string& address, uint16_t port) const {
  auto said = RunMonitorCommand(run_dir(), fmt::format("hostfwd_remove {} tcp:{}:{}", kNetworkName, address, port));
  if (!said) return Forward(said.error());
  return {};
}

Result<ExecRequest> MakeExecRequest(std::vector<std::string> argv, const SharedPaths& shared) {
  std::error_code failure;
  const auto cwd = fs::current_path(failure);
  if (failure) return FailErrno(failure.value(), "finding the current folder");
  ExecRequest request;
  request.argv = std::move(argv);
  request.cwd = cwd.string();
  request.environment = ForwardedEnvironment();
  auto folders = shared.folders;
  folders.push_back(cwd);
  for (const auto& path : folders) {
    std::error_code ignored;
    if (path.is_absolute() && !IsSystemFolder(path) && fs::is_directory(path, ignored)) {
      request.shares.push_back(path.lexically_normal().string());
    }
  }
  for (const auto& path : shared.resident) {
    if (path.is_absolute() && !IsSystemFolder(path)) request.resident.push_back(path.lexically_normal().string());
  }
  return request;
}

Result<int> ExecInEmulatedHost(const EmulatedHost& host, const std::function<Result<HostImages>()>& images,
                               std::vector<std::string> argv, const SharedPaths& shared, const Progress& progress) {
  auto request = MakeExecRequest(std::move(argv), shared);
  if (!request) return Forward(request.error());
  if (const auto started = host.Start(images, progress); !started) return Forward(started.error());
  return host.Exec(*request);
}

}  // namespace snapfaas::host
