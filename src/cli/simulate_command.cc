#include "cli/simulate_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "cli/bench_support.h"
#include "cli/context.h"
#include "cli/rounding.h"
#include "cli/simulated_load.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

// Of a simulation that is checked: so that chance is the real run's alone.
constexpr uint64_t kDraws = 9;
constexpr uint64_t kDrawStride = 1'000'003;

struct SimulateOptions {
  std::filesystem::path workload;
  std::vector<std::string> azure_2019;
  std::string azure_memory;
  std::string azure_2021;
  uint64_t minutes = 0;
  uint64_t function_limit = 0;
  uint32_t memory_mib = 128;

  std::vector<std::string> costs;
  std::string missing_costs;
  std::string bare_costs;
  std::string boot_costs;
  std::string config;
  std::optional<uint64_t> budget_mib;
  std::optional<uint64_t> idle_seconds;
  std::optional<uint64_t> shells;
  std::optional<double> cpus;
  std::string snapshots = "on";
  std::optional<uint64_t> seed;
  uint32_t scale = 1;

  std::string check;
  double hold_out_seconds = 0;
  std::optional<double> tolerance;
  std::filesystem::path json;

  bool has_trace() const { return !azure_2019.empty() || !azure_2021.empty(); }
};

Result<std::string> ReadText(const std::string& path) { return images::ReadWholeFile(path); }

Result<sim::CostsFile> ReadCostsFile(const std::string& path) {
  auto text = ReadText(path);
  if (!text) return Forward(text.error());
  return sim::CostsFile{*std::move(text), path};
}

Result<sim::Costs> ReadCosts(const SimulateOptions& options, const std::optional<sim::Half>& half = std::nullopt) {
  std::vector<sim::CostsFile> files;
  for (const std::string& path : options.costs) {
    auto file = ReadCostsFile(path);
    if (!file) return Forward(file.error());
    files.push_back(*std::move(file));
  }
  std::optional<sim::CostsFile> missing;
  if (!options.missing_costs.empty()) {
    auto file = ReadCostsFile(options.missing_costs);
    if (!file) return Forward(file.error());
    missing = *std::move(file);
  }
  auto costs = sim::ParseCosts(files, half, missing);
  if (!costs) return costs;
  using Add = Status (*)(const sim::CostsFile& file, sim::Costs& costs);
  const std::pair<const std::string&, Add> others[] = {{options.bare_costs, sim::AddBareCosts},
                                                       {options.boot_costs, sim::AddBootCosts}};
  for (const auto& [path, add] : others) {
    if (path.empty()) continue;
    auto file = ReadCostsFile(path);
    if (!file) return Forward(file.error());
    if (auto added = add(*file, *costs); !added) return Forward(added.error());
  }
  return costs;
}

Result<node::NodeConfig> ConfigOf(const SimulateOptions& options, const std::optional<RealRun>& real) {
  node::NodeConfig config;
  if (!options.config.empty()) {
    auto loaded = node::LoadNodeConfig(options.config);
    if (!loaded) return loaded;
    config = *std::move(loaded);
  }
  if (real && config.budget_mib == 0) config.budget_mib = real->budget_mib;
  config.budget_mib = options.budget_mib.value_or(config.budget_mib);
  config.idle_seconds = options.idle_seconds.value_or(config.idle_seconds);
  config.shells = options.shells.value_or(config.shells);
  if (config.budget_mib == 0) {
    return Fail(ErrorCode::kInvalidArgument, "how much memory has the node? Add --budget, in MiB");
  }
  return config;
}

Result<sim::Trace> ReadTrace(const SimulateOptions& options, uint64_t seed) {
  sim::TraceOptions trace;
  trace.minutes = options.minutes;
  trace.functions = options.function_limit;
  trace.scale = options.scale;
  trace.memory_mib = options.memory_mib;
  trace.max_requests = kMaxArrivals;
  trace.seed = seed;
  if (!options.azure_2021.empty()) {
    auto text = ReadText(options.azure_2021);
    if (!text) return Forward(text.error());
    return sim::ParseAzure2021({*text, options.azure_2021}, trace);
  }
  auto durations = ReadText(options.azure_2019[0]);
  if (!durations) return Forward(durations.error());
  auto invocations = ReadText(options.azure_2019[1]);
  if (!invocations) return Forward(invocations.error());
  auto memory = options.azure_memory.empty() ? Result<std::string>(std::string()) : ReadText(options.azure_memory);
  if (!memory) return Forward(memory.error());
  return sim::ParseAzure2019({*durations, options.azure_2019[0]}, {*invocations, options.azure_2019[1]},
                             {*memory, options.azure_memory}, trace);
}

