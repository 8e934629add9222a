// What the registry knows of functions: plain values.
//
// States of a version, as clients see them (State and LastUpdateStatus):
//
//   create, publish ──> Pending ──finished──> Active ──update──> Active, InProgress ──finished──> Active, Successful
//                          │                    ^                        │
//                          └─────failed────┐    │                        └───────failed────────> Active, Failed
//                                          v    │ finished
//                                        Failed ──update──> Pending, InProgress ──failed──> Failed, Failed
//
// `deployed` is what is really served: it stays as it was until an update has finished, and after one that failed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace snapfaas::registry {

inline constexpr const char* kLatest = "$LATEST";

enum class Isolation {
  kReuse,  // the next request finds what the last one left
  kReset,  // the microVM goes back to its snapshot before each request
};

enum class SnapStart { kNone, kPublishedVersions };

enum class State { kPending, kActive, kFailed };
enum class UpdateStatus { kNone, kInProgress, kSuccessful, kFailed };

// The stable names of these, as Lambda spells them: "Pending", "InProgress", ...; kNone is "".
const char* StateName(State state);
const char* UpdateStatusName(UpdateStatus status);

// What a client sets.
struct FunctionConfig {
  std::string runtime;  // as the client names it, e.g. "python3.12"; see runtimes.h
  std::string handler;
  std::string role;
  std::string description;
  uint32_t timeout_s = 3;
  uint32_t memory_mib = 128;
  std::map<std::string, std::string> environment;
  SnapStart snap_start = SnapStart::kNone;
  Isolation isolation = Isolation::kReuse;
  std::vector<std::string> architectures = {"x86_64"};
  std::string dead_letter_arn;               // empty: none
  std::string tracing_mode = "PassThrough";  // kept and returned, nothing more
  uint32_t ephemeral_storage_mib = 512;      // the same

  bool operator==(const FunctionConfig&) const = default;
};

// A zip of the code store.
struct Code {
  std::string sha256;  // 64 hexadecimal digits
  uint64_t size = 0;

  bool operator==(const Code&) const = default;
};

// What requests are served with.
struct Deployed {
  std::string image;  // its hash
  FunctionConfig config;
  Code code;

  bool operator==(const Deployed&) const = default;
};

struct FunctionVersion {
  std::string function;
  std::string version;  // "$LATEST" or a number
  FunctionConfig config;
  Code code;
  std::string revision;  // another after every change by a client
  int64_t last_modified_unix_ms = 0;
  State state = State::kPending;
  std::string state_reason;
  std::string state_reason_code;
  UpdateStatus update_status = UpdateStatus::kNone;
  std::string update_reason;
  std::string update_reason_code;
  // Names what is being made ready while State is Pending or LastUpdateStatus InProgress; empty otherwise.
  std::string deployment;
  std::optional<Deployed> deployed;

  bool InProgress() const { return !deployment.empty(); }
};

struct Alias {
  std::string function;
  std::string name;
  std::string version;
  std::string description;
  std::map<std::string, double> additional_weights;  // version -> its share of requests; the rest goes to `version`
  std::string revision;
};

// What a qualifier stands for: one version, or an alias' several.
struct Resolution {
  struct Choice {
    FunctionVersion version;
    double weight = 1;  // the weights' sum is 1
  };

  std::optional<uint32_t> reserved_concurrency;
  std::vector<Choice> choices;  // at least one

  // REQUIRES: `random` is in [0, 1).
  const FunctionVersion& Choose(double random) const;
};

// Of asynchronous invocation by one qualifier.
struct EventInvokeConfig {
  std::string function;
  std::string qualifier;                       // "$LATEST", a version or an alias
  std::optional<uint32_t> max_retry_attempts;  // 0 to 2; unset: 2
  std::optional<uint32_t> max_event_age_s;     // 60 to 21600; unset: 21600
  std::string on_success;                      // a function's ARN; empty: none
  std::string on_failure;                      // the same
  int64_t last_modified_unix_ms = 0;
};

struct Cors {
  bool allow_credentials = false;
  std::vector<std::string> allow_headers;
  std::vector<std::string> allow_methods;
  std::vector<std::string> allow_origins;
  std::vector<std::string> expose_headers;
  uint32_t max_age_s = 0;

  bool operator==(const Cors&) const = default;
};

enum class UrlAuth { kNone, kAwsIam };

struct FunctionUrl {
  std::string id;  // the first label of its host name: 32 lower-case letters and digits
  std::string function;
  std::string qualifier;  // "$LATEST" or an alias
  UrlAuth auth = UrlAuth::kAwsIam;
  std::optional<Cors> cors;
  int64_t created_unix_ms = 0;
  int64_t last_modified_unix_ms = 0;
};

// A resource policy: JSON objects, kept as they are.
struct PolicyStatement {
  std::string id;
  std::string json;
};
struct Policy {
  std::vector<PolicyStatement> statements;
  std::string revision;
};

struct AccountCounts {
  uint64_t functions = 0;
  uint64_t code_bytes = 0;            // of all versions
  uint64_t reserved_concurrency = 0;  // of all functions
};

// An asynchronous invocation on its way.
struct NewEvent {
  std::string function;
  std::string qualifier;
  std::string request_id;
  std::string payload;         // JSON
  std::string client_context;  // JSON; empty: none
};

using EventId = int64_t;

struct Event {
  EventId id = 0;
  NewEvent what;
  uint32_t attempts = 0;  // that have failed
  int64_t accepted_unix_ms = 0;
};

// A version that is to be made ready.
struct PendingDeployment {
  std::string function;
  std::string version;
  std::string deployment;
};

}  // namespace snapfaas::registry
