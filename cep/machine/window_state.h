// What a rule with a window holds for its keys. See window_machine.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cep/machine/aggregate.h"
#include "cep/machine/rule.h"

namespace lambda::cep {

struct Row {
  int64_t t = 0;
  uint64_t arrival = 0;
  std::vector<Value> values;  // of each aggregate's argument
};

struct Window {
  int64_t start = 0;
  int64_t end = 0;      // SESSION: of the longest there may be
  int64_t last_t = 0;   // SESSION
  uint64_t serial = 0;  // in order of opening
  bool closed = false;  // late=update: its row was printed
  std::vector<Accumulator> accumulators;
  std::vector<Row> rows;  // late=update
};

// What one key holds.
struct Group {
  Group() = default;
  Group(Group&&) = default;
  Group& operator=(Group&&) = default;

  std::vector<Window> windows;  // by start
  std::vector<Row> rows;        // SLIDE, ROWS: from `first_row` on
  size_t first_row = 0;
  uint64_t seen = 0;  // ROWS
  LazyTimer gap;      // SESSION: the gap; SLIDE: when the newest row leaves
  LazyTimer early;

  std::span<const Row> kept_rows() const { return std::span(rows).subspan(first_row); }
  void drop_first_row() {
    if (++first_row > rows.size() / 2) {
      rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(first_row));
      first_row = 0;
    }
  }
  void save(StateWriter& out) const;
  void load(StateReader& in, size_t aggregates);
};

// What is charged for them against max_state, whatever the compiler makes of them.
inline constexpr size_t kGroupBytes = 160;
inline constexpr size_t kWindowBytes = 128;
inline constexpr size_t kAccumulatorBytes = 160;
inline constexpr size_t kRowBytes = 48;
static_assert(sizeof(Group) <= kGroupBytes && sizeof(Window) <= kWindowBytes &&
              sizeof(Accumulator) <= kAccumulatorBytes && sizeof(Row) <= kRowBytes);

}  // namespace lambda::cep
