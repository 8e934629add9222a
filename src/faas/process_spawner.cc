#include "faas/process_spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "wire/messages.h"

namespace snapfaas::faas {
namespace {

constexpr int kControlFdInVmm = 3;
constexpr int kEndPatienceMillis = 2000;
constexpr int kFlushPatienceMillis = 1000;

class ChildProcess : public VmmProcess {
 public:
  ChildProcess(pid_t pid, UniqueFd pidfd, UniqueFd control)
      : pid_(pid), pidfd_(std::move(pidfd)), control_(std::move(control)) {}
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() override {
    // At the close of its socket a VMM flushes what its guest has printed, and ends.
    control_.Reset();
    if (reaped_) return;
    (void)EndsByItself(kFlushPatienceMillis);
    KillAndReap();
  }

  int control() const override { return control_.get(); }
  pid_t pid() const override { return pid_; }

  std::string DescribeEnd() override {
    if (reaped_) return end_;
    if (!EndsByItself(kEndPatienceMillis)) {
      KillAndReap();
      end_ = "closed a socket but went on running";
    } else {
      KillAndReap();
    }
    return end_;
  }

 private:
  bool EndsByItself(int patience_millis) const {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    int ready = 0;
    do {
      ready = ::poll(&ended, 1, patience_millis);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
  }

  // The pid cannot belong to another process: a child's is not given away before it has been waited for.
  void KillAndReap() {
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
    }
    reaped_ = true;
    end_ = info.si_code == CLD_EXITED
               ? fmt::format("exited with status {}", info.si_status)
               : fmt::format("was killed by signal {} ({})", info.si_status, ::strsignal(info.si_status));
  }

  pid_t pid_;
  UniqueFd pidfd_;
  UniqueFd control_;
  bool reaped_ = false;
  std::string end_;
};

// posix_spawn's attribute objects, freed at the end.
class SpawnSettings {
 public:
  explicit SpawnSettings(int control) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, control, kControlFdInVmm);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, kControlFdInVmm + 1);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

Result<std::unique_ptr<VmmProcess>> ProcessSpawner::Spawn(const VmSize& size) {
  auto sockets = wire::SocketPair(SOCK_SEQPACKET);
  if (!sockets) return Forward(sockets.error());
  auto& [ours, theirs] = *sockets;

  std::array<std::string, 7> arguments{executable_.string(),
                                       "--control-fd",
                                       std::to_string(kControlFdInVmm),
                                       "--memory-mib",
                                       std::to_string(size.memory_mib),
                                       "--vcpus",
                                       std::to_string(size.vcpus)};
  std::array<char*, 8> argv{};
  for (size_t i = 0; i < arguments.size(); ++i) argv[i] = arguments[i].data();
  std::array<char*, 1> environment{};

  const SpawnSettings settings(theirs.get());
  pid_t pid = -1;
  const int failure = ::posix_spawn(&pid, executable_.c_str(), settings.actions(), settings.attributes(), argv.data(),
                                    environment.data());
  if (failure != 0) return FailErrno(failure, "starting {}", executable_.string());
  // Not by sys/pidfd.h: in glibc 2.36 it does not declare its functions as C.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_errno = errno;
  const bool watched = pidfd.valid();
  auto process = std::make_unique<ChildProcess>(pid, std::move(pidfd), std::move(ours));
  if (!watched) return FailErrno(pidfd_errno, "watching the VMM process");
  return std::unique_ptr<VmmProcess>(std::move(process));
}

}  // namespace snapfaas::faas