Result<SimulatedLoad> ReadLoad(const SimulateOptions& options, uint32_t vcpus) {
  if (options.has_trace() != options.workload.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "what is to be simulated? Name one workload, or one trace");
  }
  if (!options.has_trace()) {
    auto workload = ReadWorkload(options.workload);
    if (!workload) return Forward(workload.error());
    if (options.seed) workload->seed = *options.seed;
    return LoadOfWorkload(*workload, options.scale, vcpus);
  }
  auto trace = ReadTrace(options, options.seed.value_or(1));
  if (!trace) return Forward(trace.error());
  if (trace->functions_left_out > 0) {
    fmt::print(stderr, "snapfaas: {} functions are left out: nothing says how long they run\n",
               trace->functions_left_out);
  }
  auto load = LoadOfTrace(*trace, vcpus);
  if (load) load->workload.seed = options.seed.value_or(1);
  return load;
}

std::vector<std::pair<std::string, sim::LaunchKind>> KindsOf(const std::string& snapshots) {
  using sim::LaunchKind;
  if (snapshots == "both")
    return {{"snapshots off", LaunchKind::kBoot}, {"snapshots on", LaunchKind::kFunctionSnapshot}};
  if (snapshots == "off") return {{"snapshots off", LaunchKind::kBoot}};
  if (snapshots == "base") return {{"base snapshots", LaunchKind::kBaseSnapshot}};
  return {{"snapshots on", LaunchKind::kFunctionSnapshot}};
}

Result<std::optional<RealRun>> RealRunOf(const SimulateOptions& options) {
  std::optional<RealRun> real;
  if (options.check.empty()) return real;
  auto text = ReadText(options.check);
  if (!text) return Forward(text.error());
  auto read = ReadRealRun(*text, options.check, KindsOf(options.snapshots).back().second);
  if (!read) return Forward(read.error());
  real = *std::move(read);
  return real;
}

std::vector<std::string> FileNamesOf(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  names.reserve(paths.size());
  for (const std::string& path : paths) names.push_back(std::filesystem::path(path).filename().string());
  return names;
}

// Whether all that is checked is near enough.
bool IsWithin(const std::vector<FidelityRow>& rows, double tolerance) {
  return std::all_of(rows.begin(), rows.end(), [tolerance](const FidelityRow& row) {
    return !row.is_checked || (row.difference() && std::abs(*row.difference()) <= tolerance);
  });
}

// What is set beside a real run: `whole`, or, where halves are held out, each half's requests as they come out with the
// costs of the other half, on an average of several draws.
Result<LoadSummary> CheckedSummary(const SimulateOptions& options, const SimulatedLoad& load, sim::Options simulation,
                                   const LoadSummary& whole) {
  if (options.hold_out_seconds == 0) return whole;
  LoadRun held_out;
  for (const bool is_later : {false, true}) {
    const sim::Half half{options.hold_out_seconds, is_later};
    auto costs = ReadCosts(options, half);
    if (!costs) return Forward(costs.error());
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      simulation.host.seed = load.workload.seed + draw * kDrawStride;
      auto outcome = sim::Simulate(*costs, load.functions, load.requests, simulation);
      if (!outcome) return Forward(outcome.error());
      for (const LoadSample& sample : ToLoadRun(load, *outcome).samples) {
        if (!half.Has(ToMillis(sample.due_ns))) held_out.samples.push_back(sample);
      }
    }
  }
  const LoadSummary drawn = Summarize(whole.name, load.workload, held_out);
  LoadSummary checked = whole;
  checked.outcomes = drawn.outcomes;
  checked.starts = drawn.starts;
  checked.latency = drawn.latency;
  checked.queued = drawn.queued;
  checked.scheduling = drawn.scheduling;
  return checked;
}

