#include "query/number.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

#include "query/labels.h"

namespace lambda::query {
namespace {

// Far enough for any use, near enough that adding a duration never overflows.
constexpr double kTimeMsMax = 9.0e15;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool equal_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) {
    return false;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] | 0x20) != lower[i]) {
      return false;
    }
  }
  return true;
}

// Reads exactly `digits` decimal digits.
std::optional<int> take_digits(std::string_view& text, size_t digits) {
  int value = 0;
  if (text.size() < digits) {
    return std::nullopt;
  }
  for (size_t i = 0; i < digits; ++i) {
    if (!is_digit(text[i])) {
      return std::nullopt;
    }
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) {
    return false;
  }
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> parse_zone_minutes(std::string_view text) {
  if (text == "Z" || text == "z") {
    return 0;
  }
  const int sign = !text.empty() && text[0] == '-' ? -1 : 1;
  if (!take(text, '+') && !take(text, '-')) {
    return std::nullopt;
  }
  const auto hours = take_digits(text, 2);
  if (!hours || !take(text, ':')) {
    return std::nullopt;
  }
  const auto minutes = take_digits(text, 2);
  if (!minutes || !text.empty() || *hours > 23 || *minutes > 59) {
    return std::nullopt;
  }
  return sign * (*hours * 60 + *minutes);
}

std::optional<int64_t> parse_rfc3339_ms(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || (!take(text, 'T') && !take(text, 't') && !take(text, ' '))) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || !take(text, ':')) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;

  int64_t fraction_ms = 0;
  if (take(text, '.')) {
    size_t digits = 0;
    for (; digits < text.size() && is_digit(text[digits]); ++digits) {
      static constexpr int kWeight[] = {100, 10, 1};
      fraction_ms += digits < 3 ? (text[digits] - '0') * kWeight[digits] : 0;  // finer than ms is cut off
    }
    if (digits == 0) {
      return std::nullopt;
    }
    text.remove_prefix(digits);
  }
  const auto zone_minutes = parse_zone_minutes(text);
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(*month), std::chrono::day(*day)};
  if (!zone_minutes || !date.ok()) {
    return std::nullopt;
  }
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + *hour) * 60 + *minute - *zone_minutes) * 60'000 + *second * 1000 + fraction_ms;
}

Result<double> parse_hexadecimal(std::string_view digits, bool negative) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return fail(ErrorCode::kInvalid, "0x" + std::string(digits) + " is not a number of at most 64 bits");
  }
  return negative ? -static_cast<double>(value) : static_cast<double>(value);
}

}  // namespace

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
    return;
  }
  const double size = std::fabs(value);
  const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
  char text[64];  // longest: 21 digits and a sign, or 0.000001234... with 17 significant ones
  const auto end = std::to_chars(text, text + sizeof text, value,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed);
  out.append(text, end.ptr);
}

std::string format_number(double value) {
  std::string out;
  append_number(out, value);
  return out;
}

std::string plain_decimal(double value) {
  if (!std::isfinite(value)) {
    return format_number(value);
  }
  char text[400];  // longest: 309 digits, or 0.000... with 324 zeros and 17 significant digits
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed);
  return std::string(text, end.ptr);
}

void append_seconds(std::string& out, int64_t time_ms) {
  char text[40];
  const bool negative = time_ms < 0;
  const uint64_t size = negative ? ~static_cast<uint64_t>(time_ms) + 1 : static_cast<uint64_t>(time_ms);
  char* at = text;
  if (negative) {
    *at++ = '-';
  }
  at = std::to_chars(at, text + sizeof text, size / 1000).ptr;
  if (const auto fraction = static_cast<unsigned>(size % 1000); fraction != 0) {
    *at++ = '.';
    *at++ = static_cast<char>('0' + fraction / 100);
    *at++ = static_cast<char>('0' + fraction / 10 % 10);
    *at++ = static_cast<char>('0' + fraction % 10);
  }
  out.append(text, at);
}

Result<double> parse_number(std::string_view text) {
  const auto bad = [whole = text] { return fail(ErrorCode::kInvalid, quoted(whole) + " is not a number"); };
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) {
    text.remove_prefix(1);
  }
  if (equal_ignoring_case(text, "inf")) {
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  }
  if (equal_ignoring_case(text, "nan")) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const bool hexadecimal = text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
  if (hexadecimal) {
    text.remove_prefix(2);
  }
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_' || text[i - 1] == '.' || text[i + 1] == '.') {
      return bad();
    }
  }
  if (hexadecimal) {
    return parse_hexadecimal(digits, negative);
  }
  if (digits.empty() || (!is_digit(digits[0]) && digits[0] != '.')) {
    return bad();
  }
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument) {
    return bad();
  }
  if (error == std::errc::result_out_of_range) {
    return bad();
  }
  return negative ? -value : value;
}

Result<int64_t> parse_time_ms(std::string_view text) {
  if (const auto time = parse_rfc3339_ms(text)) {
    return *time;
  }
  const auto seconds = parse_number(text);
  if (!seconds || !std::isfinite(*seconds) || std::fabs(*seconds * 1000) > kTimeMsMax) {
    return fail(ErrorCode::kInvalid, quoted(text) + " is neither RFC 3339 nor seconds since 1970");
  }
  return std::llround(*seconds * 1000);
}

std::string format_time(int64_t time_ms) {
  constexpr int64_t kYear10000Ms = 253'402'300'800'000;
  if (time_ms < -kYear10000Ms || time_ms >= kYear10000Ms) {  // a calendar says nothing there
    std::string seconds;
    append_seconds(seconds, time_ms);
    return seconds;
  }
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(time_ms)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

}  // namespace lambda::query
