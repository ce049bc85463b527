#include "agent/scrape/exposition.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "agent/source/text.h"

namespace lambda::agent {
namespace {

constexpr int64_t kTimeMsMax = int64_t{1} << 52;
constexpr size_t kNumberBytesMax = 400;  // 1e308 written out, and some

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Takes a name off `text`; empty when there is none.
std::string_view take_name(std::string_view& text, bool colons) {
  size_t end = 0;
  while (end < text.size() &&
         (is_letter(text[end]) || (colons && text[end] == ':') || (end > 0 && is_digit(text[end])))) {
    ++end;
  }
  const std::string_view name = text.substr(0, end);
  text.remove_prefix(end);
  return name;
}

void skip_blanks(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

bool take_one(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

// Takes labels with their closing brace off `text`, which begins behind the opening one, and shows each to `use` as it
// is written. What is wrong, or null.
template <class Use>
const char* take_labels(std::string_view& text, Use&& use) {
  for (;;) {
    skip_blanks(text);
    if (take_one(text, '}')) return nullptr;
    const std::string_view name = take_name(text, false);
    if (name.empty()) return "a label's name was expected";
    skip_blanks(text);
    if (!take_one(text, '=')) return "a label without '='";
    skip_blanks(text);
    if (!take_one(text, '"')) return "a label's value without its opening quote";
    size_t end = 0;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return "a label's value without its closing quote";
    use(name, text.substr(0, end));
    text.remove_prefix(end + 1);
    skip_blanks(text);
    if (take_one(text, ',')) continue;
    if (!take_one(text, '}')) return "labels without ',' between them or '}' behind them";
    return nullptr;
  }
}

std::string unescaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
    } else if (text[i + 1] == 'n') {
      out += '\n';
      ++i;
    } else if (text[i + 1] == '\\' || text[i + 1] == '"') {
      out += text[++i];
    } else {
      out += text[i];  // an escape that there is not stands for itself
    }
  }
  return out;
}

std::optional<double> number_of(std::string_view word) {
  if (word.size() > kNumberBytesMax) return std::nullopt;
  std::string_view digits = word;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits.front() == '+' || digits.back() == ')') return std::nullopt;  // "nan(...)" is C's
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument) return std::nullopt;
  // Too large or too small for a double: infinite or next to nothing, as everybody reads it.
  if (error == std::errc::result_out_of_range) return std::strtod(std::string(digits).c_str(), nullptr);
  return value;
}

std::string_view type_name(std::string_view word, ExpositionFormat format) {
  static constexpr std::array<std::string_view, 5> kText = {"counter", "gauge", "histogram", "summary", "untyped"};
  static constexpr std::array<std::string_view, 8> kOpenMetrics = {"counter",  "gauge", "histogram", "gaugehistogram",
                                                                   "stateset", "info",  "summary",   "unknown"};
  const auto known = [&](const auto& names) {
    for (const std::string_view name : names) {
      if (name == word) return true;
    }
    return false;
  };
  return (format == ExpositionFormat::kText ? known(kText) : known(kOpenMetrics)) ? word : std::string_view();
}

// What stands behind the family's name; none: the name is another family's.
std::optional<std::string_view> suffix_of(std::string_view family, std::string_view name) {
  if (family.empty() || !name.starts_with(family)) return std::nullopt;
  const std::string_view suffix = name.substr(family.size());
  for (const std::string_view known :
       {"", "_total", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_info"}) {
    if (suffix == known) return suffix;
  }
  return std::nullopt;
}

}  // namespace

Result<ExpositionFormat> exposition_format(std::string_view content_type) {
  const std::string_view media = content_type.substr(0, content_type.find(';'));
  if (media.starts_with("application/openmetrics-text")) return ExpositionFormat::kOpenMetrics;
  if (media.starts_with("application/vnd.google.protobuf") || media.starts_with("text/html")) {
    return fail(ErrorCode::kUnsupported, "the answer is " + std::string(media.substr(0, 60)) +
                                             "; expected text/plain or application/openmetrics-text");
  }
  return ExpositionFormat::kText;
}

tl::unexpected<Error> ExpositionReader::wrong(std::string_view what) const {
  return fail(ErrorCode::kInvalid, "line " + std::to_string(line_) + ": " + std::string(what));
}

Result<ExpositionReader::Item> ExpositionReader::ended() {
  if (format_ == ExpositionFormat::kOpenMetrics && !eof_) return wrong("the text ends without # EOF: it was cut");
  return Item::kEnd;
}

Result<ExpositionReader::Item> ExpositionReader::next() {
  while (!rest_.empty()) {
    ++line_;
    const size_t end = rest_.find('\n');
    // OpenMetrics' last line needs no end: it says itself that it is the last one.
    if (end == std::string_view::npos && !(format_ == ExpositionFormat::kOpenMetrics && rest_ == "# EOF")) {
      return wrong("the last line has no end: the text was cut");
    }
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (eof_) return wrong("there is more behind # EOF");
    if (format_ == ExpositionFormat::kText) {
      if (line.ends_with('\r')) line.remove_suffix(1);
      skip_blanks(line);
      if (line.empty()) continue;
    }
    if (line.starts_with('#')) {
      Item item{};
      const auto says = comment(line, &item);
      if (!says) return tl::unexpected(says.error());
      if (*says) return item;
      continue;
    }
    if (const char* why = read_sample(line)) return wrong(why);
    return Item::kSample;
  }
  return ended();
}

