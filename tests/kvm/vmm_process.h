// A snapfaas-vmm process driven over its control socket, for tests.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "wire/messages.h"

namespace snapfaas {

class VmmProcess {
 public:
  static Result<VmmProcess> Start(uint64_t memory_mib, uint32_t vcpus);
  VmmProcess(VmmProcess&& other) noexcept;
  VmmProcess& operator=(VmmProcess&&) = delete;
  VmmProcess(const VmmProcess&) = delete;
  VmmProcess& operator=(const VmmProcess&) = delete;
  ~VmmProcess();

  Status Send(wire::Command command);
  // Waits ten seconds.
  Result<wire::Event> Next();
  // Skips events until one of type T comes; an Ended or Failed that is not T becomes an error with its text.
  template <typename T>
  Result<T> Await() {
    for (;;) {
      auto event = Next();
      if (!event) return Forward(event.error());
      if (auto* wanted = std::get_if<T>(&*event)) return std::move(*wanted);
      if (auto* failed = std::get_if<wire::FailedEvent>(&*event)) return Forward(failed->error);
      if (auto* ended = std::get_if<wire::EndedEvent>(&*event)) {
        return Fail(ErrorCode::kUnavailable, "the VMM ended: {}", ended->detail);
      }
    }
  }
  // The value of the next mark.
  Result<uint32_t> NextMark();

  void CloseControl() { control_.Reset(); }
  // Waits for the process; its exit code, or 128 + signal.
  int Join();

 private:
  VmmProcess(pid_t pid, UniqueFd control) : pid_(pid), control_(std::move(control)) {}

  pid_t pid_;
  UniqueFd control_;
};

// One of tests/kvm/guests, opened.
UniqueFd OpenGuest(const std::string& name);
UniqueFd MakeMemfd(const char* name);
UniqueFd Duplicate(const UniqueFd& fd);
std::string Contents(const UniqueFd& fd);

}  // namespace snapfaas
