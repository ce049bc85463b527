// Which readers of a stream an event can matter to: a rule whose WHERE demands `column op constant` is looked up by the
// event's value instead of being asked. One thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "cep/language/plan.h"

namespace lambda::cep {

class PredicateIndex {
 public:
  // `reader` is the caller's number for the rule. After the last one, build().
  void add(uint32_t reader, const RulePlan& plan);
  void build();
  // Appends each reader whose demand the event meets, or that demands nothing that can be looked up; no order. Those
  // left out would have found their WHERE false.
  void candidates(const Value* columns, std::vector<uint32_t>& out) const;

  // For EXPLAIN: the conjunct that the rule is found by, or nothing.
  struct Demand {
    uint32_t column = 0;
    uint16_t node = 0;   // of the WHERE
    Op op = Op::kEqual;  // kEqual, kLess, kLessEqual, kGreater, kGreaterEqual
    Value constant;
  };
  static std::optional<Demand> demand_of(const RulePlan& plan);

 private:
  struct Threshold {
    double constant;
    bool inclusive;
    uint32_t reader;
  };
  struct Hash {
    size_t operator()(const Value& value) const { return hash_value(value); }
  };
  struct Column {
    uint32_t column = 0;
    std::vector<Threshold> above;                                  // column > constant: ascending
    std::vector<Threshold> below;                                  // column < constant: descending
    std::unordered_map<Value, std::vector<uint32_t>, Hash> equal;  // numbers as DOUBLE
  };
  Column& column(uint32_t index);

  std::vector<Column> columns_;
  std::vector<uint32_t> always_;
};

}  // namespace lambda::cep
