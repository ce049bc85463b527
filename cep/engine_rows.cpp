// Many events at once. Rules whose work on an event touches nobody else's (RuleRunner::takes_rows()) need not be asked
// line by line: they get many events at once, and the queue of outputs brings the lines together again. They lag behind
// the line at work, and are brought up to it (catch_up()) before anything but their own events touches them.
#include <algorithm>
#include <bit>

#include "cep/engine_impl.h"

namespace lambda::cep {

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
  const Heard heard = hear(batch, readers.device(), row);
  const Event event{batch.stream, heard.timeline, row_.data()};
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
  if (is_due || heard.guarded || readers.any_alone()) {
    run_beside(readers, batch, event, moment, row, is_due, heard.guarded);
  }
  for (Readers::Together& group : readers.together()) {
    if (!heard.guarded && group.horizons->heard_device(event.timeline) == moment.t) {
      group.at.push_back(row);
    } else {
      group.late += heard.guarded ? 0 : 1;
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
  const auto rows = static_cast<uint32_t>(batch.rows);
  int64_t clock = clock_.now();
  for (uint32_t row = 0; row < rows; ++row) {
    LAMBDA_ASSERT(batch.t[row] >= -kEventTimeMax && batch.t[row] <= kEventTimeMax);
    clock = std::max(clock, batch.t[row]);
    clocks_[row] = clock;
    timelines_[row] = is_mine(batch, row) ? timeline_at(batch, readers.device(), row) : kForeignTimeline;
  }
  for (uint32_t begin = 0; begin < rows;) {
    // What waits for the clock is due below it, an idle device's items at it.
    const int64_t clock_items = clock_items_.empty() ? kTimeMax : clock_items_.top().time + 1;
    const int64_t stop_at = std::min({clock_items, horizons.next_wakeup(), lag_end(group, begin)});
    const auto stop =
        clocks_[rows - 1] < stop_at
            ? rows
            : static_cast<uint32_t>(std::lower_bound(clocks_.begin() + begin, clocks_.begin() + rows, stop_at) -
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
      if (in_order) {
        group.at.pop_back();
      }
      run_beside(readers, batch, event, rows_.moment(due), due, true, false);
      if (in_order) {
        group.at.push_back(due);
      }
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
    candidates_.clear();
    group.index.candidates([&](uint32_t column) { return rows_.columns[column].at(row); }, candidates_);
    if (candidates_.empty()) {
      continue;
    }
    rows_.read(row, row_.data());
    for (const uint32_t number : candidates_) {  // sorted, by setting bits
      hits_[number / 64] |= uint64_t{1} << (number % 64);
    }
    rows_of_event_.clear();
    for (size_t word = 0; word < hits_.size(); ++word) {
      for (; hits_[word] != 0; hits_[word] &= hits_[word] - 1) {
        const auto number = static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(hits_[word])));
        if (group.is_demand_all[number] || evaluator_.is_true(group.looked_up[number]->plan.where, frames)) {
          rows_of_event_.push_back(number);
        } else {
          ++group.looked_up[number]->counters.events;
        }
      }
    }
    outputs_.set_line(row);
    const auto row_of = [&](size_t n) -> const Readers::RowRule& { return group.row_rules[rows_of_event_[n]]; };
    print_rows(rows_of_event_.size(), row_of, row_.data(), rows_.moment(row));
  }
}

}  // namespace lambda::cep
