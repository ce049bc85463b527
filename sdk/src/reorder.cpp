// Taking the newest point back and writing it again. An image whose owner does not choose it does not link this.
#include "lambda/reorder.h"

#include "codes.h"
#include "expect.h"
#include "lambda/series_store.h"

namespace lambda {

class Reorderer {
 public:
  static bool take(SeriesStore* store, uint32_t ref, const Point& point);
  static void keep(const SeriesStore* store, uint32_t ref) { before_of(*store, ref).kept = 1; }

 private:
  using Series = SeriesStore::Series;
  using OpenBlock = SeriesStore::OpenBlock;
  using Before = SeriesStore::BeforeNewest;

  // They lie behind the pages.
  static Before& before_of(const SeriesStore& store, uint32_t ref) {
    uint8_t* const all = store.page_at(static_cast<uint32_t>(store.page_count_) + 1);
    return reinterpret_cast<Before*>(all)[ref - 1];
  }
  static Before describe(const OpenBlock& open);
  static OpenBlock without_newest(const SeriesStore& store, const Series& series, const Before& before);
  static bool put_before_first(SeriesStore* store, Series* series, const Point& point);
  static bool put_before_newest(SeriesStore* store, Series* series, const Point& point, Before* before);
};

bool Reorderer::take(SeriesStore* store, uint32_t ref, const Point& point) {
  Series* const series = store->series(ref);
  Before& before = before_of(*store, ref);
  if (series->page == SeriesStore::kNone) {
    before = Before{};
    return false;
  }
  const OpenBlock& open = store->opened(*series);
  const Point& newest = series->last;
  const uint64_t late = static_cast<uint64_t>(newest.time_ms) - static_cast<uint64_t>(point.time_ms);
  if (point.time_ms < newest.time_ms && late <= uint64_t{kBlockSpanMsMax} && before.kept == 0 &&
      static_cast<uint32_t>(late) % series->tick_ms == 0) {
    const bool put =
        open.count == 1 ? put_before_first(store, series, point) : put_before_newest(store, series, point, &before);
    if (put) return true;
  }
  before = describe(open);
  return false;
}

Reorderer::Before Reorderer::describe(const OpenBlock& open) {
  const CodeState& code = open.code;
  Before before{};
  before.last_bits = code.last_bits;
  before.step = static_cast<uint32_t>(code.step) & 0x1FFFFF;
  before.fill = code.fill & 7;
  before.partial = code.partial;
  before.window_lead = code.window_lead;
  before.window_bits = code.window_bits;
  before.bytes = open.bytes & 0x7FFF;
  return before;
}

// The open block of a series as it was before its newest point, which must have been later than the one before.
Reorderer::OpenBlock Reorderer::without_newest(const SeriesStore& store, const Series& series, const Before& before) {
  OpenBlock open = store.opened(series);
  const int32_t step_ms = open.code.step * static_cast<int32_t>(series.tick_ms);
  const uint32_t used = open.bytes - uint32_t{before.bytes};
  if (open.tail_used < used) {
    uint32_t page = series.page;
    while (store.link(page) != open.tail) page = store.link(page);
    open.tail = page;
    open.tail_used = static_cast<uint16_t>(open.tail_used + store.options_.page_bytes);
  }
  open.tail_used = static_cast<uint16_t>(open.tail_used - used);
  open.bytes = static_cast<uint16_t>(before.bytes);
  // Of slope64 the last bits are the difference that led to the newest value.
  if (kFurtherCodecs && static_cast<Codec>(open.codec) == Codec::kSlope64) open.value -= open.code.last_bits;
  open.code.last_time -= step_ms;
  open.code.last_bits = before.last_bits;
  open.code.step = static_cast<int32_t>(uint32_t{before.step} << 11) >> 11;
  open.code.fill = static_cast<uint8_t>(before.fill);
  open.code.partial = static_cast<uint8_t>(before.partial);
  open.code.window_lead = static_cast<uint8_t>(before.window_lead);
  open.code.window_bits = static_cast<uint8_t>(before.window_bits);
  open.behind_ms = (open.behind_ms - static_cast<uint32_t>(step_ms)) & 0xFFFFF;
  // Where the newest is the latest it is so again in the end, whatever was before.
  if (open.ahead_ms != 0) open.ahead_ms = (open.ahead_ms + static_cast<uint32_t>(step_ms)) & 0xFFFFF;
  --open.count;
  return open;
}

// The block is begun anew. A free page more than it has is enough for that, and for the point that was first.
bool Reorderer::put_before_first(SeriesStore* store, Series* series, const Point& point) {
  if (store->pages_free_ == 0) return false;
  const Point newest = series->last;
  const int64_t opened_at = store->opened(*series).opened_at;
  store->give_pages_back(series->page);
  series->page = SeriesStore::kNone;
  --series->ordinal;
  LAMBDA_EXPECT(store->open_block(series, point));
  ++series->ordinal;
  OpenBlock& open = store->opened(*series);
  open.opened_at = opened_at;
  before_of(*store, store->ref_of(*series)) = describe(open);
  LAMBDA_EXPECT(store->append_open(series, newest));
  return true;
}

// False, with nothing done: it does not belong there, or the two do not fit.
bool Reorderer::put_before_newest(SeriesStore* store, Series* series, const Point& point, Before* before) {
  OpenBlock& open = store->opened(*series);
  if (open.code.step <= 0) return false;
  const OpenBlock as_before = without_newest(*store, *series, *before);
  if (point.time_ms <= as_before.code.last_time) return false;
  const Point newest = series->last;
  const uint64_t sealed_early = store->counters_.blocks_sealed_early;
  open = as_before;
  if (store->append_open(series, point)) {
    const Before with_late = describe(open);
    if (store->append_open(series, newest)) {
      *before = with_late;
      return true;
    }
  }
  open = as_before;
  LAMBDA_EXPECT(store->append_open(series, newest));
  store->counters_.blocks_sealed_early = sealed_early;
  return false;
}

const Reorder lam_reorder_by_one = {Reorderer::take, Reorderer::keep};

}  // namespace lambda
