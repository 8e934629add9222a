#include "host/machine_setup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/hpet.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "base/unique_fd.h"

namespace snapfaas::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModuleList = "/modules.list";
constexpr const char* kNewRoot = "/newroot";
constexpr const char* kShareLock = "/run/snapfaas-share.lock";

// The machine's root changes rarely, and what does change is shared by ShareFolder: it may be cached without asking.
constexpr const char* kRootOptions = "trans=virtio,version=9p2000.L,msize=524288,cache=loose";
// Here a later command must see what changed outside; only mapped files are cached, while they are open.
constexpr const char* kLiveOptions = "trans=virtio,version=9p2000.L,msize=524288,cache=mmap";

struct Mount {
  const char* source;
  const char* target;
  const char* type;
  unsigned long flags;
  const char* options;
};

Status MountAll(std::initializer_list<Mount> mounts) {
  for (const auto& mount : mounts) {
    std::error_code ignored;  // the mount itself fails where the folder is missing
    fs::create_directories(mount.target, ignored);
    if (::mount(mount.source, mount.target, mount.type, mount.flags, mount.options) != 0) {
      return FailErrno(errno, "mounting {} at {}", mount.source, mount.target);
    }
  }
  return {};
}

Status LoadModules() {
  std::ifstream list(kModuleList);
  std::string path;
  while (std::getline(list, path)) {
    if (path.empty()) continue;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return FailErrno(errno, "opening the module {}", path);
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
      return FailErrno(errno, "loading the module {}", path);
    }
  }
  if (!list.eof()) return Fail(ErrorCode::kNotFound, "cannot read {}", kModuleList);
  return {};
}

Status EnterMachineRoot() {
  if (auto status = MountAll(
          {{kRootTag, "/lower", "9p", MS_RDONLY, kRootOptions}, {"overlay", "/upper", "tmpfs", 0, "mode=0755"}});
      !status) {
    return status;
  }
  std::error_code failure;
  fs::create_directories("/upper/files", failure);
  fs::create_directories("/upper/work", failure);
  if (failure) return FailErrno(failure.value(), "making the overlay's folders");
  if (auto status =
          MountAll({{"overlay", kNewRoot, "overlay", 0, "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work"},
                    {"/dev", "/newroot/dev", nullptr, MS_MOVE, nullptr},
                    {"/proc", "/newroot/proc", nullptr, MS_MOVE, nullptr},
                    {"/sys", "/newroot/sys", nullptr, MS_MOVE, nullptr}});
      !status) {
    return status;
  }
  if (::chdir(kNewRoot) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 ||
      ::chdir("/") != 0) {
    return FailErrno(errno, "switching to the machine's root file system");
  }
  return {};
}

