// What a load did to a node, in numbers: for a person and as JSON. docs/workloads.md says what each means.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/load_plan.h"
#include "cli/load_runner.h"

namespace snapfaas::cli {

// Milliseconds; percentiles by nearest rank, all 0 where there is nothing.
struct LatencySpread {
  size_t count = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};
LatencySpread LatencySpreadOf(std::vector<double> millis);

// Every request is in one of these.
struct OutcomeCounts {
  uint64_t succeeded = 0;
  uint64_t function_errors = 0;
  uint64_t throttled = 0;
  uint64_t failed = 0;      // any other status
  uint64_t unanswered = 0;  // within the client's patience, or at all

  uint64_t total() const { return succeeded + function_errors + throttled + failed + unanswered; }
};

// Requests that functions answered.
struct StartCounts {
  uint64_t warm = 0;
  uint64_t restored = 0;
  uint64_t cold = 0;

  // The share of those that had to wait for a microVM to be made; 0 of none.
  double cold_start_share() const;
};

// Latencies are of requests that succeeded, from their being due.
struct FunctionSummary {
  std::string name;
  OutcomeCounts outcomes;
  StartCounts starts;
  LatencySpread latency;
};

struct LoadSummary {
  std::string name;             // of the run
  double duration_seconds = 0;  // of the workload
  double seconds = 0;           // to the last answer
  OutcomeCounts outcomes;
  StartCounts starts;
  uint64_t succeeded_in_time = 0;  // before the workload's end
  LatencySpread latency;
  LatencySpread warm;
  LatencySpread restored;
  LatencySpread cold;
  LatencySpread queued;                    // of requests that functions answered: until they had a microVM
  LatencySpread scheduling;                // of the same: until their function was called
  LatencySpread lag;                       // of all requests
  std::vector<FunctionSummary> functions;  // in the workload's order
  uint64_t budget_mib = 0;
  uint64_t peak_reserved_mib = 0;
  uint64_t idle_before = 0;  // idle microVMs at the start
  // What the node counted during the run; nothing where it did not answer afterwards.
  std::optional<std::map<std::string, uint64_t>> counts;
  std::map<std::string, uint64_t> problems;

  double success_rate() const;
  double offered_per_second() const;
  double succeeded_per_second() const;  // while requests came
};
LoadSummary Summarize(const std::string& name, const Workload& workload, const LoadRun& run);

std::string Describe(const LoadSummary& summary);
// Two runs of one plan beside each other.
std::string Comparison(const LoadSummary& off, const LoadSummary& on);

nlohmann::ordered_json ToJson(const LatencySpread& spread);
nlohmann::ordered_json ToJson(const LoadSummary& summary);
nlohmann::ordered_json ComparisonJson(const LoadSummary& off, const LoadSummary& on);

// `head` with all requests of the runs as its last members, "sample_columns" and "samples", a line each.
// REQUIRES: `head` is an object and not empty.
struct NamedRun {
  std::string name;
  LoadRun run;
};
std::string WithSamples(const nlohmann::ordered_json& head, const Workload& workload,
                        const std::vector<NamedRun>& runs);

}  // namespace snapfaas::cli
