// The engine's inside: its parts, and what their members do in engine.cpp (snapshots, memory), engine_rules.cpp and
// engine_push.cpp and engine_rows.cpp (events and time, line by line and many at once).
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "cep/engine.h"
#include "cep/language/mutant.h"
#include "cep/readers.h"
#include "cep/rule_runner.h"
#include "cep/state_budget.h"
#include "cep/stream/agenda.h"
#include "cep/stream/horizon.h"

namespace lambda::cep {

class Engine::Impl final : public RunnerHost {
 public:
  // One engine of several that share the devices, and the table of texts.
  struct Part {
    uint32_t number = 0;  // its devices are those of this number, of `count`
    uint32_t count = 1;
    uint32_t engines = 1;  // that share the memory; those whose devices are divided, and the one that runs the others
    bool divided = true;   // runs the rules that can be divided by device
    bool whole = true;     // runs the others
    bool holds = false;    // keeps its outputs, in outputs_, for somebody to fetch after each call
    std::shared_ptr<Symbols> symbols;
  };
  Impl(const EngineSettings& settings, BatchSink sink, Part part)
      : part_(std::move(part)),
        symbols_(*part_.symbols),
        settings_(settings),
        budget_(settings.state_bytes_max / part_.engines),
        at_once_(settings.at_once && !any_mutant()),
        sink_(std::move(sink)),
        tables_(catalog_),
        evaluator_(symbols_),
        columns_(evaluator_),
        outputs_(symbols_),
        devices_(settings.devices_max),
        agenda_([this](RuleId rule, KeyId x, KeyId y) { return rules_[rule]->keys.compare(x, y, symbols_); }) {
    (void)horizons_for({});  // knows when each device was last heard of, whatever rules come
  }

  std::vector<Diagnostic> create(std::string_view text);
  std::vector<Diagnostic> replace(std::string_view text);
  Status remove(std::string_view name);
  void push(const Batch& batch);
  void text_refused(StreamId stream, int64_t t, uint64_t index, int64_t at);
  void advance_to(int64_t t);
  void advance_clock(int64_t at);
  std::string snapshot() const;
  Status restore(std::string_view bytes);

  // For the rules.
  void schedule_horizon(RuleRunner& rule, const Item& item) override;
  void schedule_clock(const Item& item, std::optional<int64_t> behind) override;
  RuleRunner* source_of(StreamId stream) override {
    const auto rule = catalog_.stream(stream).rule;
    return rule ? rules_[*rule].get() : nullptr;
  }
  int64_t clock_skew_ms() const override { return settings_.clock_skew_ms; }
  void publish(const RuleRunner& from, const Moment& moment, std::span<const Value> fields) override;
  OutputQueue& outputs() override { return outputs_; }
  TimelineId timeline_of(const Value& device) override { return devices_.find_or_add(device); }
  int64_t clock() const override { return clock_.now(); }
  const Catalog& catalog() const override { return catalog_; }
  bool says_each_limit() const override { return part_.holds; }
  uint64_t state_bytes_max() const override { return budget_.bytes_max(); }
  void touched(RuleRunner& rule) override { budget_.touched(rule); }
  // How many events of the stream are taken in one piece. Looks at what the rules hold when it is time to.
  size_t rows_at_once(StreamId stream) { return rows_at_once(readers(stream)); }
  size_t set_table(TableId table, std::span<const std::vector<Value>> rows);
  // What remove() would say.
  Status can_remove(std::string_view name) const;

  const Part part_;
  Catalog catalog_;
  Symbols& symbols_;
  EngineCounters counters_;

