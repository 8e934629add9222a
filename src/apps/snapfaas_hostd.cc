// snapfaas-hostd: the first process of the emulated host. It sets the machine up, starts the exec server and reaps
// orphans; it is the /init of the emulated host's initramfs and therefore linked statically.
#include <signal.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "host/exec_server.h"
#include "host/machine_setup.h"
#include "host/resident_files.h"

namespace {

using snapfaas::Status;

[[noreturn]] void PowerOff() {
  constexpr useconds_t kGraceUs = 300'000;
  ::kill(-1, SIGTERM);
  ::usleep(kGraceUs);
  ::kill(-1, SIGKILL);
  ::sync();
  ::reboot(RB_POWER_OFF);
  for (;;) ::pause();
}

// The server cannot power off by itself: it asks this process.
void AskForPowerOff() { ::kill(1, SIGTERM); }

Status Serve() {
  const auto token = snapfaas::host::ReadMachineToken();
  if (!token) return snapfaas::Forward(token.error());
  const auto listener = snapfaas::host::ListenForExec(snapfaas::host::kExecServerPort);
  if (!listener) return snapfaas::Forward(listener.error());
  fmt::print("{}\n", snapfaas::host::kReadyLine);
  std::fflush(stdout);
  // From here on only emergencies go to the console, whose log is a file that nobody empties. dmesg has the rest.
  constexpr int kSetConsoleLevel = 8;
  ::klogctl(kSetConsoleLevel, nullptr, 1);
  return snapfaas::host::ServeExecForever(*listener, *token,
                                          {snapfaas::host::ShareFolder, snapfaas::host::KeepResident, AskForPowerOff});
}

// Reaps every process that has ended; returns whether the server was among them.
bool Reap(pid_t server) {
  bool server_ended = false;
  for (pid_t pid = 0; (pid = ::waitpid(-1, nullptr, WNOHANG)) > 0;) server_ended = server_ended || pid == server;
  return server_ended;
}

int ReportFailure(const snapfaas::Error& error) {
  fmt::print("{}{}\n", snapfaas::host::kFailedLine, error.Message());
  std::fflush(stdout);
  return 1;
}

}  // namespace

int main() {
  if (::getpid() != 1) {
    fmt::print(stderr,
               "snapfaas-hostd: runs as the first process of the emulated host only; use snapfaas host start\n");
    return 2;
  }
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  sigprocmask(SIG_BLOCK, &awaited, nullptr);

  if (auto status = snapfaas::host::SetUpMachine(); !status) {
    ReportFailure(status.error());
    PowerOff();
  }
  const auto timer = snapfaas::host::StartWakingTimer();
  if (!timer) {
    ReportFailure(timer.error());
    PowerOff();
  }
  const pid_t server = ::fork();
  if (server == 0) {
    sigprocmask(SIG_UNBLOCK, &awaited, nullptr);
    const auto status = Serve();
    ::_exit(ReportFailure(status.error()));
  }
  for (;;) {
    const int signal = sigwaitinfo(&awaited, nullptr);
    if (signal == SIGTERM || (signal == SIGCHLD && Reap(server))) PowerOff();
  }
}
