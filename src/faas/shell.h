// Shell: a started VMM that waits for its one command, Boot or Restore. A MicroVm is made of it (launcher.h).
//
// It owns the VMM process and the control socket; destroying it leaves neither.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "faas/spawner.h"
#include "wire/messages.h"

namespace snapfaas::faas {

class Shell {
 public:
  // Starts a VMM and waits until it is a shell. The error is the VMM's own where it said one. The wait also ends, with
  // kUnavailable, when the descriptor `give_up` becomes readable; -1: there is none.
  static Result<Shell> Start(Spawner& spawner, const VmSize& size, int64_t deadline_ns, int give_up = -1);

  // Puts a base snapshot's memory into it, which `base` names. After an error it is of no further use.
  Status Prime(const std::string& base, wire::PrimeCommand command, int64_t deadline_ns, int give_up = -1);
  // What it was primed with; empty: nothing.
  const std::string& primed_with() const { return primed_with_; }

  // Whether it waits still. One that has ended, or has said why it is about to, does not. Never blocks.
  bool Waits() const;
  // Whether its process has not ended, whatever it does. Never blocks.
  bool IsAlive() const;

  const VmSize& size() const { return size_; }
  int64_t ready_ns() const { return ready_ns_; }
  VmmProcess& process() { return *process_; }
  pid_t pid() const { return process_->pid(); }

 private:
  Shell(const VmSize& size, std::unique_ptr<VmmProcess> process) : size_(size), process_(std::move(process)) {}
  Result<wire::Event> WaitForEvent(int64_t deadline_ns, int give_up);

  VmSize size_;
  int64_t ready_ns_ = 0;
  std::string primed_with_;
  std::unique_ptr<VmmProcess> process_;
};

}  // namespace snapfaas::faas
