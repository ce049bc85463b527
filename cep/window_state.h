// What a rule with a window holds for its keys. See window_machine.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "cep/aggregate.h"
#include "cep/rule.h"

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
  std::deque<Row> rows;         // SLIDE, ROWS
  uint64_t seen = 0;            // ROWS
  LazyTimer gap;                // SESSION: the gap; SLIDE: when the newest row leaves
  LazyTimer early;

  void save(StateWriter& out) const;
  void load(StateReader& in, size_t aggregates);
};

}  // namespace lambda::cep
