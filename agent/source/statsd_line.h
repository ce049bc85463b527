// One line of StatsD, with the extensions of DogStatsD:
//
//   name:value[:value...]|type[|@rate][|#tag[:value],...][|further fields]
//
// Types: c (counter), g (gauge; a sign makes it a change), ms, h, d (timers), s (set: any text). Further fields are the
// container, a timestamp and external data; they are read over, and points carry the time of their collection. Events
// (_e{) and service checks (_sc|) are known and left out.
//
// Works on views into the packet; nothing is believed about the bytes. A line is good as a whole or refused as a whole.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lambda::agent {

enum class StatsdType : uint8_t { kCounter, kGauge, kTimer, kSet };

inline constexpr double kStatsdNumberMax = 1e100;  // so that no sum over the life of a process overflows

struct StatsdNumber {
  double value = 0;     // finite, at most kStatsdNumberMax up or down
  bool change = false;  // written with a sign
};

struct StatsdLine {
  StatsdType type = StatsdType::kCounter;
  std::string_view name;              // not empty; any bytes but ':' and '|'
  std::string_view member;            // of a set
  std::vector<StatsdNumber> numbers;  // of the other types, at least one; kept between calls for its room
  std::string_view tags;              // as they stand after '#'; may be empty
  double rate = 1;                    // in (0, 1]: each number stands for 1 / rate of them
};

enum class StatsdVerdict : uint8_t {
  kGood,
  kLeftOut,        // an event, a service check, or an empty line
  kNoName,         // nothing before ':', or no ':' at all
  kNoType,         // no '|' behind the values
  kUnknownType,    // none of c g ms h d s
  kBadValue,       // no number, or one too large; a set's member that is empty
  kBadRate,        // no number in (0, 1]
  kBadField,       // tags, rate or a further field twice or empty
  kNegativeCount,  // a counter that goes down is a gauge: send it as one, with a sign
  kVerdicts,
};

// "no_name": for a label. Of refusals only.
std::string_view statsd_refusal(StatsdVerdict verdict);

// `out` is meaningful only after kGood and valid as long as `line`.
StatsdVerdict parse_statsd_line(std::string_view line, StatsdLine* out);

}  // namespace lambda::agent