 private:
  friend class Engine;
  friend class ShardedEngine;
  size_t rows_at_once(Readers& readers);
  void look_at_state() {
    if (budget_.is_due(arrivals_)) {
      budget_.look(arrivals_, rules_);
    }
  }
  void count_state();
  uint64_t growth_of_a_line() const;
  // ---- engine_push.cpp, engine_rows.cpp
  // What an event did to time.
  struct Heard {
    TimelineId timeline = kSharedTimeline;
    bool guarded = false;     // by the clock guard
    bool may_be_due = false;  // something beside the event
  };
  void push_many(const Batch& batch, Readers& readers);
  void push_lines(const Batch& batch, Readers& readers);
  bool push_line(const Batch& batch, size_t row, Readers& readers);
  void prefetch(const std::vector<const Machine*>& machines, const Batch& batch, size_t row, int device);
  // After hear(): is there nothing to do but to give the event to the rules?
  bool is_quiet(const Heard& heard) const {
    return !heard.may_be_due && !any_site_ && !is_stranger_ && started_ == rules_.size();
  }
  void run_event(const Batch& batch, size_t row, const Heard& heard);
  void run_quietly(const Batch& batch, size_t row, Readers& readers, TimelineId timeline);
  void read_row(const Batch& batch, size_t row) {
    row_.resize(batch.columns.size());
    for (size_t c = 0; c < row_.size(); ++c) {
      row_[c] = batch.columns[c].at(row);
    }
  }
  void push_together(const Batch& batch);
  Heard hear(const Batch& batch, int device, size_t row);
  void limit_readers(StreamId stream, Bound bound, uint64_t max, const Moment& moment);
  bool one_horizon(Readers& readers) const;
  void push_rows(const Batch& batch);
  void push_each(const Batch& batch);
  void push_one(Readers& readers, const Batch& batch, uint32_t row);
  int64_t lag_end(const Readers::Together& group, uint32_t row) const;
  // `device`: the stream's column, as StreamSchema has it. Says in is_stranger_ whether there was no room for it.
  TimelineId timeline_at(const Batch& batch, int device, size_t row) {
    is_stranger_ = false;
    if (device < 0) {
      return kSharedTimeline;
    }
    const ColumnView& column = batch.columns[static_cast<size_t>(device)];
    const TimelineId known = devices_.find_fast(column, row);
    return known != kSharedTimeline ? known : add_timeline(column, row);
  }
  [[gnu::noinline]] TimelineId add_timeline(const ColumnView& column, size_t row);
  // Is the event's device one of this part's? Devices without a name are the first part's.
  bool is_mine(const Batch& batch, size_t row) { return part_.count == 1 || is_of_this_part(batch, row); }
  bool is_of_this_part(const Batch& batch, size_t row);
  void tick(const Batch& batch, size_t row, Readers* lagging);
  void flush() {
    if (!part_.holds) {
      outputs_.flush(sink_);
    }
  }
  Moment moment_of(const Batch& batch, size_t row);
  void run_beside(Readers& readers, const Batch& batch, const Event& event, const Moment& moment, uint32_t row,
                  bool is_due, bool guarded);
  bool step_over(const Event& event, int64_t t);
  bool step_over_only(Horizons& horizons, const Event& event, int64_t t);
  void catch_up(Readers& readers);
  void look_up(Readers::Together& group);
  void pass_time(int64_t t, TimelineId timeline, bool all);
  void take_due(TimelineId timeline, bool all);
  bool may_be_due(TimelineId timeline);
  void put_due_on_agenda();
  void give(const Event& event, const Moment& moment, bool alone);
  void give_to(const std::vector<uint32_t>& found, const Event& event, const Moment& moment);
  // The event passed the WHERE of rules whose rows are columns of it: Readers::RowRule, by `row_of(i)`.
  template <class RowOf>
  void print_rows(size_t count, const RowOf& row_of, const Value* columns, const Moment& moment) {
    for (size_t i = 0; i < count; ++i) {
      RuleCounters& counters = *row_of(i).counters;
      ++counters.events;
      ++counters.outputs;
    }
    outputs_.add_rows(count, row_of, columns, moment);
  }
  void start_rules(const Moment& moment);
  // Forgets the lists of outputs that are gone, when they have become as many again as are held.
  void sweep_lists() {
    if (symbols_.list_bytes() >= sweep_lists_at_ && part_.whole) {
      forget_lists();
    }
  }
  void forget_lists();
  void run_line(const Event* event, const Moment* moment, bool alone);
  Moment present() const;
  // What restore_rules() could not go on with: keys and waiting events by rule.
  using Lost = std::vector<std::pair<RuleId, uint64_t>>;
  RuleNumbers restore_rules(StateReader& in, Lost& lost);
  void put_in_place_of(RuleId id, std::unique_ptr<RuleRunner> rule);
  void fit_rules(const RuleNumbers& numbers);
  // ---- engine_rules.cpp
  void bind(const ast::Statement& statement, std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors);
  bool can_be_divided(const RulePlan& plan) const;
  void refuse_divided_sources(const RulePlan& plan, std::vector<Diagnostic>& errors) const;
  std::vector<const RuleRunner*> rules_beside(const std::vector<RulePlan>& plans) const;
  void refuse_for_room(const std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors) const;
  void refuse_for_watermarks(const std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors) const;
  std::unique_ptr<RuleRunner> make_rule(RulePlan plan, bool is_divided);
  void connect(RuleRunner& rule);
  void disconnect(RuleRunner& rule);
  void note_reads();
  std::optional<RulePlan> bind_replacement(const ast::CreateRule& statement, std::vector<Diagnostic>& errors);
  // replace() and remove() in two steps, with the outputs of alerts that end fetched in between.
  std::vector<Diagnostic> stage_replace(std::string_view text);
  void commit_replace();
  void commit_remove(std::string_view name);
  void stage(RulePlan plan);
  void withdraw(RuleRunner& rule);
  void forget_items(RuleId rule);
  void renumber_items(RuleId rule, std::span<const KeyId> now);
  std::optional<RuleId> find_rule(std::string_view name) const;
  Horizons& horizons_for(const Options& options);
  void drop_unused_horizons();
  Readers& readers(StreamId stream) { return stream < readers_.size() ? readers_[stream] : add_readers(stream); }
  Readers& add_readers(StreamId stream);

