#include "cli/cep_events.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace lambda::cli {
namespace {

using cep::Type;
using cep::Value;
using nlohmann::json;

constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kLineBytesMax = 16 << 20;

json parse(std::string_view line) {
  return json::parse(line, nullptr, false);
}

// Nothing: the value is not of the column's type.
std::optional<Value> to_value(const json& value, Type type, cep::Symbols& symbols) {
  if (value.is_null()) {
    return Value::null();
  }
  switch (type) {
    case Type::kText:
      if (value.is_string()) {
        if (const auto text = symbols.try_intern(value.get_ref<const std::string&>())) {
          return Value::of_text(*text);
        }
      }
      break;
    case Type::kBool:
      if (value.is_boolean()) {
        return Value::of_bool(value.get<bool>());
      }
      break;
    case Type::kInt:
      if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        break;
      }
      if (value.is_number_integer()) {
        return Value::of_int(value.get<int64_t>());
      }
      break;
    default:
      if (value.is_number()) {
        return Value::of_double(value.get<double>());
      }
      if (value == "NaN") {
        return Value::of_double(std::nan(""));
      }
      if (value == "Infinity" || value == "-Infinity") {
        return Value::of_double(value == "Infinity" ? INFINITY : -INFINITY);
      }
      break;
  }
  return std::nullopt;
}

// Empty, or what is wrong. `no_room`: only that there is no room for a new text.
std::string columns_of(const json& fields, const std::vector<cep::ColumnSchema>& columns, cep::Symbols& symbols,
                       std::vector<Value>& out, bool& no_room) {
  out.assign(columns.size(), Value::null());
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto found = fields.find(columns[i].name);
    if (found == fields.end()) {
      continue;
    }
    const auto value = to_value(*found, columns[i].type, symbols);
    if (!value && columns[i].type == Type::kText && found->is_string()) {
      no_room = true;
      return columns[i].name + ": there is no room for more new texts";
    }
    if (!value) {
      return columns[i].name + " is not " + type_name(columns[i].type);
    }
    out[i] = *value;
  }
  return "";
}

// A time in ms; nothing when it is not one.
std::optional<int64_t> time_of(const json& value) {
  const auto time = value.is_number_integer() ? std::optional(value.get<int64_t>()) : std::nullopt;
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(cep::kEventTimeMax);
  return time && !huge && *time >= -cep::kEventTimeMax && *time <= cep::kEventTimeMax ? time : std::nullopt;
}

void append_text(std::string& out, std::string_view text) {
  out += json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

void append_double(std::string& out, double d) {
  if (!std::isfinite(d)) {
    out += std::isnan(d) ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return;
  }
  char text[40];
  constexpr double kExactMax = 9007199254740992.0;  // 2^53: above, digits would claim what a double does not know
  const bool whole = d == std::floor(d) && std::abs(d) <= kExactMax;
  const auto end =
      whole ? std::to_chars(text, std::end(text), static_cast<int64_t>(d)) : std::to_chars(text, std::end(text), d);
  out.append(text, end.ptr);
}

void append_value(std::string& out, const Value& value, cep::Symbols& symbols) {
  switch (value.type) {
    case Type::kNull:
      out += "null";
      break;
    case Type::kBool:
      out += value.b ? "true" : "false";
      break;
    case Type::kInt:
      out += std::to_string(value.i);
      break;
    case Type::kDouble:
      append_double(out, value.d);
      break;
    case Type::kText:
      append_text(out, symbols.text(value.text));
      break;
    case Type::kList: {
      char between = '[';
      for (const Value& element : list_elements(value, symbols)) {
        out += between;
        append_value(out, element, symbols);
        between = ',';
      }
      out += between == '[' ? "[]" : "]";
      break;
    }
  }
}

}  // namespace

CepLine read_cep_line(std::string_view line, const cep::Catalog& catalog, cep::Symbols& symbols) {
  CepLine out;
  const json parsed = parse(line);
  const auto bad = [&](std::string why) {
    out.error = std::move(why);
    return std::move(out);
  };
  if (!parsed.is_object()) {
    return bad("not a JSON object");
  }
  if (const auto advance = parsed.find("advance_to"); advance != parsed.end()) {
    const auto t = time_of(*advance);
    if (!t) {
      return bad("advance_to is not a time in milliseconds");
    }
    out.kind = CepLine::Kind::kAdvance;
    out.t = *t;
    return out;
  }
  const auto t = parsed.contains("t") ? time_of(parsed["t"]) : std::nullopt;
  if (!t) {
    return bad("t is not a time in milliseconds");
  }
  out.t = *t;
  if (parsed.contains("at") && !parsed["at"].is_null()) {
    out.at = time_of(parsed["at"]);
    if (!out.at) {
      return bad("at is not a time in milliseconds");
    }
  }
  if (!parsed.contains("stream") || !parsed["stream"].is_string()) {
    return bad("stream is not a name");
  }
  const std::string& name = parsed["stream"].get_ref<const std::string&>();
  const cep::StreamSchema* stream = catalog.find_stream(name);
  if (stream == nullptr || stream->rule) {
    return bad("unknown stream " + name);
  }
  out.stream = stream->id;
  const json fields = parsed.contains("fields") ? parsed["fields"] : json::object();
  if (!fields.is_object()) {
    return bad("fields is not an object");
  }
  bool no_room = false;
  if (std::string wrong = columns_of(fields, stream->columns, symbols, out.columns, no_room); !wrong.empty()) {
    out.kind = no_room ? CepLine::Kind::kNoRoom : CepLine::Kind::kBad;
    return bad(std::move(wrong));
  }
  out.kind = CepLine::Kind::kEvent;
  return out;
}

