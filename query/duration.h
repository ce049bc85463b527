// Durations as PromQL writes them: 5m, 1h30m, 1y2w3d4h5m6s7ms; units fall, each stands once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lambda::query {

// The longest duration, about 292 years: what 64 bits of nanoseconds hold.
inline constexpr int64_t kDurationMsMax = INT64_MAX / 1'000'000;

// Milliseconds; a year is 365 days. kInvalid says what is wrong with it.
Result<int64_t> parse_duration_ms(std::string_view text);
// The shortest such text; "0s" for 0. Not negative.
std::string format_duration_ms(int64_t duration_ms);

}  // namespace lambda::query
