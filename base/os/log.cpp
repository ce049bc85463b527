#include "base/os/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <map>
#include <mutex>

namespace lambda {
namespace {

constexpr size_t kEventsMax = 1024;  // event names are constants; past this many their repeats are counted together

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

// Quoted as JSON has it. Bytes that are not UTF-8 are left alone in text and replaced in JSON by their number.
void append_quoted(std::string& line, std::string_view text) {
  line += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      fmt::format_to(std::back_inserter(line), "\\u{:04x}", byte);
    } else {
      line += c;
    }
  }
  line += '"';
}

// Length of the UTF-8 sequence at `at`, 0 if it is none.
size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first <= 0xDF   ? 2
                        : first >= 0xE0 && first <= 0xEF ? 3
                        : first >= 0xF0 && first <= 0xF4 ? 4
                                                         : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  const unsigned second = byte(at + 1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
      (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

std::string clean_utf8(std::string_view text) {
  std::string clean;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      fmt::format_to(std::back_inserter(clean), "<{:02x}>", static_cast<unsigned char>(text[i]));
      ++i;
    } else {
      clean.append(text.substr(i, length));
      i += length;
    }
  }
  return clean;
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7F) return true;
  }
  return false;
}

class LineLog final : public Log {
 public:
  LineLog(const LogOptions& options, const Clock& clock, std::function<void(std::string_view)> out)
      : options_(options), clock_(clock), out_(std::move(out)) {
    if (!out_) {
      auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
      sink->set_pattern("%v");
      logger_ = std::make_shared<spdlog::logger>("", std::move(sink));
    }
  }

  ~LineLog() override {
    std::lock_guard lock(mutex_);
    tell_suppressed(true);
  }

  void write(LogLevel level, std::string_view event, Fields fields) override {
    if (level < options_.level) return;
    std::lock_guard lock(mutex_);
    const int64_t now = clock_.mono_ms();
    if (now - swept_ms_ >= options_.window_ms) {
      tell_suppressed(false);
      swept_ms_ = now;
    }
    Repeats& repeats = repeats_of(event);
    uint64_t suppressed = 0;
    if (repeats.lines == 0 || now - repeats.since_ms >= options_.window_ms) {
      suppressed = repeats.suppressed;
      repeats = {now, 0, 0};
    }
    if (repeats.lines >= options_.repeats_max) {
      repeats.suppressed++;
      return;
    }
    repeats.lines++;
    emit(level, event, fields, suppressed);
  }

 private:
  struct Repeats {
    int64_t since_ms = 0;
    uint32_t lines = 0;
    uint64_t suppressed = 0;
  };

  Repeats& repeats_of(std::string_view event) {
    auto found = repeats_.find(event);
    if (found != repeats_.end()) return found->second;
    if (repeats_.size() >= kEventsMax) return repeats_["(other)"];
    return repeats_.emplace(std::string(event), Repeats{}).first->second;
  }

  // Counts whose window is over and that no further line of the event has told.
  void tell_suppressed(bool all) {
    const int64_t now = clock_.mono_ms();
    for (auto& [event, repeats] : repeats_) {
      if (repeats.suppressed == 0 || (!all && now - repeats.since_ms < options_.window_ms)) continue;
      const uint64_t count = std::exchange(repeats.suppressed, 0);
      emit(LogLevel::kWarn, "log_suppressed", {{"of", event}, {"count", count}}, 0);
    }
  }

  void emit(LogLevel level, std::string_view event, Fields fields, uint64_t suppressed) {
    const int64_t utc = clock_.utc_ms();
    const int64_t ms = ((utc % 1000) + 1000) % 1000;
    const auto seconds = static_cast<std::time_t>((utc - ms) / 1000);
    const std::string time = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), ms);
    const bool json = options_.format == LogFormat::kJson;
    std::string line = json ? fmt::format(R"({{"time":"{}","level":"{}","event":")", time, level_name(level)) : time;
    if (json) {
      line.append(event).append("\"");
    } else {
      fmt::format_to(std::back_inserter(line), " {} {}", level_name(level), event);
    }
    for (const LogField& field : fields) add(line, field, json);
    if (suppressed > 0) add(line, LogField("suppressed", suppressed), json);
    if (json) line += '}';
    if (out_) {
      out_(line);
    } else {
      logger_->log(spdlog::level::critical, spdlog::string_view_t(line.data(), line.size()));
    }
  }

  void add(std::string& line, const LogField& field, bool json) {
    if (json) {
      fmt::format_to(std::back_inserter(line), ",\"{}\":", field.name);
    } else {
      fmt::format_to(std::back_inserter(line), " {}=", field.name);
    }
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      std::string value = text->substr(0, options_.value_bytes_max);
      if (value.size() < text->size()) value += "...";
      value = clean_utf8(value);
      if (json || needs_quotes(value)) {
        append_quoted(line, value);
      } else {
        line += value;
      }
    } else if (const auto* number = std::get_if<double>(&field.value);
               number != nullptr && json && !std::isfinite(*number)) {
      append_quoted(line, fmt::format("{}", *number));
    } else {
      std::visit(
          [&](const auto& value) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, std::string>) line += fmt::format("{}", value);
          },
          field.value);
    }
  }

  const LogOptions options_;
  const Clock& clock_;
  const std::function<void(std::string_view)> out_;
  std::shared_ptr<spdlog::logger> logger_;
  std::mutex mutex_;
  int64_t swept_ms_ = 0;
  std::map<std::string, Repeats, std::less<>> repeats_;
};

}  // namespace

LogOptions log_options(const LogSettings& settings) {
  LogOptions options;
  if (settings.level == "debug") options.level = LogLevel::kDebug;
  if (settings.level == "warn") options.level = LogLevel::kWarn;
  if (settings.level == "error") options.level = LogLevel::kError;
  if (settings.format == "json") options.format = LogFormat::kJson;
  return options;
}

std::unique_ptr<Log> make_log(const LogOptions& options, const Clock& clock,
                              std::function<void(std::string_view)> out) {
  return std::make_unique<LineLog>(options, clock, std::move(out));
}

}  // namespace lambda
