#include "cli/simulated_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/clock.h"
#include "cli/node_client.h"
#include "cli/rounding.h"
#include "cli/table.h"

namespace snapfaas::cli {
namespace {

// The node's own defaults.
constexpr uint32_t kDefaultMemoryMib = 128;
constexpr uint32_t kDefaultTimeoutSeconds = 3;
// Longer than any request of a trace may run.
constexpr uint32_t kTraceTimeoutSeconds = 86'400;
constexpr int64_t kSpareLeadNs = 500 * kMilli;

using OutcomeKind = faas::FunctionOutcome::Kind;
using SimThrottle = faas::FunctionOutcome::Throttle;

sim::Function SimFunctionOf(const std::string& name, const std::string& measured_as, uint32_t memory_mib,
                            uint32_t timeout_seconds, uint32_t vcpus, size_t place) {
  const uint32_t steps = (memory_mib + faas::kMemoryStepMib - 1) / faas::kMemoryStepMib;
  sim::Function function;
  function.spec.key = fmt::format("{}#{}", name, place);
  function.spec.function = function.spec.key;
  function.spec.version = "$LATEST";
  function.spec.size = {std::clamp(steps * faas::kMemoryStepMib, faas::kMinMemoryMib, faas::kMaxMemoryMib), vcpus};
  function.spec.timeout_ns = int64_t{timeout_seconds} * kSecond;
  function.measured_as = measured_as;
  return function;
}

int StatusOf(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kResult:
    case OutcomeKind::kError:
    case OutcomeKind::kInitError:
    case OutcomeKind::kTimedOut:
    case OutcomeKind::kCrashed:
      return 200;
    case OutcomeKind::kThrottled:
      return 429;
    default:
      return 503;
  }
}

std::string SimProblemOf(const sim::Answer& answer) {
  switch (answer.throttle) {
    case SimThrottle::kQueueFull:
      return "status 429: the queue was full";
    case SimThrottle::kQueueTimeout:
      return "status 429: no microVM was free in time";
    case SimThrottle::kReservedConcurrency:
      return "status 429: reserved concurrency";
    case SimThrottle::kNone:
      break;
  }
  if (answer.kind == OutcomeKind::kTimedOut) return "function error: the time limit passed";
  if (answer.kind == OutcomeKind::kLaunchFailed) return "status 503: the budget is too small for one microVM";
  return "others";
}

Start StartOfAnswer(const sim::Answer& answer) {
  // One whose microVM was not ready in time has called no function.
  const bool was_called = answer.kind != OutcomeKind::kTimedOut || answer.timings.run > 0;
  if (StatusOf(answer.kind) != 200 || !was_called) return Start::kUnknown;
  if (answer.timings.start != faas::StartKind::kRestored) return Start::kWarm;
  return answer.timings.from_function_snapshot ? Start::kRestored : Start::kCold;
}

std::map<std::string, uint64_t> CountsOf(const sim::Outcome& outcome) {
  const auto& requests = outcome.requests;
  return {{"invocations", requests.answered},
          {"timeouts", requests.timed_out},
          {"throttles",
           requests.throttled_reserved_concurrency + requests.throttled_queue_full + requests.throttled_queue_timeout},
          {"launches", outcome.vms.launches},
          {"launch_failures", outcome.vms.launch_failures},
          {"evictions", outcome.vms.evictions},
          {"expirations", outcome.vms.expirations},
          {"idle_hits", outcome.vms.idle_hits},
          {"shells_started", outcome.shells.shells_started},
          {"shells_missing", outcome.shells.shells_missing}};
}

const Json& Within(const Json& object, const char* key) {
  static const Json nothing;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : nothing;
}

}  // namespace

