#include "base/uuid.h"
#include "registry/codec.h"
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {
namespace {

Result<Alias> ReadAlias(const Rows& rows) {
  Alias alias{rows.Text(0), rows.Text(1), rows.Text(2), rows.Text(3), {}, rows.Text(5)};
  auto weights = DecodeWeights(rows.Text(4));
  if (!weights) return Forward(weights.error());
  alias.additional_weights = *std::move(weights);
  return alias;
}

bool RefersTo(const Alias& alias, const std::string& version) {
  return alias.version == version || alias.additional_weights.contains(version);
}

}  // namespace

Result<Alias> Registry::LoadAlias(const std::string& function, const std::string& name) {
  auto rows = database_->Query("SELECT * FROM aliases WHERE function = ? AND name = ?", function, name);
  if (rows.Next()) return ReadAlias(rows);
  if (auto status = rows.status(); !status) return Forward(status.error());
  if (auto there = RequireFunction(function); !there) return Forward(there.error());
  return Fail(ErrorCode::kNotFound, "function {} has no alias {}", function, name);
}

Status Registry::CheckAlias(const Alias& alias) {
  if (auto main = Load(alias.function, alias.version); !main) return Forward(main.error());
  if (alias.additional_weights.empty()) return {};
  if (alias.additional_weights.size() > 1) {
    return Fail(ErrorCode::kInvalidArgument, "Number of items in AdditionalVersionWeights cannot be greater than 1");
  }
  if (alias.version == kLatest) {
    return Fail(ErrorCode::kInvalidArgument, "$LATEST is not supported for an alias pointing to more than 1 version");
  }
  const auto& [version, weight] = *alias.additional_weights.begin();
  if (VersionNumber(version) <= 0) {
    return Fail(ErrorCode::kInvalidArgument, "An alias can share requests with a published version only, not with {}",
                version);
  }
  if (version == alias.version) {
    return Fail(ErrorCode::kInvalidArgument,
                "Invalid function version {}. Function version {} is already included in routing configuration.",
                version, version);
  }
  if (!(weight >= 0 && weight <= 1)) {
    return Fail(ErrorCode::kInvalidArgument, "The weight of version {} must be from 0.0 to 1.0, not {}", version,
                weight);
  }
  auto other = Load(alias.function, version);
  if (!other) return Forward(other.error());
  return {};
}

Status Registry::StoreAlias(const Alias& alias) {
  return database_->Execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?, ?, ?)", alias.function, alias.name,
                            alias.version, alias.description, EncodeWeights(alias.additional_weights), alias.revision);
}

Result<Alias> Registry::CreateAlias(const Alias& alias) {
  Alias made = alias;
  auto done = Change([&]() -> Status {
    auto exists = LoadAlias(alias.function, alias.name);
    if (exists)
      return Fail(ErrorCode::kAlreadyExists, "function {} has an alias {} already", alias.function, alias.name);
    if (exists.error().code != ErrorCode::kNotFound) return Forward(exists.error());
    if (auto good = CheckAlias(made); !good) return good;
    made.revision = RandomUuid();
    return StoreAlias(made);
  });
  if (!done) return Forward(done.error());
  return made;
}

Result<Alias> Registry::UpdateAlias(const std::string& function, const std::string& name, const AliasUpdate& update,
                                    ExpectedRevision revision) {
  Alias updated;
  auto done = Change([&]() -> Status {
    auto alias = LoadAlias(function, name);
    if (!alias) return Forward(alias.error());
    if (!revision.empty() && alias->revision != revision) {
      return Fail(ErrorCode::kIncompatible, "alias {} of function {} has another revision than {}", name, function,
                  revision);
    }
    if (update.version) alias->version = *update.version;
    if (update.description) alias->description = *update.description;
    if (update.additional_weights) alias->additional_weights = *update.additional_weights;
    if (auto good = CheckAlias(*alias); !good) return good;
    alias->revision = RandomUuid();
    updated = *alias;
    return StoreAlias(updated);
  });
  if (!done) return Forward(done.error());
  return updated;
}

Result<Alias> Registry::GetAlias(const std::string& function, const std::string& name) {
  const std::lock_guard lock(mutex_);
  return LoadAlias(function, name);
}

Result<Listed<Alias>> Registry::ListAliases(const std::string& function, const std::string& version, const Page& page) {
  const std::lock_guard lock(mutex_);
  if (auto there = RequireFunction(function); !there) return Forward(there.error());
  const auto key = [](const Alias& last) { return last.name; };
  if (version.empty()) {
    return ReadPage<Alias>(
        database_->Query("SELECT * FROM aliases WHERE function = ? AND name > ? ORDER BY name LIMIT ?", function,
                         page.after, RowsOf(page)),
        page, ReadAlias, key);
  }
  return ReadPage<Alias>(
      database_->Query("SELECT * FROM aliases WHERE function = ?1 AND name > ?2 AND (version = ?4 OR"
                       " EXISTS (SELECT 1 FROM json_each(weights) WHERE key = ?4)) ORDER BY name LIMIT ?3",
                       function, page.after, RowsOf(page), version),
      page, ReadAlias, key);
}

Result<std::vector<std::string>> Registry::AliasesOf(const std::string& function, const std::string& version) {
  std::vector<std::string> names;
  auto rows = database_->Query("SELECT * FROM aliases WHERE function = ? ORDER BY name", function);
  while (rows.Next()) {
    auto alias = ReadAlias(rows);
    if (!alias) return Forward(alias.error());
    if (RefersTo(*alias, version)) names.push_back(alias->name);
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return names;
}

Status Registry::DeleteAlias(const std::string& function, const std::string& name) {
  return Change([&]() -> Status {
    if (auto alias = LoadAlias(function, name); !alias) return Forward(alias.error());
    if (auto deleted = DeleteSettingsOf(function, name); !deleted) return deleted;
    return database_->Execute("DELETE FROM aliases WHERE function = ? AND name = ?", function, name);
  });
}

}  // namespace snapfaas::registry
