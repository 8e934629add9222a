#include "cli/bench_restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
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
#include "cli/restore_report.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "faas/shell_pool.h"
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

// Everything that is made once and used by every run.
struct RestoreBench {
  const RestoreBenchOptions& options;
  const Context& context;
  const OpenedRuntime& runtime;
  faas::Spawner& spawner;
  faas::ShellPool& pool;
  UniqueFd appfs;
  const snapshot::InMemoryImage& runtimefs;
  const snapshot::LoadedSnapshot*& primed_with;  // what the pool primes its shells with
};

// The snapshots of one size in one tier.
struct Layers {
  snapshot::LoadedSnapshot base;
  std::optional<snapshot::LoadedSnapshot> function;

  snapshot::LoadedSnapshot& Of(std::string_view layer) { return layer == "function" ? *function : base; }
};

// No shell is started while it lives.
struct RestoredVm {
  faas::ShellPool::Pause pause;
  faas::MicroVm vm;
};

enum class Cache { kAsIs, kDropped };

// What a run restores, and how.
struct Way {
  faas::VmSize size;
  wire::RestoreMode mode;
  Cache cache = Cache::kAsIs;
  Shells shells = Shells::kBare;
};

// What the pool's thread primes shells with, which has to stay until that thread is done with it.
class Priming {
 public:
  Priming(const RestoreBench& bench, const faas::VmSize& size, const snapshot::LoadedSnapshot& base)
      : bench_(bench), kind_(size, base.base_id()) {
    bench_.primed_with = &base;
  }
  Priming(const Priming&) = delete;
  Priming& operator=(const Priming&) = delete;
  ~Priming() {
    static_cast<void>(bench_.pool.Reserve(kind_, 0));
    static_cast<void>(bench_.pool.WaitFull(kind_, DeadlineIn(kRestoreTimeoutSeconds)));
    bench_.primed_with = nullptr;
  }

 private:
  const RestoreBench& bench_;
  faas::ShellKind kind_;
};

// Takes the snapshot's files out of the page cache; a restore then reads them from the disk.
Status DropFromCache(const snapshot::LoadedSnapshot& snapshot) {
  // Pages that are still to be written would stay.
  ::sync();
  const snapshot::ImageFiles files = snapshot.images();
  for (const int fd : {files.image, files.overlay, files.kernel, files.packed}) {
    if (fd < 0) continue;
    const int failure = ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (failure != 0) return FailErrno(failure, "dropping a snapshot's file from the page cache");
  }
  return {};
}

// Brings a microVM to life, with the request waiting, until it has answered.
Result<RestoredVm> RestoreAndInvoke(const RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot,
                                    const Way& way) {
  auto function = FunctionOf(bench.appfs.get());
  if (!function) return Forward(function.error());
  auto images = faas::OpenRestoreImages(bench.runtimefs, snapshot, way.mode);
  if (!images) return Forward(images.error());
  if (way.cache == Cache::kDropped) {
    auto dropped = DropFromCache(snapshot);
    if (!dropped) return Forward(dropped.error());
  }
  const int64_t deadline = DeadlineIn(kRestoreTimeoutSeconds + kRequestTimeoutSeconds);
  const std::string base = way.shells == Shells::kPrimed ? images->base : "";
  auto claim = ClaimShell(bench.pool, {way.size, base}, deadline);
  if (!claim) return Forward(claim.error());
  auto vm = faas::MicroVm::Create(std::move(claim->taken.shell), claim->asked_ns);
  if (!vm) return Forward(vm.error());
  auto answer =
      ResultOf(vm->RestoreAndInvoke(std::move(*images), std::move(*function), {bench.options.event, ""}, deadline));
  if (!answer) return Forward(answer.error());
  return RestoredVm{std::move(claim->taken.pause), std::move(*vm)};
}

// The first restore of a snapshot records its working set; it is not counted.
Status RecordWhereNeeded(const RestoreBench& bench, const faas::VmSize& size, snapshot::LoadedSnapshot& snapshot) {
  if (snapshot.has_working_set()) return {};
  auto restored = RestoreAndInvoke(bench, snapshot, {size, wire::RestoreMode::kMmap});
  if (!restored) return Forward(restored.error());
  return KeepWorkingSet(bench.context, restored->vm, snapshot);
}

