// What rules say, and the order in which they say it (8).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cep/stream/moment.h"

namespace lambda::cep {

enum class OutputKind : uint8_t { kRow, kPending, kFiring, kResolved, kLimit };
const char* output_kind_name(OutputKind kind);

// kShape is none that was hit: what a snapshot held of the rule, keys and waiting events, had another shape.
enum class Bound : uint8_t {
  kMaxKeys,
  kMaxRuns,
  kMaxCaptures,
  kReorder,
  kMaxState,
  kTicks,
  kTexts,
  kDevices,
  kStateBytes,
  kShape,
};
inline constexpr size_t kBounds = 10;
const char* bound_name(Bound bound);

// As the sink sees it. `fields` are in the order of the rule's SELECT items and live as long as the call.
struct Output {
  RuleId rule = 0;
  OutputKind kind = OutputKind::kRow;
  bool late = false;
  Bound bound = Bound::kMaxKeys;  // kLimit
  int64_t t = 0;
  int64_t on_input = -1;  // -1: time itself
  std::span<const Value> fields;
  // kLimit
  uint64_t max = 0;
  uint64_t dropped = 0;  // since the last such output
  int64_t clock = 0;     // the arrival clock at it
};
using Sink = std::function<void(const Output&)>;
// Outputs in order, as many as there are at once.
using BatchSink = std::function<void(std::span<const Output>)>;

// Memory for values that live until clear(); it does not move.
class ValueArena {
 public:
  Value* take(size_t count) {
    if (left_ < count) {
      next_block(count);
    }
    left_ -= count;
    return std::exchange(next_, next_ + count);
  }
  void clear();

 private:
  static constexpr size_t kBlockValues = 2048;
  static constexpr size_t kBlocksKept = 64;  // 2 MB; what is beyond is given back
  struct Block {
    std::unique_ptr<Value[]> values;
    size_t size;
  };
  void next_block(size_t count);

  std::vector<Block> blocks_;
  size_t used_ = 0;  // blocks
  Value* next_ = nullptr;
  size_t left_ = 0;
};

// Outputs of some lines of input, put into order before the sink sees them. Rules may speak in any order, even one
// rule of several lines ahead of the next rule.
class OutputQueue {
 public:
  // Where an output stands among those of its line, beside its time, kind and rule.
  struct Place {
    cep::Place place = cep::Place::kEvent;
    uint64_t arrival = 0;
    int64_t priority = 0;
    uint64_t order = 0;  // ORDER BY's place among the rows of one window end, else 0
    uint64_t age = 0;    // of the run or window, the oldest has the least
  };
  static constexpr uint32_t kLinesMax = 1024;  // between two flushes

  explicit OutputQueue(const Symbols& symbols) : symbols_(symbols) {}

  // What is added from now on belongs to this line, below kLinesMax.
  void set_line(uint32_t line) { line_ = line; }
  // Returns room for `fields` values, to be filled by the caller. `output.fields` is set here; `key` is copied.
  Value* add(const Output& output, const Place& place, std::span<const Value> key, size_t fields) {
    Value* values = arena_.take(key.size() + fields);
    Value* key_copy = std::copy(key.begin(), key.end(), values + fields);
    Output& added = outputs_.emplace_back(output);
    added.fields = std::span<const Value>(values, fields);
    entries_.push_back({place, line_, static_cast<uint32_t>(key.size()), key_copy - key.size()});
    in_order_ = in_order_ && (entries_.size() == 1 || follows(entries_.size() - 1));
    return values;
  }
  // The rows of one event, of up to `count` rules that print columns of it: `row_of(i)` has the rule's id, priority,
  // whether it prints, and the columns of its items.
  template <class RowOf>
  void add_rows(size_t count, const RowOf& row_of, const Value* columns, const Moment& moment) {
    const size_t had = outputs_.size();
    outputs_.resize(had + count);
    entries_.resize(had + count);
    Output* output = outputs_.data() + had;
    Entry* entry = entries_.data() + had;
    bool in_order = true;
    for (size_t i = 0; i < count; ++i) {
      const auto& rule = row_of(i);
      if (!rule.prints) {
        continue;
      }
      Value* fields = arena_.take(rule.items);
      for (uint32_t item = 0; item < rule.items; ++item) {
        fields[item] = columns[rule.columns[item]];
      }
      output->rule = rule.id;
      output->t = moment.t;
      output->on_input = moment.on_input;
      output->fields = std::span<const Value>(fields, rule.items);
      *entry = {{moment.place, moment.arrival, rule.priority, 0, 0}, line_, 0, nullptr};
      in_order = in_order && (output == outputs_.data() + had || entry[-1].place.priority > rule.priority ||
                              (entry[-1].place.priority == rule.priority && output[-1].rule < rule.id));
      ++output;
      ++entry;
    }
    end_rows(had, static_cast<size_t>(output - outputs_.data()), in_order);
  }
  size_t size() const { return outputs_.size(); }
  // Hands over what all of them hold, as one that got it all would.
  static void merge(std::span<OutputQueue* const> queues, const BatchSink& sink);
  // Hands all over, in order, and forgets them. The sink must not push events.
  void flush(const BatchSink& sink) {
    if (!outputs_.empty()) {
      hand_over(sink);
    }
  }

 private:
  struct Entry {
    Place place;
    uint32_t line;
    uint32_t key_width;
    const Value* key;
  };
  // Outputs from `begin` on are rows that were added, among themselves in order or not.
  void end_rows(size_t begin, size_t end, bool in_order) {
    outputs_.resize(end);
    entries_.resize(end);
    in_order_ = in_order_ && in_order && (begin == 0 || begin == end || follows(begin));
  }
  // Does the output come behind the one before it?
  bool follows(size_t x) const {
    const uint32_t before = entries_[x - 1].line;
    return before < entries_[x].line || (before == entries_[x].line && !less(x, x - 1));
  }
  void hand_over(const BatchSink& sink);
  // By place in the line, for two outputs of one line.
  bool less(size_t x, size_t y) const { return before(outputs_[x], entries_[x], outputs_[y], entries_[y]); }
  bool before(const Output& x, const Entry& at_x, const Output& y, const Entry& at_y) const;
  int compare_keys(const Entry& x, const Entry& y) const;
  void sort();
  void clear();

  const Symbols& symbols_;
  uint32_t line_ = 0;
  bool in_order_ = true;
  std::vector<Output> outputs_;
  std::vector<Entry> entries_;  // of outputs_
  ValueArena arena_;
  std::vector<uint32_t> line_ends_;
  std::vector<uint32_t> sequence_;
  std::vector<Output> sorted_;
  std::vector<Entry> sorted_entries_;
};

}  // namespace lambda::cep
