// sum, avg, topk and the like: many series become fewer, step by step.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/expression.h"

namespace lambda::query {

bool can_aggregate(std::string_view operation);

// `parameter` has one value a step when the operation takes one, else it is empty. kFull: past the budget.
Result<Columns> aggregate(const Aggregation& node, const Columns& columns, const std::vector<double>& parameter,
                          size_t steps, SampleBudget& budget);

}  // namespace lambda::query
