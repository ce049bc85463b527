// Sealed blocks that come back after a reset. An image that keeps nothing over a reset does not link this.
#include <new>

#include "codes.h"
#include "lambda/series_store.h"

namespace lambda {

int64_t SeriesStore::sealed_ms(BlockId id) const {
  const BlockMeta* found = sealed(id);
  return found != nullptr ? found->sealed_at : 0;
}

bool SeriesStore::gap(uint32_t index, StoreGap* gap) const {
  if (index >= gap_count_) return false;
  *gap = gaps_[(gap_first_ + index) % options_.gaps_max];
  return true;
}

void SeriesStore::restore_last(uint32_t ref, uint64_t ordinal, Point point) {
  Series* const found = series(ref);
  if (found == nullptr || found->next_ordinal() != 0) return;
  found->ordinal = ordinal + 1;
  found->sealed.of_before = 1;
  found->last = point;
}

// The boot's place in boots_; one of which nothing is held is made its own. kBootsMax: there is none.
uint32_t SeriesStore::boot_index(uint64_t boot) {
  uint32_t free = kBootsMax;
  for (uint32_t index = 0; index < kBootsMax; ++index) {
    if (boots_[index] == boot) return index;
    if (free == kBootsMax && index != boot_ && !boot_in_use(index)) free = index;
  }
  if (free < kBootsMax) boots_[free] = boot;
  return free;
}

StoreResult SeriesStore::restore(std::span<const uint8_t> bytes, uint64_t boot, BlockState state, int64_t age_ms,
                                 uint32_t thinned) {
  BlockReader reader;
  if (bytes.size() > options_.block_bytes_max || !reader.open(bytes, boot, codings()).ok()) {
    return StoreResult::kNoSeries;
  }
  const BlockInfo info = reader.info();
  Series* const found = series(info.ref);
  if (found == nullptr || info.has_boot || info.type != static_cast<ValueType>(found->type) ||
      info.scale != found->scale) {
    return StoreResult::kNoSeries;
  }
  const uint32_t rest = info.count - thinned;
  if (thinned != 0 &&
      (thinned > info.count || thinned > info.first_ordinal || thinned % kThinTo != 0 || rest >= kThinFrom)) {
    return StoreResult::kNoSeries;
  }
  ContentRoot root(*hash_);
  for (Point point; reader.next(&point);) root.add(point);
  if (!reader.status().ok()) return StoreResult::kNoSeries;
  const uint32_t index = boot_index(boot);
  if (index == kBootsMax) return StoreResult::kNoMemory;

  uint32_t first = kNone;
  uint32_t tail = kNone;
  for (size_t done = 0, at = sizeof(BlockMeta); done < bytes.size(); at = 0) {
    const uint32_t page = take_page(nullptr);
    if (page == kNone) {
      give_pages_back(first);
      return StoreResult::kNoMemory;
    }
    if (first == kNone) {
      first = page;
    } else {
      links_[tail] = page;
    }
    tail = page;
    const size_t room = options_.page_bytes - at;
    const size_t piece = bytes.size() - done < room ? bytes.size() - done : room;
    __builtin_memcpy(page_at(page) + at, bytes.data() + done, piece);
    done += piece;
  }
  links_[first] |= kSealedHead;
  BlockMeta* meta = new (page_at(first)) BlockMeta{};
  if (++serial_ == 0) serial_ = 1;
  meta->sealed_at = now_ms_ - age_ms;
  meta->serial = serial_;
  meta->ref = info.ref;
  meta->bytes = static_cast<uint16_t>(bytes.size());
  meta->start = sizeof(BlockMeta);
  meta->boot = static_cast<uint8_t>(index) & 3;
  meta->kept = (thinned != 0 ? kKeptThinned + rest : kKeptWhole) & 7;
  root.finish(meta->root);
  set_state(first, state);
  if (state == BlockState::kSafe) pages_safe_ += chain_pages(first);
  put_behind(found->sealed.last, first, &BlockMeta::of_series, &found->sealed);
  if (state != BlockState::kSafe) {
    counters_.points += info.count + thinned;
    counters_.points_dropped += thinned;
    counters_.points_thinned += thinned;
  }
  return StoreResult::kOk;
}

}  // namespace lambda