Result<Layers> LoadLayers(const RestoreBench& bench, const faas::VmSize& size, faas::Tier tier) {
  auto base = LoadSnapshot(bench.context, bench.spawner, bench.runtime.files, size, tier, kBootTimeoutSeconds);
  if (!base) return Forward(base.error());
  auto recorded = RecordWhereNeeded(bench, size, *base);
  if (!recorded) return Forward(recorded.error());
  const Layer layer = bench.options.WantsLayer("function") ? Layer::kFunction : Layer::kBase;
  auto function = LoadFunctionSnapshot(bench.context, bench.spawner, bench.runtime.files, bench.runtimefs, *base,
                                       bench.appfs.get(), layer, tier);
  if (!function) return Forward(function.error());
  if (function->has_value()) recorded = RecordWhereNeeded(bench, size, **function);
  if (!recorded) return Forward(recorded.error());
  if (function->has_value() && tier == faas::Tier::kMemory) {
    auto learned = base->LearnFrom(**function);
    if (!learned) return Forward(learned.error());
  }
  return Layers{std::move(*base), std::move(*function)};
}

Result<uint64_t> PrivateKibOf(const faas::MicroVm& vm) {
  const std::string path = fmt::format("/proc/{}/smaps_rollup", vm.pid());
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto kib = ParsePrivateKib(text);
  if (!kib) return Forward(kib.error(), path);
  return kib;
}

// A microVM that has answered its first request: a request to it when it is idle, and what the sample is to keep of
// both.
Status FinishRun(const RestoreBench& bench, faas::MicroVm& vm, RestoreSample& sample) {
  // The second request may find the guest still busy with what its first one left.
  auto settled = InvokeOnce(vm, bench.options.event);
  if (!settled) return Forward(settled.error());
  const int64_t asked = MonotonicNanos();
  auto answer = InvokeOnce(vm, bench.options.event);
  if (!answer) return Forward(answer.error());
  sample.warm_ms.push_back(ToMillis(MonotonicNanos() - asked));
  const auto phases = faas::BreakDownRestore(vm.timeline());
  if (!phases) return MissingMarks();
  sample.runs.push_back(PhasesOf(*phases));
  if (sample.private_kib != 0) return {};
  auto kib = PrivateKibOf(vm);
  if (!kib) return Forward(kib.error());
  sample.private_kib = *kib;
  return {};
}

std::string Describe(const RestoreSample& sample) {
  return fmt::format("{}, {}, {} layer, {} MiB, {} vCPU:", sample.mode, sample.store, sample.layer,
                     sample.size.memory_mib, sample.size.vcpus);
}

Status MeasureRestores(const RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, const Way& way,
                       RestoreSample& sample) {
  return Repeat(Describe(sample), bench.options.runs, [&]() -> Status {
    auto restored = RestoreAndInvoke(bench, snapshot, way);
    if (!restored) return Forward(restored.error());
    return FinishRun(bench, restored->vm, sample);
  });
}

// One restored microVM, reset again and again.
Status MeasureResets(const RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, RestoreSample& sample) {
  auto restored = RestoreAndInvoke(bench, snapshot, {sample.size, wire::RestoreMode::kPrefetch});
  if (!restored) return Forward(restored.error());
  faas::MicroVm& vm = restored->vm;
  return Repeat(Describe(sample), bench.options.runs, [&]() -> Status {
    auto reset = vm.Reset(UniqueFd(), DeadlineIn(kRestoreTimeoutSeconds));
    if (!reset) return Forward(reset.error());
    auto answer = InvokeOnce(vm, bench.options.event);
    if (!answer) return Forward(answer.error());
    return FinishRun(bench, vm, sample);
  });
}

std::vector<std::pair<std::string, Cache>> StoresOf(const RestoreBenchOptions& options, faas::Tier tier) {
  if (tier == faas::Tier::kMemory) return {{"memory", Cache::kAsIs}};
  std::vector<std::pair<std::string, Cache>> stores = {{"disk-warm", Cache::kAsIs}};
  if (options.cold) stores.emplace_back("disk-cold", Cache::kDropped);
  return stores;
}

