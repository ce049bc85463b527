// The world of the source tests: files in memory, a sink that remembers, a clock that is set.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/source/source.h"
#include "base/env/clock.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class MemoryFiles final : public HostFiles {
 public:
  Result<std::string_view> read(const std::string& path) override {
    ++reads;
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": no such file");
    return std::string_view(found->second);
  }
  Status list(const std::string& folder, std::vector<std::string>& names) override {
    std::set<std::string> found;
    const std::string prefix = folder + "/";
    for (const auto& [path, text] : files) {
      if (path.starts_with(prefix))
        found.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
    }
    if (found.empty()) return fail(ErrorCode::kNotFound, folder + ": no such folder");
    names.assign(found.begin(), found.end());
    return {};
  }
  Result<std::string> resolve(const std::string& path) override {
    const auto link = links.find(path);
    if (link == links.end()) return fail(ErrorCode::kNotFound, path + ": no such file");
    return link->second;
  }
  Result<ClockDiscipline> clock_discipline() override { return discipline; }
  Result<FilesystemUsage> usage(const std::string& mount_point, bool may_hang) override {
    if (may_hang) hanging_asked.insert(mount_point);
    const auto found = usages.find(mount_point);
    if (found == usages.end()) return fail(ErrorCode::kUnavailable, mount_point + ": does not answer");
    return found->second;
  }
  uint64_t page_bytes() const override { return 4096; }

  std::map<std::string, std::string> files;
  std::map<std::string, std::string> links;
  ClockDiscipline discipline;
  std::map<std::string, FilesystemUsage> usages;
  std::set<std::string> hanging_asked;
  uint64_t reads = 0;
};

// Remembers each point under "name{label=\"value\",...}", labels sorted.
class MemorySink final : public Sink {
 public:
  static std::string key_of(const SeriesSpec& spec) {
    const std::map<std::string, std::string> sorted(spec.labels.begin(), spec.labels.end());
    std::string key = spec.name + "{";
    for (const auto& [name, value] : sorted) key += (key.back() == '{' ? "" : ",") + name + "=\"" + value + "\"";
    return key + "}";
  }
  Result<SeriesRef> series(const SeriesSpec& spec) override {
    ++asked;
    if (refuse) return fail(ErrorCode::kFull, "series cap reached");
    const auto [at, added] = refs_.try_emplace(key_of(spec), static_cast<SeriesRef>(specs.size()));
    if (added) specs.push_back(spec);
    return at->second;
  }
  uint32_t epoch() const override { return epoch_now; }
  void append(SeriesRef series, uint64_t bits) override {
    LAMBDA_ASSERT(series < specs.size());
    const std::string key = key_of(specs[series]);
    if (!last.emplace(key, bits).second) doubled.push_back(key);
  }
  // Points of one collection are forgotten before the next.
  void next() { last.clear(); }

  const SeriesSpec* spec(const std::string& key) const {
    const auto found = refs_.find(key);
    return found == refs_.end() ? nullptr : &specs[found->second];
  }

  std::vector<SeriesSpec> specs;
  std::map<std::string, uint64_t> last;
  std::vector<std::string> doubled;  // series that got two points in one collection
  uint64_t asked = 0;
  bool refuse = false;
  uint32_t epoch_now = 0;

 private:
  std::map<std::string, SeriesRef> refs_;
};

class SetClock final : public Clock {
 public:
  int64_t utc_ms() const override { return now_us / 1000; }
  int64_t mono_us() const override { return now_us += step_us; }
  mutable int64_t now_us = 0;
  int64_t step_us = 0;  // each look at the clock takes this long
};

}  // namespace lambda::agent
