#include "lambda/reorder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "lambda/codecs.h"
#include "lambda/series_store.h"
#include "store_world.h"

namespace lambda {
namespace {

// Other codecs need to be named; all types are tried in all that hold them.
struct Kind {
  ValueType type;
  Codec codec;
};
constexpr Kind kKinds[] = {{ValueType::kF64, Codec::kXor64},    {ValueType::kF32, Codec::kXor32},
                           {ValueType::kI64, Codec::kDelta64},  {ValueType::kI64, Codec::kSlope64},
                           {ValueType::kState, Codec::kRuns64}, {ValueType::kDec, Codec::kDelta64}};

struct Store : test::StoreWorld {
  Store(const SeriesStoreOptions& given, size_t pages, const Kind& kind, uint32_t tick_ms = 1)
      : StoreWorld(given, pages), ref(add(kind.type, kind.type == ValueType::kDec ? 1 : 0, tick_ms)) {
    EXPECT_TRUE(store.write_in(ref, kind.codec));
  }
  Appended append(Point point) { return store.append(ref, point); }
  std::vector<std::vector<uint8_t>> blocks() const {
    std::vector<std::vector<uint8_t>> all;
    SealedBlock block;
    for (bool more = store.first_of(ref, &block); more; more = store.next_of(block.id, &block)) {
      all.emplace_back(options.block_bytes_max);
      all.back().resize(store.copy(block.id, all.back()));
    }
    return all;
  }
  std::vector<Point> read() const { return StoreWorld::read(ref); }
  const uint32_t ref;
};

SeriesStoreOptions options_of(uint32_t page_bytes, uint32_t block_bytes_max) {
  return {.series_max = 1,
          .page_bytes = page_bytes,
          .block_bytes_max = block_bytes_max,
          .codings = kAllCodings,
          .reorder = &kReorderByOne};
}

SeriesStoreOptions without(SeriesStoreOptions options) {
  options.reorder = nullptr;
  return options;
}

// Points in order, steps mostly even, values that mostly move a little.
class Points {
 public:
  Points(std::mt19937_64* random, const Kind& kind, uint32_t tick_ms)
      : random_(*random), kind_(kind), tick_(tick_ms), time_(static_cast<int64_t>(random_() % 1'000'000)) {}
  Point next() {
    const uint64_t drawn = random_() % 10;
    time_ += static_cast<int64_t>(tick_) * static_cast<int64_t>(drawn < 7 ? 1'000 / tick_ : 1 + random_() % 400);
    const bool moves = kind_.type != ValueType::kState || random_() % 20 == 0;
    if (moves) value_ = random_() % 50 == 0 ? random_() : value_ + random_() % 31 - 15;
    return {time_, kind_.type == ValueType::kF32 ? value_ & 0xFFFFFFFF : value_};
  }

 private:
  std::mt19937_64& random_;
  Kind kind_;
  uint32_t tick_;
  int64_t time_;
  uint64_t value_ = 100;
};

// The same points, where some come before up to three that they should follow.
std::vector<Point> with_some_early(const std::vector<Point>& sorted, std::mt19937_64* random) {
  std::vector<Point> out = sorted;
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t by = (*random)() % 3 == 0 ? 1 + (*random)() % 3 : 0;
    if (by == 0 || i + by >= out.size()) continue;
    std::rotate(out.begin() + static_cast<ptrdiff_t>(i), out.begin() + static_cast<ptrdiff_t>(i + by),
                out.begin() + static_cast<ptrdiff_t>(i + by + 1));
    i += by;
  }
  return out;
}

TEST(Reorder, APointLateByOneGoesBeforeTheNewestAndHasItsOrdinal) {
  Store with(options_of(128, 512), 100, kKinds[2]);
  for (const int64_t time : {1, 3})
    ASSERT_EQ(with.append({time, static_cast<uint64_t>(time)}).result, StoreResult::kOk);
  EXPECT_EQ(with.append({2, 2}).ordinal, 1u);
  uint64_t ordinal = 0;
  Point last;
  ASSERT_TRUE(with.store.last(with.ref, &ordinal, &last));
  EXPECT_EQ(ordinal, 2u);
  EXPECT_EQ(last, (Point{3, 3}));
  EXPECT_EQ(with.append({4, 4}).ordinal, 3u);
  EXPECT_EQ(with.read(), (std::vector<Point>{{1, 1}, {2, 2}, {3, 3}, {4, 4}}));
  EXPECT_EQ(with.store.counters().points, 4u);
  BlockInfo info;
  ASSERT_TRUE(with.store.open_info(with.ref, &info));
  EXPECT_FALSE(info.unordered);
}

TEST(Reorder, OneThatIsLaterGoesBehindAsWithoutIt) {
  for (const std::vector<int64_t>& times : {std::vector<int64_t>{1'000, 2'000, 3'000, 1'500, 4'000},
                                            {1'000, 2'000, 2'000, 2'000},
                                            {1'000, 700'000, 650'000, 30'000, 720'000},
                                            {5'000, 1'000'000, 5'000, 5'001},
                                            {3'000, 2'999, 2'999, 3'000}}) {
    Store with(options_of(128, 512), 100, kKinds[2]), plain(without(options_of(128, 512)), 100, kKinds[2]);
    std::vector<Point> expected;
    for (const int64_t time : times) {
      const Point point{time, static_cast<uint64_t>(time) / 7};
      ASSERT_EQ(with.append(point).result, StoreResult::kOk);
      ASSERT_EQ(plain.append(point).result, StoreResult::kOk);
    }
    // Whatever became of the order, they are the same points in as many blocks at most.
    std::vector<Point> one = with.read(), other = plain.read();
    const auto by_time = [](const Point& a, const Point& b) { return a.time_ms < b.time_ms; };
    std::stable_sort(one.begin(), one.end(), by_time);
    std::stable_sort(other.begin(), other.end(), by_time);
    EXPECT_EQ(one, other);
    with.store.seal_all();
    plain.store.seal_all();
    EXPECT_LE(with.blocks().size(), plain.blocks().size());
  }
  Store with(options_of(128, 512), 100, kKinds[2]), plain(without(options_of(128, 512)), 100, kKinds[2]);
  for (const int64_t time : {1'000, 2'000, 3'000, 1'500, 4'000}) {
    ASSERT_EQ(with.append({time, 1}).ordinal, plain.append({time, 1}).ordinal);
  }
  with.store.seal_all();
  plain.store.seal_all();
  EXPECT_EQ(with.blocks(), plain.blocks()) << "1,500 is late by two";
}

TEST(Reorder, WhatWasReadKeepsItsOrdinal) {
  Store with(options_of(128, 512), 100, kKinds[0]);
  for (const int64_t time : {1, 5})
    ASSERT_EQ(with.append({time, static_cast<uint64_t>(time)}).result, StoreResult::kOk);
  EXPECT_EQ(with.read().size(), 2u);
  EXPECT_EQ(with.append({3, 3}).ordinal, 2u) << "5 was read as the second";
  EXPECT_EQ(with.append({7, 7}).ordinal, 3u);
  EXPECT_EQ(with.append({6, 6}).ordinal, 3u) << "7 was not read";
  EXPECT_EQ(with.read(), (std::vector<Point>{{1, 1}, {5, 5}, {3, 3}, {6, 6}, {7, 7}}));
}

TEST(Reorder, TheSecondPointOfABlockMayComeBeforeTheFirst) {
  Store with(options_of(128, 512), 100, kKinds[0]);
  with.store.tick(10'000);
  ASSERT_EQ(with.append({9, 9}).result, StoreResult::kOk);
  with.store.tick(20'000);
  EXPECT_EQ(with.append({-8, 8}).ordinal, 0u);
  EXPECT_EQ(with.append({2, 2}).ordinal, 1u);
  EXPECT_EQ(with.read(), (std::vector<Point>{{-8, 8}, {2, 2}, {9, 9}}));
  EXPECT_EQ(with.store.tick(30'000), 70'000) << "it is as old as its oldest point";
  with.store.seal_all();
  ASSERT_EQ(with.append({12, 12}).ordinal, 3u);
  EXPECT_EQ(with.append({11, 11}).ordinal, 3u);
  EXPECT_EQ(with.append({1, 1}).ordinal, 5u) << "late by two";
}

TEST(Reorder, SixteenBytesASeriesWhereItIsNamedAndNothingElsewhere) {
  for (const Reorder* reorder : {static_cast<const Reorder*>(nullptr), &kReorderByOne}) {
    const SeriesStoreOptions one{.series_max = 2, .reorder = reorder}, many{.series_max = 1'002, .reorder = reorder};
    EXPECT_EQ(SeriesStore::arena_bytes(many, 2) - SeriesStore::arena_bytes(one, 2),
              reorder != nullptr ? 56'000u : 40'000u);
  }
}

// Shuffled within the slot, whatever the type, codec, tick and pages: byte for byte the blocks of the sorted stream.
TEST(ReorderModel, BlocksOfAShuffledStreamAreThoseOfTheSortedOne) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const Kind kind = kKinds[random() % std::size(kKinds)];
    const uint32_t tick = random() % 3 == 0 ? 10 : 1;
    const uint32_t page = 128 + 8 * static_cast<uint32_t>(random() % 20);
    const SeriesStoreOptions options = options_of(page, 16'384);
    Store with(options, 4'000, kind, tick), sorted(without(options), 4'000, kind, tick);
    Points source(&random, kind, tick);
    for (int round = 0; round < 12; ++round) {
      std::vector<Point> points(1 + random() % 80);
      for (Point& point : points) point = source.next();
      for (const Point& point : points) ASSERT_EQ(sorted.append(point).result, StoreResult::kOk);
      for (const Point& point : with_some_early(points, &random))
        ASSERT_EQ(with.append(point).result, StoreResult::kOk);
      if (random() % 2 == 0 || round % 3 == 2) {  // within what a block takes
        with.store.seal_all();
        sorted.store.seal_all();
      } else {
        ASSERT_EQ(with.read(), sorted.read());
      }
    }
    with.store.seal_all();
    sorted.store.seal_all();
    ASSERT_EQ(with.blocks(), sorted.blocks());
    EXPECT_EQ(with.store.counters().points, sorted.store.counters().points);
  }
}

// Whatever the order, the moments of reading and the memory: every point that was taken is in one place, under an
// ordinal that nothing else has, and under the one that anybody was shown.
TEST(ReorderModel, NoPointIsLostOrDoubledAndWhatWasShownStays) {
  uint64_t dropped = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const Kind kind = kKinds[random() % std::size(kKinds)];
    const uint32_t tick = random() % 3 == 0 ? 10 : 1;
    const bool is_short = random() % 2 == 0;
    SeriesStoreOptions options = options_of(128 + 8 * static_cast<uint32_t>(random() % 8), 256);
    options.gaps_max = 1 + static_cast<uint32_t>(random() % 3);
    Store with(options, is_short ? 2 + random() % 8 : 4'000, kind, tick);
    std::map<uint64_t, Point> shown;
    std::multiset<std::pair<int64_t, uint64_t>> made;
    const auto show = [&] {
      ASSERT_TRUE(with.store.read(
          with.ref, INT64_MIN, INT64_MAX,
          [](void* context, uint64_t, uint64_t ordinal, Point point) {
            const auto [at, fresh] = static_cast<std::map<uint64_t, Point>*>(context)->try_emplace(ordinal, point);
            ASSERT_EQ(at->second, point) << "ordinal " << ordinal << " was another point";
          },
          &shown));
    };
    Points source(&random, kind, tick);
    std::vector<Point> coming;
    for (int i = 0; i < 600; ++i) coming.push_back(source.next());
    coming = with_some_early(coming, &random);
    for (int i = 0; i < 60; ++i) std::swap(coming[random() % 600], coming[random() % 600]);
    uint64_t taken = 0;
    for (const Point& point : coming) {
      const Appended appended = with.append(point);
      if (appended.result == StoreResult::kOk) {
        ++taken;
        made.emplace(point.time_ms, point.bits);
        ASSERT_EQ(with.store.next_ordinal(with.ref), taken);
        uint64_t ordinal = 0;
        Point last;
        ASSERT_TRUE(with.store.last(with.ref, &ordinal, &last));
        ASSERT_EQ(ordinal, taken - 1);
        ASSERT_TRUE(appended.ordinal == ordinal || appended.ordinal == ordinal - 1);
      }
      const uint64_t what = random() % 60;
      if (what < 6) show();
      if (what == 6) with.store.seal_all();
      SealedBlock block;
      if (what == 7 && with.store.first(BlockState::kLoose, &block)) with.store.safe(block.id);
      ASSERT_FALSE(testing::Test::HasFailure());
    }
    with.store.seal_all();
    show();
    if (!is_short) {
      ASSERT_EQ(shown.size(), taken);
      std::multiset<std::pair<int64_t, uint64_t>> stored;
      for (const auto& [ordinal, point] : shown) stored.emplace(point.time_ms, point.bits);
      ASSERT_EQ(stored, made);
    }
    dropped += with.store.counters().points_dropped;
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(dropped, 1'000u);
}

// What it is for: a sensor in tenths each second, of whose points some change places.
TEST(Reorder, AShuffledStreamTakesNoMoreThanTheSortedOne) {
  for (const uint64_t per_cent : {1u, 5u, 20u}) {
    std::mt19937_64 random(per_cent);
    std::vector<Point> points;
    uint64_t value = 2'000;
    for (int64_t i = 0; i < 600; ++i) points.push_back({i * 1'000, value += random() % 7 - 3});
    std::vector<Point> shuffled = points;
    for (size_t i = 0; i + 1 < shuffled.size(); ++i) {
      if (random() % 100 < per_cent) std::swap(shuffled[i], shuffled[i + 1]), ++i;
    }
    const SeriesStoreOptions options = options_of(128, 8'192);
    Store with(options, 1'000, kKinds[5]), plain(without(options), 1'000, kKinds[5]);
    Store sorted(without(options), 1'000, kKinds[5]);
    for (const Point& point : points) ASSERT_EQ(sorted.append(point).result, StoreResult::kOk);
    for (const Point& point : shuffled) {
      ASSERT_EQ(with.append(point).result, StoreResult::kOk);
      ASSERT_EQ(plain.append(point).result, StoreResult::kOk);
    }
    for (Store* store : {&with, &plain, &sorted}) store->store.seal_all();
    EXPECT_EQ(with.blocks(), sorted.blocks());
    const auto bytes = [](const Store& store) {
      size_t all = 0;
      for (const auto& block : store.blocks()) all += block.size();
      return all;
    };
    EXPECT_LT(bytes(with), bytes(plain));
    std::printf("%2d %% late by one: %zu blocks, %zu bytes; without the slot %zu blocks, %zu bytes\n",
                static_cast<int>(per_cent), with.blocks().size(), bytes(with), plain.blocks().size(), bytes(plain));
  }
}

}  // namespace
}  // namespace lambda
