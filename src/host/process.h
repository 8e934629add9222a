// Processes that outlive the program that started them, and are found again by a record.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace snapfaas::host {

// A process number may be used again; with its start time it names one process only.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // field 22 of /proc/<pid>/stat

  bool operator==(const ProcessId&) const = default;
};

ProcessId ThisProcess();

// A process that has ended but was not waited for counts as gone.
bool IsAlive(const ProcessId& process);

// Starts a daemon: a session of its own, standard input from /dev/null, both outputs to `log`, no other descriptors.
// kNotFound when there is no such program, or no such folder.
Result<ProcessId> StartDaemon(std::vector<std::string> argv, const std::filesystem::path& log,
                              const std::filesystem::path& folder = "/");

enum class WaitOutcome { kGone, kStillThere };
WaitOutcome WaitUntilGone(const ProcessId& process, std::chrono::milliseconds patience);

// SIGKILL, and waits until it is gone.
void KillProcess(const ProcessId& process);

// The last `count` lines of a text file, of its last 8 KiB at most; empty when it cannot be read.
std::string LastLines(const std::filesystem::path& file, size_t count);

}  // namespace snapfaas::host
