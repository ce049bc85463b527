// The way of an event into a rule over one stream: JOIN TABLE, WHERE, key. Shared by the machines that read a stream.
#pragma once

#include <optional>
#include <vector>

#include "cep/rule.h"

namespace lambda::cep {

class RowSource {
 public:
  explicit RowSource(const RuleContext& context) : context_(context), key_(context.plan.keys.size()) {}

  struct Row {
    Frames frames;  // kEvent, kTable
    KeyId key = 0;
    bool is_new_key = false;  // reset what is stored for it
  };
  // Nothing: the event is not for this rule (filtered, no table row, a null key, or no room for its key).
  std::optional<Row> admit(const Event& event, const Moment& moment);

 private:
  const RuleContext& context_;
  std::vector<Value> key_;
};

}  // namespace lambda::cep
