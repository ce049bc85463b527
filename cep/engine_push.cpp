// Events and time. A line of input, that is an event or advance_to(), moves the clocks; what became due and the event
// are done in the order of sentence 3.
//
// Rules whose work on an event touches nobody else's (RuleRunner::takes_rows()) need not be asked line by line: they
// get many events at once, and the queue of outputs brings the lines together again. They lag behind the line at work,
// and are brought up to it (catch_up()) before anything but their own events touches them.
#include <algorithm>
#include <bit>

#include "cep/engine_impl.h"

namespace lambda::cep {
namespace {

constexpr size_t kOutputsHeldMax = 1024;  // of lines that are done

}  // namespace

// ---- lines

void Engine::Impl::push(const Batch& batch) {
  LAMBDA_ASSERT(batch.columns.size() == catalog_.stream(batch.stream).columns.size());
  sweep_lists();
  Readers& readers = this->readers(batch.stream);
  size_t rows = 0;
  for (size_t begin = 0; begin < batch.rows; begin += rows) {
    rows = std::min(rows_at_once(readers), batch.rows - begin);
    if (rows < batch.rows) {
      cut_batch(batch, begin, rows, chunk_);
    }
    const Batch& piece = rows < batch.rows ? chunk_ : batch;
    const bool together = at_once_ && rows > 1 && !readers.together().empty();
    together ? push_together(piece) : push_lines(piece);
  }
}

// Is the event's device one of this part's? Devices without a name are the first part's.
bool Engine::Impl::is_mine(const Batch& batch, size_t row) {
  if (part_.count == 1) {
    return true;
  }
  const int column = catalog_.stream(batch.stream).device_column;
  const Value device = column < 0 ? Value::null() : batch.columns[static_cast<size_t>(column)].at(row);
  if (device.type != Type::kText) {
    return (device.is_null() ? 0 : hash_value(device) % part_.count) == part_.number;
  }
  constexpr uint8_t kUnknown = UINT8_MAX;
  if (part_of_text_.size() <= device.text) {
    part_of_text_.resize(symbols_.count(), kUnknown);
  }
  uint8_t& part = part_of_text_[device.text];
  if (part == kUnknown) {  // by the text, so that a restored engine divides in the same way
    part = static_cast<uint8_t>(hash_text(symbols_.text(device.text)) % part_.count);
  }
  return part == part_.number;
}

// Another part's event: here it moves the arrival clock only. `lagging`: rules that have events to catch up with.
void Engine::Impl::tick(const Batch& batch, size_t row, Readers* lagging) {
  clock_.on_event(batch.at == nullptr ? batch.t[row] : batch.at[row]);
  const Moment moment = moment_of(batch, row);
  due_.clear();
  for (Horizons& horizons : horizons_) {
    if (horizons.may_be_woken()) {
      horizons.take_due(kForeignTimeline, false, due_);
    }
  }
  if (due_.empty() && (clock_items_.empty() || clock_items_.top().time >= clock_.due_below())) {
    return;
  }
  if (lagging != nullptr) {
    catch_up(*lagging);
  }
  outputs_.set_line(static_cast<uint32_t>(row));
  agenda_.begin_event(moment.t, moment.arrival);
  put_due_on_agenda();
  agenda_.event_is_done();
  run_line(nullptr, nullptr, false);
}

// The event moves the clocks. Its columns are row_.
inline Event Engine::Impl::hear(const Batch& batch, size_t row, bool& guarded) {
  const int64_t t = batch.t[row];
  LAMBDA_ASSERT(t >= -kEventTimeMax && t <= kEventTimeMax);
  ++counters_.events;
  clock_.on_event(batch.at == nullptr ? t : batch.at[row]);
  guarded = t > clock_.now() + settings_.clock_skew_ms;
  counters_.guarded += guarded ? 1 : 0;
  const int device = catalog_.stream(batch.stream).device_column;
  const uint64_t rejected = devices_.rejected();
  const TimelineId timeline = timeline_at(batch, device, row);
  is_stranger_ = devices_.rejected() != rejected;
  if (!mutant(Mutant::kWhereMovesTime) || !readers_[batch.stream].empty()) {
    for (Horizons& horizons : horizons_) {
      horizons.on_event(timeline, t, guarded);
    }
  }
  return {batch.stream, timeline, row_.data()};
}

inline Moment Engine::Impl::moment_of(const Batch& batch, size_t row) {
  Moment moment;
  moment.t = batch.t[row];
  moment.arrival = arrivals_++;
  moment.on_input = static_cast<int64_t>(batch.first_index + row);
  moment.clock = clock_.now();
  if (started_ < rules_.size()) {
    start_rules(moment);
  }
  return moment;
}

// Asks memory for what a row ahead will touch; the keys' order has nothing to do with where their state lies.
inline void Engine::Impl::prefetch(const std::vector<const Machine*>& machines, const Batch& batch, size_t row) {
  const int device = catalog_.stream(batch.stream).device_column;
  if (device >= 0) {
    const TimelineId timeline = devices_.find_fast(batch.columns[static_cast<size_t>(device)].at(row));
    for (const Horizons& horizons : horizons_) {
      horizons.prefetch(timeline);
    }
  }
  for (const Machine* machine : machines) {
    machine->prefetch(batch, row, false);
  }
}

void Engine::Impl::push_lines(const Batch& batch) {
  constexpr size_t kAhead = 4;  // rows
  const std::vector<const Machine*>& machines = readers(batch.stream).prefetching();
  row_.resize(batch.columns.size());
  const auto deep = [&](size_t row) {
    for (const Machine* machine : machines) {
      machine->prefetch(batch, row, true);
    }
  };
  if (!machines.empty()) {
    for (size_t row = 0; row < std::min(batch.rows, kAhead); ++row) {
      prefetch(machines, batch, row);
    }
    deep(0);
  }
  for (size_t row = 0; row < batch.rows; ++row) {
    if (row + kAhead < batch.rows && !machines.empty()) {
      prefetch(machines, batch, row + kAhead);
    }
    if (row + 1 < batch.rows) {
      deep(row + 1);
    }
    if (!is_mine(batch, row)) {
      tick(batch, row, nullptr);
      continue;
    }
    bool guarded = false;
    const Event event = hear(batch, row, guarded);
    for (size_t c = 0; c < row_.size(); ++c) {
      row_[c] = batch.columns[c].at(row);
    }
    const Moment moment = moment_of(batch, row);
    outputs_.set_line(static_cast<uint32_t>(row));
    if (is_stranger_) {
      limit_readers(batch.stream, Bound::kDevices, settings_.devices_max, moment);
    }
    if (may_be_due(event.timeline)) {
      agenda_.begin_event(moment.t, moment.arrival);
      take_due(event.timeline, false);
      put_due_on_agenda();
    } else {  // the event is all there is, and what it leads to
      give(event, moment, false);
    }
    if (!agenda_.empty() || agenda_.has_event()) {
      run_line(&event, &moment, false);
    }
    if (outputs_.size() >= kOutputsHeldMax) {
      flush();
    }
  }
  flush();
}

void Engine::Impl::limit_readers(StreamId stream, Bound bound, uint64_t max, const Moment& moment) {
  for (RuleRunner* rule : readers(stream).rules()) {
    rule->limit(bound, max, moment, 1);
  }
}

void Engine::Impl::text_refused(StreamId stream, int64_t t, uint64_t index, int64_t at) {
  Moment moment;
  moment.t = t;
  moment.arrival = arrivals_;
  moment.on_input = static_cast<int64_t>(index);
  moment.clock = std::max(clock_.now(), at);
  outputs_.set_line(0);
  limit_readers(stream, Bound::kTexts, settings_.text_bytes_max, moment);
  flush();
}

void Engine::Impl::advance_to(int64_t t) {
  LAMBDA_ASSERT(t >= -kEventTimeMax && t <= kEventTimeMax);
  sweep_lists();
  clock_.on_advance(t);
  for (Horizons& horizons : horizons_) {
    horizons.on_advance(t);
  }
  Moment moment;
  moment.t = t;
  moment.clock = clock_.now();
  moment.place = Place::kTimer;
  start_rules(moment);
  outputs_.set_line(0);
  agenda_.begin_advance();
  take_due(kSharedTimeline, true);
  put_due_on_agenda();
  run_line(nullptr, nullptr, false);
  flush();
}

void Engine::Impl::advance_clock(int64_t at) {
  LAMBDA_ASSERT(at >= -kEventTimeMax && at <= kEventTimeMax);
  if (at <= clock_.now()) {
    return;
  }
  sweep_lists();
  clock_.on_event(at);
  Moment moment;
  moment.t = at;
  moment.clock = clock_.now();
  moment.place = Place::kTimer;
  start_rules(moment);
  outputs_.set_line(0);
  due_.clear();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    horizons.take_due(kForeignTimeline, false, due_);
  }
  agenda_.begin_advance();
  put_due_on_agenda();
  run_line(nullptr, nullptr, false);
  flush();
}

