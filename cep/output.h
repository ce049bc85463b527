// What rules say, and the order in which they say it (8).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cep/moment.h"

namespace lambda::cep {

enum class OutputKind : uint8_t { kRow, kPending, kFiring, kResolved, kLimit };
const char* output_kind_name(OutputKind kind);

enum class Bound : uint8_t { kMaxKeys, kMaxRuns, kMaxCaptures, kReorder, kMaxState };
inline constexpr size_t kBounds = 5;
const char* bound_name(Bound bound);

// As the sink sees it. `fields` are in the order of the rule's SELECT items and live as long as the call.
struct Output {
  RuleId rule = 0;
  OutputKind kind = OutputKind::kRow;
  int64_t t = 0;
  int64_t on_input = -1;  // -1: time itself
  bool late = false;
  std::span<const Value> fields;
  // kLimit
  Bound bound = Bound::kMaxKeys;
  uint64_t max = 0;
  uint64_t dropped = 0;  // since the last such output
};
using Sink = std::function<void(const Output&)>;

// Outputs of one line of input, put into order when the line is done.
class OutputQueue {
 public:
  struct Entry {
    Output output;  // without fields
    Place place = Place::kEvent;
    uint64_t arrival = 0;
    int64_t priority = 0;
    uint64_t order = 0;  // ORDER BY's place among the rows of one window end, else 0
    uint64_t age = 0;    // of the run or window, the oldest has the least
    // Set by add().
    size_t key_begin = 0;
    size_t key_width = 0;
    size_t field_begin = 0;
    size_t field_count = 0;
  };

  explicit OutputQueue(const Symbols& symbols) : symbols_(symbols) {}

  void add(const Entry& entry, std::span<const Value> key, std::span<const Value> fields);
  bool empty() const { return entries_.empty(); }
  // Hands all over, in order, and forgets them. The sink must not push events.
  void flush(const Sink& sink);

 private:
  int compare_keys(const Entry& x, const Entry& y) const;

  const Symbols& symbols_;
  std::vector<Entry> entries_;
  std::vector<Value> values_;  // keys and fields
};

}  // namespace lambda::cep
