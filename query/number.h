// Numbers and times as Prometheus' HTTP interface writes and reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lambda::query {

// The shortest decimal that reads back as the same value: "1.5", "1e+21", "NaN", "+Inf", "-Inf".
void append_number(std::string& out, double value);
std::string format_number(double value);

// The same without an exponent, however long: "100000000000000000000000".
std::string plain_decimal(double value);

// Seconds since 1970, with three decimals only where they are needed: "1700000000", "1700000000.250".
void append_seconds(std::string& out, int64_t time_ms);

// Decimal, hexadecimal (0x1f), with an exponent, with underscores between digits, Inf or NaN in any case, a sign before
// all of it. The whole text must be the number.
Result<double> parse_number(std::string_view text);

// RFC 3339 ("2026-11-21T10:00:00.5Z", "...+01:00") or seconds since 1970 ("1700000000.25"). Milliseconds UTC.
Result<int64_t> parse_time_ms(std::string_view text);

// RFC 3339 in UTC with milliseconds.
std::string format_time(int64_t time_ms);

}  // namespace lambda::query
