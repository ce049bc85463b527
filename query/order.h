// The order of sort_by_label(): texts with numbers as a reader expects them, node2 before node10.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "query/columns.h"

namespace lambda::query {

bool naturally_before(std::string_view a, std::string_view b);

// By the values of `names`, the first one first, then by all labels. Descending: the other way round.
void sort_by_label(Columns& columns, const std::vector<std::string>& names, bool descending);

// By the value at step 0; NaN and what is absent come last both ways.
void sort_by_value(Columns& columns, bool descending);

}  // namespace lambda::query