// Forgets the lists of outputs that are gone, when they have become as many again as are held.
void Engine::Impl::sweep_lists() {
  if (symbols_.list_bytes() < sweep_lists_at_ || !part_.whole) {
    return;
  }
  StateWriter held(symbols_);
  for (const auto& rule : rules_) {
    if (rule != nullptr) {
      rule->save(held);
    }
  }
  symbols_.keep_lists(held.lists());
  sweep_lists_at_ = std::max<uint64_t>(kListBytesMin, 2 * symbols_.list_bytes());
}

// Rules that see their first line.
void Engine::Impl::start_rules(const Moment& moment) {
  for (; started_ < rules_.size(); ++started_) {
    if (rules_[started_] != nullptr && rules_[started_]->is_active) {
      rules_[started_]->start(moment);
    }
  }
}

// Everything that became due with this line, to due_ and the agenda.
void Engine::Impl::take_due(TimelineId timeline, bool all) {
  due_.clear();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    if (all || horizons.may_be_due(timeline)) {
      horizons.take_due(timeline, all, due_);
    }
  }
}

void Engine::Impl::put_due_on_agenda() {
  for (const Item& item : due_) {
    agenda_.add_horizon(item);
  }
  while (!clock_items_.empty() && clock_items_.top().time < clock_.due_below()) {
    const Item timer = clock_items_.pop();
    if (!rules_[timer.rule]->put_off(timer)) {
      agenda_.add_clock(timer);
    }
  }
}

