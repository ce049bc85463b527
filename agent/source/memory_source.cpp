#include "agent/source/memory_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

// "Active(anon)" -> "node_memory_Active_anon_bytes"
std::string series_name(std::string_view key, bool bytes) {
  std::string name = "node_memory_";
  for (const char c : key) {
    if (c == ')') continue;
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += plain ? c : '_';
  }
  return bytes ? name + "_bytes" : name;
}

}  // namespace

MemorySource::MemorySource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files), path_(below(root, "proc/meminfo")), interval_ms_(interval_ms) {}

DeviceTable<MemorySource::Entry>::Device* MemorySource::make_entry(std::string_view key, bool bytes) {
  const std::string name = series_name(key, bytes);
  // Two names that differ only in characters a series' name cannot have: the first one has it.
  const bool taken = entries_.any([&](const Entry& entry) { return entry.series == name; });
  auto* added = entries_.add(key, !taken);
  if (added) added->payload = {{}, name, bytes};
  return added;
}

bool MemorySource::entry(Sink& sink, std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 64) return false;
  const std::string_view key = line.substr(0, colon);
  line.remove_prefix(colon + 1);
  const auto value = take_count(line);
  const std::string_view unit = take_field(line);
  if (!value || (!unit.empty() && unit != "kB") || *value > INT64_MAX / 1024) return false;
  const bool bytes = !unit.empty();
  auto* known = entries_.find(key);
  if (!known) known = make_entry(key, bytes);
  if (!known || known->seen || !known->wanted || known->payload.bytes != bytes) return false;
  known->seen = true;
  put(sink, known->payload.slot, static_cast<uint64_t>(bytes ? *value * 1024 : *value),
      [&] { return SeriesSpec{known->payload.series, {}, Kind::kGauge, ValueType::kI64, 0, bytes ? "bytes" : ""}; });
  return true;
}

Status MemorySource::collect(Sink& sink, int64_t) {
  const auto read = files_.read(path_);
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  Complaints complaints;
  entries_.begin();
  for (uint32_t number = 1; take_line(text, line); ++number) {
    if (!entry(sink, line)) complaints.add(path_, number, "expected \"<name>: <number> kB\"");
  }
  entries_.end();
  return complaints.status();
}

}  // namespace lambda::agent
