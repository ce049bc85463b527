// State to bytes and back: little-endian, versioned, checksummed. TEXT is saved as text, because symbols' numbers are
// those of one engine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cep/language/value.h"

namespace lambda::cep {

class StateWriter {
 public:
  explicit StateWriter(const Symbols& symbols) : symbols_(symbols) {}

  void u8(uint8_t x) { body_.push_back(static_cast<char>(x)); }
  void flag(bool x) { u8(x ? 1 : 0); }
  void u32(uint32_t x) { number(x, 4); }
  void u64(uint64_t x) { number(x, 8); }
  void i64(int64_t x) { number(static_cast<uint64_t>(x), 8); }
  void f64(double x) { number(std::bit_cast<uint64_t>(x), 8); }
  void text(std::string_view x);
  void value(const Value& x);

  // What is written between the two calls can be read, or left out, as a StateReader::part().
  size_t begin_part();
  void end_part(size_t begin);

  // The lists that were written.
  std::vector<Symbol> lists() const;

  // Header, texts, what was written, checksum.
  std::string finish() const;

 private:
  void number(uint64_t x, int bytes) {
    for (int i = 0; i < bytes; ++i, x >>= 8) {
      body_.push_back(static_cast<char>(x & 0xFF));
    }
  }

  const Symbols& symbols_;
  std::string body_;
  std::string texts_;
  uint32_t text_count_ = 0;
  std::unordered_map<Symbol, uint32_t> numbers_;
};

// After bytes that say nothing sensible ok() is false and everything reads as 0: look once, at the end.
class StateReader {
 public:
  // Checks header and checksum and interns the texts. kCorrupt, kUnsupported (another version).
  static Result<StateReader> open(std::string_view bytes, Symbols& symbols);

  uint8_t u8() { return static_cast<uint8_t>(number(1)); }
  bool flag() { return u8() != 0; }
  uint32_t u32() { return static_cast<uint32_t>(number(4)); }
  uint64_t u64() { return number(8); }
  int64_t i64() { return static_cast<int64_t>(number(8)); }
  double f64() { return std::bit_cast<double>(number(8)); }
  std::string text();
  Value value();
  // A number of things that each take at least `bytes_min` of what is left; 0 and not ok() when that cannot be.
  size_t count(size_t bytes_min);

  // A reader of what begin_part() and end_part() enclose. Not ok() if there is none.
  StateReader part();

  bool ok() const { return ok_; }
  void refuse() { ok_ = false; }
  bool at_end() const { return rest_.empty(); }

 private:
  StateReader() = default;
  uint64_t number(int bytes);
  Value of_symbol(bool list);

  std::string_view rest_;
  std::shared_ptr<const std::vector<Symbol>> texts_;
  bool ok_ = true;
};

}  // namespace lambda::cep
