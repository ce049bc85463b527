// From rows to outputs: HAVING, SELECT, then ALERT or EMIT, by key. Sentences 42 to 46.
#pragma once

#include <span>
#include <vector>

#include "cep/machine/rule.h"

namespace lambda::cep {

class Results {
 public:
  explicit Results(const RuleContext& context);

  // One row of the rule. `order` and `age` as in OutputQueue::Entry. `frames` holds what the plan's programs read.
  void row(const Moment& moment, KeyId key, const Frames& frames, uint64_t order = 0, uint64_t age = 0);
  // The items of a rule whose rows are printed as they come and only load values; else empty. Such rows need not go
  // through row() but may be made by RuleHost::row().
  std::span<const Node> plain_items() const { return plain_items_; }
  // Over PATTERN: the first step matched again, the alert is over (46).
  void resolve(const Moment& moment, KeyId key);
  // The rule is going: its alerts are over.
  void withdraw(const Moment& moment);
  // An item whose owner is Owner::kResults.
  void on_item(const Item& item, const Moment& moment);

  bool is_idle(KeyId key) const;
  // Another key has the number now. What EMIT still needed of the old one is lost, and that is said.
  void reset(KeyId key, const Moment& moment);
  // The key goes at `t`, and nothing is said. True: EMIT still needed what it knew.
  bool forget(KeyId key, int64_t t);
  // Is there anything of the key that a new beginning would lose?
  bool holds(KeyId key) const { return !is_idle(key) || (key < emitted_.size() && emitted_[key].any); }
  void renumber(std::span<const KeyId> now);
  size_t state_bytes() const;
  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  enum class Phase : uint8_t { kQuiet, kPending, kFiring };
  enum class Timer : uint8_t { kFor, kClear, kRemind };
  struct Alert {
    Phase phase = Phase::kQuiet;
    bool has_row = false;
    uint32_t samples = 0;  // true rows in a row
    LazyTimer fire;
    LazyTimer clear;
    LazyTimer remind;
  };
  struct Emitted {
    bool any = false;
    int64_t t = 0;  // of the last row that was printed
  };

  void alert_row(const Moment& moment, KeyId key, const Frames& frames);
  void while_pending(Alert& alert, const Moment& moment, KeyId key, bool on);
  void while_firing(Alert& alert, const Moment& moment, KeyId key, const Frames& frames, bool on);
  void begin(Alert& alert, const Moment& moment, KeyId key);
  void fire(Alert& alert, const Moment& moment, KeyId key, int64_t from);
  void end(Alert& alert, const Moment& moment, KeyId key);
  void remind_again(Alert& alert, const Item& item, const Moment& moment);
  void emit_row(const Moment& moment, KeyId key, const Frames& frames, uint64_t order, uint64_t age);
  bool passes_emit(const Moment& moment, KeyId key);
  bool holds_back(const Emitted& emitted, int64_t t) const;

  // What timers count from: the arrival clock, or time itself with OPTIONS(time=event) (7).
  int64_t armed_at(const Moment& moment) const;
  bool by_event_time() const;
  void queue(Timer which, int64_t due, KeyId key);
  void arm(LazyTimer& timer, Timer which, int64_t due, KeyId key);

  Alert& alert_of(KeyId key);
  Value* stored_row(KeyId key) { return rows_.data() + size_t{key} * context_.plan.items.size(); }
  void evaluate_items(const Frames& frames, Value* into);
  void say(OutputKind kind, const Moment& moment, KeyId key);

  const RuleContext& context_;
  std::vector<Node> plain_items_;
  std::vector<Value> scratch_;
  std::vector<Alert> alerts_;
  std::vector<Emitted> emitted_;
  std::vector<Value> rows_;  // ALERT: the latest row of a key that is pending or firing; CHANGES: the previous one
};

}  // namespace lambda::cep
