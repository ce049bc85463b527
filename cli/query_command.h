// `lambda query`: an expression, answered by a gateway or an agent, as a table or as the JSON that came.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "cli/output.h"
#include "cli/server.h"

namespace lambda::cli {

struct QueryOptions {
  Server server;
  std::string expression;
  std::string time;              // empty: now, by the server's clock
  std::string start, end, step;  // a range query when any is given; the end is now, the step fits 250 points
};

// Times: RFC 3339, seconds since 1970, "now", or so long before now: "now-1h30m".
Result<int64_t> parse_moment_ms(const std::string& text, int64_t now_ms);

int query(Output& output, const QueryOptions& options, int64_t now_ms, const Ask& ask);

}  // namespace lambda::cli
