#include "cli/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "cli/breakdown_report.h"
#include "cli/placement.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "images/appfs.h"

namespace snapfaas::cli {
namespace {

struct RunOptions {
  std::string runtime;
  std::filesystem::path app;
  WantedVmSize wanted_size;
  faas::VmSize size;  // once the runtime is known
  bool boot = false;
  std::string restore = kDefaultRestore;
  std::string layer = "auto";
  bool timings = false;
  double timeout_seconds = 0;  // 0: the default of the way to start
  double request_timeout_seconds = 900;

  double start_timeout() const {
    if (timeout_seconds > 0) return timeout_seconds;
    return boot ? kBootTimeoutSeconds : kRestoreTimeoutSeconds;
  }
};

// The function's prints go straight to our standard error.
Result<UniqueFd> LogToStderr() {
  UniqueFd log(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  if (!log.valid()) return FailErrno(errno, "duplicating standard error");
  return log;
}

Result<faas::FunctionFiles> MakeFunction(const RunOptions& options, const OpenedRuntime& runtime) {
  auto appfs = MakeAppfs(options.app, runtime);
  if (!appfs) return Forward(appfs.error());
  auto log = LogToStderr();
  if (!log) return Forward(log.error());
  return faas::FunctionFiles{std::move(*appfs), std::move(*log)};
}

Result<faas::MicroVm> StartByBoot(const RunOptions& options, faas::Spawner& spawner, const OpenedRuntime& runtime,
                                  faas::FunctionFiles function) {
  auto images = faas::OpenBootImages(runtime.files);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(options.start_timeout());
  auto vm = faas::MicroVm::Launch(spawner, options.size, deadline);
  if (!vm) return vm;
  auto booted = vm->Boot(std::move(*images), std::move(function), deadline);
  if (!booted) return Forward(booted.error());
  return vm;
}

Layer LayerOf(const std::string& name) {
  if (name == "base") return Layer::kBase;
  return name == "function" ? Layer::kFunction : Layer::kAuto;
}

// What a microVM is restored from.
struct Loaded {
  snapshot::InMemoryImage runtimefs;
  snapshot::LoadedSnapshot base;
  std::optional<snapshot::LoadedSnapshot> function;

  snapshot::LoadedSnapshot& top() { return function ? *function : base; }
};

Result<Loaded> Load(const RunOptions& options, const Context& context, faas::Spawner& spawner,
                    const OpenedRuntime& runtime, int appfs_fd) {
  const double boot_timeout = std::max(options.start_timeout(), kBootTimeoutSeconds);
  const faas::Tier tier = RestoreChoiceOf(options.restore).tier;
  auto runtimefs = faas::LoadRuntimefs(runtime.files);
  if (!runtimefs) return Forward(runtimefs.error());
  auto base = LoadSnapshot(context, spawner, runtime.files, options.size, tier, boot_timeout);
  if (!base) return Forward(base.error());
  auto function =
      LoadFunctionSnapshot(context, spawner, runtime.files, *runtimefs, *base, appfs_fd, LayerOf(options.layer), tier);
  if (!function) return Forward(function.error());
  return Loaded{std::move(*runtimefs), std::move(*base), std::move(*function)};
}

Result<faas::MicroVm> StartByRestore(const RunOptions& options, faas::Shell shell, Loaded& loaded,
                                     faas::FunctionFiles function) {
  auto images = faas::OpenRestoreImages(loaded.runtimefs, loaded.top(), RestoreChoiceOf(options.restore).mode);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(options.start_timeout());
  auto vm = faas::MicroVm::Create(std::move(shell), MonotonicNanos());
  if (!vm) return vm;
  auto restored = vm->Restore(std::move(*images), std::move(function), deadline);
  if (!restored) return Forward(restored.error());
  return vm;
}

// One JSON text on one line: a line break in it can only stand between its tokens.
std::string OnOneLine(std::string json) {
  std::replace(json.begin(), json.end(), '\n', ' ');
  std::replace(json.begin(), json.end(), '\r', ' ');
  return json;
}

void PrintLine(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

std::string ContextFor(const RunOptions& options, uint64_t number) {
  const int64_t deadline_ms = RealtimeNanos() / 1'000'000 + static_cast<int64_t>(options.request_timeout_seconds * 1e3);
  const nlohmann::json context = {
      {"requestId", std::to_string(number)},
      {"functionName", std::filesystem::absolute(options.app).lexically_normal().filename().string()},
      {"functionVersion", "$LATEST"},
      {"memoryLimitInMB", std::to_string(options.size.memory_mib)},
      {"deadlineMs", deadline_ms},
  };
  return context.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Answers the lines of standard input; `after_first` is called once, behind the first answer. Returns the exit code: a
// line that is no JSON is answered by an error object and makes it kExitFailure.
Result<int> ServeStandardInput(const RunOptions& options, faas::MicroVm& vm,
                               const std::function<Status()>& after_first) {
  int exit_code = kExitOk;
  uint64_t number = 0;
  bool answered = false;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    ++number;
    if (!nlohmann::json::accept(line)) {
      const nlohmann::json error = {{"errorType", "InvalidRequest"},
                                    {"errorMessage", fmt::format("request {} is not JSON", number)}};
      PrintLine(error.dump());
      exit_code = kExitFailure;
      continue;
    }
    const std::string context = ContextFor(options, number);
    auto response = vm.Invoke({line, context}, DeadlineIn(options.request_timeout_seconds));
    if (!response) return Forward(response.error());
    PrintLine(OnOneLine(std::move(response->payload)));
    if (!std::exchange(answered, true)) {
      auto done = after_first();
      if (!done) return Forward(done.error());
    }
  }
  return exit_code;
}

void PrintTimings(const RunOptions& options, const faas::Timeline& timeline) {
  nlohmann::ordered_json timings = {{"runtime", options.runtime},
                                    {"memory_mib", options.size.memory_mib},
                                    {"vcpus", options.size.vcpus},
                                    {"mode", options.boot ? "boot" : options.restore}};
  if (options.boot) {
    const auto phases = faas::BreakDownBoot(timeline);
    timings["boot_ms"] = phases ? PhasesToJson(*phases) : nlohmann::ordered_json();
  } else {
    const auto phases = faas::BreakDownRestore(timeline);
    timings["restore_ms"] = phases ? PhasesToJson(*phases) : nlohmann::ordered_json();
  }
  fmt::print(stderr, "{}\n", timings.dump());
}

Result<int> ServeRestored(const RunOptions& options, const Context& context, const OpenedRuntime& runtime) {
  faas::ProcessSpawner spawner(VmmPath(context));
  // The VMM starts while the images are prepared.
  auto starting = std::async(std::launch::async, [&options, &spawner] {
    return faas::Shell::Start(spawner, options.size, DeadlineIn(options.start_timeout()));
  });
  auto function = MakeFunction(options, runtime);
  if (!function) return Forward(function.error());
  auto loaded = Load(options, context, spawner, runtime, function->appfs.get());
  if (!loaded) return Forward(loaded.error());
  auto shell = starting.get();
  if (!shell) return Forward(shell.error());
  auto vm = StartByRestore(options, std::move(*shell), *loaded, std::move(*function));
  if (!vm) return Forward(vm.error());
  const bool maps = RestoreChoiceOf(options.restore).mode != wire::RestoreMode::kCopy;
  auto exit_code = ServeStandardInput(options, *vm, [&]() -> Status {
    if (!maps) return {};
    return KeepWorkingSet(context, *vm, loaded->top());
  });
  if (exit_code && options.timings) PrintTimings(options, vm->timeline());
  return exit_code;
}

Result<int> ServeBooted(const RunOptions& options, const Context& context, const OpenedRuntime& runtime) {
  faas::ProcessSpawner spawner(VmmPath(context));
  auto function = MakeFunction(options, runtime);
  if (!function) return Forward(function.error());
  auto vm = StartByBoot(options, spawner, runtime, std::move(*function));
  if (!vm) return Forward(vm.error());
  auto exit_code = ServeStandardInput(options, *vm, [] { return Status(); });
  if (exit_code && options.timings) PrintTimings(options, vm->timeline());
  return exit_code;
}

Result<int> RunHere(const RunOptions& options, const Context& context, const OpenedRuntime& runtime) {
  return options.boot ? ServeBooted(options, context, runtime) : ServeRestored(options, context, runtime);
}

Result<int> Run(RunOptions options, const Context& context) {
  // What can be wrong here is said before an emulated host is started for it.
  auto runtime = OpenRuntime(context, options.runtime);
  if (!runtime) return Forward(runtime.error());
  auto folder = images::CheckAppFolder(options.app, runtime->recipe);
  if (!folder) return Forward(folder.error());
  auto size = options.wanted_size.For(runtime->recipe);
  if (!size) return Forward(size.error());
  options.size = *size;
  if (auto fetched = FetchPackages(options.app, *runtime); !fetched) return Forward(fetched.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kEmulatedHost) return ForwardThisCommand(context, {options.app});
  return RunHere(options, context, *runtime);
}

}  // namespace

void AddRunCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  auto* command = app.add_subcommand("run", "Run a function in one microVM: JSON lines in, JSON lines out");
  command->fallthrough();
  command->add_option("--runtime", options->runtime, "language runtime, e.g. python3")->required();
  command->add_option("--app", options->app, "folder of the function")->required();
  AddVmSizeOptions(*command, options->wanted_size);
  auto* boot = command->add_flag("--boot", options->boot, "start by booting, without a snapshot");
  std::vector<std::string> restores;
  for (const RestoreChoice& choice : RestoreChoices()) {
    // One VM is no pool.
    if (choice.shells == Shells::kBare) restores.emplace_back(choice.name);
  }
  command->add_option("--restore", options->restore, "how to restore the snapshot")
      ->check(CLI::IsMember(restores))
      ->capture_default_str()
      ->excludes(boot);
  command
      ->add_option("--layer", options->layer,
                   "the function's own snapshot: auto (where there is one), function "
                   "(take it where there is none) or base (do without)")
      ->check(CLI::IsMember({"auto", "base", "function"}))
      ->capture_default_str()
      ->excludes(boot);
  command->add_flag("--timings", options->timings, "print where the time went, as JSON, to standard error");
  command->add_option("--timeout", options->timeout_seconds, "seconds for the start (120 for a boot, 60 for a restore)")
      ->check(CLI::PositiveNumber);
  command->add_option("--request-timeout", options->request_timeout_seconds, "seconds for each answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options, context = std::move(context), &exit_code] {
    auto found = context();
    auto code = found ? Run(*options, *found) : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

}  // namespace snapfaas::cli
