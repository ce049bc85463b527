// Where an agent's points come from. A source is asked once in its interval and appends what it found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "lambda/parcel.h"
#include "lambda/point.h"

namespace lambda::agent {

using SeriesRef = uint32_t;
using LabelList = std::vector<std::pair<std::string, std::string>>;  // any order; names are unique

// Who makes a series. There is one for each series: two would mix their times.
using SeriesOwner = uint16_t;
inline constexpr SeriesOwner kOwnerCollectors = 0;
inline constexpr SeriesOwner kOwnerStatsd = 1;
inline constexpr SeriesOwner kOwnerDoors = 2;
inline constexpr SeriesOwner kOwnerTargets = 16;  // the first scraped target; the others follow it

struct SeriesSpec {
  std::string name;  // [a-zA-Z_:][a-zA-Z0-9_:]*
  LabelList labels;
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  std::string unit;  // "seconds", "bytes" ...; may be empty
};

// How full a bound of series is, and how much of that is taken by series that have ended.
struct Places {
  uint64_t taken = 0, max = 0, ended = 0;
  // More would be won than there is, and not just a few.
  bool worth_clearing() const { return ended > max - (taken < max ? taken : max) && ended * 32 >= max; }
};

// Takes points. All of one collection carry the same time, given by the agent.
class Sink {
 public:
  virtual ~Sink() = default;
  // The series' ref: the same for the same name and labels, as long as epoch() does not change, so sources ask once and
  // keep it. kFull: the series cap is reached (counted by the agent); kInvalid: a name or label is not allowed;
  // kDenied: somebody else makes this series.
  virtual Result<SeriesRef> series(const SeriesSpec& spec) = 0;
  // A ref from an earlier epoch may stand for another series by now: ask again.
  virtual uint32_t epoch() const { return 0; }
  virtual void append(SeriesRef series, uint64_t bits) = 0;

  void append_f64(SeriesRef series, double value);
  void append_i64(SeriesRef series, int64_t value) { append(series, static_cast<uint64_t>(value)); }
};

class Source {
 public:
  virtual ~Source() = default;
  virtual std::string_view name() const = 0;  // "cpu": names its settings and its cost counter
  virtual int64_t interval_ms() const = 0;
  virtual SeriesOwner owner() const { return kOwnerCollectors; }
  // One collection. What could be read is appended even when an error is returned. An error is counted and logged at
  // its first appearance; the next collection is tried all the same.
  virtual Status collect(Sink& sink, int64_t time_ms) = 0;
};

}  // namespace lambda::agent
