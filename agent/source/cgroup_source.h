// Control groups of the second version (/sys/fs/cgroup, one hierarchy): what each service, container or slice uses.
// lambda_cgroup_*{cgroup="/system.slice/ssh.service"}: names of our own, node_exporter has none. On a machine with the
// first version, or none, there are no series.
//
// Groups are looked for once in kCgroupWalkCollections, down to `depth` below the root (1: slices; 2: their services
// and containers), at most kCgroupsMax; further ones are counted (lambda_cgroups_refused). The root itself is the
// machine, which has its own collectors.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/kernel_file.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

inline constexpr size_t kCgroupsMax = 256;
inline constexpr uint32_t kCgroupDepthMax = 8;
inline constexpr uint32_t kCgroupWalkCollections = 6;

class CgroupSource final : public Source {
 public:
  // `filter` is over the group's path below the root, "/system.slice/ssh.service".
  CgroupSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter, uint32_t depth);
  std::string_view name() const override { return "cgroup"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  enum FieldIndex : size_t { kCpu, kThrottled, kMemory, kOomKills, kProcesses, kIo, kFields = kIo + 4 };
  struct Group {
    std::string path;   // below the root
    bool seen = false;  // in the last walk
    std::array<SeriesSlot, kFields> slots;
  };

  void walk();
  void walk_below(const std::string& path, uint32_t depth);
  void note(const std::string& path);
  void tell(Sink& sink, Group& group, Complaints& complaints);
  void tell_io(Sink& sink, Group& group, std::string_view text, const std::string& path, Complaints& complaints);
  void put_field(Sink& sink, Group& group, size_t field, int64_t value);
  // What stands after `key` in a file of "key value" lines; nothing if it has none.
  static std::optional<int64_t> value_of(std::string_view text, std::string_view key);
  Result<std::string_view> read(const Group& group, const char* file);

  HostFiles& files_;
  const std::string folder_;
  const int64_t interval_ms_;
  const DeviceFilter filter_;
  const uint32_t depth_;
  std::vector<std::unique_ptr<Group>> groups_;  // by path
  uint32_t until_walk_ = 0;
  uint64_t refused_ = 0;  // in the last walk
  bool any_ = false;      // there is a hierarchy of the second version
  std::string path_;
  SeriesSlot refused_slot_;
};

}  // namespace lambda::agent
