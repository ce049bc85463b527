// A journal that decides when a test says so.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/door/feeder.h"

namespace lambda::agent::test {

struct TestJournal {
  Feeder::Ports ports() {
    return {[this](const SeriesSpec& spec, bool* fresh) { return series(spec, fresh); },
            [this](Row row, Feeder::RowDone done) { rows.emplace_back(std::move(row), std::move(done)); },
            [this] { return now_ms; }, [] { return 3u; }};
  }
  Result<SeriesRef> series(const SeriesSpec& spec, bool* fresh) {
    if (spec.name == "full") return fail(ErrorCode::kFull, "no room for another series");
    std::string key = spec.name;
    for (const auto& [name, value] : spec.labels) key += "," + name + "=" + value;
    const auto [at, added] = refs.emplace(key, static_cast<SeriesRef>(refs.size() + 1));
    *fresh = added;
    return at->second;
  }
  // Decides about the oldest rows; all of them by default.
  void decide(const Status& status = {}, size_t count = SIZE_MAX) {
    for (; count > 0 && !rows.empty(); --count) {
      auto [row, done] = std::move(rows.front());
      rows.pop_front();
      if (status) made.push_back(row);
      done(status, row);
    }
  }
  size_t points_made() const {
    size_t count = 0;
    for (const Row& row : made) count += row.points.size();
    return count;
  }

  int64_t now_ms = 1'700'000'000'000;
  std::map<std::string, SeriesRef> refs;
  std::deque<std::pair<Row, Feeder::RowDone>> rows;
  std::vector<Row> made;
};

}  // namespace lambda::agent::test
