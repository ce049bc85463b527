#include "agent/source/cpu_source.h"

#include <utility>

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

constexpr size_t kProcessorsMax = 8192;
constexpr size_t kFirstGuestMode = 8;
// The kernel's idle and iowait counters step back a little now and then; a processor that was unplugged and came back
// starts anew. Ticks are hundredths of a second: less than three seconds is the former (node_exporter's rule too).
constexpr int64_t kStepBackTicksMax = 300;
constexpr size_t kIdleMode = 3;
constexpr std::string_view kModeNames[] = {"user", "nice",    "system", "idle", "iowait",
                                           "irq",  "softirq", "steal",  "user", "nice"};

struct Single {
  std::string_view key, name;
  Kind kind;
  std::string_view unit;
};
constexpr Single kSingles[] = {
    {"intr", "node_intr_total", Kind::kCounter, ""},
    {"ctxt", "node_context_switches_total", Kind::kCounter, ""},
    {"btime", "node_boot_time_seconds", Kind::kGauge, "seconds"},
    {"processes", "node_forks_total", Kind::kCounter, ""},
    {"procs_running", "node_procs_running", Kind::kGauge, ""},
    {"procs_blocked", "node_procs_blocked", Kind::kGauge, ""},
};

SeriesSpec mode_spec(size_t mode, bool total, std::string_view cpu) {
  SeriesSpec spec;
  const bool guest = mode >= kFirstGuestMode;
  spec.name = std::string(total ? "lambda_cpu_" : "node_cpu_") + (guest ? "guest_seconds_total" : "seconds_total");
  if (!total) spec.labels.emplace_back("cpu", cpu);
  spec.labels.emplace_back("mode", kModeNames[mode]);
  spec.kind = Kind::kCounter;
  spec.type = ValueType::kDec;
  spec.scale = 2;  // USER_HZ is 100 on every architecture Linux still has
  spec.unit = "seconds";
  return spec;
}

}  // namespace

CpuSource::CpuSource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files), path_(below(root, "proc/stat")), interval_ms_(interval_ms) {}

void CpuSource::settle(Processor& processor, const std::array<int64_t, kModes>& ticks, size_t modes) {
  const bool restarted = ticks[kIdleMode] + kStepBackTicksMax < processor.ticks[kIdleMode];
  for (size_t mode = 0; mode < modes; ++mode) {
    if (restarted || ticks[mode] > processor.ticks[mode]) processor.ticks[mode] = ticks[mode];
  }
}

bool CpuSource::cpu_line(Sink& sink, std::string_view name, std::string_view rest) {
  std::array<int64_t, kModes> ticks{};
  size_t modes = 0;
  for (; modes < kModes; ++modes) {
    const std::string_view field = take_field(rest);
    if (field.empty()) break;
    const auto value = to_count(field);
    if (!value) return false;
    ticks[modes] = *value;
  }
  if (modes <= kIdleMode) return false;  // kernels older than 2.6 had four
  const std::string_view number = name.substr(3);
  const bool total = number.empty();
  size_t index = 0;
  if (!total) {
    const auto parsed = to_count(number);
    if (!parsed || *parsed >= static_cast<int64_t>(kProcessorsMax)) return false;
    index = static_cast<size_t>(*parsed);
    if (index >= processors_.size()) processors_.resize(index + 1);
  }
  Processor& processor = total ? total_ : processors_[index];
  if (std::exchange(processor.round, round_) == round_) return false;  // it stands twice
  settle(processor, ticks, modes);
  for (size_t mode = 0; mode < modes; ++mode) {
    put(sink, processor.slots[mode], static_cast<uint64_t>(processor.ticks[mode]),
        [&] { return mode_spec(mode, total, number); });
  }
  return true;
}

bool CpuSource::single(Sink& sink, std::string_view name, std::string_view rest) {
  for (size_t i = 0; i < std::size(kSingles); ++i) {
    if (kSingles[i].key != name) continue;
    const auto value = take_count(rest);
    if (!value || std::exchange(singles_[i].round, round_) == round_) return false;
    put(sink, singles_[i].slot, static_cast<uint64_t>(*value), [&] {
      return SeriesSpec{std::string(kSingles[i].name), {}, kSingles[i].kind, ValueType::kI64, 0,
                        std::string(kSingles[i].unit)};
    });
    return true;
  }
  return true;  // page, swap, softirq and what kernels will add
}

Status CpuSource::collect(Sink& sink, int64_t) {
  const auto read = files_.read(path_);
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  Complaints complaints;
  ++round_;
  for (uint32_t number = 1; take_line(text, line); ++number) {
    const std::string_view name = take_field(line);
    const bool good = name.starts_with("cpu") ? cpu_line(sink, name, line) : single(sink, name, line);
    if (!good) complaints.add(path_, number, "no counts of \"" + std::string(name.substr(0, 40)) + "\"");
  }
  return complaints.status();
}

}  // namespace lambda::agent
