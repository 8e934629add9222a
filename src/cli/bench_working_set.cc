#include "cli/bench_working_set.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/units.h"
#include "cli/bench_support.h"
#include "cli/process_memory.h"
#include "cli/restore_bench.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "cli/working_set_report.h"
#include "snapshot/working_set.h"

namespace snapfaas::cli {
namespace {

// Nothing is brought in ahead, so what is there afterwards was touched.
constexpr char kRecordingMode[] = "mmap";

struct WorkingSetOptions : BenchOptions {
  WantedVmSize wanted_size;
  std::vector<std::string> other_events;
  std::vector<std::string> layers = {"base", "function"};
  uint32_t runs = 5;
};

// Of a shell before its command, so that what follows can be told apart.
Result<uint64_t> FaultsOfShell(RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, const Way& way) {
  auto claim = bench.ClaimShell(snapshot, way);
  if (!claim) return Forward(claim.error());
  return FaultsOf(claim->taken.shell.pid());
}

// What one way of restoring has in common over its runs.
struct WaySeen {
  std::string mode;
  Way way;
  uint64_t shell_faults = 0;
  std::vector<snapshot::WorkingSet> sets;  // of all runs, where they are recorded
};

Result<WorkingSetRun> MeasureRun(RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot,
                                 const std::string& event, WaySeen& seen) {
  auto restored = bench.RestoreAndInvoke(snapshot, seen.way, event);
  if (!restored) return Forward(restored.error());
  auto faults = FaultsOf(restored->vm.pid());
  if (!faults) return Forward(faults.error());
  const auto phases = faas::BreakDownRestore(restored->vm.timeline());
  if (!phases) return MissingMarks();
  WorkingSetRun run;
  run.mode = seen.mode;
  run.ready_ms = phases->ready;
  run.response_ms = phases->response;
  run.faults = *faults > seen.shell_faults ? *faults - seen.shell_faults : 0;
  if (seen.mode != kRecordingMode) return run;
  auto set = restored->vm.RecordWorkingSet(DeadlineIn(kRequestTimeoutSeconds));
  if (!set) return Forward(set.error());
  run.touched = WorkingSetRun::Touched{snapshot::PagesOf(set->read), snapshot::PagesOf(set->written), {}};
  for (const auto& earlier : seen.sets) run.touched->recurrence.push_back(snapshot::RecurrenceIn(earlier, *set));
  seen.sets.push_back(std::move(*set));
  return run;
}

Status MeasureMode(RestoreBench& bench, const WorkingSetReport& report, uint32_t runs, const std::string& mode,
                   const snapshot::LoadedSnapshot& snapshot, WorkingSetLayer& layer) {
  const RestoreChoice& choice = RestoreChoiceOf(mode);
  WaySeen seen{mode, {report.size, choice.mode, Cache::kAsIs, choice.shells}, 0, {}};
  auto shell_faults = FaultsOfShell(bench, snapshot, seen.way);
  if (!shell_faults) return Forward(shell_faults.error());
  seen.shell_faults = *shell_faults;
  for (size_t input = 0; input < report.events.size(); ++input) {
    const std::string what = fmt::format("{}, {} layer, input {}:", mode, layer.layer, input + 1);
    auto repeated = Repeat(what, runs, [&]() -> Status {
      auto run = MeasureRun(bench, snapshot, report.events[input], seen);
      if (!run) return Forward(run.error());
      run->input = input;
      layer.runs.push_back(std::move(*run));
      return {};
    });
    if (!repeated) return repeated;
  }
  return {};
}

Result<int> MeasureWorkingSetsHere(const WorkingSetOptions& options, const Context& context,
                                   const OpenedRuntime& runtime) {
  auto size = options.wanted_size.For(runtime.recipe);
  if (!size) return Forward(size.error());
  auto bench = RestoreBench::Create(context, runtime, options);
  if (!bench) return Forward(bench.error());
  auto layers = (*bench)->LoadLayers(*size, faas::Tier::kMemory, Layer::kFunction);
  if (!layers) return Forward(layers.error());
  WorkingSetReport report{DescribeHost(), AcceleratorName(), options.commit, options.runtime, *size, {}, {}};
  report.events.push_back(options.event);
  report.events.insert(report.events.end(), options.other_events.begin(), options.other_events.end());
  const RestoreBench::Priming priming(**bench, *size, layers->base);
  for (const std::string& name : options.layers) {
    const snapshot::LoadedSnapshot& snapshot = layers->Of(name);
    WorkingSetLayer layer{name, snapshot.manifest().stored_bytes / kPageSize, {}};
    for (const char* mode : {kRecordingMode, "prefetch", "primed"}) {
      auto measured = MeasureMode(**bench, report, options.runs, mode, snapshot, layer);
      if (!measured) return Forward(measured.error());
    }
    report.layers.push_back(std::move(layer));
  }
  fmt::print("{}", WorkingSetTable(report));
  if (options.json.empty()) return kExitOk;
  auto written = WriteReport(options.json, ToJson(report).dump(2) + "\n");
  if (!written) return Forward(written.error());
  return kExitOk;
}

}  // namespace

void AddBenchWorkingSet(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<WorkingSetOptions>();
  auto* command = bench.add_subcommand(
      "working-set", "Pages that requests touch after a restore, how many of them recur, and what prefetching saves");
  command->fallthrough();
  AddBenchOptions(*command, *options);
  command->remove_option(command->get_option("--boots"));
  AddVmSizeOptions(*command, options->wanted_size);
  command
      ->add_option("--other-event", options->other_events,
                   "one more request, JSON, to compare with --event; may be given several times")
      ->expected(1)
      ->take_all();
  command->add_option("--layers", options->layers, "snapshots to restore: base, function")
      ->delimiter(',')
      ->check(CLI::IsMember({"base", "function"}))
      ->capture_default_str();
  command->add_option("--runs", options->runs, "restores in each way with each event")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->callback([options, context = std::move(context), &exit_code] {
    auto found = context();
    auto code =
        found
            ? RunBench(*found, *options,
                       [&](const OpenedRuntime& runtime) { return MeasureWorkingSetsHere(*options, *found, runtime); })
            : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace snapfaas::cli
