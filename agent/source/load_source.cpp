#include "agent/source/load_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

constexpr const char* kNames[] = {"node_load1", "node_load5", "node_load15"};

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
    const auto value = to_hundredths(take_field(line));
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
