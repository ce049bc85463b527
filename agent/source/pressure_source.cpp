#include "agent/source/pressure_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {

PressureSource::PressureSource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files),
      interval_ms_(interval_ms),
      resources_{{{below(root, "proc/pressure/cpu"), "node_pressure_cpu_waiting_seconds_total", nullptr, {}, {}},
                  {below(root, "proc/pressure/io"),
                   "node_pressure_io_waiting_seconds_total",
                   "node_pressure_io_stalled_seconds_total",
                   {},
                   {}},
                  {below(root, "proc/pressure/memory"),
                   "node_pressure_memory_waiting_seconds_total",
                   "node_pressure_memory_stalled_seconds_total",
                   {},
                   {}}}} {}

// some avg10=0.00 avg60=0.00 avg300=0.00 total=1234          total in microseconds
bool PressureSource::line(Sink& sink, Resource& resource, std::string_view text) {
  const std::string_view kind = take_field(text);
  std::string_view field;
  do {
    field = take_field(text);
  } while (!field.empty() && !field.starts_with("total="));
  if (field.empty()) return false;
  const auto total = to_count(field.substr(6));
  if (!total || (kind != "some" && kind != "full")) return false;
  const bool some = kind == "some";
  const char* name = some ? resource.waiting : resource.stalled;
  if (name == nullptr) return true;
  put(sink, some ? resource.waiting_slot : resource.stalled_slot, static_cast<uint64_t>(*total),
      [&] { return SeriesSpec{name, {}, Kind::kCounter, ValueType::kDec, 6, "seconds"}; });
  return true;
}

Status PressureSource::collect(Sink& sink, int64_t) {
  Complaints complaints;
  for (Resource& resource : resources_) {
    const auto read = files_.read(resource.path);
    if (!read) {
      const ErrorCode code = read.error().code;
      if (code == ErrorCode::kNotFound || code == ErrorCode::kUnsupported) continue;
      return tl::unexpected<Error>(read.error());
    }
    std::string_view text = *read, next;
    for (uint32_t number = 1; take_line(text, next); ++number) {
      if (!line(sink, resource, next)) complaints.add(resource.path, number, "expected \"some|full ... total=<us>\"");
    }
  }
  return complaints.status();
}

}  // namespace lambda::agent
