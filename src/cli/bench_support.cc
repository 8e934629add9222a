#include "cli/bench_support.h"

#include <fcntl.h>
#include <sys/utsname.h>

#include <cerrno>
#include <fstream>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "cli/placement.h"
#include "host/kvm_probe.h"
#include "images/appfs.h"

namespace snapfaas::cli {

void AddBenchOptions(CLI::App& command, BenchOptions& options) {
  command.add_option("--app", options.app, "folder of the function")->required();
  command.add_option("--runtime", options.runtime, "language runtime, e.g. python3");
  command.add_option("--boots", options.boots, "number of boots")->check(CLI::Range(1, 1000))->capture_default_str();
  command.add_option("--event", options.event, "the request, JSON")->capture_default_str();
  command.add_option("--json", options.json, "file for the results");
  command
      .add_option("--appfs-in", options.appfs_in,
                  "folder for the function's image while it is measured (else that of temporary files)")
      ->check(CLI::ExistingDirectory);
  command.add_option("--commit", options.commit, "the commit that is measured, for the results");
}

Result<int> RunBench(const Context& context, const BenchOptions& options,
                     const std::function<Result<int>(const OpenedRuntime& runtime)>& here) {
  if (options.runtime.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "no runtime is named: add one, as in --runtime python3");
  }
  auto runtime = OpenRuntime(context, options.runtime);
  if (!runtime) return Forward(runtime.error());
  auto folder = images::CheckAppFolder(options.app, runtime->recipe);
  if (!folder) return Forward(folder.error());
  if (auto fetched = FetchPackages(options.app, *runtime); !fetched) return Forward(fetched.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kHere) return here(*runtime);
  std::vector<std::filesystem::path> shares = {options.app};
  if (!options.appfs_in.empty()) shares.push_back(options.appfs_in);
  if (options.json.has_parent_path()) shares.push_back(options.json.parent_path());
  return ForwardThisCommand(context, shares);
}

Result<faas::FunctionFiles> FunctionOf(int appfs_fd) {
  faas::FunctionFiles function;
  function.appfs = UniqueFd(::fcntl(appfs_fd, F_DUPFD_CLOEXEC, 0));
  if (!function.appfs.valid()) return FailErrno(errno, "duplicating the appfs");
  return function;
}

Result<std::string> ResultOf(Result<faas::Response> response) {
  if (!response) return Forward(response.error());
  if (response->kind != faas::Response::Kind::kResult) {
    return Fail(ErrorCode::kGuestError, "the function failed: {}", response->payload);
  }
  return std::move(response->payload);
}

Result<std::string> InvokeOnce(faas::MicroVm& vm, const std::string& event) {
  return ResultOf(vm.Invoke({event, ""}, DeadlineIn(kRequestTimeoutSeconds)));
}

tl::unexpected<Error> MissingMarks() {
  return Fail(ErrorCode::kGuestError, "the guest rang its progress marks out of order or not at all");
}

Result<Phases> BootOnce(faas::Spawner& spawner, const OpenedRuntime& runtime, const faas::VmSize& size, int appfs_fd,
                        const std::string& event) {
  auto function = FunctionOf(appfs_fd);
  if (!function) return Forward(function.error());
  auto images = faas::OpenBootImages(runtime.files);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(kBootTimeoutSeconds);
  auto vm = faas::MicroVm::Launch(spawner, size, deadline);
  if (!vm) return Forward(vm.error());
  auto booted = vm->Boot(std::move(*images), std::move(*function), deadline);
  if (!booted) return Forward(booted.error());
  auto invoked = InvokeOnce(*vm, event);
  if (!invoked) return Forward(invoked.error());
  const auto phases = faas::BreakDownBoot(vm->timeline());
  if (!phases) return MissingMarks();
  return PhasesOf(*phases);
}

Result<Claim> ClaimShell(faas::ShellPool& pool, const faas::ShellKind& kind, int64_t deadline_ns) {
  auto reserved = pool.Reserve(kind, 1);
  if (!reserved) return Forward(reserved.error());
  // The shell that replaces the last run's is not to be started during this one.
  auto full = pool.WaitFull(kind, deadline_ns);
  if (!full) return Forward(full.error());
  const int64_t asked = MonotonicNanos();
  auto taken = pool.Take(kind, deadline_ns);
  if (!taken) return Forward(taken.error());
  return Claim{asked, std::move(*taken)};
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

std::string AcceleratorName() { return host::InsideEmulatedHost() ? "emulated-host" : "kvm"; }

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

}  // namespace snapfaas::cli
