// What has become of a version that was to be made ready.
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {

Result<std::vector<PendingDeployment>> Registry::PendingDeployments() {
  const std::lock_guard lock(mutex_);
  std::vector<PendingDeployment> pending;
  auto rows = database_->Query(
      "SELECT function, version, deployment FROM versions WHERE deployment != '' ORDER BY modified_ms");
  while (rows.Next()) pending.push_back({rows.Text(0), VersionName(rows.Int(1)), rows.Text(2)});
  if (auto status = rows.status(); !status) return Forward(status.error());
  return pending;
}

Result<FunctionVersion> Registry::LoadDeployment(const std::string& name, const std::string& version,
                                                 const std::string& deployment) {
  auto found = Load(name, version);
  if (!found || (found->deployment == deployment && !deployment.empty())) return found;
  return Fail(ErrorCode::kNotFound, "something else is being made ready for function {}, version {}", name, version);
}

Status Registry::FinishDeployment(const std::string& name, const std::string& version, const std::string& deployment,
                                  const std::string& image) {
  return Change([&]() -> Status {
    auto found = LoadDeployment(name, version, deployment);
    if (!found) return Forward(found.error());
    found->deployed = Deployed{image, found->config, found->code};
    found->state = State::kActive;
    found->state_reason.clear();
    found->state_reason_code.clear();
    found->update_status = UpdateStatus::kSuccessful;
    found->update_reason.clear();
    found->update_reason_code.clear();
    found->deployment.clear();
    return Store(*found);
  });
}

Status Registry::FailDeployment(const std::string& name, const std::string& version, const std::string& deployment,
                                const std::string& reason_code, const std::string& reason) {
  return Change([&]() -> Status {
    auto found = LoadDeployment(name, version, deployment);
    if (!found) return Forward(found.error());
    if (!found->deployed) {
      found->state = State::kFailed;
      found->state_reason = reason;
      found->state_reason_code = reason_code;
    }
    found->update_status = UpdateStatus::kFailed;
    found->update_reason = reason;
    found->update_reason_code = reason_code;
    found->deployment.clear();
    return Store(*found);
  });
}

}  // namespace snapfaas::registry
