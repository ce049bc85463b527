// Rules with a window or aggregates (34 to 38, 42). A key's windows that are open hold one accumulator for each
// aggregate; SLIDE, ROWS and windows of late=update hold their rows and add them up anew for each output.
#include <algorithm>
#include <map>

#include "cep/language/mutant.h"
#include "cep/machine/ranking.h"
#include "cep/machine/results.h"
#include "cep/machine/row_source.h"
#include "cep/machine/window_state.h"

namespace lambda::cep {
namespace {

using ast::WindowKind;

int64_t floor_to(int64_t t, int64_t step) {
  const int64_t rest = t % step;
  return t - (rest < 0 ? rest + step : rest);
}

class WindowMachine final : public Machine {
 public:
  WindowMachine(const RuleContext& context, Results& results)
      : context_(context),
        plan_(*context.plan.window),
        source_(context),
        results_(results),
        ranking_(context),
        ordered_(!context.plan.order_by.empty() || context.plan.limit),
        updates_(context.plan.options.late == LatePolicy::kUpdate),
        arguments_(plan_.aggregates.size()),
        group_row_(context.plan.keys.size() + plan_.aggregates.size() + 2) {}

  void on_event(const Event& event, const Moment& moment) override {
    const auto row = source_.admit(event, moment);
    if (!row) {
      return;
    }
    if (row->is_new_key) {
      reset(row->key);
      results_.reset(row->key, moment);
    }
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const Program& argument = plan_.aggregates[i].argument;
      arguments_[i] = argument.empty() ? Value::of_bool(true) : context_.evaluator.value(argument, row->frames);
    }
    if (groups_.size() <= row->key) {
      groups_.resize(std::max<size_t>(row->key + 1, context_.keys.id_end()));
    }
    const bool has_room = state_bytes() < context_.plan.options.max_state_bytes && context_.may_grow;
    if (has_room || !grows(row->key, moment.t) || context_.may_hold_more(state_bytes(), moment)) {
      take(row->key, moment, row->frames);
    }
    context_.keys.set_idle(row->key, is_idle(row->key) && results_.is_idle(row->key));
  }

  void on_item(const Item& item, const Moment& moment) override;
  bool is_idle(KeyId key) const override {
    return plan_.kind && *plan_.kind != WindowKind::kRows &&
           (key >= groups_.size() || (groups_[key].windows.empty() && groups_[key].rows.empty()));
  }
  void reset(KeyId key) override {
    if (key < groups_.size()) {
      for (const Window& window : groups_[key].windows) {
        forget(window);
      }
      held_rows_ -= groups_[key].kept_rows().size();
      groups_[key] = {};
    }
  }
  void renumber(std::span<const KeyId> now) override {
    renumber_by_key(groups_, now);
    for (auto& [end, keys] : ends_) {
      std::ranges::transform(keys, keys.begin(), [now](KeyId key) { return now[key]; });
      std::erase(keys, kNoKey);
    }
    std::erase_if(ends_, [](const auto& end) { return end.second.empty(); });
  }
  size_t state_bytes() const override {
    return groups_.size() * kGroupBytes + held_windows_ * (kWindowBytes + plan_.aggregates.size() * kAccumulatorBytes) +
           held_rows_ * (kRowBytes + arguments_.size() * sizeof(Value)) + sample_bytes_;
  }
  void save(StateWriter& out) const override;
  void load(StateReader& in) override;

 private:
  static constexpr size_t kSpareMax = 256;
  enum Tag : uint8_t { kEnd, kOrderedEnd, kGap, kEarly, kForget, kOrderedEarly };
  void take(KeyId key, const Moment& moment, const Frames& frames);
  void into_fixed(KeyId key, const Moment& moment);
  void into_session(KeyId key, const Moment& moment);
  void into_rows(KeyId key, const Moment& moment, const Frames& frames);
  void add_late(Window& window, KeyId key, const Moment& moment);
  bool grows(KeyId key, int64_t t) const;

