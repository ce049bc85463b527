#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "agent/door/text_formats.h"

namespace lambda::agent {
namespace {

using Json = nlohmann::json;

constexpr int64_t kTimeMax = int64_t{1} << 52;  // milliseconds; what a double holds
constexpr int kDepthMax = 64;                   // a line needs two levels; deep ones would be parsed by recursion

// How deep braces and brackets go, those inside texts left out.
int depth_of(std::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '\\') {
      ++at;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '{' || c == '[')) {
      deepest = std::max(deepest, ++depth);
    } else if (!quoted && (c == '}' || c == ']')) {
      --depth;
    }
  }
  return deepest;
}

// The reason why the line is refused, or nothing.
std::string read_labels(const Json& value, LabelList* labels) {
  if (!value.is_object()) return "labels is not an object";
  for (const auto& [name, text] : value.items()) {
    if (!text.is_string()) return "label " + name + " is not a text";
    labels->emplace_back(name, text.get<std::string>());
  }
  return {};
}

std::string read_time(const Json& value, std::optional<int64_t>* time_ms) {
  if (!value.is_number()) return "t is not a number of milliseconds";
  const double number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > static_cast<double>(kTimeMax)) {
    return "t is not a whole number of milliseconds";
  }
  *time_ms = value.get<int64_t>();
  return {};
}

double number_of(const Json& value, FeedBatch& batch) {
  if (value.is_number_unsigned()) return double_of(value.get<uint64_t>(), batch);
  if (value.is_number_integer()) return double_of(value.get<int64_t>(), batch);
  return value.get<double>();
}

std::string read_line(const Json& line, std::optional<int64_t>* time_ms, SeriesSpec* series, Json* value) {
  if (!line.is_object()) return "a line is one JSON object";
  bool has_value = false;
  for (const auto& [name, member] : line.items()) {
    std::string why;
    if (name == "name") {
      if (!member.is_string()) return "name is not a text";
      series->name = member.get<std::string>();
    } else if (name == "labels") {
      why = read_labels(member, &series->labels);
    } else if (name == "t") {
      why = read_time(member, time_ms);
    } else if (name == "value") {
      if (!member.is_number()) return "value is not a number";
      *value = member;
      has_value = true;
    } else if (name == "kind") {
      if (member != "gauge" && member != "counter") return "kind is gauge or counter";
      series->kind = member == "counter" ? Kind::kCounter : Kind::kGauge;
    } else if (name == "unit") {
      if (!member.is_string()) return "unit is not a text";
      series->unit = member.get<std::string>();
    } else {
      why = "there is no " + name.substr(0, 40) + "; a line has name, labels, t, value, kind, unit";
    }
    if (!why.empty()) return why;
  }
  if (series->name.empty()) return "name is missing";
  return has_value ? "" : "value is missing";
}

}  // namespace

void read_json_lines(std::string_view body, int64_t now_ms, FeedBatch& batch) {
  for (uint64_t number = 1; !body.empty() && !batch.too_large(); ++number) {
    const size_t end = body.find('\n');
    std::string_view text = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    const Json line = depth_of(text) > kDepthMax ? Json(Json::value_t::discarded) : Json::parse(text, nullptr, false);
    if (line.is_discarded()) {
      batch.refuse(number, "not JSON");
      continue;
    }
    SeriesSpec series;
    std::optional<int64_t> time_ms;
    Json value;
    if (std::string why = read_line(line, &time_ms, &series, &value); !why.empty()) {
      batch.refuse(number, std::move(why));
    } else {
      if (!time_ms) batch.time_was_missing();
      batch.add(number, std::move(series), time_ms.value_or(now_ms), number_of(value, batch));
    }
  }
}

}  // namespace lambda::agent
