// HostedVm: one microVM of the MicroVmHost: its process, its log, and how its end of a request becomes an outcome.
//
// One call at a time, on any thread; each blocks until its end or its deadline. Interrupt and pid come from anywhere at
// any time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/function_spec.h"
#include "faas/launcher.h"
#include "faas/shell_pool.h"
#include "faas/vm_host.h"
#include "node/function_log.h"
#include "node/function_store.h"
#include "node/runtime_access.h"
#include "node/vm_log.h"
#include "snapshot/working_set.h"

namespace snapfaas::node {

// What all microVMs of a host use.
struct HostParts {
  FunctionStore& store;
  faas::ShellPool& pool;
  LogReader& reader;
  FunctionLogs& logs;
  Shells shells = Shells::kPrimed;
  int64_t launch_timeout_ns = 0;
};

class HostedVm {
 public:
  HostedVm(const HostParts& parts, const faas::FunctionSpec& spec) : parts_(parts), spec_(spec) {}

  // As VmHost's. `launched_ns` is when it was asked for.
  faas::VmHost::Answer LaunchAndInvoke(int64_t launched_ns, const faas::FunctionRequest& request,
                                       const std::function<void()>& loaded);
  Status Launch(int64_t launched_ns);
  faas::VmHost::Answer Invoke(const faas::FunctionRequest& request);
  Status Reset();

  // Whether its snapshot waits for the pages that this microVM has touched, now that it has answered.
  bool WantsRecording() const { return claim_ != nullptr && has_answered_ && !IsInterrupted(); }
  struct Recording {
    std::unique_ptr<WorkingSetClaim> claim;
    snapshot::WorkingSet set;
  };
  // Nothing where it failed: the claim is given back.
  std::optional<Recording> Record();

  // On return its process is reaped. The object is of no further use.
  void End();

  // Has a call that is under way, and any later one, end at once.
  void Interrupt();

  // 0: there is no process.
  pid_t pid() const { return pid_; }

 private:
  struct Started {
    faas::RestoreImages images;
    faas::FunctionFiles files;
    faas::ShellPool::Pause pause;
  };
  // A shell taken, and all that is to be sent to it.
  Result<Started> Start(int64_t launched_ns, int64_t deadline_ns);
  Result<UniqueFd> OpenLog();
  Status Adopt(faas::Shell shell, int64_t launched_ns);
  bool IsInterrupted() const;
  // Of a launch that failed with `error`.
  void BlameSnapshot(const Error& error);

  faas::VmHost::Answer Conclude(const faas::FunctionRequest& request, Result<faas::Response> response,
                                const faas::RequestTimings& timings);
  faas::FunctionOutcome OutcomeOf(Result<faas::Response> response) const;
  std::string ComplaintAbout(const faas::FunctionRequest& request, const faas::FunctionOutcome& outcome) const;
  RequestReport ReportOf(const faas::RequestTimings& timings);
  faas::RequestTimings TimingsOfStart() const;

  const HostParts& parts_;
  const faas::FunctionSpec spec_;

  // Of the one call under way. Kept here so that the time of a reset or of a spare's start is told with its request.
  std::optional<VmLog> log_;
  std::optional<faas::MicroVm> vm_;
  std::unique_ptr<WorkingSetClaim> claim_;
  bool is_function_snapshot_ = false;
  bool has_answered_ = false;  // to the last request
  uint64_t most_used_mib_ = 0;
  bool was_reset_ = false;  // and has served no request since

  std::atomic<pid_t> pid_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  UniqueFd control_;          // a duplicate of the control socket
  bool is_interrupted_ = false;
};

}  // namespace snapfaas::node
