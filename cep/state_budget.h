// The memory of all rules of an engine together, within EngineSettings::state_bytes_max (47).
//
// Counted are the rules themselves, and what they hold by RuleRunner::state_bytes(). The last eighth of the room is
// divided equally: there only rules that hold less than their part of it may grow, so that a flood upon some never
// silences the others. What would grow and may not is lost, event by event; new keys take the places of the rule's idle
// ones. What only adds up goes on.
//
// Who may grow is decided for some lines ahead, between two lines, by how fast the room could be gone: so it does not
// depend on how many events are handed over at once. Tables that double may do so in the same line in all rules: where
// there is no room for that, every line is looked at, and who has full tables then may not grow as if it were tight.
// One thread.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "cep/rule_runner.h"

namespace lambda::cep {

class StateBudget {
 public:
  using Rules = std::span<const std::unique_ptr<RuleRunner>>;  // some are null

  explicit StateBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  uint64_t bytes_max() const { return bytes_max_; }

  // Other rules are there now, or what they hold was loaded. `growth_bytes`: how much one line can add at most.
  void count(Rules rules, uint64_t growth_bytes);
  // What the rule holds may have changed.
  void touched(RuleRunner& rule) { touched_.push_back(&rule); }

  void look_soon() { next_look_ = 0; }
  // Is it time to look, before the line with this number?
  bool is_due(uint64_t line) const { return line >= next_look_; }
  void look(uint64_t line, Rules rules);
  // How many lines may be done before the next look.
  uint64_t lines_left(uint64_t line) const { return next_look_ - line; }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  void add(const RuleRunner::Held& held);
  void take_off(const RuleRunner::Held& held);

  static constexpr uint64_t kLinesMax = OutputQueue::kLinesMax;
  static constexpr uint64_t kLinesWhenFull = 64;  // nothing grows then

  uint64_t bytes_max_;
  uint64_t own_bytes_ = 0;
  RuleRunner::Held held_;  // by all rules
  uint64_t growth_bytes_ = 0;
  bool is_tight_ = false;
  uint64_t next_look_ = 0;
  std::vector<RuleRunner*> touched_;
};

}  // namespace lambda::cep
