#include "cli/bench_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>

#include "base/units.h"
#include "cli/breakdown_report.h"
#include "cli/placement.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "host/kvm_probe.h"
#include "images/appfs.h"

namespace snapfaas::cli {
namespace {

constexpr double kRequestTimeoutSeconds = 60;

struct BenchOptions {
  std::string runtime = "python3";
  std::filesystem::path app;
  faas::VmSize size;
  uint32_t boots = 5;
  uint32_t restores = 30;
  std::filesystem::path json;
  std::string commit;
  std::string event = "{}";
};

// Everything that is made once and used by every run.
struct Bench {
  const BenchOptions& options;
  const OpenedRuntime& runtime;
  faas::Spawner& spawner;
  UniqueFd appfs;
  snapshot::InMemorySnapshot snapshot;
  std::string response;  // the last one
};

struct Results {
  Runs boots;
  Runs restores;
  Runs copies;
};

Result<faas::FunctionFiles> FunctionOf(const Bench& bench) {
  faas::FunctionFiles function;
  function.appfs = UniqueFd(::fcntl(bench.appfs.get(), F_DUPFD_CLOEXEC, 0));
  if (!function.appfs.valid()) return FailErrno(errno, "duplicating the appfs");
  return function;
}

Status InvokeOnce(Bench& bench, faas::MicroVm& vm) {
  auto response = vm.Invoke({bench.options.event, ""}, DeadlineIn(kRequestTimeoutSeconds));
  if (!response) return Forward(response.error());
  if (response->kind != faas::Response::Kind::kResult) {
    return Fail(ErrorCode::kGuestError, "the function failed: {}", response->payload);
  }
  bench.response = std::move(response->payload);
  return {};
}

tl::unexpected<Error> MissingMarks() {
  return Fail(ErrorCode::kGuestError, "the guest rang its progress marks out of order or not at all");
}

Result<Phases> BootOnce(Bench& bench) {
  auto function = FunctionOf(bench);
  if (!function) return Forward(function.error());
  auto images = faas::OpenBootImages(bench.runtime.files);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(kBootTimeoutSeconds);
  auto vm = faas::MicroVm::Launch(bench.spawner, bench.options.size, deadline);
  if (!vm) return Forward(vm.error());
  auto booted = vm->Boot(std::move(*images), std::move(*function), deadline);
  if (!booted) return Forward(booted.error());
  auto invoked = InvokeOnce(bench, *vm);
  if (!invoked) return Forward(invoked.error());
  const auto phases = faas::BreakDownBoot(vm->timeline());
  if (!phases) return MissingMarks();
  return PhasesOf(*phases);
}

Result<Phases> RestoreOnce(Bench& bench, wire::RestoreMode mode) {
  auto function = FunctionOf(bench);
  if (!function) return Forward(function.error());
  auto images = faas::OpenRestoreImages(bench.runtime.files, bench.snapshot, mode);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(kRestoreTimeoutSeconds);
  auto vm = faas::MicroVm::Launch(bench.spawner, bench.options.size, deadline);
  if (!vm) return Forward(vm.error());
  auto restored = vm->Restore(std::move(*images), std::move(*function), deadline);
  if (!restored) return Forward(restored.error());
  auto invoked = InvokeOnce(bench, *vm);
  if (!invoked) return Forward(invoked.error());
  const auto phases = faas::BreakDownRestore(vm->timeline());
  if (!phases) return MissingMarks();
  return PhasesOf(*phases);
}

template <typename RunOnce>
Result<Runs> Repeat(std::string_view what, uint32_t times, RunOnce run_once) {
  Runs runs;
  for (uint32_t i = 0; i < times; ++i) {
    fmt::print(stderr, "\rsnapfaas: {} {}/{} ", what, i + 1, times);
    auto run = run_once();
    if (!run) {
      fmt::print(stderr, "\n");
      return Forward(run.error(), fmt::format("{} {}", what, i + 1));
    }
    runs.push_back(std::move(*run));
  }
  fmt::print(stderr, "\n");
  return runs;
}

Result<Results> Measure(Bench& bench) {
  Results results;
  auto boots = Repeat("boot", bench.options.boots, [&bench] { return BootOnce(bench); });
  if (!boots) return Forward(boots.error());
  results.boots = std::move(*boots);
  auto restores = Repeat("restore (mmap)", bench.options.restores,
                         [&bench] { return RestoreOnce(bench, wire::RestoreMode::kMmap); });
  if (!restores) return Forward(restores.error());
  results.restores = std::move(*restores);
  auto copies = Repeat("restore (copy)", bench.options.restores,
                       [&bench] { return RestoreOnce(bench, wire::RestoreMode::kCopy); });
  if (!copies) return Forward(copies.error());
  results.copies = std::move(*copies);
  return results;
}

nlohmann::ordered_json DescribeHost() {
  std::string model = "unknown";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (!line.starts_with("model name") || colon == std::string::npos) continue;
    model = line.substr(colon + 2);
    break;
  }
  utsname system{};
  ::uname(&system);
  return {{"cpu", model}, {"cpus", std::thread::hardware_concurrency()}, {"kernel", system.release}};
}

double Rounded(double value) { return static_cast<double>(static_cast<int64_t>(value * 100 + 0.5)) / 100; }

nlohmann::ordered_json Report(const Bench& bench, const Results& results) {
  nlohmann::ordered_json report;
  report["accelerator"] = host::InsideEmulatedHost() ? "emulated-host" : "kvm";
  report["runtime"] = bench.options.runtime;
  report["memory_mib"] = bench.options.size.memory_mib;
  report["vcpus"] = bench.options.size.vcpus;
  report["runs"] = results.restores.size();
  report["boot_runs"] = results.boots.size();
  report["boot_ms"] = ToJson(Medians(results.boots));
  report["restore_ms"] = ToJson(Medians(results.restores));
  report["restore_copy_ms"] = ToJson(Medians(results.copies));
  report["speedup_ready"] = Rounded(MedianOf(results.boots, "ready") / MedianOf(results.restores, "ready"));
  report["speedup_response"] = Rounded(MedianOf(results.boots, "response") / MedianOf(results.restores, "response"));
  report["dirty_mib"] =
      Rounded(static_cast<double>(bench.snapshot.manifest().stored_bytes) / static_cast<double>(1_MiB));
  report["response"] = nlohmann::ordered_json::parse(bench.response, nullptr, /*allow_exceptions=*/false);
  report["host"] = DescribeHost();
  report["kernel"] = bench.runtime.kernel_release;
  if (!bench.options.commit.empty()) report["commit"] = bench.options.commit;
  report["samples"] = {{"boot_ms", SamplesToJson(results.boots)},
                       {"restore_ms", SamplesToJson(results.restores)},
                       {"restore_copy_ms", SamplesToJson(results.copies)}};
  return report;
}

Status WriteReport(const std::filesystem::path& path, const std::string& text) {
  const std::string temporary = path.string() + ".tmp";
  std::error_code failure;
  if (std::ofstream file(temporary); !(file << text).flush()) {
    std::filesystem::remove(temporary, failure);
    return Fail(ErrorCode::kSystem, "writing {} failed", temporary);
  }
  std::filesystem::rename(temporary, path, failure);
  if (failure) return FailErrno(failure.value(), "renaming {} to {}", temporary, path.string());
  return {};
}

void PrintTables(const nlohmann::ordered_json& report, const Results& results) {
  fmt::print("{} with {} MiB and {} vCPU on {}\n\n", report["runtime"].get<std::string>(),
             report["memory_mib"].get<uint32_t>(), report["vcpus"].get<uint32_t>(),
             report["accelerator"] == "kvm" ? "KVM" : "the emulated host");
  fmt::print("{}\n{}\n{}\n", Table("boot", results.boots), Table("restore by mmap", results.restores),
             Table("restore by copy", results.copies));
  fmt::print("restore against boot (medians): {:.1f}x to ready, {:.1f}x to the first response; {:.1f} MiB dirty\n",
             report["speedup_ready"].get<double>(), report["speedup_response"].get<double>(),
             report["dirty_mib"].get<double>());
}

Result<int> BreakDownHere(const BenchOptions& options, const Context& context, const OpenedRuntime& runtime) {
  auto appfs = MakeAppfs(options.app, runtime.recipe);
  if (!appfs) return Forward(appfs.error());
  faas::ProcessSpawner spawner(VmmPath(context));
  auto snapshot = LoadSnapshot(context, spawner, runtime.files, options.size, kBootTimeoutSeconds);
  if (!snapshot) return Forward(snapshot.error());
  Bench bench{options, runtime, spawner, std::move(*appfs), std::move(*snapshot), {}};
  auto results = Measure(bench);
  if (!results) return Forward(results.error());
  const auto report = Report(bench, *results);
  PrintTables(report, *results);
  if (options.json.empty()) return kExitOk;
  auto written = WriteReport(options.json, report.dump(2) + "\n");
  if (!written) return Forward(written.error());
  return kExitOk;
}

Result<int> BreakDown(const BenchOptions& options, const Context& context) {
  auto runtime = OpenRuntime(context, options.runtime);
  if (!runtime) return Forward(runtime.error());
  auto folder = images::CheckAppFolder(options.app, runtime->recipe);
  if (!folder) return Forward(folder.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kHere) return BreakDownHere(options, context, *runtime);
  std::vector<std::filesystem::path> shares = {options.app};
  if (options.json.has_parent_path()) shares.push_back(options.json.parent_path());
  return ForwardThisCommand(context, shares);
}

}  // namespace

void AddBenchCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto* bench = app.add_subcommand("bench", "Measurements");
  bench->require_subcommand(1);
  bench->fallthrough();
  auto options = std::make_shared<BenchOptions>();
  auto* command = bench->add_subcommand("breakdown", "Where the time goes in a boot and in a restore");
  command->fallthrough();
  command->add_option("--app", options->app, "folder of the function")->required();
  command->add_option("--runtime", options->runtime, "language runtime")->capture_default_str();
  AddVmSizeOptions(*command, options->size);
  command->add_option("--boots", options->boots, "number of boots")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--restores", options->restores, "number of restores, for each of mmap and copy")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--event", options->event, "the request, JSON")->capture_default_str();
  command->add_option("--json", options->json, "file for the results");
  command->add_option("--commit", options->commit, "the commit that is measured, for the results");
  command->callback([options, context = std::move(context), &exit_code] {
    auto found = context();
    auto code = found ? BreakDown(*options, *found) : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace snapfaas::cli
