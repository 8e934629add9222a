#include "cli/bench_density.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/units.h"
#include "cli/bench_support.h"
#include "cli/density_report.h"
#include "cli/process_memory.h"
#include "cli/restore_bench.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"

namespace snapfaas::cli {
namespace {

// What is to be left to the machine: with less it would begin to write out the pages of programs.
constexpr uint64_t kLeastAvailableKib = 192 * 1024;

// Each in memory: from disk, microVMs share the page cache in the same way.
std::vector<std::string> DensityModes() {
  std::vector<std::string> modes;
  for (const RestoreChoice& choice : RestoreChoices()) {
    if (choice.tier == faas::Tier::kMemory) modes.emplace_back(choice.name);
  }
  return modes;
}

struct DensityOptions : BenchOptions {
  WantedVmSize wanted_size;
  std::vector<uint32_t> counts = {1, 2, 5, 10, 20, 50};
  std::vector<std::string> modes = {"prefetch", "primed"};
  std::vector<std::string> layers = {"base", "function"};
};

// Of all microVMs, and of the machine since there was none.
Result<DensityPoint> MeasurePoint(const std::vector<faas::MicroVm>& vms, uint64_t available_before_kib) {
  DensityPoint point;
  point.microvms = static_cast<uint32_t>(vms.size());
  for (const faas::MicroVm& vm : vms) {
    auto memory = MemoryOf(vm.pid());
    if (!memory) return Forward(memory.error());
    point.proportional_kib += memory->proportional_kib;
    point.private_kib += memory->private_kib;
    point.anonymous_kib += memory->anonymous_kib;
    point.resident_kib += memory->resident_kib;
  }
  auto available = AvailableKib();
  if (!available) return Forward(available.error());
  point.machine_kib = available_before_kib - std::min(*available, available_before_kib);
  return point;
}

Result<bool> HasRoom() {
  auto available = AvailableKib();
  if (!available) return Forward(available.error());
  return *available > kLeastAvailableKib;
}

// Adds microVMs until there are `count`, each of which has answered. False: the machine holds no more.
Result<bool> Fill(RestoreBench& bench, const snapshot::LoadedSnapshot& snapshot, const Way& way, uint32_t count,
                  std::vector<faas::MicroVm>& vms) {
  while (vms.size() < count) {
    auto room = HasRoom();
    if (!room || !*room) return room;
    fmt::print(stderr, "\rsnapfaas: microVM {}/{} ", vms.size() + 1, count);
    auto restored = bench.RestoreAndInvoke(snapshot, way);
    if (!restored) return Forward(restored.error(), fmt::format("microVM {}", vms.size() + 1));
    vms.push_back(std::move(restored->vm));
  }
  return true;
}

Result<DensitySample> MeasureWay(RestoreBench& bench, const DensityOptions& options, const faas::VmSize& size,
                                 Layers& layers, const std::string& mode, const std::string& layer) {
  const RestoreChoice& choice = RestoreChoiceOf(mode);
  const Way way{size, choice.mode, Cache::kAsIs, choice.shells};
  const snapshot::LoadedSnapshot& snapshot = layers.Of(layer);
  fmt::print(stderr, "snapfaas: {}, {} layer\n", mode, layer);
  auto before = AvailableKib();
  if (!before) return Forward(before.error());
  DensitySample sample{mode, layer, {}, false};
  std::vector<faas::MicroVm> vms;
  for (const uint32_t count : options.counts) {
    auto filled = Fill(bench, snapshot, way, count, vms);
    if (!filled) return Forward(filled.error());
    // A shell in waiting would take its part of what is shared.
    auto emptied = bench.EmptyPool(snapshot, way);
    if (!emptied) return Forward(emptied.error());
    sample.is_full = !*filled;
    if (sample.is_full && !sample.points.empty() && sample.points.back().microvms == vms.size()) break;
    auto point = MeasurePoint(vms, *before);
    if (!point) return Forward(point.error());
    sample.points.push_back(*point);
    if (sample.is_full) break;
  }
  fmt::print(stderr, "\n");
  if (sample.points.front().microvms == 0) {
    return Fail(ErrorCode::kUnavailable, "less than {} MiB of memory are left: no microVM can be measured",
                kLeastAvailableKib / 1024);
  }
  return sample;
}

Result<int> MeasureDensityHere(const DensityOptions& options, const Context& context, const OpenedRuntime& runtime) {
  auto size = options.wanted_size.For(runtime.recipe);
  if (!size) return Forward(size.error());
  auto bench = RestoreBench::Create(context, runtime, options);
  if (!bench) return Forward(bench.error());
  auto layers = (*bench)->LoadLayers(*size, faas::Tier::kMemory, Layer::kFunction);
  if (!layers) return Forward(layers.error());
  DensityReport report{DescribeHost(), AcceleratorName(), options.commit, options.runtime, *size, {}};
  const RestoreBench::Priming priming(**bench, *size, layers->base);
  for (const std::string& mode : options.modes) {
    for (const std::string& layer : options.layers) {
      auto sample = MeasureWay(**bench, options, *size, *layers, mode, layer);
      if (!sample) return Forward(sample.error());
      report.samples.push_back(std::move(*sample));
    }
  }
  fmt::print("{}", DensityTable(report));
  if (options.json.empty()) return kExitOk;
  auto written = WriteReport(options.json, ToJson(report).dump(2) + "\n");
  if (!written) return Forward(written.error());
  return kExitOk;
}

std::string CheckAscending(const std::vector<uint32_t>& counts) {
  const bool ascend = std::adjacent_find(counts.begin(), counts.end(), std::greater_equal<>()) == counts.end();
  return ascend ? "" : "--counts must ascend, as in 1,2,5,10";
}

}  // namespace

void AddBenchDensity(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<DensityOptions>();
  auto* command = bench.add_subcommand("density", "Memory of idle microVMs as their number grows, shared and private");
  command->fallthrough();
  AddBenchOptions(*command, *options);
  command->remove_option(command->get_option("--boots"));
  AddVmSizeOptions(*command, options->wanted_size);
  command->add_option("--counts", options->counts, "numbers of microVMs at which memory is measured")
      ->delimiter(',')
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--modes", options->modes, "ways to restore")
      ->delimiter(',')
      ->check(CLI::IsMember(DensityModes()))
      ->capture_default_str();
  command->add_option("--layers", options->layers, "snapshots to restore: base, function")
      ->delimiter(',')
      ->check(CLI::IsMember({"base", "function"}))
      ->capture_default_str();
  command->callback([options, context = std::move(context), &exit_code] {
    if (const std::string wrong = CheckAscending(options->counts); !wrong.empty()) throw CLI::ValidationError(wrong);
    auto found = context();
    auto code =
        found ? RunBench(*found, *options,
                         [&](const OpenedRuntime& runtime) { return MeasureDensityHere(*options, *found, runtime); })
              : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace snapfaas::cli
