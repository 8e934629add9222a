// Database: one SQLite connection with its statements prepared once, for one process and one thread at a time.
//
// WAL, because a transaction then costs one sync; locking_mode=EXCLUSIVE, because WAL needs no shared memory then,
// which 9p cannot map; synchronous=FULL, because what is acknowledged has to outlive a power cut.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"

namespace snapfaas::registry {

// Makes `?` of type NULL.
struct SqlNull {};

// Rows of a statement that runs. Reset when it is destroyed; a statement runs once at a time.
class Rows {
 public:
  Rows(sqlite3* connection, sqlite3_stmt* statement) : connection_(connection), statement_(statement) {}
  explicit Rows(Error failure) : failure_(std::move(failure)) {}
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows();

  // Whether there is another row; false also after a failure, which status() has.
  bool Next();
  Status status() const;

  // Of the row that Next found, from 0.
  bool IsNull(int column) const;
  int64_t Int(int column) const;
  std::string Text(int column) const;

 private:
  sqlite3* connection_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  std::optional<Error> failure_;
};

class Database {
 public:
  static Result<std::unique_ptr<Database>> Open(const std::filesystem::path& file);

  // `sql` must live as long as the database: a literal.
  template <typename... Values>
  Rows Query(const char* sql, const Values&... values) {
    auto statement = Prepare(sql);
    if (!statement) return Rows(statement.error());
    int index = 0;
    int code = SQLITE_OK;
    ((code = code == SQLITE_OK ? Bind(*statement, ++index, values) : code), ...);
    if (code != SQLITE_OK) return Rows(ErrorOf(connection_.get()));
    return {connection_.get(), *statement};
  }

  // To its end.
  template <typename... Values>
  Status Execute(const char* sql, const Values&... values) {
    auto rows = Query(sql, values...);
    while (rows.Next()) {
    }
    return rows.status();
  }

  // Several statements without values; for pragmas and schemas.
  Status Script(const std::string& sql);

  // Of the last INSERT, UPDATE or DELETE.
  int64_t ChangedRows() const { return sqlite3_changes64(connection_.get()); }
  int64_t LastInsertId() const { return sqlite3_last_insert_rowid(connection_.get()); }

  // `work` as one transaction: undone when it fails.
  Status Transaction(const std::function<Status()>& work);

  static Error ErrorOf(sqlite3* connection);

 private:
  struct CloseConnection {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };

  Database() = default;
  Status Configure();
  Result<sqlite3_stmt*> Prepare(const char* sql);

  static int Bind(sqlite3_stmt* statement, int index, const std::string& text);
  static int Bind(sqlite3_stmt* statement, int index, int64_t number);
  static int Bind(sqlite3_stmt* statement, int index, SqlNull null);
  template <typename T>
  static int Bind(sqlite3_stmt* statement, int index, const std::optional<T>& value) {
    return value ? Bind(statement, index, *value) : Bind(statement, index, SqlNull{});
  }

  std::unique_ptr<sqlite3, CloseConnection> connection_;
  std::unordered_map<const char*, std::unique_ptr<sqlite3_stmt, FinalizeStatement>> statements_;
};

}  // namespace snapfaas::registry
