// `lambda cep replay`: rules over points that are stored already. Nothing is told to anybody, and a gateway's own
// alerts are left alone: this is another engine, and everything it says is marked late.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "cli/output.h"
#include "cli/server.h"
#include "query/series_source.h"

namespace lambda::cli {

struct ReplayOptions {
  std::string rules_file;
  std::vector<std::string> tables;  // NAME=FILE
  std::string from, to;             // parse_moment_ms(); empty: now, for `to`
};

struct ReplaySeries {
  query::Labels labels;
  std::vector<query::Sample> samples;  // ascending
};
// All series of this name and their samples in [from_ms, to_ms].
using ReplaySource =
    std::function<Result<std::vector<ReplaySeries>>(const std::string& metric, int64_t from_ms, int64_t to_ms)>;

// More points than this in the range: kExitFailed, before anything is said.
inline constexpr uint64_t kReplayPointsMax = 20'000'000;

// Takes the points in order of time, as if each had arrived when it was made; at last time goes on to the end of the
// range. Prints the outputs of all rules with DO as cep_run() does.
int cep_replay(Output& output, const ReplayOptions& options, int64_t now_ms, Disk& disk, const ReplaySource& source);

// All of them out of a store.
Result<std::vector<ReplaySeries>> read_series(query::SeriesSource& store, const std::string& metric, int64_t from_ms,
                                              int64_t to_ms);
// The question to a gateway or an agent for them.
HttpCall replay_question(const Server& server, const std::string& metric, int64_t from_ms, int64_t to_ms);
// What a gateway or an agent answers to /api/v1/query with a range selector; kInvalid for anything else.
Result<std::vector<ReplaySeries>> read_matrix(const std::string& body);

}  // namespace lambda::cli
