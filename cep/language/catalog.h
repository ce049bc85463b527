// The streams, tables and rules that are there, by name.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cep/language/plan.h"

namespace lambda::cep {

// Schemas keep their addresses and numbers for the catalog's life. One thread.
class Catalog {
 public:
  StreamId add_stream(StreamSchema schema);  // the id in it is set here
  TableId add_table(TableSchema schema);

  const StreamSchema* find_stream(std::string_view name) const;
  const TableSchema* find_table(std::string_view name) const;
  const StreamSchema& stream(StreamId id) const { return streams_[id]; }
  const TableSchema& table(TableId id) const { return tables_[id]; }
  size_t stream_count() const { return streams_.size(); }
  size_t table_count() const { return tables_.size(); }

  std::vector<std::string> stream_names() const;
  std::vector<std::string> table_names() const;

  // Forgets what came after the first `streams` and `tables`: a text with an error leaves nothing behind.
  void truncate(size_t streams, size_t tables);
  // The name becomes free; the number and the columns stay for those who hold them.
  void forget_stream(StreamId id);
  // The name is its again.
  void remember_stream(StreamId id) { stream_ids_[streams_[id].name] = id; }

 private:
  std::unordered_map<std::string, StreamId> stream_ids_;
  std::unordered_map<std::string, TableId> table_ids_;
  std::deque<StreamSchema> streams_;
  std::deque<TableSchema> tables_;
};

}  // namespace lambda::cep