Status MeasureTier(const RestoreBench& bench, const faas::VmSize& size, faas::Tier tier, RestoreReport& report) {
  const RestoreBenchOptions& options = bench.options;
  const bool resets = tier == faas::Tier::kMemory && options.Wants(kReset);
  const auto wanted = [&options, tier](const RestoreChoice& c) { return c.tier == tier && options.Wants(c.name); };
  const auto choices = RestoreChoices();
  if (!resets && std::none_of(choices.begin(), choices.end(), wanted)) return {};
  auto layers = LoadLayers(bench, size, tier);
  if (!layers) return Forward(layers.error());
  if (size == report.boot_size) {
    report.dirty_mib = static_cast<double>(layers->base.manifest().stored_bytes) / static_cast<double>(1_MiB);
  }
  const Priming priming(bench, size, layers->base);
  for (const RestoreChoice& choice : choices) {
    if (!wanted(choice)) continue;
    for (const auto& [store, cache] : StoresOf(options, tier)) {
      for (const std::string& layer : options.layers) {
        RestoreSample sample{std::string(choice.name), store, layer, size, {}, {}, 0};
        auto measured = MeasureRestores(bench, layers->Of(layer), {size, choice.mode, cache, choice.shells}, sample);
        if (!measured) return measured;
        report.samples.push_back(std::move(sample));
      }
    }
  }
  if (!resets) return {};
  for (const std::string& layer : options.layers) {
    RestoreSample sample{kReset, "memory", layer, size, {}, {}, 0};
    auto measured = MeasureResets(bench, layers->Of(layer), sample);
    if (!measured) return measured;
    report.samples.push_back(std::move(sample));
  }
  return {};
}

Result<FloorSample> MeasureFloor(const RestoreBench& bench, const faas::VmSize& size) {
  const std::string program = (bench.context.bin_dir / "snapfaas-floor").string();
  auto printed = images::RunProgram({program, "--memory-mib", std::to_string(size.memory_mib), "--vcpus",
                                     std::to_string(size.vcpus), "--runs", std::to_string(bench.options.runs)});
  if (!printed) return Forward(printed.error());
  return ParseFloor(*printed);
}

Status MeasureBoots(const RestoreBench& bench, RestoreReport& report) {
  return Repeat("boot", bench.options.boots, [&]() -> Status {
    auto phases = BootOnce(bench.spawner, bench.runtime, report.boot_size, bench.appfs.get(), bench.options.event);
    if (!phases) return Forward(phases.error());
    report.boots.push_back(std::move(*phases));
    return {};
  });
}

Result<RestoreReport> Measure(const RestoreBench& bench) {
  const auto checked = bench.options.Sizes(bench.runtime.recipe);
  if (!checked) return Forward(checked.error());
  const std::vector<faas::VmSize>& sizes = *checked;
  RestoreReport report;
  report.host = DescribeHost();
  report.accelerator = AcceleratorName();
  report.commit = bench.options.commit;
  report.runtime = bench.options.runtime;
  report.boot_size = sizes.front();
  // The table of several runtimes has no place for them.
  const bool with_floors = !bench.options.all_runtimes;
  for (size_t i = 0; with_floors && i < sizes.size(); ++i) {
    auto floor = MeasureFloor(bench, sizes[i]);
    if (!floor) return Forward(floor.error());
    report.floors.push_back(std::move(*floor));
  }
  auto booted = MeasureBoots(bench, report);
  if (!booted) return Forward(booted.error());
  for (const faas::VmSize& size : sizes) {
    auto measured = MeasureTier(bench, size, faas::Tier::kMemory, report);
    if (measured) measured = MeasureTier(bench, size, faas::Tier::kDisk, report);
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
  auto appfs = MakeAppfs(options.app, runtime);
  if (!appfs) return Forward(appfs.error());
  auto runtimefs = faas::LoadRuntimefs(runtime.files);
  if (!runtimefs) return Forward(runtimefs.error());
  faas::ProcessSpawner spawner(VmmPath(context));
  // Of the size that is being measured.
  const snapshot::LoadedSnapshot* base = nullptr;
  // One at a time: what waits for another way would be in memory too.
  auto pool = faas::ShellPool::Create(spawner, {.shells_per_kind = 1, .max_shells = 1},
                                      [&](const faas::ShellKind&) { return faas::OpenPrimeImages(*runtimefs, *base); });
  if (!pool) return Forward(pool.error());
  const RestoreBench bench{options, context, runtime, spawner, **pool, std::move(*appfs), *runtimefs, base};
  return Measure(bench);
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