Result<SimulatedLoad> LoadOfWorkload(const Workload& workload, uint32_t scale, uint32_t vcpus) {
  SimulatedLoad load;
  load.workload = workload;
  load.workload.functions.clear();
  for (uint32_t copy = 0; copy < scale; ++copy) {
    for (const LoadFunction& function : workload.functions) {
      LoadFunction& copied = load.workload.functions.emplace_back(function);
      if (copy > 0) copied.name += fmt::format("-{}", copy + 1);
      load.functions.push_back(
          SimFunctionOf(copied.name, function.name, function.memory_mib.value_or(kDefaultMemoryMib),
                        function.timeout_seconds.value_or(kDefaultTimeoutSeconds), vcpus, load.functions.size()));
    }
  }
  auto arrivals = MakeArrivals(load.workload);
  if (!arrivals) return Forward(arrivals.error());
  if (arrivals->empty()) {
    return Fail(ErrorCode::kInvalidArgument, "the workload comes to no request at all: lower mu, or make it longer");
  }
  load.requests.reserve(arrivals->size());
  for (const Arrival& arrival : *arrivals) load.requests.push_back({arrival.at_ns, arrival.function, std::nullopt});
  return load;
}

Result<SimulatedLoad> LoadOfTrace(const sim::Trace& trace, uint32_t vcpus) {
  if (trace.requests.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "the trace comes to no request at all: take more minutes or functions");
  }
  SimulatedLoad load;
  load.workload.duration_seconds = trace.seconds;
  for (const sim::TraceFunction& function : trace.functions) {
    load.workload.functions.emplace_back().name = function.name;
    load.functions.push_back(SimFunctionOf(function.name, function.name, function.memory_mib, kTraceTimeoutSeconds,
                                           vcpus, load.functions.size()));
  }
  load.requests = trace.requests;
  return load;
}

sim::Options SimulationOptions(const node::NodeConfig& config, double cpus) {
  sim::Options options;
  options.cpus = cpus;
  options.controller.max_launches = config.LaunchesAtATime(cpus);
  options.controller.budget_mib = config.budget_mib;
  options.controller.overhead_mib = static_cast<uint32_t>(config.overhead_mib);
  options.controller.idle_ttl_ns = static_cast<int64_t>(config.idle_seconds) * kSecond;
  if (config.spares) options.controller.spare_lead_ns = kSpareLeadNs;
  options.requests.max_queue = config.queue_per_function;
  options.requests.max_queue_total = config.queue_in_all;
  options.requests.max_wait_ns = static_cast<int64_t>(config.queue_seconds) * kSecond;
  options.host.shells_per_kind = config.shells;
  options.host.max_shells = config.shells_in_all;
  return options;
}

LoadRun ToLoadRun(const SimulatedLoad& load, const sim::Outcome& outcome) {
  LoadRun run;
  run.seconds = outcome.seconds;
  run.samples.reserve(outcome.answers.size());
  for (size_t i = 0; i < outcome.answers.size(); ++i) {
    const sim::Answer& answer = outcome.answers[i];
    LoadSample& sample = run.samples.emplace_back();
    sample.function = load.requests[i].function;
    sample.due_ns = load.requests[i].at_ns;
    sample.latency_ms = sample.response_ms = answer.latency_ms;
    sample.status = StatusOf(answer.kind);
    sample.has_function_error = sample.status == 200 && answer.kind != OutcomeKind::kResult;
    sample.start = StartOfAnswer(answer);
    sample.queued_ms = answer.timings.queued;
    sample.restore_ms = answer.timings.restore;
    sample.load_ms = answer.timings.load;
    sample.run_ms = answer.timings.run;
    if (answer.kind != OutcomeKind::kResult) ++run.problems[SimProblemOf(answer)];
  }
  NodeState before;
  before.budget_mib = outcome.budget_mib;
  NodeState after = before;
  after.reserved_mib = outcome.peak_reserved_mib;
  after.counts = CountsOf(outcome);
  run.states.push_back(std::move(before));
  run.after = std::move(after);
  return run;
}