  static constexpr uint64_t kListBytesMin = 8 << 20;

  const EngineSettings settings_;
  StateBudget budget_;
  const bool at_once_;
  BatchSink sink_;
  Tables tables_;
  Evaluator evaluator_;
  ColumnEvaluator columns_;
  OutputQueue outputs_;
  ArrivalClock clock_;
  Devices devices_;
  bool is_stranger_ = false;      // the event at work is of a device that there is no room for
  std::list<Horizons> horizons_;  // the first one is always there
  bool any_site_ = false;
  ItemHeap clock_items_;
  Agenda agenda_;
  std::vector<Item> due_;
  std::vector<Value> row_;
  std::vector<std::unique_ptr<RuleRunner>> rules_;
  struct Staged {
    std::unique_ptr<RuleRunner> rule;
    bool goes_on;
    std::vector<KeyId> keys;  // their new numbers, as RuleRunner::fit() says
  };
  std::vector<Staged> staged_;
  std::vector<Readers> readers_;  // by stream
  std::vector<uint32_t> candidates_;
  std::vector<uint8_t> part_of_text_;  // by symbol
  uint64_t sweep_lists_at_ = kListBytesMin;
  uint64_t arrivals_ = 0;
  size_t started_ = 0;  // rules, from the first on

  // Of push_together(): the events, and what they found the time to be.
  Batch chunk_;
  std::vector<int64_t> clocks_;
  std::vector<TimelineId> timelines_;
  Rows rows_;
  Places other_at_;
  bool is_catching_up_ = false;
  std::vector<uint64_t> hits_;           // of look_up(): a bit for each rule
  std::vector<uint32_t> rows_of_event_;  // and the rules that it meets
};

// ---- on the way of every event

// The event moves the clocks.
[[gnu::always_inline]] inline Engine::Impl::Heard Engine::Impl::hear(const Batch& batch, int device, size_t row) {
  const int64_t t = batch.t[row];
  LAMBDA_ASSERT(t >= -kEventTimeMax && t <= kEventTimeMax);
  ++counters_.events;
  clock_.on_event(batch.at == nullptr ? t : batch.at[row]);
  Heard heard;
  heard.guarded = t > clock_.now() + settings_.clock_skew_ms;
  counters_.guarded += heard.guarded ? 1 : 0;
  heard.timeline = timeline_at(batch, device, row);
  heard.may_be_due = !clock_items_.empty() && clock_items_.top().time < clock_.due_below();
  if (!mutant(Mutant::kWhereMovesTime) || !readers_[batch.stream].empty()) {
    for (Horizons& horizons : horizons_) {
      heard.may_be_due |= horizons.on_event(heard.timeline, t, heard.guarded);
    }
  }
  return heard;
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

// After hear(), and after what rules did since: is there more to do than the event?
inline bool Engine::Impl::may_be_due(TimelineId timeline) {
  bool due = !clock_items_.empty() && clock_items_.top().time < clock_.due_below();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    due = due || horizons.may_be_due(timeline);
  }
  return due;
}

}  // namespace lambda::cep
