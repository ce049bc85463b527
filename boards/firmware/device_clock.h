// What a device knows of the time. Three sources, each better than the one before:
// - a floor, the later of when the firmware was built and of what was saved before the last reset. Nothing happens
//   before it; how much later it is, nobody knows;
// - a gateway's clock, from the first answer of each session;
// - the board's own clock, where it has one.
// Only the last two are handed to the SDK as UTC. Certificates are judged by the best of the three.
#pragma once

#include <stdint.h>

#include "boards/firmware/board.h"

namespace lambda::boards {

class DeviceClock {
 public:
  // `built_s`: UTC seconds.
  DeviceClock(const Board& board, int64_t built_s);

  // False: only the floor is known.
  bool utc_ms(int64_t* utc_ms) const;
  // UTC seconds, never before the floor.
  int64_t now_s() const;

  // A gateway says what time it is. False: that is before the floor, so its clock is wrong; nothing was learned.
  bool learn(int64_t utc_ms);
  // Saves the time for the next start: when it was learned first, then every ten minutes.
  void save_when_due();

 private:
  const Board& board_;
  int64_t floor_ms_;
  int64_t offset_ms_ = 0;  // UTC - monotonic
  bool learned_ = false;
  int64_t save_due_ms_ = 0;  // monotonic
};

// Days since 1970-01-01 of a date of the Gregorian calendar, and back.
int64_t days_of(int64_t year, uint32_t month, uint32_t day);
void date_of(int64_t days, int64_t* year, uint32_t* month, uint32_t* day);

}  // namespace lambda::boards
