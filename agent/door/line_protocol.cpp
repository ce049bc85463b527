#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "agent/door/text_formats.h"

namespace lambda::agent {
namespace {

constexpr size_t kShownMax = 40;          // of a client's text in an error
constexpr size_t kQuotedMax = 64u << 10;  // of a line that is looked at for quotes around its line breaks
// Of one line. What a series may not have is refused before it is read any further: each field is a series with all of
// the line's tags, so a line costs tags times fields.
constexpr size_t kTagsMax = 32;
constexpr size_t kTextMax = 1024;  // a name or a tag's value
constexpr size_t kFieldsMax = 1024;

std::string shown(std::string_view text) {
  return std::string(text.substr(0, kShownMax));
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// One line; takes it apart from the left. A backslash before one of `special` stands for that character.
class Line {
 public:
  explicit Line(std::string_view text) : text_(text) {}

  // Up to the first of `ends` that is not escaped, which stays.
  std::string take(std::string_view ends, std::string_view special) {
    std::string out;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && special.find(text_[at_ + 1]) != std::string_view::npos) {
        out += text_[++at_];
      } else if (ends.find(text_[at_]) != std::string_view::npos) {
        break;
      } else {
        out += text_[at_];
      }
    }
    return out;
  }
  bool take_one(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  // A text in quotes; false without its end.
  bool take_quoted() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }
  void skip_blanks() {
    while (take_one(' ')) {
    }
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool ended() const { return at_ >= text_.size(); }
  std::string_view rest() const { return text_.substr(at_); }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// A field's value, as a number; none for what is no number, with the reason.
std::optional<double> value_of(std::string_view text, FeedBatch& batch, std::string* why) {
  if (text == "t" || text == "T" || text == "true" || text == "True" || text == "TRUE") return 1.0;
  if (text == "f" || text == "F" || text == "false" || text == "False" || text == "FALSE") return 0.0;
  std::optional<double> value;
  if (text.ends_with('i')) {
    if (const auto whole = number_of<int64_t>(text.substr(0, text.size() - 1))) value = double_of(*whole, batch);
  } else if (text.ends_with('u')) {
    if (const auto whole = number_of<uint64_t>(text.substr(0, text.size() - 1))) value = double_of(*whole, batch);
  } else {
    value = number_of<double>(text);
  }
  if (value && !std::isfinite(*value)) value.reset();
  if (!value) *why = "is no number: " + shown(text);
  return value;
}

struct Field {
  std::string name;
  double value;
};

// Reads one line and gives it to the batch; the reason why all of it is refused, or nothing.
std::string read_line(std::string_view text, uint64_t number, int64_t unit_ns, int64_t now_ms, FeedBatch& batch) {
  Line line(text);
  const std::string measurement = line.take(", ", ", \\");
  if (measurement.empty()) return "a measurement is missing";
  if (measurement.size() > kTextMax) return "measurement over 1024 bytes: " + shown(measurement);
  LabelList labels;
  while (line.take_one(',')) {
    std::string name = line.take(",= ", ",= \\");
    if (name.empty() || !line.take_one('=')) return "tag without a value: " + shown(name);
    std::string value = line.take(",= ", ",= \\");
    if (value.empty()) return "tag without a value: " + shown(name);
    if (labels.size() >= kTagsMax) return "more than " + std::to_string(kTagsMax) + " tags";
    if (std::max(name.size(), value.size()) > kTextMax) return "tag over 1024 bytes: " + shown(name);
    labels.emplace_back(plain_name(name, false), std::move(value));
  }
  std::vector<LabelList::value_type> sorted = labels;
  std::sort(sorted.begin(), sorted.end());
  const auto twice =
      std::adjacent_find(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != sorted.end()) return "two tags are called " + shown(twice->first);
  line.skip_blanks();
  std::vector<Field> fields;
  std::string refused;
  do {
    std::string name = line.take(",= ", ",= \\");
    if (name.empty() || !line.take_one('=')) return "field without a value: " + shown(name);
    if (name.size() > kTextMax) return "field over 1024 bytes: " + shown(name);
    if (fields.size() >= kFieldsMax) return "more than " + std::to_string(kFieldsMax) + " fields";
    if (line.peek() == '"') {
      if (!line.take_quoted()) return "field " + shown(name) + ": a quote is not closed";
      refused = "field " + shown(name) + " is a text";
      continue;
    }
    const std::string value = line.take(", ", "");
    std::string why;
    if (const auto read = value_of(value, batch, &why)) {
      fields.push_back({std::move(name), *read});
    } else {
      refused = "field " + shown(name) + " " + why;
    }
  } while (line.take_one(','));
  line.skip_blanks();
  int64_t time_ms = now_ms;
  if (line.ended()) {
    batch.time_was_missing();
  } else {
    std::string_view rest = line.rest();
    while (rest.ends_with(' ')) rest.remove_suffix(1);
    const auto stamp = number_of<int64_t>(rest);
    if (!stamp) return "a timestamp is no whole number: " + shown(rest);
    if (unit_ns >= 1'000'000) {
      const int64_t factor = unit_ns / 1'000'000;
      if (*stamp > INT64_MAX / factor || *stamp < INT64_MIN / factor) return "a timestamp is too large";
      time_ms = *stamp * factor;
    } else {
      time_ms = *stamp / (1'000'000 / unit_ns);
    }
  }
  for (Field& field : fields) {
    SeriesSpec series;
    series.name = plain_name(measurement, true);
    if (field.name != "value") series.name += "_" + plain_name("_" + field.name, true).substr(1);
    series.labels = labels;
    batch.add(number, std::move(series), time_ms, field.value);
  }
  if (!refused.empty()) batch.refuse(number, std::move(refused));
  return {};
}

// The end of a line: a line break that is not inside a field's quoted text. Quotes elsewhere, in comments, names and
// tags, are characters like others.
size_t line_end(std::string_view body) {
  enum class At { kTags, kFieldName, kFieldValue, kInValue, kQuoted, kTime } at = At::kTags;
  const size_t begin = std::min(body.find_first_not_of(' '), body.size());
  if (begin < body.size() && body[begin] == '#') return body.find('\n');
  const size_t end = std::min(body.size(), kQuotedMax);
  for (size_t i = begin; i < end; ++i) {
    const char c = body[i];
    if (c == '\n' && at != At::kQuoted) return i;
    const bool escapes = at == At::kTags || at == At::kFieldName || at == At::kQuoted;
    if (c == '\\' && escapes && (at == At::kQuoted || (i + 1 < end && body[i + 1] != '\n'))) {
      ++i;
    } else if (at == At::kQuoted) {
      if (c == '"') at = At::kInValue;
    } else if (at == At::kTags) {
      if (c == ' ') at = At::kFieldName;
    } else if (at == At::kFieldName) {
      if (c == '=') at = At::kFieldValue;
    } else if (at == At::kFieldValue || at == At::kInValue) {
      const bool opens = c == '"' && at == At::kFieldValue;
      at = opens ? At::kQuoted : c == ',' ? At::kFieldName : c == ' ' ? At::kTime : At::kInValue;
    }
  }
  // A quote that stays open must not swallow the lines behind it.
  return at == At::kQuoted || body.size() > kQuotedMax ? body.find('\n') : std::string_view::npos;
}

}  // namespace

std::string plain_name(std::string_view text, bool colons) {
  std::string out;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (out.empty() && digit) out += '_';
    out += letter || digit || c == '_' || (colons && c == ':') ? c : '_';
  }
  return out;
}

void read_line_protocol(std::string_view body, int64_t unit_ns, int64_t now_ms, FeedBatch& batch) {
  for (uint64_t number = 1; !body.empty() && !batch.too_large(); ++number) {
    const size_t end = line_end(body);
    std::string_view text = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    while (text.starts_with(' ')) text.remove_prefix(1);
    if (text.empty() || text.starts_with('#')) continue;
    if (std::string why = read_line(text, number, unit_ns, now_ms, batch); !why.empty()) {
      batch.refuse(number, std::move(why));
    }
  }
}

}  // namespace lambda::agent
