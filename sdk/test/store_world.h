// A series store with memory of its own, and its blocks as points.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lambda/series_store.h"
#include "port/posix/posix_port.h"

namespace lambda::test {

inline constexpr size_t kBig = 4'000;  // pages: more than any test here needs

struct Arena {
  explicit Arena(const SeriesStoreOptions& options, size_t pages)
      : words(SeriesStore::arena_bytes(options, pages) / 8 + 1) {}
  std::span<uint8_t> span(const SeriesStoreOptions& options, size_t pages) {
    return {reinterpret_cast<uint8_t*>(words.data()), SeriesStore::arena_bytes(options, pages)};
  }
  std::vector<uint64_t> words;
};

struct StoreWorld {
  explicit StoreWorld(const SeriesStoreOptions& given, size_t pages = kBig)
      : options(given), arena(given, pages), store(arena.span(given, pages), given, posix_hash(), 1) {}
  SeriesStoreOptions options;
  Arena arena;
  SeriesStore store;

  uint32_t add(ValueType type = ValueType::kF64, uint8_t scale = 0, uint32_t tick = 1) {
    uint32_t ref = 0;
    EXPECT_TRUE(store.add({type, scale, tick}, &ref));
    return ref;
  }
  std::vector<SealedBlock> blocks(BlockState state) const {
    std::vector<SealedBlock> found;
    SealedBlock block;
    for (bool more = store.first(state, &block); more; more = store.next(state, block.id, &block))
      found.push_back(block);
    return found;
  }
  std::vector<Point> decoded(BlockId id) const {
    std::vector<uint8_t> bytes(options.block_bytes_max);
    bytes.resize(store.copy(id, bytes));
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, 1, &info, points, kAllCodings);
    EXPECT_TRUE(status.ok()) << block_error_name(status.error);
    points.resize(info.count);
    return points;
  }
  std::vector<Point> read(uint32_t ref, int64_t from = INT64_MIN, int64_t to = INT64_MAX) const {
    std::vector<Point> points;
    EXPECT_TRUE(store.read(
        ref, from, to,
        [](void* context, uint64_t, uint64_t, Point point) {
          static_cast<std::vector<Point>*>(context)->push_back(point);
        },
        &points));
    return points;
  }
};

}  // namespace lambda::test
