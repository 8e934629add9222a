#include "node/deployment_service.h"

#include <fmt/format.h>

#include <optional>

#include "base/json.h"

namespace snapfaas::node {
namespace {

std::string Name(const registry::FunctionVersion& version) {
  return fmt::format("{}:{}", version.function, version.version);
}

nlohmann::json Particulars(const registry::FunctionVersion& version) {
  return {{"function", version.function}, {"version", version.version}};
}

// As clients know it: the reason code of State and LastUpdateStatus.
std::string_view ReasonCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorrupt:
      return "InvalidZipFileException";
    case ErrorCode::kNotFound:
      return "InvalidRuntime";
    default:
      return "InternalError";
  }
}

}  // namespace

DeploymentService::DeploymentService(Parts parts, Options options)
    : parts_(std::move(parts)), options_(std::move(options)) {}

void DeploymentService::Recover(std::function<void()> served) {
  deploying_.Post([this, served = std::move(served)] {
    ServeAll();
    served();
    auto pending = parts_.registry.PendingDeployments();
    if (!pending) return parts_.log(fmt::format("deployments cannot go on: {}", pending.error().Message()));
    for (const auto& deployment : *pending) Start(deployment.function, deployment.version);
    Sweep();
  });
}

Status DeploymentService::CheckZip(const std::filesystem::path& zip) { return node::CheckZip(zip); }

bool DeploymentService::HasRuntime(const std::string& runtime) { return parts_.open_runtime(runtime).has_value(); }

void DeploymentService::Start(const std::string& function, const std::string& version) {
  deploying_.Post([this, function, version] { Deploy(function, version); });
}

bool DeploymentService::HasSnapshot(const registry::FunctionVersion& version) {
  return version.deployed &&
         parts_.store.HasFunctionSnapshot(
             SpecOf(version, *version.deployed, std::nullopt, options_.vcpus, options_.runtimes).key);
}

void DeploymentService::Removed(const std::string& function, const std::vector<std::string>& versions) {
  deploying_.Post([this, function, versions] {
    for (const std::string& version : versions) {
      Replace({function, version}, "");
      parts_.events.Publish("removed", [&] { return nlohmann::json{{"function", function}, {"version", version}}; });
    }
    Sweep();
  });
}

void DeploymentService::Stop() {
  deploying_.Stop();
  snapshots_.Stop();
}

void DeploymentService::Deploy(const std::string& function, const std::string& version_name) {
  auto version = parts_.registry.GetFunction(function, version_name);
  // It may be gone by now, or an earlier call has made it ready.
  if (!version || !version->InProgress()) return;
  auto made = Make(*version);
  if (!made) return Fail(*version, made.error());
  const std::string& key = made->function.key;
  auto prepared = parts_.store.Prepare(made->function);
  if (!prepared) return Fail(*version, prepared.error());
  auto finished = parts_.registry.FinishDeployment(function, version_name, version->deployment, made->image);
  if (!finished) {
    // Removed or changed again meanwhile, unless the disk fails.
    if (finished.error().code != ErrorCode::kNotFound) Fail(*version, finished.error());
    const auto known = keys_.find({function, version_name});
    if (known == keys_.end() || known->second != key) parts_.store.Forget(key);
    return;
  }
  Replace({function, version_name}, key);
  parts_.log(fmt::format("{} is deployed", Name(*version)));
  parts_.events.Publish("deployed", [&] { return Particulars(*version); });
  TakeSnapshotLater(*version, version->config, made->function);
  Sweep();
}

Result<DeploymentService::Made> DeploymentService::Make(const registry::FunctionVersion& version) {
  const registry::FunctionConfig& config = version.config;
  auto opened = parts_.open_runtime(options_.runtimes.NameOf(config.runtime));
  if (!opened) return Forward(opened.error());
  FunctionImageConfig image_config;
  image_config.handler = config.handler;
  image_config.environment = config.environment;
  image_config.function = version.function;
  image_config.version = version.version;
  image_config.memory_mib = config.memory_mib;
  image_config.region = options_.arn.region;
  image_config.arn = FunctionArn(options_.arn, version.function, version.version);
  auto image = parts_.deployer.MakeImage(parts_.code.PathOf(version.code.sha256), image_config, *opened);
  if (!image) return Forward(image.error());
  return Made{Prepared(version, {image->hash, config, version.code}, image->path), image->hash, image->hold};
}

