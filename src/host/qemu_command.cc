#include "host/qemu_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "host/exec_protocol.h"
#include "host/machine_setup.h"

namespace snapfaas::host {
namespace {

// In QEMU's options a comma ends a value unless it is doubled.
std::string Escape(const std::filesystem::path& path) {
  std::string escaped;
  for (const char c : path.string()) {
    escaped += c;
    if (c == ',') escaped += c;
  }
  return escaped;
}

// quiet: the console is a serial port that costs an exit a byte. panic=-1 with -no-reboot ends QEMU. The emulated CPU
// speculates nothing, so mitigations would only cost; a fifth level of page tables likewise. One CPU: an expedited
// grace period is over at once, and KVM waits for many of them when a VM comes and goes. no_timer_check: the kernel
// panics where the timer does not tick ten times in the time of ten, which on a busy machine it may not.
constexpr const char* kKernelCommandLine =
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 nowatchdog cryptomgr.notests "
    "rcupdate.rcu_expedited=1 no_timer_check";

}  // namespace

std::vector<std::string> QemuCommand(const QemuOptions& options) {
  const auto share = [](const char* id, const char* more) {
    return fmt::format("local,id={},path=/,security_model=none,multidevs=remap{}", id, more);
  };
  const auto share_device = [](const char* id, const char* tag) {
    return fmt::format("virtio-9p-pci,fsdev={},mount_tag={}", id, tag);
  };
  std::vector<std::string> command{
      kQemuProgram,
      "-name",
      "snapfaas-host",
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
      "-display",
      "none",
      // More than one CPU, or a thread for each, hangs after some hundred VM creations.
      "-machine",
      "q35",
      "-accel",
      "tcg,thread=single",
      // TCG runs `rep movsb` byte by byte: without these two Linux copies eight bytes at a time.
      "-cpu",
      "max,la57=off,erms=off,fsrm=off",
      "-smp",
      "1",
      "-m",
      fmt::format("{}", options.memory_mib),
      "-kernel",
      options.kernel.string(),
      "-initrd",
      options.initramfs.string(),
      "-append",
      kKernelCommandLine,
      "-chardev",
      fmt::format("file,id=console,path={}", Escape(options.console_log)),
      "-serial",
      "chardev:console",
      "-fsdev",
      share("root", ",readonly=on"),
      "-device",
      share_device("root", kRootTag),
      "-fsdev",
      share("live", ""),
      "-device",
      share_device("live", kLiveTag),
      "-netdev",
      fmt::format("user,id={},hostfwd=tcp:127.0.0.1:{}-:{}", kNetworkName, options.port, kExecServerPort),
      "-device",
      fmt::format("virtio-net-pci,netdev={},romfile=", kNetworkName),
      "-chardev",
      fmt::format("socket,id=monitor,path={},server=on,wait=off", kMonitorSocket),
      "-mon",
      "chardev=monitor,mode=control",
      "-fw_cfg",
      fmt::format("name={},file={}", kTokenFwCfg, Escape(options.token)),
  };
  // 2^3 ns.
  if (options.clock == HostClock::kInstructions) command.insert(command.end(), {"-icount", "shift=3,sleep=on"});
  return command;
}

uint64_t ChooseMemoryMib(uint64_t available_mib) {
  constexpr uint64_t kLeast = 1024;
  constexpr uint64_t kMost = 6144;
  constexpr uint64_t kStep = 128;
  return std::clamp(available_mib / 2 / kStep * kStep, kLeast, kMost);
}

uint64_t AvailableMemoryMib() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  std::string unit;
  while (meminfo >> name >> kib) {
    std::getline(meminfo, unit);
    if (name == "MemAvailable:") return kib / 1024;
  }
  return 0;
}

}  // namespace snapfaas::host
