#include "cep/readers.h"

#include <algorithm>

namespace lambda::cep {

void Readers::add(RuleRunner& rule) {
  const auto place = std::ranges::upper_bound(rules_, rule.plan.id, {}, [](const RuleRunner* r) { return r->plan.id; });
  rules_.insert(place, &rule);
  is_sorted_out_ = false;
}

const std::vector<uint32_t>& Readers::find(const Event& event, int64_t t, bool alone, std::vector<uint32_t>& out) {
  sort_out();
  const Group& from = alone ? alone_ : all_;
  if (!from.any_demand) {
    return from.all;
  }
  out = from.others;
  for (const Indexed& group : from.indexed) {
    if (group.horizons->device(event.timeline) == t) {
      group.index.candidates(event.columns, out);
    } else {
      out.insert(out.end(), group.members.begin(), group.members.end());  // late, or ahead: each rule sees to it
    }
  }
  if (out.size() > 1) {
    std::ranges::sort(out);
  }
  return out;
}

void Readers::sort_out() {
  if (is_sorted_out_) {
    return;
  }
  is_sorted_out_ = true;
  all_ = {};
  alone_ = {};
  together_.clear();
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

void Readers::add_to(Group& group, uint32_t number) {
  const RuleRunner& rule = *rules_[number];
  group.all.push_back(number);
  if (rule.site() || rule.plan.options.lateness_ms > 0) {
    group.others.push_back(number);
    return;
  }
  auto found = std::ranges::find(group.indexed, &rule.horizons, &Indexed::horizons);
  if (found == group.indexed.end()) {
    group.indexed.push_back({&rule.horizons, {}, {}});
    found = group.indexed.end() - 1;
  }
  found->members.push_back(number);
  group.any_demand = group.any_demand || PredicateIndex::demand_of(rule.plan).has_value();
  found->index.add(number, rule.plan);
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
    return rule->plan.keys.empty() && !rule->plan.window && !rule->results.plain_items().empty() &&
           PredicateIndex::demand_of(rule->plan).has_value();
  };
  if (static_cast<size_t>(std::ranges::count_if(group.rules, can_be)) < kLookUpMin) {
    return;
  }
  const auto rest = std::ranges::stable_partition(group.rules, std::not_fn(can_be));
  group.looked_up.assign(rest.begin(), rest.end());
  group.rules.erase(rest.begin(), rest.end());
  for (uint32_t number = 0; number < group.looked_up.size(); ++number) {
    const RulePlan& plan = group.looked_up[number]->plan;
    const auto demand = PredicateIndex::demand_of(plan);
    const bool exact = schema_->columns[demand->column].type != Type::kInt;  // the index compares as DOUBLE
    group.is_demand_all.push_back(exact && demand->node + 1u == plan.where.nodes.size());
    group.index.add(number, plan);
  }
  group.index.build();
}

}  // namespace lambda::cep