// After hear(): is there more to do than the event?
bool Engine::Impl::may_be_due(TimelineId timeline) {
  bool due = !clock_items_.empty() && clock_items_.top().time < clock_.due_below();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    due = due || horizons.may_be_due(timeline);
  }
  return due;
}

void Engine::Impl::give(const Event& event, const Moment& moment, bool alone) {
  Readers& readers = readers_[event.stream];
  for (const uint32_t number : readers.find(event, moment.t, alone, candidates_)) {
    readers.rules()[number]->arrive(event, moment);
  }
}

// `alone`: the others take the event as one of many.
void Engine::Impl::run_line(const Event* event, const Moment* moment, bool alone) {
  for (;;) {
    if (agenda_.event_is_next()) {
      agenda_.event_is_done();
      give(*event, *moment, alone);
    } else if (!agenda_.empty()) {
      const Item item = agenda_.take();
      Moment due;
      due.t = item.time;
      due.place = item.place;
      due.rank = item.rank;
      due.arrival = item.arrival;
      // Time passed through the item's instant on its way from the last line to this one, unless it came too late for
      // that.
      const bool swept = item.place != Place::kEvent && item.time >= clock_.before();
      due.clock = swept ? std::min(item.time, clock_.now()) : clock_.now();
      due.on_input = mutant(Mutant::kTimerHasInput) && moment != nullptr ? moment->on_input : -1;
      rules_[item.rule]->run(item, due);
    } else {
      break;
    }
  }
}

