// The series of a device in memory: open blocks that take points, sealed blocks that wait to be sent, and ten minutes
// to read. Everything lies in one span that the caller gives; nothing is allocated, nothing grows.
//
// Invariants
// - A point that append() took has the next ordinal of its series in this boot, without gaps. It is in exactly one of:
//   an open block, a sealed block, a gap (dropped before it was safe), or evicted (after it was safe).
// - A block is evicted only when it is safe. A block that is dropped unsafe leaves a gap with exactly its ordinals.
// - Sealed blocks keep the order in which they were sealed, within each state and within each series.
// - The span is cut at the start into state for `series_max` series, `gaps_max` gaps, a scratch block and pages; a
//   block is a chain of pages. So the worst case is known when the program starts.
//
// When a page is wanted and none is free, in this order: the oldest safe block goes (past its retention or not), then
// where `thinning` was chosen, the oldest loose blocks of gauges become half as many points (lambda/thinning.h), then
// the oldest block that is not safe goes and its ordinals become a gap, then the largest open block is sealed and goes
// the same way. When the list of gaps is full, a block goes whose ordinals continue a gap that is in it. When nothing
// of all that helps, append() takes nothing.
//
// Time: `now_ms` is monotonic and handed in by tick(); points carry their own times, which may be anything.
// Not thread-safe. Pages, blocks and series are found in constant time, except where said.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/block.h"
#include "lambda/codecs.h"
#include "lambda/hash.h"
#include "lambda/point.h"
#include "lambda/reorder.h"
#include "lambda/thinning.h"

namespace lambda {

struct SeriesStoreOptions {
  uint32_t series_max = 0;
  uint32_t gaps_max = 16;
  uint32_t page_bytes = 128;         // 128..4096, a multiple of 8. Small pages waste less, large ones cost fewer links
  uint32_t block_bytes_max = 4096;   // a block is sealed before it is longer; 256..16384
  int64_t retention_ms = 600'000;    // a safe block stays so long after it was sealed, while memory lasts
  int64_t seal_age_ms = 60'000;      // tick() seals a block that was opened so long ago; up to ten minutes
  BlockCodings codings = {};         // codecs it has beside xor64 and delta64: lambda/codecs.h
  const Reorder* reorder = nullptr;  // &kReorderByOne: what is late by one place goes there; 16 bytes a series more
  const Thinning* thinning = nullptr;  // &kThinGauges: thins before it drops, and takes a block's bytes more for that
};

struct SeriesShape {
  ValueType type = ValueType::kF64;  // f32: only with kXor32Coding among the options' codings
  uint8_t scale = 0;                 // of type dec
  uint32_t tick_ms = 1;              // see BlockOptions
  bool thins = false;                // a gauge: may be thinned where the options say so, unless its type is state
};

enum class StoreResult : uint8_t {
  kOk,
  kNoSeries,  // no such ref
  kNoMemory,  // nothing was taken; see above
  kOrdinals,  // the series has used up its 2^63 ordinals
};

struct Appended {
  StoreResult result;
  uint64_t ordinal;  // of the point, if kOk
};

enum class BlockState : uint8_t {
  kLoose,      // sealed, in no parcel yet
  kParcelled,  // in a parcel that is not safe yet
  kSafe,       // in the spool or acked: may be evicted
};

// Names a sealed block as long as it is in memory; afterwards it names nothing, never another block.
struct BlockId {
  uint32_t page = UINT32_MAX;
  uint32_t serial = 0;  // of the seal; wraps around after 2^32 of them
  friend bool operator==(const BlockId&, const BlockId&) = default;
};

struct SealedBlock {
  SealedBlock();
  BlockId id;
  BlockInfo info;  // info.boot is the boot it belongs to; the bytes leave it out
  BlockState state = BlockState::kLoose;
  uint32_t parcel = 0;  // the tag given to parcelled()
  uint32_t bytes = 0;
  uint8_t root[kDigestBytes] = {};  // its content root
  // So many of its first points are what thinning left, and as many ordinals right before it are gone: to be named in
  // the parcel that it goes into. 0: it was not thinned.
  uint32_t thinned = 0;
};

// Points that were dropped before they were safe, for want of memory.
struct StoreGap {
  uint64_t boot = 0;
  uint32_t ref = 0;
  uint64_t first_ordinal = 0;
  uint64_t count = 0;
  friend bool operator==(const StoreGap&, const StoreGap&) = default;
};

struct SeriesStoreCounters {
  uint64_t points;          // taken by append()
  uint64_t points_refused;  // kNoMemory
  uint64_t points_dropped;
  uint64_t points_thinned;  // of those, by thinning: named with the block that is left
  EventCount blocks_sealed;
  EventCount blocks_sealed_early;  // of those, for want of memory
  EventCount blocks_expired;       // safe and past retention
  EventCount blocks_evicted;       // safe, but within retention: memory was short
  EventCount blocks_dropped;       // not safe: a gap
  EventCount gaps_full;            // times that a gap found no place
};

class SeriesStore {
 public:
  // The span needed for `pages` pages; at least two pages a series are needed to be of any use.
  static constexpr size_t arena_bytes(const SeriesStoreOptions& options, size_t pages);

