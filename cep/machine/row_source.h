// The way of an event into a rule over one stream: JOIN TABLE, WHERE, key. Shared by the machines that read a stream.
#pragma once

#include <optional>
#include <vector>

#include "cep/machine/rule.h"
#include "cep/stream/predicate_index.h"

namespace lambda::cep {

class RowSource {
 public:
  explicit RowSource(const RuleContext& context)
      : context_(context), demand_(PredicateIndex::demand_of(context.plan)), key_(context.plan.keys.size()) {}

  struct Row {
    Frames frames;  // kEvent, kTable
    KeyId key = 0;
    bool is_new_key = false;  // reset what is stored for it
  };
  // Nothing: the event is not for this rule (filtered, no table row, a null key, or no room for its key).
  std::optional<Row> admit(const Event& event, const Moment& moment);

  // The same for many events of a rule without JOIN, in two steps: what passes WHERE (valid until the evaluator's next
  // selection); and the key of one of those, or nothing.
  std::span<const uint32_t> passing(const Rows& rows);
  std::optional<KeyDirectory::Found> key_of(const Rows& rows, uint32_t row);
  // Ahead of key_of() for each of `at` in turn: what is known already, by their order; else kNoKey.
  const std::vector<KeyId>& known_keys(const Rows& rows, std::span<const uint32_t> at);
  // Are known_keys() still what they were?
  bool still_known() const { return evicted_ == context_.keys.evicted(); }
  // The key, if it is there already.
  std::optional<KeyId> find_key(const Rows& rows, uint32_t row);

 private:
  const RuleContext& context_;
  bool read_key(const Rows& rows, uint32_t row);

  std::optional<PredicateIndex::Demand> demand_;
  std::vector<Value> key_;
  std::vector<KeyId> known_;
  uint64_t evicted_ = 0;
};

}  // namespace lambda::cep
