// Binary operators: between numbers, between a vector and a number, and between vectors whose labels match.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/evaluator.h"
#include "query/expression.h"

namespace lambda::query {

// Comparisons give 1 or 0. Not for set operations.
double compute(BinaryOp op, double left, double right);

// A vector and a number a step; `scalar_left`: the number stands on the left. kInvalid as in merge_equal().
Result<Columns> combine_with_scalar(const Binary& node, Columns columns, const std::vector<double>& scalar,
                                    bool scalar_left, NameRemoval names);

// Two vectors. kInvalid: several series match where one may. kFull: past the budget.
Result<Columns> combine(const Binary& node, const Columns& left, const Columns& right, size_t steps, NameRemoval names,
                        SampleBudget& budget);

}  // namespace lambda::query