  // `arena` must be aligned to 8 and outlive the store, as must `hash`. Options out of range are a programmer's error.
  SeriesStore(std::span<uint8_t> arena, const SeriesStoreOptions& options, const HashPort& hash, uint64_t boot)
      : SeriesStore(options, checked(arena, options), hash, boot) {}
  SeriesStore(const SeriesStore&) = delete;
  SeriesStore& operator=(const SeriesStore&) = delete;

  // A new series; refs are 1, 2, 3 ... in the order of adding. False: series_max is reached.
  bool add(const SeriesShape& shape, uint32_t* ref);
  // Another series takes the place of one that has ended, under the same ref: for a boot in which nobody was told of
  // the ref yet. False, with nothing done: unknown ref, points of it are still held, or it has ordinals in this boot.
  bool replace(uint32_t ref, const SeriesShape& shape);
  uint32_t series_count() const { return series_count_; }
  bool shape(uint32_t ref, SeriesShape* shape) const;
  // Whether there is a codec for values of this type.
  bool has_codec_for(ValueType type) const;
  // Blocks of the series that are begun from now on are written in `codec`; without this f64 has xor64, f32 xor32, all
  // else delta64. False, with nothing done: no such series, or the codec is not there or does not hold the type.
  bool write_in(uint32_t ref, Codec codec);
  uint64_t next_ordinal(uint32_t ref) const;  // 0 for an unknown series
  // The last point of the stream, of this or an earlier boot, wherever it is now. False: there is none. (A series that
  // was resume()d has one when the next point came.)
  bool last(uint32_t ref, uint64_t* ordinal, Point* point) const;
  // The next point of the series gets this ordinal: for going on with a boot whose earlier points are elsewhere. The
  // ordinals passed over are the caller's to account for. False: unknown series, or lower than the next one now.
  bool resume(uint32_t ref, uint64_t next_ordinal);

  // With `reorder` the ordinal is that of the point's place, and the newest point of the series may have the next one.
  Appended append(uint32_t ref, Point point);

  // Ends the open block of one or of all series, if it has points. Takes no memory and cannot fail.
  void seal(uint32_t ref);
  void seal_all();
  // Seals all; later blocks carry this clock segment (proto/parcel.md).
  void set_clock(uint32_t segment);
  // Seals all; ordinals and clock segments begin anew, while blocks of earlier boots are still held. False, with
  // nothing done: blocks of kBootsMax boots are held already.
  bool new_boot(uint64_t boot);
  uint64_t boot() const { return boots_[boot_]; }
  static constexpr uint32_t kBootsMax = 4;

  // Seals what is old enough and lets go of what is safe and past its retention. Returns when it wants to be called
  // again. Linear in the number of series. Before the first call the time is 0.
  int64_t tick(int64_t now_ms);

  // Sealed blocks of a state, in the order of sealing. False: there is none, or `after` is no longer of that state.
  bool first(BlockState state, SealedBlock* block) const;
  bool next(BlockState state, BlockId after, SealedBlock* block) const;
  // Sealed blocks of a series, in the order of sealing, whatever their state.
  bool first_of(uint32_t ref, SealedBlock* block) const;
  bool next_of(BlockId after, SealedBlock* block) const;
  // False: it is no longer in memory.
  bool find(BlockId id, SealedBlock* block) const;
  // Copies the block's bytes; returns how many, 0 if it is gone or `out` is too short.
  size_t copy(BlockId id, std::span<uint8_t> out) const;

