#include "query/columns.h"

#include <map>
#include <utility>

#include "query/labels.h"

namespace lambda::query {

Status merge_equal(Columns& columns) {
  std::map<Labels, size_t> places;
  Columns merged;
  merged.reserve(columns.size());
  for (Column& column : columns) {
    const auto [place, is_new] = places.try_emplace(column.labels, merged.size());
    if (is_new) {
      merged.push_back(std::move(column));
      continue;
    }
    Column& first = merged[place->second];
    for (size_t step = 0; step < column.values.size(); ++step) {
      if (column.present[step] == 0) {
        continue;
      }
      if (first.present[step] != 0) {
        return fail(ErrorCode::kInvalid, "several series of the result have the labels " + to_string(first.labels));
      }
      first.present[step] = 1;
      first.values[step] = column.values[step];
    }
  }
  columns = std::move(merged);
  return {};
}

}  // namespace lambda::query
