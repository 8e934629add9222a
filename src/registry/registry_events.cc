// The queue of asynchronous events. Claims are kept in memory alone: they need not outlive the process, and a claim
// that were written would cost a sync.
#include "registry/registry.h"
#include "registry/registry_internal.h"

namespace snapfaas::registry {

Status Registry::InsertEvent(const NewEvent& event, int64_t now_ms) {
  if (auto there = RequireFunction(event.function); !there) return there;
  return database_->Execute(
      "INSERT INTO events (function, qualifier, request_id, payload, client_context, attempts, accepted_ms, due_ms)"
      " VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)",
      event.function, event.qualifier, event.request_id, event.payload, event.client_context, now_ms);
}

Result<EventId> Registry::AddEvent(const NewEvent& event, int64_t now_ms) {
  EventId id = 0;
  auto done = ChangeQueue([&]() -> Status {
    if (auto inserted = InsertEvent(event, now_ms); !inserted) return inserted;
    id = database_->LastInsertId();
    return {};
  });
  if (!done) return Forward(done.error());
  return id;
}

Result<std::vector<Event>> Registry::ClaimDueEvents(int64_t now_ms, size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<Event> events;
  auto rows = database_->Query("SELECT * FROM events WHERE due_ms <= ? ORDER BY due_ms, id", now_ms);
  while (events.size() < limit && rows.Next()) {
    const EventId id = rows.Int(0);
    if (claimed_.contains(id)) continue;
    Event event;
    event.id = id;
    event.what = {rows.Text(1), rows.Text(2), rows.Text(3), rows.Text(4), rows.Text(5)};
    event.attempts = static_cast<uint32_t>(rows.Int(6));
    event.accepted_unix_ms = rows.Int(7);
    events.push_back(std::move(event));
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  for (const auto& event : events) claimed_.insert(event.id);
  return events;
}

Status Registry::EventDone(EventId id) {
  return FinishClaim(id, [&]() -> Status { return database_->Execute("DELETE FROM events WHERE id = ?", id); });
}

Status Registry::EventDone(EventId id, const NewEvent& follow_up, int64_t now_ms) {
  return FinishClaim(id, [&]() -> Status {
    if (auto deleted = database_->Execute("DELETE FROM events WHERE id = ?", id); !deleted) return deleted;
    if (database_->ChangedRows() == 0) return {};
    return InsertEvent(follow_up, now_ms);
  });
}

Status Registry::RetryEventAt(EventId id, int64_t due_ms) {
  return FinishClaim(id, [&]() -> Status {
    return database_->Execute("UPDATE events SET due_ms = ?, attempts = attempts + 1 WHERE id = ?", due_ms, id);
  });
}

Status Registry::PostponeEvent(EventId id, int64_t due_ms) {
  return FinishClaim(
      id, [&]() -> Status { return database_->Execute("UPDATE events SET due_ms = ? WHERE id = ?", due_ms, id); });
}

// Where `work` fails the event stays claimed: it is as it was, and due again after a restart.
Status Registry::FinishClaim(EventId id, const std::function<Status()>& work) {
  const std::lock_guard lock(mutex_);
  auto done = database_->Transaction(work);
  if (done) claimed_.erase(id);
  return done;
}

Result<std::optional<int64_t>> Registry::NextEventDue() {
  const std::lock_guard lock(mutex_);
  auto rows = database_->Query("SELECT id, due_ms FROM events ORDER BY due_ms, id");
  while (rows.Next()) {
    if (!claimed_.contains(rows.Int(0))) return std::optional<int64_t>(rows.Int(1));
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return std::optional<int64_t>();
}

Result<uint64_t> Registry::CountEvents() {
  const std::lock_guard lock(mutex_);
  auto rows = database_->Query("SELECT COUNT(*) FROM events");
  uint64_t count = 0;
  if (rows.Next()) count = static_cast<uint64_t>(rows.Int(0));
  if (auto status = rows.status(); !status) return Forward(status.error());
  return count;
}

}  // namespace snapfaas::registry