// Whether the comment says something; `item` what.
Result<bool> ExpositionReader::comment(std::string_view line, Item* item) {
  const bool open_metrics = format_ == ExpositionFormat::kOpenMetrics;
  if (open_metrics && line == "# EOF") {
    eof_ = true;
    return false;
  }
  line.remove_prefix(1);
  const std::string_view keyword = take_field(line);
  const bool type = keyword == "TYPE", help = keyword == "HELP", unit = open_metrics && keyword == "UNIT";
  if (!type && !help && !unit) {
    if (open_metrics) return wrong("a comment is # TYPE, # HELP, # UNIT or # EOF");
    return false;  // a remark
  }
  skip_blanks(line);
  family_ = take_name(line, true);
  if (family_.empty() || (!line.empty() && !is_blank(line.front()))) return wrong("a metric's name was expected");
  skip_blanks(line);
  words_ = line;
  if (help) {
    *item = Item::kHelp;
    return true;
  }
  words_ = take_field(line);
  if (!take_field(line).empty()) return wrong("one word was expected behind the metric's name");
  if (type && type_name(words_, format_).empty()) {
    return wrong("\"" + std::string(words_.substr(0, 40)) + "\" is no type of a metric");
  }
  *item = type ? Item::kType : Item::kUnit;
  return true;
}

const char* ExpositionReader::read_time(std::string_view word) {
  sample_.timed = true;
  if (format_ == ExpositionFormat::kText) {
    const auto time_ms = to_number(word);
    if (!time_ms || std::abs(*time_ms) > kTimeMsMax) return "a time is a whole number of milliseconds";
    sample_.time_ms = *time_ms;
    return nullptr;
  }
  const auto seconds = number_of(word);
  if (!seconds || !(std::fabs(*seconds) <= static_cast<double>(kTimeMsMax) / 1000)) {
    return "a time is a number of seconds";
  }
  sample_.time_ms = std::llround(*seconds * 1000);
  return nullptr;
}

// `{labels} value [time]`; `rest` begins behind the '#'.
const char* ExpositionReader::read_exemplar(std::string_view rest) {
  skip_blanks(rest);
  if (!take_one(rest, '{')) return "an exemplar has labels";
  if (const char* why = take_labels(rest, [](std::string_view, std::string_view) {})) return why;
  if (!number_of(take_field(rest))) return "an exemplar has a value";
  const std::string_view time = take_field(rest);
  if (!time.empty() && !number_of(time)) return "an exemplar's time is a number of seconds";
  return take_field(rest).empty() ? nullptr : "more than an exemplar has";
}

const char* ExpositionReader::read_sample(std::string_view line) {
  const char* begin = line.data();
  sample_ = {};
  sample_.name = take_name(line, true);
  if (sample_.name.empty()) return "a metric's name was expected";
  sample_.series = sample_.name;
  std::string_view rest = line;
  skip_blanks(rest);
  if (take_one(rest, '{')) {
    const char* labels = rest.data();
    if (const char* why = take_labels(rest, [](std::string_view, std::string_view) {})) return why;
    sample_.labels = std::string_view(labels, static_cast<size_t>(rest.data() - labels - 1));
    sample_.series = std::string_view(begin, static_cast<size_t>(rest.data() - begin));
    line = rest;
  } else if (line.empty() || !is_blank(line.front())) {
    return "a metric's name is [a-zA-Z_:][a-zA-Z0-9_:]*, then come labels in braces or a blank";
  }
  const auto value = number_of(take_field(line));
  if (!value) return "a value was expected";
  sample_.value = *value;
  std::string_view word = take_field(line);
  if (!word.empty() && word != "#") {
    if (const char* why = read_time(word)) return why;
    word = take_field(line);
  }
  if (word.empty()) return nullptr;
  if (word != "#" || format_ == ExpositionFormat::kText) return "more than a value and a time";
  return read_exemplar(line);
}

LabelList exposition_labels(std::string_view labels) {
  LabelList out;
  std::string text(labels);
  text += '}';
  std::string_view rest = text;
  take_labels(rest, [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out.emplace_back(std::string(name), unescaped(value));
  });
  return out;
}

std::string exposition_help(std::string_view words, size_t bytes_max) {
  std::string out = unescaped(words.substr(0, 2 * bytes_max));
  if (out.size() <= bytes_max) return out;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<uint8_t>(out[end]) >> 6) == 2) --end;  // not within a character
  out.resize(end);
  return out;
}

bool exposition_belongs(std::string_view family, std::string_view name) {
  return suffix_of(family, name).has_value();
}

Kind exposition_kind(std::string_view type, std::string_view family, std::string_view name) {
  const auto suffix = suffix_of(family, name);
  if (!suffix || *suffix == "_created") return Kind::kGauge;
  if (type == "counter") return Kind::kCounter;
  const bool counted = *suffix == "_bucket" || *suffix == "_count" || *suffix == "_sum";
  return (type == "histogram" || type == "summary") && counted ? Kind::kCounter : Kind::kGauge;
}

}  // namespace lambda::agent