// ---- many events at once

void Engine::Impl::push_together(const Batch& batch) {
  Readers& readers = readers_[batch.stream];
  clocks_.resize(OutputQueue::kLinesMax);
  timelines_.resize(OutputQueue::kLinesMax);
  row_.resize(batch.columns.size());
  rows_ = {batch.stream, batch.columns, batch.t, clocks_.data(), timelines_.data(), arrivals_, batch.first_index, {}};
  if (one_horizon(readers) && batch.at == nullptr && devices_.room() >= batch.rows) {
    push_rows(batch);
  } else {
    push_each(batch);
  }
  catch_up(readers);
  flush();
}

// Can nothing be due but on the one horizon of the rules that read the stream, and do they all take rows?
bool Engine::Impl::one_horizon(Readers& readers) const {
  return !any_site_ && !readers.any_alone() && readers.together().size() == 1 &&
         std::ranges::all_of(horizons_, [&](const Horizons& horizons) {
           return &horizons == readers.together().front().horizons || !horizons.any_items();
         });
}

// Time goes line by line.
void Engine::Impl::push_each(const Batch& batch) {
  Readers& readers = readers_[batch.stream];
  for (uint32_t row = 0; row < batch.rows; ++row) {
    push_one(readers, batch, row);
  }
}

void Engine::Impl::push_one(Readers& readers, const Batch& batch, uint32_t row) {
  if (!is_mine(batch, row)) {
    timelines_[row] = kForeignTimeline;
    clocks_[row] = std::max(clock_.now(), batch.at == nullptr ? batch.t[row] : batch.at[row]);
    const auto must = [&](const auto& group) { return clocks_[row] >= lag_end(group, row); };
    if (std::ranges::any_of(readers.together(), must)) {
      catch_up(readers);
    }
    tick(batch, row, &readers);
    return;
  }
  bool guarded = false;
  const Event event = hear(batch, row, guarded);
  const Moment moment = moment_of(batch, row);
  clocks_[row] = moment.clock;
  timelines_[row] = event.timeline;
  if (std::ranges::any_of(readers.together(), [&](const auto& group) { return moment.clock >= lag_end(group, row); })) {
    catch_up(readers);
  }
  if (is_stranger_) {
    outputs_.set_line(row);
    limit_readers(batch.stream, Bound::kDevices, settings_.devices_max, moment);
  }
  const bool is_due = may_be_due(event.timeline);
  if (is_due || guarded || readers.any_alone()) {
    run_beside(readers, batch, event, moment, row, is_due, guarded);
  }
  for (Readers::Together& group : readers.together()) {
    if (!guarded && group.horizons->heard_device(event.timeline) == moment.t) {
      group.at.push_back(row);
    } else {
      group.late += guarded ? 0 : 1;
    }
  }
}

// The clock at which rules that lag behind must have caught up: a window that opens meanwhile may have to close because
// its device is idle. `row`: the next one.
int64_t Engine::Impl::lag_end(const Readers::Together& group, uint32_t row) const {
  const uint32_t first = group.at.empty() ? row : group.at.front();
  return group.any_window ? clocks_[first] + group.horizons->settings().idle_ms : kTimeMax;
}

