#include "cep/language/shape.h"

#include <string>

namespace lambda::cep {
namespace {

class Shape {
 public:
  Shape(const Catalog& catalog, const Symbols& symbols) : catalog_(catalog), symbols_(symbols) {}

  uint64_t of(const RulePlan& plan) {
    number(plan.source);
    number(plan.horizon);
    options(plan.options);
    for (const StreamUse& use : plan.streams) {
      text(catalog_.stream(use.stream).name);
      for (const KeySource& key : use.keys) {
        number(key.frame);
        number(key.slot);
      }
    }
    if (plan.table) {
      text(catalog_.table(plan.table->table).name);
      program(plan.table->key, true);
    }
    condition(plan.where);
    for (const ColumnSchema& key : plan.keys) {
      number(key.type);
    }
    number(plan.silence_ms);
    for (const ItemPlan& item : plan.items) {
      number(item.type);
    }
    condition(plan.having);
    number(plan.order_by.size());
    number(plan.limit.has_value());
    number(plan.emit.kind);
    number(plan.emit.every_ms);
    if (plan.window) {
      window(*plan.window);
    }
    if (plan.pattern) {
      pattern(*plan.pattern);
    }
    if (plan.alert) {
      alert(*plan.alert);
    }
    return hash_;
  }

 private:
  // FNV-1a.
  void byte(uint8_t x) { hash_ = (hash_ ^ x) * 0x100000001b3ULL; }
  template <class T>
  void number(T x) {
    const auto bits = static_cast<uint64_t>(x);
    for (int i = 0; i < 64; i += 8) {
      byte(static_cast<uint8_t>(bits >> i));
    }
  }
  void text(std::string_view x) {
    number(x.size());
    for (const char c : x) {
      byte(static_cast<uint8_t>(c));
    }
  }

  void program(const Program& program, bool constants) {
    number(program.nodes.size());
    for (const Node& node : program.nodes) {
      number(node.op);
      number(node.type);
      number(node.a);
      number(node.b);
      if (node.op == Op::kLoad) {
        number(node.immediate);
      } else if (node.op == Op::kConstant && constants) {
        const Value& value = program.constants[node.immediate];
        value.type == Type::kText ? text(symbols_.text(value.text)) : number(value.bits);
      }
    }
  }
  void condition(const Program& x) { program(x, false); }

  void options(const Options& x) {
    number(x.lateness_ms);
    number(x.late);
    number(x.event_time);
    number(x.idle_ms);
    number(x.max_delay_ms);
    number(x.keep_ms);
  }
  void window(const WindowPlan& x) {
    number(x.kind.has_value());
    number(x.kind.value_or(ast::WindowKind::kTumble));
    number(x.size);
    number(x.step);
    number(x.session_max);
    for (const AggregatePlan& aggregate : x.aggregates) {
      number(aggregate.kind);
      number(aggregate.type);
      number(std::bit_cast<uint64_t>(aggregate.parameter));
      program(aggregate.argument, true);
    }
  }
  void pattern(const PatternPlan& x) {
    number(x.within_ms.value_or(-1));
    number(x.per_step);
    number(x.skip);
    number(x.emit_final);
    for (const PatternNode& node : x.nodes) {
      number(node.kind);
      number(node.every);
      number(node.end);
      number(node.parts.size());
      for (const bool strict : node.strict) {
        number(strict);
      }
      text(node.kind == ast::StepKind::kEvent || node.kind == ast::StepKind::kAbsence
               ? catalog_.stream(node.stream).name
               : std::string());
      condition(node.filter);
      number(node.counted);
      number(node.count_min);
      number(node.count_max);
      number(node.absence_ms.value_or(-1));
    }
    for (const CaptureSlot& slot : x.slots) {
      number(slot.kind);
      number(slot.node);
      number(slot.column);
      number(slot.element);
      number(slot.type);
    }
  }
  void alert(const AlertPlan& x) {
    condition(x.on);
    condition(x.clear);
    number(x.for_ms.has_value());
    number(x.for_samples.has_value());
    number(x.clear_for_ms.has_value());
    number(x.remind_ms.has_value());
  }

  const Catalog& catalog_;
  const Symbols& symbols_;
  uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace

uint64_t shape_of(const RulePlan& plan, const Catalog& catalog, const Symbols& symbols) {
  return Shape(catalog, symbols).of(plan);
}

}  // namespace lambda::cep
