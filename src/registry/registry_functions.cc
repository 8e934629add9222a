// Functions: creating, reading, listing, deleting, counting.
#include <fmt/format.h>

#include "base/uuid.h"
#include "registry/codec.h"
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {

Result<FunctionVersion> Registry::CreateFunction(const std::string& name, const FunctionConfig& config,
                                                 const Code& code, const std::map<std::string, std::string>& tags,
                                                 Publish publish) {
  FunctionVersion made;
  auto done = Change([&]() -> Status {
    auto exists = RequireFunction(name);
    if (exists) return Fail(ErrorCode::kAlreadyExists, "there is a function {} already", name);
    if (exists.error().code != ErrorCode::kNotFound) return exists;
    auto inserted = database_->Execute("INSERT INTO functions VALUES (?, 1, NULL, ?)", name, EncodeTags(tags));
    if (!inserted) return inserted;
    made.function = name;
    made.version = kLatest;
    made.config = config;
    made.code = code;
    made.revision = RandomUuid();
    made.last_modified_unix_ms = NowUnixMs();
    made.state_reason = "The function is being created.";
    made.state_reason_code = "Creating";
    made.deployment = RandomUuid();
    auto stored = Store(made);
    if (!stored || publish == Publish::kNo) return stored;
    auto version = AddVersion(made, std::nullopt);
    if (!version) return Forward(version.error());
    made = *std::move(version);
    return {};
  });
  if (!done) return Forward(done.error());
  return made;
}

Result<FunctionVersion> Registry::GetFunction(const std::string& name, const std::string& qualifier) {
  const std::lock_guard lock(mutex_);
  return LoadQualified(name, qualifier);
}

Result<Listed<FunctionVersion>> Registry::ListFunctions(const Page& page) {
  const std::lock_guard lock(mutex_);
  return ReadPage<FunctionVersion>(
      database_->Query("SELECT * FROM versions WHERE version = 0 AND function > ? ORDER BY function LIMIT ?",
                       page.after, RowsOf(page)),
      page, ReadVersion, [](const FunctionVersion& last) { return last.function; });
}

Result<Listed<FunctionVersion>> Registry::ListFunctionsAndVersions(const Page& page) {
  const size_t colon = page.after.find(':');
  const std::string function = page.after.substr(0, colon);
  const int64_t version = colon == std::string::npos ? -1 : VersionNumber(page.after.substr(colon + 1));
  const std::lock_guard lock(mutex_);
  return ReadPage<FunctionVersion>(
      database_->Query("SELECT * FROM versions WHERE (function, version) > (?, ?) ORDER BY function, version LIMIT ?",
                       function, version, RowsOf(page)),
      page, ReadVersion, [](const FunctionVersion& last) { return last.function + ":" + last.version; });
}

Result<Listed<FunctionVersion>> Registry::ListVersions(const std::string& name, const Page& page) {
  const std::lock_guard lock(mutex_);
  if (auto there = RequireFunction(name); !there) return Forward(there.error());
  const int64_t after = page.after.empty() ? -1 : VersionNumber(page.after);
  return ReadPage<FunctionVersion>(
      database_->Query("SELECT * FROM versions WHERE function = ? AND version > ? ORDER BY version LIMIT ?", name,
                       after, RowsOf(page)),
      page, ReadVersion, [](const FunctionVersion& last) { return last.version; });
}

Result<std::vector<std::string>> Registry::DeleteFunction(const std::string& name) {
  std::vector<std::string> gone;
  auto done = Change([&]() -> Status {
    if (auto there = RequireFunction(name); !there) return there;
    {
      auto rows = database_->Query("SELECT version FROM versions WHERE function = ? ORDER BY version", name);
      while (rows.Next()) gone.push_back(VersionName(rows.Int(0)));
      if (auto read = rows.status(); !read) return read;
    }
    return database_->Execute("DELETE FROM functions WHERE name = ?", name);
  });
  if (!done) return Forward(done.error());
  return gone;
}

Result<std::vector<std::string>> Registry::DeleteVersion(const std::string& name, const std::string& version) {
  auto done = Change([&]() -> Status {
    if (version == kLatest) {
      return Fail(ErrorCode::kInvalidArgument, "$LATEST version cannot be deleted without deleting the function.");
    }
    if (auto found = Load(name, version); !found) return Forward(found.error());
    auto aliases = AliasesOf(name, version);
    if (!aliases) return Forward(aliases.error());
    if (!aliases->empty()) {
      return Fail(ErrorCode::kAlreadyExists,
                  "Unable to delete version because the following aliases reference it: [{}]",
                  fmt::join(*aliases, ", "));
    }
    if (auto deleted = DeleteSettingsOf(name, version); !deleted) return deleted;
    return database_->Execute("DELETE FROM versions WHERE function = ? AND version = ?", name, VersionNumber(version));
  });
  if (!done) return Forward(done.error());
  return std::vector<std::string>{version};
}

Result<AccountCounts> Registry::Counts() {
  const std::lock_guard lock(mutex_);
  auto rows = database_->Query(
      "SELECT (SELECT COUNT(*) FROM functions), (SELECT TOTAL(code_size) FROM versions),"
      " (SELECT TOTAL(reserved_concurrency) FROM functions)");
  AccountCounts counts;
  if (rows.Next()) {
    counts = {static_cast<uint64_t>(rows.Int(0)), static_cast<uint64_t>(rows.Int(1)),
              static_cast<uint64_t>(rows.Int(2))};
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return counts;
}

Result<std::set<std::string>> Registry::CodeInUse() {
  const std::lock_guard lock(mutex_);
  std::set<std::string> codes;
  auto rows = database_->Query("SELECT DISTINCT code_sha256 FROM versions");
  while (rows.Next()) codes.insert(rows.Text(0));
  if (auto status = rows.status(); !status) return Forward(status.error());
  return codes;
}

Result<std::set<std::string>> Registry::ImagesInUse() {
  const std::lock_guard lock(mutex_);
  std::set<std::string> images;
  auto rows = database_->Query("SELECT deployed FROM versions WHERE deployed != ''");
  while (rows.Next()) {
    auto deployed = DecodeDeployed(rows.Text(0));
    if (!deployed) return Forward(deployed.error());
    if (*deployed) images.insert((*deployed)->image);
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return images;
}

}  // namespace snapfaas::registry