Result<std::vector<Value>> read_cep_row(std::string_view line, const cep::TableSchema& table, cep::Symbols& symbols) {
  const json parsed = parse(line);
  std::vector<Value> row;
  bool no_room = false;
  const std::string wrong =
      parsed.is_object() ? columns_of(parsed, table.columns, symbols, row, no_room) : "not a JSON object";
  if (!wrong.empty()) {
    return fail(ErrorCode::kInvalid, wrong);
  }
  return row;
}

std::string write_cep_stats(const std::string& rule, const cep::RuleCounters& counters) {
  const nlohmann::ordered_json line{{"stats", "rule"},
                                    {"rule", rule},
                                    {"events", counters.events},
                                    {"outputs", counters.outputs},
                                    {"late_dropped", counters.late_dropped},
                                    {"null_keys", counters.null_keys},
                                    {"keys_rejected", counters.keys_rejected},
                                    {"keys_forgotten", counters.keys_forgotten},
                                    {"forced_release", counters.forced_release},
                                    {"runs_expired", counters.runs_expired},
                                    {"runs_dropped", counters.runs_dropped},
                                    {"captures_dropped", counters.captures_dropped},
                                    {"state_dropped", counters.state_dropped},
                                    {"state_refused", counters.state_refused},
                                    {"ticks_skipped", counters.ticks_skipped}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string write_cep_stats(const cep::EngineCounters& counters, uint64_t lines_dropped) {
  const nlohmann::ordered_json line{{"stats", "engine"},
                                    {"events", counters.events},
                                    {"lines_dropped", lines_dropped},
                                    {"guarded", counters.guarded},
                                    {"timelines_rejected", counters.timelines_rejected},
                                    {"texts_refused", counters.texts_refused}};
  return line.dump();
}

std::string write_cep_output(const cep::Output& output, const cep::RulePlan& rule, cep::Symbols& symbols) {
  std::string out = "{\"rule\":";
  append_text(out, rule.name);
  out += ",\"t\":" + std::to_string(output.t) + ",\"kind\":\"" + output_kind_name(output.kind) + "\",\"fields\":{";
  if (output.kind == cep::OutputKind::kLimit) {
    out += std::string("\"bound\":\"") + bound_name(output.bound) + "\",\"max\":" + std::to_string(output.max) +
           ",\"dropped\":" + std::to_string(output.dropped);
  }
  for (size_t i = 0; i < output.fields.size(); ++i) {
    if (i > 0) {
      out += ',';
    }
    append_text(out, rule.items[i].name);
    out += ':';
    append_value(out, output.fields[i], symbols);
  }
  out += output.late ? "},\"late\":true,\"on_input\":" : "},\"late\":false,\"on_input\":";
  out += output.on_input < 0 ? "null" : std::to_string(output.on_input);
  out += '}';
  return out;
}

Status for_each_line(Disk& disk, const std::string& path, const std::function<bool(uint64_t, std::string_view)>& line) {
  std::string rest;
  std::vector<std::byte> chunk(kChunkBytes);
  uint64_t offset = 0;
  uint64_t number = 0;
  const auto hand_over = [&](std::string_view text) {
    ++number;
    return text.find_first_not_of(" \t\r") == std::string_view::npos || line(number, text);
  };
  for (;;) {
    const auto got = disk.read(path, offset, chunk);
    if (!got) {
      return tl::unexpected(got.error());
    }
    offset += *got;
    rest.append(reinterpret_cast<const char*>(chunk.data()), *got);
    size_t begin = 0;
    for (size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', begin)) {
      if (!hand_over(std::string_view(rest).substr(begin, end - begin))) {
        return {};
      }
      begin = end + 1;
    }
    rest.erase(0, begin);
    if (*got == 0) {
      if (!rest.empty()) {
        (void)hand_over(rest);
      }
      return {};
    }
    if (rest.size() > kLineBytesMax) {
      return fail(ErrorCode::kInvalid, path + ":" + std::to_string(number + 1) + ": a line is longer than " +
                                           std::to_string(kLineBytesMax) + " bytes");
    }
  }
}

}  // namespace lambda::cli
