// The last ten minutes in RAM: the SDK's series store, with room taken from the heap once, and what queries see of it.
//
// Points come here after the journal has them. Blocks stay until they are in a synced parcel and past their retention;
// when the room is short the oldest go earlier (series_store.h says in which order), and what goes before it is in a
// parcel becomes a gap, reason MEMORY.
//
// Questions: select() copies the encoded blocks that may have an answer, some 1.5 bytes a point, so that cursors need
// nothing of the memory and may be decoded on any thread, also when it has gone on or is gone. What all cursors hold is
// bounded. Everything else is for the loop thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/spool/packer.h"
#include "agent/spool/series_table.h"
#include "lambda/series_store.h"
#include "query/series_source.h"

namespace lambda::agent {

struct MemoryOptions {
  uint64_t bytes_max = 16u << 20;  // address space; pages are used one after the other, so RSS follows what is held
  uint32_t series_max = kSeriesMaxDefault;
  int64_t retention_ms = 600'000;
  uint32_t block_bytes_max = 8192;
  std::string device, site;              // the labels `instance` and `site` of every series
  uint64_t query_bytes_max = 32u << 20;  // of the copies that cursors hold, all together
};

class Memory final : public query::SeriesSource {
 public:
  Memory(MemoryOptions options, uint64_t boot);
  ~Memory() override;

  // The time goes on, in monotonic milliseconds: what is safe and past its retention goes.
  void tick(int64_t mono_ms);
  // A series that was just added to `table`: it has the same ref here, that of one that has ended or a new one.
  void add_series(const SeriesTable& table, SeriesRef ref);
  // A point that the journal has as `ordinal`. What does not fit is lost to memory and parcels: false.
  bool append(SeriesRef ref, uint64_t ordinal, Point point, uint32_t clock);
  // Later points belong to this boot. False, with nothing done: points of too many boots are held still.
  bool begin_boot(uint64_t boot);
  // Nothing of the series is held, and it had no point for longer than retention.
  bool has_ended(SeriesRef ref) const;
  // For queries: where names and labels are.
  void set_table(std::shared_ptr<SeriesTable> table) { table_ = std::move(table); }

  SeriesStore& store() { return *store_; }
  const SeriesStore& store() const { return *store_; }
  uint64_t points_refused() const { return points_refused_; }
  // Room is short: what is in no parcel takes three quarters of it and should go into parcels now. What is safe does
  // not count, however full the memory is: else each point would become a block once ten minutes do not fit.
  bool wants_round() const { return (store_->pages_free() + store_->pages_safe()) * 4 < store_->pages(); }

  // kFull also when the answer lies in more than `query_bytes_max`; kUnavailable when that is so only because of other
  // questions.
  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;
  Result<query::Selection> list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                uint64_t series_max) override;
  uint64_t query_bytes() const { return held_->load(std::memory_order_relaxed); }

 private:
  Result<query::Selection> find_series(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                       uint64_t series_max, bool labels_only);
  bool has_points(SeriesRef ref, int64_t from_ms, int64_t to_ms) const;
  Result<std::unique_ptr<query::SeriesCursor>> snapshot(SeriesRef ref, int64_t from_ms, int64_t to_ms, uint64_t* taken);
  const MemoryOptions options_;
  struct Room;
  std::unique_ptr<Room> room_;
  std::unique_ptr<SeriesStore> store_;
  std::shared_ptr<SeriesTable> table_;
  std::shared_ptr<std::atomic<uint64_t>> held_ = std::make_shared<std::atomic<uint64_t>>(0);  // bytes, by cursors
  std::vector<uint8_t> scratch_;                                                              // one block
  std::vector<uint32_t> last_s_;  // by ref: when it was added or had its last point
  uint32_t now_s_ = 0;
  uint32_t clock_ = 0;
  uint64_t points_refused_ = 0;
};

// Blocks of one boot that are in no parcel yet, in the order of sealing.
class MemoryFeed final : public BlockFeed {
 public:
  MemoryFeed(SeriesStore& store, uint64_t boot) : store_(store), boot_(boot) { go(); }
  bool peek(BlockHead* head) override;
  void take() override;
  bool copy(const BlockHead& head, std::span<uint8_t> out) override { return store_.copy(head.id, out) == out.size(); }

 private:
  void go();
  SeriesStore& store_;
  const uint64_t boot_;
  SealedBlock block_;
  BlockId last_;
  bool more_ = false;
};

// What a point's bits are as a number.
double point_value(ValueType type, uint8_t scale, uint64_t bits);

}  // namespace lambda::agent