// The usual case, one_horizon(). Time goes on in one loop to where something else is due.
void Engine::Impl::push_rows(const Batch& batch) {
  Readers& readers = readers_[batch.stream];
  Readers::Together& group = readers.together().front();
  Horizons& horizons = *group.horizons;
  const int device = catalog_.stream(batch.stream).device_column;
  const auto rows = static_cast<uint32_t>(batch.rows);
  int64_t clock = clock_.now();
  for (uint32_t row = 0; row < rows; ++row) {
    LAMBDA_ASSERT(batch.t[row] >= -kEventTimeMax && batch.t[row] <= kEventTimeMax);
    clock = std::max(clock, batch.t[row]);
    clocks_[row] = clock;
    timelines_[row] = is_mine(batch, row) ? timeline_at(batch, device, row) : kForeignTimeline;
  }
  for (uint32_t begin = 0; begin < rows;) {
    // What waits for the clock is due below it, an idle device's items at it.
    const int64_t clock_items = clock_items_.empty() ? kTimeMax : clock_items_.top().time + 1;
    const int64_t stop_at = std::min({clock_items, horizons.next_wakeup(), lag_end(group, begin)});
    const auto stop = static_cast<uint32_t>(std::lower_bound(clocks_.begin() + begin, clocks_.begin() + rows, stop_at) -
                                            clocks_.begin());
    if (stop == begin || started_ < rules_.size() || !one_horizon(readers)) {
      push_one(readers, batch, begin++);
      continue;
    }
    const uint32_t due = horizons.on_rows(rows_, begin, stop, clock_.now(), group.at, group.late);
    const uint32_t end = std::min(due + 1, stop);
    for (Horizons& other : horizons_) {  // nothing waits there, but it must know who was heard of
      if (&other != &horizons) {
        size_t late = 0;
        other_at_.clear();
        (void)other.on_rows(rows_, begin, end, clock_.now(), other_at_, late);
      }
    }
    counters_.events +=
        end - begin -
        static_cast<size_t>(std::count(timelines_.begin() + begin, timelines_.begin() + end, kForeignTimeline));
    arrivals_ += end - begin;
    if (end - begin > 1) {
      clock_.on_event(clocks_[end - 2]);
    }
    clock_.on_event(clocks_[end - 1]);
    begin = end;
    const Event event{batch.stream, timelines_[end - 1], row_.data()};
    if (due < stop && !step_over_only(horizons, event, batch.t[due])) {
      const bool in_order = !group.at.empty() && group.at.back() == due;
      group.at.resize(group.at.size() - (in_order ? 1 : 0));
      run_beside(readers, batch, event, rows_.moment(due), due, true, false);
      group.at.insert(group.at.end(), in_order ? 1 : 0, due);
    }
  }
}

// The line, for all but those who take its event with many others.
void Engine::Impl::run_beside(Readers& readers, const Batch& batch, const Event& event, const Moment& moment,
                              uint32_t row, bool is_due, bool guarded) {
  agenda_.begin_event(moment.t, moment.arrival);
  due_.clear();
  if (is_due) {
    take_due(event.timeline, false);
  }
  if (guarded || !step_over(event, moment.t)) {
    catch_up(readers);
  }
  put_due_on_agenda();
  for (size_t c = 0; c < row_.size(); ++c) {
    row_[c] = batch.columns[c].at(row);
  }
  outputs_.set_line(row);
  run_line(&event, &moment, !guarded);
}

// Takes the items from due_ whose work the event itself will do later. False, and nothing is taken: something else is
// due for a rule that has events to catch up with.
bool Engine::Impl::step_over(const Event& event, int64_t t) {
  const auto lags = [&](const Item& item) { return rules_[item.rule]->together_of == event.stream; };
  const auto later = [&](const Item& item) {
    const RuleRunner& rule = *rules_[item.rule];
    const bool own = item.timeline == event.timeline && event.timeline != kSharedTimeline &&
                     item.owner == Owner::kMachine && rule.horizons.heard_device(event.timeline) == t;
    return own ? rule.machine->steps_over(t) : kTimeMin;
  };
  if (std::ranges::any_of(due_, [&](const Item& item) { return lags(item) && later(item) == kTimeMin; })) {
    return false;
  }
  std::erase_if(due_, [&](Item& item) {
    if (lags(item)) {
      item.time = later(item);
      rules_[item.rule]->horizons.add(item, false);
      return true;
    }
    return false;
  });
  return true;
}

