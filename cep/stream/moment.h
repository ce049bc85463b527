// The words of time that all parts of the engine share. Times are int64 milliseconds.
#pragma once

#include <cstdint>
#include <limits>

#include "cep/language/plan.h"

namespace lambda::cep {

// Far from the ends of 64 bits, so that sums and differences of a time and a duration do not overflow.
inline constexpr int64_t kTimeMin = std::numeric_limits<int64_t>::min() / 4;
inline constexpr int64_t kTimeMax = std::numeric_limits<int64_t>::max() / 4;
// Events outside are refused.
inline constexpr int64_t kEventTimeMax = int64_t{1} << 58;

// One device's time, across all streams (5). Dense; 0 is that of all streams without a device.
using TimelineId = uint32_t;
inline constexpr TimelineId kSharedTimeline = 0;
// Of a device that is another shard's.
inline constexpr TimelineId kForeignTimeline = UINT32_MAX;

// A rule's key, dense in the rule. Rules without keys have the one key 0.
using KeyId = uint32_t;
inline constexpr KeyId kNoKey = UINT32_MAX;  // of work that is not one key's

// What is done at one instant, in this order (3).
enum class Place : uint8_t { kWindowEnd, kEvent, kTimer };

// Timers of one instant run in this order (3).
enum class Rank : uint8_t { kAbsence, kAlertFor, kClearFor, kRemind, kSessionGap, kEarly, kExpiry };

// Which part of a rule an item belongs to.
enum class Owner : uint8_t { kReorder, kMachine, kResults };

// Work that waits for its time: a window's end, a timer, an event in the reorder buffer. A timer of the arrival clock
// that waits for events which are held is put off to the horizon: it comes behind the last of them, as if it were one.
struct Item {
  int64_t time = 0;
  int64_t clock_due = kTimeMin;  // timers of the arrival clock: when they are due on it
  uint64_t arrival = 0;          // events: their place in the input
  RuleId rule = 0;
  KeyId key = 0;
  TimelineId timeline = kSharedTimeline;
  Place place = Place::kTimer;
  Rank rank = Rank::kAbsence;
  Owner owner = Owner::kMachine;
  uint8_t tag = 0;          // the owner's
  uint32_t generation = 0;  // of the key: it may be given to another meanwhile
  uint64_t cookie = 0;      // the owner's
};

// What is being worked on.
struct Moment {
  int64_t t = 0;  // of the event; of a window's end; when the timer was due
  Place place = Place::kEvent;
  Rank rank = Rank::kAbsence;
  uint64_t arrival = 0;   // events only
  int64_t on_input = -1;  // index of the event; -1: time itself (10)
  int64_t clock = 0;      // what timers of the arrival clock are armed with (7)
  bool late = false;      // late=update and late=backfill (16)
};

// An event whose time has come. `columns` lives as long as the call.
struct Event {
  StreamId stream = 0;
  TimelineId timeline = kSharedTimeline;
  const Value* columns = nullptr;
};

}  // namespace lambda::cep
