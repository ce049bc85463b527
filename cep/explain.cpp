#include "cep/explain.h"

#include <sstream>

#include "cep/machine/pattern_run.h"
#include "cep/machine/window_state.h"
#include "cep/stream/predicate_index.h"

namespace lambda::cep {
namespace {

const char* window_name(ast::WindowKind kind) {
  switch (kind) {
    case ast::WindowKind::kTumble:
      return "TUMBLE";
    case ast::WindowKind::kHop:
      return "HOP";
    case ast::WindowKind::kSlide:
      return "SLIDE";
    case ast::WindowKind::kSession:
      return "SESSION";
    case ast::WindowKind::kRows:
      return "ROWS";
  }
  return "?";
}

std::string machine_of(const RulePlan& plan) {
  if (plan.pattern) {
    return "pattern of " + std::to_string(plan.pattern->nodes.size()) + " parts, " +
           std::to_string(plan.pattern->slots.size()) + " captured fields";
  }
  if (plan.source == ast::SourceKind::kAntiJoin) {
    return "anti join, silent after " + std::to_string(plan.silence_ms) + " ms";
  }
  if (plan.window) {
    const std::string aggregates = std::to_string(plan.window->aggregates.size()) + " aggregates";
    return plan.window->kind ? std::string("window ") + window_name(*plan.window->kind) + ", " + aggregates
                             : aggregates + " from the rule's start";
  }
  return "rows as they come";
}

std::string found_by(const RulePlan& plan, const Catalog& catalog, const Symbols& symbols) {
  const bool at_once = plan.horizon != HorizonClass::kSite && plan.options.lateness_ms == 0;
  const auto demand = at_once ? PredicateIndex::demand_of(plan) : std::nullopt;
  if (!demand) {
    return "each event of its streams is offered";
  }
  static const std::pair<Op, const char*> kSigns[] = {
      {Op::kEqual, "="}, {Op::kLess, "<"}, {Op::kLessEqual, "<="}, {Op::kGreater, ">"}, {Op::kGreaterEqual, ">="}};
  std::ostringstream out;
  out << catalog.stream(plan.streams[0].stream).columns[demand->column].name << " ";
  for (const auto& [op, sign] : kSigns) {
    out << (op == demand->op ? sign : "");
  }
  if (demand->constant.type == Type::kText) {
    out << " '" << symbols.text(demand->constant.text) << "'";
  } else {
    out << " " << demand->constant.number();
  }
  return out.str();
}

// What a key holds at least while it is not idle, without samples and rows.
size_t key_bytes(const RulePlan& plan) {
  constexpr size_t kDirectoryBytes = 32;
  constexpr size_t kAlertBytes = 64;
  size_t bytes = kDirectoryBytes + plan.keys.size() * sizeof(Value);
  if (plan.alert) {
    bytes += kAlertBytes + plan.items.size() * sizeof(Value);
  }
  if (plan.window) {
    bytes += kGroupBytes + kWindowBytes + plan.window->aggregates.size() * kAccumulatorBytes;
  }
  if (plan.pattern) {
    bytes += sizeof(Run) + plan.pattern->nodes.size() * sizeof(NodeState) + plan.pattern->slots.size() * sizeof(Value);
  }
  return bytes;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> explain_rule(const RulePlan& plan, const Catalog& catalog,
                                                              const Symbols& symbols) {
  std::string reads;
  for (const StreamUse& use : plan.streams) {
    reads += (reads.empty() ? "" : ", ") + catalog.stream(use.stream).name;
  }
  if (plan.table) {
    reads += ", table " + catalog.table(plan.table->table).name;
  }
  std::string keys;
  for (const ColumnSchema& key : plan.keys) {
    keys += (keys.empty() ? "" : ", ") + key.name + " " + type_name(key.type);
  }
  std::string items;
  for (const ItemPlan& item : plan.items) {
    items += (items.empty() ? "" : ", ") + item.name + " " + type_name(item.type);
  }
  const char* horizon = plan.horizon == HorizonClass::kStateless ? "each event's device, nothing kept"
                        : plan.horizon == HorizonClass::kDevice  ? "each device's own"
                                                                 : "the slowest active device's";
  return {{"reads", reads},
          {"works as", machine_of(plan)},
          {"found by", found_by(plan, catalog, symbols)},
          {"horizon", horizon},
          {"lateness", std::to_string(plan.options.lateness_ms) + " ms"},
          {"timers", plan.options.event_time ? "event time" : "arrival clock"},
          {"keys", keys.empty() ? "none" : keys},
          {"columns", items},
          {"prints", plan.prints ? "yes" : "no, feeds other rules only"},
          {"a key holds", std::to_string(key_bytes(plan)) + " bytes or more"},
          {"at most", std::to_string(plan.options.max_keys) + " keys, " + std::to_string(plan.options.max_state_bytes) +
                          " bytes" +
                          (plan.pattern ? ", " + std::to_string(plan.options.max_runs) + " runs of a key" : "")}};
}

}  // namespace lambda::cep
