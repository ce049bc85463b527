#include "agent/scrape/target_series.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "agent/source/cardinality.h"
#include "query/series_source.h"

namespace lambda::agent {
namespace {

constexpr uint32_t kRefusedScrapes = 30;  // a refused series is asked for again after so many

bool has(const LabelList& labels, std::string_view name) {
  return std::any_of(labels.begin(), labels.end(), [&](const auto& label) { return label.first == name; });
}

bool names_device(std::string_view label) {
  return label == "instance" || label == "site";
}

}  // namespace

Result<LabelList> scrape_labels(const ScrapeOptions& options) {
  LabelList labels{{"job", options.name}};
  for (const std::string& text : options.labels) {
    const size_t middle = text.find('=');
    if (middle == std::string::npos || middle == 0 || middle + 1 == text.size()) {
      return fail(ErrorCode::kInvalid, "\"" + text + "\" is not of the form name=value");
    }
    const std::string name = text.substr(0, middle);
    if (names_device(name) || has(labels, name)) {
      return fail(ErrorCode::kInvalid, "\"" + text + "\": the label " + name + " is set already");
    }
    const bool letters = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (!letters || (name[0] >= '0' && name[0] <= '9') || name.starts_with("__")) {
      return fail(ErrorCode::kInvalid, "\"" + text + "\": a label is [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __");
    }
    labels.emplace_back(name, text.substr(middle + 1));
  }
  return labels;
}

size_t TargetSeries::Hash::operator()(std::string_view text) const {
  return seeded_hash(seed, text);
}

TargetSeries::TargetSeries(const ScrapeOptions& options, LabelList labels, ScrapeLimits limits, uint64_t seed,
                           FindSeries find)
    : options_(options),
      labels_(std::move(labels)),
      limits_(limits),
      seed_(seed),
      find_(std::move(find)),
      known_(0, Hash{seed}) {}

void TargetSeries::begin(int64_t moment_ms, uint32_t segment) {
  ++round_;
  moment_ms_ = moment_ms;
  segment_ = segment;
  rows_.clear();
  tally_ = {};
  refused_.clear();
}

SeriesSpec TargetSeries::spec_of(const ExpositionSample& sample, Kind kind, std::string_view unit) const {
  SeriesSpec spec{std::string(sample.name), exposition_labels(sample.labels), kind, ValueType::kF64, 0,
                  std::string(unit)};
  // Renamed after all names are known: exported_x may be taken, too.
  for (size_t i = 0; i < spec.labels.size(); ++i) {
    const std::string& name = spec.labels[i].first;
    if (!names_device(name) && (options_.honor_labels || !has(labels_, name))) continue;
    std::string other = "exported_" + name;
    while (has(spec.labels, other) || has(labels_, other)) other = "exported_" + other;
    spec.labels[i].first = std::move(other);
  }
  const size_t own = spec.labels.size();
  for (const auto& label : labels_) {
    const bool stands = std::any_of(spec.labels.begin(), spec.labels.begin() + static_cast<std::ptrdiff_t>(own),
                                    [&](const auto& before) { return before.first == label.first; });
    if (!stands) spec.labels.push_back(label);
  }
  return spec;
}

uint64_t TargetSeries::key_of(const SeriesSpec& spec) const {
  LabelList labels = spec.labels;
  std::sort(labels.begin(), labels.end());
  std::string text = spec.name;
  for (const auto& [name, value] : labels) {
    text.append(1, '\0').append(name).append(1, '\0').append(value);
  }
  return seeded_hash(seed_, text);
}

// kNone: refused, and counted.
SeriesRef TargetSeries::ref_of(SeriesSpec spec) {
  bool fresh = false;
  const auto refuse = [&](std::string why) {
    if (refused_.empty()) refused_ = std::move(why);
    return kNone;
  };
  auto ref = find_(spec, &fresh);
  if (!ref && ref.error().code == ErrorCode::kInvalid) {
    // The page says another kind of it than the first time: it goes on as what it was.
    spec.kind = spec.kind == Kind::kCounter ? Kind::kGauge : Kind::kCounter;
    if (auto other = find_(spec, &fresh); other && !fresh) ref = other;
  }
  if (!ref) return refuse(ref.error().text);
  past_.try_emplace(*ref);
  return *ref;
}

TargetSeries::Known& TargetSeries::known_of(const ExpositionSample& sample, Kind kind, std::string_view unit) {
  auto found = known_.find(sample.series);
  if (found == known_.end()) found = known_.emplace(std::string(sample.series), Known{}).first;
  Known& known = found->second;
  if (known.ended) tally_.series_added++;
  known.ended = false;
  if (known.ref != kNone) return known;
  if (known.wait > 0) {
    known.wait--;
    return known;
  }
  known.wait = kRefusedScrapes;
  SeriesSpec spec = spec_of(sample, kind, unit);
  const uint64_t key = key_of(spec);
  if (made_.size() >= options_.series_max && !made_.contains(key)) {
    if (refused_.empty()) refused_ = "over series_max = " + std::to_string(options_.series_max);
    return known;
  }
  known.ref = ref_of(std::move(spec));
  if (known.ref != kNone) made_[key] = known.ref;
  return known;
}

void TargetSeries::each_in_use(const std::function<void(SeriesRef)>& in_use) const {
  for (const auto& [text, known] : known_) {
    if (known.ref != kNone && !known.ended) in_use(known.ref);
  }
  for (const auto& [time_ms, points] : rows_) {
    for (const RowPoint& point : points) in_use(point.ref);
  }
}

void TargetSeries::forget(const std::vector<bool>& gone) {
  const auto is_gone = [&](SeriesRef ref) { return ref < gone.size() && gone[ref]; };
  std::erase_if(known_, [&](const auto& known) { return is_gone(known.second.ref); });
  std::erase_if(past_, [&](const auto& past) { return is_gone(past.first); });
  std::erase_if(reports_, [&](const auto& report) { return is_gone(report.second); });
  std::erase_if(made_, [&](const auto& made) { return is_gone(made.second); });
}

Places TargetSeries::places(const std::function<bool(SeriesRef)>& ended) const {
  const auto count = std::count_if(made_.begin(), made_.end(), [&](const auto& made) { return ended(made.second); });
  return {made_.size(), options_.series_max, static_cast<uint64_t>(count)};
}

// In the order of time, each moment of a series once.
void TargetSeries::put(SeriesRef ref, int64_t time_ms, uint64_t bits) {
  Past& past = past_[ref];
  if (past.segment != segment_) {  // the clock was set, or the boot is another one
    past.segment = segment_;
    past.time_ms = INT64_MIN;
  }
  if (time_ms == past.time_ms) {
    if (bits != past.bits) tally_.samples_twice++;
    return;
  }
  if (time_ms < past.time_ms) {
    tally_.samples_out_of_bounds++;
    return;
  }
  past.time_ms = time_ms;
  past.bits = bits;
  rows_[time_ms].push_back({ref, bits});
}

void TargetSeries::take(const ExpositionSample& sample, Kind kind, std::string_view unit) {
  tally_.samples++;
  Known& known = known_of(sample, kind, unit);
  const bool timed = sample.timed && options_.honor_timestamps;
  const bool again = std::exchange(known.round, round_) == round_;
  known.timed = timed;
  if (known.ref == kNone) {
    tally_.series_refused++;
    return;
  }
  if (again && !timed) {
    tally_.samples_twice++;
    return;
  }
  if (timed &&
      (sample.time_ms < moment_ms_ - limits_.past_ms_max || sample.time_ms > moment_ms_ + limits_.future_ms_max)) {
    tally_.samples_out_of_bounds++;
    return;
  }
  put(known.ref, timed ? sample.time_ms : moment_ms_, std::bit_cast<uint64_t>(sample.value));
}

void TargetSeries::report(const char* name, double value, const char* unit) {
  const auto [at, added] = reports_.try_emplace(name, kNone);
  if (at->second == kNone) at->second = ref_of({name, labels_, Kind::kGauge, ValueType::kF64, 0, unit});
  if (at->second != kNone) put(at->second, moment_ms_, std::bit_cast<uint64_t>(value));
}

void TargetSeries::end() {
  const bool crowded = known_.size() > texts_max();
  for (auto at = known_.begin(); at != known_.end();) {
    Known& known = at->second;
    if (known.round == round_) {
      ++at;
      continue;
    }
    if (known.ref != kNone && !known.ended && !known.timed) put(known.ref, moment_ms_, query::kStalenessBits);
    known.ended = true;
    at = known.ref == kNone || crowded ? known_.erase(at) : std::next(at);
  }
}

void TargetSeries::fail() {
  ++round_;
  end();
}

std::vector<Row> TargetSeries::rows() {
  std::vector<Row> out;
  for (auto& [time_ms, points] : rows_) {
    std::sort(points.begin(), points.end(), [](const RowPoint& a, const RowPoint& b) { return a.ref < b.ref; });
    out.push_back({time_ms, segment_, std::move(points)});
  }
  rows_.clear();
  return out;
}

}  // namespace lambda::agent
