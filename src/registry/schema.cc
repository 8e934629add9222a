#include "registry/schema.h"

#include <fmt/format.h>

#include "registry/database.h"

namespace snapfaas::registry {
namespace {

// Version 0 is $LATEST. What is only ever read and written as a whole is JSON (codec.h). Everything of a function goes
// with it. Rows are read by position ("SELECT *"): a later version's columns go to the end of their table.
constexpr const char* kTables = R"(
CREATE TABLE functions (
  name TEXT PRIMARY KEY,
  next_version INTEGER NOT NULL,
  reserved_concurrency INTEGER,
  tags TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE versions (
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  config TEXT NOT NULL,
  code_sha256 TEXT NOT NULL,
  code_size INTEGER NOT NULL,
  revision TEXT NOT NULL,
  modified_ms INTEGER NOT NULL,
  state INTEGER NOT NULL,
  state_reason TEXT NOT NULL,
  state_reason_code TEXT NOT NULL,
  update_status INTEGER NOT NULL,
  update_reason TEXT NOT NULL,
  update_reason_code TEXT NOT NULL,
  deployment TEXT NOT NULL,
  deployed TEXT NOT NULL,
  PRIMARY KEY (function, version)
) WITHOUT ROWID;

CREATE TABLE aliases (
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  description TEXT NOT NULL,
  weights TEXT NOT NULL,
  revision TEXT NOT NULL,
  PRIMARY KEY (function, name)
) WITHOUT ROWID;

CREATE TABLE event_invoke_configs (
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  qualifier TEXT NOT NULL,
  max_retry_attempts INTEGER,
  max_event_age_s INTEGER,
  on_success TEXT NOT NULL,
  on_failure TEXT NOT NULL,
  modified_ms INTEGER NOT NULL,
  PRIMARY KEY (function, qualifier)
) WITHOUT ROWID;

CREATE TABLE urls (
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  qualifier TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  auth INTEGER NOT NULL,
  cors TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  modified_ms INTEGER NOT NULL,
  PRIMARY KEY (function, qualifier)
) WITHOUT ROWID;

CREATE TABLE policies (
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  qualifier TEXT NOT NULL,
  statements TEXT NOT NULL,
  revision TEXT NOT NULL,
  PRIMARY KEY (function, qualifier)
) WITHOUT ROWID;

CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  function TEXT NOT NULL REFERENCES functions(name) ON DELETE CASCADE,
  qualifier TEXT NOT NULL,
  request_id TEXT NOT NULL,
  payload TEXT NOT NULL,
  client_context TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  accepted_ms INTEGER NOT NULL,
  due_ms INTEGER NOT NULL
);
CREATE INDEX events_due ON events (due_ms, id);
CREATE INDEX events_function ON events (function);
)";

}  // namespace

Status PrepareSchema(Database& database) {
  int64_t version = 0;
  {
    auto rows = database.Query("PRAGMA user_version");
    if (rows.Next()) version = rows.Int(0);
    if (auto read = rows.status(); !read) return read;
  }
  if (version == kSchemaVersion) return {};
  if (version > kSchemaVersion) {
    return Fail(ErrorCode::kIncompatible,
                "the function registry has version {}, made by a newer SnapFaaS; this one knows versions up to {}: "
                "update SnapFaaS, or use another data folder",
                version, kSchemaVersion);
  }
  return database.Transaction([&]() -> Status {
    auto made = database.Script(kTables);
    if (!made) return made;
    return database.Script(fmt::format("PRAGMA user_version = {}", kSchemaVersion));
  });
}

}  // namespace snapfaas::registry