// The same in the usual case that the device has but one item.
bool Engine::Impl::step_over_only(Horizons& horizons, const Event& event, int64_t t) {
  const RuleId rule = horizons.rule_of_only_item(event.timeline);
  if (rule == kNoRule || rules_[rule]->together_of != event.stream || event.timeline == kSharedTimeline ||
      horizons.heard_device(event.timeline) != t) {
    return false;
  }
  const int64_t later = rules_[rule]->machine->steps_over(t);
  if (later != kTimeMin) {
    horizons.step_over_only_item(event.timeline, later);
  }
  return later != kTimeMin;
}

// Gives the rules that lag behind the events up to here.
void Engine::Impl::catch_up(Readers& readers) {
  is_catching_up_ = true;
  for (Readers::Together& group : readers.together()) {
    rows_.at = group.at;
    if (!group.at.empty() || group.late > 0) {
      for (RuleRunner* rule : group.rules) {
        rule->arrive(rows_, group.late);
      }
      look_up(group);
    }
    group.at.clear();
    group.late = 0;
  }
  is_catching_up_ = false;
}

// Plain rows of the rules that the events' values lead to.
void Engine::Impl::look_up(Readers::Together& group) {
  for (RuleRunner* rule : group.looked_up) {
    rule->counters.events += group.late;
    rule->counters.late_dropped += group.late;
  }
  hits_.assign(group.looked_up.size() / 64 + 1, 0);
  Frames frames;
  frames[Frame::kEvent] = row_.data();
  for (const uint32_t row : group.looked_up.empty() ? std::span<const uint32_t>() : rows_.at) {
    rows_.read(row, row_.data());
    candidates_.clear();
    group.index.candidates(row_.data(), candidates_);
    for (const uint32_t number : candidates_) {  // sorted, by setting bits
      hits_[number / 64] |= uint64_t{1} << (number % 64);
    }
    const Moment moment = rows_.moment(row);
    outputs_.set_line(row);
    for (size_t word = 0; word < hits_.size(); ++word) {
      for (; hits_[word] != 0; hits_[word] &= hits_[word] - 1) {
        const size_t number = word * 64 + static_cast<size_t>(std::countr_zero(hits_[word]));
        RuleRunner& rule = *group.looked_up[number];
        ++rule.counters.events;
        if (!group.is_demand_all[number] && !evaluator_.is_true(rule.plan.where, frames)) {
          continue;
        }
        const auto items = rule.results.plain_items();
        if (Value* fields = rule.row(moment, 0, items.size()); fields != nullptr) {
          for (const Node& item : items) {
            *fields++ = row_[item.immediate];
          }
        }
      }
    }
  }
}

// ---- for the rules

void Engine::Impl::schedule_horizon(RuleRunner& rule, const Item& item) {
  // While a rule catches up, time is ahead of it; steps_over() lets its items come late.
  if (!is_catching_up_ && is_due(item.time, item.place, rule.horizon(item.timeline))) {
    agenda_.add_horizon(item);
  } else {
    rule.horizons.add(item, rule.site());
  }
}

void Engine::Impl::schedule_clock(const Item& item, std::optional<int64_t> behind) {
  if (item.time < clock_.due_below()) {
    behind ? agenda_.add_behind(item, *behind) : agenda_.add_clock(item);
  } else {
    clock_items_.push(item);
  }
}

void Engine::Impl::publish(const RuleRunner& from, const Moment& moment, std::span<const Value> fields) {
  const StreamId stream = from.plan.output_stream;
  if (stream >= readers_.size() || readers_[stream].empty()) {
    return;
  }
  const std::vector<Value> columns(fields.begin(), fields.end());  // the rule's own memory may change meanwhile
  const int device_column = catalog_.stream(stream).device_column;
  const TimelineId timeline =
      device_column < 0 ? kSharedTimeline : devices_.find_or_add(columns[static_cast<size_t>(device_column)]);
  for (RuleRunner* rule : readers_[stream].rules()) {
    ++rule->counters.events;
    if (mutant(Mutant::kCascadeCanBeLate)) {
      rule->arrive({stream, timeline, columns.data()}, moment);
      continue;
    }
    rule->deliver({stream, timeline, columns.data()}, moment);
  }
}

}  // namespace lambda::cep
