// Points from CSV: `timestamp_ms,value` a line, as `lambda block pack` takes them and `block unpack` prints them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"
#include "lambda/point.h"

namespace lambda::cli {

inline constexpr uint64_t kCsvBytesMax = uint64_t{1} << 30;  // unpacked

// A line: its time, its value as the nearest double, and, where the text is a decimal of at most 18 places that a
// 64-bit integer holds, that decimal.
struct CsvPoint {
  int64_t time_ms = 0;
  uint64_t f64 = 0;
  int64_t digits = 0;  // the value is digits x 10^-places
  uint32_t line = 0;   // 1 is the first
  uint8_t places = 0;
  bool is_decimal = false;  // -0 is none: an integer does not tell it from 0
  bool is_double = true;    // f64, written with as many digits as the text has, gives those digits
};

// Reads the file, unpacking it if it is gzip's. Its first line may be a heading, and a byte order mark before it.
// Errors name file and line.
Result<std::vector<CsvPoint>> read_points_csv(const std::string& file, Disk& disk);
Result<std::vector<CsvPoint>> parse_points_csv(const std::string& file, std::string_view text);

// How the text of a float of 32 bits is meant: 0.1 as the float nearest to it, or as the double that the float is,
// 0.10000000149011612.
enum class F32Text : uint8_t { kFloat, kDouble };

// The float that a value read from text is, so that value_text() gives back `f64`; false: there is none.
bool as_f32(uint64_t f64, F32Text text, uint32_t* bits);

// A value as read_points_csv() reads it back, bit for bit: NaNs with other bits than the usual ones have them behind.
std::string value_text(ValueType type, uint8_t scale, uint64_t bits, F32Text f32 = F32Text::kFloat);

}  // namespace lambda::cli
