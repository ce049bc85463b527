#include "cep/engine.h"

#include <algorithm>
#include <deque>

#include "cep/agenda.h"
#include "cep/binder.h"
#include "cep/horizon.h"
#include "cep/mutant.h"
#include "cep/parser.h"
#include "cep/predicate_index.h"
#include "cep/rule_runner.h"

namespace lambda::cep {

namespace {

// The rules that read a stream. Those that take an event as it comes, or never, are found by what they demand of it.
struct Readers {
  struct Indexed {
    const Horizons* horizons;
    std::vector<uint32_t> members;
    PredicateIndex index;
  };
  std::vector<RuleRunner*> rules;  // in order of creation; the numbers below are places in it
  std::vector<uint32_t> others;
  std::vector<Indexed> indexed;

  void add(RuleRunner& rule) {
    const auto number = static_cast<uint32_t>(rules.size());
    rules.push_back(&rule);
    if (rule.site() || rule.plan.options.lateness_ms > 0) {
      others.push_back(number);
      return;
    }
    auto found = std::ranges::find(indexed, &rule.horizons, &Indexed::horizons);
    if (found == indexed.end()) {
      indexed.push_back({&rule.horizons, {}, {}});
      found = indexed.end() - 1;
    }
    found->members.push_back(number);
    found->index.add(number, rule.plan);
  }
  // Those to which the event may matter, in order of creation.
  void find(const Event& event, int64_t t, std::vector<uint32_t>& out) const {
    out = others;
    for (const Indexed& group : indexed) {
      if (group.horizons->device(event.timeline) == t) {
        group.index.candidates(event.columns, out);
      } else {
        out.insert(out.end(), group.members.begin(), group.members.end());  // late, or ahead: each rule sees to it
      }
    }
    if (out.size() > 1) {
      std::ranges::sort(out);
    }
  }
};

}  // namespace

class Engine::Impl final : public RunnerHost {
 public:
  Impl(const EngineSettings& settings, Sink sink)
      : settings_(settings),
        sink_(std::move(sink)),
        tables_(catalog_),
        evaluator_(symbols_),
        outputs_(symbols_),
        agenda_([this](RuleId rule, KeyId x, KeyId y) { return rules_[rule]->keys.compare(x, y, symbols_); }) {}

  std::vector<Diagnostic> create(std::string_view text);
  void add_rule(RulePlan plan);
  void push(const Batch& batch);
  void advance_to(int64_t t);
  std::string snapshot() const;
  Status restore(std::string_view bytes);

  // For the rules.
  void schedule_horizon(RuleRunner& rule, const Item& item) override;
  void schedule_clock(const Item& item) override;
  void publish(const RuleRunner& from, const Moment& moment, std::span<const Value> fields) override;
  OutputQueue& outputs() override { return outputs_; }
  TimelineId timeline_of(const Value& device) override { return devices_.find_or_add(device); }
  const Catalog& catalog() const override { return catalog_; }

  Catalog catalog_;
  Symbols symbols_;
  EngineCounters counters_;

 private:
  friend class Engine;
  void push_event(StreamId stream, const Value* columns, int64_t t, int64_t at, bool has_at, uint64_t index);
  void collect(TimelineId timeline, bool all);
  void start_rules(const Moment& moment);
  void run_line(const Event* event, const Moment* moment);
  Horizons& horizons_for(const Options& options);

