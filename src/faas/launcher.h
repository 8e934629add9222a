// MicroVm: one microVM as its launcher sees it.
//
//   Launch ──> shell ──Boot/Restore──> ready ──Invoke*──> destroyed
//                └─────BootToSnapshot──> ended
//
// It owns the VMM process, the control socket and the request channel; destroying it leaves no process, socket or
// file. Every wait has a deadline (MonotonicNanos). After any error but kInvalidArgument the microVM is of no further
// use and is to be destroyed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/spawner.h"
#include "faas/timeline.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace snapfaas::faas {

// The kernel command line of a boot. The initramfs knows where its root is.
extern const char kKernelCommandLine[];

struct BootImages {
  UniqueFd kernel;
  UniqueFd initramfs;
  UniqueFd runtimefs;
};

// The descriptors of a snapshot held in memory, and the runtimefs that it was taken with.
struct RestoreImages {
  wire::RestoreMode mode = wire::RestoreMode::kMmap;
  UniqueFd state;
  UniqueFd memory;
  UniqueFd runtimefs;
};

// What one function brings to its microVM.
struct FunctionFiles {
  UniqueFd appfs;
  UniqueFd log;  // takes what the function prints; absent: dropped
};

struct Request {
  std::string_view event;    // JSON
  std::string_view context;  // JSON object as the guest contract has it; empty: as before
};

struct Response {
  enum class Kind { kResult, kError };
  Kind kind = Kind::kResult;
  std::string payload;  // JSON: the function's answer, or {"errorType", "errorMessage", "stackTrace"}
};

class MicroVm {
 public:
  // Starts a VMM and waits for its shell.
  static Result<MicroVm> Launch(Spawner& spawner, const VmSize& size, int64_t deadline_ns);

  MicroVm(MicroVm&&) noexcept;
  MicroVm& operator=(MicroVm&&) noexcept;
  ~MicroVm();

  // Return when the function is loaded and waits for requests (126).
  Status Boot(BootImages images, FunctionFiles function, int64_t deadline_ns);
  Status Restore(RestoreImages images, FunctionFiles function, int64_t deadline_ns);

  // Boots without a function until every vCPU has rung 124; `state` and `memory`, empty files, then hold the snapshot
  // and the VMM has ended.
  Result<wire::SnapshotTakenEvent> BootToSnapshot(BootImages images, UniqueFd state, UniqueFd memory,
                                                  int64_t deadline_ns);

  // One request, one answer. An exception of the function is a Response; an Error means the microVM is gone or hangs.
  Result<Response> Invoke(const Request& request, int64_t deadline_ns);

  const Timeline& timeline() const;

 private:
  class Impl;
  explicit MicroVm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::faas
