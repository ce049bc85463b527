// `lambda query`: an expression, answered by a gateway, an agent or files with blocks, as a table or as the JSON that
// came.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"
#include "cli/output.h"
#include "cli/server.h"

namespace lambda::cli {

struct QueryOptions {
  Server server;
  std::string expression;
  std::string time;                 // empty: now, by the server's clock
  std::string start, end, step;     // a range query when any is given; the end is now, the step fits 250 points
  std::string last;                 // so long before that moment: the expression is a selector, its points are wanted
  std::string device;               // whose own memory the gateway is to ask; empty: the gateway's store
  std::vector<std::string> blocks;  // files or folders that are asked instead of a server
};

// Times: RFC 3339, seconds since 1970, "now", or so long before now: "now-1h30m".
Result<int64_t> parse_moment_ms(const std::string& text, int64_t now_ms);

// Prints the answer once. The exit status of README.md.
int query(Output& output, const QueryOptions& options, int64_t now_ms, const Ask& ask);

// The same of `options.blocks`, by the evaluator that gateways and agents have. Time is that of the data: the moment is
// its last one; of a range the end is its last moment, the start ten minutes before the end.
int query_blocks(Output& output, QueryOptions options, int64_t now_ms, Disk& disk);

// Asks again and again. On a terminal (`clear`) each answer takes the place of the one before, else an empty line
// stands between them. A server that does not answer or refuses is asked again: it may be starting. A wrong command
// line ends it. Otherwise `pause` says when it is over, and the status of the last answer is returned.
struct Watching {
  bool clear;
  std::function<bool()> pause;  // waits; false: enough
  std::function<int64_t()> now_ms;
};
int watch(Output& output, const QueryOptions& options, const Watching& watching, const Ask& ask);

}  // namespace lambda::cli
