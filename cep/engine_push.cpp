// Events and time. A line of input, that is an event or advance_to(), moves the clocks; what became due and the event
// are done in the order of sentence 3. Many events at once: engine_rows.cpp.
#include <algorithm>

#include "cep/engine_impl.h"

namespace lambda::cep {
namespace {

constexpr size_t kOutputsHeldMax = 1024;  // of lines that are done

}  // namespace

// ---- lines

void Engine::push(const Batch& batch) {
  impl_->push(batch);
}

// A live event is on its way here alone: most of them move time and matter to nobody.
void Engine::Impl::push(const Batch& batch) {
  sweep_lists();
  Readers& readers = this->readers(batch.stream);
  LAMBDA_ASSERT(batch.columns.size() == readers.width());
  if (batch.rows != 1) {
    push_many(batch, readers);
    return;
  }
  // What the rules hold for its device is asked for from memory ahead of anything else.
  if (const auto& machines = readers.prefetching(); !machines.empty()) {
    prefetch(machines, batch, 0, readers.device());
  }
  look_at_state();
  if (push_line(batch, 0, readers)) {
    flush();
  }
}

void Engine::Impl::push_many(const Batch& batch, Readers& readers) {
  size_t rows = 0;
  for (size_t begin = 0; begin < batch.rows; begin += rows) {
    rows = std::min(rows_at_once(readers), batch.rows - begin);
    if (rows < batch.rows) {
      cut_batch(batch, begin, rows, chunk_);
    }
    const Batch& piece = rows < batch.rows ? chunk_ : batch;
    const bool together = at_once_ && rows > 1 && !readers.together().empty();
    together ? push_together(piece) : push_lines(piece, readers);
  }
}

// The same as is_mine(), with several parts.
bool Engine::Impl::is_of_this_part(const Batch& batch, size_t row) {
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

// Asks memory for what a row ahead will touch; the keys' order has nothing to do with where their state lies.
void Engine::Impl::prefetch(const std::vector<const Machine*>& machines, const Batch& batch, size_t row, int device) {
  if (device >= 0) {
    const TimelineId timeline = devices_.find_fast(batch.columns[static_cast<size_t>(device)], row);
    for (const Horizons& horizons : horizons_) {
      horizons.prefetch(timeline);
    }
  }
  for (const Machine* machine : machines) {
    machine->prefetch(batch, row, false);
  }
}

void Engine::Impl::push_lines(const Batch& batch, Readers& readers) {
  constexpr size_t kAhead = 4;  // rows
  const std::vector<const Machine*>& machines = readers.prefetching();
  const auto deep = [&](size_t row) {
    for (const Machine* machine : machines) {
      machine->prefetch(batch, row, true);
    }
  };
  if (!machines.empty()) {
    for (size_t row = 0; row < std::min(batch.rows, kAhead); ++row) {
      prefetch(machines, batch, row, readers.device());
    }
    deep(0);
  }
  for (size_t row = 0; row < batch.rows; ++row) {
    if (row + kAhead < batch.rows && !machines.empty()) {
      prefetch(machines, batch, row + kAhead, readers.device());
    }
    if (row + 1 < batch.rows) {
      deep(row + 1);
    }
    push_line(batch, row, readers);
    if (outputs_.size() >= kOutputsHeldMax) {
      flush();
    }
  }
  flush();
}

// One event, with all that it makes due. Its outputs wait in the queue; false: there are none.
[[gnu::always_inline]] inline bool Engine::Impl::push_line(const Batch& batch, size_t row, Readers& readers) {
  if (!is_mine(batch, row)) {
    tick(batch, row, nullptr);
    return true;
  }
  const Heard heard = hear(batch, readers.device(), row);
  if (!is_quiet(heard)) {
    run_event(batch, row, heard);
    return true;
  }
  const auto value_of = [&](uint32_t column) { return batch.columns[column].at(row); };
  if (readers.surely_nobody(value_of, heard.timeline, batch.t[row])) {
    ++arrivals_;
    return false;
  }
  run_quietly(batch, row, readers, heard.timeline);
  return true;
}

// The event is all there is, and what it leads to.
void Engine::Impl::run_quietly(const Batch& batch, size_t row, Readers& readers, TimelineId timeline) {
  const Moment moment = moment_of(batch, row);
  const auto value_of = [&](uint32_t column) { return batch.columns[column].at(row); };
  const auto& found = readers.find(value_of, timeline, moment.t, false, candidates_);
  if (found.empty()) {
    return;
  }
  read_row(batch, row);
  const Event event{batch.stream, timeline, row_.data()};
  outputs_.set_line(static_cast<uint32_t>(row));
  give_to(found, event, moment);
  if (!agenda_.empty()) {
    run_line(&event, &moment, false);
  }
}

// The event, among other things.
void Engine::Impl::run_event(const Batch& batch, size_t row, const Heard& heard) {
  read_row(batch, row);
  const Event event{batch.stream, heard.timeline, row_.data()};
  const Moment moment = moment_of(batch, row);
  outputs_.set_line(static_cast<uint32_t>(row));
  if (is_stranger_) {
    limit_readers(batch.stream, Bound::kDevices, settings_.devices_max, moment);
  }
  if (may_be_due(event.timeline)) {
    agenda_.begin_event(moment.t, moment.arrival);
    take_due(event.timeline, false);
    put_due_on_agenda();
  } else {
    give(event, moment, false);
  }
  if (!agenda_.empty() || agenda_.has_event()) {
    run_line(&event, &moment, false);
  }
}

// A device that is not known yet, or not by a text.
TimelineId Engine::Impl::add_timeline(const ColumnView& column, size_t row) {
  const uint64_t rejected = devices_.rejected();
  const TimelineId timeline = devices_.find_or_add(column.at(row));
  is_stranger_ = devices_.rejected() != rejected;
  return timeline;
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
  pass_time(t, kSharedTimeline, true);
}

void Engine::Impl::advance_clock(int64_t at) {
  LAMBDA_ASSERT(at >= -kEventTimeMax && at <= kEventTimeMax);
  if (at > clock_.now()) {
    sweep_lists();
    clock_.on_event(at);
    pass_time(at, kForeignTimeline, false);
  }
}

// A line without an event: what became due by `t`. `timeline`, `all`: as Horizons::take_due() says.
void Engine::Impl::pass_time(int64_t t, TimelineId timeline, bool all) {
  Moment moment;
  moment.t = t;
  moment.clock = clock_.now();
  moment.place = Place::kTimer;
  start_rules(moment);
  outputs_.set_line(0);
  take_due(timeline, all);
  agenda_.begin_advance();
  put_due_on_agenda();
  run_line(nullptr, nullptr, false);
  flush();
}

void Engine::Impl::forget_lists() {
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

// Everything that became due with this line, to due_. `timeline`: of the line's event; kForeignTimeline: it has none
// here.
void Engine::Impl::take_due(TimelineId timeline, bool all) {
  due_.clear();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    if (all || timeline == kForeignTimeline || horizons.may_be_due(timeline)) {
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

void Engine::Impl::give(const Event& event, const Moment& moment, bool alone) {
  const auto value_of = [&](uint32_t column) { return event.columns[column]; };
  give_to(readers_[event.stream].find(value_of, event.timeline, moment.t, alone, candidates_), event, moment);
}

// `found`: by Readers::find().
void Engine::Impl::give_to(const std::vector<uint32_t>& found, const Event& event, const Moment& moment) {
  const Readers& readers = readers_[event.stream];
  for (size_t i = 0; i < found.size();) {
    if (!Readers::is_row(found[i])) {
      readers.rules()[Readers::number_of(found[i++])]->arrive(event, moment);
      continue;
    }
    const size_t begin = i;
    while (i < found.size() && Readers::is_row(found[i])) {
      ++i;
    }
    const auto row_of = [&](size_t n) -> const Readers::RowRule& {
      return readers.row_rule(Readers::number_of(found[begin + n]));
    };
    print_rows(i - begin, row_of, event.columns, moment);
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
