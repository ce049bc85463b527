#include "cep/engine.h"

#include <algorithm>

#include "cep/engine_impl.h"
#include "cep/language/shape.h"

namespace lambda::cep {

// ---- snapshots

std::string Engine::Impl::snapshot() const {
  StateWriter out(symbols_);
  out.u32(static_cast<uint32_t>(rules_.size()));
  for (const auto& rule : rules_) {
    const bool here = rule != nullptr && rule->is_active;
    out.flag(here);
    if (here) {
      out.text(rule->plan.name);
      out.u64(shape_of(rule->plan, catalog_, symbols_));
      out.u64(rule->held());
      const size_t part = out.begin_part();
      rule->save(out);
      out.end_part(part);
    }
  }
  clock_.save(out);
  devices_.save(out);
  out.u32(static_cast<uint32_t>(horizons_.size()));
  for (const Horizons& horizons : horizons_) {
    out.i64(horizons.settings().lateness_ms);
    out.i64(horizons.settings().idle_ms);
    out.i64(horizons.settings().max_delay_ms);
    const size_t part = out.begin_part();
    horizons.save(out);
    out.end_part(part);
  }
  clock_items_.save(out);
  out.u64(arrivals_);
  budget_.save(out);
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
  Lost lost;
  const RuleNumbers numbers = restore_rules(in, lost);
  clock_.load(in);
  devices_.load(in);
  const size_t groups = in.count(32);
  for (size_t i = 0; i < groups && in.ok(); ++i) {
    HorizonSettings settings;
    settings.lateness_ms = in.i64();
    settings.idle_ms = in.i64();
    settings.max_delay_ms = in.i64();
    StateReader part = in.part();
    const auto found = std::ranges::find(horizons_, settings, &Horizons::settings);
    if (found != horizons_.end()) {
      found->load(part, numbers);
      if (!part.ok() || !part.at_end()) {
        in.refuse();
      }
    }
  }
  for (Horizons& horizons : horizons_) {
    if (horizons.knows_nobody()) {
      horizons.begin_like(horizons_.front());
    }
  }
  clock_items_.load(in, numbers);
  arrivals_ = in.u64();
  budget_.load(in);
  counters_.events = in.u64();
  counters_.guarded = in.u64();
  if (!in.ok() || !in.at_end()) {
    return fail(ErrorCode::kInvalid, "the snapshot does not fit the rules");
  }
  outputs_.set_line(0);
  for (const auto& [rule, count] : lost) {
    rules_[rule]->limit(Bound::kShape, 0, present(), count);
  }
  fit_rules(numbers);
  for (const auto& rule : rules_) {
    if (rule != nullptr && rule->is_active && rule->plan.table) {
      rule->table_changed(present());  // the rows may be others than when the state was saved
    }
  }
  count_state();
  flush();
  return {};
}

// Returns what the numbers of the snapshot's rules are here.
RuleNumbers Engine::Impl::restore_rules(StateReader& in, Lost& lost) {
  RuleNumbers numbers(in.count(1), kNoRule);
  size_t restored = 0;
  for (RuleId& number : numbers) {
    if (!in.flag()) {
      continue;
    }
    const auto id = find_rule(in.text());
    const uint64_t shape = in.u64();
    const uint64_t held = in.u64();
    StateReader part = in.part();
    if (!id || !part.ok()) {
      continue;
    }
    if (rules_[*id]->is_active && shape_of(rules_[*id]->plan, catalog_, symbols_) == shape) {
      rules_[*id]->load(part);
      if (part.ok() && part.at_end()) {
        number = *id;
        ++restored;
        continue;
      }
      const RuleRunner& broken = *rules_[*id];
      put_in_place_of(*id, make_rule(broken.plan, broken.is_divided));
    }
    if (held > 0) {
      lost.emplace_back(*id, held);
    }
  }
  counters_.rules_begun_anew += static_cast<size_t>(std::ranges::count_if(
                                    rules_, [](const auto& rule) { return rule != nullptr && rule->is_active; })) -
                                restored;
  return numbers;
}

// Rules whose bounds were lowered since.
void Engine::Impl::fit_rules(const RuleNumbers& numbers) {
  for (const RuleId id : numbers) {
    if (id != kNoRule) {
      renumber_items(id, rules_[id]->fit(present()));
    }
  }
}

// ---- memory

size_t Engine::Impl::rows_at_once(Readers& readers) {
  look_at_state();
  return static_cast<size_t>(std::min<uint64_t>(readers.rows_at_once(), budget_.lines_left(arrivals_)));
}

// After rules came, went or were restored.
void Engine::Impl::count_state() {
  budget_.count(rules_, growth_of_a_line());
}

// How much more the rules can hold after one event: those that read its stream, and those that read rules.
uint64_t Engine::Impl::growth_of_a_line() const {
  uint64_t most = 0;
  uint64_t of_rules = 0;
  for (StreamId stream = 0; stream < readers_.size(); ++stream) {
    uint64_t bytes = 0;
    for (const RuleRunner* rule : readers_[stream].rules()) {
      bytes += rule->growth_bytes;
    }
    if (catalog_.stream(stream).rule) {
      of_rules += bytes;
    } else {
      most = std::max(most, bytes);
    }
  }
  return most + of_rules;
}

// ---- tables

size_t Engine::Impl::set_table(TableId table, std::span<const std::vector<Value>> rows) {
  const size_t left_out = tables_.set(table, rows);
  outputs_.set_line(0);
  for (const auto& rule : rules_) {
    if (rule != nullptr && rule->is_active && rule->plan.table && rule->plan.table->table == table) {
      rule->table_changed(present());
    }
  }
  return left_out;
}

// ---- the door

Engine::Engine(const EngineSettings& settings, BatchSink sink)
    : impl_(std::make_unique<Impl>(
          settings, std::move(sink),
          Impl::Part{0, 1, 1, true, true, false, std::make_shared<Symbols>(settings.text_bytes_max)})) {}
Engine::Engine(const EngineSettings& settings, Sink sink)
    : Engine(settings, BatchSink([each = std::move(sink)](std::span<const Output> outputs) {
               for (const Output& output : outputs) {
                 each(output);
               }
             })) {}
Engine::~Engine() = default;
std::vector<Diagnostic> Engine::create(std::string_view text) {
  return impl_->create(text);
}
std::vector<Diagnostic> Engine::replace(std::string_view text) {
  return impl_->replace(text);
}
Status Engine::remove(std::string_view rule) {
  return impl_->remove(rule);
}
std::optional<RuleId> Engine::find_rule(std::string_view name) const {
  return impl_->find_rule(name);
}
bool Engine::has_rule(RuleId id) const {
  return id < impl_->rules_.size() && impl_->rules_[id] != nullptr;
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
  impl_->counters_.texts_refused = impl_->symbols_.refused();
  return impl_->counters_;
}
size_t Engine::state_bytes(RuleId id) const {
  return impl_->rules_[id]->state_bytes();
}
uint64_t Engine::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& rule : impl_->rules_) {
    bytes += rule == nullptr ? 0 : rule->own_bytes + rule->state_bytes();
  }
  return bytes;
}
const Catalog& Engine::catalog() const {
  return impl_->catalog_;
}
Symbols& Engine::symbols() {
  return impl_->symbols_;
}
size_t Engine::set_table(TableId table, std::span<const std::vector<Value>> rows) {
  const size_t left_out = impl_->set_table(table, rows);
  impl_->flush();
  return left_out;
}
void Engine::text_refused(StreamId stream, int64_t t, uint64_t index, std::optional<int64_t> at) {
  impl_->text_refused(stream, t, index, at.value_or(t));
}
void Engine::advance_to(int64_t t) {
  impl_->advance_to(t);
}
void Engine::advance_clock(int64_t at) {
  impl_->advance_clock(at);
}
std::string Engine::snapshot() const {
  return impl_->snapshot();
}
Status Engine::restore(std::string_view bytes) {
  return impl_->restore(bytes);
}

}  // namespace lambda::cep
