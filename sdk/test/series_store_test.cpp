#include "lambda/series_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>
#include <set>
#include <vector>

#include "store_world.h"

namespace lambda {
namespace {

using test::Arena;
using test::kBig;
using World = test::StoreWorld;

uint64_t bits_of(double value) {
  return std::bit_cast<uint64_t>(value);
}

TEST(SeriesStore, GivesRefsFromOneAndOrdinalsFromZero) {
  World world({.series_max = 2});
  EXPECT_EQ(world.add(), 1u);
  EXPECT_EQ(world.add(ValueType::kDec, 2, 100), 2u);
  uint32_t ref;
  EXPECT_FALSE(world.store.add({}, &ref));
  for (uint64_t i = 0; i < 5; ++i) {
    const Appended appended = world.store.append(2, {static_cast<int64_t>(i) * 100, i});
    EXPECT_EQ(appended.result, StoreResult::kOk);
    EXPECT_EQ(appended.ordinal, i);
  }
  EXPECT_EQ(world.store.append(3, {0, 0}).result, StoreResult::kNoSeries);
  EXPECT_EQ(world.store.append(0, {0, 0}).result, StoreResult::kNoSeries);
  EXPECT_EQ(world.store.next_ordinal(2), 5u);
  SeriesShape shape;
  ASSERT_TRUE(world.store.shape(2, &shape));
  EXPECT_EQ(shape.type, ValueType::kDec);
  EXPECT_EQ(shape.scale, 2);
  EXPECT_EQ(shape.tick_ms, 100u);
}

TEST(SeriesStore, ReadsOpenAndSealedPointsOfARange) {
  World world({.series_max = 1});
  const uint32_t ref = world.add();
  for (int64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(world.store.append(ref, {i * 1000, bits_of(0.1 * static_cast<double>(i))}).result, StoreResult::kOk);
    if (i % 30 == 29) world.store.seal(ref);
  }
  const auto points = world.read(ref, 25'000, 95'000);
  ASSERT_EQ(points.size(), 71u);
  EXPECT_EQ(points.front(), (Point{25'000, bits_of(0.1 * 25)}));
  EXPECT_EQ(points.back(), (Point{95'000, bits_of(0.1 * 95)}));
  EXPECT_TRUE(world.read(ref, 100'000, 200'000).empty());
}

TEST(SeriesStore, SealsByAgeAtTheTickAndSaysWhenToCallAgain) {
  World world({.series_max = 2, .seal_age_ms = 60'000});
  const uint32_t ref = world.add();
  EXPECT_EQ(world.store.tick(1'000), 61'000);
  ASSERT_EQ(world.store.append(ref, {5, 1}).result, StoreResult::kOk);
  EXPECT_EQ(world.store.tick(40'000), 61'000);
  EXPECT_TRUE(world.blocks(BlockState::kLoose).empty());
  world.store.tick(61'000);
  EXPECT_EQ(world.blocks(BlockState::kLoose).size(), 1u);
}

TEST(SeriesStore, KeepsASafeBlockForItsRetentionAndAnUnsafeOneForEver) {
  World world({.series_max = 2, .retention_ms = 600'000});
  const uint32_t safe = world.add();
  const uint32_t unsafe = world.add();
  world.store.tick(1'000);
  ASSERT_EQ(world.store.append(safe, {5, 1}).result, StoreResult::kOk);
  ASSERT_EQ(world.store.append(unsafe, {5, 1}).result, StoreResult::kOk);
  world.store.seal_all();
  world.store.safe(world.blocks(BlockState::kLoose)[0].id);
  world.store.tick(600'999);
  EXPECT_EQ(world.read(safe).size(), 1u);
  world.store.tick(601'000);
  EXPECT_EQ(world.read(safe).size(), 0u);
  world.store.tick(100'000'000);
  EXPECT_EQ(world.read(unsafe).size(), 1u);
  EXPECT_EQ(world.store.counters().blocks_expired, 1u);
}

TEST(SeriesStore, ASealedBlockCarriesItsBootClockAndContentRoot) {
  World world({.series_max = 1});
  const uint32_t ref = world.add(ValueType::kI64);
  ContentRoot root(posix_hash());
  world.store.set_clock(4);
  for (uint64_t i = 0; i < 200; ++i) {
    const Point point{static_cast<int64_t>(i * 7), i * i};
    ASSERT_EQ(world.store.append(ref, point).result, StoreResult::kOk);
    root.add(point);
  }
  world.store.set_clock(5);
  uint8_t expected[kDigestBytes];
  root.finish(expected);
  const auto blocks = world.blocks(BlockState::kLoose);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(std::vector<uint8_t>(blocks[0].root, blocks[0].root + 32), std::vector<uint8_t>(expected, expected + 32));
  EXPECT_EQ(blocks[0].info.clock, 4u);
  EXPECT_EQ(blocks[0].info.boot, 1u);
  EXPECT_FALSE(blocks[0].info.has_boot);
  ASSERT_EQ(world.store.append(ref, {0, 0}).result, StoreResult::kOk);
  BlockInfo open;
  ASSERT_TRUE(world.store.open_info(ref, &open));
  EXPECT_EQ(open.clock, 5u);
  EXPECT_EQ(open.first_ordinal, 200u);
}

TEST(SeriesStore, TheBytesOfAnOpenBlockAreThoseItWouldBeSealedWith) {
  World world({.series_max = 1, .page_bytes = 128});
  const uint32_t ref = world.add();
  std::mt19937_64 random(3);
  std::vector<uint8_t> open(world.options.block_bytes_max);
  for (int64_t i = 0; i < 300; ++i) {
    ASSERT_EQ(world.store.append(ref, {i * 1000 + static_cast<int64_t>(random() % 3), random()}).result,
              StoreResult::kOk);
    open.resize(world.options.block_bytes_max);
    open.resize(world.store.copy_open(ref, open));
  }
  world.store.seal(ref);
  const auto blocks = world.blocks(BlockState::kLoose);
  std::vector<uint8_t> sealed(world.options.block_bytes_max);
  sealed.resize(world.store.copy(blocks.back().id, sealed));
  EXPECT_EQ(sealed, open);
  EXPECT_EQ(world.store.copy_open(ref, open), 0u);
  std::vector<uint8_t> short_of_one(sealed.size() - 1);
  EXPECT_EQ(world.store.copy(blocks.back().id, short_of_one), 0u);
}

TEST(SeriesStore, ABlockThatIsGoneIsNotFoundEvenWhenItsPageIsUsedAgain) {
  World world({.series_max = 1}, 2);
  const uint32_t ref = world.add();
  ASSERT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOk);
  world.store.seal(ref);
  const BlockId gone = world.blocks(BlockState::kLoose)[0].id;
  world.store.safe(gone);
  world.store.tick(10'000'000);
  SealedBlock block;
  EXPECT_FALSE(world.store.find(gone, &block));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(world.store.append(ref, {2, 2}).result, StoreResult::kOk);
    EXPECT_FALSE(world.store.find(gone, &block));
    world.store.seal(ref);
    EXPECT_FALSE(world.store.find(gone, &block));
  }
  world.store.safe(gone);  // ignored
  EXPECT_TRUE(world.blocks(BlockState::kSafe).empty());
}

TEST(SeriesStore, ABlockWhoseMemoryWasOverwrittenDoesNotReadBack) {
  const SeriesStoreOptions options{.series_max = 1, .page_bytes = 4096};
  World world(options, 4);
  const uint32_t ref = world.add(ValueType::kDec, 2);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(world.store.append(ref, {1'700'000'000'000 + i * 1'000, bits_of(i)}).result, StoreResult::kOk);
  }
  world.store.seal(ref);
  const SealedBlock block = world.blocks(BlockState::kLoose).at(0);
  std::vector<uint8_t> bytes(block.bytes);
  ASSERT_EQ(world.store.copy(block.id, bytes), bytes.size());
  const std::span<uint8_t> memory = world.arena.span(options, 4);
  const auto at = std::find_end(memory.begin(), memory.end(), bytes.begin(), bytes.end());  // behind the scratch block
  ASSERT_NE(at, memory.end());
  const auto reads = [&] {
    return world.store.read(
        ref, INT64_MIN, INT64_MAX, [](void*, uint64_t, uint64_t, Point) {}, nullptr);
  };
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const uint8_t other : {0x00, 0x7F, 0x80, 0xFF}) {
      at[static_cast<ptrdiff_t>(i)] = other;
      EXPECT_EQ(reads(), other == bytes[i]) << i;
    }
    at[static_cast<ptrdiff_t>(i)] = bytes[i];
  }
  EXPECT_EQ(world.read(ref).size(), 100u);
}

TEST(SeriesStore, WhenMemoryIsShortSafeBlocksGoFirstAndLeaveNoGap) {
  World world({.series_max = 1, .page_bytes = 128, .retention_ms = 600'000}, 8);
  const uint32_t ref = world.add();
  for (int64_t i = 0; i < 50; ++i) {
    ASSERT_EQ(world.store.append(ref, {i, static_cast<uint64_t>(i)}).result, StoreResult::kOk);
    world.store.seal(ref);
    world.store.safe(world.blocks(BlockState::kLoose)[0].id);
  }
  EXPECT_EQ(world.store.gap_count(), 0u);
  EXPECT_EQ(world.store.counters().blocks_evicted, 42u);
  EXPECT_EQ(world.read(ref).front().time_ms, 42);
}

TEST(SeriesStore, WhenNothingIsSafeTheOldestGoesAndTheGapSaysExactlyWhat) {
  World world({.series_max = 2, .page_bytes = 128}, 8);
  const uint32_t a = world.add();
  const uint32_t b = world.add();
  for (int64_t i = 0; i < 20; ++i) {
    for (uint32_t ref : {a, b}) {
      ASSERT_EQ(world.store.append(ref, {i, 1}).result, StoreResult::kOk);
      ASSERT_EQ(world.store.append(ref, {i, 1}).result, StoreResult::kOk);
      world.store.seal(ref);
    }
  }
  StoreGap gap;
  ASSERT_TRUE(world.store.take_gap(&gap));
  EXPECT_EQ(gap, (StoreGap{1, a, 0, 32}));
  ASSERT_TRUE(world.store.take_gap(&gap));
  EXPECT_EQ(gap, (StoreGap{1, b, 0, 32}));
  EXPECT_FALSE(world.store.take_gap(&gap));
  EXPECT_EQ(world.store.counters().points_dropped, 64u);
}

TEST(SeriesStore, AFullListOfGapsTakesNoPointRatherThanLosingOneSilently) {
  World world({.series_max = 3, .gaps_max = 1, .page_bytes = 128}, 3);
  for (int i = 0; i < 3; ++i) world.add();
  for (uint32_t ref = 1; ref <= 3; ++ref) {
    ASSERT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOk);
    world.store.seal(ref);
  }
  ASSERT_EQ(world.store.append(1, {2, 1}).result, StoreResult::kOk);  // drops ref 1's first: the one gap
  world.store.seal(1);
  EXPECT_EQ(world.store.append(2, {2, 1}).result, StoreResult::kOk);  // drops what joins it: ref 1's second
  EXPECT_EQ(world.store.append(1, {3, 1}).result, StoreResult::kNoMemory);
  EXPECT_EQ(world.store.next_ordinal(1), 2u);  // what was not taken has no ordinal
  EXPECT_EQ(world.store.counters().points_refused, 1u);
  EXPECT_GE(world.store.counters().gaps_full, 1u);
  StoreGap gap;
  ASSERT_TRUE(world.store.take_gap(&gap));
  EXPECT_EQ(gap, (StoreGap{1, 1, 0, 2}));
  EXPECT_EQ(world.store.append(1, {3, 1}).result, StoreResult::kOk);
}

TEST(SeriesStore, ResumeGoesOnAtTheGivenOrdinalAndNeverBack) {
  World world({.series_max = 1});
  const uint32_t ref = world.add();
  EXPECT_TRUE(world.store.resume(ref, 1'000));
  EXPECT_EQ(world.store.append(ref, {1, 1}).ordinal, 1'000u);
  EXPECT_FALSE(world.store.resume(ref, 1'000));
  EXPECT_TRUE(world.store.resume(ref, (uint64_t{1} << 63) - 1));
  EXPECT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOk);
  EXPECT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOrdinals);
  world.store.seal_all();
  EXPECT_EQ(world.blocks(BlockState::kLoose).back().info.first_ordinal, (uint64_t{1} << 63) - 1);
}

TEST(SeriesStore, ANewBootBeginsAtOrdinalZeroWhileTheOldOneIsStillHeld) {
  World world({.series_max = 1});
  const uint32_t ref = world.add();
  for (uint64_t boot = 1; boot <= SeriesStore::kBootsMax; ++boot) {
    ASSERT_TRUE(boot == 1 || world.store.new_boot(boot));
    EXPECT_EQ(world.store.append(ref, {static_cast<int64_t>(boot), 1}).ordinal, 0u);
  }
  EXPECT_FALSE(world.store.new_boot(99));
  EXPECT_EQ(world.store.boot(), SeriesStore::kBootsMax);
  const auto blocks = world.blocks(BlockState::kLoose);
  ASSERT_EQ(blocks.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(blocks[i].info.boot, i + 1);
  world.store.safe(blocks[0].id);
  world.store.tick(10'000'000);
  EXPECT_TRUE(world.store.new_boot(99));
}

TEST(SeriesStore, AnotherSeriesMayTakeThePlaceOfOneOfWhichNothingIsLeft) {
  World world({.series_max = 1});
  const uint32_t ref = world.add(ValueType::kF64);
  const SeriesShape other{ValueType::kDec, 3, 1};
  EXPECT_FALSE(world.store.replace(ref + 1, other)) << "there is no such series";
  EXPECT_EQ(world.store.append(ref, {1, 1}).ordinal, 0u);
  EXPECT_FALSE(world.store.replace(ref, other)) << "its block is open";
  ASSERT_TRUE(world.store.new_boot(2));
  EXPECT_FALSE(world.store.replace(ref, other)) << "a block of the boot before is held";
  world.store.safe(world.blocks(BlockState::kLoose).front().id);
  world.store.tick(10'000'000);
  ASSERT_TRUE(world.store.resume(ref, 1));
  EXPECT_FALSE(world.store.replace(ref, other)) << "it has an ordinal in this boot";
  ASSERT_TRUE(world.store.new_boot(3));
  ASSERT_TRUE(world.store.replace(ref, other));
  SeriesShape shape;
  ASSERT_TRUE(world.store.shape(ref, &shape));
  EXPECT_EQ(shape.type, ValueType::kDec);
  EXPECT_EQ(shape.scale, 3);
  EXPECT_EQ(world.store.append(ref, {2, 1'234}).ordinal, 0u);
  world.store.seal_all();
  ASSERT_EQ(world.blocks(BlockState::kLoose).size(), 1u);
  EXPECT_EQ(world.blocks(BlockState::kLoose)[0].info.type, ValueType::kDec);
  EXPECT_EQ(world.read(ref).front().bits, 1'234u);
}

TEST(SeriesStore, TheLastPointIsKnownWhateverBecameOfItsBlock) {
  for (const ValueType type : {ValueType::kF64, ValueType::kF32, ValueType::kI64, ValueType::kState}) {
    SeriesStoreOptions options{.series_max = 1, .gaps_max = 1, .page_bytes = 128, .codings = kAllCodings};
    World world(options, 2);
    const uint32_t ref = world.add(type);
    const bool further = type == ValueType::kI64 || type == ValueType::kState;
    ASSERT_TRUE(!further || world.store.write_in(ref, type == ValueType::kI64 ? Codec::kSlope64 : Codec::kRuns64));
    uint64_t ordinal = 99;
    Point last;
    const auto expect_last = [&](uint64_t expected_ordinal, Point expected) {
      ASSERT_TRUE(world.store.last(ref, &ordinal, &last));
      EXPECT_EQ(ordinal, expected_ordinal);
      EXPECT_EQ(last, expected);
    };
    EXPECT_FALSE(world.store.last(ref, &ordinal, &last));
    EXPECT_FALSE(world.store.last(ref + 1, &ordinal, &last));
    for (uint64_t i = 0; i < 3; ++i) {
      ASSERT_EQ(world.store.append(ref, {static_cast<int64_t>(i) * 7, 50 + i * i}).result, StoreResult::kOk);
      expect_last(i, {static_cast<int64_t>(i) * 7, 50 + i * i});
    }
    world.store.seal(ref);
    expect_last(2, {14, 54});
    world.store.safe(world.blocks(BlockState::kLoose).front().id);
    world.store.tick(10'000'000);
    expect_last(2, {14, 54});
    for (uint64_t boot = 2; boot < 5; ++boot) {
      ASSERT_TRUE(world.store.new_boot(boot));
      expect_last(2, {14, 54});
      EXPECT_EQ(world.store.next_ordinal(ref), 0u);
    }
    EXPECT_EQ(world.store.append(ref, {-5, 1}).ordinal, 0u);
    expect_last(0, {-5, 1});
    world.store.seal(ref);
    ASSERT_TRUE(world.store.new_boot(5));
    expect_last(0, {-5, 1});
    world.store.safe(world.blocks(BlockState::kLoose).front().id);
    world.store.tick(20'000'000);
    ASSERT_TRUE(world.store.replace(ref, {type, 0, 1}));
    EXPECT_FALSE(world.store.last(ref, &ordinal, &last)) << "it is another series";
  }
}

TEST(SeriesStore, APointThatWasNotTakenIsNotTheLastOne) {
  World world({.series_max = 3, .gaps_max = 1, .page_bytes = 128}, 2);
  for (uint32_t ref = 1; ref <= 3; ++ref) {
    world.add();
    ASSERT_EQ(world.store.append(ref, {1, ref}).result, StoreResult::kOk);  // the third drops the first: the one gap
    world.store.seal(ref);
  }
  for (uint64_t boot = 1; boot <= 2; ++boot) {
    ASSERT_TRUE(boot == 1 || world.store.new_boot(boot));
    ASSERT_EQ(world.store.append(2, {2, 8}).result, StoreResult::kNoMemory);
    uint64_t ordinal = 99;
    Point last;
    ASSERT_TRUE(world.store.last(2, &ordinal, &last));
    EXPECT_EQ(ordinal, 0u);
    EXPECT_EQ(last, (Point{1, 2}));
  }
}

TEST(SeriesStore, TimesThatAreFurtherApartThanATimeCanSayShareNoBlock) {
  const int64_t ends[] = {INT64_MIN,
                          INT64_MAX,
                          INT64_MIN + 1,
                          INT64_MAX - 1,
                          0,
                          -1,
                          kBlockSpanMsMax,
                          -1 - kBlockSpanMsMax,
                          INT64_MIN + kBlockSpanMsMax,
                          INT64_MAX - kBlockSpanMsMax};
  for (const int64_t first : ends) {
    for (const int64_t second : ends) {
      World world({.series_max = 1});
      const uint32_t ref = world.add(ValueType::kI64);
      ASSERT_EQ(world.store.append(ref, {first, 1}).result, StoreResult::kOk);
      ASSERT_EQ(world.store.append(ref, {second, 2}).result, StoreResult::kOk);
      const auto apart = first < second ? static_cast<uint64_t>(second) - static_cast<uint64_t>(first)
                                        : static_cast<uint64_t>(first) - static_cast<uint64_t>(second);
      world.store.seal_all();
      EXPECT_EQ(world.blocks(BlockState::kLoose).size(), apart <= uint64_t{kBlockSpanMsMax} ? 1u : 2u);
      EXPECT_EQ(world.read(ref), (std::vector<Point>{{first, 1}, {second, 2}})) << first << " " << second;
    }
  }
}

TEST(SeriesStore, SafeParcelFreesExactlyTheBlocksOfThatParcel) {
  World world({.series_max = 3});
  for (int i = 0; i < 3; ++i) world.add();
  for (uint32_t ref = 1; ref <= 3; ++ref) ASSERT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOk);
  world.store.seal_all();
  const auto blocks = world.blocks(BlockState::kLoose);
  world.store.parcelled(blocks[0].id, 7);
  world.store.parcelled(blocks[1].id, 8);
  world.store.parcelled(blocks[2].id, 7);
  EXPECT_TRUE(world.blocks(BlockState::kLoose).empty());
  world.store.safe_parcel(7);
  ASSERT_EQ(world.blocks(BlockState::kParcelled).size(), 1u);
  EXPECT_EQ(world.blocks(BlockState::kParcelled)[0].id, blocks[1].id);
  world.store.loose(blocks[1].id);
  EXPECT_EQ(world.blocks(BlockState::kLoose).size(), 1u);
  EXPECT_EQ(world.blocks(BlockState::kSafe).size(), 2u);
}

TEST(SeriesStore, ASafeBlockStaysSafe) {
  World world({.series_max = 1});
  ASSERT_EQ(world.store.append(world.add(), {1, 1}).result, StoreResult::kOk);
  world.store.seal_all();
  const BlockId id = world.blocks(BlockState::kLoose)[0].id;
  world.store.safe(id);
  world.store.loose(id);
  world.store.parcelled(id, 9);
  SealedBlock block;
  ASSERT_TRUE(world.store.find(id, &block));
  EXPECT_EQ(block.state, BlockState::kSafe);
  EXPECT_EQ(block.parcel, 0u);
}

// Seals need room for the head and the checksum, and there may be no page left to take it from.
TEST(SeriesStore, SealsWorstPointsWhereverThePageEnds) {
  for (uint32_t page_bytes = 128; page_bytes <= 176; page_bytes += 8) {
    for (int64_t shift = 0; shift < 14; ++shift) {
      for (int64_t count = 1; count < 30; ++count) {
        World world({.series_max = 1, .page_bytes = page_bytes}, 10);
        const uint32_t ref = world.add();
        std::vector<Point> points;
        for (int64_t i = 0; i < shift; ++i) points.push_back({i, i < 8 ? 0 : uint64_t{1} << i});
        uint64_t bits = points.empty() ? 0 : points.back().bits;
        for (int64_t i = 0; i < count; ++i) {
          bits ^= i % 2 == 0 ? ~uint64_t{0} : uint64_t{1} << 20;  // every other point takes all of 13 bytes
          points.push_back({i % 2 * kBlockSpanMsMax, bits});
        }
        for (const Point& point : points) ASSERT_EQ(world.store.append(ref, point).result, StoreResult::kOk);
        world.store.seal(ref);
        ASSERT_EQ(world.read(ref), points) << page_bytes << " " << shift << " " << count;
      }
    }
  }
}

TEST(SeriesStore, TheLongestHeadFitsTheRoomKeptForIt) {
  for (uint32_t tick : {1u, 200'000u}) {
    SCOPED_TRACE(tick);
    World world({.series_max = 16'400, .page_bytes = 128, .block_bytes_max = 16384});
    uint32_t ref = 0;
    while (ref < 16'400) ref = world.add(ValueType::kDec, kScaleMax, tick);
    world.store.set_clock(UINT32_MAX);
    ASSERT_TRUE(world.store.resume(ref, (uint64_t{1} << 63) - 1'000'000));
    std::vector<int64_t> bases{INT64_MIN + kBlockSpanMsMax, INT64_MAX, -kBlockSpanMsMax + 1, -kBlockSpanMsMax - 1};
    for (int bit = 0; bit < 62; ++bit) {
      for (int64_t near : {-1, 0, 1}) {
        bases.push_back((int64_t{1} << bit) + near);
        bases.push_back(-(int64_t{1} << bit) + near);
      }
    }
    for (int64_t base : bases) {
      SCOPED_TRACE(base);
      const auto value = static_cast<uint64_t>(INT64_MIN);
      ASSERT_EQ(world.store.append(ref, {base, value}).result, StoreResult::kOk);
      world.store.seal(ref);  // of one point
      ASSERT_EQ(world.store.append(ref, {base, value}).result, StoreResult::kOk);
      for (int i = 0; i < 130; ++i) {
        ASSERT_EQ(world.store.append(ref, {base - kBlockSpanMsMax, value}).result, StoreResult::kOk);
      }
      world.store.seal(ref);
      const auto blocks = world.blocks(BlockState::kLoose);
      ASSERT_EQ(blocks.back().info.count, 131u);
      EXPECT_EQ(blocks.back().info.t_min, base - kBlockSpanMsMax);
      EXPECT_EQ(blocks.back().info.t_max, base);
      EXPECT_EQ(world.decoded(blocks.back().id).back(), (Point{base - kBlockSpanMsMax, value}));
      for (const SealedBlock& block : blocks) world.store.safe(block.id);
    }
  }
}

// The head of a block in memory has no boot, so that it lies in the first page.
TEST(SeriesStore, TakesNoBlockBackThatNamesItsBootItself) {
  World world({.series_max = 1});
  const uint32_t ref = world.add();
  for (const bool boot : {true, false}) {
    std::vector<uint8_t> space(block_bytes_max(1));
    BlockWriter writer(space, {.boot = 7, .ref = ref, .write_boot = boot});
    ASSERT_EQ(writer.append({1'000, bits_of(1.5)}), AppendResult::kOk);
    EXPECT_EQ(world.store.restore(writer.seal(), 7, BlockState::kLoose, 0),
              boot ? StoreResult::kNoSeries : StoreResult::kOk);
  }
  EXPECT_EQ(world.read(ref), (std::vector<Point>{{1'000, bits_of(1.5)}}));
}

// ---- Memory that is promised

// Readings as they come: a random walk in hundredths, as a double, as a decimal, and a counter.
uint64_t reading(ValueType type, uint64_t walk, uint64_t second) {
  if (type == ValueType::kF64) return bits_of(static_cast<double>(walk) / 100.0);
  return type == ValueType::kDec ? walk : second * 131 + walk;
}

// Every series for `seconds` at 1 Hz, sealed blocks safe at once. Then all of the last ten minutes must be there.
void expect_ten_minutes(World* world, std::span<const ValueType> types, uint64_t seconds) {
  std::mt19937_64 random(17);
  const uint32_t count = world->options.series_max;
  std::vector<uint64_t> walks(count, 2'000);
  std::vector<std::vector<Point>> last(count);
  for (uint32_t i = 0; i < count; ++i) world->add(types[i % types.size()], 2, 1);
  for (uint64_t second = 0; second < seconds; ++second) {
    const auto now = static_cast<int64_t>(second) * 1000;
    for (uint32_t i = 0; i < count; ++i) {
      walks[i] += random() % 11 - 5;
      const Point point{now, reading(types[i % types.size()], walks[i], second)};
      ASSERT_EQ(world->store.append(i + 1, point).result, StoreResult::kOk);
      if (second + 600 >= seconds) last[i].push_back(point);
    }
    world->store.tick(now);
    SealedBlock block;
    while (world->store.first(BlockState::kLoose, &block)) world->store.safe(block.id);
  }
  EXPECT_EQ(world->store.counters().blocks_evicted, 0u);
  EXPECT_EQ(world->store.counters().blocks_dropped, 0u);
  for (uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(world->read(i + 1, static_cast<int64_t>(seconds - 600) * 1000, INT64_MAX), last[i]);
  }
}

// ---- Codecs

TEST(SeriesStoreCodecs, EverySeriesReadsBackWhateverItsCodecAndHoweverSmallThePages) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const uint32_t pages[] = {128, 136, 152, 256, 1024};
    World world({.series_max = 5,
                 .page_bytes = pages[seed % 5],
                 .block_bytes_max = static_cast<uint32_t>(256 + random() % 700),
                 .codings = kAllCodings});
    const ValueType types[] = {ValueType::kF32, ValueType::kI64, ValueType::kDec, ValueType::kState, ValueType::kF64};
    const Codec codecs[] = {Codec::kXor32, Codec::kSlope64, Codec::kRuns64, Codec::kRuns64, Codec::kXor64};
    std::vector<Point> made[5];
    for (uint32_t i = 0; i < 5; ++i) {
      const uint32_t ref = world.add(types[i]);
      ASSERT_TRUE(world.store.write_in(ref, codecs[i]));
    }
    int64_t time = 1'700'000'000'000;
    uint64_t state = 0;
    for (int moment = 0; moment < 1'500; ++moment) {
      time += random() % 50 == 0 ? static_cast<int64_t>(random() % 3'000) - 1'000 : 1'000;
      if (random() % 40 == 0) state = random() % 5 == 0 ? random() : random() % 3;
      for (uint32_t i = 0; i < 5; ++i) {
        const uint64_t bits = types[i] == ValueType::kF32 ? state & 0xFFFFFFFF : state + (i == 1 ? moment * 7u : 0);
        ASSERT_EQ(world.store.append(i + 1, {time, bits}).result, StoreResult::kOk);
        made[i].push_back({time, bits});
      }
      if (random() % 200 == 0) world.store.seal(static_cast<uint32_t>(random() % 5) + 1);
      if (moment % 100 != 0) continue;
      for (uint32_t i = 0; i < 5; ++i) ASSERT_EQ(world.read(i + 1), made[i]) << "series " << i;
    }
    world.store.seal_all();
    std::set<Codec> seen;
    for (const SealedBlock& block : world.blocks(BlockState::kLoose)) {
      seen.insert(block.info.codec);
      ASSERT_LE(block.bytes, world.options.block_bytes_max);
      ASSERT_EQ(world.decoded(block.id).size(), block.info.count);
    }
    EXPECT_EQ(seen.size(), 4u);
    for (uint32_t i = 0; i < 5; ++i) ASSERT_EQ(world.read(i + 1), made[i]) << "series " << i;
  }
}

TEST(SeriesStoreCodecs, AnotherCodecBeginsWithTheNextBlock) {
  World world({.series_max = 2, .codings = kAllCodings});
  const uint32_t ref = world.add(ValueType::kState);
  ASSERT_EQ(world.store.append(ref, {0, 1}).result, StoreResult::kOk);
  ASSERT_TRUE(world.store.write_in(ref, Codec::kRuns64));
  ASSERT_EQ(world.store.append(ref, {1, 1}).result, StoreResult::kOk);
  world.store.seal(ref);
  ASSERT_EQ(world.store.append(ref, {2, 1}).result, StoreResult::kOk);
  world.store.seal(ref);
  const auto blocks = world.blocks(BlockState::kLoose);
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].info.codec, Codec::kDelta64);
  EXPECT_EQ(blocks[1].info.codec, Codec::kRuns64);
  EXPECT_EQ(world.read(ref), (std::vector<Point>{{0, 1}, {1, 1}, {2, 1}}));
}

TEST(SeriesStoreCodecs, ACodecThatIsNotThereOrDoesNotHoldTheTypeIsRefused) {
  World none({.series_max = 2});
  EXPECT_FALSE(none.store.has_codec_for(ValueType::kF32));
  EXPECT_TRUE(none.store.has_codec_for(ValueType::kState));
  EXPECT_FALSE(none.store.has_codec_for(static_cast<ValueType>(6)));
  EXPECT_FALSE(none.store.write_in(none.add(ValueType::kState), Codec::kRuns64));
  World all({.series_max = 2, .codings = kAllCodings});
  EXPECT_TRUE(all.store.has_codec_for(ValueType::kF32));
  EXPECT_FALSE(all.store.write_in(all.add(ValueType::kF64), Codec::kRuns64));
  EXPECT_FALSE(all.store.write_in(all.add(ValueType::kState), Codec::kSlope64));
  EXPECT_FALSE(all.store.write_in(2, Codec::kPacked));
  EXPECT_FALSE(all.store.write_in(3, Codec::kDelta64));
}

TEST(SeriesStoreMemory, ASeriesTakes40BytesBesideItsPages) {
  const SeriesStoreOptions one{.series_max = 1}, many{.series_max = 1'001};
  EXPECT_EQ(SeriesStore::arena_bytes(many, 2) - SeriesStore::arena_bytes(one, 2), 40'000u);
}

// How many pages a span of so many bytes gives.
size_t pages_in(const SeriesStoreOptions& options, size_t bytes) {
  size_t pages = (bytes - SeriesStore::arena_bytes(options, 0)) / (options.page_bytes + 4);
  while (SeriesStore::arena_bytes(options, pages) > bytes) --pages;
  return pages;
}

TEST(SeriesStoreMemory, TenMinutesOfAThousandSeriesFitFiveMegabytes) {
  const SeriesStoreOptions options{.series_max = 1'000};
  World world(options, pages_in(options, 5'000'000));
  const ValueType types[] = {ValueType::kF64, ValueType::kDec, ValueType::kI64};
  expect_ten_minutes(&world, types, 1'300);
}

TEST(SeriesStoreMemory, TenMinutesOf24DecimalSeriesFit48KilobytesWithBlocksOfTenMinutes) {
  const SeriesStoreOptions options{.series_max = 24, .block_bytes_max = 1024, .seal_age_ms = 600'000};
  World world(options, pages_in(options, 48 * 1024));
  const ValueType types[] = {ValueType::kDec};
  expect_ten_minutes(&world, types, 3'000);
}

}  // namespace
}  // namespace lambda
