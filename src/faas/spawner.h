// Spawner: where snapfaas-vmm processes come from. The shipped one executes the program (process_spawner.h); tests
// play the VMM themselves, over the same socket and messages.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace snapfaas::faas {

struct VmSize {
  uint32_t memory_mib = 128;
  uint32_t vcpus = 1;

  bool operator==(const VmSize&) const = default;
};

inline constexpr uint32_t kMinMemoryMib = 128;
inline constexpr uint32_t kMaxMemoryMib = 3072;
inline constexpr uint32_t kMemoryStepMib = 128;
inline constexpr uint32_t kMaxVcpus = 8;

// kInvalidArgument, naming the allowed sizes.
Status CheckVmSize(const VmSize& size);

// One VMM process. Its destruction closes the control socket, kills the process if that did not end it, and reaps it.
class VmmProcess {
 public:
  virtual ~VmmProcess() = default;

  // The launcher's end of the control socket.
  virtual int control() const = 0;

  // 0: it is not a process of its own.
  virtual pid_t pid() const = 0;

  // Waits briefly for a process that has closed its side to end, kills it if it does not, and says what became of it:
  // "was killed by signal 9 (Killed)", "exited with status 1".
  virtual std::string DescribeEnd() = 0;
};

class Spawner {
 public:
  virtual ~Spawner() = default;
  // From any thread.
  virtual Result<std::unique_ptr<VmmProcess>> Spawn(const VmSize& size) = 0;
};

}  // namespace snapfaas::faas
