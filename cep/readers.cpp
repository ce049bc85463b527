#include "cep/readers.h"

#include <algorithm>

namespace lambda::cep {
namespace {

// Are the rule's rows columns of the events that pass WHERE, and has it no state?
bool prints_columns(const RuleRunner& rule) {
  const RulePlan& plan = rule.plan;
  return plan.source == ast::SourceKind::kStream && !plan.table && plan.keys.empty() && !plan.window &&
         !rule.results.plain_items().empty();
}

}  // namespace

void Readers::add(RuleRunner& rule) {
  const auto place = std::ranges::upper_bound(rules_, rule.plan.id, {}, [](const RuleRunner* r) { return r->plan.id; });
  rules_.insert(place, &rule);
  is_sorted_out_ = false;
}

Readers::RowRule Readers::row_rule_of(RuleRunner& rule) {
  std::vector<uint32_t> columns;
  for (const Node& item : rule.results.plain_items()) {
    columns.push_back(item.immediate);
  }
  const std::vector<uint32_t>& kept = *row_columns_.insert(std::move(columns)).first;
  return {&rule.counters, rule.plan.id,      rule.plan.prints, static_cast<uint32_t>(kept.size()),
          kept.data(),    rule.plan.priority};
}

void Readers::sort_out_anew() {
  is_sorted_out_ = true;
  all_ = {};
  alone_ = {};
  together_.clear();
  row_rules_.assign(rules_.size(), {});
  row_columns_.clear();
  prefetching_.clear();
  size_t count = 0;  // of rules that take many at once
  for (uint32_t number = 0; number < rules_.size(); ++number) {
    add_to(all_, number);
    if (rules_[number]->machine->prefetches()) {
      prefetching_.push_back(rules_[number]->machine.get());
    }
    rules_[number]->together_of = RuleRunner::kNoStream;
    if (rules_[number]->takes_rows()) {
      rules_[number]->together_of = schema_->id;
      add_together(*rules_[number]);
      ++count;
    } else {
      add_to(alone_, number);
    }
  }
  constexpr size_t kPrefetchingMax = 4;
  if (prefetching_.size() > kPrefetchingMax) {
    prefetching_.clear();
  }
  rows_at_once_ = std::clamp<size_t>(kOutputsMax / std::max<size_t>(count, 1), 1, OutputQueue::kLinesMax);
  for (Group* group : {&all_, &alone_}) {
    for (Indexed& indexed : group->indexed) {
      indexed.index.build();
    }
  }
  for (Together& group : together_) {
    // In the order of their outputs, so that there is little to sort (8).
    const auto before = [](const RuleRunner* x, const RuleRunner* y) {
      return std::pair(-x->plan.priority, x->plan.id) < std::pair(-y->plan.priority, y->plan.id);
    };
    std::ranges::sort(group.rules, before);
    build_look_up(group);
  }
}

// Does an event that the index finds for the rule meet its WHERE?
bool Readers::meets_where(const RuleRunner& rule) const {
  const auto demand = PredicateIndex::demand_of(rule.plan);
  if (!demand) {
    return rule.plan.where.empty();
  }
  const bool exact = schema_->columns[demand->column].type != Type::kInt;  // the index compares as DOUBLE
  return exact && demand->node + 1u == rule.plan.where.nodes.size();
}

void Readers::add_to(Group& group, uint32_t number) {
  RuleRunner& rule = *rules_[number];
  const uint32_t asked = number << 1;
  group.all.push_back(asked);
  if (rule.site() || rule.plan.options.lateness_ms > 0) {
    group.others.push_back(asked);
    return;
  }
  auto found = std::ranges::find(group.indexed, &rule.horizons, &Indexed::horizons);
  if (found == group.indexed.end()) {
    group.indexed.push_back({&rule.horizons, {}, {}});
    found = group.indexed.end() - 1;
  }
  found->members.push_back(asked);
  group.any_demand = group.any_demand || PredicateIndex::demand_of(rule.plan).has_value();
  const bool is_row = shortcuts_ && !rule.read && prints_columns(rule) && meets_where(rule);
  if (is_row) {
    row_rules_[number] = row_rule_of(rule);
  }
  found->index.add(asked | (is_row ? 1 : 0), rule.plan);
}

void Readers::add_together(RuleRunner& rule) {
  auto found = std::ranges::find(together_, &rule.horizons, &Together::horizons);
  if (found == together_.end()) {
    found = together_.emplace(together_.end());
    found->horizons = &rule.horizons;
  }
  found->rules.push_back(&rule);
  found->any_window = found->any_window || (rule.plan.window && rule.plan.window->kind);
}

void Readers::build_look_up(Together& group) {
  const auto can_be = [](const RuleRunner* rule) {
    return prints_columns(*rule) && PredicateIndex::demand_of(rule->plan).has_value();
  };
  if (static_cast<size_t>(std::ranges::count_if(group.rules, can_be)) < kLookUpMin) {
    return;
  }
  // Not the one of ranges: clang does not read libstdc++'s.
  const auto rest = std::stable_partition(group.rules.begin(), group.rules.end(), std::not_fn(can_be));
  group.looked_up.assign(rest, group.rules.end());
  group.rules.erase(rest, group.rules.end());
  for (uint32_t number = 0; number < group.looked_up.size(); ++number) {
    group.is_demand_all.push_back(meets_where(*group.looked_up[number]));
    group.row_rules.push_back(row_rule_of(*group.looked_up[number]));
    group.index.add(number, group.looked_up[number]->plan);
  }
  group.index.build();
}

}  // namespace lambda::cep