  Window& open(KeyId key, int64_t start, int64_t end, int64_t t);
  void add_to(Window& window, const Moment& moment);
  void close(KeyId key, size_t index, const Moment& moment);
  void close_ordered(const Moment& moment);
  void early_ordered(const Moment& moment);
  void rank(const std::vector<KeyId>& keys, int64_t end);
  void print_ranked(const Moment& moment, uint64_t& place);
  void early(KeyId key, const Moment& moment);
  void keep_row(std::vector<Row>& rows, const Moment& moment);
  void forget(const Window& window) {
    --held_windows_;
    held_rows_ -= window.rows.size();
    for (const Accumulator& accumulator : window.accumulators) {
      sample_bytes_ -= accumulator.samples ? accumulator.samples->bytes() : 0;
    }
  }
  // Fills group_row_ for a window.
  void fill(KeyId key, const std::vector<Accumulator>& accumulators, int64_t start, int64_t end);
  void fill(KeyId key, const Window& window, int64_t end);
  template <class Rows>
  void fill_from_rows(KeyId key, const Rows& rows, int64_t start, int64_t end);
  void print(KeyId key, const Moment& moment, uint64_t order, uint64_t age, Frames frames = {}) {
    frames[Frame::kGroup] = group_row_.data();
    results_.row(moment, key, frames, order, age);
  }
  void queue(Tag tag, int64_t time, Place place, Rank rank, KeyId key, uint64_t cookie = 0) {
    context_.host.at_horizon(context_.work(key, time, place, rank, tag, cookie));
  }
  // Queue a key's timer; with kNoKey that of all keys together.
  auto gap_of(KeyId key) {
    return [this, key](int64_t due) {
      const bool excludes = *plan_.kind == WindowKind::kSession && mutant(Mutant::kSessionGapExcludesEnd);
      queue(kGap, due, excludes ? Place::kWindowEnd : Place::kTimer, Rank::kSessionGap, key);
    };
  }
  auto early_of(KeyId key) {
    return [this, key](int64_t due) {
      queue(key == kNoKey ? kOrderedEarly : kEarly, due, Place::kTimer, Rank::kEarly, key);
    };
  }
  int64_t gap_end(const Window& session) const { return std::min(session.last_t + plan_.size, session.end); }

