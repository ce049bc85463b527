#include "cep/output.h"

#include <algorithm>
#include <tuple>

namespace lambda::cep {

const char* output_kind_name(OutputKind kind) {
  switch (kind) {
    case OutputKind::kRow:
      return "row";
    case OutputKind::kPending:
      return "pending";
    case OutputKind::kFiring:
      return "firing";
    case OutputKind::kResolved:
      return "resolved";
    case OutputKind::kLimit:
      return "limit";
  }
  return "?";
}

const char* bound_name(Bound bound) {
  switch (bound) {
    case Bound::kMaxKeys:
      return "max_keys";
    case Bound::kMaxRuns:
      return "max_runs";
    case Bound::kMaxCaptures:
      return "max_captures";
    case Bound::kReorder:
      return "reorder";
    case Bound::kMaxState:
      return "max_state";
  }
  return "?";
}

void OutputQueue::add(const Entry& entry, std::span<const Value> key, std::span<const Value> fields) {
  Entry& added = entries_.emplace_back(entry);
  added.key_begin = values_.size();
  added.key_width = key.size();
  values_.insert(values_.end(), key.begin(), key.end());
  added.field_begin = values_.size();
  added.field_count = fields.size();
  values_.insert(values_.end(), fields.begin(), fields.end());
}

int OutputQueue::compare_keys(const Entry& x, const Entry& y) const {
  for (size_t i = 0; i < x.key_width && i < y.key_width; ++i) {
    const int order = compare_values(values_[x.key_begin + i], values_[y.key_begin + i], symbols_);
    if (order != 0) {
      return order;
    }
  }
  return 0;
}

void OutputQueue::flush(const Sink& sink) {
  if (entries_.size() > 1) {
    std::ranges::stable_sort(entries_, [this](const Entry& x, const Entry& y) {
      // A limit comes before all outputs of its event (47).
      const auto head = [](const Entry& e) {
        return std::tuple(e.output.t, e.place, e.arrival, e.output.kind != OutputKind::kLimit, -e.priority,
                          e.output.rule, e.order);
      };
      if (head(x) != head(y)) {
        return head(x) < head(y);
      }
      const int keys = compare_keys(x, y);
      return keys != 0 ? keys < 0 : x.age < y.age;
    });
  }
  for (Entry& entry : entries_) {
    entry.output.fields = std::span<const Value>(values_).subspan(entry.field_begin, entry.field_count);
    sink(entry.output);
  }
  entries_.clear();
  values_.clear();
}

}  // namespace lambda::cep
