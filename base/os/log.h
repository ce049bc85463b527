// Log lines on standard error: text (time level event key=value ...) or one JSON object a line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/config/program_keys.h"
#include "base/env/clock.h"
#include "base/log.h"

namespace lambda {

enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;  // and above
  LogFormat format = LogFormat::kText;
  // Of one event at most this many lines in each window; the rest is counted and the count is in the next line of that
  // event, or in a line of its own ("log_suppressed") when the window is over.
  uint32_t repeats_max = 20;
  int64_t window_ms = 10'000;
  size_t value_bytes_max = 2048;  // longer values are cut, with "..." behind
};

// What the settings say; a word that log_keys() does not allow leaves the default.
LogOptions log_options(const LogSettings& settings);

// Thread-safe. `clock` must outlive it. `out` gets whole lines without the newline; empty: standard error.
std::unique_ptr<Log> make_log(const LogOptions& options, const Clock& clock,
                              std::function<void(std::string_view)> out = {});

}  // namespace lambda
