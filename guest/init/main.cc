// The initramfs /init: loads the modules that the root file system needs, mounts it and hands over to OpenRC.
//
// It also makes the mounts that OpenRC's own services would make, since a mount here is one system call and a service
// there is a shell and several programs.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "common/console.h"
#include "common/doorbell.h"

namespace snapfaas::guest {
namespace {

constexpr char kRootDevice[] = "/dev/pmem0";
constexpr char kNewRoot[] = "/root";
constexpr char kModuleList[] = "/modules.list";
constexpr int kDeviceWaitMillis = 10'000;

void SleepMillis(long millis) {
  const timespec time{millis / 1000, (millis % 1000) * 1'000'000};
  ::nanosleep(&time, nullptr);
}

void LoadModule(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) DieAndPowerOff("cannot open module %s: %s", path, std::strerror(errno));
  if (::syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) {
    DieAndPowerOff("cannot load module %s: %s", path, std::strerror(errno));
  }
  ::close(fd);
  ::unlink(path);  // the initramfs lives in memory
}

void LoadModules() {
  FILE* list = std::fopen(kModuleList, "re");
  if (list == nullptr) DieAndPowerOff("the initramfs has no %s", kModuleList);
  char line[256];
  while (std::fgets(line, sizeof(line), list) != nullptr) {
    line[std::strcspn(line, "\n")] = '\0';
    if (line[0] != '\0') LoadModule(line);
  }
  std::fclose(list);
  ::unlink(kModuleList);
}

void WaitForRootDevice() {
  for (int waited = 0; ::access(kRootDevice, F_OK) != 0; ++waited) {
    if (waited == kDeviceWaitMillis) {
      DieAndPowerOff("no root disk: %s did not appear within %d ms", kRootDevice, kDeviceWaitMillis);
    }
    SleepMillis(1);
  }
}

void Mount(const char* source, const char* target, const char* type, unsigned long flags, const char* options) {
  if (::mount(source, target, type, flags, options) != 0) {
    DieAndPowerOff("cannot mount %s (%s) at %s: %s", source, type, target, std::strerror(errno));
  }
}

void MountRoot() {
  WaitForRootDevice();
  // DAX: what programs map is the host's memory itself, not a copy in ours.
  Mount(kRootDevice, kNewRoot, "erofs", MS_RDONLY, "dax=always");
  if (::chdir(kNewRoot) != 0) DieAndPowerOff("cannot enter %s: %s", kNewRoot, std::strerror(errno));
  if (::mount("/dev", "dev", nullptr, MS_MOVE, nullptr) != 0) {
    DieAndPowerOff("cannot move /dev into the root file system: %s", std::strerror(errno));
  }
  Mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  Mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  // Files in memory, so bounded by it: who fills them is told (ENOSPC) before memory is short.
  Mount("run", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=10%");
  Mount("tmp", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=40%");
  if (::mount("tmp", "var/tmp", nullptr, MS_BIND, nullptr) != 0) {
    DieAndPowerOff("cannot bind /tmp to /var/tmp: %s", std::strerror(errno));
  }
}

[[noreturn]] void SwitchRoot() {
  ::unlink("/init");
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0) {
    DieAndPowerOff("cannot switch to the root file system: %s", std::strerror(errno));
  }
  const char* const arguments[] = {"/sbin/openrc-init", nullptr};
  const char* const environment[] = {"HOME=/", "TERM=linux", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", nullptr};
  ::execve(arguments[0], const_cast<char**>(arguments), const_cast<char**>(environment));
  DieAndPowerOff("cannot start %s: %s", arguments[0], std::strerror(errno));
}

}  // namespace
}  // namespace snapfaas::guest

int main() {
  namespace guest = snapfaas::guest;
  namespace wire = snapfaas::wire;
  // The archive brings /dev/mem along, so that the mark needs no mount before it.
  guest::DoorbellPage("/dev/mem").Ring(wire::Doorbell::kKernelUp);
  guest::SetProgramName("init");
  guest::Mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  guest::LoadModules();
  guest::MountRoot();
  guest::SwitchRoot();
}