PreparedFunction DeploymentService::Prepared(const registry::FunctionVersion& version,
                                             const registry::Deployed& deployed, std::filesystem::path image) const {
  auto spec = SpecOf(version, deployed, std::nullopt, options_.vcpus, options_.runtimes);
  return {std::move(spec.key), options_.runtimes.NameOf(deployed.config.runtime), spec.size, std::move(image),
          WantsSnapshot(deployed.config)};
}

bool DeploymentService::WantsSnapshot(const registry::FunctionConfig& config) const {
  return options_.function_snapshots && config.snap_start != registry::SnapStart::kNone;
}

void DeploymentService::Fail(const registry::FunctionVersion& version, const Error& error) {
  parts_.log(fmt::format("{} cannot be deployed: {}", Name(version), error.Message()));
  auto failed = parts_.registry.FailDeployment(version.function, version.version, version.deployment,
                                               std::string(ReasonCode(error.code)), error.Message());
  if (!failed && failed.error().code != ErrorCode::kNotFound) {
    parts_.log(fmt::format("{}: {}", Name(version), failed.error().Message()));
  }
  parts_.events.Publish("deploy-failed", [&] {
    auto particulars = Particulars(version);
    particulars["message"] = error.Message();
    return particulars;
  });
}

void DeploymentService::ServeAll() {
  registry::Page page{"", 1000};
  do {
    auto listed = parts_.registry.ListFunctionsAndVersions(page);
    if (!listed) return parts_.log(fmt::format("functions cannot be listed: {}", listed.error().Message()));
    for (const auto& version : listed->items) Serve(version);
    page.after = listed->next;
  } while (!page.after.empty());
}

void DeploymentService::Serve(const registry::FunctionVersion& version) {
  if (!version.deployed) return;
  auto image = parts_.deployer.Find(version.deployed->image);
  const auto function = Prepared(version, *version.deployed, image ? image->path : "");
  auto prepared = image ? parts_.store.Prepare(function) : Status(Forward(image.error()));
  if (!prepared) {
    parts_.log(fmt::format("{} cannot be served, deploy it again: {}", Name(version), prepared.error().Message()));
    return;
  }
  keys_[{version.function, version.version}] = function.key;
  TakeSnapshotLater(version, version.deployed->config, function);
}

// `key` empty: nothing is served any more.
void DeploymentService::Replace(const VersionName& name, const std::string& key) {
  const auto found = keys_.find(name);
  const std::string old = found == keys_.end() ? "" : found->second;
  if (key.empty()) {
    keys_.erase(name);
  } else {
    keys_[name] = key;
  }
  if (old.empty() || old == key) return;
  parts_.retire(old);
  parts_.store.Forget(old);
}

void DeploymentService::Sweep() {
  auto used = parts_.registry.ImagesInUse();
  if (!used) return parts_.log(fmt::format("old images stay: {}", used.error().Message()));
  auto swept = parts_.deployer.Sweep(*used);
  if (!swept) parts_.log(fmt::format("old images stay: {}", swept.error().Message()));
}

void DeploymentService::TakeSnapshotLater(const registry::FunctionVersion& version,
                                          const registry::FunctionConfig& config, const PreparedFunction& function) {
  if (!WantsSnapshot(config)) return;
  snapshots_.Post([this, name = Name(version), key = function.key, size = function.size] {
    const auto room = parts_.reserve(size);
    if (!room) return;
    auto taken = parts_.store.TakeFunctionSnapshot(key);
    // Replaced or removed meanwhile.
    if (!taken && taken.error().code == ErrorCode::kNotFound) return;
    if (!taken) parts_.log(fmt::format("{} has no snapshot of its own: {}", name, taken.error().Message()));
  });
}

}  // namespace snapfaas::node