Status MountOwnFileSystems() {
  return MountAll({{"tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
                   {"tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
                   {"tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
                   {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"},
                   {"cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV, nullptr},
                   {kLiveTag, kLiveRoot, "9p", 0, kLiveOptions}});
}

sockaddr InternetAddress(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, text, &address.sin_addr);
  sockaddr generic{};
  static_assert(sizeof(generic) == sizeof(address));
  std::memcpy(&generic, &address, sizeof(generic));
  return generic;
}

ifreq InterfaceRequest(const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return request;
}

Status BringUp(int socket, const char* name) {
  auto request = InterfaceRequest(name);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return FailErrno(errno, "bringing up {}", name);
  return {};
}

// The addresses of QEMU's user-mode network (QEMU documentation, "Using the user mode network stack").
Status SetUpNetwork() {
  constexpr const char* kInterface = "eth0";
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return FailErrno(errno, "opening a socket to set up the network");
  if (auto status = BringUp(socket.get(), "lo"); !status) return status;
  auto address = InterfaceRequest(kInterface);
  address.ifr_addr = InternetAddress("10.0.2.15");
  if (::ioctl(socket.get(), SIOCSIFADDR, &address) != 0) return FailErrno(errno, "setting the address of eth0");
  auto mask = InterfaceRequest(kInterface);
  mask.ifr_netmask = InternetAddress("255.255.255.0");
  if (::ioctl(socket.get(), SIOCSIFNETMASK, &mask) != 0) return FailErrno(errno, "setting the netmask of eth0");
  if (auto status = BringUp(socket.get(), kInterface); !status) return status;
  rtentry route{};
  route.rt_dst = InternetAddress("0.0.0.0");
  route.rt_genmask = InternetAddress("0.0.0.0");
  route.rt_gateway = InternetAddress("10.0.2.2");
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  if (::ioctl(socket.get(), SIOCADDRT, &route) != 0) return FailErrno(errno, "setting the default route");
  return {};
}

Status SetLimits() {
  // Guests of 3 GiB, mostly untouched, run in less memory than they add up to.
  std::ofstream("/proc/sys/vm/overcommit_memory") << "1";
  // Linux refines its measure of the TSC, by up to a hundredth, a second after KVM has noted the first one. KVM then
  // takes each vCPU for slower than the processor, which without TSC scaling it cannot be: the guest's clocks stand
  // still.
  std::ofstream("/sys/module/kvm/parameters/tsc_tolerance_ppm") << "10000";
  const rlimit files{65536, 524288};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return FailErrno(errno, "raising the limit of open files");
  constexpr std::string_view kHostName = "snapfaas-host";
  ::sethostname(kHostName.data(), kHostName.size());
  ::chmod("/dev/kvm", 0666);
  std::ofstream mark(kInsideMark);
  if (!mark) return Fail(ErrorCode::kSystem, "cannot make {}", kInsideMark);
  return {};
}

}  // namespace

Status SetUpMachine() {
  ::umask(022);
  if (auto status = MountAll({{"proc", "/proc", "proc", 0, nullptr},
                              {"sysfs", "/sys", "sysfs", 0, nullptr},
                              {"devtmpfs", "/dev", "devtmpfs", 0, "mode=0755"}});
      !status) {
    return status;
  }
  for (const auto step : {LoadModules, EnterMachineRoot, MountOwnFileSystems, SetUpNetwork, SetLimits}) {
    if (auto status = step(); !status) return status;
  }
  return {};
}

Result<UniqueFd> StartWakingTimer() {
  constexpr const char* kTimer = "/dev/hpet";
  constexpr unsigned long kHertz = 2;
  UniqueFd timer(::open(kTimer, O_RDONLY | O_CLOEXEC));
  if (!timer.valid()) return FailErrno(errno, "opening {}", kTimer);
  // Periodic: it goes on where an interrupt of its own is the one that waits.
  if (::ioctl(timer.get(), HPET_IRQFREQ, kHertz) != 0 || ::ioctl(timer.get(), HPET_EPI) != 0 ||
      ::ioctl(timer.get(), HPET_IE_ON) != 0) {
    return FailErrno(errno, "starting the timer {}", kTimer);
  }
  return timer;
}

Result<Token> ReadMachineToken() {
  const std::string path = fmt::format("/sys/firmware/qemu_fw_cfg/by_name/{}/raw", kTokenFwCfg);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Token token{};
  if (bytes.size() != token.size()) return Fail(ErrorCode::kNotFound, "no token of {} bytes in {}", token.size(), path);
  std::memcpy(token.data(), bytes.data(), token.size());
  return token;
}

bool IsSystemFolder(const fs::path& folder) {
  constexpr std::array<std::string_view, 2> kExactly{"/", "/tmp"};
  constexpr std::array<std::string_view, 11> kWithContents{"/bin",  "/boot", "/dev",  "/etc", "/lib", "/lib64",
                                                           "/proc", "/run",  "/sbin", "/sys", "/usr"};
  const std::string path = folder.lexically_normal().string();
  const auto holds = [&](std::string_view top) {
    return path == top || (path.starts_with(top) && path.size() > top.size() && path[top.size()] == '/');
  };
  return std::find(kExactly.begin(), kExactly.end(), path) != kExactly.end() ||
         std::any_of(kWithContents.begin(), kWithContents.end(), holds);
}

Status ShareFolder(const std::string& folder) {
  if (IsSystemFolder(folder)) return {};
  const std::string source = kLiveRoot + folder;
  struct stat live {};
  if (::stat(source.c_str(), &live) != 0) return FailErrno(errno, "sharing {} with the emulated host", folder);

  // Two commands that start at once must not bind it twice.
  const UniqueFd lock(::open(kShareLock, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX) != 0) return FailErrno(errno, "locking {}", kShareLock);
  struct stat seen {};
  if (::stat(folder.c_str(), &seen) == 0 && seen.st_dev == live.st_dev) return {};
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return FailErrno(failure.value(), "making a place for {} in the emulated host", folder);
  if (::mount(source.c_str(), folder.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return FailErrno(errno, "binding {} in the emulated host", folder);
  }
  return {};
}

}  // namespace snapfaas::host
