#include "agent/source/statsd_source.h"

namespace lambda::agent {
namespace {

SeriesSpec own(const char* name, Kind kind, LabelList labels = {}) {
  return {std::string("lambda_agent_statsd_") + name, std::move(labels), kind, ValueType::kI64, 0, ""};
}

}  // namespace

StatsdSource::StatsdSource(std::shared_ptr<Statsd> statsd) : statsd_(std::move(statsd)) {
  statsd_->forget_refs();
}

Status StatsdSource::collect(Sink& sink, int64_t) {
  statsd_->tell(sink);
  size_t next = 0;
  const auto tell = [&](uint64_t value, auto&& make_spec) {
    if (next == slots_.size()) slots_.emplace_back();
    put(sink, slots_[next++], value, make_spec);
  };
  const auto count = [&](const char* name, uint64_t value) { tell(value, [&] { return own(name, Kind::kCounter); }); };
  const auto refused = [&](std::string_view reason, uint64_t value) {
    tell(value, [&] { return own("lines_refused_total", Kind::kCounter, {{"reason", std::string(reason)}}); });
  };
  const StatsdCounters& lines = statsd_->counters();
  const DatagramCounters packets = statsd_->datagrams();
  count("packets_total", packets.packets);
  count("packets_dropped_total", packets.packets_dropped);
  count("packets_too_long_total", packets.packets_too_long);
  count("receive_errors_total", packets.receive_errors);
  count("receive_waits_total", packets.waits_for_handler);
  count("lines_total", lines.lines);
  count("lines_left_out_total", lines.lines_left_out);
  for (size_t i = 0; i < lines.lines_refused.size(); ++i) {
    const auto reason = statsd_refusal(static_cast<StatsdVerdict>(i));
    if (!reason.empty()) refused(reason, lines.lines_refused[i]);
  }
  refused("bad_names", lines.lines_bad_names);
  refused("conflict", lines.lines_conflict);
  refused("series_max", lines.lines_over_max);
  refused("text_bytes_max", lines.lines_over_text);
  count("spellings_left_total", lines.spellings_left);
  count("name_collisions_total", lines.name_collisions);
  count("series_expired_total", lines.series_expired);
  tell(statsd_->series(), [] { return own("series", Kind::kGauge); });
  tell(lines.microseconds, [] {
    SeriesSpec spec = own("seconds_total", Kind::kCounter);
    spec.type = ValueType::kDec;
    spec.scale = 6;
    spec.unit = "seconds";
    return spec;
  });
  tell_offenders(sink);
  return {};
}

void StatsdSource::tell_offenders(Sink& sink) {
  for (const Statsd::Offender& offender : statsd_->worst()) {
    if (offenders_.size() >= kStatsdOffenderSeriesMax && !offenders_.contains(offender.metric)) continue;
    put(sink, offenders_[offender.metric], offender.lines, [&] {
      return own("over_max_lines", Kind::kGauge, {{"metric", offender.metric}});
    });
  }
}

}  // namespace lambda::agent
