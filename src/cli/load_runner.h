// Sends the requests of a plan to a node, each at its time whatever became of those before it (an open loop), and notes
// what became of each.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/load_connections.h"
#include "cli/load_plan.h"
#include "cli/load_sample.h"

namespace snapfaas::cli {

struct LoadRun {
  std::vector<LoadSample> samples;  // in the plan's order
  double seconds = 0;               // to the last answer
  std::vector<NodeState> states;    // before the run first, then every so often
  std::optional<NodeState> after;   // where the node still answered
  // Why requests did not succeed, and how many; of the first kinds only.
  std::map<std::string, uint64_t> problems;
};

struct LoadProgress {
  double seconds = 0;
  uint64_t sent = 0;
  uint64_t answered = 0;
};

struct LoadOptions {
  double timeout_seconds = 60;                        // for one request, from its being sent
  double look_every_seconds = 0.5;                    // at the node's state
  std::function<void(const LoadProgress&)> progress;  // at these times; may be empty
};

// kUnavailable, kIncompatible, kPermissionDenied: there is no node at the target to begin with. What happens later is
// in the samples. REQUIRES: the plan is the workload's.
Result<LoadRun> RunLoad(const LoadTarget& target, const Workload& workload, const std::vector<Arrival>& plan,
                        const LoadOptions& options);

// One request after the other on one connection: `warm_up` that are not counted, then `runs`. Any failure ends it.
struct SequentialCalls {
  std::string function;
  std::string event = "{}";
  uint32_t warm_up = 5;
  uint32_t runs = 100;
  double timeout_seconds = 60;
};
Result<std::vector<LoadSample>> RunSequentially(const LoadTarget& target, const SequentialCalls& calls);

}  // namespace snapfaas::cli