  // Where a block stands. Ids of blocks that are gone are ignored, as they may have been dropped meanwhile; a safe
  // block stays safe.
  void parcelled(BlockId id, uint32_t parcel);
  void safe(BlockId id);
  void loose(BlockId id);  // its parcel was given up; it goes back to its place in the order
  // All blocks parcelled under this tag. Linear in the number of parcelled blocks.
  void safe_parcel(uint32_t parcel);

  // The open block as it would be if it were sealed now; the store is not disturbed. 0: no points, or `out` is too
  // short (block_bytes_max is always enough).
  size_t copy_open(uint32_t ref, std::span<uint8_t> out) const;
  bool open_info(uint32_t ref, BlockInfo* info) const;  // false: no open points

  // Points of `ref` in this and earlier boots with from_ms <= time <= to_ms, in the order of sealing and then of
  // ordinal; times may go back. The visitor must not call the store. False: no such series, or a block in memory did
  // not read back (memory was overwritten); the visitor may have seen points before.
  using Visitor = void (*)(void* context, uint64_t boot, uint64_t ordinal, Point point);
  bool read(uint32_t ref, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const;

  // The same of one sealed block, or of the open one. False: it is gone, or it did not read back.
  bool read_block(BlockId id, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const;
  bool read_open(uint32_t ref, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const;

  // Takes the oldest gap off the list; it is the caller's from then on. Neighbours have been merged.
  bool take_gap(StoreGap* gap);
  uint32_t gap_count() const { return gap_count_; }

  // For what outlives a reset (series_store_restore.cpp).
  // When a block was sealed, on tick()'s clock; 0 for one that is gone.
  int64_t sealed_ms(BlockId id) const;
  bool gap(uint32_t index, StoreGap* gap) const;  // false: there are no more
  // Takes a sealed block of an earlier boot back, behind those that are here; `age_ms` since it was sealed. Memory is
  // made for it as for a point. `thinned`: as SealedBlock has it. It is not thinned here, as others may have it too.
  // kNoSeries: it does not read back, names its boot itself, or its series is another here.
  StoreResult restore(std::span<const uint8_t> bytes, uint64_t boot, BlockState state, int64_t age_ms,
                      uint32_t thinned = 0);
  // last() of a series that has no points in this boot yet, from an earlier one.
  void restore_last(uint32_t ref, uint64_t ordinal, Point point);
  // Points of earlier boots that are held elsewhere count as taken here.
  void count_restored(uint64_t points) { counters_.points += points; }

  size_t pages() const { return page_count_; }
  size_t pages_free() const { return pages_free_; }
  // Of blocks that are safe: these make room by themselves when a page is wanted and none is free.
  size_t pages_safe() const { return pages_safe_; }
  const SeriesStoreCounters& counters() const { return counters_; }

 private:
  friend class Reorderer;  // reorder.cpp
  friend class Thinner;    // thinning.cpp
  friend class Device;     // device.cpp: it has looked at its configuration

  // The same with options and an arena that were looked at.
  SeriesStore(const SeriesStoreOptions& options, std::span<uint8_t> arena, const HashPort& hash, uint64_t boot);
  static std::span<uint8_t> checked(std::span<uint8_t> arena, const SeriesStoreOptions& options);

  static constexpr uint32_t kNone = 0;  // pages are counted from 1
  static constexpr uint32_t kPagesMax = 0x7FFFFFFF;
  static constexpr uint32_t kSealedHead = 0x80000000;  // beside a page's link: a sealed block begins here

  // Sealed blocks in the order of sealing, by their first pages.
  struct List {
    uint32_t first = kNone;
    uint32_t last : 31 = kNone;
    uint32_t of_before : 1 = 0;  // of the list of a series, see there
  };
  // A block's place in such a list.
  struct Place {
    uint32_t previous;
    uint32_t next;
  };

  // What is kept of a series whatever it holds; what its open block needs lies in that block's first page.
  struct Series {
    uint64_t ordinal;  // of the point behind `last`, in the boot of that one
    Point last;        // of the stream, once there is one
    uint32_t page;     // first of the open block; kNone: there is no open block
    List sealed;       // of_before: `last` is of an earlier boot, and no point of the series is of this one
    uint32_t tick_ms : 20;
    uint32_t scale : 5;
    uint32_t type : 3;
    uint32_t next_codec : 3;
    uint32_t thins : 1;

    uint64_t next_ordinal() const { return sealed.of_before != 0 ? 0 : ordinal; }
    ValueType value_type() const { return static_cast<ValueType>(type); }
  };
  static_assert(sizeof(Series) == 40);
  static_assert(kTickMsMax < 1 << 20 && kScaleMax < 1 << 5 && static_cast<unsigned>(ValueType::kState) < 1 << 3 &&
                static_cast<unsigned>(Codec::kRuns64) < 1 << 3);
  // At the start of an open block's first page, in the room of its BlockMeta; room for the head follows.
  struct OpenBlock {
    Point first;
    int64_t opened_at;
    uint64_t value;  // see BlockCoding
    CodeState code;
    uint32_t tail;            // the page being filled
    uint16_t tail_used;       // bytes of the tail that are complete
    uint16_t bytes;           // complete bytes so far, of what is set aside for the head and of bits
    uint32_t behind_ms : 20;  // from t_min to the last point
    uint32_t count : 12;
    uint32_t ahead_ms : 20;  // from the last point to t_max
    uint32_t head_room : 7;  // bytes set aside for the head
    uint32_t unordered : 1;
    uint32_t codec : 3;

    int64_t t_min() const { return code.last_time - behind_ms; }
    int64_t t_max() const { return code.last_time + ahead_ms; }
  };
  static_assert(kBlockSpanMsMax < 1 << 20 && kBlockPointsMax < 1 << 12 && kBlockHeaderBytesMax < 1 << 7);

  // How the open block stood before its newest point; what is not here follows from how it stands now.
  struct BeforeNewest {
    uint64_t last_bits;
    uint32_t step : 21;  // with its sign
    uint32_t fill : 3;
    uint32_t partial : 8;
    uint32_t window_lead : 8;
    uint32_t window_bits : 8;
    uint32_t bytes : 15;
    uint32_t kept : 1;  // nothing comes before the newest any more
  };
  static_assert(sizeof(BeforeNewest) == 16);

  // At the start of a sealed block's first page; what else is known of a block is in its own head.
  struct BlockMeta {
    int64_t sealed_at;
    uint32_t serial;  // 0: not a sealed block
    uint32_t ref;
    Place of_state;   // in the list of its state
    Place of_series;  // in that of its series
    uint32_t parcel;
    uint16_t bytes;
    uint8_t start;  // of the block's bytes in the page
    BlockState state : 3;
    uint8_t boot : 2;  // index into boots_
    uint8_t kept : 3;  // see below
    uint8_t root[kDigestBytes];
  };
  // What thinning may do with a block, or has done: kKeptThinned and how many points of it were left as they are.
  static constexpr uint8_t kKeptFresh = 0;
  static constexpr uint8_t kKeptThinned = 1;
  static constexpr uint8_t kKeptWhole = 7;  // others have it, or nothing would be gained
  static_assert(kKeptThinned + kThinFrom - 1 < kKeptWhole && kBootsMax <= 4);
  static constexpr uint64_t kThinnedOrdinalsEnd = (uint64_t{1} << 63) - kBlockPointsMax;
  static_assert(sizeof(BlockMeta) == 72 && sizeof(OpenBlock) <= sizeof(BlockMeta));
  // So the head of a sealed block, which leaves its boot out, lies in the smallest page.
  static_assert(sizeof(BlockMeta) + kBlockHeaderBytesMax - sizeof(uint64_t) <= 128);

  static constexpr size_t round_up(size_t bytes) { return (bytes + 7) & ~size_t{7}; }
  static constexpr size_t fixed_bytes(const SeriesStoreOptions& options) {
    // What the order of points needs lies behind the pages.
    const size_t of_series = sizeof(Series) + (options.reorder != nullptr ? sizeof(BeforeNewest) : 0);
    return round_up(options.series_max * of_series) + round_up(options.gaps_max * sizeof(StoreGap)) +
           round_up(options.block_bytes_max) + thinning_bytes(options);
  }
  // What BlockWriter needs for a block, and some to spare. It lies behind scratch_.
  static constexpr size_t thinning_bytes(const SeriesStoreOptions& options) {
    return options.thinning != nullptr ? round_up(options.block_bytes_max + block_bytes_max(1)) : 0;
  }

  uint8_t* page_at(uint32_t page) const {
    return reinterpret_cast<uint8_t*>(pages_ + size_t{page} * options_.page_bytes);
  }
  uint32_t link(uint32_t page) const { return links_[page] & ~kSealedHead; }
  BlockMeta& meta(uint32_t page) const { return *reinterpret_cast<BlockMeta*>(page_at(page)); }
  // Of a series whose page is not kNone.
  OpenBlock& opened(const Series& series) const { return *reinterpret_cast<OpenBlock*>(page_at(series.page)); }
  Series* series(uint32_t ref) const { return ref - 1 < series_count_ ? &series_[ref - 1] : nullptr; }
  const BlockMeta* sealed(BlockId id) const { return sealed(id.page, id.serial); }
  const BlockMeta* sealed(uint32_t page, uint32_t serial) const;
  BlockCodings codings() const { return kFurtherCodecs ? options_.codings : BlockCodings(); }
  bool holds(Codec codec, ValueType type) const;
  void set_shape(Series* series, const SeriesShape& shape);

  uint32_t take_page(const Series* spared);
  bool make_room(const Series* spared);
  bool drop_oldest_unsafe();
  bool drop(uint32_t page);
  bool seal_largest(const Series* spared);
  size_t give_pages_back(uint32_t page);
  size_t chain_pages(uint32_t page) const;
  void free_block(uint32_t page);
  bool open_block(Series* series, const Point& point);
  bool append_open(const Series* series, const Point& point);
  uint32_t encode(OpenBlock* open, int32_t step, uint64_t bits, uint8_t* out) const;
  void set_root(const uint8_t* bytes, size_t size, BlockMeta* meta);
  bool note_gap(const StoreGap& gap);
  StoreGap& gap_at(uint32_t index);
  using PlaceIn = Place BlockMeta::*;
  void put_behind(uint32_t before, uint32_t page, PlaceIn in, List* list);
  void take_out(uint32_t page, PlaceIn in, List* list);
  void set_state(uint32_t page, BlockState state);
  void move(BlockId id, BlockState state);
  void describe(uint32_t page, SealedBlock* block) const;
  uint32_t ref_of(const Series& series) const { return static_cast<uint32_t>(&series - series_) + 1; }
  BlockInfo info_of(const Series& series) const;
  enum class Way : uint8_t { kOut, kIn };
  uint32_t copy_chain(uint32_t page, size_t start, Way way, uint8_t* bytes, size_t size) const;
  size_t write_open(const Series& series, uint8_t* out, size_t out_bytes, size_t* head_bytes) const;
  bool visit(const uint8_t* bytes, size_t size, uint64_t boot, int64_t from_ms, int64_t to_ms, Visitor visitor,
             void* context) const;
  bool boot_in_use(uint32_t index) const;
  uint32_t boot_index(uint64_t boot);

  // What is small stands first: a small core reaches members near the start with shorter instructions.
  SeriesStoreOptions options_;
  const HashPort* hash_;
  Series* series_ = nullptr;
  StoreGap* gaps_ = nullptr;
  uint8_t* scratch_ = nullptr;  // one whole block
  uint32_t* links_ = nullptr;   // the next page of the chain, and kSealedHead
  uintptr_t pages_ = 0;         // where page 0 would lie, as with links_; that may be before the arena
  size_t page_count_ = 0;
  size_t pages_free_ = 0;
  size_t pages_safe_ = 0;
  uint32_t free_page_ = kNone;
  uint32_t series_count_ = 0;
  uint32_t gap_first_ = 0;  // gaps_ is a ring
  uint32_t gap_count_ = 0;
  uint32_t serial_ = 0;
  uint32_t clock_ = 0;
  uint32_t boot_ = 0;
  int64_t now_ms_ = 0;
  List lists_[3];
  uint64_t boots_[kBootsMax] = {};
  SeriesStoreCounters counters_{};
};

constexpr size_t SeriesStore::arena_bytes(const SeriesStoreOptions& options, size_t pages) {
  return fixed_bytes(options) + round_up(pages * sizeof(uint32_t)) + pages * options.page_bytes;
}

}  // namespace lambda
