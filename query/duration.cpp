#include "query/duration.h"

#include <array>
#include <charconv>

#include "query/labels.h"

namespace lambda::query {
namespace {

struct Unit {
  std::string_view name;
  int64_t ms;
};

constexpr int64_t kDayMs = 86'400'000;
constexpr std::array<Unit, 7> kUnits = {{
    {"y", 365 * kDayMs},
    {"w", 7 * kDayMs},
    {"d", kDayMs},
    {"h", 3'600'000},
    {"m", 60'000},
    {"s", 1'000},
    {"ms", 1},
}};

size_t unit_index(std::string_view name) {
  size_t i = 0;
  while (i < kUnits.size() && kUnits[i].name != name) {
    ++i;
  }
  return i;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<int64_t> parse_duration_ms(std::string_view text) {
  const auto bad = [&](const std::string& why) {
    return fail(ErrorCode::kInvalid, quoted(text) + " is not a duration: " + why);
  };
  if (text == "0") {
    return 0;
  }
  if (text.empty()) {
    return bad("it is empty");
  }
  int64_t total_ms = 0;
  size_t next_unit = 0;
  for (size_t at = 0; at < text.size();) {
    size_t digits_end = at;
    while (digits_end < text.size() && is_digit(text[digits_end])) {
      ++digits_end;
    }
    if (digits_end == at) {
      return bad("a number is expected at byte " + std::to_string(at));
    }
    size_t unit_end = digits_end;
    while (unit_end < text.size() && !is_digit(text[unit_end])) {
      ++unit_end;
    }
    const std::string_view name = text.substr(digits_end, unit_end - digits_end);
    const size_t unit = unit_index(name);
    if (unit == kUnits.size()) {
      return bad(name.empty() ? "its unit is missing (ms, s, m, h, d, w or y)" : "no such unit " + quoted(name));
    }
    if (unit < next_unit) {
      return bad("its units must fall, and each may stand once");
    }
    next_unit = unit + 1;
    int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + digits_end, count);
    if (error != std::errc() || count > (kDurationMsMax - total_ms) / kUnits[unit].ms) {
      return bad("it is longer than 292 years");
    }
    total_ms += count * kUnits[unit].ms;
    at = unit_end;
  }
  return total_ms;
}

std::string format_duration_ms(int64_t duration_ms) {
  if (duration_ms == 0) {
    return "0s";
  }
  std::string out;
  for (const Unit& unit : kUnits) {
    // Years and weeks only where they say it all: "60d" reads better than "8w4d".
    if (unit.ms > kDayMs && duration_ms % unit.ms != 0) {
      continue;
    }
    if (const int64_t count = duration_ms / unit.ms; count > 0) {
      out += std::to_string(count) + std::string(unit.name);
      duration_ms %= unit.ms;
    }
  }
  return out;
}

}  // namespace lambda::query
