#include "agent/source/statsd_line.h"

#include <charconv>
#include <cmath>
#include <utility>

namespace lambda::agent {
namespace {

// What stands before the next `end`, taken off `text` together with it.
std::string_view take_until(std::string_view& text, char end) {
  const size_t at = text.find(end);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return taken;
}

// The whole of `text` as a decimal number, with or without an exponent.
bool to_double(std::string_view text, double* out) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && at == end && std::fabs(*out) <= kStatsdNumberMax;
}

bool to_type(std::string_view text, StatsdType* out) {
  if (text == "c") {
    *out = StatsdType::kCounter;
  } else if (text == "g") {
    *out = StatsdType::kGauge;
  } else if (text == "ms" || text == "h" || text == "d") {
    *out = StatsdType::kTimer;
  } else if (text == "s") {
    *out = StatsdType::kSet;
  } else {
    return false;
  }
  return true;
}

bool take_number(std::string_view text, StatsdNumber* out) {
  out->change = !text.empty() && (text.front() == '+' || text.front() == '-');
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return false;
  }
  return to_double(text, &out->value);
}

StatsdVerdict take_numbers(std::string_view values, StatsdLine* out) {
  out->numbers.clear();
  for (bool last = false; !last;) {
    last = values.find(':') == std::string_view::npos;
    StatsdNumber number;
    if (!take_number(take_until(values, ':'), &number)) return StatsdVerdict::kBadValue;
    if (out->type == StatsdType::kCounter && number.value < 0) return StatsdVerdict::kNegativeCount;
    out->numbers.push_back(number);
  }
  return StatsdVerdict::kGood;
}

StatsdVerdict take_fields(std::string_view fields, StatsdLine* out) {
  out->tags = {};
  out->rate = 1;
  bool has_rate = false, has_tags = false;
  while (!fields.empty()) {
    std::string_view field = take_until(fields, '|');
    if (field.empty()) return StatsdVerdict::kBadField;
    const char kind = field.front();
    if (kind == '@') {
      if (std::exchange(has_rate, true)) return StatsdVerdict::kBadField;
      // Below the least one number would stand for more than a double counts one by one.
      constexpr double kLeastRate = 1e-9;
      if (!to_double(field.substr(1), &out->rate)) return StatsdVerdict::kBadRate;
      if (!(out->rate >= kLeastRate && out->rate <= 1)) return StatsdVerdict::kBadRate;
    } else if (kind == '#') {
      if (std::exchange(has_tags, true)) return StatsdVerdict::kBadField;
      out->tags = field.substr(1);
    }
    // All else (c: T e: card:, and what later versions add) says nothing about the value.
  }
  return StatsdVerdict::kGood;
}

}  // namespace

std::string_view statsd_refusal(StatsdVerdict verdict) {
  switch (verdict) {
    case StatsdVerdict::kNoName:
      return "no_name";
    case StatsdVerdict::kNoType:
      return "no_type";
    case StatsdVerdict::kUnknownType:
      return "unknown_type";
    case StatsdVerdict::kBadValue:
      return "bad_value";
    case StatsdVerdict::kBadRate:
      return "bad_rate";
    case StatsdVerdict::kBadField:
      return "bad_field";
    case StatsdVerdict::kNegativeCount:
      return "negative_count";
    default:
      return "";
  }
}

StatsdVerdict parse_statsd_line(std::string_view line, StatsdLine* out) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty() || line.starts_with("_e{") || line.starts_with("_sc|")) return StatsdVerdict::kLeftOut;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return StatsdVerdict::kNoName;
  out->name = line.substr(0, colon);
  if (out->name.find('|') != std::string_view::npos) return StatsdVerdict::kNoName;
  line.remove_prefix(colon + 1);
  const size_t bar = line.find('|');
  if (bar == std::string_view::npos) return StatsdVerdict::kNoType;
  const std::string_view values = line.substr(0, bar);
  line.remove_prefix(bar + 1);
  if (!to_type(take_until(line, '|'), &out->type)) return StatsdVerdict::kUnknownType;
  if (out->type == StatsdType::kSet) {
    out->member = values;
    if (values.empty()) return StatsdVerdict::kBadValue;
  } else if (const auto verdict = take_numbers(values, out); verdict != StatsdVerdict::kGood) {
    return verdict;
  }
  return take_fields(line, out);
}

}  // namespace lambda::agent
