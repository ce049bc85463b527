#include "agent/source/filesystem_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

struct Field {
  const char* name;
  const char* unit;
};
enum FieldIndex : size_t { kSize, kFree, kAvailable, kFiles, kFilesFree, kReadOnly, kDeviceError };
constexpr Field kFilesystemFields[] = {
    {"node_filesystem_size_bytes", "bytes"},  {"node_filesystem_free_bytes", "bytes"},
    {"node_filesystem_avail_bytes", "bytes"}, {"node_filesystem_files", ""},
    {"node_filesystem_files_free", ""},       {"node_filesystem_readonly", ""},
    {"node_filesystem_device_error", ""},
};

// Blanks and backslashes stand in mounts as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// File systems whose server may fall silent and take the caller with it.
bool may_hang(std::string_view type) {
  constexpr std::string_view kServed[] = {"nfs",  "nfs4", "cifs",  "smb3",   "smbfs",    "9p",
                                          "ceph", "afs",  "ncpfs", "lustre", "glusterfs"};
  for (const std::string_view served : kServed) {
    if (type == served) return true;
  }
  return type.starts_with("fuse");
}

bool is_read_only(std::string_view options) {
  while (!options.empty()) {
    const size_t comma = options.find(',');
    if (options.substr(0, comma) == "ro") return true;
    options.remove_prefix(comma == std::string_view::npos ? options.size() : comma + 1);
  }
  return false;
}

}  // namespace

FilesystemSource::FilesystemSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter mounts,
                                   DeviceFilter types)
    : files_(files),
      root_(root),
      first_path_(below(root, "proc/1/mounts")),
      own_path_(below(root, "proc/self/mounts")),
      interval_ms_(interval_ms),
      mount_filter_(std::move(mounts)),
      type_filter_(std::move(types)) {
  static_assert(std::size(kFilesystemFields) == kFields);
}

// The first process' mounts are the host's; who may not read them has its own.
Result<std::string_view> FilesystemSource::read_mounts() {
  if (!use_own_) {
    auto first = files_.read(first_path_);
    if (first) return first;
    use_own_ = true;
  }
  auto own = files_.read(own_path_);
  if (!own) use_own_ = false;
  return own;
}

FilesystemSource::Mounts::Device* FilesystemSource::make_mount(std::string_view key) {
  std::string_view rest = key;
  Mount mount;
  mount.device = unescape(take_field(rest));
  mount.mount_point = unescape(take_field(rest));
  mount.type = unescape(take_field(rest));
  mount.path = below(root_, mount.mount_point);
  mount.may_hang = may_hang(mount.type);
  // The same mount spelt in another way (blanks, escapes) has its series already.
  const bool taken = mounts_.any([&](const Mount& other) {
    return other.device == mount.device && other.mount_point == mount.mount_point && other.type == mount.type;
  });
  const bool wanted = !taken && mount_filter_.wants(mount.mount_point) && type_filter_.wants(mount.type);
  auto* added = mounts_.add(key, wanted);
  if (added) added->payload = std::move(mount);
  return added;
}

void FilesystemSource::tell(Sink& sink, Mount& mount, bool read_only) {
  const auto usage = files_.usage(mount.path, mount.may_hang);
  std::array<uint64_t, kFields> values{};
  values[kDeviceError] = usage ? 0 : 1;
  if (usage) {
    values[kSize] = usage->bytes;
    values[kFree] = usage->bytes_free;
    values[kAvailable] = usage->bytes_available;
    values[kFiles] = usage->inodes;
    values[kFilesFree] = usage->inodes_free;
    values[kReadOnly] = read_only ? 1 : 0;
  }
  for (size_t i = usage ? 0 : size_t{kDeviceError}; i < kFields; ++i) {
    put(sink, mount.slots[i], values[i], [&] {
      return SeriesSpec{kFilesystemFields[i].name,
                        {{"device", mount.device}, {"fstype", mount.type}, {"mountpoint", mount.mount_point}},
                        Kind::kGauge,
                        ValueType::kI64,
                        0,
                        kFilesystemFields[i].unit};
    });
  }
}

bool FilesystemSource::mount_line(Sink& sink, std::string_view line) {
  const char* start = line.data();
  take_field(line);
  take_field(line);
  const std::string_view type = take_field(line);
  const std::string_view options = take_field(line);
  if (type.empty() || options.empty()) return false;
  // Device, mount point and type as they stand in the line name the mount: no string has to be made to find it.
  const std::string_view key(start, static_cast<size_t>(type.data() + type.size() - start));
  auto* mount = mounts_.find(key);
  if (!mount) mount = make_mount(key);
  if (!mount) return false;
  if (mount->seen) return true;  // mounted over itself
  mount->seen = true;
  if (mount->wanted) tell(sink, mount->payload, is_read_only(options));
  return true;
}

Status FilesystemSource::collect(Sink& sink, int64_t) {
  const auto read = read_mounts();
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  Complaints complaints;
  mounts_.begin();
  for (uint32_t number = 1; take_line(text, line); ++number) {
    if (!mount_line(sink, line)) {
      complaints.add(use_own_ ? own_path_ : first_path_, number,
                     "expected \"<device> <mount point> <type> <options>\"");
    }
  }
  mounts_.end();
  return complaints.status();
}

}  // namespace lambda::agent
