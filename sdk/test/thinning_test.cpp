// A store whose owner chose to thin before anything is dropped.
#include "lambda/thinning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "store_world.h"

namespace lambda {
namespace {

struct World : test::StoreWorld {
  using StoreWorld::StoreWorld;

  uint32_t add(ValueType type, bool thins, uint8_t scale = 0) {
    uint32_t ref = 0;
    EXPECT_TRUE(store.add({type, scale, 1, thins}, &ref));
    return ref;
  }
  // Points a second apart, a block a minute; until something is dropped or `most` were taken.
  uint64_t fill(uint32_t ref, uint64_t most) {
    for (uint64_t i = 0; i < most; ++i) {
      const auto now = static_cast<int64_t>(i) * 1000;
      store.tick(now);
      EXPECT_EQ(store.append(ref, {1'700'000'000'000 + now, 2'000 + (i * i) % 97}).result, StoreResult::kOk);
      if (store.counters().blocks_dropped > 0) return i;
    }
    return most;
  }
};

uint64_t bits_of(double value) {
  return std::bit_cast<uint64_t>(value);
}

double value_of(ValueType type, uint64_t bits) {
  if (type == ValueType::kF64) return std::bit_cast<double>(bits);
  if (type == ValueType::kF32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  return static_cast<double>(static_cast<int64_t>(bits));
}

std::vector<Point> thinned(ValueType type, const std::vector<uint64_t>& bits) {
  Point points[kThinFrom];
  for (uint32_t i = 0; i < kThinFrom; ++i) points[i] = {static_cast<int64_t>(i) * 10, bits[i]};
  thin_points(type, points);
  return {points, points + kThinTo};
}

// ---- Six points

TEST(ThinPoints, AreTheLeastAndTheGreatestAsTheyCameWithTheMeanBetweenAtEvenTimes) {
  const auto of = [](std::vector<uint64_t> bits) { return thinned(ValueType::kI64, bits); };
  EXPECT_EQ(of({5, 1, 4, 4, 9, 7}), (std::vector<Point>{{10, 1}, {30, 5}, {50, 9}}));
  EXPECT_EQ(of({9, 7, 7, 7, 7, 1}), (std::vector<Point>{{10, 9}, {30, 6}, {50, 1}}));
  EXPECT_EQ(of({4, 4, 1, 9, 4, 4}), (std::vector<Point>{{10, 1}, {30, 4}, {50, 9}}));
  EXPECT_EQ(of({3, 3, 3, 3, 3, 3}), (std::vector<Point>{{10, 3}, {30, 3}, {50, 3}}));
}

TEST(ThinPoints, AMeanOfIntegersIsTheNearestOneWhateverTheyAre) {
  const auto mean = [](std::vector<int64_t> values) {
    std::vector<uint64_t> bits(values.begin(), values.end());
    const auto points = thinned(ValueType::kDec, bits);
    return static_cast<int64_t>(points[1].bits);
  };
  EXPECT_EQ(mean({0, 0, 0, 0, 0, 2}), 0);
  EXPECT_EQ(mean({0, 0, 0, 0, 0, 3}), 1);
  EXPECT_EQ(mean({-3, 0, 0, 0, 0, 0}), -1);
  EXPECT_EQ(mean({-7, 7, 1, 1, 1, 1}), 1);
  EXPECT_EQ(mean({-7, 1, 1, 1, 1, 7}), 1);
  EXPECT_EQ(mean({-10, 5, 5, -5, -5, 7}), -1) << "-0.5, away from zero";
  EXPECT_EQ(mean({INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN}), INT64_MIN);
  EXPECT_EQ(mean({INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}), INT64_MAX);
  EXPECT_EQ(mean({INT64_MIN, INT64_MIN, INT64_MIN, INT64_MAX, INT64_MAX, INT64_MAX}), -1);
  std::mt19937_64 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<int64_t> values(6);
    for (int64_t& value : values) value = static_cast<int64_t>(random()) >> (random() % 64);
    std::sort(values.begin(), values.end());
    // The sum is 6 x whole + rest, in numbers that no machine is too small for; a half goes away from zero.
    int64_t whole = 0, rest = 0;
    for (const int64_t value : values) {
      const int64_t above = (value % 6 + 6) % 6;
      whole += (value / 6) - (value % 6 < 0 ? 1 : 0);
      rest += above;
    }
    whole += rest / 6;
    rest %= 6;
    const bool up = rest > 3 || (rest == 3 && whole >= 0);
    ASSERT_EQ(mean(values), whole + (up ? 1 : 0)) << "seed 5, round " << i;
  }
}

TEST(ThinPoints, AMeanOfFloatsLiesBetweenAndIsAsShortAsTheyAre) {
  const auto mean = [](std::vector<double> values) {
    std::vector<uint64_t> bits;
    for (const double value : values) bits.push_back(bits_of(value));
    return std::bit_cast<double>(thinned(ValueType::kF64, bits)[1].bits);
  };
  EXPECT_EQ(mean({1, 2, 2, 2, 2, 3}), 2);
  EXPECT_EQ(mean({0, 0, 0, 0, 0, 1}), 0.1875) << "a sixth, in sixteenths";
  EXPECT_EQ(mean({-1, -1, 0, 0, 0, 1}), -0.1875);
  const double huge = std::numeric_limits<double>::max();
  EXPECT_EQ(mean({huge, huge, huge, huge, huge, huge}), huge);
  EXPECT_EQ(mean({0, 0, 0, 0, 0, std::numeric_limits<double>::infinity()}), std::numeric_limits<double>::infinity());
  EXPECT_EQ(mean({0.1, 0.1, 0.1, 0.1, 0.1, 0.1}), 0.1);
  std::mt19937_64 random(6);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<double> values(6);
    for (double& value : values) value = std::ldexp(static_cast<double>(random() % 1'000 * 2) - 999, -3);
    std::sort(values.begin(), values.end());
    double sum = 0;
    for (const double value : values) sum += value;
    const double found = mean(values);
    ASSERT_LE(std::abs(found - sum / 6), 1.001 / 256) << "seed 6, round " << i;
    ASSERT_EQ(found * 128, std::floor(found * 128)) << "more bits than it is worth: seed 6, round " << i;
  }
}

TEST(ThinPoints, WhatIsNoNumberIsLeftOutAsLongAsThereAreNumbers) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto of = [](std::vector<double> values) {
    std::vector<uint64_t> bits;
    for (const double value : values) bits.push_back(bits_of(value));
    return thinned(ValueType::kF64, bits);
  };
  EXPECT_EQ(of({nan, 1, nan, 2, nan, nan}),
            (std::vector<Point>{{10, bits_of(1)}, {30, bits_of(1.5)}, {50, bits_of(2)}}));
  EXPECT_EQ(of({nan, nan, 7, nan, nan, nan}),
            (std::vector<Point>{{10, bits_of(7)}, {30, bits_of(7)}, {50, bits_of(7)}}));
  EXPECT_EQ(of({1, nan, nan, nan, nan, nan})[1].bits, bits_of(1));
  EXPECT_EQ(of({nan, nan, nan, nan, nan, nan}),
            (std::vector<Point>{{10, bits_of(nan)}, {30, bits_of(nan)}, {50, bits_of(nan)}}));
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(of({-inf, 1, 2, 3, 4, inf})[1], (Point{30, bits_of(-inf)})) << "there is no mean";
  std::vector<uint64_t> floats;
  for (const float value : {1.0F, 2.0F, 2.0F, 2.0F, 2.0F, 6.0F}) floats.push_back(std::bit_cast<uint32_t>(value));
  EXPECT_EQ(value_of(ValueType::kF32, thinned(ValueType::kF32, floats)[1].bits), 2.5);
}

// ---- The store

TEST(Thinning, HalvesWhatIsHeldBeforeAnythingIsDropped) {
  SeriesStoreOptions options{.series_max = 1};
  World dropping(options, 40);
  const uint64_t without = dropping.fill(dropping.add(ValueType::kI64, true), 1'000'000);
  options.thinning = &kThinGauges;
  World world(options, 40);
  const uint64_t with = world.fill(world.add(ValueType::kI64, true), 1'000'000);
  EXPECT_GE(with * 10, without * 16) << with << " instead of " << without;
  auto blocks = world.blocks(BlockState::kLoose);
  ASSERT_GT(blocks.size(), 5u);
  blocks.pop_back();  // the newest waits for the next one
  for (const SealedBlock& block : blocks) EXPECT_GT(block.thinned, 0u);
}

TEST(Thinning, LeavesCountersAndStatesAsTheyAre) {
  for (const ValueType type : {ValueType::kI64, ValueType::kState}) {
    SeriesStoreOptions options{.series_max = 1, .thinning = &kThinGauges};
    World world(options, 40);
    world.fill(world.add(type, false), 1'000'000);
    EXPECT_EQ(world.store.counters().points_thinned, 0u);
    EXPECT_GT(world.store.counters().blocks_dropped, 0u);
  }
}

TEST(Thinning, ABlockThatWasInAParcelOrInASnapshotStaysAsItIs) {
  SeriesStoreOptions options{.series_max = 2, .block_bytes_max = 300, .thinning = &kThinGauges};
  World world(options, 40);
  const uint32_t ref = world.add(ValueType::kI64, true);
  world.fill(ref, 60);
  world.store.seal(ref);
  const SealedBlock given_up = world.blocks(BlockState::kLoose).at(0);
  world.store.parcelled(given_up.id, 1);
  world.store.loose(given_up.id);
  for (int64_t i = 0; i < 60; ++i) {
    ASSERT_EQ(world.store.append(ref, {1'700'000'060'000 + i * 1000, 5}).result, StoreResult::kOk);
  }
  ASSERT_EQ(world.blocks(BlockState::kLoose).size(), 1u);
  kThinGauges.keep_whole(&world.store);
  ASSERT_EQ(world.blocks(BlockState::kLoose).size(), 2u) << "what is open goes into a snapshot too";
  std::vector<std::vector<Point>> kept;
  for (const SealedBlock& block : world.blocks(BlockState::kLoose)) kept.push_back(world.decoded(block.id));
  for (int64_t i = 0; world.store.counters().blocks_dropped == 0; ++i) {
    for (size_t k = 0; k < 2; ++k) {
      const auto blocks = world.blocks(BlockState::kLoose);
      ASSERT_EQ(world.decoded(blocks[k].id), kept[k]);
      ASSERT_EQ(blocks[k].thinned, 0u);
    }
    ASSERT_EQ(world.store.append(ref, {1'700'000'200'000 + i * 1000, static_cast<uint64_t>(i % 7)}).result,
              StoreResult::kOk);
    if (i % 60 == 59) world.store.seal(ref);
  }
  EXPECT_GT(world.store.counters().points_thinned, 0u);
}

TEST(Thinning, WhatIsRestoredIsNotThinnedAndGoesOnBeingMarked) {
  SeriesStoreOptions options{.series_max = 1, .thinning = &kThinGauges};
  World world(options, 40);
  const uint32_t ref = world.add(ValueType::kI64, true);
  world.fill(ref, 2'000);
  world.store.seal_all();
  World other(options, 200);
  ASSERT_EQ(other.add(ValueType::kI64, true), ref);
  uint64_t gone = 0;
  for (const SealedBlock& block : world.blocks(BlockState::kLoose)) {
    std::vector<uint8_t> bytes(options.block_bytes_max);
    bytes.resize(world.store.copy(block.id, bytes));
    ASSERT_EQ(other.store.restore(bytes, 77, BlockState::kLoose, 0, block.thinned), StoreResult::kOk);
    EXPECT_EQ(other.blocks(BlockState::kLoose).back().thinned, block.thinned);
    gone += block.thinned;
    EXPECT_EQ(other.store.restore(bytes, 77, BlockState::kLoose, 0, block.thinned + 1), StoreResult::kNoSeries);
  }
  EXPECT_GT(gone, 0u);
  EXPECT_EQ(other.store.counters().points_dropped, gone);
  EXPECT_FALSE(kThinGauges.make_room(&other.store));
}

// ---- Against a naive model

using Key = std::tuple<uint64_t, uint32_t, uint64_t>;  // boot, ref, ordinal

class RandomPressure {
 public:
  explicit RandomPressure(uint64_t seed) : random_(seed) {
    SeriesStoreOptions options;
    options.series_max = 1 + static_cast<uint32_t>(below(5));
    options.gaps_max = below(2) == 0 ? 1 + static_cast<uint32_t>(below(3)) : 16;
    const uint32_t pages[] = {128, 136, 256, 1024};
    options.page_bytes = pages[below(4)];
    const uint32_t blocks[] = {256, 300, 512, 2000};
    options.block_bytes_max = blocks[below(4)];
    options.seal_age_ms = 7'000;
    options.codings = kAllCodings;
    options.thinning = &kThinGauges;
    world_ = std::make_unique<World>(options, 6 + below(below(2) == 0 ? 30 : 120));
    const ValueType types[] = {ValueType::kF64, ValueType::kF32, ValueType::kI64, ValueType::kDec, ValueType::kState};
    const Codec codecs[] = {Codec::kXor64, Codec::kXor32, Codec::kSlope64, Codec::kDelta64, Codec::kRuns64};
    for (uint32_t i = 0; i < options.series_max; ++i) {
      const size_t type = below(5);
      types_.push_back(types[type]);
      thins_.push_back(types[type] != ValueType::kState && below(5) != 0);
      world_->add(types[type], thins_.back(), types[type] == ValueType::kDec ? 3 : 0);
      if (below(2) == 0) world_->store.write_in(i + 1, codecs[type]);
    }
  }

  void run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFailure(); ++i) {
      step();
      if (i % 40 == 0) check();
    }
    check();
  }
  uint64_t points_thinned() const { return world_->store.counters().points_thinned; }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }

  void step() {
    const uint64_t kind = below(100);
    if (kind < 80) return append();
    if (kind < 85) return world_->store.seal(1 + static_cast<uint32_t>(below(types_.size())));
    if (kind < 90) return tick();
    if (kind < 94) return into_a_parcel();
    if (kind < 97) return out_of_a_parcel();
    if (kind < 98) return world_->store.set_clock(++clock_);
    if (kind < 99 && below(4) == 0) world_->store.new_boot(world_->store.boot() + 1);
  }

  void append() {
    const auto ref = 1 + static_cast<uint32_t>(below(types_.size()));
    for (uint64_t n = 1 + below(40); n > 0; --n) {
      now_ += 100;
      const Point point{1'700'000'000'000 + now_ - (below(20) == 0 ? 700 : 0), value(types_[ref - 1])};
      const Appended appended = world_->store.append(ref, point);
      if (appended.result == StoreResult::kNoMemory) continue;
      ASSERT_EQ(appended.result, StoreResult::kOk);
      ASSERT_TRUE(made_.emplace(Key{world_->store.boot(), ref, appended.ordinal}, point).second);
    }
  }
  uint64_t value(ValueType type) {
    const uint64_t draw = below(20) == 0 ? random_() : below(200);
    if (type == ValueType::kF64) return draw > 200 ? draw : bits_of(static_cast<double>(draw) / 8);
    if (type == ValueType::kF32)
      return std::bit_cast<uint32_t>(draw > 200 ? std::nanf("") : static_cast<float>(draw) / 8);
    return draw;
  }

  void tick() {
    now_ += static_cast<int64_t>(below(4'000));
    world_->store.tick(now_);
  }

  // What a parcel says is remembered: the points of the block, and what thinning took.
  void into_a_parcel() {
    const auto loose = world_->blocks(BlockState::kLoose);
    if (loose.empty()) return;
    const SealedBlock block = loose[below(loose.size())];
    const auto points = world_->decoded(block.id);
    uint64_t ordinal = block.info.first_ordinal;
    for (uint64_t gone = ordinal - block.thinned; gone < ordinal; ++gone) name({block.info.boot, block.info.ref, gone});
    for (const Point& point : points) {
      const Key key{block.info.boot, block.info.ref, ordinal++};
      ASSERT_TRUE(told_.emplace(key, point).second) << "in two parcels";
    }
    world_->store.parcelled(block.id, 1);
    if (below(2) == 0) world_->store.safe(block.id);
  }
  void out_of_a_parcel() {
    for (const SealedBlock& block : world_->blocks(BlockState::kParcelled)) {
      if (below(2) == 0) world_->store.safe(block.id);
    }
  }

  void name(const Key& key) { EXPECT_TRUE(named_.insert(key).second) << "named twice: " << std::get<2>(key); }

  // Every ordinal that was made is in a block, or was in one that a parcel took, or is in exactly one gap.
  void check() {
    StoreGap gap;
    while (world_->store.take_gap(&gap)) {
      // A block that is dropped out of its parcel is told twice; the parcel comes later or never.
      for (uint64_t i = 0; i < gap.count; ++i) {
        const Key key{gap.boot, gap.ref, gap.first_ordinal + i};
        ASSERT_EQ(made_.count(key), 1u);
        name(key);
        told_.erase(key);
      }
    }
    std::set<Key> here, to_name;
    for (const BlockState state : {BlockState::kLoose, BlockState::kParcelled, BlockState::kSafe}) {
      for (const SealedBlock& block : world_->blocks(state)) check_block(block, &here, &to_name);
    }
    for (uint32_t ref = 1; ref <= types_.size(); ++ref) {
      BlockInfo open;
      if (!world_->store.open_info(ref, &open)) continue;
      for (uint64_t i = 0; i < open.count; ++i) here.insert({open.boot, ref, open.first_ordinal + i});
    }
    for (const auto& [key, point] : made_) {
      const bool in_a_block = here.count(key) + told_.count(key) > 0;
      const size_t places = named_.count(key) + to_name.count(key) + (in_a_block ? 1 : 0);
      ASSERT_EQ(places, 1u) << "ref " << std::get<1>(key) << " ordinal " << std::get<2>(key);
    }
    ASSERT_EQ(world_->store.counters().points, made_.size());
    ASSERT_EQ(world_->store.counters().points_dropped, named_.size() + to_name.size());
  }

  void check_block(const SealedBlock& block, std::set<Key>* here, std::set<Key>* to_name) {
    const auto points = world_->decoded(block.id);
    const uint64_t first = block.info.first_ordinal;
    ContentRoot root(posix_hash());
    for (const Point& point : points) root.add(point);
    uint8_t digest[kDigestBytes];
    root.finish(digest);
    ASSERT_EQ(0, __builtin_memcmp(digest, block.root, kDigestBytes));
    const auto key = [&](uint64_t ordinal) { return Key{block.info.boot, block.info.ref, ordinal}; };
    for (uint64_t i = 0; i < points.size(); ++i) {
      ASSERT_TRUE(here->insert(key(first + i)).second) << "in two blocks";
      const auto told = told_.find(key(first + i));
      if (told != told_.end()) {
        ASSERT_EQ(told->second, points[i]) << "another point than the parcel has";
      }
      if (i >= block.thinned) {
        ASSERT_EQ(points[i], made_.at(key(first + i)));
      }
    }
    if (block.thinned == 0) return;
    ASSERT_TRUE(thins_[block.info.ref - 1]);
    ASSERT_EQ(block.thinned % kThinTo, 0u);
    for (uint64_t i = 1; i <= block.thinned && block.state == BlockState::kLoose; ++i) {
      ASSERT_TRUE(to_name->insert(key(first - i)).second);
    }
    for (uint64_t group = 0; group < block.thinned / kThinTo; ++group) {
      std::vector<Point> six;
      const uint64_t from = first - block.thinned + group * kThinFrom;
      for (uint64_t i = 0; i < kThinFrom; ++i) six.push_back(made_.at(key(from + i)));
      check_group(types_[block.info.ref - 1], six, points.data() + group * kThinTo);
    }
  }

  void check_group(ValueType type, const std::vector<Point>& six, const Point* three) {
    double low = INFINITY, high = -INFINITY, low_left = INFINITY, high_left = -INFINITY;
    for (const Point& point : six) {
      low = std::fmin(low, value_of(type, point.bits));
      high = std::fmax(high, value_of(type, point.bits));
    }
    for (uint32_t i = 0; i < kThinTo; ++i) {
      low_left = std::fmin(low_left, value_of(type, three[i].bits));
      high_left = std::fmax(high_left, value_of(type, three[i].bits));
      ASSERT_EQ(three[i].time_ms, six[2 * i + 1].time_ms);
    }
    ASSERT_EQ(low, low_left);
    ASSERT_EQ(high, high_left);
  }

  std::mt19937_64 random_;
  std::unique_ptr<World> world_;
  std::vector<ValueType> types_;
  std::vector<bool> thins_;
  std::map<Key, Point> made_;
  std::map<Key, Point> told_;  // in a parcel
  std::set<Key> named_;        // in a gap
  int64_t now_ = 0;
  uint32_t clock_ = 0;
};

TEST(ThinningModel, EveryOrdinalIsInOneBlockOrInOneGapAndExtremesStayAndWhatAParcelHasStays) {
  uint64_t points_thinned = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomPressure pressure(seed);
    pressure.run(400);
    ASSERT_FALSE(HasFailure());
    points_thinned += pressure.points_thinned();
  }
  EXPECT_GT(points_thinned, 10'000u);
}

}  // namespace
}  // namespace lambda
