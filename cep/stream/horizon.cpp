#include "cep/stream/horizon.h"

#include <algorithm>

#include "cep/language/mutant.h"

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
  out.i64(item.clock_due);
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
  item.clock_due = in.i64();
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
constexpr size_t kItemBytes = 52;

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

Devices::Devices(size_t timelines_max) : timelines_max_(std::max<size_t>(timelines_max, 1)), values_(1) {}

TimelineId Devices::look_up(const Value& device) {
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
  if (values_.size() >= timelines_max_) {
    ++rejected_;
    return kSharedTimeline;
  }
  const auto id = static_cast<TimelineId>(values_.size());
  values_.push_back(device);
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
  for (const Value& value : values_) {
    out.value(value);
  }
  out.u64(rejected_);
}

void Devices::load(StateReader& in) {
  const size_t count = in.count(1);
  const size_t max = timelines_max_;
  *this = Devices(std::max(max, count));  // those that are known keep their time; if they are too many, no more come
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const Value device = in.value();
    if (find_or_add(device) != i) {
      in.refuse();  // twice
      return;
    }
  }
  timelines_max_ = max;
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

void ItemHeap::load(StateReader& in, const RuleNumbers& rules) {
  items_.clear();
  const size_t count = in.count(kItemBytes);
  for (size_t i = 0; i < count; ++i) {
    Item item = load_item(in);
    item.rule = item.rule < rules.size() ? rules[item.rule] : kNoRule;
    if (item.rule != kNoRule) {
      items_.push_back(item);
    }
  }
  std::ranges::make_heap(items_, later);
}

size_t ItemHeap::erase(RuleId rule) {
  const size_t erased = std::erase_if(items_, [rule](const Item& item) { return item.rule == rule; });
  std::ranges::make_heap(items_, later);
  return erased;
}

size_t ItemHeap::renumber(RuleId rule, std::span<const KeyId> now) {
  const size_t erased = std::erase_if(items_, [&](Item& item) {
    if (item.rule != rule || item.owner == Owner::kReorder || item.key >= now.size()) {
      return false;
    }
    item.key = now[item.key];
    return item.key == kNoKey;
  });
  std::ranges::make_heap(items_, later);
  return erased;
}

void Horizons::begin_like(const Horizons& others) {
  timelines_.resize(others.timelines_.size());
  for (size_t i = 0; i < timelines_.size(); ++i) {
    timelines_[i].last_arrival = others.timelines_[i].last_arrival;
  }
  by_timeline_.resize(timelines_.size());
  watched_.resize(timelines_.size(), kTimeMax);
}

void Horizons::erase(RuleId rule) {
  items_ -= by_site_.erase(rule);
  for (size_t i = 0; i < by_timeline_.size(); ++i) {
    if (const size_t erased = by_timeline_[i].erase(rule); erased > 0) {
      items_ -= erased;
      note_first(static_cast<TimelineId>(i));
    }
  }
}

void Horizons::renumber(RuleId rule, std::span<const KeyId> now) {
  items_ -= by_site_.renumber(rule, now);
  for (size_t i = 0; i < by_timeline_.size(); ++i) {
    if (!by_timeline_[i].empty()) {
      items_ -= by_timeline_[i].renumber(rule, now);
      note_first(static_cast<TimelineId>(i));
    }
  }
}

void Horizons::grow(TimelineId timeline) {
  if (timelines_.size() <= timeline) {
    const size_t size = std::max<size_t>(timeline + 1, timelines_.size() * 2);
    timelines_.resize(size);
    watched_.resize(size, kTimeMax);
    by_timeline_.resize(size);
  }
}

uint32_t Horizons::on_rows(const Rows& rows, uint32_t begin, uint32_t end, int64_t before, Places& in_order,
                           size_t& late) {
  const size_t had = in_order.size();
  uint32_t* out = in_order.room_for(end - begin);
  const int64_t lateness = settings_.lateness_ms;
  uint32_t row = begin;
  uint32_t foreign = 0;
  bool is_due = false;
  for (; row < end && !is_due; ++row) {
    const TimelineId timeline = rows.timeline[row];
    if (timeline == kForeignTimeline) {
      before = rows.clock[row];
      ++foreign;
      continue;
    }
    if (timelines_.size() <= timeline) {
      grow(timeline);
    }
    Timeline& line = timelines_[timeline];
    if (is_idle(line, before)) {
      line.own = std::max(line.own, before - settings_.idle_ms);
    }
    const int64_t t = rows.t[row];
    before = rows.clock[row];
    line.last_arrival = before;
    line.own = std::max(line.own, t - lateness);
    if (!line.is_active) {
      activate(timeline);
    }
    const int64_t horizon = std::max(base_, line.own);
    *out = row;
    out += horizon == t ? 1 : 0;
    is_due = line.next <= horizon;
  }
  in_order.end_at(out);
  late += row - begin - foreign - (in_order.size() - had);
  return is_due ? row - 1 : end;
}

