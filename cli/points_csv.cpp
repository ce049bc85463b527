#include "cli/points_csv.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/gzip.h"
#include "query/number.h"

namespace lambda::cli {
namespace {

constexpr uint64_t kUsualNan = 0x7FF8000000000000;
constexpr uint32_t kUsualNan32 = 0x7FC00000;

// n x 10^-scale, exactly.
std::string decimal_text(int64_t n, unsigned scale) {
  const bool negative = n < 0;
  std::string digits = std::to_string(negative ? ~static_cast<uint64_t>(n) + 1 : static_cast<uint64_t>(n));
  if (scale > 0) {
    if (digits.size() <= scale) {
      digits.insert(0, scale + 1 - digits.size(), '0');
    }
    digits.insert(digits.size() - scale, ".");
  }
  return (negative ? "-" : "") + digits;
}

std::string nan_text(uint64_t bits) {
  char hex[17];
  const auto end = std::to_chars(hex, hex + sizeof hex, bits, 16).ptr;
  return "NaN(0x" + std::string(hex, end) + ")";
}

// The double that a float's NaN widens to, its bits kept.
uint64_t widened_nan(uint32_t bits) {
  return uint64_t{bits >> 31} << 63 | uint64_t{0x7FF} << 52 | uint64_t{bits & 0x7FFFFF} << 29;
}

bool take_nan(std::string_view text, uint64_t* bits) {
  if (!text.starts_with("NaN(0x") || !text.ends_with(")")) return false;
  text = text.substr(6, text.size() - 7);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *bits, 16);
  return error == std::errc() && end == text.data() + text.size() && std::isnan(std::bit_cast<double>(*bits));
}

// The decimal that `text`, a number, stands for; false: none that fits.
bool take_decimal(std::string_view text, CsvPoint* point) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const uint64_t most = uint64_t{INT64_MAX} + (negative ? 1 : 0);
  uint64_t digits = 0;
  int places = 0;
  bool behind = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      behind = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (digits > (most - digit) / 10) return false;
    digits = digits * 10 + digit;
    places += behind ? 1 : 0;
  }
  if (i < text.size()) {
    if (text[i] != 'e' && text[i] != 'E') return false;
    std::string_view power = text.substr(i + 1);
    if (power.starts_with('+')) power.remove_prefix(1);
    int exponent = 0;
    const auto [end, error] = std::from_chars(power.data(), power.data() + power.size(), exponent);
    if (error != std::errc() || end != power.data() + power.size() || std::abs(exponent) > 400) return false;
    places -= exponent;
  }
  for (; places < 0; ++places) {
    if (digits > most / 10) return false;
    digits *= 10;
  }
  for (; places > 0 && digits % 10 == 0; --places) digits /= 10;  // 21.50 is 21.5
  if (places > kScaleMax || (negative && digits == 0)) return false;
  point->digits = static_cast<int64_t>(negative ? 0 - digits : digits);
  point->places = static_cast<uint8_t>(places);
  return true;
}

// A number's text as 0.DIGITS x 10^power, without zeros around the digits. None: it is zero, or no digits but a word.
struct Significant {
  std::string digits;
  int64_t power = 0;
  friend bool operator==(const Significant&, const Significant&) = default;
};

Significant significant(std::string_view text) {
  Significant found;
  if (text.starts_with('-')) text.remove_prefix(1);
  bool behind = false;
  size_t i = 0;
  for (; i < text.size() && (text[i] == '.' || (text[i] >= '0' && text[i] <= '9')); ++i) {
    if (text[i] == '.') {
      behind = true;
    } else if (found.digits.empty() && text[i] == '0') {
      found.power -= behind ? 1 : 0;
    } else {
      found.digits += text[i];
      found.power += behind ? 0 : 1;
    }
  }
  found.digits.resize(found.digits.find_last_not_of('0') + 1);
  if (found.digits.empty()) return {};
  if (i < text.size()) {
    std::string_view power = text.substr(i + 1);
    if (power.starts_with('+')) power.remove_prefix(1);
    int exponent = 0;  // one that is too large for this belongs to no double
    std::from_chars(power.data(), power.data() + power.size(), exponent);
    found.power += exponent;
  }
  return found;
}

