// A journal that decides when a test says so.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/door/feeder.h"

namespace lambda::agent::test {

struct TestJournal {
  Feeder::Ports ports() {
    return {[this](const SeriesSpec& spec, bool may_add, bool* fresh) { return series(spec, may_add, fresh); },
            [this](std::vector<Row> rows, std::optional<RequestNote> note, Feeder::RowsDone done) {
              if (note) notes.push_back(*note);
              appends.emplace_back(std::move(rows), std::move(done));
            },
            [this] { return now_ms; }, [] { return 3u; },
            [this](const MetricSaid& one) {
              said.push_back(std::string(one.metric) + " " + std::string(one.type) + " " + std::string(one.unit) + " " +
                             std::string(one.help));
            }};
  }
  Result<SeriesRef> series(const SeriesSpec& spec, bool may_add, bool* fresh) {
    if (collectors.contains(spec.name)) return fail(ErrorCode::kDenied, spec.name + " is made by a collector");
    if (spec.name == "full") return fail(ErrorCode::kFull, "no room for another series");
    std::string key = spec.name;
    for (const auto& [name, value] : spec.labels) key += "," + name + "=" + value;
    if (!may_add && !refs.contains(key)) return fail(ErrorCode::kFull, "over doors.series_max");
    const auto [at, added] = refs.emplace(key, static_cast<SeriesRef>(refs.size() + 1));
    *fresh = added;
    return at->second;
  }
  // Decides about the oldest appends; all of them by default.
  void decide(const Status& status = {}, size_t count = SIZE_MAX) {
    for (; count > 0 && !appends.empty(); --count) {
      auto [rows, done] = std::move(appends.front());
      appends.pop_front();
      if (status) made.insert(made.end(), rows.begin(), rows.end());
      done(status, rows);
    }
  }
  size_t points_made() const {
    size_t count = 0;
    for (const Row& row : made) count += row.points.size();
    return count;
  }

  int64_t now_ms = 1'700'000'000'000;
  std::map<std::string, SeriesRef> refs;
  std::set<std::string> collectors;  // names of their series
  std::deque<std::pair<std::vector<Row>, Feeder::RowsDone>> appends;
  std::vector<Row> made;
  std::vector<std::string> said;   // of metrics
  std::vector<RequestNote> notes;  // that came with rows
};

}  // namespace lambda::agent::test
