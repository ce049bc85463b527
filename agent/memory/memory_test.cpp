#include "agent/memory/memory.h"

#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <map>
#include <random>

namespace lambda::agent {
namespace {

using query::Matcher;
using query::MatchOp;

constexpr int64_t kAlways = INT64_MAX / 2;

SeriesSpec spec_of(const std::string& name, ValueType type, uint8_t scale = 0, LabelList labels = {}) {
  SeriesSpec spec;
  spec.name = name;
  spec.labels = std::move(labels);
  spec.type = type;
  spec.scale = scale;
  return spec;
}

// A memory and the table of its series, as the node has them.
struct World {
  explicit World(uint64_t bytes_max = 8u << 20) : memory(options(bytes_max), 1) { memory.set_table(table); }
  static MemoryOptions options(uint64_t bytes_max) {
    MemoryOptions out;
    out.bytes_max = bytes_max;
    out.series_max = 100;
    out.device = "press-7";
    out.site = "hall";
    return out;
  }
  SeriesRef add(const SeriesSpec& spec) {
    const SeriesRef ref = table->find_or_add(spec).value();
    memory.add_series(*table, ref);
    return ref;
  }
  bool append(SeriesRef ref, int64_t time_ms, uint64_t bits) {
    return memory.append(ref, table->at(ref).next_ordinal++, {time_ms, bits}, 0);
  }
  bool new_boot() {
    if (!memory.begin_boot(++boot)) return false;
    table = std::make_shared<SeriesTable>(table->next_boot());
    memory.set_table(table);
    return true;
  }
  query::Selection select(const std::vector<Matcher>& matchers, int64_t from_ms = -kAlways, int64_t to_ms = kAlways) {
    auto found = memory.select(matchers, from_ms, to_ms, 1000);
    EXPECT_TRUE(found.has_value());
    return found ? std::move(*found) : query::Selection();
  }

