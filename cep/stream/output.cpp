#include "cep/stream/output.h"

#include <algorithm>

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
    case Bound::kTicks:
      return "ticks";
    case Bound::kTexts:
      return "texts";
    case Bound::kDevices:
      return "devices";
    case Bound::kStateBytes:
      return "state_bytes";
    case Bound::kShape:
      return "shape";
  }
  return "?";
}

void ValueArena::next_block(size_t count) {
  if (used_ < blocks_.size() && blocks_[used_].size < count) {
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(used_), blocks_.end());
  }
  if (used_ == blocks_.size()) {
    const size_t size = std::max(count, kBlockValues);
    blocks_.push_back({std::make_unique<Value[]>(size), size});
  }
  next_ = blocks_[used_].values.get();
  left_ = blocks_[used_].size;
  ++used_;
}

void ValueArena::clear() {
  if (blocks_.size() > kBlocksKept) {
    blocks_.resize(kBlocksKept);
  }
  used_ = 0;
  left_ = 0;
}

int OutputQueue::compare_keys(const Entry& x, const Entry& y) const {
  for (size_t i = 0; i < x.key_width && i < y.key_width; ++i) {
    const int order = compare_values(x.key[i], y.key[i], symbols_);
    if (order != 0) {
      return order;
    }
  }
  return 0;
}

// Mostly asked of two in a row, one rule's of one event: what differs there comes last.
bool OutputQueue::before(const Output& x, const Entry& at_x, const Output& y, const Entry& at_y) const {
  if (x.t != y.t) {
    return x.t < y.t;
  }
  const Place& from_x = at_x.place;
  const Place& from_y = at_y.place;
  if (from_x.place != from_y.place) {
    return from_x.place < from_y.place;
  }
  if (from_x.arrival != from_y.arrival) {
    return from_x.arrival < from_y.arrival;
  }
  if ((x.kind == OutputKind::kLimit) != (y.kind == OutputKind::kLimit)) {
    return x.kind == OutputKind::kLimit;  // ahead of all outputs of its event (47)
  }
  if (from_x.priority != from_y.priority) {
    return from_x.priority > from_y.priority;
  }
  if (x.rule != y.rule) {
    return x.rule < y.rule;
  }
  if (from_x.order != from_y.order) {
    return from_x.order < from_y.order;
  }
  const int keys = compare_keys(at_x, at_y);
  return keys != 0 ? keys < 0 : from_x.age < from_y.age;
}

// Rules speak in their order for many lines at once: what is left to do is mostly to bring the lines together.
void OutputQueue::sort() {
  line_ends_.assign(kLinesMax + 1, 0);
  for (const Entry& entry : entries_) {
    ++line_ends_[entry.line + 1];
  }
  for (size_t line = 1; line <= kLinesMax; ++line) {
    line_ends_[line] += line_ends_[line - 1];
  }
  sequence_.resize(entries_.size());
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    sequence_[line_ends_[entries_[i].line]++] = i;  // the line's begin moves to its end
  }
  uint32_t begin = 0;
  for (size_t line = 0; line < kLinesMax; ++line) {
    const uint32_t end = line_ends_[line];
    const auto less_of_line = [this](uint32_t x, uint32_t y) { return less(x, y); };
    const auto first = sequence_.begin() + begin;
    const auto last = sequence_.begin() + end;
    if (end - begin > 1 && !std::is_sorted(first, last, less_of_line)) {
      std::stable_sort(first, last, less_of_line);
    }
    begin = end;
  }
  sorted_.resize(outputs_.size());
  sorted_entries_.resize(outputs_.size());
  for (size_t i = 0; i < sequence_.size(); ++i) {
    sorted_[i] = outputs_[sequence_[i]];
    sorted_entries_[i] = entries_[sequence_[i]];
  }
  outputs_.swap(sorted_);
  entries_.swap(sorted_entries_);
  in_order_ = true;
}

void OutputQueue::hand_over(const BatchSink& sink) {
  if (!in_order_) {
    sort();
  }
  sink(outputs_);
  clear();
}

void OutputQueue::clear() {
  outputs_.clear();
  entries_.clear();
  arena_.clear();
  in_order_ = true;
}

void OutputQueue::merge(std::span<OutputQueue* const> queues, const BatchSink& sink) {
  std::vector<size_t> next(queues.size(), 0);
  std::vector<Output> merged;
  for (OutputQueue* queue : queues) {
    if (!queue->in_order_) {
      queue->sort();
    }
  }
  for (;;) {
    size_t first = queues.size();
    for (size_t i = 0; i < queues.size(); ++i) {
      if (next[i] == queues[i]->size()) {
        continue;
      }
      if (first == queues.size()) {
        first = i;
        continue;
      }
      const OutputQueue& x = *queues[i];
      const OutputQueue& y = *queues[first];
      const Entry& at_x = x.entries_[next[i]];
      const Entry& at_y = y.entries_[next[first]];
      const bool earlier = at_x.line != at_y.line ? at_x.line < at_y.line
                                                  : x.before(x.outputs_[next[i]], at_x, y.outputs_[next[first]], at_y);
      first = earlier ? i : first;
    }
    if (first == queues.size()) {
      break;
    }
    merged.push_back(queues[first]->outputs_[next[first]++]);
  }
  if (!merged.empty()) {
    sink(merged);
  }
  for (OutputQueue* queue : queues) {
    queue->clear();
  }
}

}  // namespace lambda::cep
