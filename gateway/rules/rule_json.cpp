#include "gateway/rules/rule_json.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "query/json.h"

namespace lambda::gateway {
namespace {

using cep::Type;
using cep::Value;
using nlohmann::json;

std::string double_text(double d) {
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
  constexpr double kExactMax = 9007199254740992.0;  // 2^53: above, digits would claim what a double does not know
  char text[40];
  const bool whole = d == std::floor(d) && std::abs(d) <= kExactMax;
  const auto end =
      whole ? std::to_chars(text, std::end(text), static_cast<int64_t>(d)) : std::to_chars(text, std::end(text), d);
  return {text, end.ptr};
}

// Nothing: not of the column's type.
std::optional<Value> to_value(const json& value, Type type, cep::Symbols& symbols) {
  if (value.is_null()) return Value::null();
  if (type == Type::kText && value.is_string()) {
    const auto text = symbols.try_intern(value.get_ref<const std::string&>());
    return text ? std::optional(Value::of_text(*text)) : std::nullopt;
  }
  if (type == Type::kBool && value.is_boolean()) return Value::of_bool(value.get<bool>());
  if (type == Type::kDouble && value.is_number()) return Value::of_double(value.get<double>());
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (type == Type::kInt && value.is_number_integer() && !huge) return Value::of_int(value.get<int64_t>());
  return std::nullopt;
}

}  // namespace

void append_json_value(std::string& out, const Value& value, cep::Symbols& symbols) {
  switch (value.type) {
    case Type::kNull:
      out += "null";
      return;
    case Type::kBool:
      out += value.b ? "true" : "false";
      return;
    case Type::kInt:
      out += std::to_string(value.i);
      return;
    case Type::kDouble:
      if (std::isfinite(value.d)) {
        out += double_text(value.d);
      } else {
        query::append_json_string(out, double_text(value.d));
      }
      return;
    case Type::kText:
      query::append_json_string(out, symbols.text(value.text));
      return;
    case Type::kList: {
      char between = '[';
      for (const Value& element : list_elements(value, symbols)) {
        out += between;
        append_json_value(out, element, symbols);
        between = ',';
      }
      out += between == '[' ? "[]" : "]";
      return;
    }
  }
}

std::string label_text(const Value& value, cep::Symbols& symbols) {
  switch (value.type) {
    case Type::kNull:
      return "";
    case Type::kText:
      return std::string(symbols.text(value.text));
    case Type::kDouble:
      return double_text(value.d);
    default: {
      std::string out;
      append_json_value(out, value, symbols);
      return out;
    }
  }
}

Result<std::vector<Value>> read_table_row(std::string_view line, const cep::TableSchema& table, cep::Symbols& symbols) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return fail(ErrorCode::kInvalid, "not a JSON object");
  std::vector<Value> row(table.columns.size(), Value::null());
  for (size_t i = 0; i < row.size(); ++i) {
    const cep::ColumnSchema& column = table.columns[i];
    const auto found = object.find(column.name);
    if (found == object.end()) continue;
    const auto value = to_value(*found, column.type, symbols);
    if (!value) return fail(ErrorCode::kInvalid, column.name + " is not " + type_name(column.type));
    row[i] = *value;
  }
  return row;
}

}  // namespace lambda::gateway
