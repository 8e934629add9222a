// FunctionSpec: what the Controller and the Request Manager know of a function, and FunctionRequest, FunctionOutcome:
// what goes in and comes out. Plain values; nothing here knows of HTTP, files or databases.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "faas/spawner.h"

namespace snapfaas::faas {

enum class Isolation {
  kReuse,  // the next request finds what the last one left, as with AWS Lambda
  kReset,  // the microVM goes back to its snapshot before each request
};

struct FunctionSpec {
  // Names code and configuration: microVMs of one key stand in for each other, and only those.
  std::string key;
  std::string function;  // its name: what `reserved_concurrency` counts over all versions
  std::string version;   // "$LATEST" or a number
  VmSize size;
  Isolation isolation = Isolation::kReuse;
  int64_t timeout_ns = 0;                        // from the request's reaching the microVM's function to the answer
  std::optional<uint32_t> reserved_concurrency;  // at most so many requests at a time; 0: none at all
};

// Shared by who asked, the queue and the microVM's thread, so that 6 MB are not copied from one to the other.
struct FunctionRequest {
  std::string id;
  std::string event;           // JSON
  std::string arn;             // as invoked
  std::string client_context;  // JSON; empty: none
};
using SharedRequest = std::shared_ptr<const FunctionRequest>;

// How the request came to its microVM.
enum class StartKind {
  kIdle,      // one that waited
  kReset,     // the same, taken back to its snapshot first
  kRestored,  // one made of a snapshot
};

// Milliseconds, 0 where a phase did not happen.
struct RequestTimings {
  StartKind start = StartKind::kIdle;
  bool from_function_snapshot = false;
  double queued = 0;   // in the Request Manager
  double restore = 0;  // of the microVM, up to its first instruction: shell, memory and state
  double load = 0;     // in the guest: identity, mount and the function's load, or its hooks
  double run = 0;      // the function itself, as the host sees it
};

struct FunctionOutcome {
  enum class Kind {
    kResult,        // `payload` is the function's answer
    kError,         // `payload` is the function's report: errorType, errorMessage, stackTrace
    kInitError,     // the same, of a function that cannot be loaded
    kTimedOut,      // the time limit passed; the microVM is gone
    kCrashed,       // the microVM or the function's process ended; `message` says how
    kLaunchFailed,  // no microVM could be had, in two tries; `message` says why
    kThrottled,     // see `throttle`
    kCancelled,     // by who asked
    kRetired,       // the function was replaced or removed while the request waited: look it up again
    kStopping,      // the node takes no more work
  };
  enum class Throttle { kNone, kReservedConcurrency, kQueueFull, kQueueTimeout };

  Kind kind = Kind::kResult;
  Throttle throttle = Throttle::kNone;
  std::string payload;  // JSON
  std::string message;
  std::string log_tail;  // the last 4 KB of what the request logged, START to REPORT
  RequestTimings timings;
};

}  // namespace snapfaas::faas
