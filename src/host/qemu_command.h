// The command line of the QEMU that is the emulated host.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace snapfaas::host {

inline constexpr const char* kQemuProgram = "qemu-system-x86_64";
// The socket of its monitor (qemu_monitor.h), in the folder that it is started in.
inline constexpr const char* kMonitorSocket = "monitor.sock";
inline constexpr const char* kNetworkName = "net";

// What the time of the emulated machine is.
enum class HostClock {
  kReal,
  // Each instruction takes 8 ns, and waiting as long as it does: what is measured in it does not depend on what else
  // this machine does. Real time may pass faster.
  kInstructions,
};

struct QemuOptions {
  std::filesystem::path kernel;
  std::filesystem::path initramfs;
  std::filesystem::path token;        // file of kTokenBytes bytes
  std::filesystem::path console_log;  // written by QEMU
  uint64_t memory_mib = 0;
  uint16_t port = 0;  // on 127.0.0.1, led to the exec server
  HostClock clock = HostClock::kReal;
};

std::vector<std::string> QemuCommand(const QemuOptions& options);

// What the emulated machine should have, on a machine with so much available: half of it, from 1024 to 6144 MiB.
uint64_t ChooseMemoryMib(uint64_t available_mib);

// MemAvailable of /proc/meminfo; 0 when it cannot be read.
uint64_t AvailableMemoryMib();

}  // namespace snapfaas::host
