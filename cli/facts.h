// What a check found, as named facts: a table and lines, or one JSON object. Included by .cpp files only: JSON is
// heavy.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/output.h"

namespace lambda::cli {

// Lists come behind the table, one line an element.
void print_facts(Output& output, const nlohmann::ordered_json& facts);

}  // namespace lambda::cli
