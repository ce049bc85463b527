// The rules that read a stream, and which of them an event, or many events, can matter to. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "cep/rule_runner.h"
#include "cep/stream/predicate_index.h"

namespace lambda::cep {

class Readers {
 public:
  explicit Readers(const StreamSchema& schema) : schema_(&schema) {}

  void add(RuleRunner& rule);
  void remove(const RuleRunner& rule) {
    std::erase(rules_, &rule);
    is_sorted_out_ = false;
  }
  // Some rule's takes_rows() changed.
  void look_again() { is_sorted_out_ = false; }
  bool empty() const { return rules_.empty(); }
  // In order of creation; the numbers of find() are places in it.
  const std::vector<RuleRunner*>& rules() const { return rules_; }

  // Those to which the event may matter, in order of creation. `alone`: of those that take no rows; else of all.
  // `space` may become the answer.
  const std::vector<uint32_t>& find(const Event& event, int64_t t, bool alone, std::vector<uint32_t>& space);
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
    std::vector<bool> is_demand_all;  // of looked_up: WHERE asks nothing else
    PredicateIndex index;             // of looked_up
    // What waits to be given to them.
    std::vector<uint32_t> at;
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
  // Rules that take an event as it comes, or never, are found by what they demand of it.
  struct Group {
    std::vector<uint32_t> all;
    bool any_demand = false;
    std::vector<uint32_t> others;
    std::vector<Indexed> indexed;
  };
  void sort_out();
  void add_to(Group& group, uint32_t number);
  void add_together(RuleRunner& rule);
  void build_look_up(Together& group);

  const StreamSchema* schema_;
  std::vector<RuleRunner*> rules_;
  bool is_sorted_out_ = false;
  Group all_;
  Group alone_;
  std::vector<Together> together_;
  std::vector<const Machine*> prefetching_;
  size_t rows_at_once_ = OutputQueue::kLinesMax;
};

}  // namespace lambda::cep
