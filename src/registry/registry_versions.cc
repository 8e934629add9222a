// Updates of $LATEST, and publishing it.
#include "base/uuid.h"
#include "registry/code_store.h"
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {
namespace {

// Descriptions tell versions apart, they do not make them differ.
bool IsSame(const FunctionVersion& a, const FunctionVersion& b) {
  FunctionConfig config = b.config;
  config.description = a.config.description;
  return a.code == b.code && a.config == config;
}

}  // namespace

Result<FunctionVersion> Registry::LoadForUpdate(const std::string& name, ExpectedRevision revision) {
  auto latest = Load(name, kLatest);
  if (!latest) return latest;
  if (!revision.empty() && latest->revision != revision) {
    return Fail(ErrorCode::kIncompatible, "function {} has another revision than {}", name, revision);
  }
  if (!latest->InProgress()) return latest;
  if (latest->state == State::kPending) {
    return Fail(ErrorCode::kUnavailable,
                "The operation cannot be performed at this time. The function is currently in the following state: "
                "Pending");
  }
  return Fail(ErrorCode::kUnavailable,
              "The operation cannot be performed at this time. An update is in progress for resource: {}", name);
}

Status Registry::BeginUpdate(FunctionVersion& latest) {
  latest.revision = RandomUuid();
  latest.last_modified_unix_ms = NowUnixMs();
  latest.update_status = UpdateStatus::kInProgress;
  latest.update_reason = "The function is being created.";
  latest.update_reason_code = "Creating";
  latest.deployment = RandomUuid();
  if (!latest.deployed) {
    latest.state = State::kPending;
    latest.state_reason = latest.update_reason;
    latest.state_reason_code = latest.update_reason_code;
  }
  return Store(latest);
}

Result<FunctionVersion> Registry::AddVersion(const FunctionVersion& latest,
                                             const std::optional<std::string>& description) {
  FunctionVersion version = latest;
  {
    auto rows = database_->Query("SELECT next_version FROM functions WHERE name = ?", latest.function);
    if (rows.Next()) version.version = VersionName(rows.Int(0));
    if (auto status = rows.status(); !status) return Forward(status.error());
  }
  auto counted =
      database_->Execute("UPDATE functions SET next_version = next_version + 1 WHERE name = ?", latest.function);
  if (!counted) return Forward(counted.error());
  if (description) version.config.description = *description;
  version.revision = RandomUuid();
  version.last_modified_unix_ms = NowUnixMs();
  version.state = State::kPending;
  version.state_reason = "The function is being created.";
  version.state_reason_code = "Creating";
  version.update_status = UpdateStatus::kNone;
  version.update_reason.clear();
  version.update_reason_code.clear();
  version.deployment = RandomUuid();
  version.deployed.reset();
  if (auto stored = Store(version); !stored) return Forward(stored.error());
  return version;
}

Result<std::optional<FunctionVersion>> Registry::LastPublished(const std::string& name) {
  auto rows =
      database_->Query("SELECT * FROM versions WHERE function = ? AND version > 0 ORDER BY version DESC LIMIT 1", name);
  if (!rows.Next()) {
    if (auto status = rows.status(); !status) return Forward(status.error());
    return std::optional<FunctionVersion>();
  }
  auto version = ReadVersion(rows);
  if (!version) return Forward(version.error());
  return std::optional<FunctionVersion>(*std::move(version));
}

Result<FunctionVersion> Registry::UpdateCode(const std::string& name, const CodeUpdate& update,
                                             ExpectedRevision revision) {
  FunctionVersion answer;
  auto done = Change([&]() -> Status {
    auto latest = LoadForUpdate(name, revision);
    if (!latest) return Forward(latest.error());
    latest->code = update.code;
    if (update.architectures) latest->config.architectures = *update.architectures;
    if (auto begun = BeginUpdate(*latest); !begun) return begun;
    answer = *latest;
    if (update.publish == Publish::kNo) return {};
    auto version = AddVersion(*latest, std::nullopt);
    if (!version) return Forward(version.error());
    answer = *std::move(version);
    return {};
  });
  if (!done) return Forward(done.error());
  return answer;
}

Result<FunctionVersion> Registry::UpdateConfig(const std::string& name,
                                               const std::function<void(FunctionConfig& config)>& change,
                                               ExpectedRevision revision) {
  FunctionVersion answer;
  auto done = Change([&]() -> Status {
    auto latest = LoadForUpdate(name, revision);
    if (!latest) return Forward(latest.error());
    change(latest->config);
    if (auto begun = BeginUpdate(*latest); !begun) return begun;
    answer = *std::move(latest);
    return {};
  });
  if (!done) return Forward(done.error());
  return answer;
}

Result<Registry::Published> Registry::PublishVersion(const std::string& name, const PublishRequest& request,
                                                     ExpectedRevision revision) {
  Published published;
  auto done = Change([&]() -> Status {
    auto latest = LoadForUpdate(name, revision);
    if (!latest) return Forward(latest.error());
    const std::string code = CodeSha256(latest->code);
    if (!request.code_sha256.empty() && request.code_sha256 != code) {
      return Fail(ErrorCode::kInvalidArgument,
                  "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the "
                  "CodeSHA256 in $LATEST.",
                  request.code_sha256, code);
    }
    auto last = LastPublished(name);
    if (!last) return Forward(last.error());
    if (*last && IsSame(**last, *latest)) {
      published = {**std::move(last), false};
      return {};
    }
    auto version = AddVersion(*latest, request.description);
    if (!version) return Forward(version.error());
    published = {*std::move(version), true};
    return {};
  });
  if (!done) return Forward(done.error());
  return published;
}

}  // namespace snapfaas::registry
