#include "cep/stream/tables.h"

namespace lambda::cep {

size_t Tables::set(TableId table, std::span<const std::vector<Value>> rows) {
  if (tables_.size() <= table) {
    tables_.resize(table + 1);
  }
  const TableSchema& schema = catalog_.table(table);
  Table fresh;
  fresh.width = schema.columns.size();
  size_t left_out = 0;
  for (const std::vector<Value>& row : rows) {
    LAMBDA_ASSERT(row.size() == fresh.width);
    const Value& key = row[static_cast<size_t>(schema.key_column)];
    const auto known = fresh.rows.find(key);
    if (key.is_null() || (known == fresh.rows.end() && fresh.rows.size() >= kRowsMax)) {
      ++left_out;
    } else if (known != fresh.rows.end()) {
      std::copy(row.begin(), row.end(), fresh.values.begin() + static_cast<ptrdiff_t>(known->second * fresh.width));
    } else {
      fresh.rows.emplace(key, fresh.rows.size());
      fresh.values.insert(fresh.values.end(), row.begin(), row.end());
    }
  }
  tables_[table] = std::move(fresh);
  return left_out;
}

const Value* Tables::find(TableId table, const Value& key) const {
  if (table >= tables_.size() || key.is_null()) {
    return nullptr;
  }
  const Table& in = tables_[table];
  const auto found = in.rows.find(key);
  return found == in.rows.end() ? nullptr : &in.values[found->second * in.width];
}

size_t Tables::count(TableId table) const {
  return table < tables_.size() ? tables_[table].rows.size() : 0;
}

const Value* Tables::row(TableId table, size_t index) const {
  return &tables_[table].values[index * tables_[table].width];
}

}  // namespace lambda::cep
