#include "vmm_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>

#include "base/clock.h"

namespace snapfaas {
namespace {

constexpr int kControlFd = 3;
constexpr int64_t kPatienceNs = 10'000'000'000;

}  // namespace

Result<VmmProcess> VmmProcess::Start(uint64_t memory_mib, uint32_t vcpus) {
  auto sockets = wire::SocketPair(SOCK_SEQPACKET);
  if (!sockets) return Forward(sockets.error());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, sockets->second.get(), kControlFd);
  std::array<std::string, 7> text = {
      SNAPFAAS_VMM, "--control-fd",       std::to_string(kControlFd), "--memory-mib", std::to_string(memory_mib),
      "--vcpus",    std::to_string(vcpus)};
  std::array<char*, 8> argv{};
  for (size_t i = 0; i < text.size(); ++i) argv[i] = text[i].data();
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, SNAPFAAS_VMM, &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return FailErrno(failed, "starting {}", SNAPFAAS_VMM);
  VmmProcess vmm(pid, std::move(sockets->first));
  sockets->second.Reset();
  auto ready = vmm.Await<wire::ShellReadyEvent>();
  if (!ready) return Forward(ready.error());
  return vmm;
}

VmmProcess::VmmProcess(VmmProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), control_(std::move(other.control_)) {}

VmmProcess::~VmmProcess() {
  if (pid_ <= 0) return;
  control_.Reset();
  ::kill(pid_, SIGKILL);
  Join();
}

Status VmmProcess::Send(wire::Command command) {
  return wire::SendPacket(control_.get(), wire::EncodeCommand(std::move(command)));
}

Result<wire::Event> VmmProcess::Next() {
  auto packet = wire::ReceivePacket(control_.get(), MonotonicNanos() + kPatienceNs);
  if (!packet) return Forward(packet.error());
  return wire::DecodeEvent(*packet);
}

Result<uint32_t> VmmProcess::NextMark() {
  auto mark = Await<wire::MarkEvent>();
  if (!mark) return Forward(mark.error());
  return static_cast<uint32_t>(mark->value);
}

int VmmProcess::Join() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

UniqueFd OpenGuest(const std::string& name) {
  return UniqueFd(::open((SNAPFAAS_GUESTS "/" + name + ".elf").c_str(), O_RDONLY | O_CLOEXEC));
}

UniqueFd MakeMemfd(const char* name) { return UniqueFd(::memfd_create(name, MFD_CLOEXEC)); }

UniqueFd Duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

std::string Contents(const UniqueFd& fd) {
  std::string text(static_cast<size_t>(::lseek(fd.get(), 0, SEEK_END)), '\0');
  const ssize_t got = ::pread(fd.get(), text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

}  // namespace snapfaas
