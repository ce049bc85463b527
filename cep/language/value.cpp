#include "cep/language/value.h"

#include <cmath>

namespace lambda::cep {
namespace {

template <class T>
int order(T x, T y) {
  return x < y ? -1 : y < x ? 1 : 0;
}

int order_doubles(double x, double y) {
  if (std::isnan(x) || std::isnan(y)) {
    return order(std::isnan(x), std::isnan(y));
  }
  return order(x, y);
}

}  // namespace

const char* type_name(Type type) {
  switch (type) {
    case Type::kNull:
      return "NULL";
    case Type::kBool:
      return "BOOL";
    case Type::kInt:
      return "INT";
    case Type::kDouble:
      return "DOUBLE";
    case Type::kText:
      return "TEXT";
    case Type::kList:
      return "LIST";
  }
  return "?";
}

uint64_t hash_value(const Value& value) {
  uint64_t bits = value.bits;
  if (value.type == Type::kDouble) {
    const double d = std::isnan(value.d) ? std::nan("") : value.d == 0 ? 0.0 : value.d;
    bits = std::bit_cast<uint64_t>(d);
  }
  // The finalizer of MurmurHash3: every bit of the input reaches every bit of the output.
  bits ^= static_cast<uint64_t>(value.type) << 56;
  bits ^= bits >> 33;
  bits *= 0xff51afd7ed558ccdULL;
  bits ^= bits >> 33;
  bits *= 0xc4ceb9fe1a85ec53ULL;
  return bits ^ (bits >> 33);
}

// FNV-1a.
uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  }
  return hash ^ hash >> 32;
}

Symbol Symbols::intern(std::string_view text) {
  const auto found = numbers_.find(text);
  if (found != numbers_.end()) {
    return found->second;
  }
  const auto symbol = static_cast<Symbol>(texts_.size());
  texts_.emplace_back(text);
  numbers_.emplace(texts_.back(), symbol);
  bytes_ += text.size() + kTextOverhead;
  return symbol;
}

std::optional<Symbol> Symbols::try_intern(std::string_view text) {
  const auto found = numbers_.find(text);
  if (found != numbers_.end()) {
    return found->second;
  }
  if (bytes_ + text.size() + kTextOverhead > bytes_max_) {
    ++refused_;
    return std::nullopt;
  }
  return intern(text);
}

Symbol Symbols::intern_list(std::string_view elements) {
  const auto found = list_numbers_.find(elements);
  if (found != list_numbers_.end()) {
    return found->second;
  }
  Symbol place = static_cast<Symbol>(lists_.size());
  if (free_lists_.empty()) {
    lists_.emplace_back(elements);
  } else {
    place = free_lists_.back();
    free_lists_.pop_back();
    lists_[place] = elements;
  }
  list_numbers_.emplace(lists_[place], place | kListBit);
  list_bytes_ += elements.size() + kTextOverhead;
  return place | kListBit;
}

void Symbols::keep_lists(const std::vector<Symbol>& held) {
  std::vector<bool> is_held(lists_.size());
  for (const Symbol symbol : held) {
    is_held[symbol ^ kListBit] = true;
  }
  for (Symbol place = 0; place < lists_.size(); ++place) {
    const auto found = is_held[place] ? list_numbers_.end() : list_numbers_.find(lists_[place]);
    if (found != list_numbers_.end() && found->second == (place | kListBit)) {  // else it is free already
      list_bytes_ -= lists_[place].size() + kTextOverhead;
      list_numbers_.erase(found);
      lists_[place] = std::string();
      free_lists_.push_back(place);
    }
  }
}

// For each element its type, then eight bytes: the value's bits or, for TEXT, how many bytes follow.
Value make_list(const std::vector<Value>& elements, Symbols& symbols) {
  std::string bytes;
  for (const Value& element : elements) {
    const std::string_view text = element.type == Type::kText ? symbols.text(element.text) : std::string_view();
    uint64_t bits = element.type == Type::kText ? text.size() : element.bits;
    bytes.push_back(static_cast<char>(element.type));
    for (int i = 0; i < 8; ++i, bits >>= 8) {
      bytes.push_back(static_cast<char>(bits & 0xFF));
    }
    bytes += text;
  }
  return Value::of_list(symbols.intern_list(bytes));
}

std::vector<Value> list_elements(const Value& list, Symbols& symbols) {
  std::vector<Value> out;
  const std::string_view bytes = symbols.text(list.text);
  for (size_t at = 0; at + 9 <= bytes.size();) {
    Value element;
    element.type = static_cast<Type>(bytes[at]);
    for (size_t i = 8; i > 0; --i) {
      element.bits = element.bits << 8 | static_cast<uint8_t>(bytes[at + i]);
    }
    at += 9;
    if (element.type == Type::kText) {
      const auto length = static_cast<size_t>(element.bits);
      element = Value::of_text(symbols.intern(bytes.substr(at, length)));
      at += length;
    }
    out.push_back(element);
  }
  return out;
}

int compare_values(const Value& x, const Value& y, const Symbols& symbols) {
  if (x.is_null() || y.is_null()) {
    return order(!x.is_null(), !y.is_null());
  }
  switch (x.type) {
    case Type::kText:
    case Type::kList:
      return order(symbols.text(x.text).compare(symbols.text(y.text)), 0);
    case Type::kBool:
      return order(x.b, y.b);
    case Type::kInt:
      return y.type == Type::kInt ? order(x.i, y.i) : order_doubles(x.number(), y.number());
    default:
      return order_doubles(x.number(), y.number());
  }
}

}  // namespace lambda::cep
