#include "cep/engine.h"

#include <algorithm>

#include "cep/binder.h"
#include "cep/engine_impl.h"
#include "cep/parser.h"

namespace lambda::cep {

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
  Horizons& horizons = horizons_for(plan.options);
  rules_.push_back(
      std::make_unique<RuleRunner>(*this, std::move(plan), horizons, tables_, evaluator_, columns_, at_once_));
  RuleRunner& rule = *rules_.back();
  any_site_ = any_site_ || rule.site();
  for (const StreamUse& use : rule.plan.streams) {
    readers(use.stream).add(rule);
    if (const auto source = catalog_.stream(use.stream).rule) {
      rules_[*source]->read = true;
      for (const StreamUse& of_source : rules_[*source]->plan.streams) {
        readers(of_source.stream).look_again();
      }
    }
  }
}

Readers& Engine::Impl::readers(StreamId stream) {
  while (readers_.size() <= stream) {
    readers_.emplace_back(catalog_.stream(static_cast<StreamId>(readers_.size())));
  }
  return readers_[stream];
}

Horizons& Engine::Impl::horizons_for(const Options& options) {
  const HorizonSettings settings{options.lateness_ms, options.idle_ms, options.max_delay_ms};
  const auto found = std::ranges::find(horizons_, settings, &Horizons::settings);
  return found != horizons_.end() ? *found
         : horizons_.empty()      ? horizons_.emplace_back(settings, clock_, devices_)
                                  : horizons_.emplace_back(settings, horizons_.front());
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

Engine::Engine(const EngineSettings& settings, BatchSink sink)
    : impl_(std::make_unique<Impl>(settings, std::move(sink))) {}
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
