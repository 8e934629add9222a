#include "registry/database.h"

#include <utility>

namespace snapfaas::registry {
namespace {

ErrorCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xff) {  // without what extends it
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return ErrorCode::kCorrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kUnavailable;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return ErrorCode::kResourceExhausted;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return ErrorCode::kPermissionDenied;
    default:
      return ErrorCode::kSystem;
  }
}

tl::unexpected<Error> Explain(Error error, const std::filesystem::path& file) {
  switch (error.code) {
    case ErrorCode::kCorrupt:
      return Fail(ErrorCode::kCorrupt,
                  "the function registry {} is damaged ({}): move it and its -wal file away and deploy your functions "
                  "again, or put back a copy of both",
                  file.string(), error.context);
    case ErrorCode::kUnavailable:
      return Fail(ErrorCode::kUnavailable, "the function registry {} is in use by another process: is a node running?",
                  file.string());
    default:
      return Forward(std::move(error), "the function registry " + file.string());
  }
}

}  // namespace

Rows::Rows(Rows&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      failure_(std::move(other.failure_)) {}

Rows::~Rows() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Rows::Next() {
  if (failure_ || statement_ == nullptr) return false;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) failure_ = Database::ErrorOf(connection_);
  return false;
}

Status Rows::status() const {
  if (failure_) return Forward(*failure_);
  return {};
}

bool Rows::IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
int64_t Rows::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Rows::Text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Result<std::unique_ptr<Database>> Database::Open(const std::filesystem::path& file) {
  auto database = std::unique_ptr<Database>(new Database());
  sqlite3* connection = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(file.c_str(), &connection, flags, nullptr);
  database->connection_.reset(connection);
  if (code != SQLITE_OK) return Explain(ErrorOf(connection), file);
  auto configured = database->Configure();
  if (!configured) return Explain(configured.error(), file);
  return database;
}

Status Database::Configure() {
  auto set = Script(
      "PRAGMA locking_mode = EXCLUSIVE;"
      "PRAGMA journal_mode = WAL;"
      "PRAGMA synchronous = FULL;"
      "PRAGMA foreign_keys = ON;"
      "PRAGMA temp_store = MEMORY;"
      // A first write takes the lock, so that a second process is refused here and not later.
      "BEGIN EXCLUSIVE; COMMIT;");
  if (!set) return set;
  auto rows = Query("PRAGMA quick_check(1)");
  if (rows.Next() && rows.Text(0) != "ok") return Fail(ErrorCode::kCorrupt, "{}", rows.Text(0));
  return rows.status();
}

Status Database::Script(const std::string& sql) {
  if (sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return Forward(ErrorOf(connection_.get()));
}

Status Database::Transaction(const std::function<Status()>& work) {
  auto begun = Execute("BEGIN IMMEDIATE");
  if (!begun) return begun;
  auto done = work();
  if (done) done = Execute("COMMIT");
  // Some failures have rolled back already.
  if (!done && sqlite3_get_autocommit(connection_.get()) == 0) {
    const auto undone = Execute("ROLLBACK");
    if (!undone) return Forward(undone.error(), "undoing a change");
  }
  return done;
}

Error Database::ErrorOf(sqlite3* connection) {
  const int code = sqlite3_extended_errcode(connection);
  return Error{CodeOf(code), 0, fmt::format("SQLite: {} ({})", sqlite3_errmsg(connection), code)};
}

Result<sqlite3_stmt*> Database::Prepare(const char* sql) {
  auto& statement = statements_[sql];
  if (!statement) {
    sqlite3_stmt* prepared = nullptr;
    if (sqlite3_prepare_v3(connection_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
      return Forward(ErrorOf(connection_.get()), sql);
    }
    statement.reset(prepared);
  }
  return statement.get();
}

int Database::Bind(sqlite3_stmt* statement, int index, const std::string& text) {
  return sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}
int Database::Bind(sqlite3_stmt* statement, int index, int64_t number) {
  return sqlite3_bind_int64(statement, index, number);
}
int Database::Bind(sqlite3_stmt* statement, int index, SqlNull /*null*/) { return sqlite3_bind_null(statement, index); }

}  // namespace snapfaas::registry