  const RuleContext& context_;
  const WindowPlan& plan_;
  RowSource source_;
  Results& results_;
  Ranking ranking_;
  const bool ordered_;
  const bool updates_;
  std::vector<Value> arguments_;  // of the event at work
  std::vector<Value> group_row_;
  std::vector<Group> groups_;
  std::map<int64_t, std::vector<KeyId>> ends_;  // ordered_: who has a window that ends there
  LazyTimer early_;                             // ordered_: the tick of all keys together
  std::vector<std::vector<Accumulator>> spare_;
  uint64_t next_serial_ = 0;
  size_t held_windows_ = 0;
  size_t held_rows_ = 0;
  size_t sample_bytes_ = 0;
};

// ---- events

// Would the event at `t` make the key's state larger? What only adds up does not.
bool WindowMachine::grows(KeyId key, int64_t t) const {
  if (updates_ || (plan_.kind && (*plan_.kind == WindowKind::kSlide || *plan_.kind == WindowKind::kRows))) {
    return true;
  }
  const auto& windows = groups_[key].windows;
  return windows.empty() || windows.back().end <= t || (plan_.kind && *plan_.kind == WindowKind::kHop) ||
         std::ranges::any_of(windows.back().accumulators, [](const Accumulator& a) { return a.samples != nullptr; });
}

void WindowMachine::take(KeyId key, const Moment& moment, const Frames& frames) {
  if (!plan_.kind) {  // from the rule's start on, a row for each event
    auto& windows = groups_[key].windows;
    Window& all = windows.empty() ? open(key, kTimeMin, kTimeMax, moment.t) : windows[0];
    add_to(all, moment);
    fill(key, all, kTimeMax);
    print(key, moment, 0, 0, frames);
    return;
  }
  switch (*plan_.kind) {
    case WindowKind::kTumble:
    case WindowKind::kHop:
      into_fixed(key, moment);
      break;
    case WindowKind::kSession:
      into_session(key, moment);
      break;
    case WindowKind::kSlide:
    case WindowKind::kRows:
      into_rows(key, moment, frames);
      break;
  }
}

void WindowMachine::into_fixed(KeyId key, const Moment& moment) {
  const int64_t t = mutant(Mutant::kWindowEndIncluded) ? moment.t - 1 : moment.t;
  const int64_t own =
      mutant(Mutant::kWindowStartsAtEvent) && groups_[key].windows.empty() ? t : floor_to(t, plan_.step);
  const int64_t horizon = context_.host.horizon_of(context_.keys.timeline(key));
  const int64_t oldest = t - plan_.size;  // the windows that hold t start behind
  int64_t first = own;
  while (first - plan_.step > oldest) {
    first -= plan_.step;
  }
  for (int64_t start = first; start <= own; start += plan_.step) {
    const int64_t end = start + plan_.size;
    auto& windows = groups_[key].windows;
    auto found = std::ranges::find(windows, start, &Window::start);
    const bool over = moment.late && end <= horizon;
    if (over && end + context_.plan.options.keep_ms < horizon) {
      ++context_.counters.late_dropped;
      continue;
    }
    Window& window = found == windows.end() ? open(key, start, end, t) : *found;
    add_to(window, moment);
    if (over) {
      add_late(window, key, moment);
    }
  }
}

// A window whose row was printed already gets its row again, whole (16).
void WindowMachine::add_late(Window& window, KeyId key, const Moment& moment) {
  if (!window.closed) {
    window.closed = true;
    queue(kForget, window.end + context_.plan.options.keep_ms, Place::kTimer, Rank::kExpiry, key, window.serial);
  }
  Moment revised = moment;
  revised.t = window.end;
  if (mutant(Mutant::kLateUpdateForgets)) {
    fill_from_rows(key, std::vector<Row>{{moment.t, moment.arrival, arguments_}}, window.start, window.end);
  } else {
    fill(key, window, window.end);
  }
  print(key, revised, 0, window.serial);
}

void WindowMachine::into_session(KeyId key, const Moment& moment) {
  auto& windows = groups_[key].windows;
  if (windows.empty()) {
    const int64_t end = plan_.session_max > 0 ? moment.t + plan_.session_max : kTimeMax;
    Window& session = open(key, moment.t, end, moment.t);
    session.last_t = moment.t;
  }
  Window& session = windows[0];
  session.last_t = std::max(session.last_t, moment.t);
  add_to(session, moment);
  const int64_t end = gap_end(session);
  if (end == session.end && !mutant(Mutant::kSessionMaxIncluded)) {
    groups_[key].gap.disarm();  // the longest session is over before
  } else {
    groups_[key].gap.arm(end, gap_of(key));
  }
}

void WindowMachine::into_rows(KeyId key, const Moment& moment, const Frames& frames) {
  Group& group = groups_[key];
  group.rows.push_back({moment.t, moment.arrival, arguments_});
  ++held_rows_;
  const bool slide = *plan_.kind == WindowKind::kSlide;
  const int64_t oldest = moment.t - plan_.size + (mutant(Mutant::kSlideIncludesStart) ? 0 : 1);
  while (slide ? group.kept_rows().front().t < oldest : group.kept_rows().size() > static_cast<size_t>(plan_.size)) {
    group.drop_first_row();
    --held_rows_;
  }
  if (slide) {
    group.gap.arm(moment.t + plan_.size, gap_of(key));
    fill_from_rows(key, group.kept_rows(), moment.t - plan_.size, moment.t);
    print(key, moment, 0, 0, frames);
  } else if (++group.seen % static_cast<uint64_t>(plan_.step) == 0 || mutant(Mutant::kRowsSlide)) {
    fill_from_rows(key, group.kept_rows(), group.kept_rows().front().t, moment.t);
    print(key, moment, 0, 0, frames);
  }
}

// ---- windows

Window& WindowMachine::open(KeyId key, int64_t start, int64_t end, int64_t t) {
  Group& group = groups_[key];
  Window window;
  window.start = start;
  window.end = end;
  window.serial = next_serial_++;
  if (!spare_.empty()) {
    window.accumulators = std::move(spare_.back());
    spare_.pop_back();
  }
  window.accumulators.resize(plan_.aggregates.size());
  ++held_windows_;
  const auto place = std::ranges::upper_bound(group.windows, start, {}, &Window::start);
  Window& added = *group.windows.insert(place, std::move(window));
  if (end < kTimeMax) {
    if (ordered_) {
      std::vector<KeyId>& keys = ends_[end];
      keys.push_back(key);
      if (keys.size() == 1) {
        queue(kOrderedEnd, end, Place::kWindowEnd, Rank::kAbsence, kNoKey);
      }
    } else {
      queue(kEnd, end, mutant(Mutant::kSessionMaxIncluded) ? Place::kTimer : Place::kWindowEnd, Rank::kAbsence, key,
            added.serial);
    }
  }
  if (context_.plan.emit.kind == ast::EmitKind::kEarly) {
    const int64_t every = context_.plan.emit.every_ms;
    const int64_t tick = mutant(Mutant::kEarlyFromEvent) ? t + every : floor_to(t + every - 1, every);
    (ordered_ ? early_ : group.early).arm_earlier(tick, early_of(ordered_ ? kNoKey : key));
  }
  return added;
}

void WindowMachine::add_to(Window& window, const Moment& moment) {
  if (updates_) {
    keep_row(window.rows, moment);
    return;
  }
  for (size_t i = 0; i < arguments_.size(); ++i) {
    Accumulator& accumulator = window.accumulators[i];
    const size_t before = accumulator.samples ? accumulator.samples->bytes() : 0;
    accumulator.add(plan_.aggregates[i], arguments_[i], moment.t, context_.evaluator.symbols());
    sample_bytes_ += (accumulator.samples ? accumulator.samples->bytes() : 0) - before;
  }
}

void WindowMachine::keep_row(std::vector<Row>& rows, const Moment& moment) {
  Row row{moment.t, moment.arrival, arguments_};
  const auto place = std::ranges::upper_bound(
      rows, row, [](const Row& x, const Row& y) { return std::pair(x.t, x.arrival) < std::pair(y.t, y.arrival); });
  rows.insert(place, std::move(row));
  ++held_rows_;
}

void WindowMachine::fill(KeyId key, const std::vector<Accumulator>& accumulators, int64_t start, int64_t end) {
  const size_t keys = context_.plan.keys.size();
  std::copy_n(context_.keys.values(key), keys, group_row_.begin());
  for (size_t i = 0; i < accumulators.size(); ++i) {
    group_row_[keys + i] = accumulators[i].result(plan_.aggregates[i], context_.evaluator.symbols());
  }
  group_row_[plan_.start_slot(keys)] = Value::of_int(start);
  group_row_[plan_.end_slot(keys)] = Value::of_int(end);
}

void WindowMachine::fill(KeyId key, const Window& window, int64_t end) {
  if (updates_) {
    fill_from_rows(key, window.rows, window.start, end);
  } else {
    fill(key, window.accumulators, window.start, end);
  }
}

template <class Rows>
void WindowMachine::fill_from_rows(KeyId key, const Rows& rows, int64_t start, int64_t end) {
  std::vector<Accumulator> accumulators(plan_.aggregates.size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < accumulators.size(); ++i) {
      accumulators[i].add(plan_.aggregates[i], row.values[i], row.t, context_.evaluator.symbols());
    }
  }
  fill(key, accumulators, start, end);
}

