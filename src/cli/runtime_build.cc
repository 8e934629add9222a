#include "cli/runtime_build.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "base/units.h"
#include "cli/host_commands.h"
#include "cli/placement.h"
#include "cli/restore_timing.h"
#include "cli/runtime_access.h"
#include "faas/process_spawner.h"

namespace snapfaas::cli {
namespace {

// From any thread: one call writes one line.
void ShowProgress(std::string_view line) { fmt::print(stderr, "{}", fmt::format("snapfaas: {}\n", line)); }

Result<int> TakeSnapshotHere(const std::string& name, const faas::VmSize& size, Force force, const Context& context,
                             const OpenedRuntime& runtime) {
  faas::ProcessSpawner spawner(VmmPath(context));
  const auto rebuild = force == Force::kYes ? Rebuild::kAlways : Rebuild::kWhereNeeded;
  auto manifest = BuildSnapshotWhereNeeded(context, spawner, runtime.files, size, rebuild, kBootTimeoutSeconds);
  if (!manifest) return Forward(manifest.error());
  // Nobody needs it: a runtime whose restores cannot be timed will say so to whoever uses it.
  auto timing = TimeRestoresWhereNeeded(context, spawner, runtime, size, *manifest);
  ShowProgress(fmt::format("{} is ready: base snapshot of {} MiB and {} vCPU, {:.1f} MiB of it dirty{}", name,
                           size.memory_mib, size.vcpus, ToMib(manifest->stored_bytes),
                           timing ? fmt::format(", restored in {:.1f} ms", timing->MedianMs())
                                  : ", whose restores were not timed: " + timing.error().Message()));
  return kExitOk;
}

std::vector<std::string> SnapshotCommand(const std::string& executable, const std::string& name,
                                         const faas::VmSize& size, Force force, const Context& context) {
  std::vector<std::string> arguments = {
      executable, "--data",   context.data_dir.string(),       "runtime", "snapshot",
      name,       "--memory", std::to_string(size.memory_mib), "--vcpus", std::to_string(size.vcpus)};
  if (force == Force::kYes) arguments.emplace_back("--force");
  return arguments;
}

Status BuildImages(const std::string& name, Force force, const Context& context) {
  if (force == Force::kYes) {
    auto removed = images::RemoveRuntime(context.data_dir, name);
    if (!removed && removed.error().code != ErrorCode::kNotFound) return Forward(removed.error());
  }
  auto images = images::BuildRuntime(context.data_dir, context.share_dir, name, ShowProgress);
  if (!images) return Forward(images.error());
  return {};
}

}  // namespace

std::vector<std::string> RunBuilds(const std::vector<std::string>& names, unsigned jobs,
                                   const std::function<Status(const std::string& name)>& make,
                                   const std::function<Status(const std::string& name)>& then,
                                   const std::function<void(const std::string& name, const Error& error)>& fail) {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<std::string, Status>> made;
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < names.size(); i = next++) {
      Status status = make(names[i]);
      const std::lock_guard lock(mutex);
      made.emplace_back(names[i], std::move(status));
      changed.notify_one();
    }
  };
  std::vector<std::jthread> workers;
  for (size_t i = 0; i < std::min<size_t>(std::max(jobs, 1U), names.size()); ++i) workers.emplace_back(work);
  std::vector<std::string> failed;
  for (size_t done = 0; done < names.size(); ++done) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&made] { return !made.empty(); });
    auto [name, status] = std::move(made.front());
    made.pop_front();
    lock.unlock();
    if (status) status = then(name);
    if (status) continue;
    fail(name, status.error());
    failed.push_back(name);
  }
  std::sort(failed.begin(), failed.end());
  return failed;
}

Result<int> TakeBaseSnapshot(const std::string& name, const WantedVmSize& wanted, Force force, const Context& context) {
  auto runtime = OpenRuntime(context, name);
  if (!runtime) return Forward(runtime.error());
  auto size = wanted.For(runtime->recipe);
  if (!size) return Forward(size.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kHere) return TakeSnapshotHere(name, *size, force, context, *runtime);
  // Not this command line: it may be that of `build`, whose images are not to be looked at again in there.
  auto executable = ExecutablePath();
  if (!executable) return Forward(executable.error());
  return RunInEmulatedHost(context, SnapshotCommand(executable->string(), name, *size, force, context));
}

Result<int> BuildRuntimes(const RuntimeBuildOptions& options, const Context& context) {
  const bool several = options.names.size() > 1;
  const auto make = [&](const std::string& name) { return BuildImages(name, options.force, context); };
  // The emulated host runs one of them at a time anyway.
  const auto then = [&](const std::string& name) -> Status {
    auto code = TakeBaseSnapshot(name, options.size, options.force, context);
    if (!code) return Forward(code.error());
    if (*code == kExitOk) return {};
    return Fail(ErrorCode::kSystem, "its base snapshot could not be taken (exit code {})", *code);
  };
  std::map<std::string, std::string> reasons;
  const auto fail = [several, &reasons](const std::string& name, const Error& error) {
    reasons[name] = error.Message();
    ShowProgress(several ? fmt::format("runtime {} FAILED: {}", name, error.Message()) : error.Message());
  };
  const unsigned jobs = options.jobs != 0 ? options.jobs : std::thread::hardware_concurrency();
  const auto failed = RunBuilds(options.names, jobs, make, then, fail);
  if (several) {
    ShowProgress(
        fmt::format("{} of {} runtimes are ready", options.names.size() - failed.size(), options.names.size()));
    // Once more, below what the others said meanwhile.
    for (const std::string& name : failed) ShowProgress(fmt::format("{} failed: {}", name, reasons.at(name)));
  }
  return failed.empty() ? kExitOk : kExitFailure;
}

}  // namespace snapfaas::cli
