// A rule's keys: values to dense numbers and back. State of a rule is arrays indexed by these numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cep/stream/moment.h"
#include "cep/stream/snapshot.h"

namespace lambda::cep {

// At most `max` keys. A key that holds nothing (no run, no open window, no alert) is marked idle; when the directory is
// full, or may not grow, the one that has been idle longest makes room for a new one. One thread.
class KeyDirectory {
 public:
  // `width`: values of a key. Rules without keys have width 0 and the one key 0, which is never given up.
  KeyDirectory(size_t width, uint64_t max);

  struct Found {
    KeyId id = 0;
    bool is_new = false;  // whatever is stored at `id` is another's that was given up: reset it
  };
  // `timeline`: of the event that brought the key. Nothing: there is no room, and no key is idle.
  std::optional<Found> find_or_add(const Value* key, TimelineId timeline) {
    const auto id = find(key);
    return id ? Found{*id, false} : add(key, timeline);
  }

  std::optional<KeyId> find(const Value* key) const;

  // For rules whose one key is TEXT: the key at each place, kNoKey if it is not there or needs a longer search. Holds
  // until a key is given up.
  void find_all(const Symbol* symbols, std::span<const uint32_t> at, KeyId* into) const {
    const size_t known = by_symbol_.size();
    for (const uint32_t place : at) {
      *into++ = symbols[place] < known ? by_symbol_[symbols[place]] : kNoKey;
    }
  }

  const Value* values(KeyId id) const { return values_.data() + size_t{id} * width_; }
  TimelineId timeline(KeyId id) const { return entries_[id].timeline; }
  // How often the number was given to another key; 0 for kNoKey.
  uint32_t generation(KeyId id) const { return id < entries_.size() ? entries_[id].generation : 0; }
  size_t width() const { return width_; }
  size_t count() const { return count_; }
  size_t id_end() const { return entries_.size(); }  // all ids are below
  uint64_t evicted() const { return evicted_; }
  bool is_full() const { return count_ >= max_; }
  // May there be more keys than there are? (StateBudget)
  void set_may_grow(bool may_grow) { may_grow_ = may_grow; }

  // To be said after each piece of work on a key.
  void set_idle(KeyId id, bool idle) {
    if (width_ == 0 || (entries_[id].idle_since != 0) == idle) {
      return;
    }
    entries_[id].idle_since = idle ? ++idle_clock_ : 0;
    if (idle && queues_idle_) {
      idle_.push_back({idle_clock_, id});
      if (idle_.size() > 2 * entries_.size() + 64) {
        queue_idle();  // most of them are not idle any more
      }
    }
  }

  // Order of keys in outputs (8).
  int compare(KeyId x, KeyId y, const Symbols& symbols) const;

  // What it takes, by the number of keys alone: the same whatever way they came.
  size_t bytes() const;
  void save(StateWriter& out) const;
  // May bring more keys than `max`: then the caller lets go of surplus() before anything else is asked.
  void load(StateReader& in);

  // Which keys stay when there may be `max`: those that hold something before idle ones, of the former the ones with
  // the lowest numbers, of the latter the ones that became idle last. By old number the new one, rising; kNoKey: the
  // key goes. Empty: all stay.
  std::vector<KeyId> surplus(uint64_t max) const;
  // `now`: of surplus(max). All that is stored by key must be moved too.
  void keep(std::span<const KeyId> now, uint64_t max);
  bool is_idle(KeyId id) const { return entries_[id].idle_since != 0; }

 private:
  static constexpr uint32_t kNone = kNoKey;
  static constexpr uint64_t kStraightPerKey = 4;
  struct Entry {
    TimelineId timeline = kSharedTimeline;
    uint32_t generation = 0;
    uint64_t idle_since = 0;  // by idle_clock_; 0: not idle
  };
  struct Idle {
    uint64_t since;
    KeyId id;
  };

  // Is the key in by_symbol_? The array grows with the keys, not with the texts of strangers.
  bool straight(const Value* key) const { return key->type == Type::kText && key->text < by_symbol_.size(); }
  std::optional<Found> add(const Value* key, TimelineId timeline);
  std::optional<KeyId> find_hashed(const Value* key) const;
  uint64_t hash(const Value* key) const;
  bool equal(KeyId id, const Value* key) const;
  size_t slot_of(const Value* key) const;
  void insert(KeyId id);
  void erase(KeyId id);
  void erase_hashed(KeyId id);
  void widen();
  void rehash(size_t slots);
  void queue_idle();
  KeyId take_longest_idle();

  size_t width_ = 0;
  uint64_t max_;
  size_t count_ = 0;
  uint64_t evicted_ = 0;
  std::vector<Value> values_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;      // open addressing, linear probing; kNone: empty
  std::vector<uint32_t> by_symbol_;  // width 1 and TEXT: straight from the symbol, kNone: none
  bool may_grow_ = true;
  uint64_t idle_clock_ = 0;  // counts what becomes idle
  // Once keys had to give way: who became idle when, in that order, from next_idle_ on; some are not idle any more.
  bool queues_idle_ = false;
  std::vector<Idle> idle_;
  size_t next_idle_ = 0;
};

// An array by key, `width` places each, after the keys got the numbers `now` (KeyDirectory::surplus()).
template <class T>
void renumber_by_key(std::vector<T>& by_key, std::span<const KeyId> now, size_t width = 1) {
  size_t kept = 0;
  for (size_t key = 0; key < now.size() && (key + 1) * width <= by_key.size(); ++key) {
    if (now[key] == kNoKey) {
      continue;
    }
    for (size_t i = 0; i < width && now[key] != key; ++i) {
      by_key[now[key] * width + i] = std::move(by_key[key * width + i]);
    }
    kept = now[key] + 1;
  }
  by_key.resize(kept * width);
}

inline std::optional<KeyId> KeyDirectory::find(const Value* key) const {
  if (width_ == 0) {
    return 0;
  }
  if (!straight(key)) {
    return find_hashed(key);
  }
  const uint32_t id = by_symbol_[key->text];
  return id != kNone ? std::optional<KeyId>(id) : std::nullopt;
}

}  // namespace lambda::cep
