#include "cli/foreground.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace snapfaas::cli {
namespace {

constexpr int kNotStarted = 127;
constexpr int kSignalled = 128;

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Result<int> RunAndWait(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (auto& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // Blocked, they wait until they are asked for.
  const sigset_t watched = WatchedSignals();
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &watched, &before);
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "starting {}", command[0]);
  if (child == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(kNotStarted);
  }
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    int signal = 0;
    ::sigwait(&watched, &signal);
    if (signal == SIGTERM || signal == SIGHUP) ::kill(child, signal);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return WIFSIGNALED(status) ? kSignalled + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace snapfaas::cli
