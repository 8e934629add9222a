#include "agent/bootstrap.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "common/console.h"
#include "wire/guest_abi.h"

namespace snapfaas::guest {
namespace {

constexpr char kCommandFile[] = "/etc/snapfaas/bootstrap";
constexpr size_t kMaxArguments = 32;

struct Command {
  char text[4096];
  char* arguments[kMaxArguments + 1];
};

// One argument a line.
void ReadCommand(Command& command) {
  const int fd = ::open(kCommandFile, O_RDONLY | O_CLOEXEC);
  const ssize_t length = fd < 0 ? -1 : ::read(fd, command.text, sizeof(command.text) - 1);
  if (length <= 0) DieAndPowerOff("cannot read the bootstrap's command in %s", kCommandFile);
  ::close(fd);
  command.text[length] = '\0';
  size_t count = 0;
  char* state = nullptr;
  for (char* word = ::strtok_r(command.text, "\n", &state); word != nullptr; word = ::strtok_r(nullptr, "\n", &state)) {
    if (count == kMaxArguments) DieAndPowerOff("%s has more than %zu lines", kCommandFile, kMaxArguments);
    command.arguments[count++] = word;
  }
  command.arguments[count] = nullptr;
  if (count == 0) DieAndPowerOff("%s is empty", kCommandFile);
}

// Moves `fd` out of the way of the descriptors that the bootstrap gets, 0 to 5.
int MoveUp(int fd) {
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
  if (moved < 0) DieAndPowerOff("cannot duplicate a descriptor: %s", std::strerror(errno));
  ::close(fd);
  return moved;
}

// Whom the kernel ends first when memory is short: -1000 (nobody else is left) to 1000 (oom_score_adj, proc(5)).
void SetOomScore(const char* score) {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, score, std::strlen(score)) < 0) Say("cannot set the out-of-memory score to %s", score);
  if (fd >= 0) ::close(fd);
}

[[noreturn]] void RunChild(Command& command, const int (&fds)[6]) {
  for (int target = 0; target < 6; ++target) {
    if (::dup2(fds[target], target) < 0) ::_exit(127);
  }
  const char* const environment[] = {"LAMBDA_TASK_ROOT=/var/task",
                                     "LANG=C.UTF-8",
                                     "TZ=:UTC",
                                     "HOME=/tmp",
                                     "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                                     nullptr};
  ::setsid();
  SetOomScore("0");
  ::execve(command.arguments[0], command.arguments, const_cast<char**>(environment));
  Say("cannot start %s: %s", command.arguments[0], std::strerror(errno));
  ::_exit(127);
}

}  // namespace

Bootstrap::Bootstrap(int request_port, int log_port) {
  static Command command;
  ReadCommand(command);
  int down[2];
  int up[2];
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || ::pipe2(down, O_CLOEXEC) != 0 || ::pipe2(up, O_CLOEXEC) != 0) {
    DieAndPowerOff("cannot make the control pipes: %s", std::strerror(errno));
  }
  const int log = MoveUp(log_port);
  const int fds[6] = {MoveUp(null), log, log, MoveUp(request_port), MoveUp(down[0]), MoveUp(up[1])};
  // A function that fills the memory ends itself, not who has to tell of it.
  SetOomScore("-1000");
  pid_ = ::fork();
  if (pid_ < 0) DieAndPowerOff("cannot fork: %s", std::strerror(errno));
  if (pid_ == 0) RunChild(command, fds);
  // The agent keeps no end of the ports open: that the bootstrap is gone must be seen by the host.
  for (int target = 0; target < 6; ++target) {
    if (target != 2) ::close(fds[target]);  // 2 is the same as 1
  }
  to_ = down[1];
  from_ = up[0];
  ::signal(SIGPIPE, SIG_IGN);
}

bool Bootstrap::ReadLine(char* line, size_t size) {
  size_t used = 0;
  for (;;) {
    char next = 0;
    const ssize_t got = ::read(from_, &next, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    if (next == '\n') break;
    if (used + 1 < size) line[used++] = next;
  }
  line[used] = '\0';
  return true;
}

void Bootstrap::Send(const char* line) {
  // A pipe takes a short line whole, or the bootstrap is gone, which OutliveAndPowerOff reports.
  if (::write(to_, line, std::strlen(line)) < 0) Say("cannot speak to the bootstrap: %s", std::strerror(errno));
}

void Bootstrap::OutliveAndPowerOff() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  // AWS Lambda's words: the host passes them on.
  if (WIFSIGNALED(status)) {
    char name[64];
    std::snprintf(name, sizeof(name), "%s", ::strsignal(WTERMSIG(status)));
    name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
    DieAndPowerOff("%s with error: signal: %s", wire::kRuntimeExited, name);
  }
  if (WEXITSTATUS(status) == 0) DieAndPowerOff("%s without providing a reason", wire::kRuntimeExited);
  DieAndPowerOff("%s with error: exit status %d", wire::kRuntimeExited, WEXITSTATUS(status));
}

}  // namespace snapfaas::guest
