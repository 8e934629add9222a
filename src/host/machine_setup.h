// What the first process of the emulated host does before commands can run: modules, file systems, network.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "host/exec_protocol.h"

namespace snapfaas::host {

// Names that QEMU's command line and the inside of the emulated host agree on.
inline constexpr const char* kRootTag = "snapfaas-root";  // 9p: the machine's root, read only
inline constexpr const char* kLiveTag = "snapfaas-live";  // 9p: the machine's root, as the user may write it
inline constexpr const char* kTokenFwCfg = "opt/snapfaas/token";
inline constexpr const char* kInsideMark = "/run/snapfaas-emulated-host";  // exists inside the emulated host only

// Loads the modules named in /modules.list, puts the machine's root under an overlay in memory and makes it the root.
// REQUIRES: called once, by process 1.
Status SetUpMachine();

// A hardware timer that interrupts this machine twice a second for as long as it is open. QEMU can forget for a while
// that an interrupt is pending: its device threads set a bit of the CPU's `interrupt_request` while vmrun and #VMEXIT
// clear another, by plain reads and writes until QEMU 10.1. The interrupt is seen with the next one; but where it was
// the one-shot timer of a machine that is idle else, nothing comes, and the machine stands still.
Result<UniqueFd> StartWakingTimer();

// What QEMU was given for this run. REQUIRES: after SetUpMachine.
Result<Token> ReadMachineToken();

// Where the live export is mounted, inside: the machine's /a/b is <kLiveRoot>/a/b.
inline constexpr const char* kLiveRoot = "/run/snapfaas-live";

// Whether a folder is one of those that the emulated host has for itself (/, /tmp, /proc and such) or that belong to
// the system and are seen through the overlay (/usr, /etc and such).
bool IsSystemFolder(const std::filesystem::path& folder);

// Binds the machine's folder over the same path, live and writable. Does nothing when that was done already, or when it
// is a system folder. kNotFound when the machine has no such folder.
Status ShareFolder(const std::string& folder);

}  // namespace snapfaas::host
