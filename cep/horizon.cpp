#include "cep/horizon.h"

#include <algorithm>

#include "cep/mutant.h"

namespace lambda::cep {
namespace {

bool later(const Item& x, const Item& y) {
  return x.time != y.time ? x.time > y.time : x.place > y.place;
}

// Heaps of the standard library have the greatest on top: these order the least there.
constexpr auto kByHorizon = [](const auto& x, const auto& y) { return x.horizon > y.horizon; };
constexpr auto kByClock = [](const auto& x, const auto& y) { return x.clock > y.clock; };

void save_item(StateWriter& out, const Item& item) {
  out.i64(item.time);
  out.u64(item.arrival);
  out.u32(item.rule);
  out.u32(item.key);
  out.u32(item.timeline);
  out.u8(static_cast<uint8_t>(item.place));
  out.u8(static_cast<uint8_t>(item.rank));
  out.u8(static_cast<uint8_t>(item.owner));
  out.u8(item.tag);
  out.u32(item.generation);
  out.u64(item.cookie);
}

Item load_item(StateReader& in) {
  Item item;
  item.time = in.i64();
  item.arrival = in.u64();
  item.rule = in.u32();
  item.key = in.u32();
  item.timeline = in.u32();
  item.place = static_cast<Place>(in.u8());
  item.rank = static_cast<Rank>(in.u8());
  item.owner = static_cast<Owner>(in.u8());
  item.tag = in.u8();
  item.generation = in.u32();
  item.cookie = in.u64();
  if (item.place > Place::kTimer || item.rank > Rank::kExpiry || item.owner > Owner::kResults) {
    in.refuse();
  }
  return item;
}
constexpr size_t kItemBytes = 44;

}  // namespace

void ArrivalClock::save(StateWriter& out) const {
  out.i64(now_);
  out.i64(before_);
  out.i64(due_below_);
}

void ArrivalClock::load(StateReader& in) {
  now_ = in.i64();
  before_ = in.i64();
  due_below_ = in.i64();
}

Devices::Devices() : values_(1), last_arrival_(1, kTimeMin) {}

TimelineId Devices::find_or_add(const Value& device) {
  if (device.is_null()) {
    return kSharedTimeline;
  }
  const bool text = device.type == Type::kText;
  if (text) {
    if (device.text < by_symbol_.size() && by_symbol_[device.text] != 0) {
      return by_symbol_[device.text];
    }
  } else if (const auto found = others_.find(device); found != others_.end()) {
    return found->second;
  }
  if (values_.size() >= kTimelinesMax) {
    ++rejected_;
    return kSharedTimeline;
  }
  const auto id = static_cast<TimelineId>(values_.size());
  values_.push_back(device);
  last_arrival_.push_back(kTimeMin);
  if (text) {
    if (by_symbol_.size() <= device.text) {
      by_symbol_.resize(std::max<size_t>(device.text + 1, by_symbol_.size() * 2));
    }
    by_symbol_[device.text] = id;
  } else {
    others_.emplace(device, id);
  }
  return id;
}

void Devices::save(StateWriter& out) const {
  out.u32(static_cast<uint32_t>(values_.size()));
  for (size_t i = 0; i < values_.size(); ++i) {
    out.value(values_[i]);
    out.i64(last_arrival_[i]);
  }
  out.u64(rejected_);
}

void Devices::load(StateReader& in) {
  *this = Devices();
  const size_t count = in.count(9);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const Value device = in.value();
    const TimelineId id = find_or_add(device);
    if (id != i) {
      in.refuse();  // twice, or more than there may be
      return;
    }
    last_arrival_[id] = in.i64();
  }
  rejected_ = in.u64();
}

void ItemHeap::push(const Item& item) {
  items_.push_back(item);
  std::ranges::push_heap(items_, later);
}

Item ItemHeap::pop() {
  std::ranges::pop_heap(items_, later);
  const Item item = items_.back();
  items_.pop_back();
  if (items_.empty() && items_.capacity() > 64) {
    items_.shrink_to_fit();
  }
  return item;
}

void ItemHeap::save(StateWriter& out) const {
  out.u32(static_cast<uint32_t>(items_.size()));
  for (const Item& item : items_) {
    save_item(out, item);
  }
}

void ItemHeap::load(StateReader& in) {
  items_.clear();
  const size_t count = in.count(kItemBytes);
  for (size_t i = 0; i < count; ++i) {
    items_.push_back(load_item(in));
  }
  std::ranges::make_heap(items_, later);
}

void Horizons::grow(TimelineId timeline) {
  if (own_.size() <= timeline) {
    const size_t size = std::max<size_t>(timeline + 1, own_.size() * 2);
    own_.resize(size, kTimeMin);
    active_in_.resize(size);
    watched_.resize(size, kTimeMax);
    by_timeline_.resize(size);
    next_.resize(size, kTimeMax);
  }
}

void Horizons::on_event(TimelineId timeline, int64_t t, bool guarded) {
  grow(timeline);
  int64_t& own = own_[timeline];
  if (is_idle(timeline, clock_.before())) {
    own = std::max(own, clock_.before() - settings_.idle_ms);
  }
  if (!guarded || mutant(Mutant::kNoClockGuard)) {
    own = std::max(own, t - settings_.lateness_ms);
  }
  if (!active_in_[timeline]) {
    active_in_[timeline] = 1;
    active_.push_back({own, timeline});
    std::ranges::push_heap(active_, kByHorizon);
  }
}

