#include "cep/stream/keys.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace lambda::cep {

KeyDirectory::KeyDirectory(size_t width, uint64_t max) : width_(width), max_(max) {
  if (width_ == 0) {
    entries_.resize(1);
    count_ = 1;
  } else {
    slots_.resize(16, kNone);
  }
}

std::optional<KeyId> KeyDirectory::find_hashed(const Value* key) const {
  const uint32_t id = slots_[slot_of(key)];
  return id != kNone ? std::optional<KeyId>(id) : std::nullopt;
}

// A key that is not there.
std::optional<KeyDirectory::Found> KeyDirectory::add(const Value* key, TimelineId timeline) {
  KeyId id = static_cast<KeyId>(entries_.size());
  uint32_t generation = 0;
  if (count_ >= max_ || !may_grow_) {
    if (!queues_idle_) {
      queue_idle();
    }
    id = take_longest_idle();
    if (id == kNone) {
      return std::nullopt;
    }
    erase(id);
    generation = entries_[id].generation + 1;
    ++evicted_;
    std::copy_n(key, width_, values_.data() + size_t{id} * width_);
  } else {
    entries_.emplace_back();
    values_.insert(values_.end(), key, key + width_);
    ++count_;
    if (key->type == Type::kText) {
      widen();
    }
  }
  Entry entry;
  entry.timeline = timeline;
  entry.generation = generation;
  entries_[id] = entry;
  insert(id);
  return Found{id, true};
}

uint64_t KeyDirectory::hash(const Value* key) const {
  uint64_t h = 0x9e3779b97f4a7c15ULL;
  for (size_t i = 0; i < width_; ++i) {
    h = (h ^ hash_value(key[i])) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 29;
  }
  return h;
}

bool KeyDirectory::equal(KeyId id, const Value* key) const {
  return std::equal(key, key + width_, values(id));
}

// Where the key is, or the empty slot where it would go.
size_t KeyDirectory::slot_of(const Value* key) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash(key) & mask;
  while (slots_[slot] != kNone && !equal(slots_[slot], key)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void KeyDirectory::insert(KeyId id) {
  const Value* key = values(id);
  if (straight(key)) {
    by_symbol_[key->text] = id;
    return;
  }
  if (slots_.size() < 2 * entries_.size()) {
    rehash(slots_.size() * 2);
  }
  slots_[slot_of(key)] = id;
}

void KeyDirectory::erase(KeyId id) {
  const Value* key = values(id);
  if (straight(key)) {
    by_symbol_[key->text] = kNone;
    return;
  }
  erase_hashed(id);
}

void KeyDirectory::erase_hashed(KeyId id) {
  const Value* key = values(id);
  const size_t mask = slots_.size() - 1;
  size_t hole = slot_of(key);
  slots_[hole] = kNone;
  // What stands behind the hole moves up if its search would have passed the hole.
  for (size_t slot = (hole + 1) & mask; slots_[slot] != kNone; slot = (slot + 1) & mask) {
    const size_t home = hash(values(slots_[slot])) & mask;
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      slots_[hole] = slots_[slot];
      slots_[slot] = kNone;
      hole = slot;
    }
  }
}

// More symbols lead straight to their keys when there are more keys. The last key is not in yet.
void KeyDirectory::widen() {
  const size_t symbols = width_ == 1 ? kStraightPerKey * std::bit_ceil(std::max<size_t>(entries_.size(), 16)) : 0;
  if (symbols <= by_symbol_.size()) {
    return;
  }
  const size_t before = by_symbol_.size();
  by_symbol_.resize(symbols, kNone);
  for (KeyId id = 0; id + 1 < entries_.size(); ++id) {
    const Symbol symbol = values(id)->text;
    if (values(id)->type == Type::kText && symbol >= before && symbol < symbols) {
      erase_hashed(id);
      by_symbol_[symbol] = id;
    }
  }
}

void KeyDirectory::rehash(size_t slots) {
  std::vector<uint32_t> old(slots, kNone);
  old.swap(slots_);
  for (const uint32_t id : old) {
    if (id != kNone) {
      slots_[slot_of(values(id))] = id;
    }
  }
}

// All that are idle, in the order in which they became so.
void KeyDirectory::queue_idle() {
  queues_idle_ = true;
  idle_.clear();
  next_idle_ = 0;
  for (KeyId id = 0; id < entries_.size(); ++id) {
    if (entries_[id].idle_since != 0) {
      idle_.push_back({entries_[id].idle_since, id});
    }
  }
  std::ranges::sort(idle_, {}, &Idle::since);
}