std::optional<double> FidelityRow::difference() const {
  if (real == 0) return simulated == 0 ? std::optional(0.0) : std::nullopt;
  return (simulated - real) / real * 100;
}

Result<RealRun> ReadRealRun(const std::string& text, const std::string& file, sim::LaunchKind launch) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Json& runs = Within(json, "runs");
  if (!runs.is_array() || !Within(json, "seed").is_number()) {
    return Fail(ErrorCode::kInvalidArgument, "{}: these are no results of snapfaas bench load --json", file);
  }
  const std::string wanted = fmt::format("snapshots {}", launch == sim::LaunchKind::kFunctionSnapshot ? "on" : "off");
  for (const Json& run : runs) {
    const std::string name = TextOf(run, "name");
    if (name != wanted && name != "load") continue;
    return RealRun{json["seed"].get<uint64_t>(), static_cast<uint64_t>(NumberOf(run, "memory_budget_mib")), name, run};
  }
  return Fail(ErrorCode::kInvalidArgument, "{}: it has no run named \"{}\" or \"load\"", file, wanted);
}

std::vector<FidelityRow> CompareRuns(const RealRun& real, const LoadSummary& simulated) {
  const Json& latency = Within(Within(real.summary, "latency_ms"), "all");
  const Json& queued = Within(real.summary, "queued_ms");
  const Json& counts = Within(real.summary, "counts");
  const auto count = [&simulated](const char* name) {
    const auto found = simulated.counts->find(name);
    return found == simulated.counts->end() ? 0 : static_cast<double>(found->second);
  };
  return {
      {"success rate, %", NumberOf(real.summary, "success_rate") * 100, simulated.success_rate() * 100, true},
      {"latency p50, ms", NumberOf(latency, "p50"), simulated.latency.p50, true},
      {"latency p95, ms", NumberOf(latency, "p95"), simulated.latency.p95},
      {"latency p99, ms", NumberOf(latency, "p99"), simulated.latency.p99},
      {"scheduling p50, ms", NumberOf(Within(real.summary, "scheduling_ms"), "p50"), simulated.scheduling.p50},
      {"queued p95, ms", NumberOf(queued, "p95"), simulated.queued.p95},
      {"answers a second", NumberOf(real.summary, "succeeded_per_second"), simulated.succeeded_per_second()},
      {"cold starts, %", NumberOf(Within(real.summary, "starts"), "cold_start_share") * 100,
       simulated.starts.cold_start_share() * 100},
      {"launches", NumberOf(counts, "launches"), count("launches")},
      {"evictions", NumberOf(counts, "evictions"), count("evictions")},
      {"launches without a waiting VMM", NumberOf(counts, "shells_missing"), count("shells_missing")},
      {"peak memory, MiB", NumberOf(real.summary, "peak_reserved_mib"),
       static_cast<double>(simulated.peak_reserved_mib)},
  };
}

std::string FidelityTable(const std::vector<FidelityRow>& rows) {
  std::vector<std::vector<std::string>> cells;
  for (const FidelityRow& row : rows) {
    const auto difference = row.difference();
    cells.push_back({row.what, fmt::format("{:.1f}", row.real), fmt::format("{:.1f}", row.simulated),
                     difference ? fmt::format("{:+.1f} %", *difference) : ""});
  }
  return FormatTable({{""}, {"real node", Align::kRight}, {"simulated", Align::kRight}, {"difference", Align::kRight}},
                     cells);
}

OrderedJson FidelityJson(const std::vector<FidelityRow>& rows) {
  OrderedJson json = OrderedJson::array();
  for (const FidelityRow& row : rows) {
    const auto difference = row.difference();
    json.push_back({{"what", row.what},
                    {"real", Rounded(row.real)},
                    {"simulated", Rounded(row.simulated)},
                    {"difference_percent", difference ? OrderedJson(Rounded(*difference)) : OrderedJson()},
                    {"checked", row.is_checked}});
  }
  return json;
}

}  // namespace snapfaas::cli
