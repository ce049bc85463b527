// /proc/1/mounts (or /proc/self/mounts) and the fill of each mounted file system: node_filesystem_*.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class FilesystemSource final : public Source {
 public:
  // `mounts` filters mount points, `types` file system types.
  FilesystemSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter mounts,
                   DeviceFilter types);
  std::string_view name() const override { return "filesystem"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kFields = 7;
  struct Mount {
    std::array<SeriesSlot, kFields> slots;
    std::string device, mount_point, type;  // unescaped
    std::string path;                       // below the root
    bool may_hang = false;
  };
  using Mounts = DeviceTable<Mount>;

  Result<std::string_view> read_mounts();
  Mounts::Device* make_mount(std::string_view key);
  void tell(Sink& sink, Mount& mount, bool read_only);
  bool mount_line(Sink& sink, std::string_view line);

  HostFiles& files_;
  const std::string root_, first_path_, own_path_;
  bool use_own_ = false;
  const int64_t interval_ms_;
  const DeviceFilter mount_filter_, type_filter_;
  Mounts mounts_;
};

}  // namespace lambda::agent
