// LoadSample, what became of one request of a load, and NodeState, what its node says of itself meanwhile.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/http_client.h"

namespace snapfaas::cli {

// How a request came to its microVM.
enum class Start {
  kUnknown,   // no function answered
  kWarm,      // one that was there, idle or reset
  kRestored,  // one restored from the function's own snapshot
  kCold,      // one restored from its runtime's base snapshot: the function was loaded then
};
std::string_view NameOf(Start start);

// What became of a request. Milliseconds.
struct LoadSample {
  uint32_t function = 0;  // its place in the workload
  uint32_t user = 0;
  int64_t due_ns = 0;      // from the start of the run
  double lag_ms = 0;       // from being due to being sent: the generator's own fault
  double latency_ms = 0;   // from being due to the answer, or to its being given up
  double response_ms = 0;  // the same, from being sent
  int status = 0;          // 0: no answer
  bool has_function_error = false;
  Start start = Start::kUnknown;
  // What the node says of where the time went.
  double queued_ms = 0;
  double restore_ms = 0;
  double load_ms = 0;
  double run_ms = 0;
  double total_ms = 0;

  bool succeeded() const { return status == 200 && !has_function_error; }
};

// GET /v1/node at one moment.
struct NodeState {
  double at_seconds = 0;  // from the start of the run
  uint64_t budget_mib = 0;
  uint64_t reserved_mib = 0;
  uint64_t vms_busy = 0;
  uint64_t vms_idle = 0;
  uint64_t requests_queued = 0;
  std::map<std::string, uint64_t> counts;
};
// kIncompatible: this is no SnapFaaS node's.
Result<NodeState> ParseNodeState(std::string_view json);

// Status, start and times of an answer.
void Fill(LoadSample& sample, const HttpReply& reply);

// Why an answer is no success, in words that are the same for all of a kind. Empty: it is one.
std::string ProblemOf(const HttpReply& reply);

}  // namespace snapfaas::cli
