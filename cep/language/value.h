// What an event or a rule can hold: TEXT, INT, DOUBLE, BOOL or null. TEXT is a number that stands for the text in a
// `Symbols` table, so that rules compare, hash and store numbers only.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace lambda::cep {

enum class Type : uint8_t { kNull, kBool, kInt, kDouble, kText, kList };  // kList: what topk() makes

const char* type_name(Type type);

using Symbol = uint32_t;

// Sixteen bytes, copied freely. The type of a column is fixed when a rule is created; the tag says null or not.
struct Value {
  Type type = Type::kNull;
  union {
    int64_t i;
    double d;
    Symbol text;
    bool b;
    uint64_t bits = 0;
  };

  static Value null() { return {}; }
  static Value of_int(int64_t x) {
    Value value;
    value.type = Type::kInt;
    value.i = x;
    return value;
  }
  static Value of_double(double x) {
    Value value;
    value.type = Type::kDouble;
    value.d = x;
    return value;
  }
  static Value of_bool(bool x) {
    Value value;
    value.type = Type::kBool;
    value.bits = x ? 1 : 0;
    return value;
  }
  static Value of_list(Symbol x) {
    Value value;
    value.type = Type::kList;
    value.bits = x;
    return value;
  }
  static Value of_text(Symbol x) {
    Value value;
    value.type = Type::kText;
    value.bits = x;
    return value;
  }

  bool is_null() const { return type == Type::kNull; }
  bool is_true() const { return type == Type::kBool && b; }
  // INT or DOUBLE only.
  double number() const { return type == Type::kInt ? static_cast<double>(i) : d; }
  // The same value for keys and CHANGES: null is null, one NaN is another, 0.0 is -0.0.
  friend bool operator==(const Value& x, const Value& y) {
    if (x.type != y.type) {
      return false;
    }
    return x.type == Type::kDouble ? x.d == y.d || (x.d != x.d && y.d != y.d) : x.bits == y.bits;
  }
};
static_assert(sizeof(Value) == 16);

// Agrees with operator==.
uint64_t hash_value(const Value& value);

// The same on every machine and in every run.
uint64_t hash_text(std::string_view text);

// Texts and their numbers. Numbers are dense and given in order of first use; they differ from run to run, so nothing
// that is printed or saved may depend on them: snapshots save texts. A text is never forgotten, so those of events are
// bounded; lists, which are made anew with every output, are forgotten when nobody holds them. One thread.
class Symbols {
 public:
  static constexpr uint64_t kBytesMax = 256 << 20;

  explicit Symbols(uint64_t bytes_max = kBytesMax) : bytes_max_(bytes_max) { (void)intern(""); }
  Symbols(const Symbols&) = delete;
  Symbols& operator=(const Symbols&) = delete;

  // For the texts of rules, which the caller bounds.
  Symbol intern(std::string_view text);
  // For the texts of events: nothing, and counted, for a new one when there are `bytes_max` of them.
  std::optional<Symbol> try_intern(std::string_view text);
  Symbol intern_list(std::string_view elements);
  // Valid as long as the text.
  std::string_view text(Symbol symbol) const {
    return (symbol & kListBit) == 0 ? texts_[symbol] : lists_[symbol ^ kListBit];
  }
  size_t count() const { return texts_.size(); }  // without lists
  uint64_t bytes() const { return bytes_; }
  uint64_t refused() const { return refused_; }

  static bool is_list(Symbol symbol) { return (symbol & kListBit) != 0; }
  uint64_t list_bytes() const { return list_bytes_; }
  // Forgets all lists but these.
  void keep_lists(const std::vector<Symbol>& held);

 private:
  static constexpr Symbol kListBit = 1u << 31;
  static constexpr size_t kTextOverhead = sizeof(std::string) + 64;  // 64: the map's node and bucket

  uint64_t bytes_max_;
  std::deque<std::string> texts_;  // a deque: the map's views stay valid
  std::unordered_map<std::string_view, Symbol> numbers_;
  uint64_t bytes_ = 0;
  uint64_t refused_ = 0;
  std::deque<std::string> lists_;
  std::unordered_map<std::string_view, Symbol> list_numbers_;
  std::vector<Symbol> free_lists_;
  uint64_t list_bytes_ = 0;
};

// A list is the text of its elements, one behind the other. Elements are no lists themselves.
Value make_list(const std::vector<Value>& elements, Symbols& symbols);
// The elements; those that are TEXT are interned.
std::vector<Value> list_elements(const Value& list, Symbols& symbols);

// Order of keys in outputs and of ORDER BY: null first, numbers by value with NaN last, text bytewise, false before
// true. Negative, 0 or positive. Both of one type or null; INT and DOUBLE compare as numbers.
int compare_values(const Value& x, const Value& y, const Symbols& symbols);

}  // namespace lambda::cep