  EngineSettings settings_;
  Sink sink_;
  Tables tables_;
  Evaluator evaluator_;
  OutputQueue outputs_;
  ArrivalClock clock_;
  Devices devices_;
  std::deque<Horizons> horizons_;
  bool any_site_ = false;
  ItemHeap clock_items_;
  Agenda agenda_;
  std::vector<Item> due_;
  std::vector<Value> row_;
  std::vector<std::unique_ptr<RuleRunner>> rules_;
  std::vector<Readers> readers_;  // by stream
  std::vector<uint32_t> candidates_;
  uint64_t arrivals_ = 0;
  size_t started_ = 0;  // rules, from the first on
};

// ---- rules

std::vector<Diagnostic> Engine::Impl::create(std::string_view text) {
  Parsed parsed = parse_rules(text);
  Diagnostics errors = std::move(parsed.errors);
  const size_t streams_before = catalog_.stream_count();
  const size_t tables_before = catalog_.table_count();
  std::vector<RulePlan> plans;
  for (const ast::Statement& statement : parsed.statements) {
    switch (statement.kind) {
      case ast::StatementKind::kStream:
        bind_stream(statement.stream, catalog_, errors);
        break;
      case ast::StatementKind::kTable:
        bind_table(statement.table, catalog_, errors);
        break;
      case ast::StatementKind::kRule:
        if (auto plan = bind_rule(statement.rule, catalog_, symbols_, errors)) {
          plan->id = static_cast<RuleId>(rules_.size() + plans.size());
          plan->output_stream = catalog_.add_stream(output_schema(*plan));
          if (auto missing = unsupported_part(*plan)) {
            errors.push_back(std::move(*missing));
          }
          plans.push_back(std::move(*plan));
        }
        break;
    }
  }
  if (!errors.empty()) {
    catalog_.truncate(streams_before, tables_before);
    std::ranges::stable_sort(errors, [](const Diagnostic& a, const Diagnostic& b) {
      return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
    });
    return errors;
  }
  for (RulePlan& plan : plans) {
    add_rule(std::move(plan));
  }
  return {};
}

void Engine::Impl::add_rule(RulePlan plan) {
  readers_.resize(catalog_.stream_count());
  Horizons& horizons = horizons_for(plan.options);
  rules_.push_back(std::make_unique<RuleRunner>(*this, std::move(plan), horizons, tables_, evaluator_));
  RuleRunner& rule = *rules_.back();
  any_site_ = any_site_ || rule.site();
  for (const StreamUse& use : rule.plan.streams) {
    readers_[use.stream].add(rule);
  }
}

Horizons& Engine::Impl::horizons_for(const Options& options) {
  const HorizonSettings settings{options.lateness_ms, options.idle_ms, options.max_delay_ms};
  const auto found = std::ranges::find(horizons_, settings, &Horizons::settings);
  return found != horizons_.end() ? *found : horizons_.emplace_back(settings, clock_, devices_);
}

// ---- time and events

void Engine::Impl::push(const Batch& batch) {
  const StreamSchema& schema = catalog_.stream(batch.stream);
  LAMBDA_ASSERT(batch.columns.size() == schema.columns.size());
  readers_.resize(catalog_.stream_count());
  row_.resize(batch.columns.size());
  for (size_t i = 0; i < batch.rows; ++i) {
    for (size_t c = 0; c < row_.size(); ++c) {
      row_[c] = batch.columns[c].at(i);
    }
    push_event(batch.stream, row_.data(), batch.t[i], batch.at == nullptr ? 0 : batch.at[i], batch.at != nullptr,
               batch.first_index + i);
  }
}

void Engine::Impl::push_event(StreamId stream, const Value* columns, int64_t t, int64_t at, bool has_at,
                              uint64_t index) {
  LAMBDA_ASSERT(t >= -kEventTimeMax && t <= kEventTimeMax);
  ++counters_.events;
  clock_.on_event(has_at ? at : t);
  const bool guarded = t > clock_.now() + settings_.clock_skew_ms;
  counters_.guarded += guarded ? 1 : 0;
  const int device_column = catalog_.stream(stream).device_column;
  const TimelineId timeline = device_column < 0 ? kSharedTimeline : devices_.find_or_add(columns[device_column]);
  if (!mutant(Mutant::kWhereMovesTime) || !readers_[stream].rules.empty()) {
    for (Horizons& horizons : horizons_) {
      horizons.on_event(timeline, t, guarded);
    }
    devices_.heard(timeline, clock_.now());
  }
  const Event event{stream, timeline, columns};
  Moment moment;
  moment.t = t;
  moment.arrival = arrivals_++;
  moment.on_input = static_cast<int64_t>(index);
  moment.clock = clock_.now();
  start_rules(moment);
  agenda_.begin_event(t, moment.arrival);
  collect(timeline, false);
  run_line(&event, &moment);
}

void Engine::Impl::advance_to(int64_t t) {
  LAMBDA_ASSERT(t >= -kEventTimeMax && t <= kEventTimeMax);
  clock_.on_advance(t);
  for (Horizons& horizons : horizons_) {
    horizons.on_advance(t);
  }
  Moment moment;
  moment.t = t;
  moment.clock = clock_.now();
  moment.place = Place::kTimer;
  start_rules(moment);
  agenda_.begin_advance();
  collect(kSharedTimeline, true);
  run_line(nullptr, nullptr);
}

// Rules that see their first line.
void Engine::Impl::start_rules(const Moment& moment) {
  for (; started_ < rules_.size(); ++started_) {
    rules_[started_]->start(moment);
  }
}

// Everything that became due with this line.
void Engine::Impl::collect(TimelineId timeline, bool all) {
  due_.clear();
  for (Horizons& horizons : horizons_) {
    if (any_site_) {
      horizons.refresh_site();
    }
    horizons.take_due(timeline, all, due_);
  }
  for (const Item& item : due_) {
    agenda_.add_horizon(item);
  }
  while (!clock_items_.empty() && clock_items_.top().time < clock_.due_below()) {
    agenda_.add_clock(clock_items_.pop());
  }
}

void Engine::Impl::run_line(const Event* event, const Moment* moment) {
  for (;;) {
    if (agenda_.event_is_next()) {
      agenda_.event_is_done();
      const Readers& readers = readers_[event->stream];
      readers.find(*event, moment->t, candidates_);
      for (const uint32_t number : candidates_) {
        readers.rules[number]->arrive(*event, *moment);
      }
    } else if (!agenda_.empty()) {
      const Item item = agenda_.take();
      Moment due;
      due.t = item.time;
      due.place = item.place;
      due.rank = item.rank;
      due.arrival = item.arrival;
      // Time passed through the item's instant on its way from the last line to this one, unless it came too late for
      // that.
      const bool swept = item.place != Place::kEvent && item.time > clock_.before();
      due.clock = swept ? item.time : clock_.now();
      due.on_input = mutant(Mutant::kTimerHasInput) && moment != nullptr ? moment->on_input : -1;
      rules_[item.rule]->run(item, due);
    } else {
      break;
    }
  }
  if (!outputs_.empty()) {
    outputs_.flush(sink_);
  }
}

void Engine::Impl::schedule_horizon(RuleRunner& rule, const Item& item) {
  if (is_due(item.time, item.place, rule.horizon(item.timeline))) {
    agenda_.add_horizon(item);
  } else {
    rule.horizons.add(item, rule.site());
  }
}

void Engine::Impl::schedule_clock(const Item& item) {
  if (item.time < clock_.due_below()) {
    agenda_.add_clock(item);
  } else {
    clock_items_.push(item);
  }
}

void Engine::Impl::publish(const RuleRunner& from, const Moment& moment, std::span<const Value> fields) {
  const StreamId stream = from.plan.output_stream;
  if (stream >= readers_.size() || readers_[stream].rules.empty()) {
    return;
  }
  const std::vector<Value> columns(fields.begin(), fields.end());  // the rule's own memory may change meanwhile
  const int device_column = catalog_.stream(stream).device_column;
  const TimelineId timeline =
      device_column < 0 ? kSharedTimeline : devices_.find_or_add(columns[static_cast<size_t>(device_column)]);
  for (RuleRunner* rule : readers_[stream].rules) {
    ++rule->counters.events;
    rule->deliver({stream, timeline, columns.data()}, moment);
  }
}

// ---- snapshots

std::string Engine::Impl::snapshot() const {
  StateWriter out(symbols_);
  out.u32(static_cast<uint32_t>(rules_.size()));
  clock_.save(out);
  devices_.save(out);
  for (const Horizons& horizons : horizons_) {
    horizons.save(out);
  }
  clock_items_.save(out);
  for (const auto& rule : rules_) {
    rule->save(out);
  }
  out.u64(arrivals_);
  out.u64(counters_.events);
  out.u64(counters_.guarded);
  return out.finish();
}

Status Engine::Impl::restore(std::string_view bytes) {
  auto opened = StateReader::open(bytes, symbols_);
  if (!opened) {
    return tl::unexpected(opened.error());
  }
  StateReader& in = *opened;
  if (in.u32() != rules_.size()) {
    return fail(ErrorCode::kInvalid, "the snapshot is of other rules");
  }
  clock_.load(in);
  devices_.load(in);
  for (Horizons& horizons : horizons_) {
    horizons.load(in);
  }
  clock_items_.load(in);
  for (const auto& rule : rules_) {
    rule->load(in);
  }
  arrivals_ = in.u64();
  counters_.events = in.u64();
  counters_.guarded = in.u64();
  if (!in.ok() || !in.at_end()) {
    return fail(ErrorCode::kInvalid, "the snapshot does not fit the rules");
  }
  return {};
}

// ---- the door

Engine::Engine(const EngineSettings& settings, Sink sink) : impl_(std::make_unique<Impl>(settings, std::move(sink))) {}
Engine::~Engine() = default;
std::vector<Diagnostic> Engine::create(std::string_view text) {
  return impl_->create(text);
}
size_t Engine::rule_count() const {
  return impl_->rules_.size();
}
const RulePlan& Engine::rule(RuleId id) const {
  return impl_->rules_[id]->plan;
}
const RuleCounters& Engine::counters(RuleId id) const {
  return impl_->rules_[id]->counters;
}
const EngineCounters& Engine::counters() const {
  impl_->counters_.timelines_rejected = impl_->devices_.rejected();
  return impl_->counters_;
}
size_t Engine::state_bytes(RuleId id) const {
  return impl_->rules_[id]->state_bytes();
}
const Catalog& Engine::catalog() const {
  return impl_->catalog_;
}
Symbols& Engine::symbols() {
  return impl_->symbols_;
}
size_t Engine::set_table(TableId table, std::span<const std::vector<Value>> rows) {
  return impl_->tables_.set(table, rows);
}
void Engine::push(const Batch& batch) {
  impl_->push(batch);
}
void Engine::advance_to(int64_t t) {
  impl_->advance_to(t);
}
std::string Engine::snapshot() const {
  return impl_->snapshot();
}
Status Engine::restore(std::string_view bytes) {
  return impl_->restore(bytes);
}

}  // namespace lambda::cep
