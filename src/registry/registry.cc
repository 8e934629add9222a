#include "registry/registry.h"

#include <charconv>

#include "registry/codec.h"
#include "registry/registry_internal.h"
#include "registry/schema.h"

namespace snapfaas::registry {

int64_t VersionNumber(const std::string& version) {
  if (version == kLatest) return 0;
  if (version.starts_with('0')) return -1;  // each version has one name
  int64_t number = -1;
  const auto* end = version.data() + version.size();
  const auto parsed = std::from_chars(version.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end && number > 0 ? number : -1;
}

std::string VersionName(int64_t number) { return number == 0 ? kLatest : std::to_string(number); }

Result<FunctionVersion> ReadVersion(const Rows& rows) {
  FunctionVersion version;
  version.function = rows.Text(0);
  version.version = VersionName(rows.Int(1));
  auto config = DecodeConfig(rows.Text(2));
  if (!config) return Forward(config.error());
  version.config = *std::move(config);
  version.code = {rows.Text(3), static_cast<uint64_t>(rows.Int(4))};
  version.revision = rows.Text(5);
  version.last_modified_unix_ms = rows.Int(6);
  version.state = static_cast<State>(rows.Int(7));
  version.state_reason = rows.Text(8);
  version.state_reason_code = rows.Text(9);
  version.update_status = static_cast<UpdateStatus>(rows.Int(10));
  version.update_reason = rows.Text(11);
  version.update_reason_code = rows.Text(12);
  version.deployment = rows.Text(13);
  auto deployed = DecodeDeployed(rows.Text(14));
  if (!deployed) return Forward(deployed.error());
  version.deployed = *std::move(deployed);
  return version;
}

Registry::Registry(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Registry::~Registry() = default;

Result<std::unique_ptr<Registry>> Registry::Open(const std::filesystem::path& file) {
  auto database = Database::Open(file);
  if (!database) return Forward(database.error());
  auto prepared = PrepareSchema(**database);
  if (!prepared) return Forward(prepared.error(), file.string());
  return std::unique_ptr<Registry>(new Registry(*std::move(database)));
}

Status Registry::Change(const std::function<Status()>& work) {
  const std::lock_guard lock(mutex_);
  auto done = database_->Transaction(work);
  // After the commit: who reads the old generation and then the new data only looks once more.
  if (done) generation_.fetch_add(1, std::memory_order_release);
  return done;
}

Status Registry::ChangeQueue(const std::function<Status()>& work) {
  const std::lock_guard lock(mutex_);
  return database_->Transaction(work);
}

Status Registry::RequireFunction(const std::string& name) {
  auto rows = database_->Query("SELECT 1 FROM functions WHERE name = ?", name);
  if (rows.Next()) return {};
  if (auto status = rows.status(); !status) return status;
  return Fail(ErrorCode::kNotFound, "there is no function {}", name);
}

Result<FunctionVersion> Registry::Load(const std::string& name, const std::string& version) {
  auto rows =
      database_->Query("SELECT * FROM versions WHERE function = ? AND version = ?", name, VersionNumber(version));
  if (rows.Next()) return ReadVersion(rows);
  if (auto status = rows.status(); !status) return Forward(status.error());
  if (auto there = RequireFunction(name); !there) return Forward(there.error());
  return Fail(ErrorCode::kNotFound, "function {} has no version {}", name, version);
}

Result<FunctionVersion> Registry::LoadQualified(const std::string& name, const std::string& qualifier) {
  if (qualifier.empty()) return Load(name, kLatest);
  if (VersionNumber(qualifier) >= 0) return Load(name, qualifier);
  auto alias = LoadAlias(name, qualifier);
  if (!alias) return Forward(alias.error());
  return Load(name, alias->version);
}

Status Registry::RequireQualifier(const std::string& function, const std::string& qualifier) {
  auto found = LoadQualified(function, qualifier);
  if (!found) return Forward(found.error());
  return {};
}

Status Registry::Store(const FunctionVersion& version) {
  return database_->Execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            version.function, VersionNumber(version.version), EncodeConfig(version.config),
                            version.code.sha256, static_cast<int64_t>(version.code.size), version.revision,
                            version.last_modified_unix_ms, static_cast<int64_t>(version.state), version.state_reason,
                            version.state_reason_code, static_cast<int64_t>(version.update_status),
                            version.update_reason, version.update_reason_code, version.deployment,
                            EncodeDeployed(version.deployed));
}

Result<Resolution> Registry::Resolve(const std::string& name, const std::string& qualifier) {
  const std::lock_guard lock(mutex_);
  Resolution resolution;
  {
    auto rows = database_->Query("SELECT reserved_concurrency FROM functions WHERE name = ?", name);
    if (rows.Next() && !rows.IsNull(0)) resolution.reserved_concurrency = static_cast<uint32_t>(rows.Int(0));
    if (auto status = rows.status(); !status) return Forward(status.error());
  }
  const bool is_version = qualifier.empty() || VersionNumber(qualifier) >= 0;
  std::string main = qualifier.empty() ? kLatest : qualifier;
  std::map<std::string, double> others;
  if (!is_version) {
    auto alias = LoadAlias(name, qualifier);
    if (!alias) return Forward(alias.error());
    main = alias->version;
    others = std::move(alias->additional_weights);
  }
  auto version = Load(name, main);
  if (!version) return Forward(version.error());
  resolution.choices.push_back({*std::move(version), 1});
  for (const auto& [number, weight] : others) {
    auto other = Load(name, number);
    if (!other) return Forward(other.error());
    resolution.choices.push_back({*std::move(other), weight});
    resolution.choices.front().weight -= weight;
  }
  return resolution;
}

}  // namespace snapfaas::registry
