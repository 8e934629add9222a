// What a process takes of the machine's memory, and what the machine has left.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace snapfaas::cli {

// Of /proc/<pid>/smaps_rollup.
struct ProcessMemory {
  uint64_t resident_kib = 0;
  uint64_t proportional_kib = 0;  // PSS: what is shared counts for each of its users in part
  uint64_t private_kib = 0;       // mapped by no other process just now
  uint64_t shared_kib = 0;        // mapped by others too
  uint64_t anonymous_kib = 0;     // that this process alone will have, however many map the same files
};

// kCorrupt: a field is missing.
Result<ProcessMemory> ParseSmaps(std::string_view smaps_rollup);

// Why it cannot be read, a process that has ended for one.
Result<ProcessMemory> MemoryOf(pid_t pid);

// Page faults of all threads of the process so far: KVM's on behalf of the guest are among them.
Result<uint64_t> FaultsOf(pid_t pid);
// From a /proc/<pid>/stat. kCorrupt.
Result<uint64_t> ParseFaults(std::string_view stat);

// MemAvailable: what could still be used without swapping.
Result<uint64_t> AvailableKib();
// From a /proc/meminfo. kCorrupt.
Result<uint64_t> ParseAvailableKib(std::string_view meminfo);

}  // namespace snapfaas::cli
