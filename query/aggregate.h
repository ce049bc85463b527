// sum, avg, topk and the like: many series become fewer, step by step.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/expression.h"
#include "query/notes.h"

namespace lambda::query {

bool can_aggregate(std::string_view operation);

// Refuses a parameter that is none (topk(NaN, x)), and notes one that is out of its range.
Status check_parameter(const Aggregation& node, const std::vector<double>& parameter, Notes& notes);

// count_values(): how often each value stands in a group, the value in a label. kInvalid: that is no name of a label.
Result<Columns> count_values(const Aggregation& node, const Columns& columns, size_t steps, SampleBudget& budget);

// `parameter` has one value a step when the operation takes one, else it is empty. kFull: past the budget.
// The order within a group is that of topk and bottomk at the first step.
Result<Columns> aggregate(const Aggregation& node, const Columns& columns, const std::vector<double>& parameter,
                          size_t steps, SampleBudget& budget);

}  // namespace lambda::query