// Whether `value`, read from `text`, has the digits of `text` when it is written with as many. So 0.1 and
// 0.10000000000000001 are the same double, and 9007199254740993 is none.
bool keeps_digits(double value, std::string_view text) {
  constexpr size_t kDigitsMax = 800;  // no double has more that are not zero
  if (std::isnormal(value) && text.size() <= std::numeric_limits<double>::digits10) return true;
  const Significant asked = significant(text);
  if (asked.digits.empty()) return true;
  if (!std::isfinite(value) || asked.digits.size() > kDigitsMax) return false;
  char written[kDigitsMax + 16];
  const auto end = std::to_chars(written, written + sizeof written, value, std::chars_format::scientific,
                                 static_cast<int>(asked.digits.size()) - 1)
                       .ptr;
  return significant({written, end}) == asked;
}

bool take_value(std::string_view text, CsvPoint* point) {
  if (take_nan(text, &point->f64)) return true;
  if (text == "NaN") {
    point->f64 = kUsualNan;
    return true;
  }
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.starts_with('+') || text.find('(') != std::string_view::npos) return false;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc::result_out_of_range) {
    // from_chars() leaves the value alone: too large, or too small to be anything but zero.
    value = std::strtod(std::string(text).c_str(), nullptr);
  } else if (error != std::errc()) {
    return false;
  }
  point->f64 = std::isnan(value) ? kUsualNan : std::bit_cast<uint64_t>(value);
  point->is_decimal = std::isfinite(value) && take_decimal(text, point);
  point->is_double = keeps_digits(value, text);
  return true;
}

bool take_line(std::string_view line, CsvPoint* point) {
  const size_t comma = line.find(',');
  if (comma == std::string_view::npos) return false;
  const std::string_view time = line.substr(0, comma);
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), point->time_ms);
  return error == std::errc() && end == time.data() + time.size() && take_value(line.substr(comma + 1), point);
}

}  // namespace

std::string value_text(ValueType type, uint8_t scale, uint64_t bits, F32Text f32) {
  if (type == ValueType::kF64) {
    const auto value = std::bit_cast<double>(bits);
    return std::isnan(value) && bits != kUsualNan ? nan_text(bits) : query::format_number(value);
  }
  if (type == ValueType::kF32) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (!std::isfinite(value)) {
      const bool other_nan = std::isnan(value) && bits != kUsualNan32;
      return other_nan ? nan_text(widened_nan(static_cast<uint32_t>(bits)))
                       : query::format_number(static_cast<double>(value));
    }
    if (f32 == F32Text::kDouble) return query::format_number(static_cast<double>(value));
    char text[32];
    return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
  }
  return decimal_text(static_cast<int64_t>(bits), type == ValueType::kDec ? scale : 0);
}

bool as_f32(uint64_t f64, F32Text text, uint32_t* bits) {
  const auto value = std::bit_cast<double>(f64);
  if (std::isnan(value)) {
    *bits = static_cast<uint32_t>(f64 >> 63 << 31 | 0x7F800000 | (f64 >> 29 & 0x7FFFFF));
    return widened_nan(*bits) == f64;
  }
  const auto narrow = static_cast<float>(value);
  *bits = std::bit_cast<uint32_t>(narrow);
  if (text == F32Text::kDouble || !std::isfinite(narrow)) {
    return std::bit_cast<uint64_t>(static_cast<double>(narrow)) == f64;
  }
  const std::string shortest = value_text(ValueType::kF32, 0, *bits);
  double again = 0;
  std::from_chars(shortest.data(), shortest.data() + shortest.size(), again);
  return std::bit_cast<uint64_t>(again) == f64;
}

Result<std::vector<CsvPoint>> parse_points_csv(const std::string& file, std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<CsvPoint> points;
  points.reserve(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1);
  uint32_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line == "timestamp_ms,value")) continue;
    CsvPoint point;
    if (!take_line(line, &point)) {
      return fail(ErrorCode::kInvalid,
                  file + ":" + std::to_string(number) + ": not timestamp_ms,value: " + std::string(line.substr(0, 80)));
    }
    point.line = number;
    points.push_back(point);
  }
  if (points.empty()) return fail(ErrorCode::kInvalid, file + ": no points are in it");
  return points;
}

Result<std::vector<CsvPoint>> read_points_csv(const std::string& file, Disk& disk) {
  auto text = disk.read_all(file, kCsvBytesMax);
  if (!text) return tl::unexpected(text.error());
  if (text->starts_with("\x1f\x8b")) {
    text = unpack_gzip(*text, kCsvBytesMax);
    if (!text) return fail(text.error().code, file + ": " + text.error().text);
  }
  return parse_points_csv(file, *text);
}

}  // namespace lambda::cli
