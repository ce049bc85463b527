#include "agent/source/cardinality.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace lambda::agent {
namespace {

constexpr int kRegisterBits = 12;
constexpr size_t kRegisters = size_t{1} << kRegisterBits;
constexpr size_t kSlots = 2 * kCardinalityExactMax;

// The finaliser of splitmix64: each bit of the one word moves half of the other's.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t seeded_hash(uint64_t seed, std::string_view text) {
  uint64_t hash = mix(seed ^ text.size() * 0x9e3779b97f4a7c15u);
  while (!text.empty()) {
    uint64_t word = 0;
    const size_t size = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), size);
    hash = mix((hash ^ word) + 0x9e3779b97f4a7c15u + seed);
    text.remove_prefix(size);
  }
  return hash;
}

void Cardinality::add(std::string_view text) {
  const uint64_t hash = std::max<uint64_t>(seeded_hash(seed_, text), 1);
  if (!is_exact()) return note(hash);
  if (hashes_.empty()) hashes_.resize(kSlots);
  for (size_t slot = hash % kSlots;; slot = (slot + 1) % kSlots) {
    if (hashes_[slot] == hash) return;
    if (hashes_[slot] != 0) continue;
    if (count_ < kCardinalityExactMax) {
      hashes_[slot] = hash;
      ++count_;
      return;
    }
    begin_to_estimate();
    return note(hash);
  }
}

void Cardinality::begin_to_estimate() {
  registers_.resize(kRegisters);
  for (const uint64_t hash : hashes_) {
    if (hash != 0) note(hash);
  }
  hashes_ = {};
  count_ = 0;
}

void Cardinality::note(uint64_t hash) {
  const size_t index = hash >> (64 - kRegisterBits);
  const uint64_t rest = hash << kRegisterBits | uint64_t{1} << (kRegisterBits - 1);  // the bit ends the run
  registers_[index] = std::max(registers_[index], static_cast<uint8_t>(std::countl_zero(rest) + 1));
}

uint64_t Cardinality::estimate() const {
  if (is_exact()) return count_;
  constexpr double kCount = kRegisters;
  double inverse = 0;
  size_t untouched = 0;
  for (const uint8_t run : registers_) {
    inverse += std::ldexp(1.0, -run);
    untouched += run == 0 ? 1 : 0;
  }
  const double raw = 0.7213 / (1 + 1.079 / kCount) * kCount * kCount / inverse;
  // Few texts leave registers untouched, and how many they leave is the better measure then.
  const double small = untouched > 0 ? kCount * std::log(kCount / static_cast<double>(untouched)) : raw;
  const double best = raw <= 2.5 * kCount && untouched > 0 ? small : raw;
  return std::max<uint64_t>(static_cast<uint64_t>(std::llround(best)), kCardinalityExactMax + 1);
}

void Cardinality::clear() {
  registers_ = {};
  std::fill(hashes_.begin(), hashes_.end(), 0);
  count_ = 0;
}

}  // namespace lambda::agent
