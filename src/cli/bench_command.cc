#include "cli/bench_command.h"

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "cli/bench_density.h"
#include "cli/bench_restore.h"
#include "cli/bench_support.h"
#include "cli/bench_working_set.h"
#include "cli/breakdown_report.h"
#include "cli/load_command.h"
#include "cli/rounding.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "faas/shell_pool.h"

namespace snapfaas::cli {
namespace {

struct BreakdownOptions : BenchOptions {
  WantedVmSize wanted_size;
  faas::VmSize size;  // once the runtime is known
  uint32_t restores = 30;
};

// Everything that is made once and used by every run.
struct BreakdownBench {
  const BreakdownOptions& options;
  const OpenedRuntime& runtime;
  faas::Spawner& spawner;  // for boots
  faas::ShellPool& pool;   // for restores
  UniqueFd appfs;
  const snapshot::InMemoryImage& runtimefs;
  snapshot::LoadedSnapshot& snapshot;
  std::string response;  // the last one
};

struct Results {
  Runs boots;
  Runs restores;
  Runs copies;
};

Status Invoke(BreakdownBench& bench, faas::MicroVm& vm) {
  auto response = InvokeOnce(vm, bench.options.event);
  if (!response) return Forward(response.error());
  bench.response = std::move(*response);
  return {};
}

Result<faas::MicroVm> RestoreVm(BreakdownBench& bench, wire::RestoreMode mode) {
  auto function = FunctionOf(bench.appfs.get());
  if (!function) return Forward(function.error());
  auto images = faas::OpenRestoreImages(bench.runtimefs, bench.snapshot, mode);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(kRestoreTimeoutSeconds);
  auto claim = ClaimShell(bench.pool, {bench.options.size, images->base}, deadline);
  if (!claim) return Forward(claim.error());
  auto vm = faas::MicroVm::Create(std::move(claim->taken.shell), claim->asked_ns);
  if (!vm) return Forward(vm.error());
  auto restored = vm->Restore(std::move(*images), std::move(*function), deadline);
  if (!restored) return Forward(restored.error());
  return vm;
}

// The first restore of a snapshot records its working set; it is not counted.
Status RecordWhereNeeded(BreakdownBench& bench, const Context& context) {
  if (bench.snapshot.has_working_set()) return {};
  auto vm = RestoreVm(bench, wire::RestoreMode::kMmap);
  if (!vm) return Forward(vm.error());
  auto invoked = Invoke(bench, *vm);
  if (!invoked) return Forward(invoked.error());
  return KeepWorkingSet(context, *vm, bench.snapshot);
}

Result<Phases> RestoreOnce(BreakdownBench& bench, wire::RestoreMode mode) {
  auto vm = RestoreVm(bench, mode);
  if (!vm) return Forward(vm.error());
  auto invoked = Invoke(bench, *vm);
  if (!invoked) return Forward(invoked.error());
  const auto phases = faas::BreakDownRestore(vm->timeline());
  if (!phases) return MissingMarks();
  return PhasesOf(*phases);
}

template <typename RunOnce>
Result<Runs> Collect(std::string_view what, uint32_t times, RunOnce run_once) {
  Runs runs;
  auto repeated = Repeat(what, times, [&runs, &run_once]() -> Status {
    Result<Phases> run = run_once();
    if (!run) return Forward(run.error());
    runs.push_back(std::move(*run));
    return {};
  });
  if (!repeated) return Forward(repeated.error());
  return runs;
}

Result<Results> Measure(BreakdownBench& bench) {
  const BreakdownOptions& options = bench.options;
  Results results;
  auto boots = Collect("boot", options.boots, [&bench, &options] {
    return BootOnce(bench.spawner, bench.runtime, options.size, bench.appfs.get(), options.event);
  });
  if (!boots) return Forward(boots.error());
  results.boots = std::move(*boots);
  auto restores =
      Collect("restore", options.restores, [&bench] { return RestoreOnce(bench, wire::RestoreMode::kPrefetch); });
  if (!restores) return Forward(restores.error());
  results.restores = std::move(*restores);
  auto copies =
      Collect("restore (copy)", options.restores, [&bench] { return RestoreOnce(bench, wire::RestoreMode::kCopy); });
  if (!copies) return Forward(copies.error());
  results.copies = std::move(*copies);
  return results;
}

nlohmann::ordered_json Report(const BreakdownBench& bench, const Results& results) {
  nlohmann::ordered_json report;
  report["accelerator"] = AcceleratorName();
  report["runtime"] = bench.options.runtime;
  report["memory_mib"] = bench.options.size.memory_mib;
  report["vcpus"] = bench.options.size.vcpus;
  report["runs"] = results.restores.size();
  report["boot_runs"] = results.boots.size();
  report["boot_ms"] = PhasesToJson(Medians(results.boots));
  report["restore_ms"] = PhasesToJson(Medians(results.restores));
  report["restore_copy_ms"] = PhasesToJson(Medians(results.copies));
  report["speedup_ready"] = RoundedTo(2, MedianOf(results.boots, "ready") / MedianOf(results.restores, "ready"));
  report["speedup_response"] =
      RoundedTo(2, MedianOf(results.boots, "response") / MedianOf(results.restores, "response"));
  report["dirty_mib"] =
      RoundedTo(2, static_cast<double>(bench.snapshot.manifest().stored_bytes) / static_cast<double>(1_MiB));
  report["response"] = nlohmann::ordered_json::parse(bench.response, nullptr, /*allow_exceptions=*/false);
  report["host"] = DescribeHost();
  report["kernel"] = bench.runtime.kernel_release;
  if (!bench.options.commit.empty()) report["commit"] = bench.options.commit;
  report["samples"] = {{"boot_ms", SamplesToJson(results.boots)},
                       {"restore_ms", SamplesToJson(results.restores)},
                       {"restore_copy_ms", SamplesToJson(results.copies)}};
  return report;
}

void PrintTables(const nlohmann::ordered_json& report, const Results& results) {
  fmt::print("{} with {} MiB and {} vCPU on {}\n\n", report["runtime"].get<std::string>(),
             report["memory_mib"].get<uint32_t>(), report["vcpus"].get<uint32_t>(),
             report["accelerator"] == "kvm" ? "KVM" : "the emulated host");
  fmt::print("{}\n{}\n{}\n", Table("boot", results.boots), Table("restore", results.restores),
             Table("restore by copy", results.copies));
  fmt::print("restore against boot (medians): {:.1f}x to ready, {:.1f}x to the first response; {:.1f} MiB dirty\n",
             report["speedup_ready"].get<double>(), report["speedup_response"].get<double>(),
             report["dirty_mib"].get<double>());
}

Result<int> BreakDownHere(const BreakdownOptions& options, const Context& context, const OpenedRuntime& runtime) {
  auto appfs = MakeAppfs(options.app, runtime, options.appfs_in);
  if (!appfs) return Forward(appfs.error());
  faas::ProcessSpawner spawner(VmmPath(context));
  auto runtimefs = faas::LoadRuntimefs(runtime.files);
  if (!runtimefs) return Forward(runtimefs.error());
  auto snapshot = LoadSnapshot(context, spawner, runtime.files, options.size, faas::Tier::kMemory, kBootTimeoutSeconds);
  if (!snapshot) return Forward(snapshot.error());
  auto pool = faas::ShellPool::Create(spawner, faas::ShellPool::Limits(), [&](const faas::ShellKind&) {
    return faas::OpenPrimeImages(*runtimefs, *snapshot);
  });
  if (!pool) return Forward(pool.error());
  BreakdownBench bench{options, runtime, spawner, **pool, std::move(*appfs), *runtimefs, *snapshot, {}};
  auto recorded = RecordWhereNeeded(bench, context);
  if (!recorded) return Forward(recorded.error());
  auto results = Measure(bench);
  if (!results) return Forward(results.error());
  const auto report = Report(bench, *results);
  PrintTables(report, *results);
  if (options.json.empty()) return kExitOk;
  auto written = WriteReport(options.json, report.dump(2) + "\n");
  if (!written) return Forward(written.error());
  return kExitOk;
}

void AddBreakdown(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<BreakdownOptions>();
  auto* command = bench.add_subcommand("breakdown", "Where the time goes in a boot and in a restore");
  command->fallthrough();
  AddBenchOptions(*command, *options);
  AddVmSizeOptions(*command, options->wanted_size);
  command->add_option("--restores", options->restores, "number of restores, and of restores by copy")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->callback([options, context = std::move(context), &exit_code] {
    auto found = context();
    auto code = found ? RunBench(*found, *options,
                                 [&](const OpenedRuntime& runtime) -> Result<int> {
                                   auto size = options->wanted_size.For(runtime.recipe);
                                   if (!size) return Forward(size.error());
                                   options->size = *size;
                                   return BreakDownHere(*options, *found, runtime);
                                 })
                      : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace

void AddBenchCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto* bench = app.add_subcommand("bench", "Measurements");
  bench->require_subcommand(1);
  bench->fallthrough();
  AddBreakdown(*bench, context, exit_code);
  AddBenchRestore(*bench, context, exit_code);
  AddBenchDensity(*bench, context, exit_code);
  AddBenchWorkingSet(*bench, context, exit_code);
  AddLoadCommands(*bench, std::move(context), exit_code);
}

}  // namespace snapfaas::cli
