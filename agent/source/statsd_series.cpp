#include "agent/source/statsd_series.h"

#include <bit>
#include <charconv>

namespace lambda::agent {
namespace {

constexpr std::array<double, 3> kQuantileShares = {0.5, 0.9, 0.99};
constexpr std::array<const char*, 3> kQuantileNames = {"0.5", "0.9", "0.99"};

uint64_t bits_of(double value) {
  return std::bit_cast<uint64_t>(value);
}

// The shortest text that reads back as the same double.
std::string text_of(double value) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? std::string(text.data(), end) : std::string();
}

}  // namespace

StatsdSeries::StatsdSeries(StatsdIdentity identity, StatsdType type, uint32_t buckets_max, uint64_t seed,
                           std::shared_ptr<ExponentialHistogram> family)
    : identity_(std::move(identity)), type_(type) {
  if (type == StatsdType::kSet) members_ = std::make_unique<Cardinality>(seed);
  if (type == StatsdType::kTimer) timer_ = std::make_unique<Timer>(buckets_max, std::move(family));
}

void StatsdSeries::add(const StatsdLine& line) {
  switch (type_) {
    case StatsdType::kCounter:
      for (const StatsdNumber& number : line.numbers) value_ += number.value / line.rate;
      break;
    case StatsdType::kGauge:
      for (const StatsdNumber& number : line.numbers) value_ = number.change ? value_ + number.value : number.value;
      break;
    case StatsdType::kTimer:
      for (const StatsdNumber& number : line.numbers) timer_->interval.add(number.value, 1 / line.rate);
      break;
    case StatsdType::kSet:
      members_->add(line.member);
      break;
  }
}

std::vector<std::string> StatsdSeries::told_names(const std::string& name, StatsdType type) {
  switch (type) {
    case StatsdType::kCounter:
      return {name.ends_with("_total") ? name : name + "_total"};
    case StatsdType::kTimer:
      return {name, name + "_count", name + "_sum", name + "_min", name + "_max", name + "_bucket"};
    default:
      return {name};
  }
}

SeriesSpec StatsdSeries::spec(const char* suffix, Kind kind, const char* label, std::string value) const {
  SeriesSpec out{identity_.name + suffix, identity_.labels, kind, ValueType::kF64, 0, ""};
  if (label != nullptr) out.labels.emplace_back(label, std::move(value));
  return out;
}

void StatsdSeries::end_interval() {
  if (!timer_) return;
  timer_->all.merge(timer_->interval);
  timer_->family->merge(timer_->interval);
}

void StatsdSeries::tell(Sink& sink) {
  switch (type_) {
    case StatsdType::kCounter:
      put(sink, slot_, bits_of(value_),
          [&] { return spec(identity_.name.ends_with("_total") ? "" : "_total", Kind::kCounter); });
      break;
    case StatsdType::kGauge:
      put(sink, slot_, bits_of(value_), [&] { return spec("", Kind::kGauge); });
      break;
    case StatsdType::kSet:
      put(sink, slot_, bits_of(static_cast<double>(members_->estimate())), [&] { return spec("", Kind::kGauge); });
      members_->clear();
      break;
    case StatsdType::kTimer:
      tell_timer(sink);
      break;
  }
}

void StatsdSeries::tell_timer(Sink& sink) {
  Timer& timer = *timer_;
  put(sink, timer.slots[kCount], bits_of(timer.all.count()), [&] { return spec("_count", Kind::kCounter); });
  put(sink, timer.slots[kSum], bits_of(timer.all.sum()), [&] { return spec("_sum", Kind::kCounter); });
  if (timer.interval.count() > 0) {
    put(sink, timer.slots[kMin], bits_of(timer.interval.min()), [&] { return spec("_min", Kind::kGauge); });
    put(sink, timer.slots[kMax], bits_of(timer.interval.max()), [&] { return spec("_max", Kind::kGauge); });
    for (size_t i = 0; i < kQuantileShares.size(); ++i) {
      put(sink, timer.slots[kQuantiles + i], bits_of(timer.interval.quantile(kQuantileShares[i])),
          [&] { return spec("", Kind::kGauge, "quantile", kQuantileNames[i]); });
    }
  }
  tell_buckets(sink);
  timer.interval.clear();
}

// Room for the bounds of all buckets and the one below the first. A series keeps its bound for ever; after the scale
// went down those that are bounds still are found again by the sink under the same text.
void StatsdSeries::fit_bounds() {
  Timer& timer = *timer_;
  const ExponentialHistogram& family = *timer.family;
  const int64_t first = family.first() - 1;
  const size_t count = family.buckets().size() + 1;
  if (timer.bounds.empty() || timer.bounds_scale != family.scale()) {
    timer.bounds.assign(count, {});
  } else {
    if (first < timer.first_bound) {
      timer.bounds.insert(timer.bounds.begin(), static_cast<size_t>(timer.first_bound - first), SeriesSlot{});
    }
    timer.bounds.resize(count);
  }
  timer.first_bound = first;
  timer.bounds_scale = family.scale();
}

// The family has seen all values that this one has, so its range is no smaller and its scale no finer: each of its
// bounds is a bound of this histogram too.
void StatsdSeries::tell_buckets(Sink& sink) {
  Timer& timer = *timer_;
  const auto bound = [&](SeriesSlot& slot, double value, double below) {
    put(sink, slot, bits_of(below), [&] { return spec("_bucket", Kind::kCounter, "le", text_of(value)); });
  };
  double below = timer.all.not_positive();
  if (timer.family->not_positive() > 0) bound(timer.zero, 0, below);
  const auto wanted = timer.family->buckets();
  if (!wanted.empty()) fit_bounds();
  const auto own = timer.all.buckets();
  const int steps = timer.all.scale() - timer.bounds_scale;
  size_t next = 0;
  for (size_t i = 0; i < timer.bounds.size(); ++i) {  // bounds[i] ends bucket i - 1 of the family and begins bucket i
    const int64_t index = timer.first_bound + static_cast<int64_t>(i);
    for (; next < own.size() && ((timer.all.first() + static_cast<int64_t>(next)) >> steps) <= index; ++next) {
      below += own[next];
    }
    const bool empty_before = i == 0 || wanted[i - 1] == 0, empty_after = i == wanted.size() || wanted[i] == 0;
    if (empty_before && empty_after) continue;
    bound(timer.bounds[i], ExponentialHistogram::upper_bound(index, timer.bounds_scale), below);
  }
  put(sink, timer.infinity, bits_of(timer.all.count()), [&] { return spec("_bucket", Kind::kCounter, "le", "+Inf"); });
}

void StatsdSeries::forget_refs() {
  slot_ = {};
  if (!timer_) return;
  timer_->slots = {};
  timer_->bounds.clear();
  timer_->zero = timer_->infinity = {};
}

}  // namespace lambda::agent
