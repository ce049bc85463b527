// Rules over a stream without window: each event that passes is a row. And the choice of the machine for a plan.
#include <string>

#include "cep/results.h"
#include "cep/row_source.h"

namespace lambda::cep {
namespace {

class StreamMachine final : public Machine {
 public:
  StreamMachine(const RuleContext& context, Results& results)
      : context_(context), source_(context), results_(results) {}

  void on_event(const Event& event, const Moment& moment) override {
    if (const auto row = source_.admit(event, moment)) {
      if (row->is_new_key) {
        results_.reset(row->key);
      }
      results_.row(moment, row->key, row->frames);
      context_.keys.set_idle(row->key, results_.is_idle(row->key));
    }
  }
  void on_item(const Item&, const Moment&) override {}
  bool is_idle(KeyId) const override { return true; }
  void reset(KeyId) override {}
  size_t state_bytes() const override { return 0; }
  void save(StateWriter&) const override {}
  void load(StateReader&) override {}

 private:
  const RuleContext& context_;
  RowSource source_;
  Results& results_;
};

}  // namespace

std::optional<Diagnostic> unsupported_part(const RulePlan& plan) {
  const auto without = [&](const char* what) {
    return Diagnostic{plan.at, std::string("rule ") + plan.name + ": " + what + " is not supported by this version"};
  };
  if (plan.window) {
    return without(plan.window->kind ? "WINDOW" : "an aggregate without WINDOW");
  }
  if (plan.options.late != LatePolicy::kDrop && plan.horizon != HorizonClass::kStateless) {
    return without("late=update or late=backfill in a rule that keeps state");
  }
  return std::nullopt;
}

std::unique_ptr<Machine> make_machine(const RuleContext& context, Results& results) {
  return std::make_unique<StreamMachine>(context, results);
}

}  // namespace lambda::cep
