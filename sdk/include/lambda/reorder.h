// What a store of series does, where its owner chose so, with a point that comes late by one place: it goes before the
// newest point of its series, as if it had come in time. An image that does not name kReorderByOne links none of it.
// Why it is so, and what it gives: docs/decisions/0020.
//
// Invariants
// - No point waits anywhere: the newest one is in the open block like all others. What is kept is how the block stood
//   before it, 16 bytes a series, so that it can be taken back and written again behind the late one.
// - The late point gets the newest one's ordinal, and that one the next. Ordinals of an open block that somebody was
//   shown with copy_open() or read() stay as they are: what comes late then goes behind, as without this.
// - The bytes of a block are those of its points in their order, however they came.
// - A point that is late by more, or for which there is no room in its place, is taken as without this: behind the
//   newest one, in a block that says so (proto/block.md, "unordered").
#pragma once

#include <stdint.h>

#include "lambda/point.h"

namespace lambda {

class SeriesStore;

struct Reorder {
  // Told of each point of a series before it is appended. True: it was put before the newest one, which has the next
  // ordinal now. False: it is to be appended.
  bool (*take)(SeriesStore* store, uint32_t ref, const Point& point);
  // The points of the open block keep their ordinals.
  void (*keep)(const SeriesStore* store, uint32_t ref);
};

// By its name in C, see lambda/lambda.h.
extern "C" {
extern const Reorder lam_reorder_by_one;
}
inline constexpr const Reorder& kReorderByOne = lam_reorder_by_one;

}  // namespace lambda
