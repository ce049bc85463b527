// Which readers of a stream an event can matter to: a rule whose WHERE demands `column op constant` is looked up by the
// event's value instead of being asked. One thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
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
  // left out would have found their WHERE false. `value_of(column)` is the event's Value there; only columns that some
  // rule demands something of are asked for.
  template <class ValueOf>
  void candidates(const ValueOf& value_of, std::vector<uint32_t>& out) const;

  // Are there surely no candidates()? Says so of most events at the cost of two comparisons for a column; equalities
  // are left to candidates().
  template <class ValueOf>
  bool surely_none(const ValueOf& value_of) const;

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
    double least_above = std::numeric_limits<double>::infinity();
    double greatest_below = -std::numeric_limits<double>::infinity();
  };
  Column& column(uint32_t index);
  static void find_equal(const Column& column, const Value& value, std::vector<uint32_t>& out);
  static bool is_number(const Value& value) {
    return value.type == Type::kInt || (value.type == Type::kDouble && !std::isnan(value.d));
  }
  // 2^53: above, two INTs may be one DOUBLE.
  static bool is_exact(const Value& value) {
    return value.type != Type::kInt || std::abs(value.number()) <= 9007199254740992.0;
  }
  static std::optional<Demand> demand_at(const Program& where, uint16_t at);
  static void collect(const Program& where, uint16_t at, std::optional<Demand>& best);

  std::vector<Column> columns_;
  std::vector<uint32_t> always_;
  bool only_thresholds_ = true;  // nothing is always a candidate, and no equality is asked
};

template <class ValueOf>
bool PredicateIndex::surely_none(const ValueOf& value_of) const {
  if (!only_thresholds_) {
    return false;
  }
  for (const Column& column : columns_) {
    const Value value = value_of(column.column);
    if (value.type != Type::kDouble && value.type != Type::kInt) {
      continue;
    }
    const double x = value.number();  // NaN meets no threshold
    if (x >= column.least_above || x <= column.greatest_below) {
      return false;
    }
  }
  return true;
}

template <class ValueOf>
void PredicateIndex::candidates(const ValueOf& value_of, std::vector<uint32_t>& out) const {
  if (!always_.empty()) {
    out.insert(out.end(), always_.begin(), always_.end());
  }
  for (const Column& column : columns_) {
    const Value value = value_of(column.column);
    if (!column.equal.empty()) {
      find_equal(column, value, out);
    }
    if (!is_number(value)) {
      continue;
    }
    const double x = value.number();
    for (const Threshold& threshold : column.above) {
      if (x < threshold.constant) {
        break;
      }
      if (x > threshold.constant || threshold.inclusive || !is_exact(value)) {
        out.push_back(threshold.reader);
      }
    }
    for (const Threshold& threshold : column.below) {
      if (x > threshold.constant) {
        break;
      }
      if (x < threshold.constant || threshold.inclusive || !is_exact(value)) {
        out.push_back(threshold.reader);
      }
    }
  }
}

}  // namespace lambda::cep
