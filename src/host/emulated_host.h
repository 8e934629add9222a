// The emulated host: a QEMU-emulated AMD machine with a real /dev/kvm, for machines whose own KVM is not usable.
//
// It boots a Debian kernel over the machine's own root file system (read only, under an overlay in memory), so the same
// binaries run inside and outside at the same paths. Working folders are shared live and writable. Commands are run in
// it through snapfaas-hostd (exec_protocol.h).
//
//   stopped --Start--> running --Stop--> stopped
//                         |
//                         +--QEMU ends--> died --(next Query, Start or Stop)--> stopped
//
// It is a daemon on purpose: it outlives the command that started it, until Stop. All state is in one folder:
//   <state>/run/host.json     process, port, start time: exists while it runs
//   <state>/run/token         what a client must show; mode 0600
//   <state>/run/console.log   the kernel's console: look here first when it does not start
//   <state>/run/qemu.log      what QEMU itself says
// Stop removes <state>/run. The folder's flock keeps two callers from starting it at once.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "host/exec_protocol.h"
#include "host/qemu_command.h"

namespace snapfaas::host {

// What it boots from.
struct HostImages {
  std::filesystem::path kernel;     // of linux-image-amd64: bzImage, or ELF with a PVH entry, which starts sooner
  std::filesystem::path initramfs;  // newc archive: snapfaas-hostd as /init, and modules in the order of /modules.list
};

struct HostStatus {
  enum class State { kStopped, kRunning, kDied };
  State state = State::kStopped;
  pid_t pid = 0;             // of QEMU
  uint16_t port = 0;         // of the exec server, on 127.0.0.1
  uint64_t memory_mib = 0;   // what the emulated machine has; taken from this machine only as it is touched
  int64_t started_unix = 0;  // seconds
  std::string last_console;  // after kDied: the last lines, for a person
};

using Progress = std::function<void(std::string_view)>;

class EmulatedHost {
 public:
  // `state_dir` is made when needed.
  explicit EmulatedHost(std::filesystem::path state_dir) : state_dir_(std::move(state_dir)) {}

  // Cleans up after a QEMU that ended by itself and says so once, as kDied.
  Result<HostStatus> Query() const;

  // Does nothing when it runs already. Otherwise asks `images` (under the lock, so that two callers do not build them
  // at once), boots, and returns when commands can be run: about five seconds. An error quotes the last console lines
  // and leaves nothing running.
  Result<HostStatus> Start(const std::function<Result<HostImages>()>& images, const Progress& progress,
                           HostClock clock = HostClock::kReal) const;

  // Powers it off, kills it after five seconds, removes <state>/run. Does nothing when it is not running.
  Status Stop() const;

  // Runs a command with this process's standard input, output and error; returns its exit code, 128 + n after signal
  // n. SIGINT, SIGTERM and SIGHUP that reach this process go to the command; if this process ends, the command is
  // killed. REQUIRES: no other thread of this process handles these signals.
  Result<int> Exec(const ExecRequest& request) const;

  // From now on, until StopForwarding or Stop, what connects to this address and port of this machine reaches the port
  // inside. `address` is a numeric IPv4 address. kAlreadyExists: somebody listens there.
  Status ForwardPort(const std::string& address, uint16_t port, uint16_t inside) const;
  // Does nothing where it is not forwarded. Connections that there are stay.
  Status StopForwarding(const std::string& address, uint16_t port) const;

  std::filesystem::path console_log() const { return run_dir() / "console.log"; }

 private:
  std::filesystem::path run_dir() const { return state_dir_ / "run"; }

  std::filesystem::path state_dir_;
};

// Files of this machine, seen from the emulated host.
struct SharedPaths {
  std::vector<std::filesystem::path> folders;   // live and writable
  std::vector<std::filesystem::path> resident;  // files, kept in its memory while they do not change
};

// A request for `argv` with this process's current folder and environment (less what has no meaning inside), the
// current folder and `shared` being shared. Folders of the system and relative paths are left out.
Result<ExecRequest> MakeExecRequest(std::vector<std::string> argv, const SharedPaths& shared);

// MakeExecRequest and EmulatedHost::Exec in one, starting the emulated host where it is not running.
Result<int> ExecInEmulatedHost(const EmulatedHost& host, const std::function<Result<HostImages>()>& images,
                               std::vector<std::string> argv, const SharedPaths& shared, const Progress& progress);

}  // namespace snapfaas::host
