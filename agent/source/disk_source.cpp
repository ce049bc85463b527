#include "agent/source/disk_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

enum class Unit : uint8_t { kPlain, kSectors, kMilliseconds };  // a sector is 512 bytes, whatever the device has

struct Field {
  const char* name;
  Kind kind;
  Unit unit;
};
// In the order of the file, after major, minor and name.
constexpr Field kDiskFields[] = {
    {"node_disk_reads_completed_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_reads_merged_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_read_bytes_total", Kind::kCounter, Unit::kSectors},
    {"node_disk_read_time_seconds_total", Kind::kCounter, Unit::kMilliseconds},
    {"node_disk_writes_completed_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_writes_merged_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_written_bytes_total", Kind::kCounter, Unit::kSectors},
    {"node_disk_write_time_seconds_total", Kind::kCounter, Unit::kMilliseconds},
    {"node_disk_io_now", Kind::kGauge, Unit::kPlain},
    {"node_disk_io_time_seconds_total", Kind::kCounter, Unit::kMilliseconds},
    {"node_disk_io_time_weighted_seconds_total", Kind::kCounter, Unit::kMilliseconds},
    {"node_disk_discards_completed_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_discards_merged_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_discarded_sectors_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_discard_time_seconds_total", Kind::kCounter, Unit::kMilliseconds},
    {"node_disk_flush_requests_total", Kind::kCounter, Unit::kPlain},
    {"node_disk_flush_requests_time_seconds_total", Kind::kCounter, Unit::kMilliseconds},
};
constexpr size_t kFieldsMin = 11;  // discards came with Linux 4.18, flushes with 5.5

SeriesSpec disk_spec(const Field& field, std::string_view device) {
  SeriesSpec spec;
  spec.name = field.name;
  spec.labels.emplace_back("device", device);
  spec.kind = field.kind;
  spec.type = field.unit == Unit::kMilliseconds ? ValueType::kDec : ValueType::kI64;
  spec.scale = field.unit == Unit::kMilliseconds ? 3 : 0;
  if (field.unit == Unit::kMilliseconds) spec.unit = "seconds";
  if (field.unit == Unit::kSectors) spec.unit = "bytes";
  return spec;
}

}  // namespace

DiskSource::DiskSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter)
    : files_(files), path_(below(root, "proc/diskstats")), interval_ms_(interval_ms), filter_(std::move(filter)) {
  static_assert(std::size(kDiskFields) == kFields);
}

bool DiskSource::device_line(Sink& sink, std::string_view line) {
  if (!take_count(line) || !take_count(line)) return false;
  const std::string_view name = take_field(line);
  if (name.empty()) return false;
  auto* device = devices_.find(name);
  if (!device) device = devices_.add(name, filter_.wants(name));
  if (!device) return false;
  if (device->seen) return true;
  device->seen = true;
  if (!device->wanted) return true;
  // A line counts as a whole: a broken one must not leave half of its points.
  std::array<int64_t, kFields> values{};
  size_t count = 0;
  for (; count < kFields; ++count) {
    const std::string_view field = take_field(line);
    if (field.empty()) break;
    const auto value = to_count(field);
    const bool sectors = kDiskFields[count].unit == Unit::kSectors;
    if (!value || (sectors && *value > INT64_MAX / 512)) return false;
    values[count] = sectors ? *value * 512 : *value;
  }
  if (count < kFieldsMin) return false;
  for (size_t i = 0; i < count; ++i) {
    put(sink, device->payload[i], static_cast<uint64_t>(values[i]), [&] { return disk_spec(kDiskFields[i], name); });
  }
  return true;
}

Status DiskSource::collect(Sink& sink, int64_t) {
  const auto read = files_.read(path_);
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  Complaints complaints;
  devices_.begin();
  for (uint32_t number = 1; take_line(text, line); ++number) {
    if (!device_line(sink, line)) complaints.add(path_, number, "expected a device and at least 11 counts");
  }
  devices_.end();
  return complaints.status();
}

}  // namespace lambda::agent
