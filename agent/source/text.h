// Walking over the text of kernel files: lines, fields between blanks, numbers. No allocation. Nothing is believed
// about the text: what is no number is said to be none.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lambda::agent {

// Takes the first line off `text`, without its end. False when nothing is left.
inline bool take_line(std::string_view& text, std::string_view& line) {
  if (text.empty()) return false;
  const size_t end = text.find('\n');
  line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return true;
}

inline bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Takes the next field off `line`; empty when there is none.
inline std::string_view take_field(std::string_view& line) {
  size_t from = 0;
  while (from < line.size() && is_blank(line[from])) ++from;
  size_t to = from;
  while (to < line.size() && !is_blank(line[to])) ++to;
  const std::string_view field = line.substr(from, to - from);
  line.remove_prefix(to);
  return field;
}

// The whole of `field` as a decimal number; nothing if it is none or does not fit.
inline std::optional<int64_t> to_number(std::string_view field) {
  int64_t value = 0;
  const char* end = field.data() + field.size();
  const auto [at, error] = std::from_chars(field.data(), end, value);
  if (error != std::errc() || at != end || field.empty()) return std::nullopt;
  return value;
}

// As to_number, of numbers that cannot be negative.
inline std::optional<int64_t> to_count(std::string_view field) {
  const auto value = to_number(field);
  return value && *value >= 0 ? value : std::nullopt;
}

inline std::optional<int64_t> take_count(std::string_view& line) {
  return to_count(take_field(line));
}

// "12.07" -> 1207; nothing if it is not of this form.
inline std::optional<int64_t> to_hundredths(std::string_view field) {
  const size_t point = field.find('.');
  if (point == std::string_view::npos || point + 3 != field.size()) return std::nullopt;
  const auto whole = to_count(field.substr(0, point));
  const auto part = to_count(field.substr(point + 1));
  if (!whole || !part || *whole > INT64_MAX / 100 - 1) return std::nullopt;
  return *whole * 100 + *part;
}

}  // namespace lambda::agent
