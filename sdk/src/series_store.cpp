// Taking points, sealing, and what happens when memory is short. Reading is in series_store_read.cpp.
#include "lambda/series_store.h"

#include <new>

#include "codes.h"
#include "expect.h"
#include "wide_codes.h"

namespace lambda {
namespace {

constexpr uint64_t kOrdinalsEnd = uint64_t{1} << 63;
// A point's codes, then the byte being filled and the checksum: what must be writable behind the complete bytes before
// another point is taken. encode_point() reaches no further.
constexpr size_t kPointRoom = kCodeBytesMax + 1 + kChecksumBytes;
static_assert(kEncodeReach + 1 <= kPointRoom);

// Bytes that the head of a block beginning so can take at most: what is known only at the end (count, span, the first
// point's place) is counted at its longest, and so is t_min, which may still move by ten minutes.
size_t head_bytes_max(BlockInfo&& info, Point first) {
  constexpr uint64_t kSpan = kBlockSpanMsMax;
  auto t_min = static_cast<uint64_t>(first.time_ms);
  if (first.time_ms < kBlockSpanMsMax / 2) t_min -= kSpan;  // further from zero than where it begins
  info.count = kBlockPointsMax;
  info.unordered = true;
  info.t_min = static_cast<int64_t>(t_min);
  info.t_max = first.time_ms = static_cast<int64_t>(t_min + kSpan);
  uint8_t head[kBlockHeaderBytesMax];
  return write_head<false>(info, first, head);
}

}  // namespace

std::span<uint8_t> SeriesStore::checked(std::span<uint8_t> arena, const SeriesStoreOptions& options) {
  LAMBDA_EXPECT(reinterpret_cast<uintptr_t>(arena.data()) % 8 == 0);
  LAMBDA_EXPECT(options.page_bytes >= 128 && options.page_bytes <= 4096 && options.page_bytes % 8 == 0);
  LAMBDA_EXPECT(options.block_bytes_max >= 256 && options.block_bytes_max <= 16384);
  LAMBDA_EXPECT(options.seal_age_ms > 0 && options.seal_age_ms <= kBlockSpanMsMax && options.retention_ms >= 0);
  LAMBDA_EXPECT(options.series_max > 0 && options.gaps_max > 0);
  LAMBDA_EXPECT(arena.size() >= arena_bytes(options, 2));
  return arena;
}

SeriesStore::SeriesStore(const SeriesStoreOptions& options, std::span<uint8_t> arena, const HashPort& hash,
                         uint64_t boot)
    : options_(options), hash_(&hash) {
  size_t pages = (arena.size() - fixed_bytes(options)) / (options.page_bytes + sizeof(uint32_t));
  if (arena_bytes(options, pages) > arena.size()) --pages;  // the links' rounding
  if constexpr (SIZE_MAX > UINT32_MAX) {
    if (pages > kPagesMax) pages = kPagesMax;
  }

  uint8_t* at = arena.data();
  series_ = reinterpret_cast<Series*>(at);
  at += round_up(options.series_max * sizeof(Series));
  gaps_ = reinterpret_cast<StoreGap*>(at);
  at += round_up(options.gaps_max * sizeof(StoreGap));
  scratch_ = at;
  at += round_up(options.block_bytes_max) + thinning_bytes(options);
  links_ = reinterpret_cast<uint32_t*>(at) - 1;
  pages_ = reinterpret_cast<uintptr_t>(at) + round_up(pages * sizeof(uint32_t)) - options.page_bytes;
  page_count_ = pages;
  for (uint32_t page = static_cast<uint32_t>(pages); page > 0; --page) {
    links_[page] = free_page_;
    free_page_ = page;
  }
  pages_free_ = pages;
  boots_[boot_] = boot;
}

bool SeriesStore::add(const SeriesShape& shape, uint32_t* ref) {
  if (series_count_ == options_.series_max) return false;
  Series* series = new (&series_[series_count_]) Series{};
  set_shape(series, shape);
  *ref = ++series_count_;
  return true;
}

bool SeriesStore::replace(uint32_t ref, const SeriesShape& shape) {
  Series* found = series(ref);
  if (found == nullptr || found->page != kNone || found->sealed.first != kNone || found->next_ordinal() != 0) {
    return false;
  }
  found->ordinal = 0;
  found->sealed.of_before = 0;
  set_shape(found, shape);
  return true;
}

void SeriesStore::set_shape(Series* series, const SeriesShape& shape) {
  LAMBDA_EXPECT(has_codec_for(shape.type) && shape.scale <= kScaleMax && shape.tick_ms >= 1 &&
                shape.tick_ms <= kTickMsMax);
  series->tick_ms = shape.tick_ms & 0xFFFFF;
  series->type = static_cast<uint32_t>(shape.type) & 7;
  series->scale = (shape.type == ValueType::kDec ? shape.scale : 0u) & 0x1F;
  series->next_codec = static_cast<uint32_t>(codec_of(shape.type)) & 7;
  series->thins = shape.thins ? 1 : 0;
}

bool SeriesStore::holds(Codec codec, ValueType type) const {
  if (type < ValueType::kF64 || type > ValueType::kState) return false;
  const BlockCoding* const coding = find_coding(codings(), codec);
  if (coding != nullptr) return coding->holds(type);
  return codec != Codec::kXor32 && codec == codec_of(type);
}

bool SeriesStore::has_codec_for(ValueType type) const {
  return holds(codec_of(type), type);
}

bool SeriesStore::write_in(uint32_t ref, Codec codec) {
  Series* found = series(ref);
  if (found == nullptr || !holds(codec, found->value_type())) return false;
  found->next_codec = static_cast<uint32_t>(codec) & 7;
  return true;
}

bool SeriesStore::shape(uint32_t ref, SeriesShape* shape) const {
  const Series* found = series(ref);
  if (found == nullptr) return false;
  *shape = {found->value_type(), static_cast<uint8_t>(found->scale), found->tick_ms};
  return true;
}

uint64_t SeriesStore::next_ordinal(uint32_t ref) const {
  const Series* found = series(ref);
  return found == nullptr ? 0 : found->next_ordinal();
}

bool SeriesStore::resume(uint32_t ref, uint64_t next_ordinal) {
  Series* found = series(ref);
  if (found == nullptr || next_ordinal < found->next_ordinal() || next_ordinal > kOrdinalsEnd) return false;
  seal(ref);
  found->ordinal = next_ordinal;
  found->sealed.of_before = 0;
  return true;
}

Appended SeriesStore::append(uint32_t ref, Point point) {
  Series* found = series(ref);
  if (found == nullptr) return {StoreResult::kNoSeries, 0};
  if (found->ordinal >= kOrdinalsEnd && found->sealed.of_before == 0) return {StoreResult::kOrdinals, 0};
  if (options_.reorder != nullptr && options_.reorder->take(this, ref, point)) {
    ++counters_.points;
    return {StoreResult::kOk, found->ordinal++ - 1};
  }
  bool taken = false;
  if (found->page != kNone) {
    taken = append_open(found, point);
    if (!taken) seal(ref);
  }
  if (!taken && !open_block(found, point)) {
    ++counters_.points_refused;
    return {StoreResult::kNoMemory, 0};
  }
  ++counters_.points;
  found->last = point;
  return {StoreResult::kOk, found->ordinal++};
}

bool SeriesStore::open_block(Series* series, const Point& point) {
  const uint32_t page = take_page(series);
  if (page == kNone) return false;
  series->page = page;
  OpenBlock* const open = new (page_at(page)) OpenBlock{};
  open->first = point;
  open->opened_at = now_ms_;
  open->code.last_time = point.time_ms;
  open->code.last_bits = point.bits;
  open->tail = page;
  open->codec = series->next_codec;
  const size_t head_room = head_bytes_max(info_of(*series), point);
  const size_t used = sizeof(BlockMeta) + head_room;
  if (used + 1 + kChecksumBytes > options_.page_bytes) {  // a small page and a long head: the checksum needs another
    const uint32_t second = take_page(series);
    if (second == kNone) {
      series->page = kNone;
      give_pages_back(page);
      return false;
    }
    links_[page] = second;
  }
  open->tail_used = static_cast<uint16_t>(used);
  open->count = 1;
  open->head_room = head_room & 0x7F;
  open->bytes = static_cast<uint16_t>(head_room);
  const BlockCoding* const coding = find_coding(codings(), static_cast<Codec>(open->codec));
  if (coding != nullptr) coding->start(point.bits, &open->code, &open->value);
  series->ordinal = series->next_ordinal();
  series->sealed.of_before = 0;
  return true;
}

// Writes one more code; returns how many bytes it completed.
uint32_t SeriesStore::encode(OpenBlock* open, int32_t step, uint64_t bits, uint8_t* out) const {
  const auto codec = static_cast<Codec>(open->codec);
  uint8_t* end;
  if (codec == Codec::kXor64) {
    end = encode_point_here<Codec::kXor64>(&open->code, step, bits, out);
  } else if (!kFurtherCodecs || codec == Codec::kDelta64) {
    end = encode_point_here<Codec::kDelta64>(&open->code, step, bits, out);
  } else {
    // It is among them. A call of find_coding() would cost more than the search.
    const BlockCoding* const* coding = options_.codings.data();
    while ((*coding)->codec != codec) ++coding;
    end = (*coding)->encode(&open->code, &open->value, step, bits, out);
  }
  return static_cast<uint32_t>(end - out);
}

// False, with nothing done: the open block is not to have this point, or a page is needed and there is none.
bool SeriesStore::append_open(const Series* series, const Point& point) {
  OpenBlock* const open = &opened(*series);
  // What step_to() decides, in 32 bits.
  constexpr auto kSpan = static_cast<int32_t>(kBlockSpanMsMax);
  const bool back = point.time_ms < open->code.last_time;
  const auto ticks = static_cast<uint64_t>(point.time_ms) - static_cast<uint64_t>(open->code.last_time);
  const uint64_t far = back ? 0 - ticks : ticks;
  if (far >> 32 != 0 || static_cast<uint32_t>(far) > static_cast<uint32_t>(kSpan)) return false;
  auto step = static_cast<int32_t>(ticks);
  int32_t behind = static_cast<int32_t>(open->behind_ms) + step;
  int32_t ahead = static_cast<int32_t>(open->ahead_ms) - step;
  if (behind < 0) behind = 0;
  if (ahead < 0) ahead = 0;
  if (behind + ahead > kSpan || open->count >= kBlockPointsMax || open->bytes + kPointRoom > options_.block_bytes_max) {
    return false;
  }
  if (series->tick_ms != 1) {
    const auto tick = static_cast<int32_t>(series->tick_ms);
    if (step % tick != 0) return false;
    step /= tick;
  }
  const uint32_t tail_used = open->tail_used;
  uint32_t used;
  if (tail_used + kPointRoom <= options_.page_bytes) {
    used = encode(open, step, point.bits, page_at(open->tail) + tail_used);
    open->tail_used = static_cast<uint16_t>(tail_used + used);
  } else {
    uint32_t next = link(open->tail);
    if (next == kNone) {
      next = take_page(series);
      if (next == kNone) {
        ++counters_.blocks_sealed_early;
        return false;
      }
      links_[open->tail] = next;
    }
    uint8_t codes[kPointRoom + 8];
    used = encode(open, step, point.bits, codes);
    // With the byte being filled, which is behind them.
    copy_chain(open->tail, tail_used, Way::kIn, codes, used + 1);
    uint32_t end = tail_used + used;
    if (end >= options_.page_bytes) {
      open->tail = next;
      end -= options_.page_bytes;
    }
    open->tail_used = static_cast<uint16_t>(end);
  }
  open->bytes = static_cast<uint16_t>(open->bytes + used);
  open->code.last_time = point.time_ms;
  open->behind_ms = static_cast<uint32_t>(behind) & 0xFFFFF;
  ++open->count;
  open->ahead_ms = static_cast<uint32_t>(ahead) & 0xFFFFF;
  if (step <= 0) [[unlikely]]
    open->unordered = 1;
  return true;
}

void SeriesStore::seal(uint32_t ref) {
  Series* found = series(ref);
  if (found == nullptr || found->page == kNone) return;
  const uint32_t page = found->page;
  uint8_t* const begin = page_at(page);
  const size_t head_room = opened(*found).head_room;
  size_t head_bytes;
  const size_t whole = write_open(*found, scratch_, options_.block_bytes_max, &head_bytes);
  LAMBDA_EXPECT(whole > 0 && head_bytes <= head_room);
  const size_t start = sizeof(BlockMeta) + head_room - head_bytes;
  // The bits go where they are already; the head before them and the checksum behind, where room was kept for both. A
  // page that is not needed then goes back.
  const uint32_t tail = copy_chain(page, start, Way::kIn, scratch_, whole);
  give_pages_back(link(tail));
  links_[tail] = kNone;

  links_[page] |= kSealedHead;
  BlockMeta* meta = new (begin) BlockMeta{};
  if (++serial_ == 0) serial_ = 1;
  meta->sealed_at = now_ms_;
  meta->serial = serial_;
  meta->ref = ref;
  meta->bytes = static_cast<uint16_t>(whole);
  meta->start = static_cast<uint8_t>(start);
  meta->boot = static_cast<uint8_t>(boot_) & 3;
  set_root(scratch_, whole, meta);
  set_state(page, BlockState::kLoose);
  put_behind(found->sealed.last, page, &BlockMeta::of_series, &found->sealed);
  found->page = kNone;
  ++counters_.blocks_sealed;
}

void SeriesStore::set_root(const uint8_t* bytes, size_t size, BlockMeta* meta) {
  ContentRoot root(*hash_);
  const auto add = [](void* to, uint64_t, uint64_t, Point point) { static_cast<ContentRoot*>(to)->add(point); };
  // What was written a moment ago reads back, or memory is not ours.
  LAMBDA_EXPECT(visit(bytes, size, 0, INT64_MIN, INT64_MAX, add, &root));
  root.finish(meta->root);
}

void SeriesStore::seal_all() {
  for (uint32_t ref = 1; ref <= series_count_; ++ref) seal(ref);
}

void SeriesStore::set_clock(uint32_t segment) {
  seal_all();
  clock_ = segment;
}

bool SeriesStore::boot_in_use(uint32_t index) const {
  for (const List& list : lists_) {
    for (uint32_t page = list.first; page != kNone; page = meta(page).of_state.next) {
      if (meta(page).boot == index) return true;
    }
  }
  return false;
}

bool SeriesStore::new_boot(uint64_t boot) {
  uint32_t index = 0;
  while (index < kBootsMax && (index == boot_ || boot_in_use(index))) ++index;
  if (index == kBootsMax) return false;
  seal_all();
  boot_ = index;
  boots_[index] = boot;
  clock_ = 0;
  for (uint32_t i = 0; i < series_count_; ++i) {
    Series& series = series_[i];
    if (series.ordinal != 0) series.sealed.of_before = 1;
  }
  return true;
}

int64_t SeriesStore::tick(int64_t now_ms) {
  now_ms_ = now_ms;
  int64_t again = now_ms + options_.seal_age_ms;
  for (uint32_t i = 0; i < series_count_; ++i) {
    if (series_[i].page == kNone) continue;
    const int64_t due = opened(series_[i]).opened_at + options_.seal_age_ms;
    if (due <= now_ms) {
      seal(i + 1);
    } else if (due < again) {
      again = due;
    }
  }
  List& safe = lists_[static_cast<size_t>(BlockState::kSafe)];
  while (safe.first != kNone) {
    const int64_t due = meta(safe.first).sealed_at + options_.retention_ms;
    if (due > now_ms) {
      if (due < again) again = due;
      break;
    }
    free_block(safe.first);
    ++counters_.blocks_expired;
  }
  return again;
}

// ---- Memory

// A page that belongs to nobody, linked to nothing; kNone when none can be had. `spared` is not sealed for it.
uint32_t SeriesStore::take_page(const Series* spared) {
  if (free_page_ == kNone && !make_room(spared)) return kNone;
  const uint32_t page = free_page_;
  free_page_ = link(page);
  links_[page] = kNone;
  --pages_free_;
  return page;
}

bool SeriesStore::make_room(const Series* spared) {
  while (free_page_ == kNone) {
    const uint32_t safe = lists_[static_cast<size_t>(BlockState::kSafe)].first;
    if (safe != kNone) {
      ++(meta(safe).sealed_at + options_.retention_ms <= now_ms_ ? counters_.blocks_expired : counters_.blocks_evicted);
      free_block(safe);
    } else if ((options_.thinning == nullptr || !options_.thinning->make_room(this)) && !drop_oldest_unsafe() &&
               !seal_largest(spared)) {
      return false;
    }
  }
  return true;
}

// Called when no block is safe. False: there is none, or its gap finds no place.
bool SeriesStore::drop_oldest_unsafe() {
  const uint32_t loose = lists_[static_cast<size_t>(BlockState::kLoose)].first;
  const uint32_t parcelled = lists_[static_cast<size_t>(BlockState::kParcelled)].first;
  if (loose == kNone && parcelled == kNone) return false;
  const bool take_loose =
      parcelled == kNone || (loose != kNone && static_cast<int32_t>(meta(loose).serial - meta(parcelled).serial) < 0);
  if (drop(take_loose ? loose : parcelled)) return true;
  // The list of gaps is full. A block whose gap continues one of them can only be the first of its series.
  for (uint32_t i = 0; i < gap_count_; ++i) {
    const uint32_t first = series_[gap_at(i).ref - 1].sealed.first;
    if (first != kNone && drop(first)) return true;
  }
  ++counters_.gaps_full;
  return false;
}

bool SeriesStore::drop(uint32_t page) {
  SealedBlock block;
  describe(page, &block);
  // What thinning took from it was counted then, and is named now, unless a parcel has done so.
  const uint32_t thinned = block.state == BlockState::kLoose ? block.thinned : 0;
  const uint64_t first = block.info.first_ordinal - thinned;
  if (!note_gap({block.info.boot, block.info.ref, first, block.info.count + thinned})) return false;
  free_block(page);
  ++counters_.blocks_dropped;
  counters_.points_dropped += block.info.count;
  return true;
}

bool SeriesStore::seal_largest(const Series* spared) {
  uint32_t largest = 0;
  uint32_t most = 0;  // every open block has bytes
  for (uint32_t i = 0; i < series_count_; ++i) {
    const Series& series = series_[i];
    if (series.page == kNone || &series == spared) continue;
    const uint32_t bytes = opened(series).bytes;
    if (bytes <= most) continue;
    largest = i + 1;
    most = bytes;
  }
  // If its gap would find no place it could not go afterwards either; then it is better left open.
  if (largest == 0 || gap_count_ == options_.gaps_max) return false;
  seal(largest);
  ++counters_.blocks_sealed_early;
  return true;
}

// Returns how many they were.
size_t SeriesStore::give_pages_back(uint32_t page) {
  const size_t before = pages_free_;
  while (page != kNone) {
    const uint32_t next = link(page);
    links_[page] = free_page_;
    free_page_ = page;
    ++pages_free_;
    page = next;
  }
  return pages_free_ - before;
}

size_t SeriesStore::chain_pages(uint32_t page) const {
  size_t pages = 0;
  for (; page != kNone; page = link(page)) ++pages;
  return pages;
}

void SeriesStore::free_block(uint32_t page) {
  const BlockMeta& gone = meta(page);
  const BlockState state = gone.state;
  take_out(page, &BlockMeta::of_state, &lists_[static_cast<size_t>(state)]);
  take_out(page, &BlockMeta::of_series, &series_[gone.ref - 1].sealed);
  const size_t pages = give_pages_back(page);
  if (state == BlockState::kSafe) pages_safe_ -= pages;
}

LAMBDA_ONE_COPY StoreGap& SeriesStore::gap_at(uint32_t index) {
  return gaps_[(gap_first_ + index) % options_.gaps_max];
}

// Blocks of a series are dropped in the order of their ordinals, so a gap can only be continued at its end.
// False: the list is full and this one continues none.
bool SeriesStore::note_gap(const StoreGap& gap) {
  for (uint32_t i = 0; i < gap_count_; ++i) {
    StoreGap& known = gap_at(i);
    if (known.boot == gap.boot && known.ref == gap.ref && known.first_ordinal + known.count == gap.first_ordinal) {
      known.count += gap.count;
      return true;
    }
  }
  if (gap_count_ == options_.gaps_max) return false;
  gap_at(gap_count_++) = gap;
  return true;
}

bool SeriesStore::take_gap(StoreGap* gap) {
  if (gap_count_ == 0) return false;
  *gap = gap_at(0);
  if (++gap_first_ == options_.gaps_max) gap_first_ = 0;
  --gap_count_;
  return true;
}

// ---- Lists

// kNone as `before`: at the start.
LAMBDA_ONE_COPY void SeriesStore::put_behind(uint32_t before, uint32_t page, PlaceIn in, List* list) {
  uint32_t& link = before == kNone ? list->first : (meta(before).*in).next;
  const uint32_t next = link;
  link = page;
  meta(page).*in = {before, next};
  if (next == kNone) {
    list->last = page & kPagesMax;
  } else {
    (meta(next).*in).previous = page;
  }
}

LAMBDA_ONE_COPY void SeriesStore::take_out(uint32_t page, PlaceIn in, List* list) {
  const Place place = meta(page).*in;
  (place.previous == kNone ? list->first : (meta(place.previous).*in).next) = place.next;
  if (place.next == kNone) {
    list->last = place.previous & kPagesMax;
  } else {
    (meta(place.next).*in).previous = place.previous;
  }
}

// Puts a block that is in no state's list into one, in the order of sealing. Blocks nearly always come in that order,
// so the place is sought from the end.
void SeriesStore::set_state(uint32_t page, BlockState state) {
  BlockMeta& added = meta(page);
  List& list = lists_[static_cast<size_t>(state)];
  added.state = state;
  uint32_t before = list.last;
  while (before != kNone && static_cast<int32_t>(meta(before).serial - added.serial) > 0) {
    before = meta(before).of_state.previous;
  }
  put_behind(before, page, &BlockMeta::of_state, &list);
}

void SeriesStore::move(BlockId id, BlockState state) {
  const BlockMeta* found = sealed(id);
  if (found == nullptr || found->state == state || found->state == BlockState::kSafe) return;
  take_out(id.page, &BlockMeta::of_state, &lists_[static_cast<size_t>(found->state)]);
  set_state(id.page, state);
  if (state == BlockState::kSafe) pages_safe_ += chain_pages(id.page);
}

void SeriesStore::parcelled(BlockId id, uint32_t parcel) {
  move(id, BlockState::kParcelled);
  const BlockMeta* found = sealed(id);
  if (found == nullptr || found->state != BlockState::kParcelled) return;
  meta(id.page).parcel = parcel;
  if (found->kept == kKeptFresh) meta(id.page).kept = kKeptWhole;
}

void SeriesStore::safe(BlockId id) {
  move(id, BlockState::kSafe);
}

void SeriesStore::loose(BlockId id) {
  move(id, BlockState::kLoose);
}

void SeriesStore::safe_parcel(uint32_t parcel) {
  uint32_t page = lists_[static_cast<size_t>(BlockState::kParcelled)].first;
  while (page != kNone) {
    const uint32_t next = meta(page).of_state.next;
    if (meta(page).parcel == parcel) move({page, meta(page).serial}, BlockState::kSafe);
    page = next;
  }
}

}  // namespace lambda
