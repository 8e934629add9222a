#include "host/remote_command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/clock.h"

namespace snapfaas::host {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno(errno, "making a pipe for a command");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void MakeNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (auto& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void FailInChild(const char* what) {
  const int cause = errno;
  const std::string line = fmt::format("snapfaas: in the emulated host: {}: {}\n", what, strerror(cause));
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(cause == ENOENT ? 127 : 126);
}

void ResetSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
}

[[noreturn]] void RunInChild(ExecRequest request, int in, int out, int err) {
  ResetSignals();
  ::setsid();
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (::chdir(request.cwd.c_str()) != 0) FailInChild(request.cwd.c_str());
  auto arguments = Pointers(request.argv);
  auto variables = Pointers(request.environment);
  // execvp looks through the PATH of the environment that the command gets.
  environ = variables.data();
  ::execvp(arguments[0], arguments.data());
  FailInChild(arguments[0]);
}

}  // namespace

Result<RemoteCommand> RemoteCommand::Start(const ExecRequest& request) {
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  for (const auto* pipe : {&in, &out, &err}) {
    if (!*pipe) return Forward(pipe->error());
  }
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno(errno, "starting a process for {}", request.argv[0]);
  if (pid == 0) RunInChild(request, in->read.get(), out->write.get(), err->write.get());

  RemoteCommand command(pid);
  command.stdin_pipe = std::move(in->write);
  command.stdout_pipe = std::move(out->read);
  command.stderr_pipe = std::move(err->read);
  for (const auto* fd : {&command.stdin_pipe, &command.stdout_pipe, &command.stderr_pipe}) MakeNonBlocking(fd->get());
  command.ended.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!command.ended.valid()) {
    const int cause = errno;
    command.Kill();
    return FailErrno(cause, "watching the process of {}", request.argv[0]);
  }
  return command;
}

void RemoteCommand::Signal(int signal) const { ::kill(-group_, signal); }

uint32_t RemoteCommand::ExitCode() const {
  int status = 0;
  if (::waitpid(group_, &status, 0) != group_) return 255;
  if (WIFSIGNALED(status)) return 128 + static_cast<uint32_t>(WTERMSIG(status));
  return static_cast<uint32_t>(WEXITSTATUS(status));
}

void RemoteCommand::Kill() const {
  constexpr int64_t kGraceNs = 2'000'000'000;
  constexpr useconds_t kPauseUs = 20'000;
  Signal(SIGTERM);
  const int64_t deadline = MonotonicNanos() + kGraceNs;
  while (MonotonicNanos() < deadline) {
    // Its first process may end before the others of the group have cleaned up: all of them get the time.
    ::waitpid(group_, nullptr, WNOHANG);
    if (::kill(-group_, 0) != 0) return;
    ::usleep(kPauseUs);
  }
  Signal(SIGKILL);
  ::waitpid(group_, nullptr, 0);
}

}  // namespace snapfaas::host
