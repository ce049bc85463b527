// A device that thins before it drops, beside gateways that know of it and gateways that do not.
#include <algorithm>

#include "flash_world.h"
#include "lambda/thinning.h"

namespace lambda::test {
namespace {

constexpr lam_series_spec kLevel = {"level", nullptr, 0, LAM_GAUGE, LAM_I64, 0, nullptr};
constexpr lam_series_spec kTemperature = {"temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
constexpr lam_series_spec kStrokes = {"strokes_total", nullptr, 0, LAM_COUNTER, LAM_I64, 0, nullptr};
constexpr lam_series_spec kDoor = {"door", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr};

// What was made is stored or named, never both. Of what is stored as it was made every value is right; in place of
// each six that were thinned there are three with the same least and greatest, in ordinals of the six.
void expect_accounted(const DeviceWorld& world) {
  for (const auto& [gap, count] : world.gateway.thinned) {
    ASSERT_EQ(count % kThinTo, 0u);
    for (uint64_t three = 0; three < count; three += kThinTo) {
      int64_t low = INT64_MAX, high = INT64_MIN, low_left = INT64_MAX, high_left = INT64_MIN;
      for (uint64_t i = 0; i < kThinFrom; ++i) {
        const int64_t value = world.made.at({gap.boot, gap.ref, gap.ordinal + three * 2 + i});
        low = std::min(low, value);
        high = std::max(high, value);
      }
      for (uint64_t i = 0; i < kThinTo; ++i) {
        const Identity left{gap.boot, gap.ref, gap.ordinal + count + three + i};
        ASSERT_EQ(world.gateway.points.count(left), 1u) << "the gap came without what is left";
        const auto value = static_cast<int64_t>(world.gateway.points.at(left).bits);
        low_left = std::min(low_left, value);
        high_left = std::max(high_left, value);
      }
      ASSERT_EQ(low, low_left);
      ASSERT_EQ(high, high_left);
    }
  }
  size_t stored = 0;
  for (const auto& [identity, value] : world.made) {
    const auto found = world.gateway.points.find(identity);
    const bool is_stored = found != world.gateway.points.end();
    stored += is_stored ? 1 : 0;
    ASSERT_NE(is_stored, world.gateway.gaps.count(identity) == 1) << "ref " << identity.ref << " " << identity.ordinal;
    if (is_stored && !world.gateway.is_of_thinned(identity)) {
      ASSERT_EQ(static_cast<int64_t>(found->second.bits), value);
    }
  }
  ASSERT_EQ(stored, world.gateway.points.size());
}

struct Pressed : DeviceWorld {
  explicit Pressed(const lam_pressure* pressure, size_t extra_bytes = 8'192)
      : DeviceWorld(extra_bytes, [=](lam_config* its) { its->pressure = pressure; }) {
    for (const lam_series_spec* spec : {&kLevel, &kTemperature, &kStrokes, &kDoor}) {
      lam_series ref = 0;
      EXPECT_EQ(lam_declare(device, spec, &ref), LAM_OK);
    }
    gateway.codecs = kCodecsOfDevices;
  }
  void seconds(int count, lam_series last = 4) {
    for (int i = 0; i < count; ++i) {
      ++second;
      const int64_t values[] = {second * second % 83, 2'000 + second % 31, second * 2, second / 40 % 2};
      for (lam_series ref = 1; ref <= last; ++ref) {
        if (lam_append_at(device, ref, lam_now_ms(device), static_cast<uint64_t>(values[ref - 1])) != LAM_OK) continue;
        made[{lam_boot(device), ref, next[{lam_boot(device), ref}]++}] = values[ref - 1];
      }
      pass(1'000);
    }
  }
  void settle() {
    lam_flush(device);
    pass(20'000);
  }
  // Of two gauges, without a gateway, until the first point is dropped that thinning did not take.
  int seconds_that_fit() {
    while (counters().points_dropped == counters().points_thinned) seconds(1, 2);
    return static_cast<int>(second);
  }
  int64_t second = 0;
};

TEST(DeviceThinning, AGatewayThatWasAwayGetsTheExtremesOfTwiceAsLong) {
  Pressed dropping(nullptr);
  const int without = dropping.seconds_that_fit();
  Pressed world(LAM_THIN);
  const int with = world.seconds_that_fit();
  EXPECT_GE(with * 10, without * 14) << with << " seconds instead of " << without;
  EXPECT_GT(world.counters().points_thinned, 0u);
  world.expect_balance();
  world.connect();
  world.settle();
  EXPECT_EQ(world.gateway.blocks_unknown, 0u);
  EXPECT_EQ(world.counters().points_waiting, 0u);
  EXPECT_EQ(world.counters().points_dropped, world.gateway.gaps.size());
  EXPECT_FALSE(world.gateway.thinned.empty());
  world.expect_balance();
  expect_accounted(world);
}

TEST(DeviceThinning, CountersAndStatesArriveAsTheyWereMade) {
  Pressed world(LAM_THIN);
  world.seconds(1'500);
  world.connect();
  world.settle();
  for (const auto& [gap, count] : world.gateway.thinned) EXPECT_LE(gap.ref, 2u);
  EXPECT_FALSE(world.gateway.thinned.empty());
  world.expect_balance();
  expect_accounted(world);
}

TEST(DeviceThinning, AGatewayThatDoesNotKnowOfItGetsAllTheRestAndOneThatDoesGetsIt) {
  Pressed world(LAM_THIN);
  world.gateway.codecs = 0;
  world.seconds_that_fit();
  world.connect();
  world.settle();
  EXPECT_EQ(world.gateway.blocks_unknown, 0u);
  EXPECT_EQ(world.counters().nacks, 0u);
  EXPECT_GT(world.gateway.points.size(), 0u);
  EXPECT_GT(world.counters().points_waiting, 0u);
  EXPECT_TRUE(world.gateway.thinned.empty());
  world.expect_balance();

  world.gateway.codecs = kCodecsOfDevices;  // it is upgraded
  world.gateway.incarnation = 2;
  world.seconds(30);
  world.settle();
  EXPECT_EQ(world.counters().points_waiting, 0u);
  EXPECT_FALSE(world.gateway.thinned.empty());
  expect_accounted(world);
}

TEST(DeviceThinning, WhatIsRefusedIsNamedBesideWhatWasThinned) {
  Pressed world(LAM_THIN);
  world.gateway.mood = DeviceGateway::Mood::kRefuses;
  world.seconds_that_fit();
  world.connect();
  world.pass(1'000);
  world.gateway.mood = DeviceGateway::Mood::kStores;
  world.settle();
  world.pass(60'000);
  EXPECT_GT(world.counters().points_refused, 0u);
  world.expect_balance();
  for (const auto& [identity, value] : world.made) {
    ASSERT_NE(world.gateway.points.count(identity), world.gateway.gaps.count(identity));
  }
}

TEST(DeviceThinning, ComesAndGoesWithTheLinkAndNothingCountsTwice) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Pressed world(LAM_THIN, 4'096);
    world.random.seed(seed);
    world.lost = 20;
    for (int i = 0; i < 6; ++i) {
      world.seconds(static_cast<int>(world.random() % 400));
      world.connect();
      world.seconds(static_cast<int>(world.random() % 30));
      world.disconnect();
    }
    world.lost = 0;
    world.connect();
    world.settle();
    world.pass(60'000);
    EXPECT_EQ(world.counters().points_waiting, 0u);
    world.expect_balance();
    expect_accounted(world);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

// A snapshot has a block as it was made; had the gateway got it thinned since, it would come twice, with other content
// the second time, and be refused.
TEST(DeviceThinning, AResetGivesTheGatewayNoOrdinalWithOtherContent) {
  uint64_t thinned = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ModelFlash model(1024, 48, 8);
    FlashWorld world(&model, 6'144, {}, [](lam_config* config) { config->pressure = LAM_THIN; });
    world.gateway.codecs = kCodecsOfDevices;
    world.random.seed(seed + 5'000);
    int64_t value = 0;
    for (int life = 0; life < 3; ++life) {  // memory knows four boots
      world.live(static_cast<int>(world.random() % 900), &value);
      if (world.random() % 3 > 0) lam_flash_save(world.flash);
      world.live(static_cast<int>(world.random() % 900), &value);
      thinned += world.counters().points_thinned;
      if (world.random() % 3 > 0) {
        world.go_online();
        world.run(static_cast<int64_t>(world.random() % 20'000));
      }
      world.reset();
      ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
      ASSERT_EQ(world.report.boots_given_up, 0u);
    }
    world.go_online();
    lam_flush(world.device);
    world.run(120'000);
    EXPECT_EQ(world.counters().points_refused, 0u);
    EXPECT_EQ(world.counters().points_waiting, 0u);
    world.expect_no_holes();
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(thinned, 1'000u);
}

}  // namespace
}  // namespace lambda::test
