#include "agent/source/self_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/process_stat.h"

namespace lambda::agent {
SelfSource::SelfSource(HostFiles& files, int64_t interval_ms, std::vector<SelfMeter> meters)
    : files_(files), interval_ms_(interval_ms), page_bytes_(files.page_bytes()) {
  for (SelfMeter& meter : meters) meters_.push_back({std::move(meter), {}});
}

void SelfSource::watch(const MeteredSource& source) {
  const auto add = [&](const char* name, ValueType type, uint8_t scale, const char* unit,
                       uint64_t SourceCost::*member) {
    SeriesSpec spec{name, {{"source", std::string(source.name())}}, Kind::kCounter, type, scale, unit};
    const MeteredSource* of = &source;
    meters_.push_back({SelfMeter{std::move(spec), [of, member] { return of->cost().*member; }}, {}});
  };
  add("lambda_agent_source_seconds_total", ValueType::kDec, 6, "seconds", &SourceCost::microseconds);
  add("lambda_agent_source_errors_total", ValueType::kI64, 0, "", &SourceCost::errors);
  add("lambda_agent_source_overruns_total", ValueType::kI64, 0, "", &SourceCost::overruns);
}

bool SelfSource::process(Sink& sink, std::string_view text) {
  const auto stat = read_process_stat(text);
  if (!stat) return false;
  put(sink, slots_[0], static_cast<uint64_t>(stat->ticks),
      [] { return SeriesSpec{"lambda_agent_cpu_seconds_total", {}, Kind::kCounter, ValueType::kDec, 2, "seconds"}; });
  put(sink, slots_[1], static_cast<uint64_t>(stat->pages) * page_bytes_,
      [] { return SeriesSpec{"lambda_agent_resident_memory_bytes", {}, Kind::kGauge, ValueType::kI64, 0, "bytes"}; });
  put(sink, slots_[2], static_cast<uint64_t>(stat->threads),
      [] { return SeriesSpec{"lambda_agent_threads", {}, Kind::kGauge, ValueType::kI64, 0, ""}; });
  return true;
}

Status SelfSource::collect(Sink& sink, int64_t) {
  for (Meter& meter : meters_) {
    put(sink, meter.slot, meter.meter.read(), [&] { return meter.meter.spec; });
  }
  const auto text = files_.read(path_);
  if (!text) return tl::unexpected<Error>(text.error());
  Complaints complaints;
  if (!process(sink, *text)) complaints.add(path_, 1, "expected the 24 fields of proc(5)");
  return complaints.status();
}

}  // namespace lambda::agent
