// A load on a simulated node, in the terms of `snapfaas bench load`, and how it compares with that of a real one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/load_plan.h"
#include "cli/load_report.h"
#include "cli/load_runner.h"
#include "node/node_config.h"
#include "sim/azure_trace.h"
#include "sim/costs.h"
#include "sim/simulation.h"

namespace snapfaas::cli {

// What is simulated. The workload names the functions, also of a trace.
struct SimulatedLoad {
  Workload workload;
  std::vector<sim::Function> functions;
  std::vector<sim::Request> requests;  // by time
};

// `scale` copies of each function, each with calls of its own; they take what the function was measured to take.
// kInvalidArgument: as MakeArrivals, or it comes to no request.
Result<SimulatedLoad> LoadOfWorkload(const Workload& workload, uint32_t scale, uint32_t vcpus);
// kInvalidArgument: it has no request.
Result<SimulatedLoad> LoadOfTrace(const sim::Trace& trace, uint32_t vcpus);

// The node's, where it decides about a request. `budget_mib` of the configuration must be set.
sim::Options SimulationOptions(const node::NodeConfig& config, double cpus);

LoadRun ToLoadRun(const SimulatedLoad& load, const sim::Outcome& outcome);

// A real run beside a simulated one.
struct FidelityRow {
  std::string what;
  double real = 0;
  double simulated = 0;
  bool is_checked = false;  // against a tolerance

  // In percent of the real one; nothing where that is 0 and this is not.
  std::optional<double> difference() const;
};
struct RealRun {
  uint64_t seed = 0;
  uint64_t budget_mib = 0;
  std::string name;
  Json summary;  // as ToJson(LoadSummary)
};
// The run with function snapshots, or without, of the results of `snapfaas bench load`. kInvalidArgument: there is
// none.
Result<RealRun> ReadRealRun(const std::string& text, const std::string& file, sim::LaunchKind launch);
std::vector<FidelityRow> CompareRuns(const RealRun& real, const LoadSummary& simulated);
std::string FidelityTable(const std::vector<FidelityRow>& rows);
nlohmann::ordered_json FidelityJson(const std::vector<FidelityRow>& rows);

}  // namespace snapfaas::cli
