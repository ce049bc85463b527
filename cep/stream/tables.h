// The rows of the tables that rules join with. One thread.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "cep/language/catalog.h"

namespace lambda::cep {

class Tables {
 public:
  explicit Tables(const Catalog& catalog) : catalog_(catalog) {}

  // Replaces all rows; each holds the table's columns in order. The last row of a key wins; one whose key is null is
  // left out and counted in the answer.
  size_t set(TableId table, std::span<const std::vector<Value>> rows);

  // The row's columns, or null. Valid until the next set().
  const Value* find(TableId table, const Value& key) const;

  // Was there a set()?
  bool is_set(TableId table) const { return table < tables_.size() && tables_[table].width > 0; }
  const TableSchema& schema(TableId table) const { return catalog_.table(table); }
  // All rows, in the order in which their keys first came.
  size_t count(TableId table) const;
  const Value* row(TableId table, size_t index) const;

  static constexpr size_t kRowsMax = 1'000'000;  // of a table; further keys are left out and counted

 private:
  struct Hash {
    size_t operator()(const Value& value) const { return hash_value(value); }
  };
  struct Table {
    size_t width = 0;
    std::vector<Value> values;
    std::unordered_map<Value, size_t, Hash> rows;
  };
  const Catalog& catalog_;
  std::vector<Table> tables_;
};

}  // namespace lambda::cep
