#include "gateway/live/fresh_points.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <tuple>

#include "base/planted.h"
#include "lambda/codecs.h"
#include "proto/lambda.pb.h"
#include "query/labels.h"

namespace lambda::gateway {
namespace {

// What is wrong with a device's clock is known by its blocks only: of no segment, so that nothing is added.
constexpr uint32_t kNoClock = UINT32_MAX;

constexpr int64_t kSweepMs = 10'000;
constexpr size_t kClocksMax = 64;  // of a device; past it they are asked of the store again

RunSet without(const RunSet& set, uint64_t first, uint64_t end) {
  RunSet rest;
  for (const OrdinalRun& run : set.runs()) {
    if (run.first < first) rest.add(run.first, std::min(run.end, first));
    if (run.end > end) rest.add(std::max(run.first, end), run.end);
  }
  return rest;
}

std::shared_ptr<const FreshSeries> series_of(const std::string& device, const std::string& site,
                                             const Declared& declared) {
  auto series = std::make_shared<FreshSeries>();
  series->device = device;
  series->labels = declared.labels;
  series->labels.emplace_back(query::kMetricName, declared.name);
  series->labels.emplace_back("instance", device);
  series->labels.emplace_back("site", site);
  std::sort(series->labels.begin(), series->labels.end());
  series->kind = declared.kind;
  series->type = declared.type;
  series->scale = declared.scale;
  series->unit = declared.unit;
  return series;
}

bool alike(const FreshSeries& a, const FreshSeries& b) {
  return a.labels == b.labels && a.kind == b.kind && a.type == b.type && a.scale == b.scale && a.unit == b.unit;
}

}  // namespace

double number_of(const FreshSeries& series, uint64_t bits) {
  static constexpr double kPowers[kScaleMax + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
  if (series.type == ValueType::kF64) return std::bit_cast<double>(bits);
  if (series.type == ValueType::kF32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  const auto number = static_cast<double>(static_cast<int64_t>(bits));
  return series.type == ValueType::kDec ? number / kPowers[std::min(series.scale, kScaleMax)] : number;
}

FreshPoints::FreshPoints(Env& env, FreshOptions options, Store& store)
    : env_(env), options_(std::move(options)), store_(store), decoded_(kBlockPointsMax) {}

FreshPoints::~FreshPoints() {
  env_.loop.cancel(sweep_timer_);
}

// ---- Consumers

Result<uint64_t> FreshPoints::add(const std::vector<std::vector<query::Matcher>>& selectors, FreshConsumer& consumer) {
  Consumer made;
  for (const auto& matchers : selectors) {
    auto set = query::MatcherSet::compile(matchers);
    if (!set) return tl::unexpected(set.error());
    made.selectors.push_back(std::move(*set));
  }
  auto slot = std::find_if(consumers_.begin(), consumers_.end(), [](const Consumer& each) { return each.id == 0; });
  if (slot == consumers_.end()) {
    if (consumers_.size() == kConsumersMax) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(kConsumersMax) + " consumers of new points");
    }
    slot = consumers_.emplace(consumers_.end());
  }
  made.id = ++last_consumer_;
  made.consumer = &consumer;
  *slot = std::move(made);
  ++generation_;
  return slot->id;
}

void FreshPoints::remove(uint64_t consumer) {
  for (Consumer& each : consumers_) {
    if (each.id == consumer) each = Consumer();
  }
  while (!consumers_.empty() && consumers_.back().id == 0) consumers_.pop_back();
  ++generation_;
}

uint32_t FreshPoints::consumers_of(Stream& stream) {
  if (consumers_.empty() || stream.series == nullptr) return 0;
  if (stream.consumers_asked == generation_) return stream.consumers;
  stream.consumers = 0;
  for (size_t i = 0; i < consumers_.size(); ++i) {
    const auto& selectors = consumers_[i].selectors;
    const bool any = std::any_of(selectors.begin(), selectors.end(),
                                 [&](const auto& selector) { return selector.matches(stream.series->labels); });
    if (any) stream.consumers |= 1u << i;
  }
  stream.consumers_asked = generation_;
  return stream.consumers;
}

// What is in fresh_, with the offset of its clock.
void FreshPoints::hand_out(Stream& stream, uint32_t consumers, Lane lane, const ClockView& clock) {
  if (fresh_.empty() || consumers == 0) return;
  const int64_t offset_ms = clock.known ? clock.offset_ms : 0;
  for (FreshPoint& point : fresh_) {
    if (__builtin_add_overflow(point.time_ms, offset_ms, &point.time_ms))
      point.time_ms = offset_ms > 0 ? INT64_MAX : INT64_MIN;
  }
  const FreshRun run{*stream.series, stream.boot, stream.ref, lane, offset_ms, clock.relative && !clock.known, fresh_};
  for (size_t i = 0; i < consumers_.size(); ++i) {
    if ((consumers >> i & 1u) == 0) continue;
    (lane == Lane::kLive ? counters_.consumed_live : counters_.consumed_block) += fresh_.size();
    consumers_[i].consumer->take(run);
  }
}

ClockView FreshPoints::clock_of(Device& device, uint64_t boot, uint32_t segment) {
  if (const auto known = device.clocks.find({boot, segment}); known != device.clocks.end()) return known->second;
  const ClockView clock = store_.clock(device.name, boot, segment).value_or(ClockView{segment, false, 0, true});
  if (device.clocks.size() >= kClocksMax) device.clocks.clear();
  return device.clocks[{boot, segment}] = clock;
}

// ---- Streams

FreshPoints::Stream* FreshPoints::find(Device& device, uint64_t boot, uint32_t ref) {
  const auto found = device.at.find({boot, ref});
  if (found == device.at.end()) return nullptr;
  device.streams.splice(device.streams.begin(), device.streams, found->second);
  found->second->touched_ms = env_.clock.mono_ms();
  return &*found->second;
}

FreshPoints::Stream& FreshPoints::stream(Device& device, uint64_t boot, uint32_t ref) {
  if (Stream* found = find(device, boot, ref)) return *found;
  Stream& made = device.streams.emplace_front();
  device.at[{boot, ref}] = device.streams.begin();
  made.device = &device;
  made.boot = boot;
  made.ref = ref;
  made.number = ++last_stream_;
  made.touched_ms = env_.clock.mono_ms();
  ++streams_;
  bound_streams(&made);
  want_sweep();
  return made;
}

// What is stored of the stream is what is so; a declaration that is not stored yet is believed until then.
bool FreshPoints::know_series(Stream& stream, const Declared* declared) {
  if (stream.series == nullptr) {
    if (const auto stored = store_.declared(stream.device->name, stream.boot, stream.ref)) {
      stream.series = series_of(stream.device->name, options_.site, *stored);
    } else if (declared != nullptr) {
      stream.series = series_of(stream.device->name, options_.site, *declared);
    }
    stream.consumers_asked = 0;
  } else if (declared != nullptr && !alike(*stream.series, *series_of(stream.device->name, options_.site, *declared))) {
    ++counters_.redeclared;
  }
  return stream.series != nullptr;
}

void FreshPoints::forget(Device& device, std::list<Stream>::iterator stream) {
  (void)drop_points(*stream, stream->points.end());
  device.at.erase({stream->boot, stream->ref});
  device.streams.erase(stream);
  --streams_;
}

void FreshPoints::bound_streams(const Stream* spared) {
  while (streams_ > options_.streams_max) {
    auto most = std::max_element(devices_.begin(), devices_.end(), [](const auto& a, const auto& b) {
      return a.second.streams.size() < b.second.streams.size();
    });
    const auto least = std::prev(most->second.streams.end());
    if (&*least == spared) return;  // no device has more than one
    if (!least->ahead.empty()) ++counters_.streams_forgotten;
    forget(most->second, least);
  }
}

// ---- The live lane

void FreshPoints::live(const std::string& device, const LiveMessage& message) {
  if (!store_.ready()) return;
  Device& from = devices_[device];
  if (from.name.empty()) from.name = device;
  for (const Declared& declared : message.declarations) {
    (void)know_series(stream(from, message.boot, declared.ref), &declared);
  }
  for (const LiveBlock& block : message.blocks) {
    Stream* to = find(from, message.boot, block.info.ref);
    if (to == nullptr && store_.declared(device, message.boot, block.info.ref)) {
      to = &stream(from, message.boot, block.info.ref);
    }
    if (to == nullptr || !know_series(*to, nullptr)) {
      counters_.points_undeclared += block.points.size();
    } else if (block.info.type != to->series->type || block.info.scale != to->series->scale) {
      counters_.points_mistyped += block.points.size();
    } else {
      live_block(*to, block);
    }
  }
  bound_points();
}

void FreshPoints::live_block(Stream& stream, const LiveBlock& block) {
  if (!stream.live) {
    stream.live = true;
    stream.seen = store_.coverage(stream.device->name, stream.boot, stream.ref);
  }
  const int64_t now = env_.clock.mono_ms(), ahead_ms = env_.clock.utc_ms() + options_.ahead_ms_max;
  const uint64_t first = block.info.first_ordinal, end = first + block.points.size();
  fresh_.clear();
  const auto runs = planted("live_twice") ? std::vector<OrdinalRun>{{first, end}} : stream.seen.missing(first, end);
  if (stream.points.empty()) stream.oldest_ms = now;
  for (const OrdinalRun& run : runs) {
    for (uint64_t ordinal = run.first; ordinal < run.end; ++ordinal) {
      const Point& point = block.points[ordinal - first];
      if (point.time_ms > ahead_ms) ++counters_.points_ahead;
      if (stream.points.emplace(ordinal, Held{point, now}).second) {
        ++points_;
        ++stream.device->points;
      }
      fresh_.push_back({ordinal, point.time_ms, point.bits});
    }
    stream.ahead.add(run.first, run.end);
    remember(stream, run.first, run.end);
  }
  counters_.points_live += fresh_.size();
  counters_.points_again += block.points.size() - fresh_.size();
  if (fresh_.empty()) return;
  by_name_[std::string(query::label_value(stream.series->labels, query::kMetricName))].insert(&stream);
  hand_out(stream, consumers_of(stream), Lane::kLive, {block.info.clock, false, 0, true});
}

void FreshPoints::remember(Stream& stream, uint64_t first, uint64_t end) {
  stream.seen.add(first, end);
  for (RunSet* set : {&stream.seen, &stream.ahead}) {
    if (set->runs().size() <= options_.runs_max) continue;
    ++counters_.runs_forgotten;
    const OrdinalRun lowest = set->runs().front();
    *set = without(*set, lowest.first, lowest.end);
  }
}

// ---- The block lane

void FreshPoints::stored(const std::string& device, uint64_t boot, std::string_view parcel, const Decision& decision) {
  const bool consumed = !consumers_.empty() && !decision.accepted.empty();
  const auto known = devices_.find(device);
  if (!consumed && known == devices_.end()) return;  // nobody here has to do with it
  v1::Parcel message;
  if (!message.ParseFromArray(parcel.data(), static_cast<int>(parcel.size()))) return;
  Device& from = known != devices_.end() ? known->second : devices_[device];
  if (from.name.empty()) from.name = device;
  // What this parcel declared the store knows by now, its clocks, too; an offset may be known since this one.
  if (message.clocks_size() > 0) from.clocks.clear();
  auto accepted = decision.accepted.begin();
  for (int i = 0; i < message.blocks_size(); ++i) {
    const auto begin = accepted;
    while (accepted != decision.accepted.end() && accepted->block == static_cast<uint32_t>(i)) ++accepted;
    const std::string& bytes = message.blocks(i);
    stored_block(from, boot, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                 std::span(begin, accepted));
  }
}

void FreshPoints::stored_block(Device& device, uint64_t boot, std::span<const uint8_t> bytes,
                               std::span<const AcceptedOrdinals> accepted) {
  BlockReader reader;
  if (!reader.open(bytes, boot, kAllCodings).ok()) return;  // not of a verified parcel
  Stream* to = find(device, boot, reader.info().ref);
  if (to != nullptr && to->series != nullptr &&
      (reader.info().type != to->series->type || reader.info().scale != to->series->scale)) {
    // The live lane was told something else of this series.
    ++counters_.redeclared;
    (void)drop_points(*to, to->points.end());
    to->series = nullptr;
  }
  uint32_t consumers = 0;
  if (!consumers_.empty() && !accepted.empty()) {
    if (to == nullptr) to = &stream(device, boot, reader.info().ref);
    if (know_series(*to, nullptr)) consumers = consumers_of(*to);
  }
  if (to == nullptr || (!to->live && consumers == 0)) return;
  BlockInfo info;
  if (!decode_block(bytes, boot, &info, decoded_, kAllCodings).ok()) return;
  const std::span<const Point> points(decoded_.data(), info.count);
  if (consumers != 0) {
    fresh_.clear();
    for (const AcceptedOrdinals& part : accepted) {
      const auto missed = to->live && !planted("live_block_again") ? to->ahead.missing(part.first, part.end)
                                                                   : std::vector<OrdinalRun>{{part.first, part.end}};
      for (const OrdinalRun& run : missed) {
        for (uint64_t ordinal = run.first; ordinal < run.end; ++ordinal) {
          const Point& point = points[ordinal - info.first_ordinal];
          fresh_.push_back({ordinal, point.time_ms, point.bits});
        }
      }
    }
    hand_out(*to, consumers, Lane::kBlock, clock_of(device, boot, info.clock));
  }
  if (to->live) confirm(*to, info, points);
}

// The block is the record: what the live lane said of its ordinals is not needed any more.
void FreshPoints::confirm(Stream& stream, const BlockInfo& info, std::span<const Point> points) {
  const uint64_t first = info.first_ordinal, end = first + info.count;
  const auto from = stream.points.lower_bound(first), to = stream.points.lower_bound(end);
  for (auto at = from; at != to; ++at) {
    ++(at->second.point == points[at->first - first] ? counters_.points_confirmed : counters_.points_differ);
  }
  const auto gone = static_cast<uint64_t>(std::distance(from, to));
  stream.points.erase(from, to);
  points_ -= gone;
  stream.device->points -= gone;
  if (gone > 0 && stream.points.empty()) (void)drop_points(stream, stream.points.end());
  if (stream.ahead.intersects(first, end)) stream.ahead = without(stream.ahead, first, end);
  remember(stream, first, end);
}

// ---- Bounds

// Drops the points before `end`; returns how many.
uint64_t FreshPoints::drop_points(Stream& stream, std::map<uint64_t, Held>::iterator end) {
  const auto gone = static_cast<uint64_t>(std::distance(stream.points.begin(), end));
  stream.points.erase(stream.points.begin(), end);
  points_ -= gone;
  stream.device->points -= gone;
  if (stream.points.empty() && stream.series != nullptr) {
    const auto name = by_name_.find(std::string(query::label_value(stream.series->labels, query::kMetricName)));
    if (name != by_name_.end() && name->second.erase(&stream) > 0 && name->second.empty()) by_name_.erase(name);
  }
  return gone;
}

void FreshPoints::bound_points() {
  while (points_ > options_.points_max) {
    auto most = std::max_element(devices_.begin(), devices_.end(),
                                 [](const auto& a, const auto& b) { return a.second.points < b.second.points; });
    const uint64_t goal = std::max<uint64_t>(points_ - options_.points_max, options_.points_max / 16);
    uint64_t gone = 0;
    auto& streams = most->second.streams;
    for (auto at = streams.rbegin(); at != streams.rend() && gone < goal; ++at) {
      const auto half = static_cast<std::ptrdiff_t>((at->points.size() + 1) / 2);
      gone += drop_points(*at, std::next(at->points.begin(), half));
    }
    counters_.points_evicted += gone;
    evicted_ms_ = env_.clock.mono_ms();
  }
}

bool FreshPoints::incomplete() const {
  return evicted_ms_ != INT64_MIN && env_.clock.mono_ms() - evicted_ms_ < options_.keep_ms;
}

void FreshPoints::want_sweep() {
  if (sweep_timer_ != 0) return;
  sweep_timer_ = env_.loop.after(kSweepMs, [this] {
    sweep_timer_ = 0;
    sweep();
    if (streams_ > 0) want_sweep();
  });
}

// Points whose block does not come; streams of which nothing is known that the store does not know.
void FreshPoints::sweep() {
  const int64_t before = env_.clock.mono_ms() - options_.keep_ms;
  for (auto device = devices_.begin(); device != devices_.end();) {
    for (auto at = device->second.streams.begin(); at != device->second.streams.end();) {
      const auto stream = at++;
      if (!stream->points.empty() && stream->oldest_ms < before) {
        const auto gone = static_cast<uint64_t>(
            std::erase_if(stream->points, [&](const auto& entry) { return entry.second.came_ms < before; }));
        counters_.points_expired += gone;
        points_ -= gone;
        device->second.points -= gone;
        stream->oldest_ms = INT64_MAX;
        for (const auto& [ordinal, held] : stream->points) {
          stream->oldest_ms = std::min(stream->oldest_ms, held.came_ms);
        }
        if (stream->points.empty()) (void)drop_points(*stream, stream->points.end());
      }
      const bool idle = stream->points.empty() && stream->ahead.empty() && stream->touched_ms < before;
      if (idle) forget(device->second, stream);
    }
    device = device->second.streams.empty() ? devices_.erase(device) : std::next(device);
  }
}

// ---- Reading

Result<std::vector<query::FreshSeries>> FreshPoints::read(const query::MatcherSet& matchers, int64_t from_ms,
                                                          int64_t to_ms, uint64_t series_max) const {
  std::map<query::Labels, std::map<uint64_t, const Stream*>> series;  // streams by their number: the latest is last
  for (const auto& [name, streams] : by_name_) {
    if (!matchers.label_may_match(query::kMetricName, name)) continue;
    for (const Stream* stream : streams) {
      const auto within = [&](const auto& entry) {
        return entry.second.point.time_ms >= from_ms && entry.second.point.time_ms <= to_ms;
      };
      if (!matchers.matches(stream->series->labels) || std::ranges::none_of(stream->points, within)) continue;
      series[stream->series->labels].emplace(stream->number, stream);
      if (series.size() > series_max) {
        return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
      }
    }
  }
  std::vector<query::FreshSeries> all;
  for (const auto& [labels, streams] : series) {
    query::FreshSeries fresh{labels, {}};
    for (const auto& [number, stream] : streams) {
      for (const auto& [ordinal, held] : stream->points) {
        const Point& point = held.point;
        if (point.time_ms < from_ms || point.time_ms > to_ms) continue;
        fresh.points.push_back(
            {stream->boot, stream->ref, kNoClock, ordinal, {point.time_ms, number_of(*stream->series, point.bits)}});
      }
    }
    all.push_back(std::move(fresh));
  }
  return all;
}

}  // namespace lambda::gateway