  std::shared_ptr<SeriesTable> table = std::make_shared<SeriesTable>();
  uint64_t boot = 1;
  Memory memory;
};

TEST(Memory, ASeriesHasEndedWhenNothingOfItIsHeldAndItsPlaceGoesToAnother) {
  World world;
  const SeriesRef ref = world.add(spec_of("a", ValueType::kI64)), other = world.add(spec_of("b", ValueType::kI64));
  int64_t now = 1'000;
  const auto pass = [&](int64_t ms) {
    for (const int64_t until = now + ms; now < until;) world.memory.tick(now += 1'000);
  };
  const auto make_safe = [&] {
    SealedBlock block;
    world.memory.store().seal_all();
    while (world.memory.store().first(BlockState::kLoose, &block)) world.memory.store().safe(block.id);
  };
  EXPECT_TRUE(world.append(ref, 5, 5));
  pass(2'000'000);
  EXPECT_FALSE(world.memory.has_ended(ref)) << "its points are in no parcel";
  EXPECT_TRUE(world.memory.has_ended(other)) << "it never had one";
  make_safe();
  EXPECT_FALSE(world.memory.has_ended(ref)) << "they can still be asked for";
  pass(601'000);
  EXPECT_TRUE(world.memory.has_ended(ref));
  EXPECT_TRUE(world.append(other, 6, 6));
  make_safe();
  ASSERT_TRUE(world.memory.begin_boot(++world.boot));
  world.table = std::make_shared<SeriesTable>(world.table->next_boot({false, true}));
  world.memory.set_table(world.table);
  ASSERT_EQ(world.add(spec_of("c", ValueType::kF64)), ref);
  EXPECT_FALSE(world.memory.has_ended(ref));
  EXPECT_TRUE(world.append(ref, 7, std::bit_cast<uint64_t>(0.5)));
  auto found = world.select({{"__name__", MatchOp::kRegex, "a|b|c"}});
  ASSERT_EQ(found.series.size(), 2u);
  EXPECT_EQ(found.series[0].labels[0].second, "b") << "of the boot before";
  EXPECT_EQ(found.series[1].labels[0].second, "c");
  EXPECT_EQ(found.series[1].cursor->read(10)->front().value, 0.5);
}

// Of points at one time the one made last counts; a time that goes back is put in its place.
TEST(Memory, AnswersWhatAListOfAllPointsWould) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    World world;
    const std::vector<SeriesRef> refs = {world.add(spec_of("a", ValueType::kI64)),
                                         world.add(spec_of("b", ValueType::kDec, 2)),
                                         world.add(spec_of("c", ValueType::kF64))};
    std::map<SeriesRef, std::map<int64_t, double>> made;
    int64_t time_ms = 1'000'000;
    for (int step = 0; step < 1500; ++step) {
      switch (random() % 40) {
        case 0:
          world.memory.store().seal_all();
          break;
        case 1: {
          SealedBlock block;
          while (world.memory.store().first(BlockState::kLoose, &block)) world.memory.store().safe(block.id);
          break;
        }
        case 2:
          (void)world.new_boot();
          break;
        case 3:
          time_ms -= static_cast<int64_t>(random() % 5000);
          break;
        default:
          time_ms += static_cast<int64_t>(random() % 1000);
      }
      const size_t which = random() % refs.size();
      const auto number = static_cast<int64_t>(random() % 2'000'001) - 1'000'000;
      const double value = which == 1 ? static_cast<double>(number) / 100 : static_cast<double>(number);
      const uint64_t bits = which == 2 ? std::bit_cast<uint64_t>(value) : static_cast<uint64_t>(number);
      ASSERT_TRUE(world.append(refs[which], time_ms, bits));
      made[refs[which]][time_ms] = value;
    }
    for (int look = 0; look < 10; ++look) {
      const auto from = 1'000'000 + static_cast<int64_t>(random() % 700'000);
      const int64_t to = look == 0 ? kAlways : from + static_cast<int64_t>(random() % 300'000);
      for (size_t i = 0; i < refs.size(); ++i) {
        const auto found = world.select({{"__name__", MatchOp::kEqual, std::string(1, static_cast<char>('a' + i))}},
                                        look == 0 ? -kAlways : from, to);
        const auto& all = made[refs[i]];
        auto wanted = look == 0 ? all.begin() : all.lower_bound(from);
        if (found.series.empty()) {  // none of its blocks is of that time
          ASSERT_EQ(wanted, all.upper_bound(to));
          continue;
        }
        const auto samples = found.series[0].cursor->read(1'000'000);
        ASSERT_TRUE(samples.has_value());
        for (const query::Sample& sample : *samples) {
          ASSERT_NE(wanted, all.end());
          ASSERT_EQ(sample.time_ms, wanted->first);
          ASSERT_EQ(sample.value, wanted->second);
          ++wanted;
        }
        ASSERT_EQ(wanted, all.upper_bound(to)) << "some are missing";
      }
    }
  }
}

TEST(Memory, SeriesCarryDeviceAndSiteAndComeSortedAndMatched) {
  World world;
  world.append(world.add(spec_of("load", ValueType::kF64)), 1, 0);
  world.append(world.add(spec_of("cpu", ValueType::kI64, 0, {{"cpu", "1"}})), 1, 0);
  world.append(world.add(spec_of("cpu", ValueType::kI64, 0, {{"cpu", "0"}, {"zone", "b"}})), 1, 0);
  const auto all = world.select({});
  ASSERT_EQ(all.series.size(), 3u);
  EXPECT_EQ(
      all.series[0].labels,
      (query::Labels{{"__name__", "cpu"}, {"cpu", "0"}, {"instance", "press-7"}, {"site", "hall"}, {"zone", "b"}}));
  EXPECT_EQ(all.series[1].labels,
            (query::Labels{{"__name__", "cpu"}, {"cpu", "1"}, {"instance", "press-7"}, {"site", "hall"}}));
  EXPECT_EQ(all.series[2].labels[0].second, "load");
  EXPECT_EQ(world.select({{"__name__", MatchOp::kEqual, "cpu"}}).series.size(), 2u);
  EXPECT_EQ(world.select({{"__name__", MatchOp::kEqual, "cpu"}, {"cpu", MatchOp::kNotEqual, "0"}}).series.size(), 1u);
  EXPECT_EQ(world.select({{"zone", MatchOp::kRegex, "a|b"}}).series.size(), 1u);
  EXPECT_EQ(world.select({{"instance", MatchOp::kEqual, "press-8"}}).series.size(), 0u);
}

TEST(Memory, SaysFullInsteadOfAnsweringAPart) {
  World world;
  for (const char* name : {"a", "b"}) {
    const SeriesRef ref = world.add(spec_of(name, ValueType::kI64));
    for (int64_t i = 0; i < 10; ++i) ASSERT_TRUE(world.append(ref, i, 0));
  }
  const auto narrow = world.memory.select({}, 0, 100, 1);
  ASSERT_FALSE(narrow.has_value());
  EXPECT_EQ(narrow.error().code, ErrorCode::kFull);
  const auto found = world.select({});
  ASSERT_EQ(found.series.size(), 2u);
  EXPECT_EQ(found.series[0].cursor->read(10)->size(), 10u);
  const auto cut = found.series[1].cursor->read(9);
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kFull);
}

// Far more points than there is room for: what was put aside is let go, the oldest first, and queries go on.
TEST(Memory, WhenRoomIsShortTheOldestGoAndWhatIsLeftHasNoHole) {
  World world(1u << 20);
  const SeriesRef ref = world.add(spec_of("a", ValueType::kF64));
  std::mt19937_64 random(3);
  int64_t rounds = 0;
  constexpr int64_t kPoints = 400'000;
  for (int64_t i = 0; i < kPoints; ++i) {
    ASSERT_TRUE(world.append(ref, i * 1000, std::bit_cast<uint64_t>(static_cast<double>(random() >> 11))));
    if (!world.memory.wants_round()) continue;
    ++rounds;
    world.memory.store().seal_all();
    SealedBlock block;
    while (world.memory.store().first(BlockState::kLoose, &block)) world.memory.store().safe(block.id);
  }
  EXPECT_GT(rounds, 0);
  EXPECT_GT(world.memory.store().counters().blocks_evicted, 0u);
  EXPECT_EQ(world.memory.store().counters().points_dropped, 0u) << "all of it was put aside before";
  const auto found = world.select({});
  const auto samples = found.series[0].cursor->read(kPoints);
  ASSERT_TRUE(samples.has_value());
  ASSERT_GT(samples->size(), 50'000u);
  ASSERT_LT(samples->size(), static_cast<size_t>(kPoints));
  EXPECT_EQ(samples->back().time_ms, (kPoints - 1) * 1000);
  for (size_t i = 1; i < samples->size(); ++i) {
    ASSERT_EQ((*samples)[i].time_ms - (*samples)[i - 1].time_ms, 1000);
  }
}

// What a question works on stays as it was: it may be evaluated on another thread, and when the memory is gone.
TEST(Memory, CursorsStandAloneWhateverBecomesOfTheMemory) {
  std::unique_ptr<query::SeriesCursor> open_block, sealed_block;
  {
    World world(1u << 20);
    const SeriesRef ref = world.add(spec_of("a", ValueType::kI64));
    for (int64_t i = 0; i < 10; ++i) ASSERT_TRUE(world.append(ref, i, static_cast<uint64_t>(i)));
    open_block = std::move(world.select({}).series[0].cursor);
    world.memory.store().seal_all();
    sealed_block = std::move(world.select({}).series[0].cursor);
    SealedBlock block;
    while (world.memory.store().first(BlockState::kLoose, &block)) world.memory.store().safe(block.id);
    std::mt19937_64 random(1);
    while (world.memory.store().counters().blocks_evicted == 0) {  // the page of that block is another's now
      ASSERT_TRUE(world.append(ref, 100, random()));
    }
  }
  for (const auto& cursor : {std::ref(open_block), std::ref(sealed_block)}) {
    const auto samples = cursor.get()->read(100);
    ASSERT_TRUE(samples.has_value());
    ASSERT_EQ(samples->size(), 10u);
    EXPECT_EQ(samples->back().value, 9);
    EXPECT_TRUE(cursor.get()->warnings().empty());
  }
}

TEST(Memory, WhatQuestionsHoldIsBounded) {
  MemoryOptions options = World::options(4u << 20);
  options.query_bytes_max = 6'000;
  World world;
  Memory memory(options, 1);
  memory.set_table(world.table);
  for (const char* name : {"a", "b"}) {
    const SeriesRef ref = world.table->find_or_add(spec_of(name, ValueType::kF64)).value();
    memory.add_series(*world.table, ref);
    std::mt19937_64 random(1);
    for (uint64_t i = 0; i < 400; ++i) ASSERT_TRUE(memory.append(ref, i, {static_cast<int64_t>(i), random()}, 0));
  }
  const std::vector<Matcher> one = {{"__name__", MatchOp::kEqual, "a"}};
  {
    const auto first = memory.select(one, 0, 1000, 10);
    ASSERT_TRUE(first.has_value());
    EXPECT_GT(memory.query_bytes(), 3'200u);
    const auto second = memory.select(one, 0, 1000, 10);  // for want of what the first one holds
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  }
  EXPECT_EQ(memory.query_bytes(), 0u);
  EXPECT_TRUE(memory.select(one, 0, 1000, 10).has_value());
  const auto both = memory.select({}, 0, 1000, 10);  // never to be had
  ASSERT_FALSE(both.has_value());
  EXPECT_EQ(both.error().code, ErrorCode::kFull);
  EXPECT_EQ(memory.query_bytes(), 0u);
  const auto listed = memory.list({}, 0, 1000, 10);  // names alone cost nothing
  ASSERT_TRUE(listed.has_value());
  EXPECT_EQ(listed->series.size(), 2u);
  EXPECT_EQ(memory.query_bytes(), 0u);
  EXPECT_TRUE(memory.list({}, 1000, 2000, 10)->series.empty());
}

TEST(Memory, ANumbersBitsAreReadByItsType) {
  EXPECT_EQ(point_value(ValueType::kF64, 0, std::bit_cast<uint64_t>(-0.25)), -0.25);
  EXPECT_EQ(point_value(ValueType::kI64, 0, static_cast<uint64_t>(int64_t{-7})), -7.0);
  EXPECT_EQ(point_value(ValueType::kDec, 3, static_cast<uint64_t>(int64_t{-1500})), -1.5);
  EXPECT_EQ(point_value(ValueType::kDec, 0, 42), 42.0);
}

}  // namespace
}  // namespace lambda::agent
