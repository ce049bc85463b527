// What a store of series does, where its owner chose so, before it drops points that nobody has: it makes half as many
// of them. Of six consecutive points of a gauge there remain the least, the greatest and the mean. An image that does
// not name kThinGauges links none of it. Why it is so: docs/decisions/0018.
//
// Invariants
// - A block is thinned once, and only while nobody else has it: not in a parcel before, not in a snapshot.
// - Two blocks of a series that follow each other become one, or one becomes shorter. Of its 6g + r points the first 6g
//   become 3g, with the last 3g of their ordinals; the ordinals before them are gone, and counted as dropped. The r
//   others, at most five, stay as they are.
// - The three are the least and the greatest value, in the order in which they came, with the mean between them. They
//   have the times of the second, the fourth and the sixth point: even times stay even, which is half of what a point
//   costs. The mean of integers and decimals is rounded to what the type holds, of floats to four bits more than the
//   points have; it never lies outside of the two. What is no number (NaN) is left out, where there is one at all.
// - What is gone is told in the same parcel as the block, as a gap of its own reason (proto/parcel.md, "Thinned
//   points"): nobody sees the one without the other.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lambda/point.h"

namespace lambda {

class SeriesStore;

inline constexpr uint32_t kThinFrom = 6;  // so many points
inline constexpr uint32_t kThinTo = 3;    // become so many

struct Thinning {
  // Thins the oldest block that may be, and gains by it. False: there is none; nothing was done. Linear in the number
  // of loose blocks; each is decoded three times at most while it is held.
  bool (*make_room)(SeriesStore* store);
  // Seals all; what the store holds now is never thinned, as another place is going to have it too.
  void (*keep_whole)(SeriesStore* store);
};

extern const Thinning kThinGauges;

// Makes three of six points, in the first three places. Of any type but kState.
void thin_points(ValueType type, Point points[kThinFrom]);

}  // namespace lambda
