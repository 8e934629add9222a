// VmHost: makes and ends microVMs for the Controller, which decides when. The node's (node/microvm_host.h) has real
// ones; a simulator's takes measured times; tests play it.
//
// No function blocks. Each calls its `done` exactly once, on any thread, also from within the call. One call at a time
// for one microVM, but Destroy, which may come while another is under way: that one then ends with kCrashed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "faas/function_spec.h"

namespace snapfaas::faas {

// Chosen by the Controller, never used twice.
using VmId = uint64_t;

class VmHost {
 public:
  struct Answer {
    FunctionOutcome outcome;
    // Whether the microVM can take another request. False after all but kResult and kError.
    bool is_usable = false;
  };
  using AnswerDone = std::function<void(Answer answer)>;
  using StatusDone = std::function<void(Status status)>;

  virtual ~VmHost() = default;

  // A microVM from the function's snapshot or its base, and in it its first request. The function's time limit counts
  // from its being loaded; `loaded` tells that it is, once at most, before `done` and like it. kLaunchFailed: nothing
  // is left of it.
  virtual void LaunchAndInvoke(VmId vm, const FunctionSpec& spec, SharedRequest request, std::function<void()> loaded,
                               AnswerDone done) = 0;

  // One that waits for its first request.
  virtual void Launch(VmId vm, const FunctionSpec& spec, StatusDone done) = 0;

  // REQUIRES of both: it waits. Invoke answers kLaunchFailed when the microVM has ended while it waited, so that the
  // request has not reached it: nothing is left of it then.
  virtual void Invoke(VmId vm, SharedRequest request, AnswerDone done) = 0;
  virtual void Reset(VmId vm, StatusDone done) = 0;

  // Ends it, whatever it does. `done` comes when its memory is the host's again: at once where nothing is left of it,
  // since its launch may have failed in the same moment.
  virtual void Destroy(VmId vm, std::function<void()> done) = 0;
};

}  // namespace snapfaas::faas
