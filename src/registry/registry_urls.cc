// Function URLs and resource policies.
#include <algorithm>

#include "base/uuid.h"
#include "registry/codec.h"
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {
namespace {

// Fit for a host name; nobody guesses it.
std::string RandomUrlId() {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::string id = RandomBytes(32);
  for (char& c : id) c = kAlphabet[static_cast<unsigned char>(c) % kAlphabet.size()];
  return id;
}

Result<FunctionUrl> ReadUrl(const Rows& rows) {
  FunctionUrl url;
  url.function = rows.Text(0);
  url.qualifier = rows.Text(1);
  url.id = rows.Text(2);
  url.auth = static_cast<UrlAuth>(rows.Int(3));
  auto cors = DecodeCors(rows.Text(4));
  if (!cors) return Forward(cors.error());
  url.cors = *std::move(cors);
  url.created_unix_ms = rows.Int(5);
  url.last_modified_unix_ms = rows.Int(6);
  return url;
}

}  // namespace

Result<FunctionUrl> Registry::LoadUrl(const std::string& function, const std::string& qualifier) {
  auto rows =
      database_->Query("SELECT * FROM urls WHERE function = ? AND qualifier = ?", function, OrLatest(qualifier));
  if (rows.Next()) return ReadUrl(rows);
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "function {}, {}, has no URL", function, OrLatest(qualifier));
}

Status Registry::StoreUrl(const FunctionUrl& url) {
  return database_->Execute("INSERT OR REPLACE INTO urls VALUES (?, ?, ?, ?, ?, ?, ?)", url.function, url.qualifier,
                            url.id, static_cast<int64_t>(url.auth), EncodeCors(url.cors), url.created_unix_ms,
                            url.last_modified_unix_ms);
}

Result<FunctionUrl> Registry::CreateUrl(const std::string& function, const std::string& qualifier, UrlAuth auth,
                                        const std::optional<Cors>& cors) {
  FunctionUrl url;
  auto done = Change([&]() -> Status {
    if (auto there = RequireQualifier(function, qualifier); !there) return there;
    auto exists = LoadUrl(function, qualifier);
    if (exists)
      return Fail(ErrorCode::kAlreadyExists, "function {}, {}, has a URL already", function, exists->qualifier);
    if (exists.error().code != ErrorCode::kNotFound) return Forward(exists.error());
    const int64_t now = NowUnixMs();
    url = {RandomUrlId(), function, OrLatest(qualifier), auth, cors, now, now};
    return StoreUrl(url);
  });
  if (!done) return Forward(done.error());
  return url;
}

Result<FunctionUrl> Registry::UpdateUrl(const std::string& function, const std::string& qualifier,
                                        const UrlUpdate& update) {
  FunctionUrl changed;
  auto done = Change([&]() -> Status {
    auto url = LoadUrl(function, qualifier);
    if (!url) return Forward(url.error());
    if (update.auth) url->auth = *update.auth;
    if (update.cors) url->cors = update.cors;
    url->last_modified_unix_ms = NowUnixMs();
    changed = *url;
    return StoreUrl(changed);
  });
  if (!done) return Forward(done.error());
  return changed;
}

Result<FunctionUrl> Registry::GetUrl(const std::string& function, const std::string& qualifier) {
  const std::lock_guard lock(mutex_);
  return LoadUrl(function, qualifier);
}

Result<FunctionUrl> Registry::FindUrl(const std::string& id) {
  const std::lock_guard lock(mutex_);
  auto rows = database_->Query("SELECT * FROM urls WHERE id = ?", id);
  if (rows.Next()) return ReadUrl(rows);
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "there is no function URL {}", id);
}

Result<Listed<FunctionUrl>> Registry::ListUrls(const std::string& function, const Page& page) {
  const std::lock_guard lock(mutex_);
  if (auto there = RequireFunction(function); !there) return Forward(there.error());
  return ReadPage<FunctionUrl>(
      database_->Query("SELECT * FROM urls WHERE function = ? AND qualifier > ? ORDER BY qualifier LIMIT ?", function,
                       page.after, RowsOf(page)),
      page, ReadUrl, [](const FunctionUrl& last) { return last.qualifier; });
}

Status Registry::DeleteUrl(const std::string& function, const std::string& qualifier) {
  return Change([&]() -> Status {
    const auto there = LoadUrl(function, qualifier);
    if (!there) return Forward(there.error());
    return database_->Execute("DELETE FROM urls WHERE id = ?", there->id);
  });
}

Result<Policy> Registry::LoadPolicy(const std::string& function, const std::string& qualifier) {
  auto rows = database_->Query("SELECT * FROM policies WHERE function = ? AND qualifier = ?", function, qualifier);
  if (rows.Next()) {
    auto statements = DecodeStatements(rows.Text(2));
    if (!statements) return Forward(statements.error());
    return Policy{*std::move(statements), rows.Text(3)};
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "function {} has no policy", function);
}

Status Registry::StorePolicy(const std::string& function, const std::string& qualifier, const Policy& policy) {
  if (policy.statements.empty()) {
    return database_->Execute("DELETE FROM policies WHERE function = ? AND qualifier = ?", function, qualifier);
  }
  return database_->Execute("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?)", function, qualifier,
                            EncodeStatements(policy.statements), policy.revision);
}

Result<Policy> Registry::AddPolicyStatement(const std::string& function, const std::string& qualifier,
                                            const PolicyStatement& statement, ExpectedRevision revision) {
  Policy policy;
  auto done = Change([&]() -> Status {
    if (auto there = RequireQualifier(function, qualifier); !there) return there;
    auto before = LoadPolicy(function, qualifier);
    if (!before && before.error().code != ErrorCode::kNotFound) return Forward(before.error());
    if (before) policy = *before;
    if (!revision.empty() && policy.revision != revision) {
      return Fail(ErrorCode::kIncompatible, "the policy of function {} has another revision than {}", function,
                  revision);
    }
    const auto same = [&](const PolicyStatement& one) { return one.id == statement.id; };
    if (std::any_of(policy.statements.begin(), policy.statements.end(), same)) {
      return Fail(ErrorCode::kAlreadyExists,
                  "The statement id ({}) provided already exists. Please provide a new statement id, or remove the "
                  "existing statement.",
                  statement.id);
    }
    policy.statements.push_back(statement);
    policy.revision = RandomUuid();
    return StorePolicy(function, qualifier, policy);
  });
  if (!done) return Forward(done.error());
  return policy;
}

Result<Policy> Registry::GetPolicy(const std::string& function, const std::string& qualifier) {
  const std::lock_guard lock(mutex_);
  if (auto there = RequireQualifier(function, qualifier); !there) return Forward(there.error());
  return LoadPolicy(function, qualifier);
}

Status Registry::RemovePolicyStatement(const std::string& function, const std::string& qualifier, const std::string& id,
                                       ExpectedRevision revision) {
  return Change([&]() -> Status {
    if (auto there = RequireQualifier(function, qualifier); !there) return there;
    auto policy = LoadPolicy(function, qualifier);
    if (!policy) return Forward(policy.error());
    if (!revision.empty() && policy->revision != revision) {
      return Fail(ErrorCode::kIncompatible, "the policy of function {} has another revision than {}", function,
                  revision);
    }
    const auto removed = std::erase_if(policy->statements, [&](const PolicyStatement& one) { return one.id == id; });
    if (removed == 0) return Fail(ErrorCode::kNotFound, "Statement {} is not found in resource policy.", id);
    policy->revision = RandomUuid();
    return StorePolicy(function, qualifier, *policy);
  });
}

}  // namespace snapfaas::registry
