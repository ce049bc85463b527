#include "cep/language/catalog.h"

#include <algorithm>

namespace lambda::cep {
namespace {

int find_column(const std::vector<ColumnSchema>& columns, std::string_view name) {
  const auto found = std::ranges::find(columns, name, &ColumnSchema::name);
  return found == columns.end() ? -1 : static_cast<int>(found - columns.begin());
}

template <class Ids>
std::vector<std::string> names_of(const Ids& ids) {
  std::vector<std::string> names;
  for (const auto& [name, id] : ids) {
    names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

int StreamSchema::find(std::string_view column) const {
  return find_column(columns, column);
}
int TableSchema::find(std::string_view column) const {
  return find_column(columns, column);
}

StreamId Catalog::add_stream(StreamSchema schema) {
  schema.id = static_cast<StreamId>(streams_.size());
  stream_ids_[schema.name] = schema.id;
  streams_.push_back(std::move(schema));
  return streams_.back().id;
}

TableId Catalog::add_table(TableSchema schema) {
  schema.id = static_cast<TableId>(tables_.size());
  table_ids_[schema.name] = schema.id;
  tables_.push_back(std::move(schema));
  return tables_.back().id;
}

const StreamSchema* Catalog::find_stream(std::string_view name) const {
  const auto found = stream_ids_.find(std::string(name));
  return found == stream_ids_.end() ? nullptr : &streams_[found->second];
}

const TableSchema* Catalog::find_table(std::string_view name) const {
  const auto found = table_ids_.find(std::string(name));
  return found == table_ids_.end() ? nullptr : &tables_[found->second];
}

std::vector<std::string> Catalog::stream_names() const {
  return names_of(stream_ids_);
}
std::vector<std::string> Catalog::table_names() const {
  return names_of(table_ids_);
}

void Catalog::truncate(size_t streams, size_t tables) {
  while (streams_.size() > streams) {
    forget_stream(streams_.back().id);
    streams_.pop_back();
  }
  while (tables_.size() > tables) {
    table_ids_.erase(tables_.back().name);
    tables_.pop_back();
  }
}

void Catalog::forget_stream(StreamId id) {
  const auto found = stream_ids_.find(streams_[id].name);
  if (found != stream_ids_.end() && found->second == id) {
    stream_ids_.erase(found);
  }
}

}  // namespace lambda::cep
