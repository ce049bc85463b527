#include "query/columns.h"

#include <algorithm>
#include <utility>

#include "query/labels.h"

namespace lambda::query {
namespace {

// Takes over the values of `other`, which has the same labels.
Status join(Column& column, const Column& other) {
  for (size_t step = 0; step < other.values.size(); ++step) {
    if (other.present[step] == 0) {
      continue;
    }
    if (column.present[step] != 0) {
      return fail(ErrorCode::kInvalid, "vector cannot contain metrics with the same labelset");
    }
    column.present[step] = 1;
    column.values[step] = other.values[step];
  }
  return {};
}

}  // namespace

Status merge_equal(Columns& columns) {
  // Nearly always there is nothing to join, so that must be cheap: no label is copied or compared unless hashes meet.
  std::vector<std::pair<uint64_t, size_t>> order;
  order.reserve(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    order.emplace_back(hash_of(columns[i].labels), i);
  }
  std::ranges::sort(order);
  std::vector<uint8_t> joined(columns.size());
  for (size_t i = 0; i < order.size(); ++i) {
    Column& first = columns[order[i].second];
    for (size_t j = i + 1; joined[order[i].second] == 0 && j < order.size() && order[j].first == order[i].first; ++j) {
      const size_t other = order[j].second;
      if (joined[other] != 0 || columns[other].labels != first.labels) {
        continue;
      }
      if (auto done = join(first, columns[other]); !done) {
        return done;
      }
      first.drops_name = first.drops_name || columns[other].drops_name;
      joined[other] = 1;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (joined[i] != 0) {
      continue;
    }
    if (kept != i) {
      columns[kept] = std::move(columns[i]);
    }
    ++kept;
  }
  columns.resize(kept);
  return {};
}

}  // namespace lambda::query
