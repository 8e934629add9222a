#include "cli/load_deploy.h"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/clock.h"
#include "cli/deploy_command.h"

namespace snapfaas::cli {
namespace {

// Functions that differ in their environment share no microVMs.
constexpr char kMark[] = "SNAPFAAS_BENCH_SNAPSHOTS";
constexpr double kSnapshotPatienceSeconds = 120;

FunctionDeployment DeploymentOf(const LoadFunction& function, FunctionSnapshots snapshots, OldVms old_vms) {
  FunctionDeployment deployment;
  deployment.name = function.name;
  deployment.source = function.app;
  deployment.runtime = function.runtime;
  deployment.memory = function.memory_mib;
  deployment.timeout = function.timeout_seconds;
  if (snapshots != FunctionSnapshots::kAsTheyAre) deployment.snapshot = snapshots == FunctionSnapshots::kOn;
  if (old_vms == OldVms::kLeaveBehind) deployment.environment.push_back(fmt::format("{}={}", kMark, NameOf(snapshots)));
  return deployment;
}

// The snapshot is taken after the function is active.
Status WaitForSnapshot(const NodeClient& node, const std::string& name) {
  const int64_t deadline = MonotonicNanos() + static_cast<int64_t>(kSnapshotPatienceSeconds * 1e9);
  for (;;) {
    auto configuration = node.Call("GET", FunctionPath(name, "/configuration"));
    if (!configuration) return Forward(configuration.error());
    const Json snap_start = configuration->is_object() ? configuration->value("SnapStart", Json()) : Json();
    if (TextOf(snap_start, "OptimizationStatus") == "On") return {};
    if (MonotonicNanos() > deadline) {
      return Fail(ErrorCode::kTimedOut, "{} has no snapshot after {:.0f} s: see the node's log", name,
                  kSnapshotPatienceSeconds);
    }
    std::this_thread::sleep_for(kPollPause);
  }
}

}  // namespace

std::string_view NameOf(FunctionSnapshots snapshots) {
  switch (snapshots) {
    case FunctionSnapshots::kOff:
      return "off";
    case FunctionSnapshots::kOn:
      return "on";
    case FunctionSnapshots::kAsTheyAre:
      break;
  }
  return "as they are";
}

Status DeployWorkload(const NodeClient& node, const Workload& workload, const std::filesystem::path& share_dir,
                      FunctionSnapshots snapshots, OldVms old_vms, const std::function<void(std::string_view)>& say) {
  bool has_any = false;
  for (const LoadFunction& function : workload.functions) {
    if (function.app.empty()) continue;
    has_any = true;
    FunctionDeployment deployment = DeploymentOf(function, snapshots, old_vms);
    deployment.share_dir = share_dir;
    deployment.say = say;
    auto deployed = DeployFunction(node, deployment);
    if (!deployed) return Forward(deployed.error(), function.name);
  }
  if (!has_any) {
    return Fail(ErrorCode::kInvalidArgument, "the workload has nothing to deploy: give its functions an app");
  }
  if (snapshots != FunctionSnapshots::kOn) return {};
  for (const LoadFunction& function : workload.functions) {
    if (function.app.empty()) continue;
    if (auto waited = WaitForSnapshot(node, function.name); !waited) return waited;
  }
  return {};
}

}  // namespace snapfaas::cli
