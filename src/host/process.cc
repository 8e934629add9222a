#include "host/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "base/unique_fd.h"

namespace snapfaas::host {
namespace {

struct ProcessState {
  char state = 'X';
  uint64_t start_ticks = 0;
};

// proc(5): "pid (name) state ppid ...", the start time being field 22; the name may hold spaces and parentheses.
ProcessState ReadState(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  ProcessState result;
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return result;
  std::istringstream fields(line.substr(name_end + 1));
  fields >> result.state;
  constexpr int kFieldsBetween = 18;
  std::string skipped;
  for (int i = 0; i < kFieldsBetween; ++i) fields >> skipped;
  fields >> result.start_ticks;
  return result;
}

// Only calls that are safe between fork and exec.
[[noreturn]] void BecomeDaemon(char* const* argv, const char* folder, int log, int failure_pipe) {
  ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  // The pipe to the parent closes by itself at exec; nothing else may leak, a lock least of all.
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  if (::chdir(folder) == 0) ::execvp(argv[0], argv);
  const int cause = errno;
  [[maybe_unused]] const ssize_t n = ::write(failure_pipe, &cause, sizeof(cause));
  ::_exit(127);
}

}  // namespace

ProcessId ThisProcess() { return {::getpid(), ReadState(::getpid()).start_ticks}; }

bool IsAlive(const ProcessId& process) {
  const auto now = ReadState(process.pid);
  return now.state != 'X' && now.state != 'Z' && now.start_ticks == process.start_ticks;
}

Result<ProcessId> StartDaemon(std::vector<std::string> argv, const std::filesystem::path& log,
                              const std::filesystem::path& folder) {
  const UniqueFd log_file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_file.valid()) return FailErrno(errno, "opening {}", log.string());
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno(errno, "making a pipe");
  const UniqueFd failure_read(ends[0]);
  UniqueFd failure_write(ends[1]);
  std::vector<char*> pointers;
  for (auto& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);

  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno(errno, "starting a process for {}", argv[0]);
  if (pid == 0) BecomeDaemon(pointers.data(), folder.c_str(), log_file.get(), failure_write.get());
  failure_write.Reset();
  int cause = 0;
  if (::read(failure_read.get(), &cause, sizeof(cause)) == static_cast<ssize_t>(sizeof(cause))) {
    ::waitpid(pid, nullptr, 0);
    return FailErrno(cause, "cannot run {}", argv[0]);
  }
  return ProcessId{pid, ReadState(pid).start_ticks};
}

WaitOutcome WaitUntilGone(const ProcessId& process, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPause{20};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    ::waitpid(process.pid, nullptr, WNOHANG);  // it may be a child of ours
    if (!IsAlive(process)) return WaitOutcome::kGone;
    if (std::chrono::steady_clock::now() > deadline) return WaitOutcome::kStillThere;
    std::this_thread::sleep_for(kPause);
  }
}

void KillProcess(const ProcessId& process) {
  if (!IsAlive(process)) return;
  ::kill(process.pid, SIGKILL);
  WaitUntilGone(process, std::chrono::seconds(10));
}

std::string LastLines(const std::filesystem::path& file, size_t count) {
  constexpr std::streamoff kMostBytes = 8192;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return {};
  stream.seekg(std::max<std::streamoff>(0, stream.tellg() - kMostBytes));
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  std::erase(text, '\r');
  while (text.ends_with('\n')) text.pop_back();
  size_t start = text.size();
  for (size_t line = 0; line < count && start != std::string::npos && start > 0; ++line) {
    start = text.rfind('\n', start - 1);
  }
  return start == std::string::npos ? text : text.substr(start + (start < text.size() && text[start] == '\n' ? 1 : 0));
}

}  // namespace snapfaas::host
