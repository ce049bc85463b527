#include "agent/source/memory_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

// "Active(anon)" -> "node_memory_Active_anon"
SeriesSpec memory_spec(std::string_view key, bool bytes) {
  SeriesSpec spec;
  spec.name = "node_memory_";
  for (const char c : key) {
    if (c == ')') continue;
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    spec.name += plain ? c : '_';
  }
  if (bytes) spec.name += "_bytes";
  spec.type = ValueType::kI64;
  if (bytes) spec.unit = "bytes";
  return spec;
}

}  // namespace

MemorySource::MemorySource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files), path_(below(root, "proc/meminfo")), interval_ms_(interval_ms) {}

bool MemorySource::entry(Sink& sink, std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 64) return false;
  const std::string_view key = line.substr(0, colon);
  line.remove_prefix(colon + 1);
  const auto value = take_count(line);
  const std::string_view unit = take_field(line);
  if (!value || (!unit.empty() && unit != "kB") || *value > INT64_MAX / 1024) return false;
  auto* known = entries_.find(key);
  if (!known) known = entries_.add(key, true);
  if (!known) return false;
  if (known->seen) return true;  // a name must not stand twice; the first one counts
  known->seen = true;
  const bool bytes = !unit.empty();
  put(sink, known->payload, static_cast<uint64_t>(bytes ? *value * 1024 : *value),
      [&] { return memory_spec(key, bytes); });
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
