// Which rules an engine has: created, replaced, removed, always between two lines of input.
#include <algorithm>

#include "cep/engine_impl.h"
#include "cep/footprint.h"
#include "cep/language/binder.h"
#include "cep/language/parser.h"
#include "cep/language/shape.h"

namespace lambda::cep {
namespace {

void sort_by_place(Diagnostics& errors) {
  std::ranges::stable_sort(errors, [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
}

bool same_columns(const std::vector<ColumnSchema>& x, const std::vector<ColumnSchema>& y) {
  return std::ranges::equal(
      x, y, [](const ColumnSchema& a, const ColumnSchema& b) { return a.name == b.name && a.type == b.type; });
}

HorizonSettings settings_of(const Options& options) {
  return {options.lateness_ms, options.idle_ms, options.max_delay_ms};
}

bool makes_texts(const Program& program) {
  return std::ranges::any_of(program.nodes,
                             [](const Node& node) { return node.op == Op::kLower || node.op == Op::kUpper; });
}

bool makes_texts(const RulePlan& plan) {
  bool makes = makes_texts(plan.where) || makes_texts(plan.having);
  for (const ItemPlan& item : plan.items) {
    makes = makes || makes_texts(item.program);
  }
  if (plan.table) {
    makes = makes || makes_texts(plan.table->key) || makes_texts(plan.table->on);
  }
  if (plan.alert) {
    makes = makes || makes_texts(plan.alert->on) || makes_texts(plan.alert->clear);
  }
  if (plan.window) {
    for (const AggregatePlan& aggregate : plan.window->aggregates) {
      makes = makes || makes_texts(aggregate.argument) || aggregate.kind == AggregateKind::kTopk;
    }
  }
  if (plan.pattern) {
    for (const PatternNode& node : plan.pattern->nodes) {
      makes = makes || makes_texts(node.filter);
    }
  }
  return makes;
}

}  // namespace

// ---- create

std::vector<Diagnostic> Engine::Impl::create(std::string_view text) {
  Diagnostics errors;
  const size_t streams_before = catalog_.stream_count();
  const size_t tables_before = catalog_.table_count();
  std::vector<RulePlan> plans;
  parse_rules(
      text, [&](ast::Statement&& statement) { bind(statement, plans, errors); }, errors);
  refuse_for_room(plans, errors);
  refuse_for_watermarks(plans, errors);
  if (!errors.empty()) {
    catalog_.truncate(streams_before, tables_before);
    sort_by_place(errors);
    return errors;
  }
  std::vector<bool> is_read(catalog_.stream_count());
  for (const RulePlan& plan : plans) {
    for (const StreamUse& use : plan.streams) {
      is_read[use.stream] = true;
    }
  }
  for (RulePlan& plan : plans) {
    const bool is_divided = !is_read[plan.output_stream] && can_be_divided(plan);
    rules_.push_back(make_rule(std::move(plan), is_divided));
    connect(*rules_.back());
  }
  note_reads();
  return {};
}

void Engine::Impl::bind(const ast::Statement& statement, std::vector<RulePlan>& plans, Diagnostics& errors) {
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
        refuse_divided_sources(*plan, errors);
        plans.push_back(std::move(*plan));
      }
      break;
  }
}

// The rules in whose place none of the plans comes.
std::vector<const RuleRunner*> Engine::Impl::rules_beside(const std::vector<RulePlan>& plans) const {
  std::vector<bool> goes(rules_.size());
  for (const RulePlan& plan : plans) {
    if (plan.id < goes.size()) {
      goes[plan.id] = true;
    }
  }
  std::vector<const RuleRunner*> beside;
  for (RuleId id = 0; id < rules_.size(); ++id) {
    if (rules_[id] != nullptr && !goes[id]) {
      beside.push_back(rules_[id].get());
    }
  }
  return beside;
}

// Rules are not to leave too little room for what they hold.
void Engine::Impl::refuse_for_room(const std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors) const {
  uint64_t bytes = 0;
  for (const RuleRunner* rule : rules_beside(plans)) {
    bytes += rule->own_bytes;
  }
  const uint64_t most = budget_.bytes_max() / 2;
  for (const RulePlan& plan : plans) {
    bytes += rule_bytes(plan);
    if (bytes > most) {
      errors.push_back({plan.at, "there is no room for rule " + plan.name + ": all rules may take " +
                                     std::to_string(most) + " bytes, half of state_bytes_max"});
      return;
    }
  }
}

// Each kind of watermark is one more for every device, that every event moves.
void Engine::Impl::refuse_for_watermarks(const std::vector<RulePlan>& plans, std::vector<Diagnostic>& errors) const {
  std::vector<HorizonSettings> kinds{settings_of(Options())};
  const auto add = [&](const RulePlan& plan) {
    if (std::ranges::find(kinds, settings_of(plan.options)) == kinds.end()) {
      kinds.push_back(settings_of(plan.options));
    }
  };
  for (const RuleRunner* rule : rules_beside(plans)) {
    add(rule->plan);
  }
  for (const RulePlan& plan : plans) {
    add(plan);
    if (kinds.size() > settings_.horizons_max) {
      errors.push_back({plan.at, "rule " + plan.name + ": no other rule has this lateness, idle and max_delay, and " +
                                     std::to_string(settings_.horizons_max) +
                                     " different ones, the defaults included, are the most there may be"});
      return;
    }
  }
}

// Does the rule, if nobody reads it, say the same when each part of the devices is another engine's? Its keys must be
// theirs alone, it must read no other rule, its bounds must not be counted over all keys, and it must not make texts,
// because the table of texts is shared. An ANTI JOIN waits for devices that nobody has heard of.
bool Engine::Impl::can_be_divided(const RulePlan& plan) const {
  const Options usual;
  const bool reads = std::ranges::any_of(
      plan.streams, [&](const StreamUse& use) { return catalog_.stream(use.stream).rule.has_value(); });
  return plan.horizon != HorizonClass::kSite && plan.source != ast::SourceKind::kAntiJoin && !reads && plan.prints &&
         !makes_texts(plan) && plan.options.max_keys == usual.max_keys &&
         plan.options.max_state_bytes == usual.max_state_bytes;
}

// What a divided rule says is in several engines.
void Engine::Impl::refuse_divided_sources(const RulePlan& plan, std::vector<Diagnostic>& errors) const {
  for (const StreamUse& use : plan.streams) {
    const auto source = catalog_.stream(use.stream).rule;
    if (part_.holds && source && *source < rules_.size() && rules_[*source]->is_divided) {
      errors.push_back({plan.at, "rule " + plan.name + " cannot read " + catalog_.stream(use.stream).name +
                                     ", which is divided over shards; create both together"});
    }
  }
}

std::unique_ptr<RuleRunner> Engine::Impl::make_rule(RulePlan plan, bool is_divided) {
  Horizons& horizons = horizons_for(plan.options);
  auto rule = std::make_unique<RuleRunner>(*this, std::move(plan), horizons, tables_, evaluator_, columns_, at_once_);
  rule->is_divided = is_divided;
  rule->is_active = is_divided ? part_.divided : part_.whole;
  return rule;
}

void Engine::Impl::connect(RuleRunner& rule) {
  if (!rule.is_active) {
    return;
  }
  for (const StreamUse& use : rule.plan.streams) {
    readers(use.stream).add(rule);
  }
}

void Engine::Impl::disconnect(RuleRunner& rule) {
  for (const StreamUse& use : rule.plan.streams) {
    readers(use.stream).remove(rule);
  }
}

// After rules came or went: who is read, what is needed no more.
void Engine::Impl::note_reads() {
  any_site_ = false;
  for (const auto& rule : rules_) {
    if (rule == nullptr) {
      continue;
    }
    any_site_ = any_site_ || (rule->is_active && rule->site());
    const StreamId output = rule->plan.output_stream;
    const bool read = output < readers_.size() && !readers_[output].empty();
    if (read != rule->read) {
      rule->read = read;
      for (const StreamUse& use : rule->plan.streams) {
        readers(use.stream).look_again();
      }
    }
  }
  drop_unused_horizons();
  count_state();
  budget_.look_soon();
}

Readers& Engine::Impl::add_readers(StreamId stream) {
  while (readers_.size() <= stream) {
    readers_.emplace_back(catalog_.stream(static_cast<StreamId>(readers_.size())), at_once_);
  }
  return readers_[stream];
}

Horizons& Engine::Impl::horizons_for(const Options& options) {
  const HorizonSettings settings = settings_of(options);
  const auto found = std::ranges::find(horizons_, settings, &Horizons::settings);
  if (found != horizons_.end()) {
    return *found;
  }
  Horizons& added = horizons_.emplace_back(settings, clock_, devices_);
  if (horizons_.size() > 1) {
    added.begin_like(horizons_.front());
  }
  return added;
}

// The first ones stay: they know when each device was last heard of.
void Engine::Impl::drop_unused_horizons() {
  horizons_.remove_if([this](const Horizons& horizons) {
    return &horizons != &horizons_.front() && std::ranges::none_of(rules_, [&](const auto& rule) {
      return rule != nullptr && &rule->horizons == &horizons;
    });
  });
}

std::optional<RuleId> Engine::Impl::find_rule(std::string_view name) const {
  const StreamSchema* stream = catalog_.find_stream(name);
  return stream == nullptr ? std::nullopt : stream->rule;
}

// ---- replace

std::vector<Diagnostic> Engine::Impl::replace(std::string_view text) {
  std::vector<Diagnostic> errors = stage_replace(text);
  if (errors.empty()) {
    flush();  // while the old rules can still be asked for
    commit_replace();
  }
  return errors;
}

std::vector<Diagnostic> Engine::Impl::stage_replace(std::string_view text) {
  Parsed parsed = parse_rules(text);
  Diagnostics errors = std::move(parsed.errors);
  const size_t streams_before = catalog_.stream_count();
  std::vector<RulePlan> plans;
  for (const ast::Statement& statement : parsed.statements) {
    if (statement.kind != ast::StatementKind::kRule) {
      const bool stream = statement.kind == ast::StatementKind::kStream;
      errors.push_back({stream ? statement.stream.name.at : statement.table.name.at,
                        std::string(stream ? "a stream" : "a table") + " cannot be replaced, only rules"});
    } else if (auto plan = bind_replacement(statement.rule, errors)) {
      if (std::ranges::find(plans, plan->id, &RulePlan::id) != plans.end()) {
        errors.push_back({plan->at, "rule " + plan->name + " stands here twice"});
      }
      plans.push_back(std::move(*plan));
    }
  }
  refuse_for_room(plans, errors);
  refuse_for_watermarks(plans, errors);
  if (!errors.empty()) {
    catalog_.truncate(streams_before, catalog_.table_count());
    for (const auto& rule : rules_) {
      if (rule != nullptr) {
        catalog_.remember_stream(rule->plan.output_stream);
      }
    }
    sort_by_place(errors);
    return errors;
  }
  for (RulePlan& plan : plans) {
    stage(std::move(plan));
  }
  return {};
}

// The plan of what is to stand in the place of the rule with its name.
std::optional<RulePlan> Engine::Impl::bind_replacement(const ast::CreateRule& statement, Diagnostics& errors) {
  const auto id = find_rule(statement.name.text);
  if (!id) {
    errors.push_back({statement.name.at, "there is no rule " + statement.name.text + " to replace"});
    return std::nullopt;
  }
  const RulePlan& old = rules_[*id]->plan;
  catalog_.forget_stream(old.output_stream);
  auto plan = bind_rule(statement, catalog_, symbols_, errors);
  catalog_.remember_stream(old.output_stream);
  if (!plan) {
    return std::nullopt;
  }
  plan->id = *id;
  if (auto missing = unsupported_part(*plan)) {
    errors.push_back(std::move(*missing));
  }
  for (const StreamUse& use : plan->streams) {
    const StreamSchema& stream = catalog_.stream(use.stream);
    if (stream.rule && *stream.rule > *id) {  // else two could read each other
      errors.push_back(
          {plan->at, "rule " + plan->name + " cannot read " + stream.name + ", which was created after it"});
    }
  }
  plan->output_stream = old.output_stream;
  StreamSchema schema = output_schema(*plan);
  if (!same_columns(schema.columns, catalog_.stream(old.output_stream).columns)) {
    if (rules_[*id]->read) {
      errors.push_back({plan->at, "another rule reads " + plan->name + ": its columns must stay what they are"});
    }
    plan->output_stream = catalog_.add_stream(std::move(schema));
  }
  return plan;
}

// The rule that is to stand in the place of another, with that one's state if it can go on with it.
void Engine::Impl::stage(RulePlan plan) {
  const RuleRunner& old = *rules_[plan.id];
  // Whoever reads it runs in one of several engines: the plans know of it in each of them, so all decide alike.
  const bool is_read = std::ranges::any_of(rules_, [&](const auto& reader) {
    return reader != nullptr && std::ranges::any_of(reader->plan.streams, [&](const StreamUse& use) {
             return use.stream == old.plan.output_stream;
           });
  });
  const bool is_divided = !is_read && can_be_divided(plan);
  std::unique_ptr<RuleRunner> rule = make_rule(std::move(plan), is_divided);
  bool goes_on = false;
  std::vector<KeyId> keys;
  if (is_divided == old.is_divided &&
      shape_of(rule->plan, catalog_, symbols_) == shape_of(old.plan, catalog_, symbols_)) {
    StateWriter out(symbols_);
    old.save(out);
    const std::string state = out.finish();
    auto in = StateReader::open(state, symbols_);
    LAMBDA_ASSERT(in);
    rule->load(*in);
    goes_on = in->ok() && in->at_end();
    LAMBDA_ASSERT(goes_on);
    outputs_.set_line(0);
    keys = rule->fit(present());
  }
  if (!goes_on) {
    withdraw(*rules_[rule->plan.id]);
  }
  staged_.push_back({std::move(rule), goes_on, std::move(keys)});
}

void Engine::Impl::commit_replace() {
  for (Staged& staged : staged_) {
    const RuleId id = staged.rule->plan.id;
    renumber_items(id, staged.keys);
    if (!staged.goes_on) {
      forget_items(id);
      counters_.rules_begun_anew += staged.rule->is_active ? 1 : 0;
      started_ = std::min<size_t>(started_, id);
    }
    put_in_place_of(id, std::move(staged.rule));
  }
  staged_.clear();
  note_reads();
}

void Engine::Impl::put_in_place_of(RuleId id, std::unique_ptr<RuleRunner> rule) {
  disconnect(*rules_[id]);
  rule->read = rules_[id]->read;
  rules_[id] = std::move(rule);
  connect(*rules_[id]);
}

void Engine::Impl::renumber_items(RuleId rule, std::span<const KeyId> now) {
  if (now.empty()) {
    return;
  }
  for (Horizons& horizons : horizons_) {
    horizons.renumber(rule, now);
  }
  (void)clock_items_.renumber(rule, now);
}

// ---- remove

// The moment between two lines.
Moment Engine::Impl::present() const {
  Moment now;
  now.t = clock_.now() == kTimeMin ? 0 : clock_.now();
  now.clock = clock_.now();
  now.place = Place::kTimer;
  return now;
}

// Ends the alerts that the rule is in the middle of.
void Engine::Impl::withdraw(RuleRunner& rule) {
  outputs_.set_line(0);
  rule.results.withdraw(present());
}

void Engine::Impl::forget_items(RuleId rule) {
  for (Horizons& horizons : horizons_) {
    horizons.erase(rule);
  }
  (void)clock_items_.erase(rule);
}

Status Engine::Impl::can_remove(std::string_view name) const {
  const auto id = find_rule(name);
  if (!id) {
    return fail(ErrorCode::kNotFound, "there is no rule " + std::string(name));
  }
  const RuleRunner& rule = *rules_[*id];
  if (rule.read) {
    const RuleRunner& reader = *readers_[rule.plan.output_stream].rules().front();
    return fail(ErrorCode::kInvalid, "rule " + reader.plan.name + " reads " + std::string(name) + ": remove it first");
  }
  return {};
}

Status Engine::Impl::remove(std::string_view name) {
  Status status = can_remove(name);
  if (status) {
    withdraw(*rules_[*find_rule(name)]);
    flush();
    commit_remove(name);
  }
  return status;
}

void Engine::Impl::commit_remove(std::string_view name) {
  const RuleId id = *find_rule(name);
  disconnect(*rules_[id]);
  forget_items(id);
  catalog_.forget_stream(rules_[id]->plan.output_stream);
  rules_[id].reset();
  note_reads();
}

}  // namespace lambda::cep
