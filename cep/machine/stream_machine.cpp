// Rules over a stream without window: each event that passes is a row. And the choice of the machine for a plan.
#include <string>

#include "cep/machine/results.h"
#include "cep/machine/row_source.h"

namespace lambda::cep {
namespace {

class StreamMachine final : public Machine {
 public:
  StreamMachine(const RuleContext& context, Results& results)
      : context_(context), source_(context), results_(results) {}

  void on_event(const Event& event, const Moment& moment) override {
    if (const auto row = source_.admit(event, moment)) {
      if (row->is_new_key) {
        results_.reset(row->key, moment);
      }
      results_.row(moment, row->key, row->frames);
      context_.keys.set_idle(row->key, results_.is_idle(row->key));
    }
  }
  bool takes_rows() const override { return !context_.plan.table && !has_timers(context_.plan); }
  void on_rows(const Rows& rows) override;
  void on_item(const Item&, const Moment&) override {}
  bool is_idle(KeyId) const override { return true; }
  void reset(KeyId) override {}
  void renumber(std::span<const KeyId>) override {}
  size_t state_bytes() const override { return 0; }
  void save(StateWriter&) const override {}
  void load(StateReader&) override {}

 private:
  const RuleContext& context_;
  RowSource source_;
  Results& results_;
  std::vector<Value> event_row_;  // of on_rows()
};

void StreamMachine::on_rows(const Rows& rows) {
  const auto items = results_.plain_items();
  event_row_.resize(rows.columns.size());
  Frames frames;
  frames[Frame::kEvent] = event_row_.data();
  for (const uint32_t row : source_.passing(rows)) {
    const auto found = source_.key_of(rows, row);
    if (!found) {
      continue;
    }
    context_.host.set_line(row);
    if (found->is_new) {
      results_.reset(found->id, rows.moment(row));
    }
    if (items.empty()) {
      rows.read(row, event_row_.data());
      results_.row(rows.moment(row), found->id, frames);
    } else if (Value* fields = context_.host.row(rows.moment(row), found->id, items.size()); fields != nullptr) {
      for (const Node& item : items) {
        *fields++ = rows.columns[item.immediate].at(row);
      }
    }
    context_.keys.set_idle(found->id, results_.is_idle(found->id));
  }
}

}  // namespace

bool has_timers(const RulePlan& plan) {
  return plan.alert && (plan.alert->for_ms || plan.alert->clear_for_ms || plan.alert->remind_ms);
}

std::optional<Diagnostic> unsupported_part(const RulePlan& plan) {
  const auto refuse = [&](const char* what) {
    return Diagnostic{plan.at, std::string("rule ") + plan.name + ": " + what};
  };
  if (plan.pattern && plan.pattern->starts_with_absence && plan.pattern->skip != ast::Skip::kNone) {
    return refuse("SKIP tells runs by the event that begins them, and none begins a pattern whose first step is NOT");
  }
  if (plan.horizon != HorizonClass::kStateless) {
    const bool fixed = plan.window && plan.window->kind &&
                       (*plan.window->kind == ast::WindowKind::kTumble || *plan.window->kind == ast::WindowKind::kHop);
    const bool plain = fixed && !plan.alert && plan.order_by.empty() && !plan.limit;
    if (plan.options.late == LatePolicy::kBackfill) {
      return refuse(
          "late=backfill has no meaning in a rule that keeps state, which has gone on since; late=update takes late "
          "events "
          "into windows of TUMBLE and HOP");
    }
    if (plan.options.late == LatePolicy::kUpdate && !plain) {
      return refuse(
          "late=update prints the rows of closed windows again; it needs TUMBLE or HOP, without ALERT, ORDER BY and "
          "LIMIT");
    }
  }
  return std::nullopt;
}

std::unique_ptr<Machine> make_machine(const RuleContext& context, Results& results, bool special) {
  if (special && tumbles_flat(context.plan)) {
    return make_tumble_machine(context, results);
  }
  if (special && is_chain(context.plan)) {
    return make_chain_machine(context, results);
  }
  if (context.plan.window) {
    return make_window_machine(context, results);
  }
  if (context.plan.pattern) {
    return make_pattern_machine(context, results);
  }
  if (context.plan.source == ast::SourceKind::kAntiJoin) {
    return make_anti_join_machine(context, results);
  }
  return std::make_unique<StreamMachine>(context, results);
}

}  // namespace lambda::cep
