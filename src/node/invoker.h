// Invoker and EventAcceptor: how a gateway has functions run, without knowing of registry, Request Manager or microVMs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "faas/function_spec.h"

namespace snapfaas::node {

struct Invocation {
  std::string function;   // its name
  std::string qualifier;  // a version, "$LATEST" or an alias; empty: $LATEST
  std::string request_id;
  std::string event;           // JSON
  std::string client_context;  // JSON; empty: none
};

struct InvocationAnswer {
  enum class Kind {
    kAnswered,     // by the function, also by an error of it: `payload`, and `function_error` says which
    kNotFound,     // no such function, version or alias: `message`
    kNotReady,     // its state is Pending or Failed: `message`
    kThrottled,    // `message`, `reason`
    kUnavailable,  // the node is about to stop, or could not make a microVM: `message`
    kCancelled,
  };

  Kind kind = Kind::kAnswered;
  std::string payload;           // JSON
  std::string function_error;    // X-Amz-Function-Error: empty or "Unhandled"
  std::string executed_version;  // "$LATEST" or a number
  std::string log_tail;          // at most 4 KB
  std::string message;
  std::string reason;  // of kThrottled, as Lambda spells it: ReservedFunctionConcurrentInvocationLimitExceeded, ...
  faas::RequestTimings timings;
  double total_ms = 0;  // from Invoke to `done`
};

// Whether an invocation would reach its function: kAnswered, or kNotFound, kNotReady, kUnavailable with a message.
struct InvocationCheck {
  InvocationAnswer::Kind kind = InvocationAnswer::Kind::kAnswered;
  std::string message;
};

class Invoker {
 public:
  using Ticket = uint64_t;

  virtual ~Invoker() = default;

  // From any thread; does not block. `done` comes once, on any thread, maybe from within the call.
  virtual Ticket Invoke(Invocation invocation, std::function<void(InvocationAnswer)> done) = 0;

  // Nobody waits for it any more: it leaves the queue, or its microVM is ended. `done` still comes. From any thread.
  virtual void Cancel(Ticket ticket) = 0;

  // Runs nothing. From any thread; may block on the disk.
  virtual InvocationCheck Check(const std::string& function, const std::string& qualifier) = 0;
};

// Asynchronous invocation.
class EventAcceptor {
 public:
  virtual ~EventAcceptor() = default;

  // On return the event outlives a crash of the node. kNotFound as above; kUnavailable: the node is about to stop.
  // Blocks on the disk.
  virtual Status Accept(Invocation invocation) = 0;
};

}  // namespace snapfaas::node
