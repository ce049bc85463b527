// Values of rules as JSON, and rows of tables out of it. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cep/language/catalog.h"
#include "cep/language/value.h"

namespace lambda::gateway {

// NaN and the infinities are the words "NaN", "Infinity" and "-Infinity"; a list is an array.
void append_json_value(std::string& out, const cep::Value& value, cep::Symbols& symbols);
// As a label holds it: without quotes; empty for null.
std::string label_text(const cep::Value& value, cep::Symbols& symbols);

// {"column":value,..}: the columns of a table in its order, null where the object has none. kInvalid names the column.
Result<std::vector<cep::Value>> read_table_row(std::string_view line, const cep::TableSchema& table,
                                               cep::Symbols& symbols);

}  // namespace lambda::gateway
