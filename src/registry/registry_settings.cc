// Reserved concurrency, asynchronous invocation, tags.
#include "registry/codec.h"
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {
namespace {

std::optional<uint32_t> OptionalNumber(const Rows& rows, int column) {
  if (rows.IsNull(column)) return std::nullopt;
  return static_cast<uint32_t>(rows.Int(column));
}

Result<EventInvokeConfig> ReadEventInvokeConfig(const Rows& rows) {
  return EventInvokeConfig{rows.Text(0), rows.Text(1), OptionalNumber(rows, 2), OptionalNumber(rows, 3), rows.Text(4),
                           rows.Text(5), rows.Int(6)};
}

std::optional<int64_t> ForSql(std::optional<uint32_t> number) {
  return number ? std::optional<int64_t>(*number) : std::nullopt;
}

}  // namespace

Status Registry::SetReservedConcurrency(const std::string& function, std::optional<uint32_t> reserved) {
  return Change([&]() -> Status {
    if (auto there = RequireFunction(function); !there) return there;
    return database_->Execute("UPDATE functions SET reserved_concurrency = ? WHERE name = ?", ForSql(reserved),
                              function);
  });
}

Result<std::optional<uint32_t>> Registry::GetReservedConcurrency(const std::string& function) {
  const std::lock_guard lock(mutex_);
  auto rows = database_->Query("SELECT reserved_concurrency FROM functions WHERE name = ?", function);
  if (rows.Next()) return OptionalNumber(rows, 0);
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "there is no function {}", function);
}

Result<EventInvokeConfig> Registry::LoadEventInvokeConfig(const std::string& function, const std::string& qualifier) {
  auto rows =
      database_->Query("SELECT * FROM event_invoke_configs WHERE function = ? AND qualifier = ?", function, qualifier);
  if (rows.Next()) return ReadEventInvokeConfig(rows);
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "function {}, {}, has no configuration of asynchronous invocation", function,
              qualifier);
}

Result<EventInvokeConfig> Registry::ChangeEventInvokeConfig(const std::string& function, const std::string& qualifier,
                                                            const EventInvokeConfigChange& change) {
  EventInvokeConfig changed;
  auto done = Change([&]() -> Status {
    if (auto there = RequireQualifier(function, qualifier); !there) return there;
    auto before = LoadEventInvokeConfig(function, OrLatest(qualifier));
    if (!before && before.error().code != ErrorCode::kNotFound) return Forward(before.error());
    auto after = change(before ? std::optional(*before) : std::nullopt);
    if (!after) return Forward(after.error());
    changed = *std::move(after);
    changed.function = function;
    changed.qualifier = OrLatest(qualifier);
    changed.last_modified_unix_ms = NowUnixMs();
    return database_->Execute("INSERT OR REPLACE INTO event_invoke_configs VALUES (?, ?, ?, ?, ?, ?, ?)", function,
                              changed.qualifier, ForSql(changed.max_retry_attempts), ForSql(changed.max_event_age_s),
                              changed.on_success, changed.on_failure, changed.last_modified_unix_ms);
  });
  if (!done) return Forward(done.error());
  return changed;
}

Result<EventInvokeConfig> Registry::GetEventInvokeConfig(const std::string& function, const std::string& qualifier) {
  const std::lock_guard lock(mutex_);
  return LoadEventInvokeConfig(function, OrLatest(qualifier));
}

Result<Listed<EventInvokeConfig>> Registry::ListEventInvokeConfigs(const std::string& function, const Page& page) {
  const std::lock_guard lock(mutex_);
  if (auto there = RequireFunction(function); !there) return Forward(there.error());
  return ReadPage<EventInvokeConfig>(
      database_->Query("SELECT * FROM event_invoke_configs WHERE function = ? AND qualifier > ? ORDER BY qualifier"
                       " LIMIT ?",
                       function, page.after, RowsOf(page)),
      page, ReadEventInvokeConfig, [](const EventInvokeConfig& last) { return last.qualifier; });
}

Status Registry::DeleteEventInvokeConfig(const std::string& function, const std::string& qualifier) {
  return Change([&]() -> Status {
    const auto there = LoadEventInvokeConfig(function, OrLatest(qualifier));
    if (!there) return Forward(there.error());
    return database_->Execute("DELETE FROM event_invoke_configs WHERE function = ? AND qualifier = ?", function,
                              OrLatest(qualifier));
  });
}

Result<Registry::Tags> Registry::LoadTags(const std::string& function) {
  auto rows = database_->Query("SELECT tags FROM functions WHERE name = ?", function);
  if (rows.Next()) return DecodeTags(rows.Text(0));
  if (auto status = rows.status(); !status) return Forward(status.error());
  return Fail(ErrorCode::kNotFound, "there is no function {}", function);
}

Result<Registry::Tags> Registry::GetTags(const std::string& function) {
  const std::lock_guard lock(mutex_);
  return LoadTags(function);
}

Status Registry::ChangeTags(const std::string& function, const std::function<Status(Tags& tags)>& change) {
  return Change([&]() -> Status {
    auto tags = LoadTags(function);
    if (!tags) return Forward(tags.error());
    if (auto changed = change(*tags); !changed) return changed;
    return database_->Execute("UPDATE functions SET tags = ? WHERE name = ?", EncodeTags(*tags), function);
  });
}

// What hangs on a version or an alias that goes.
Status Registry::DeleteSettingsOf(const std::string& function, const std::string& qualifier) {
  auto done =
      database_->Execute("DELETE FROM event_invoke_configs WHERE function = ? AND qualifier = ?", function, qualifier);
  if (!done) return done;
  done = database_->Execute("DELETE FROM urls WHERE function = ? AND qualifier = ?", function, qualifier);
  if (!done) return done;
  return database_->Execute("DELETE FROM policies WHERE function = ? AND qualifier = ?", function, qualifier);
}

}  // namespace snapfaas::registry
