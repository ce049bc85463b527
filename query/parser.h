// Text to tree. Accepts the grammar and the types of PromQL as Prometheus 3 has them; errors are kInvalid, or
// kUnsupported where Prometheus could read it, and begin with LINE:COLUMN, both from 1, the column in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "query/expression.h"

namespace lambda::query {

inline constexpr size_t kExpressionBytesMax = 64 << 10;
inline constexpr uint32_t kExpressionDepthMax = 400;  // levels of the tree; a chain of operators counts one each

Result<ExpressionPtr> parse_expression(std::string_view text);

// One plain selector without range, offset and @: up{job="a"}.
Result<std::vector<Matcher>> parse_selector(std::string_view text);

}  // namespace lambda::query