// kNone: nobody is idle.
KeyId KeyDirectory::take_longest_idle() {
  while (next_idle_ < idle_.size()) {
    const Idle first = idle_[next_idle_++];
    if (entries_[first.id].idle_since == first.since) {
      return first.id;
    }
  }
  idle_.clear();
  next_idle_ = 0;
  return kNone;
}

int KeyDirectory::compare(KeyId x, KeyId y, const Symbols& symbols) const {
  if (x == y) {
    return 0;
  }
  for (size_t i = 0; i < width_; ++i) {
    const int order = compare_values(values(x)[i], values(y)[i], symbols);
    if (order != 0) {
      return order;
    }
  }
  return 0;
}

size_t KeyDirectory::bytes() const {
  if (width_ == 0) {
    return 0;
  }
  // Vectors double. Slots are a quarter full at least; as many symbols lead straight to a key.
  constexpr size_t kSlotBytes = (4 + kStraightPerKey) * sizeof(uint32_t);
  return std::bit_ceil(count_) * (width_ * sizeof(Value) + sizeof(Entry) + sizeof(Idle) + kSlotBytes);
}

void KeyDirectory::save(StateWriter& out) const {
  if (width_ == 0) {
    return;
  }
  out.u32(static_cast<uint32_t>(entries_.size()));
  for (KeyId id = 0; id < entries_.size(); ++id) {
    out.u32(entries_[id].timeline);
    out.u64(entries_[id].idle_since);
    out.u32(entries_[id].generation);
    for (size_t i = 0; i < width_; ++i) {
      out.value(values(id)[i]);
    }
  }
  out.u64(idle_clock_);
  out.u64(evicted_);
}

void KeyDirectory::load(StateReader& in) {
  if (width_ == 0) {
    return;
  }
  const size_t count = in.count(16 + width_);
  const bool may_grow = may_grow_;
  *this = KeyDirectory(width_, std::max<uint64_t>(max_, count));
  std::vector<uint64_t> idle_since(count);
  std::vector<Value> key(width_);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const TimelineId timeline = in.u32();
    idle_since[i] = in.u64();
    const uint32_t generation = in.u32();
    for (Value& value : key) {
      value = in.value();
    }
    const auto found = find_or_add(key.data(), timeline);
    if (!found || !found->is_new || found->id != i) {
      in.refuse();
      return;
    }
    entries_[i].generation = generation;
  }
  idle_clock_ = in.u64();
  for (size_t i = 0; i < count && in.ok(); ++i) {
    if (idle_since[i] > idle_clock_) {
      in.refuse();
      return;
    }
    entries_[i].idle_since = idle_since[i];
  }
  evicted_ = in.u64();
  may_grow_ = may_grow;
}

std::vector<KeyId> KeyDirectory::surplus(uint64_t max) const {
  if (width_ == 0 || count_ <= max) {
    return {};
  }
  std::vector<KeyId> by_worth(entries_.size());
  std::iota(by_worth.begin(), by_worth.end(), KeyId{0});
  std::ranges::sort(by_worth, {}, [this](KeyId id) {
    const uint64_t since = entries_[id].idle_since;
    return std::tuple(since != 0, idle_clock_ - since, id);
  });
  std::vector<KeyId> now(entries_.size(), kNoKey);
  for (size_t i = 0; i < max; ++i) {
    now[by_worth[i]] = 0;
  }
  KeyId next = 0;
  for (KeyId& number : now) {
    number = number == kNoKey ? kNoKey : next++;
  }
  return now;
}

void KeyDirectory::keep(std::span<const KeyId> now, uint64_t max) {
  KeyDirectory kept(width_, max);
  for (KeyId id = 0; id < now.size(); ++id) {
    if (now[id] != kNoKey) {
      kept.entries_.push_back(entries_[id]);
      kept.values_.insert(kept.values_.end(), values(id), values(id) + width_);
      ++kept.count_;
      if (values(id)->type == Type::kText) {
        kept.widen();
      }
      kept.insert(now[id]);
    }
  }
  kept.idle_clock_ = idle_clock_;
  kept.evicted_ = evicted_ + count_ - kept.count_;
  kept.may_grow_ = may_grow_;
  *this = std::move(kept);
}

}  // namespace lambda::cep
