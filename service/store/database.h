// SQLite in a few lines.
//
//   Statement q = db.Prepare("SELECT name FROM models WHERE id = ?");
//   q.Bind(1, id);
//   while (q.Row()) Use(q.Text(0));
//   STRATA_RETURN_IF_ERROR(q.status());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace strata::service {

// One prepared statement. Errors stick: later calls do nothing. Thread-compatible.
class Statement {
 public:
  Statement(sqlite3* db, absl::string_view sql);
  Statement(Statement&&) = default;

  Statement& Bind(int index, int64_t value);  // from 1
  Statement& Bind(int index, absl::string_view text);
  Statement& BindBlob(int index, absl::string_view bytes);
  // The next row; false at the end or on error.
  bool Row();
  // Runs to the end.
  absl::Status Run();
  int64_t Int(int column) const;
  std::string Text(int column) const;  // blobs too
  absl::Status status() const { return status_; }

 private:
  void Note(int code);
  struct Finalize {
    void operator()(sqlite3_stmt* s) const;
  };
  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> stmt_;
  absl::Status status_;
};

// One connection. Thread-compatible: callers lock.
class Database {
 public:
  // WAL with synchronous=FULL: a commit that returned is durable.
  static absl::StatusOr<Database> Open(const std::string& path, bool read_only);
  Statement Prepare(absl::string_view sql) { return Statement(db_.get(), sql); }
  absl::Status Execute(const char* sql);
  // Rows that the last statement changed.
  int64_t changes() const;
  int64_t last_row_id() const;

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  std::unique_ptr<sqlite3, Close> db_;
};

// BEGIN IMMEDIATE now; ROLLBACK at the end of the scope unless committed.
class Transaction {
 public:
  explicit Transaction(Database& db) : db_(db), status_(db.Execute("BEGIN IMMEDIATE")) {}
  ~Transaction() {
    if (status_.ok() && !done_) db_.Execute("ROLLBACK").IgnoreError();
  }
  Transaction(const Transaction&) = delete;
  absl::Status status() const { return status_; }
  absl::Status Commit();

 private:
  Database& db_;
  absl::Status status_;
  bool done_ = false;
};

}  // namespace strata::service