Result<int> Simulated(const SimulateOptions& options) {
  auto real = RealRunOf(options);
  if (!real) return Forward(real.error());
  auto config = ConfigOf(options, *real);
  if (!config) return Forward(config.error());
  auto costs = ReadCosts(options);
  if (!costs) return Forward(costs.error());
  auto load = ReadLoad(options, static_cast<uint32_t>(config->vcpus));
  if (!load) return Forward(load.error());
  const uint64_t seed = load->workload.seed;
  if (*real && (*real)->seed != seed) {
    return Fail(ErrorCode::kInvalidArgument, "{} is of seed {}, not {}: add --seed {}", options.check, (*real)->seed,
                seed, (*real)->seed);
  }
  if (!options.cpus && !costs->cpus) {
    return Fail(ErrorCode::kInvalidArgument, "how many processors has the node? Add --cpus");
  }
  sim::Options simulation = SimulationOptions(*config, options.cpus ? *options.cpus : *costs->cpus);
  simulation.host.seed = seed;

  std::vector<LoadSummary> summaries;
  OrderedJson runs = OrderedJson::array();
  for (const auto& [name, kind] : KindsOf(options.snapshots)) {
    simulation.host.launch = kind;
    const int64_t began_ns = MonotonicNanos();
    auto outcome = sim::Simulate(*costs, load->functions, load->requests, simulation);
    if (!outcome) return Forward(outcome.error());
    summaries.push_back(Summarize(name, load->workload, ToLoadRun(*load, *outcome)));
    const double took = ToMillis(MonotonicNanos() - began_ns) / 1e3;
    fmt::print("simulated, {}\nCPUs     {:g}, busy {:.1f} % of the time; simulated in {:.2f} s\n\n",
               Describe(summaries.back()), simulation.cpus, outcome->cpu_share * 100, took);
    OrderedJson run = ToJson(summaries.back());
    run["cpu_share"] = Rounded(outcome->cpu_share);
    run["simulated_in_seconds"] = Rounded(took);
    runs.push_back(std::move(run));
  }
  if (summaries.size() == 2) fmt::print("{}", Comparison(summaries[0], summaries[1]));
  std::vector<FidelityRow> fidelity;
  if (*real) {
    auto checked = CheckedSummary(options, *load, simulation, summaries.back());
    if (!checked) return Forward(checked.error());
    fidelity = CompareRuns(**real, *checked);
    fmt::print("{}", FidelityTable(fidelity));
  }
  if (!options.json.empty()) {
    OrderedJson report = {{"benchmark", "simulate"},
                          {"workload", options.workload.filename().string()},
                          {"seed", seed},
                          {"duration_seconds", load->workload.duration_seconds},
                          {"functions", load->functions.size()},
                          {"cpus", simulation.cpus},
                          {"costs", FileNamesOf(options.costs)},
                          {"runs", std::move(runs)}};
    if (summaries.size() == 2) report["comparison"] = ComparisonJson(summaries[0], summaries[1]);
    if (*real) report["check"] = FidelityJson(fidelity);
    if (auto written = WriteReport(options.json, report.dump(2) + "\n"); !written) return Forward(written.error());
  }
  if (!*real || !options.tolerance || IsWithin(fidelity, *options.tolerance)) return kExitOk;
  return Fail(ErrorCode::kUnavailable, "the simulated node differs by more than {:g} % from the real one",
              *options.tolerance);
}

}  // namespace

void AddSimulateCommand(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<SimulateOptions>();
  auto* command = app.add_subcommand("simulate", "A workload or a trace on a simulated node (docs/simulator.md)");
  command->fallthrough();
  command->add_option("workload", options->workload, "its file, YAML (docs/workloads.md)");
  command->add_option("--azure-2019", options->azure_2019, "a trace: function durations and invocations a minute, CSV")
      ->expected(2);
  command->add_option("--azure-memory", options->azure_memory, "memory of the 2019 trace's applications, CSV");
  command->add_option("--azure-2021", options->azure_2021, "a trace: every invocation, CSV");
  command->add_option("--minutes", options->minutes, "of the trace, from its start (else all)");
  command->add_option("--functions", options->function_limit, "so many of the trace's, at random (else all)");
  command->add_option("--memory", options->memory_mib, "MiB of a trace's functions where it does not say it")
      ->check(CLI::Range(1, 10'240))
      ->capture_default_str();
  command
      ->add_option("--costs", options->costs,
                   "what things take: results of bench load, maybe several, or a file of costs; JSON")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--missing-costs", options->missing_costs,
                      "results of bench load for what the costs lack: launches, or warm requests that met no other");
  command->add_option("--bare-costs", options->bare_costs, "results of bench load with a node that has shells = 0");
  command->add_option("--boot-costs", options->boot_costs, "results of bench breakdown, for --snapshots off");
  command->add_option("--config", options->config, "the node's settings, TOML");
  command->add_option("--budget", options->budget_mib, "MiB for all microVMs together")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}));
  command->add_option("--idle-ttl", options->idle_seconds, "seconds that an idle microVM is kept");
  command->add_option("--shells", options->shells, "VMMs of each kind that wait");
  command->add_option("--cpus", options->cpus, "processors of the machine")->check(CLI::Range(0.01, 100'000.0));
  command
      ->add_option("--snapshots", options->snapshots,
                   "on: of functions; base: of runtimes only; off: every microVM is booted; both: off, then on")
      ->check(CLI::IsMember({"on", "base", "off", "both"}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "instead of the workload's own");
  command->add_option("--scale", options->scale, "copies of each function, each with calls of its own")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  auto* check = command->add_option("--check", options->check,
                                    "results of bench load of the same workload: how near is the simulated node?");
  command
      ->add_option("--hold-out", options->hold_out_seconds,
                   "check each half of a run with the costs of the other: parts of so many seconds, by turns")
      ->needs(check)
      ->check(CLI::Range(0.1, 1e6));
  command
      ->add_option("--tolerance", options->tolerance, "fail where success rate or median latency differ by more, in %")
      ->needs(check);
  command->add_option("--json", options->json, "file for the results");
  command->callback([options, &exit_code] {
    const auto code = Simulated(*options);
    if (code) {
      exit_code = *code;
      return;
    }
    const int failure = ReportFailure(code.error());
    exit_code = code.error().code == ErrorCode::kInvalidArgument ? kExitUsage : failure;
  });
}

}  // namespace snapfaas::cli
