// Timeline: when what happened in the life of one microVM, and the phases that follow from it.
#pragma once

#include <cstdint>
#include <optional>

namespace snapfaas::faas {

// Nanoseconds of CLOCK_MONOTONIC; 0: did not happen (yet). For marks rung by several vCPUs the first ring counts.
struct Timeline {
  int64_t launched = 0;      // the microVM was asked for
  int64_t shell_ready = 0;   // the VMM has its KVM VM and devices; a shell from a pool had them before `launched`
  int64_t command_sent = 0;  // Boot or Restore

  // Restore only.
  int64_t begun = 0;        // the VMM has read the command
  int64_t memory_done = 0;  // memory is in place
  int64_t state_done = 0;   // vCPU and device state is in place; the guest runs

  // Marks of the guest (docs/guest_contract.md).
  int64_t kernel_up = 0;
  int64_t agent_up = 0;
  int64_t runtime_up = 0;
  int64_t snapshot_point = 0;
  int64_t identified = 0;
  int64_t mounted = 0;
  int64_t ready = 0;

  // The first request.
  int64_t request_sent = 0;
  int64_t response_received = 0;
};

// Where the time of a boot went, in milliseconds. The phases follow each other: vmm + kernel + init + runtime is
// `ready`, and with load + request it is `response`.
struct BootBreakdown {
  double vmm = 0;      // launch to the boot command, at which the VMM loads the kernel
  double kernel = 0;   // to the first act of the initramfs
  double init = 0;     // to the start of the agent
  double runtime = 0;  // to the language runtime able to load a function
  double load = 0;     // appfs mount and function load, to ready for requests
  double request = 0;  // the first request
  double ready = 0;
  double response = 0;
};

// Where the time of a restore went. vmm + memory + identity + mount is `ready`, and with load + request it is
// `response`. `ready` is stricter than a boot's: the runtime can load a function when its appfs is mounted. After the
// restore of a function snapshot there is nothing to mount and no mark of the identity, `load` is the function's coming
// to life, and `ready` includes it.
struct RestoreBreakdown {
  double vmm = 0;       // launch to the restore command being read
  double memory = 0;    // memory and state
  double identity = 0;  // first guest instruction to the machine's own clock, name and random seed
  double mount = 0;     // to the appfs mounted
  double load = 0;      // function load, to ready for requests
  double request = 0;   // the first request
  double ready = 0;
  double response = 0;
};

// Time between ready and the sending of the first request is nobody's and is left out. Nothing where a stamp is
// missing or the stamps are not in order.
std::optional<BootBreakdown> BreakDownBoot(const Timeline& timeline);
std::optional<RestoreBreakdown> BreakDownRestore(const Timeline& timeline);

}  // namespace snapfaas::faas
