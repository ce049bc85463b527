#include "cep/footprint.h"

#include <algorithm>

#include "cep/machine/pattern_run.h"
#include "cep/machine/window_state.h"

namespace lambda::cep {
namespace {

constexpr size_t kAllocationBytes = 16;  // what each costs beside its content

template <class T>
size_t array_bytes(const std::vector<T>& x) {
  return x.empty() ? 0 : kAllocationBytes + x.size() * sizeof(T);
}

size_t program_bytes(const Program& x) {
  return array_bytes(x.nodes) + array_bytes(x.constants);
}

size_t text_bytes(const std::string& x) {
  return x.size() < 16 ? 0 : kAllocationBytes + x.size();
}

}  // namespace

size_t rule_bytes(const RulePlan& plan) {
  // RuleRunner with its plan, the machine, and what the catalog and the streams' readers know of it.
  constexpr size_t kFixedBytes = 2560;
  size_t bytes = kFixedBytes + 2 * text_bytes(plan.name) + program_bytes(plan.where) + program_bytes(plan.having) +
                 array_bytes(plan.keys) + array_bytes(plan.streams) + array_bytes(plan.items);
  for (const ItemPlan& item : plan.items) {
    bytes += program_bytes(item.program) + 2 * text_bytes(item.name) + sizeof(ColumnSchema);
  }
  for (const StreamUse& use : plan.streams) {
    bytes += array_bytes(use.keys);
  }
  for (const OrderPlan& order : plan.order_by) {
    bytes += sizeof(order) + program_bytes(order.program);
  }
  if (plan.alert) {
    bytes += program_bytes(plan.alert->on) + program_bytes(plan.alert->clear);
  }
  if (plan.table) {
    bytes += program_bytes(plan.table->key) + program_bytes(plan.table->on);
  }
  if (plan.window) {
    for (const AggregatePlan& aggregate : plan.window->aggregates) {
      bytes += sizeof(aggregate) + program_bytes(aggregate.argument);
    }
  }
  if (plan.pattern) {
    bytes += array_bytes(plan.pattern->slots);
    for (const PatternNode& node : plan.pattern->nodes) {
      bytes += sizeof(node) + program_bytes(node.filter) + array_bytes(node.parts) + array_bytes(node.slots);
    }
  }
  for (const ActionPlan& action : plan.actions) {
    bytes += sizeof(action) + text_bytes(action.name);
    for (const std::string& arg : action.args) {
      bytes += sizeof(arg) + text_bytes(arg);
    }
  }
  return bytes;
}

size_t event_bytes(const RulePlan& plan, const Catalog& catalog) {
  constexpr size_t kKeyBytes = 256;      // in the directory, with its timer
  constexpr size_t kSamplesBytes = 512;  // of p, distinct and topk, for one value more
  size_t bytes = 0;
  if (plan.options.lateness_ms > 0 || plan.horizon == HorizonClass::kSite) {
    for (const StreamUse& use : plan.streams) {
      bytes = std::max(bytes, 2 * kKeyBytes + catalog.stream(use.stream).columns.size() * sizeof(Value));
    }
  }
  if (!plan.keys.empty() || plan.source == ast::SourceKind::kAntiJoin) {
    bytes += kKeyBytes + plan.keys.size() * 2 * sizeof(Value);
  }
  if (plan.alert || plan.emit.kind == ast::EmitKind::kChanges) {
    bytes += 256 + 2 * plan.items.size() * sizeof(Value);
  }
  if (plan.window) {
    const WindowPlan& window = *plan.window;
    const bool hops = window.kind == ast::WindowKind::kHop;
    const auto windows = static_cast<size_t>(hops ? (window.size + window.step - 1) / window.step : 1);
    const size_t each = kAccumulatorBytes + kSamplesBytes + sizeof(Value);
    bytes += 2 * kGroupBytes + windows * (kWindowBytes + kRowBytes + window.aggregates.size() * each);
  }
  if (plan.pattern) {
    // EVERY may split off as many runs as there are.
    const size_t runs = plan.pattern->has_every ? std::min<uint64_t>(plan.options.max_runs, 64) + 1 : 1;
    bytes += pattern_state_bytes(*plan.pattern, plan.keys.size(), 2, runs);
  }
  return bytes;
}

}  // namespace lambda::cep