// ---- time

void WindowMachine::on_item(const Item& item, const Moment& moment) {
  if (item.tag == kOrderedEnd) {
    close_ordered(moment);
    return;
  }
  if (item.tag == kOrderedEarly) {
    if (early_.comes_due(item.time, early_of(kNoKey))) {
      early_ordered(moment);
    }
    return;
  }
  if (item.key >= groups_.size()) {
    return;
  }
  Group& group = groups_[item.key];
  if (item.tag == kEnd || item.tag == kForget) {
    const auto window = std::ranges::find(group.windows, item.cookie, &Window::serial);
    if (window == group.windows.end()) {
      return;
    }
    if (item.tag == kEnd) {
      close(item.key, static_cast<size_t>(window - group.windows.begin()), moment);
    } else {
      forget(*window);
      group.windows.erase(window);
    }
    return;
  }
  if (item.tag == kEarly) {
    if (group.early.comes_due(item.time, early_of(item.key))) {
      early(item.key, moment);
    }
    return;
  }
  if (!group.gap.comes_due(item.time, gap_of(item.key))) {
    return;
  }
  if (*plan_.kind == WindowKind::kSlide) {
    held_rows_ -= group.kept_rows().size();  // the newest left, so the older ones did
    group.rows.clear();
    group.first_row = 0;
  } else if (!group.windows.empty()) {
    close(item.key, 0, moment);
  }
}

void WindowMachine::close(KeyId key, size_t index, const Moment& moment) {
  Window window = std::move(groups_[key].windows[index]);
  const bool session = *plan_.kind == WindowKind::kSession;
  const int64_t end = mutant(Mutant::kSessionEndsAtLast) && session ? window.last_t : moment.t;
  fill(key, window, end);
  const uint64_t serial = window.serial;
  auto& windows = groups_[key].windows;
  if (updates_) {
    window.closed = true;
    queue(kForget, window.end + context_.plan.options.keep_ms, Place::kTimer, Rank::kExpiry, key, serial);
    windows[index] = std::move(window);
  } else {
    forget(window);
    window.accumulators.clear();
    if (spare_.size() < kSpareMax) {
      spare_.push_back(std::move(window.accumulators));
    }
    windows.erase(windows.begin() + static_cast<std::ptrdiff_t>(index));
  }
  if (session) {
    groups_[key].gap.disarm();
  }
  print(key, moment, 0, serial);
}

