#include "gateway/store/index_query.h"

#include <sqlite3.h>

#include <cstring>

namespace lambda::gateway {

Index::Query::Query(Index& index, const char* sql) : index_(index) {
  if (index_.error_) return;
  for (const auto& [text, statement] : index_.statements_) {
    if (text == sql) statement_ = static_cast<sqlite3_stmt*>(statement);
  }
  if (statement_ != nullptr) return;
  if (sqlite3_prepare_v3(index_.database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK) {
    index_.refuse(sql);
    statement_ = nullptr;
    return;
  }
  index_.statements_.emplace_back(sql, statement_);
}

Index::Query::~Query() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
}

Index::Query& Index::Query::bind(int64_t value) {
  if (statement_ != nullptr) sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

Index::Query& Index::Query::bind(const std::string& value) {
  if (statement_ != nullptr) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  }
  return *this;
}

Index::Query& Index::Query::bind_blob(std::string_view bytes) {
  if (statement_ != nullptr) {
    sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
  }
  return *this;
}

bool Index::Query::step() {
  if (statement_ == nullptr || index_.error_) return false;
  column_ = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) index_.refuse(sqlite3_sql(statement_));
  return false;
}

void Index::Query::write() {
  if (statement_ == nullptr) return;
  index_.changed();
  step();
}

int64_t Index::Query::number() {
  return sqlite3_column_int64(statement_, column_++);
}

std::string_view Index::Query::blob() {
  const void* bytes = sqlite3_column_blob(statement_, column_);
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column_++));
  return bytes == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(bytes), size);
}

RunSet Index::Query::runs() {
  auto decoded = RunSet::decode(blob());
  if (decoded) return std::move(*decoded);
  index_.refuse("runs that cannot be read");  // none at all would be believed, and everything taken twice
  return {};
}

std::optional<Digest> Index::Query::digest() {
  const std::string_view bytes = blob();
  Digest digest{};
  if (bytes.size() != digest.size()) return std::nullopt;
  std::memcpy(digest.data(), bytes.data(), digest.size());
  return digest;
}

}  // namespace lambda::gateway
