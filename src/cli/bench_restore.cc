#include "cli/bench_restore.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/units.h"
#include "cli/bench_support.h"
#include "cli/breakdown_report.h"
#include "cli/placement.h"
#include "cli/process_memory.h"
#include "cli/restore_bench.h"
#include "cli/restore_report.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/launcher.h"
#include "faas/timeline.h"
#include "images/appfs.h"
#include "images/process.h"
#include "images/runtimefs.h"

namespace snapfaas::cli {
namespace {

constexpr char kReset[] = "reset";

std::vector<std::string> AllModes() {
  std::vector<std::string> modes;
  for (const RestoreChoice& choice : RestoreChoices()) modes.emplace_back(choice.name);
  modes.emplace_back(kReset);
  return modes;
}

struct RestoreBenchOptions : BenchOptions {
  std::vector<uint32_t> memory_mib;  // empty: the runtime's least
  std::vector<uint32_t> vcpus = {1};
  std::vector<std::string> modes = AllModes();
  std::vector<std::string> layers = {"base", "function"};
  uint32_t runs = 30;
  bool cold = true;
  bool markdown = false;
  bool all_runtimes = false;

  bool Wants(std::string_view mode) const { return std::find(modes.begin(), modes.end(), mode) != modes.end(); }
  bool WantsLayer(std::string_view layer) const {
    return std::find(layers.begin(), layers.end(), layer) != layers.end();
  }
  Result<std::vector<faas::VmSize>> Sizes(const images::RuntimeRecipe& recipe) const {
    std::vector<faas::VmSize> sizes;
    const auto least = {recipe.min_memory_mib};
    for (const uint32_t count : vcpus) {
      for (const uint32_t mib : memory_mib.empty() ? std::vector(least) : memory_mib) {
        auto size = WantedVmSize{mib, count}.For(recipe);
        if (!size) return Forward(size.error());
        sizes.push_back(*size);
      }
    }
    return sizes;
  }
};

// A microVM that has answered its first request: a request to it when it is idle, and what the sample is to keep of
// both.
Status FinishRun(const std::string& event, faas::MicroVm& vm, RestoreSample& sample) {
  // The second request may find the guest still busy with what its first one left.
  auto settled = InvokeOnce(vm, event);
  if (!settled) return Forward(settled.error());
  const int64_t asked = MonotonicNanos();
  auto answer = InvokeOnce(vm, event);
  if (!answer) return Forward(answer.error());
  sample.warm_ms.push_back(ToMillis(MonotonicNanos() - asked));
  const auto phases = faas::BreakDownRestore(vm.timeline());
  if (!phases) return MissingMarks();
  sample.runs.push_back(PhasesOf(*phases));
  if (sample.private_kib != 0) return {};
  auto memory = MemoryOf(vm.pid());
  if (!memory) return Forward(memory.error());
  sample.private_kib = memory->anonymous_kib;
  return {};
}

std::string Describe(const RestoreSample& sample) {
  return fmt::format("{}, {}, {} layer, {} MiB, {} vCPU:", sample.mode, sample.store, sample.layer,
                     sample.size.memory_mib, sample.size.vcpus);
}

Status MeasureRestores(RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, const Way& way, uint32_t runs,
                       RestoreSample& sample) {
  return Repeat(Describe(sample), runs, [&]() -> Status {
    auto restored = bench.RestoreAndInvoke(snapshot, way);
    if (!restored) return Forward(restored.error());
    return FinishRun(bench.event(), restored->vm, sample);
  });
}

// One restored microVM, reset again and again.
Status MeasureResets(RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, uint32_t runs,
                     RestoreSample& sample) {
  auto restored = bench.RestoreAndInvoke(snapshot, {.size = sample.size});
  if (!restored) return Forward(restored.error());
  faas::MicroVm& vm = restored->vm;
  return Repeat(Describe(sample), runs, [&]() -> Status {
    auto reset = vm.Reset(UniqueFd(), DeadlineIn(kRestoreTimeoutSeconds));
    if (!reset) return Forward(reset.error());
    auto answer = InvokeOnce(vm, bench.event());
    if (!answer) return Forward(answer.error());
    return FinishRun(bench.event(), vm, sample);
  });
}

std::vector<std::pair<std::string, Cache>> StoresOf(const RestoreBenchOptions& options, faas::Tier tier) {
  if (tier == faas::Tier::kMemory) return {{"memory", Cache::kAsIs}};
  std::vector<std::pair<std::string, Cache>> stores = {{"disk-warm", Cache::kAsIs}};
  if (options.cold) stores.emplace_back("disk-cold", Cache::kDropped);
  return stores;
}

RestoreSample SampleOf(std::string_view mode, std::string_view store, std::string_view layer, const faas::VmSize& size,
                       const snapshot::LoadedSnapshot& snapshot) {
  return {std::string(mode), std::string(store), std::string(layer), size, {}, {}, 0, snapshot.manifest().stored_bytes};
}

Status MeasureTier(RestoreBench& bench, const RestoreBenchOptions& options, const faas::VmSize& size, faas::Tier tier,
                   RestoreReport& report) {
  const bool resets = tier == faas::Tier::kMemory && options.Wants(kReset);
  const auto wanted = [&options, tier](const RestoreChoice& c) { return c.tier == tier && options.Wants(c.name); };
  const auto choices = RestoreChoices();
  if (!resets && std::none_of(choices.begin(), choices.end(), wanted)) return {};
  auto layers = bench.LoadLayers(size, tier, options.WantsLayer("function") ? Layer::kFunction : Layer::kBase);
  if (!layers) return Forward(layers.error());
  if (size == report.boot_size) {
    report.dirty_mib = ToMib(layers->base.manifest().stored_bytes);
  }
  const RestoreBench::Priming priming(bench, size, layers->base);
  for (const RestoreChoice& choice : choices) {
    if (!wanted(choice)) continue;
    for (const auto& [store, cache] : StoresOf(options, tier)) {
      for (const std::string& layer : options.layers) {
        RestoreSample sample = SampleOf(choice.name, store, layer, size, layers->Of(layer));
        const Way way{size, choice.mode, cache, choice.shells};
        auto measured = MeasureRestores(bench, layers->Of(layer), way, options.runs, sample);
        if (!measured) return measured;
        report.samples.push_back(std::move(sample));
      }
    }
  }
  if (!resets) return {};
  for (const std::string& layer : options.layers) {
    RestoreSample sample = SampleOf(kReset, "memory", layer, size, layers->Of(layer));
    auto measured = MeasureResets(bench, layers->Of(layer), options.runs, sample);
    if (!measured) return measured;
    report.samples.push_back(std::move(sample));
  }
  return {};
}

Result<FloorSample> MeasureFloor(const RestoreBench& bench, const faas::VmSize& size, uint32_t runs) {
  const std::string program = (bench.context().bin_dir / "snapfaas-floor").string();
  auto printed = images::RunProgram({program, "--memory-mib", std::to_string(size.memory_mib), "--vcpus",
                                     std::to_string(size.vcpus), "--runs", std::to_string(runs)});
  if (!printed) return Forward(printed.error());
  return ParseFloor(*printed);
}

Status MeasureBoots(RestoreBench& bench, uint32_t boots, RestoreReport& report) {
  return Repeat("boot", boots, [&]() -> Status {
    auto phases = BootOnce(bench.spawner(), bench.runtime(), report.boot_size, bench.appfs_fd(), bench.event());
    if (!phases) return Forward(phases.error());
    report.boots.push_back(std::move(*phases));
    return {};
  });
}

Result<RestoreReport> Measure(RestoreBench& bench, const RestoreBenchOptions& options) {
  const auto checked = options.Sizes(bench.runtime().recipe);
  if (!checked) return Forward(checked.error());
  const std::vector<faas::VmSize>& sizes = *checked;
  RestoreReport report;
  report.host = DescribeHost();
  report.accelerator = AcceleratorName();
  report.commit = options.commit;
  report.runtime = options.runtime;
  report.boot_size = sizes.front();
  // The table of several runtimes has no place for them.
  const bool with_floors = !options.all_runtimes;
  for (size_t i = 0; with_floors && i < sizes.size(); ++i) {
    auto floor = MeasureFloor(bench, sizes[i], options.runs);
    if (!floor) return Forward(floor.error());
    report.floors.push_back(std::move(*floor));
  }
  auto booted = MeasureBoots(bench, options.boots, report);
  if (!booted) return Forward(booted.error());
  for (const faas::VmSize& size : sizes) {
    auto measured = MeasureTier(bench, options, size, faas::Tier::kMemory, report);
    if (measured) measured = MeasureTier(bench, options, size, faas::Tier::kDisk, report);
    if (!measured) return Forward(measured.error());
  }
  return report;
}

void Print(const RestoreReport& report, const RestoreBenchOptions& options) {
  fmt::print(
      "{} on {}; milliseconds from the request's arrival, medians of {} runs (MAD: median absolute deviation)\n\n",
      report.runtime, report.accelerator == "kvm" ? "KVM" : "the emulated host", options.runs);
  fmt::print("{}\n", Table(report, options.markdown ? TableStyle::kMarkdown : TableStyle::kTerminal));
  fmt::print("{}", Conclusions(report));
}

Result<RestoreReport> MeasureRuntime(const RestoreBenchOptions& options, const Context& context,
                                     const OpenedRuntime& runtime) {
  auto bench = RestoreBench::Create(context, runtime, options);
  if (!bench) return Forward(bench.error());
  return Measure(**bench, options);
}

Result<int> MeasureHere(const RestoreBenchOptions& options, const Context& context, const OpenedRuntime& runtime) {
  auto report = MeasureRuntime(options, context, runtime);
  if (!report) return Forward(report.error());
  Print(*report, options);
  if (options.json.empty()) return kExitOk;
  auto written = WriteReport(options.json, ToJson(*report).dump(2) + "\n");
  if (!written) return Forward(written.error());
  return kExitOk;
}

// ---- all runtimes ------------------------------------------------------------------------------------------------

struct RuntimeToMeasure {
  RestoreBenchOptions options;
  OpenedRuntime runtime;
};

// Those that are built and have a function, in place of "{runtime}" in --app.
Result<std::vector<RuntimeToMeasure>> RuntimesToMeasure(const RestoreBenchOptions& options, const Context& context) {
  auto listed = images::ListRuntimes(context.data_dir);
  if (!listed) return Forward(listed.error());
  std::vector<RuntimeToMeasure> found;
  for (const images::RuntimeInfo& info : *listed) {
    RestoreBenchOptions one = options;
    one.runtime = info.name;
    one.app = AppOfRuntime(options.app.string(), info.name);
    auto runtime = OpenRuntime(context, info.name);
    auto ready = runtime ? images::CheckAppFolder(one.app, runtime->recipe) : Status(Forward(runtime.error()));
    if (ready) ready = FetchPackages(one.app, *runtime);
    if (!ready) {
      fmt::print(stderr, "snapfaas: {} is left out: {}\n", info.name, ready.error().Message());
      continue;
    }
    found.push_back({std::move(one), *std::move(runtime)});
  }
  if (found.empty())
    return Fail(ErrorCode::kNotFound, "no runtime can be measured with --app {}", options.app.string());
  return found;
}

Result<int> MeasureAllHere(const RestoreBenchOptions& options, const Context& context,
                           const std::vector<RuntimeToMeasure>& runtimes) {
  std::vector<RestoreReport> reports;
  for (const RuntimeToMeasure& one : runtimes) {
    fmt::print(stderr, "snapfaas: {}\n", one.options.runtime);
    auto report = MeasureRuntime(one.options, context, one.runtime);
    if (report) {
      reports.push_back(*std::move(report));
    } else {
      fmt::print(stderr, "snapfaas: {} FAILED: {}\n", one.options.runtime, report.error().Message());
    }
  }
  if (!reports.empty()) {
    fmt::print("{}; milliseconds, medians of {} runs (MAD: median absolute deviation)\n\n{}",
               reports.front().accelerator == "kvm" ? "KVM" : "The emulated host", options.runs,
               RuntimesTable(reports, options.markdown ? TableStyle::kMarkdown : TableStyle::kTerminal));
    if (!options.json.empty()) {
      auto written = WriteReport(options.json, RuntimesJson(reports).dump(2) + "\n");
      if (!written) return Forward(written.error());
    }
  }
  return reports.size() == runtimes.size() ? kExitOk : kExitFailure;
}

Result<int> MeasureAll(const RestoreBenchOptions& options, const Context& context) {
  auto runtimes = RuntimesToMeasure(options, context);
  if (!runtimes) return Forward(runtimes.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kHere) return MeasureAllHere(options, context, *runtimes);
  std::vector<std::filesystem::path> shares;
  for (const RuntimeToMeasure& one : *runtimes) shares.push_back(one.options.app);
  if (options.json.has_parent_path()) shares.push_back(options.json.parent_path());
  return ForwardThisCommand(context, shares);
}

}  // namespace

std::string AppOfRuntime(std::string pattern, std::string_view runtime) {
  constexpr std::string_view kWord = "{runtime}";
  for (size_t at = pattern.find(kWord); at != std::string::npos; at = pattern.find(kWord, at + runtime.size())) {
    pattern.replace(at, kWord.size(), runtime);
  }
  return pattern;
}

void AddBenchRestore(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<RestoreBenchOptions>();
  options->boots = 3;
  auto* command =
      bench.add_subcommand("restore", "The ways to restore, side by side with a boot, a reset and the floor");
  command->fallthrough();
  AddBenchOptions(*command, *options);
  command->add_flag("--all-runtimes", options->all_runtimes,
                    "every runtime that is built, in one table, by primed shells unless --modes says otherwise: in "
                    "--app \"{runtime}\" stands for its name, e.g. tests/contract/{runtime}/main");
  AddVmSizeListOptions(*command, options->memory_mib, options->vcpus);
  auto* modes = command->add_option("--modes", options->modes, "ways to restore");
  modes->delimiter(',')->check(CLI::IsMember(AllModes()))->capture_default_str();
  command->add_option("--layers", options->layers, "snapshots to restore: base, function")
      ->delimiter(',')
      ->check(CLI::IsMember({"base", "function"}))
      ->capture_default_str();
  command->add_option("--runs", options->runs, "number of runs of each way")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_flag("--cold,!--no-cold", options->cold, "from disk: measure without the page cache too (default)");
  command->add_flag("--markdown", options->markdown, "print the table in Markdown");
  command->callback([options, modes, context = std::move(context), &exit_code] {
    auto found = context();
    if (found && options->all_runtimes) {
      if (modes->count() == 0) options->modes = {"primed"};
      auto code = MeasureAll(*options, *found);
      exit_code = code ? *code : ReportFailure(code.error());
      return;
    }
    auto code = found ? RunBench(*found, *options,
                                 [&](const OpenedRuntime& runtime) { return MeasureHere(*options, *found, runtime); })
                      : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace snapfaas::cli