void Horizons::on_advance(int64_t t) {
  const int64_t horizon = t + 1 - (mutant(Mutant::kAdvanceSubtractsLateness) ? settings_.lateness_ms : 0);
  for (int64_t& own : own_) {
    own = std::max(own, horizon);
  }
  if (!mutant(Mutant::kAdvanceKnownOnly)) {
    base_ = std::max(base_, horizon);
  }
  site_ = std::max(site_, horizon);
}

int64_t Horizons::device(TimelineId timeline) const {
  int64_t horizon = std::max(base_, timeline < own_.size() ? own_[timeline] : kTimeMin);
  if (is_idle(timeline, clock_.now())) {
    horizon = std::max(horizon, clock_.now() - settings_.idle_ms);
  }
  return horizon;
}

void Horizons::refresh_site() {
  const int64_t now = clock_.now();
  int64_t horizon = site_;
  while (!active_.empty()) {
    Active& top = active_.front();
    const int64_t real = std::max(base_, own_[top.timeline]);
    if (is_idle(top.timeline, now) && !mutant(Mutant::kNoIdle)) {
      active_in_[top.timeline] = 0;
      std::ranges::pop_heap(active_, kByHorizon);
      active_.pop_back();
    } else if (top.horizon != real) {
      const TimelineId timeline = top.timeline;
      std::ranges::pop_heap(active_, kByHorizon);
      active_.back() = {real, timeline};
      std::ranges::push_heap(active_, kByHorizon);
    } else {
      horizon = std::max(horizon, real);
      break;
    }
  }
  if (mutant(Mutant::kSiteMaximum)) {
    for (const int64_t own : own_) {
      horizon = std::max(horizon, own);
    }
  }
  if (now > kTimeMin) {
    horizon = std::max(horizon, now - settings_.lateness_ms - settings_.max_delay_ms);
  }
  site_ = horizon;
}

void Horizons::add(const Item& item, bool site) {
  if (site) {
    by_site_.push(item);
    return;
  }
  grow(item.timeline);
  by_timeline_[item.timeline].push(item);
  next_[item.timeline] = std::min(next_[item.timeline], item.time);
  watch(item.timeline);
}

// The entry is the earliest clock at which idleness alone can make the first item due. Events of the device move that
// back without touching the entry: it is made anew when it comes up.
void Horizons::watch(TimelineId timeline) {
  if (by_timeline_[timeline].empty()) {
    return;
  }
  const Item& next = by_timeline_[timeline].top();
  const int64_t due = next.time + (next.place == Place::kTimer ? 1 : 0) + settings_.idle_ms;
  const int64_t clock = std::max(due, devices_.last_arrival(timeline) + settings_.idle_ms + 1);
  if (clock < watched_[timeline]) {
    watched_[timeline] = clock;
    wakeups_.push_back({clock, timeline});
    std::ranges::push_heap(wakeups_, kByClock);
  }
}

void Horizons::take_timeline(TimelineId timeline, std::vector<Item>& out) {
  if (timeline >= next_.size() || next_[timeline] == kTimeMax) {
    return;
  }
  const int64_t horizon = device(timeline);
  if (next_[timeline] > horizon) {
    return;
  }
  ItemHeap& heap = by_timeline_[timeline];
  while (!heap.empty() && is_due(heap.top().time, heap.top().place, horizon)) {
    out.push_back(heap.pop());
  }
  next_[timeline] = heap.empty() ? kTimeMax : heap.top().time;
}

void Horizons::take_due(TimelineId timeline, bool all, std::vector<Item>& out) {
  if (all) {
    for (TimelineId i = 0; i < by_timeline_.size(); ++i) {
      take_timeline(i, out);
    }
  } else {
    take_timeline(timeline, out);
  }
  while (!wakeups_.empty() && wakeups_.front().clock <= clock_.now()) {
    const Wakeup woken = wakeups_.front();
    std::ranges::pop_heap(wakeups_, kByClock);
    wakeups_.pop_back();
    if (watched_[woken.timeline] == woken.clock) {
      watched_[woken.timeline] = kTimeMax;
      take_timeline(woken.timeline, out);
      watch(woken.timeline);
    }
  }
  while (!by_site_.empty() && is_due(by_site_.top().time, by_site_.top().place, site_)) {
    out.push_back(by_site_.pop());
  }
}

void Horizons::save(StateWriter& out) const {
  out.i64(base_);
  out.i64(site_);
  out.u32(static_cast<uint32_t>(own_.size()));
  for (size_t i = 0; i < own_.size(); ++i) {
    out.i64(own_[i]);
    out.u8(active_in_[i]);
    by_timeline_[i].save(out);
  }
  by_site_.save(out);
}

void Horizons::load(StateReader& in) {
  base_ = in.i64();
  site_ = in.i64();
  const size_t count = in.count(13);
  own_.assign(count, kTimeMin);
  active_in_.assign(count, 0);
  watched_.assign(count, kTimeMax);
  by_timeline_.assign(count, {});
  next_.assign(count, kTimeMax);
  active_.clear();
  wakeups_.clear();
  for (size_t i = 0; i < count && in.ok(); ++i) {
    own_[i] = in.i64();
    active_in_[i] = in.u8();
    by_timeline_[i].load(in);
    next_[i] = by_timeline_[i].empty() ? kTimeMax : by_timeline_[i].top().time;
    if (i >= devices_.count() && (active_in_[i] != 0 || !by_timeline_[i].empty())) {
      in.refuse();
      return;
    }
    if (active_in_[i]) {
      active_.push_back({own_[i], static_cast<TimelineId>(i)});
    }
    watch(static_cast<TimelineId>(i));
  }
  std::ranges::make_heap(active_, kByHorizon);
  by_site_.load(in);
}

}  // namespace lambda::cep
