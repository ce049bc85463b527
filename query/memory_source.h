// Series held as plain vectors: the simplest thing that keeps SeriesSource's promises. Tests compare others with it,
// and small programs may use it as it is. Not thread-safe; its cursors hold copies and may go anywhere.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "query/series_source.h"

namespace lambda::query {

class MemorySource : public SeriesSource {
 public:
  // Labels in any order, the metric's name as "__name__". Of two points of one time the later call wins.
  void add(std::vector<std::pair<std::string, std::string>> labels, const std::vector<Sample>& samples);
  void add(std::vector<std::pair<std::string, std::string>> labels, int64_t time_ms, double value);
  // What every select() from now on carries.
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  Result<Selection> select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                           uint64_t series_max) override;

 private:
  std::map<Labels, std::map<int64_t, double>> series_;
  std::vector<std::string> warnings_;
};

}  // namespace lambda::query