void Horizons::activate(TimelineId timeline) {
  timelines_[timeline].is_active = true;
  active_.push_back({timelines_[timeline].own, timeline});
  std::ranges::push_heap(active_, kByHorizon);
}

void Horizons::on_advance(int64_t t) {
  const int64_t horizon = t + 1 - (mutant(Mutant::kAdvanceSubtractsLateness) ? settings_.lateness_ms : 0);
  for (Timeline& line : timelines_) {
    line.own = std::max(line.own, horizon);
  }
  if (!mutant(Mutant::kAdvanceKnownOnly)) {
    base_ = std::max(base_, horizon);
  }
  site_ = std::max(site_, horizon);
}

void Horizons::refresh_site() {
  const int64_t now = clock_.now();
  int64_t horizon = site_;
  while (!active_.empty()) {
    Active& top = active_.front();
    const int64_t real = std::max(base_, timelines_[top.timeline].own);
    if (is_idle(timelines_[top.timeline], now) && !mutant(Mutant::kNoIdle)) {
      timelines_[top.timeline].is_active = false;
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
    for (const Timeline& line : timelines_) {
      horizon = std::max(horizon, line.own);
    }
  }
  if (now > kTimeMin && !mutant(Mutant::kNoMaxDelay)) {
    horizon = std::max(horizon, now - settings_.lateness_ms - settings_.max_delay_ms);
  }
  site_ = horizon;
}

void Horizons::add(const Item& item, bool site) {
  ++items_;
  if (site) {
    by_site_.push(item);
    return;
  }
  grow(item.timeline);
  by_timeline_[item.timeline].push(item);
  note_first(item.timeline);
  watch(item.timeline);
}

// The entry is the earliest clock at which idleness alone can make the first item due. Events of the device move that
// back without touching the entry: it is made anew when it comes up.
void Horizons::watch(TimelineId timeline) {
  if (by_timeline_[timeline].empty()) {
    return;
  }
  const bool timer = by_timeline_[timeline].top().place == Place::kTimer;
  const int64_t due = timelines_[timeline].next + (timer ? 1 : 0) + settings_.idle_ms;
  const int64_t clock = std::max(due, timelines_[timeline].last_arrival + settings_.idle_ms + 1);
  if (clock < watched_[timeline]) {
    watched_[timeline] = clock;
    wakeups_.push_back({clock, timeline});
    std::ranges::push_heap(wakeups_, kByClock);
  }
}

void Horizons::take_timeline(TimelineId timeline, std::vector<Item>& out) {
  if (timeline >= timelines_.size() || timelines_[timeline].next == kTimeMax) {
    return;
  }
  const int64_t horizon = device(timeline);
  if (timelines_[timeline].next > horizon) {
    return;
  }
  ItemHeap& heap = by_timeline_[timeline];
  while (!heap.empty() && is_due(heap.top().time, heap.top().place, horizon)) {
    out.push_back(heap.pop());
    --items_;
  }
  note_first(timeline);
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
    --items_;
  }
}

void Horizons::save(StateWriter& out) const {
  out.i64(base_);
  out.i64(site_);
  out.u32(static_cast<uint32_t>(timelines_.size()));
  for (size_t i = 0; i < timelines_.size(); ++i) {
    out.i64(timelines_[i].own);
    out.i64(timelines_[i].last_arrival);
    out.flag(timelines_[i].is_active);
    by_timeline_[i].save(out);
  }
  by_site_.save(out);
}

void Horizons::load(StateReader& in, const RuleNumbers& rules) {
  base_ = in.i64();
  site_ = in.i64();
  const size_t count = in.count(21);
  timelines_.assign(count, {});
  watched_.assign(count, kTimeMax);
  by_timeline_.assign(count, {});
  active_.clear();
  wakeups_.clear();
  for (size_t i = 0; i < count && in.ok(); ++i) {
    Timeline& line = timelines_[i];
    line.own = in.i64();
    line.last_arrival = in.i64();
    line.is_active = in.flag();
    by_timeline_[i].load(in, rules);
    note_first(static_cast<TimelineId>(i));
    if (i >= devices_.count() && (line.is_active || !by_timeline_[i].empty())) {
      in.refuse();
      return;
    }
    if (line.is_active) {
      active_.push_back({line.own, static_cast<TimelineId>(i)});
    }
    watch(static_cast<TimelineId>(i));
  }
  std::ranges::make_heap(active_, kByHorizon);
  by_site_.load(in, rules);
  items_ = by_site_.size();
  for (const ItemHeap& items : by_timeline_) {
    items_ += items.size();
  }
}

}  // namespace lambda::cep
