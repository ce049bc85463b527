// The engine's inside: its parts, and what their members do in engine.cpp (snapshots, memory), engine_rules.cpp and
// engine_push.cpp (events and time).
#pragma once

#include <deque>
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
  void count_state();
  uint64_t growth_of_a_line() const;
  // ---- engine_push.cpp
  void push_lines(const Batch& batch);
  void prefetch(const std::vector<const Machine*>& machines, const Batch& batch, size_t row);
  void push_together(const Batch& batch);
  Event hear(const Batch& batch, size_t row, bool& guarded);
  void limit_readers(StreamId stream, Bound bound, uint64_t max, const Moment& moment);
  bool one_horizon(Readers& readers) const;
  void push_rows(const Batch& batch);
  void push_each(const Batch& batch);
  void push_one(Readers& readers, const Batch& batch, uint32_t row);
  int64_t lag_end(const Readers::Together& group, uint32_t row) const;
  TimelineId timeline_at(const Batch& batch, int device, size_t row) {
    return device < 0 ? kSharedTimeline : devices_.find_or_add(batch.columns[static_cast<size_t>(device)].at(row));
  }
  bool is_mine(const Batch& batch, size_t row);
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
  void take_due(TimelineId timeline, bool all);
  bool may_be_due(TimelineId timeline);
  void put_due_on_agenda();
  void give(const Event& event, const Moment& moment, bool alone);
  void start_rules(const Moment& moment);
  void sweep_lists();
  void run_line(const Event* event, const Moment* moment, bool alone);
  Moment present() const;
  // What restore_rules() could not go on with: keys and waiting events by rule.
  using Lost = std::vector<std::pair<RuleId, uint64_t>>;
  RuleNumbers restore_rules(StateReader& in, Lost& lost);
  void put_in_place_of(RuleId id, std::unique_ptr<RuleRunner> rule);
  void fit_rules(const RuleNumbers& numbers);
  // ---- engine_rules.cpp
  bool can_be_divided(const RulePlan& plan) const;
  void refuse_divided_sources(const RulePlan& plan, std::vector<Diagnostic>& errors) const;
  void refuse_for_room(const std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors) const;
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
  Readers& readers(StreamId stream);

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
  bool is_stranger_ = false;  // the event at work is of a device that there is no room for
  std::deque<Horizons> horizons_;
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
  std::vector<uint32_t> other_at_;
  bool is_catching_up_ = false;
  std::vector<uint64_t> hits_;  // of look_up(): a bit for each rule
};

}  // namespace lambda::cep
