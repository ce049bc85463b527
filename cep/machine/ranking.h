// HAVING, ORDER BY and LIMIT k [PER key] over the rows of one window end (37). One thread.
#pragma once

#include <vector>

#include "cep/machine/rule.h"

namespace lambda::cep {

struct RankedRow {
  KeyId key;
  std::vector<Value> row;    // of Frame::kGroup
  std::vector<Value> order;  // what ORDER BY compares
};

class Ranking {
 public:
  // `context` outlives it.
  explicit Ranking(const RuleContext& context) : context_(context) {}

  // A row of the window end, unless HAVING refuses it.
  void add(KeyId key, const std::vector<Value>& row);
  // The rows that were added since the last call and are to be printed, in their order.
  std::vector<RankedRow> take();

 private:
  bool is_before(const RankedRow& x, const RankedRow& y) const;

  const RuleContext& context_;
  std::vector<RankedRow> rows_;
};

}  // namespace lambda::cep
