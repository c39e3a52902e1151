#include "service/store/database.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

absl::Status SqlError(sqlite3* db, int code) {
  std::string text = absl::StrCat("store: registry: ", db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  const int system = db != nullptr ? sqlite3_system_errno(db) : 0;
  switch (code & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (system != 0) absl::StrAppend(&text, ": ", std::strerror(system));
      return system == ENOSPC ? absl::ResourceExhaustedError(text) : absl::InternalError(text);
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text);
    case SQLITE_CONSTRAINT:
      // The other constraint is the reference to a model: it was deleted meanwhile.
      return code == SQLITE_CONSTRAINT_FOREIGNKEY ? absl::NotFoundError(text) : absl::AlreadyExistsError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
void Database::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

Statement::Statement(sqlite3* db, absl::string_view sql) : db_(db) {
  sqlite3_stmt* stmt = nullptr;
  Note(sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &stmt, nullptr));
  stmt_.reset(stmt);
}

void Statement::Note(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = SqlError(db_, code);
}

Statement& Statement::Bind(int index, int64_t value) {
  if (status_.ok()) Note(sqlite3_bind_int64(stmt_.get(), index, value));
  return *this;
}
Statement& Statement::Bind(int index, absl::string_view text) {
  if (status_.ok())
    Note(sqlite3_bind_text64(stmt_.get(), index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}
Statement& Statement::BindBlob(int index, absl::string_view bytes) {
  if (status_.ok()) {
    Note(bytes.empty() ? sqlite3_bind_zeroblob(stmt_.get(), index, 0)
                       : sqlite3_bind_blob64(stmt_.get(), index, bytes.data(), bytes.size(), SQLITE_TRANSIENT));
  }
  return *this;
}

bool Statement::Row() {
  if (!status_.ok()) return false;
  const int code = sqlite3_step(stmt_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) Note(code);
  return false;
}

absl::Status Statement::Run() {
  while (Row()) {
  }
  if (stmt_ != nullptr) {
    sqlite3_reset(stmt_.get());
    sqlite3_clear_bindings(stmt_.get());
  }
  return status_;
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(stmt_.get(), column); }

std::string Statement::Text(int column) const {
  const void* data = sqlite3_column_blob(stmt_.get(), column);
  const int bytes = sqlite3_column_bytes(stmt_.get(), column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(bytes));
}

absl::StatusOr<Database> Database::Open(const std::string& path, bool read_only) {
  Database result;
  sqlite3* db = nullptr;
  const int flags =
      (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  result.db_.reset(db);
  if (code != SQLITE_OK) return SqlError(db, code);
  sqlite3_busy_timeout(db, 10000);
  sqlite3_extended_result_codes(db, 1);
  if (!read_only) {
    STRATA_RETURN_IF_ERROR(result.Execute("PRAGMA journal_mode=WAL"));
    STRATA_RETURN_IF_ERROR(result.Execute("PRAGMA synchronous=FULL"));
    STRATA_RETURN_IF_ERROR(result.Execute("PRAGMA foreign_keys=ON"));
  }
  return result;
}

absl::Status Database::Execute(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqlError(db_.get(), code);
}

int64_t Database::changes() const { return sqlite3_changes64(db_.get()); }
int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(db_.get()); }

absl::Status Transaction::Commit() {
  STRATA_RETURN_IF_ERROR(status_);
  absl::Status status = db_.Execute("COMMIT");
  if (status.ok()) done_ = true;
  return status;
}

}  // namespace strata::service
