#include "agent/source/cgroup_source.h"

#include <algorithm>

#include "agent/source/text.h"

namespace lambda::agent {
namespace {

struct Field {
  const char* name;
  Kind kind;
  uint8_t scale;
  const char* unit;
};
constexpr Field kCgroupFields[] = {
    {"lambda_cgroup_cpu_seconds_total", Kind::kCounter, 6, "seconds"},
    {"lambda_cgroup_cpu_throttled_seconds_total", Kind::kCounter, 6, "seconds"},
    {"lambda_cgroup_memory_bytes", Kind::kGauge, 0, "bytes"},
    {"lambda_cgroup_oom_kills_total", Kind::kCounter, 0, ""},
    {"lambda_cgroup_processes", Kind::kGauge, 0, ""},
    {"lambda_cgroup_io_read_bytes_total", Kind::kCounter, 0, "bytes"},
    {"lambda_cgroup_io_written_bytes_total", Kind::kCounter, 0, "bytes"},
    {"lambda_cgroup_io_reads_total", Kind::kCounter, 0, ""},
    {"lambda_cgroup_io_writes_total", Kind::kCounter, 0, ""},
};
constexpr std::string_view kIoKeys[] = {"rbytes=", "wbytes=", "rios=", "wios="};

// Files of a group begin with the name of what they belong to.
bool is_file(std::string_view name) {
  for (const std::string_view prefix : {"cgroup.", "cpu.", "cpuset.", "memory.", "io.", "pids.", "hugetlb.", "rdma.",
                                        "misc.", "irq.", "dev.", "debug."}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace

CgroupSource::CgroupSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter,
                           uint32_t depth)
    : files_(files),
      folder_(below(root, "sys/fs/cgroup")),
      interval_ms_(interval_ms),
      filter_(std::move(filter)),
      depth_(depth) {
  static_assert(std::size(kCgroupFields) == kFields);
}

void CgroupSource::walk() {
  for (const auto& group : groups_) group->seen = false;
  refused_ = 0;
  any_ = files_.read_once(folder_ + "/cgroup.controllers").has_value();
  if (any_) walk_below("", depth_);
  std::erase_if(groups_, [](const auto& group) { return !group->seen; });
}

void CgroupSource::walk_below(const std::string& path, uint32_t depth) {
  std::vector<std::string> names;
  if (!files_.list(folder_ + path, names)) return;  // a file, or gone meanwhile
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (is_file(name)) continue;
    const std::string child = path + "/" + name;
    // Groups have this file; what else may lie there has not.
    if (!files_.read_once(folder_ + child + "/cgroup.controllers")) continue;
    if (filter_.wants(child)) note(child);
    if (depth > 1) walk_below(child, depth - 1);
  }
}

void CgroupSource::note(const std::string& path) {
  const auto at = std::lower_bound(groups_.begin(), groups_.end(), path,
                                   [](const auto& group, const std::string& p) { return group->path < p; });
  if (at != groups_.end() && (*at)->path == path) {
    (*at)->seen = true;
    return;
  }
  if (groups_.size() >= kCgroupsMax) {
    refused_++;
    return;
  }
  auto added = std::make_unique<Group>();
  added->path = path;
  added->seen = true;
  groups_.insert(at, std::move(added));
}

std::optional<int64_t> CgroupSource::value_of(std::string_view text, std::string_view key) {
  std::string_view line;
  while (take_line(text, line)) {
    if (take_field(line) == key) return take_count(line);
  }
  return std::nullopt;
}

Result<std::string_view> CgroupSource::read(const Group& group, const char* file) {
  path_.assign(folder_).append(group.path).append(file);
  return files_.read_once(path_);
}

void CgroupSource::put_field(Sink& sink, Group& group, size_t field, int64_t value) {
  put(sink, group.slots[field], static_cast<uint64_t>(value), [&] {
    const Field& of = kCgroupFields[field];
    const ValueType type = of.scale > 0 ? ValueType::kDec : ValueType::kI64;
    return SeriesSpec{of.name, {{"cgroup", group.path}}, of.kind, type, of.scale, of.unit};
  });
}

// 8:0 rbytes=90112 wbytes=4096 rios=22 wios=1 ...            a line for each disk: told is their sum
void CgroupSource::tell_io(Sink& sink, Group& group, std::string_view text, const std::string& path,
                           Complaints& complaints) {
  std::array<int64_t, std::size(kIoKeys)> sums{};
  std::string_view line;
  for (uint32_t number = 1; take_line(text, line); ++number) {
    take_field(line);
    for (std::string_view field = take_field(line); !field.empty(); field = take_field(line)) {
      for (size_t i = 0; i < std::size(kIoKeys); ++i) {
        if (!field.starts_with(kIoKeys[i])) continue;
        const auto value = to_count(field.substr(kIoKeys[i].size()));
        if (!value || *value > INT64_MAX - sums[i]) {
          complaints.add(path, number, "expected counts");
          return;
        }
        sums[i] += *value;
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) put_field(sink, group, kIo + i, sums[i]);
}

// A controller that is not switched on for a group has no file there.
void CgroupSource::tell(Sink& sink, Group& group, Complaints& complaints) {
  if (const auto text = read(group, "/cpu.stat")) {
    if (const auto used = value_of(*text, "usage_usec")) put_field(sink, group, kCpu, *used);
    if (const auto held = value_of(*text, "throttled_usec")) put_field(sink, group, kThrottled, *held);
  }
  const auto single = [&](const char* file, size_t field) {
    auto text = read(group, file);
    if (!text) return;
    std::string_view line;
    take_line(*text, line);
    const auto value = take_count(line);
    if (!value) return complaints.add(path_, 1, "expected a count");
    put_field(sink, group, field, *value);
  };
  single("/memory.current", kMemory);
  single("/pids.current", kProcesses);
  if (const auto text = read(group, "/memory.events")) {
    if (const auto kills = value_of(*text, "oom_kill")) put_field(sink, group, kOomKills, *kills);
  }
  if (const auto text = read(group, "/io.stat")) tell_io(sink, group, *text, path_, complaints);
}

Status CgroupSource::collect(Sink& sink, int64_t) {
  if (until_walk_ == 0) {
    walk();
    until_walk_ = kCgroupWalkCollections;
  }
  --until_walk_;
  if (!any_) return {};
  Complaints complaints;
  for (const auto& group : groups_) tell(sink, *group, complaints);
  put(sink, refused_slot_, refused_,
      [] { return SeriesSpec{"lambda_cgroups_refused", {}, Kind::kGauge, ValueType::kI64, 0, ""}; });
  return complaints.status();
}

}  // namespace lambda::agent
