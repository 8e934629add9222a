// MicroVm: one microVM as its launcher sees it.
//
//   Create ──> idle ──Boot/Restore──> ready ──Invoke*──> destroyed
//                │                     ^   │
//                │                     └Reset (restored ones)
//                └────BootToSnapshot, RestoreToSnapshot──> ended
//
// It is made of a shell, and owns that and the request channel; destroying it leaves no process, socket or file. Every
// wait has a deadline (MonotonicNanos). After any error but kInvalidArgument the microVM is of no further use and is to
// be destroyed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/shell.h"
#include "faas/spawner.h"
#include "faas/timeline.h"
#include "snapshot/working_set.h"
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

// The descriptors of a loaded snapshot, and the runtimefs that it was taken with.
struct RestoreImages {
  wire::RestoreMode mode = wire::RestoreMode::kPrefetch;
  wire::SnapshotFds snapshot;
  UniqueFd runtimefs;
  // The base snapshot, as shells are primed with it; empty: not to be restored in a primed shell.
  std::string base;
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
  std::string payload;   // JSON: the function's answer, or {"errorType", "errorMessage", "stackTrace"}
  bool is_last = false;  // the function's process ends behind it
};

// What begins when the function is loaded.
struct OnceLoaded {
  int64_t answer_timeout_ns = 0;  // from then to the answer
  std::function<void()> notify;   // called once, on the waiting thread; may be empty
};

class MicroVm {
 public:
  // `launched_ns` is when the microVM was asked for: its time line begins there, however old the shell is.
  static Result<MicroVm> Create(Shell shell, int64_t launched_ns);

  // Asks now, and starts a shell for it.
  static Result<MicroVm> Launch(Spawner& spawner, const VmSize& size, int64_t deadline_ns);

  MicroVm(MicroVm&&) noexcept;
  MicroVm& operator=(MicroVm&&) noexcept;
  MicroVm(const MicroVm&) = delete;
  MicroVm& operator=(const MicroVm&) = delete;
  ~MicroVm();

  // Return when the function is loaded and waits for requests (126).
  Status Boot(BootImages images, FunctionFiles function, int64_t deadline_ns);
  Status Restore(RestoreImages images, FunctionFiles function, int64_t deadline_ns);

  // As Restore and then Invoke, with the request waiting for the guest when it comes to life.
  Result<Response> RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                    int64_t deadline_ns);

  // The deadline holds until the function is loaded; from then on the time is the function's own.
  Result<Response> RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                    int64_t deadline_ns, const OnceLoaded& once_loaded);

  // Throws away what the function has done since the restore, and makes another microVM of it that waits for requests:
  // another identity, and `log` in place of the log before. The timeline begins anew. REQUIRES: restored.
  Status Reset(UniqueFd log, int64_t deadline_ns);

  // The pages that were touched since the restore. REQUIRES: restored, not by copy.
  Result<snapshot::WorkingSet> RecordWorkingSet(int64_t deadline_ns);

  // Restores a base snapshot, loads the function and stops there; `state` and `memory`, empty files, then hold the
  // function snapshot and the VMM has ended.
  Result<wire::SnapshotTakenEvent> RestoreToSnapshot(RestoreImages images, FunctionFiles function, UniqueFd state,
                                                     UniqueFd memory, int64_t deadline_ns);

  // Boots without a function until every vCPU has rung 124; `state` and `memory`, empty files, then hold the snapshot
  // and the VMM has ended.
  Result<wire::SnapshotTakenEvent> BootToSnapshot(BootImages images, UniqueFd state, UniqueFd memory,
                                                  int64_t deadline_ns);

  // One request, one answer. An exception of the function is a Response; an Error means the microVM is gone or hangs.
  Result<Response> Invoke(const Request& request, int64_t deadline_ns);

  // The function's report of why it cannot be loaded, JSON; empty: it has sent none.
  const std::string& init_error() const;

  const Timeline& timeline() const;

  // Of its VMM, as VmmProcess::pid.
  pid_t pid() const;

  // False once its VMM has ended. Never blocks.
  bool IsAlive() const;

 private:
  class Impl;
  explicit MicroVm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::faas
