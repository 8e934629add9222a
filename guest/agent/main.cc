// The agent: brings the VM to its snapshot point and, after it, makes it a machine of its own with a function
// (docs/guest_contract.md). After the snapshot point nothing is forked or executed.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "agent/bootstrap.h"
#include "agent/identity.h"
#include "agent/ports.h"
#include "agent/snapshot_point.h"
#include "common/console.h"
#include "common/doorbell.h"
#include "common/file_pages.h"

namespace snapfaas::guest {
namespace {

constexpr int kPortWaitMillis = 5'000;
constexpr char kAppfsDevice[] = "/dev/pmem1";
constexpr char kAppfsFolder[] = "/var/task";

int OpenRequestPort() {
  const int fd = OpenPort(wire::kRequestPortName, O_RDWR, kPortWaitMillis);
  if (fd < 0) DieAndPowerOff("this machine has no console port named %s", wire::kRequestPortName);
  return fd;
}

// A machine without a log port gets the function's output on the console.
int OpenLogPort() {
  const int fd = OpenPort(wire::kLogPortName, O_RDWR, 200);
  return fd >= 0 ? fd : ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

void WaitUntilReady(Bootstrap& bootstrap) {
  char line[64];
  if (!bootstrap.ReadLine(line, sizeof(line))) bootstrap.OutliveAndPowerOff();
  if (std::strcmp(line, "ready") != 0) DieAndPowerOff("the bootstrap said '%s' where 'ready' was due", line);
}

// The directory entries that the way after the snapshot needs: dropping the caches has dropped them too, and each
// would cost a disk read.
void TouchPaths() {
  struct stat status {};
  for (const char* path : {kAppfsDevice, kAppfsFolder, "/srv", "/tmp"}) ::stat(path, &status);
}

// Becomes the machine that the host says it is. False where the host says nothing.
bool TakeIdentity(const IdentitySource& source, wire::IdentityPage& identity) {
  if (!source.Read(identity)) return false;
  source.Apply(identity);
  return true;
}

// True when the function's folder is in place; else `problem` says why not.
bool MountAppfs(bool expected, char* problem, size_t size) {
  constexpr unsigned long kFlags = MS_RDONLY | MS_NODEV | MS_NOSUID;
  // DAX: what the function reads of its files is the host's memory itself, not a copy in ours.
  if (!expected || ::mount(kAppfsDevice, kAppfsFolder, "erofs", kFlags, "dax=always") == 0) return true;
  std::snprintf(problem, size, "cannot mount the function's file system (appfs): %s",
                errno == EINVAL ? "it is not an erofs image" : std::strerror(errno));
  Say("%s", problem);
  return false;
}

// The second snapshot point, with the function loaded: what runs behind it, runs in each VM of the function snapshot.
void PassFunctionSnapshot(Bootstrap& bootstrap, const IdentitySource& source, const DoorbellPage& doorbell) {
  RingFromEveryCpu(doorbell);
  wire::IdentityPage identity{};
  TakeIdentity(source, identity);
  char seed[65];
  source.MakeLanguageSeed(seed);
  char line[96];
  std::snprintf(line, sizeof(line), "resume %s\n", seed);
  bootstrap.Send(line);
}

void LoadFunction(Bootstrap& bootstrap, const IdentitySource& source, const DoorbellPage& doorbell) {
  char line[256];
  char problem[200];
  wire::IdentityPage identity{};
  const bool told = TakeIdentity(source, identity);
  doorbell.Ring(wire::Doorbell::kIdentity);
  const bool expected = told ? identity.has_appfs != 0 : ::access(kAppfsDevice, F_OK) == 0;
  if (MountAppfs(expected, problem, sizeof(problem))) {
    doorbell.Ring(wire::Doorbell::kMounted);
    char seed[65];
    source.MakeLanguageSeed(seed);
    std::snprintf(line, sizeof(line), "load %s%s\n", seed, identity.checkpoint != 0 ? " checkpoint" : "");
  } else {
    std::snprintf(line, sizeof(line), "fail %s\n", problem);
  }
  bootstrap.Send(line);
  if (!bootstrap.ReadLine(line, sizeof(line))) bootstrap.OutliveAndPowerOff();
  if (std::strcmp(line, "loaded") != 0) return;
  if (identity.checkpoint != 0) {
    MapFilesOf(bootstrap.pid());
    LetKernelSettle();
    PassFunctionSnapshot(bootstrap, source, doorbell);
  }
  doorbell.Ring(wire::Doorbell::kReady);
}

[[noreturn]] void Run() {
  const DoorbellPage doorbell("/dev/mem");
  doorbell.Ring(wire::Doorbell::kAgentUp);
  if (!doorbell.mapped()) Say("cannot map the doorbell page through /dev/mem: the host will not hear from this VM");
  const IdentitySource identity;
  MapFilesSparsely();
  Bootstrap bootstrap(OpenRequestPort(), OpenLogPort());
  WaitUntilReady(bootstrap);
  WaitForOpenRc();
  // The agent's own pages must not need the disk after the restore.
  ::mlockall(MCL_CURRENT);
  ShrinkMemory();
  QuietKernel();
  MapFilesOf(bootstrap.pid());
  TouchPaths();
  LetKernelSettle();
  doorbell.Ring(wire::Doorbell::kRuntimeUp);
  RingFromEveryCpu(doorbell);
  LoadFunction(bootstrap, identity, doorbell);
  bootstrap.OutliveAndPowerOff();
}

}  // namespace
}  // namespace snapfaas::guest

int main() {
  snapfaas::guest::SetProgramName("agent");
  snapfaas::guest::Run();
}
