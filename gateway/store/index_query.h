// One use of a prepared statement of the index: bind in order, step, read columns in order; reset at the end. For the
// index's own files only. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/store/index.h"

struct sqlite3_stmt;

namespace lambda::gateway {

class Index::Query {
 public:
  // `sql` is known by its address: a literal.
  Query(Index& index, const char* sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(int64_t value);
  Query& bind(uint64_t value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(uint32_t value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(int value) { return bind(static_cast<int64_t>(value)); }
  // The bytes must outlive the step.
  Query& bind(const std::string& value);
  Query& bind_blob(std::string_view bytes);
  Query& bind(const Digest& digest) { return bind_blob({reinterpret_cast<const char*>(digest.data()), digest.size()}); }

  // The next row is there.
  bool step();
  void write();

  int64_t number();
  uint64_t count() { return static_cast<uint64_t>(number()); }
  uint32_t small() { return static_cast<uint32_t>(number()); }
  std::string_view blob();  // good until the next step
  std::string text() { return std::string(blob()); }
  RunSet runs();  // empty when it cannot be read
  std::optional<Digest> digest();

 private:
  Index& index_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
  int column_ = 0;
};

}  // namespace lambda::gateway