// All rows of one window end at once: HAVING, ORDER BY, LIMIT (37).
void WindowMachine::close_ordered(const Moment& moment) {
  const auto end = ends_.find(moment.t);
  if (end == ends_.end()) {
    return;
  }
  const std::vector<KeyId> keys = std::move(end->second);
  ends_.erase(end);
  rank(keys, moment.t);
  for (const KeyId key : keys) {
    auto& windows = groups_[key].windows;
    const auto window = std::ranges::find(windows, moment.t, &Window::end);
    forget(*window);
    windows.erase(window);
  }
  uint64_t place = 0;
  print_ranked(moment, place);
  for (const KeyId key : keys) {
    context_.keys.set_idle(key, is_idle(key) && results_.is_idle(key));
  }
}

// The rows that the keys' windows with this end would make.
void WindowMachine::rank(const std::vector<KeyId>& keys, int64_t end) {
  for (const KeyId key : keys) {
    fill(key, *std::ranges::find(groups_[key].windows, end, &Window::end), end);
    ranking_.add(key, group_row_);
  }
}

// `place`: of the next row among those of the moment.
void WindowMachine::print_ranked(const Moment& moment, uint64_t& place) {
  for (RankedRow& row : ranking_.take()) {
    group_row_ = std::move(row.row);
    print(row.key, moment, place++, 0);
  }
}

// Each window that is open at this tick, the oldest first, with its own ORDER BY and LIMIT.
void WindowMachine::early_ordered(const Moment& moment) {
  uint64_t place = 0;
  bool any = false;
  for (auto end = ends_.upper_bound(moment.t); end != ends_.end(); ++end) {
    any = true;
    rank(end->second, end->first);
    print_ranked(moment, place);
  }
  const int64_t every = context_.plan.emit.every_ms;
  const int64_t now = context_.host.horizon_of(kSharedTimeline);
  const int64_t next = any ? context_.next_tick(moment.t + every, every, now, moment) : 0;
  if (any) {
    early_.arm(next, early_of(kNoKey));
  }
}

// Rows of the windows that are open at this tick.
void WindowMachine::early(KeyId key, const Moment& moment) {
  bool any = false;
  const bool session = *plan_.kind == WindowKind::kSession;
  for (const Window& window : groups_[key].windows) {
    if (window.closed || window.end <= moment.t) {
      continue;
    }
    any = true;
    fill(key, window, session ? gap_end(window) : window.end);
    print(key, moment, 0, window.serial);
  }
  const int64_t every = context_.plan.emit.every_ms;
  const int64_t now = context_.host.horizon_of(context_.keys.timeline(key));
  const int64_t next = any ? context_.next_tick(moment.t + every, every, now, moment) : 0;
  if (any) {
    groups_[key].early.arm(next, early_of(key));
  }
}

// ---- state

void WindowMachine::save(StateWriter& out) const {
  out.u64(next_serial_);
  early_.save(out);
  out.u32(static_cast<uint32_t>(groups_.size()));
  for (const Group& group : groups_) {
    group.save(out);
  }
}

void WindowMachine::load(StateReader& in) {
  groups_.clear();
  ends_.clear();
  held_windows_ = held_rows_ = sample_bytes_ = 0;
  next_serial_ = in.u64();
  early_.load(in);
  groups_.resize(in.count(48));
  for (KeyId key = 0; key < groups_.size() && in.ok(); ++key) {
    groups_[key].load(in, arguments_.size());
    held_rows_ += groups_[key].rows.size();
    for (const Window& window : groups_[key].windows) {
      ++held_windows_;
      held_rows_ += window.rows.size();
      for (const Accumulator& accumulator : window.accumulators) {
        sample_bytes_ += accumulator.samples ? accumulator.samples->bytes() : 0;
      }
      if (ordered_) {
        ends_[window.end].push_back(key);
      }
    }
  }
}

}  // namespace

std::unique_ptr<Machine> make_window_machine(const RuleContext& context, Results& results) {
  return std::make_unique<WindowMachine>(context, results);
}

}  // namespace lambda::cep
