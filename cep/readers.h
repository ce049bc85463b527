// The rules that read a stream, and which of them an event, or many events, can matter to. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <type_traits>
#include <vector>

#include "cep/rule_runner.h"
#include "cep/stream/predicate_index.h"

namespace lambda::cep {

class Readers {
 public:
  // `shortcuts`: may is_row() be true?
  Readers(const StreamSchema& schema, bool shortcuts)
      : schema_(&schema), width_(schema.columns.size()), device_(schema.device_column), shortcuts_(shortcuts) {}

  // The stream's columns, and which of them is the device; -1: none.
  size_t width() const { return width_; }
  int device() const { return device_; }

  void add(RuleRunner& rule);
  void remove(const RuleRunner& rule) {
    std::erase(rules_, &rule);
    is_sorted_out_ = false;
  }
  // Some rule's takes_rows() changed.
  void look_again() { is_sorted_out_ = false; }
  bool empty() const { return rules_.empty(); }
  // In order of creation.
  const std::vector<RuleRunner*>& rules() const { return rules_; }

  // Those to which the event may matter, in order of creation, each as number_of() its place in rules() and is_row().
  // `value_of`: as PredicateIndex::candidates() takes it. `alone`: of those that take no rows; else of all. `space` may
  // become the answer.
  template <class ValueOf>
  const std::vector<uint32_t>& find(const ValueOf& value_of, TimelineId timeline, int64_t t, bool alone,
                                    std::vector<uint32_t>& space);
  // Would find() surely find nobody? Says so of most events, and costs little.
  template <class ValueOf>
  bool surely_nobody(const ValueOf& value_of, TimelineId timeline, int64_t t) {
    sort_out();
    if (!all_.any_demand || !all_.others.empty()) {
      return all_.all.empty();
    }
    return std::ranges::all_of(all_.indexed, [&](const Indexed& group) {
      return group.horizons->heard_device(timeline) == t && group.index.surely_none(value_of);
    });
  }
  static uint32_t number_of(uint32_t found) { return found >> 1; }
  // The event is in time and meets WHERE, and all that the rule does is to print columns of it: it need not be asked.
  static bool is_row(uint32_t found) { return (found & 1) != 0; }
  // What it takes to make a row of an event for a rule whose rows are columns of its events, side by side: an event may
  // meet many rules, which lie all over the memory.
  struct RowRule {
    RuleCounters* counters = nullptr;
    RuleId id = 0;
    bool prints = false;
    uint32_t items = 0;
    const uint32_t* columns = nullptr;  // the items
    int64_t priority = 0;
  };
  // By number_of() what is_row().
  const RowRule& row_rule(uint32_t number) const { return row_rules_[number]; }
  bool any_alone() {
    sort_out();
    return !alone_.all.empty();
  }

  // Rules whose machine is told what comes; none if they are too many for that to be worth it.
  const std::vector<const Machine*>& prefetching() {
    sort_out();
    return prefetching_;
  }

  // Rules with one horizon that take many events at once.
  struct Together {
    Horizons* horizons = nullptr;  // theirs
    std::vector<RuleRunner*> rules;
    bool any_window = false;  // among the rules: their windows' ends are items
    // Plain rows, of so many rules that each event is better looked up.
    std::vector<RuleRunner*> looked_up;
    std::vector<RowRule> row_rules;   // of looked_up
    std::vector<bool> is_demand_all;  // of looked_up: WHERE asks nothing else
    PredicateIndex index;             // of looked_up
    // What waits to be given to them.
    Places at;
    size_t late = 0;
  };
  // How many events may be taken at once, so that no more than kOutputsMax rows come of it.
  static constexpr size_t kOutputsMax = 1 << 18;
  size_t rows_at_once() {
    sort_out();
    return rows_at_once_;
  }
  std::vector<Together>& together() {
    sort_out();
    return together_;
  }

 private:
  static constexpr size_t kLookUpMin = 8;
  struct Indexed {
    const Horizons* horizons;
    std::vector<uint32_t> members;
    PredicateIndex index;
  };
  // Rules that take an event as it comes, or never, are found by what they demand of it. As find() says them.
  struct Group {
    std::vector<uint32_t> all;
    bool any_demand = false;
    std::vector<uint32_t> others;
    std::vector<Indexed> indexed;
  };
  void sort_out() {
    if (!is_sorted_out_) {
      sort_out_anew();
    }
  }
  void sort_out_anew();
  RowRule row_rule_of(RuleRunner& rule);
  bool meets_where(const RuleRunner& rule) const;
  void add_to(Group& group, uint32_t number);
  void add_together(RuleRunner& rule);
  void build_look_up(Together& group);

  const StreamSchema* schema_;
  size_t width_;
  int device_;
  bool shortcuts_;
  std::vector<RuleRunner*> rules_;
  bool is_sorted_out_ = false;
  Group all_;
  Group alone_;
  std::vector<Together> together_;
  std::vector<RowRule> row_rules_;               // by place in rules_; of others nothing is set
  std::set<std::vector<uint32_t>> row_columns_;  // what RowRule::columns are
  std::vector<const Machine*> prefetching_;
  size_t rows_at_once_ = OutputQueue::kLinesMax;
};

static_assert(std::is_nothrow_move_constructible_v<Readers>);  // a copy's rows would be those of the first one

template <class ValueOf>
const std::vector<uint32_t>& Readers::find(const ValueOf& value_of, TimelineId timeline, int64_t t, bool alone,
                                           std::vector<uint32_t>& out) {
  sort_out();
  const Group& from = alone ? alone_ : all_;
  if (!from.any_demand) {
    return from.all;
  }
  out.clear();
  if (!from.others.empty()) {
    out = from.others;
  }
  for (const Indexed& group : from.indexed) {
    if (group.horizons->heard_device(timeline) == t) {
      group.index.candidates(value_of, out);
    } else {
      out.insert(out.end(), group.members.begin(), group.members.end());  // late, or ahead: each rule sees to it
    }
  }
  if (out.size() > 1 && !std::ranges::is_sorted(out)) {
    std::ranges::sort(out);
  }
  return out;
}

}  // namespace lambda::cep
