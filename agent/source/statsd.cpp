#include "agent/source/statsd.h"

#include <algorithm>

namespace lambda::agent {
namespace {

constexpr int64_t kOverMaxLogMs = 60'000;

constexpr uint64_t kSpellingBytes = 80;  // node, bucket and allocation

// What a series keeps of its names, by_key_ included; told_ has each name once more, with a node.
uint64_t text_bytes_of(const StatsdIdentity& identity, size_t key_bytes) {
  uint64_t bytes = 2 * kSpellingBytes + 2 * identity.name.size() + identity.spelling.size() + key_bytes;
  for (const auto& [name, value] : identity.labels) bytes += 2 * sizeof(std::string) + name.size() + value.size();
  return bytes;
}

std::string family_of(const std::string& name, StatsdType type) {
  return std::string(1, static_cast<char>('0' + static_cast<int>(type))) + name;
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr size_t kShown = 80;
  std::string out(text.substr(0, kShown));
  for (char& c : out) c = c >= ' ' && c <= '~' ? c : '?';
  return text.size() > kShown ? out + "..." : out;
}

Statsd::Statsd(StatsdOptions options, const Clock& clock, Log& log, uint64_t seed)
    : options_(std::move(options)),
      clock_(clock),
      log_(log),
      seed_(seed),
      by_spelling_(0, Hash{seed}),
      by_key_(0, Hash{seed}),
      told_(0, Hash{seed}) {}

Status Statsd::open(Datagrams& datagrams) {
  auto opened = datagrams.receive({options_.address, options_.port, options_.socket, options_.packet_bytes_max,
                                   options_.waiting_bytes_max, options_.kernel_bytes_max},
                                  [this](std::span<const std::string_view> packets) { take(packets); });
  if (!opened) return fail(opened.error().code, "statsd: " + opened.error().text);
  receiver_ = std::move(*opened);
  return {};
}

void Statsd::take(std::span<const std::string_view> packets) {
  const int64_t start_us = clock_.mono_us();
  now_ms_ = start_us / 1000;
  for (std::string_view packet : packets) {
    while (!packet.empty()) {
      const size_t end = packet.find('\n');
      take_line(packet.substr(0, end));
      packet.remove_prefix(end == std::string_view::npos ? packet.size() : end + 1);
    }
  }
  counters_.microseconds += static_cast<uint64_t>(clock_.mono_us() - start_us);
}

void Statsd::take_line(std::string_view line) {
  const StatsdVerdict verdict = parse_statsd_line(line, &line_);
  if (verdict == StatsdVerdict::kLeftOut) {
    counters_.lines_left_out += line.empty() ? 0 : 1;
    return;
  }
  if (verdict != StatsdVerdict::kGood) return refuse(verdict, line);
  StatsdSeries* series = find(line_);
  if (series == nullptr) return;
  series->add(line_);
  series->touched_ms = now_ms_;
  counters_.lines++;
}

void Statsd::refuse(StatsdVerdict verdict, std::string_view line) {
  if (counters_.lines_refused[static_cast<size_t>(verdict)]++ > 0) return;
  log_.warn("statsd_line_refused",
            {{"why", statsd_refusal(verdict)}, {"line", printable(line)}, {"more", "are counted"}});
}

StatsdSeries* Statsd::find(const StatsdLine& line) {
  // Neither ':' nor '|' is in a name: what follows the name cannot be taken for a part of it.
  spelt_.assign(1, static_cast<char>('0' + static_cast<int>(line.type)));
  spelt_.append(line.name).append(1, '|').append(line.tags);
  const auto found = by_spelling_.find(std::string_view(spelt_));
  if (found != by_spelling_.end()) return found->second;
  StatsdSeries* series = find_mapped(line);
  if (series == nullptr) return nullptr;
  const uint64_t bytes = kSpellingBytes + spelt_.size();
  if (by_spelling_.size() >= kStatsdSpellingsPerSeries * options_.series_max ||
      spelling_bytes_ + bytes > options_.text_bytes_max / 2) {
    counters_.spellings_left++;
    return series;
  }
  by_spelling_.emplace(spelt_, series);
  spelling_bytes_ += bytes;
  return series;
}

// Of a spelling that was not seen before, or not remembered.
StatsdSeries* Statsd::find_mapped(const StatsdLine& line) {
  StatsdIdentity identity;
  if (!map_statsd_names(line.name, line.tags, &identity)) {
    if (counters_.lines_bad_names++ == 0) {
      log_.warn("statsd_line_refused", {{"why", "name or tags too long, too many, or not UTF-8"},
                                        {"metric", printable(line.name)},
                                        {"more", "are counted"}});
    }
    return nullptr;
  }
  std::string key = family_of(identity.key(), line.type);
  const auto found = by_key_.find(std::string_view(key));
  if (found == by_key_.end()) return add(std::move(identity), line.type, std::move(key));
  if (found->second->identity().spelling != identity.spelling && counters_.name_collisions++ == 0) {
    log_.warn("statsd_names_collide", {{"metric", identity.name},
                                       {"spelt", printable(identity.spelling)},
                                       {"and", printable(found->second->identity().spelling)},
                                       {"does", "both count as one"}});
  }
  return found->second;
}

StatsdSeries* Statsd::add(StatsdIdentity identity, StatsdType type, std::string key) {
  const std::string family = family_of(identity.name, type);
  const auto names = StatsdSeries::told_names(identity.name, type);
  for (const std::string& name : names) {
    const auto other = told_.find(std::string_view(name));
    if (other == told_.end() || other->second.family == family) continue;
    if (counters_.lines_conflict++ == 0) {
      log_.warn("statsd_line_refused", {{"why", "a metric of another type is told under this name"}, {"series", name}});
    }
    return nullptr;
  }
  if (series_.size() >= options_.series_max) {
    over_max(identity.name, counters_.lines_over_max);
    return nullptr;
  }
  const uint64_t bytes = text_bytes_of(identity, key.size());
  if (series_bytes_ + bytes > options_.text_bytes_max / 2) {
    over_max(identity.name, counters_.lines_over_text);
    return nullptr;
  }
  series_bytes_ += bytes;
  for (const std::string& name : names) {
    Told& told = told_.try_emplace(name, Told{family, 0, nullptr}).first->second;
    told.series++;
  }
  auto& timers = told_.find(std::string_view(names.front()))->second.timers;
  if (type == StatsdType::kTimer && !timers) timers = std::make_shared<ExponentialHistogram>(options_.buckets_max);
  series_.push_back(std::make_unique<StatsdSeries>(std::move(identity), type, options_.buckets_max, seed_, timers));
  StatsdSeries* added = series_.back().get();
  added->touched_ms = now_ms_;
  by_key_.emplace(std::move(key), added);
  return added;
}

// The names that ask most, in bounded room: a name that is not among those counted takes the place of the least and
// its count, so that a name that comes often enough cannot be missed. Metwally, Agrawal and El Abbadi, "Efficient
// computation of frequent and top-k elements in data streams", ICDT 2005.
void Statsd::over_max(const std::string& metric, uint64_t& lines) {
  lines++;
  const auto found = std::find_if(offenders_.begin(), offenders_.end(), [&](auto& o) { return o.metric == metric; });
  if (found != offenders_.end()) {
    found->lines++;
  } else if (offenders_.size() < kStatsdOffendersMax) {
    offenders_.push_back({metric, 1});
  } else {
    auto least = std::min_element(offenders_.begin(), offenders_.end(),
                                  [](const Offender& a, const Offender& b) { return a.lines < b.lines; });
    *least = {metric, least->lines + 1};
  }
}

std::vector<Statsd::Offender> Statsd::worst() const {
  std::vector<Offender> out = offenders_;
  std::stable_sort(out.begin(), out.end(), [](const Offender& a, const Offender& b) { return a.lines > b.lines; });
  if (out.size() > kStatsdOffendersTold) out.resize(kStatsdOffendersTold);
  return out;
}

void Statsd::tell_over_max() {
  const uint64_t all = counters_.lines_over_max + counters_.lines_over_text, refused = all - over_max_logged_;
  const int64_t now = clock_.mono_ms();
  if (refused == 0 || (over_max_logged_ > 0 && now - over_max_logged_ms_ < kOverMaxLogMs)) return;
  std::string names;
  for (const Offender& offender : worst()) {
    names += (names.empty() ? "" : ", ") + offender.metric + " (" + std::to_string(offender.lines) + ")";
  }
  log_.warn("statsd_series_over_max", {{"series_max", options_.series_max},
                                       {"text_bytes_max", options_.text_bytes_max},
                                       {"lines", refused},
                                       {"worst", names}});
  over_max_logged_ = all;
  over_max_logged_ms_ = now;
}

void Statsd::tell(Sink& sink) {
  for (const auto& series : series_) series->end_interval();
  for (const auto& series : series_) series->tell(sink);
  expire();
  tell_over_max();
}

void Statsd::expire() {
  const int64_t before = clock_.mono_ms() - options_.idle_ms;
  const auto idle = [&](const StatsdSeries& series) { return series.touched_ms < before; };
  if (std::none_of(series_.begin(), series_.end(), [&](auto& series) { return idle(*series); })) return;
  std::erase_if(by_spelling_, [&](const auto& entry) {
    if (!idle(*entry.second)) return false;
    spelling_bytes_ -= kSpellingBytes + entry.first.size();
    return true;
  });
  std::erase_if(by_key_, [&](const auto& entry) {
    if (!idle(*entry.second)) return false;
    series_bytes_ -= text_bytes_of(entry.second->identity(), entry.first.size());
    return true;
  });
  counters_.series_expired += std::erase_if(series_, [&](const auto& series) {
    if (!idle(*series)) return false;
    for (const std::string& name : StatsdSeries::told_names(series->identity().name, series->type())) {
      const auto told = told_.find(std::string_view(name));
      if (--told->second.series == 0) told_.erase(told);
    }
    return true;
  });
  offenders_.clear();  // there is room again: who asks for more from now on is what matters
}

void Statsd::forget_refs() {
  for (const auto& series : series_) series->forget_refs();
}

}  // namespace lambda::agent
