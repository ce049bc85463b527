#include "agent/source/load_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

constexpr const char* kNames[] = {"node_load1", "node_load5", "node_load15"};

// "12.07" -> 1207; nothing if it is not of this form.
std::optional<int64_t> hundredths(std::string_view field) {
  const size_t point = field.find('.');
  if (point == std::string_view::npos || point + 3 != field.size()) return std::nullopt;
  const auto whole = to_count(field.substr(0, point));
  const auto part = to_count(field.substr(point + 1));
  if (!whole || !part || *whole > INT64_MAX / 100 - 1) return std::nullopt;
  return *whole * 100 + *part;
}

}  // namespace

LoadSource::LoadSource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files), path_(below(root, "proc/loadavg")), interval_ms_(interval_ms) {}

Status LoadSource::collect(Sink& sink, int64_t) {
  const auto read = files_.read(path_);
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  take_line(text, line);
  Complaints complaints;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto value = hundredths(take_field(line));
    if (!value) {
      complaints.add(path_, 1, "expected three loads with two decimals");
      continue;
    }
    put(sink, slots_[i], static_cast<uint64_t>(*value),
        [&] { return SeriesSpec{kNames[i], {}, Kind::kGauge, ValueType::kDec, 2, ""}; });
  }
  return complaints.status();
}

}  // namespace lambda::agent
