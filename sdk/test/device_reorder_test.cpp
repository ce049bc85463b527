// A device whose points come shuffled by one place, beside its gateway and its flash.
#include "flash_world.h"
#include "lambda/reorder.h"

namespace lambda::test {
namespace {

void name_it(lam_config* config) {
  config->reorder = LAM_REORDER;
}

TEST(DeviceReorder, WhatIsLateByOneIsReadSentAndStoredInItsPlace) {
  constexpr lam_series_spec kLevel = {"level", nullptr, 0, LAM_GAUGE, LAM_I64, 0, nullptr};
  DeviceWorld world(16'384, name_it);
  lam_series ref = 0;
  ASSERT_EQ(lam_declare(world.device, &kLevel, &ref), LAM_OK);
  const int64_t start = lam_now_ms(world.device);
  for (int i = 0; i < 100; ++i) {
    const int64_t second = i ^ 1;  // 1, 0, 3, 2 ...
    ASSERT_EQ(lam_append_at(world.device, ref, start + second * 1'000, static_cast<uint64_t>(second)), LAM_OK);
    world.made[{lam_boot(world.device), ref, static_cast<uint64_t>(i)}] = i;
    world.expect_balance();
    if (i == 49) lam_flush(world.device);
  }
  lam_point last;
  ASSERT_EQ(lam_last(world.device, ref, &last), LAM_OK);
  EXPECT_EQ(last.ordinal, 99u);
  EXPECT_EQ(last.value, 99);
  std::vector<lam_point> points(100);
  size_t count = 0;
  ASSERT_EQ(lam_range(world.device, ref, INT64_MIN, INT64_MAX, points.data(), points.size(), &count), LAM_OK);
  ASSERT_EQ(count, 100u);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(points[i].ordinal, i);
    EXPECT_EQ(points[i].value, static_cast<double>(i));
  }
  world.connect();
  lam_flush(world.device);
  world.pass(20'000);
  EXPECT_EQ(world.counters().points_waiting, 0u);
  world.expect_balance();
  world.expect_all_accounted();
}

// What a snapshot has of an open block must be what the gateway gets under the same ordinals, whatever came late after
// it.
TEST(DeviceReorder, AResetGivesTheGatewayNoOrdinalWithOtherContent) {
  uint64_t moved = 0;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ModelFlash model(1024, 48, 8);
    FlashWorld world(&model, 16'384, {}, name_it);
    world.random.seed(seed + 9'000);
    uint64_t made = 0;
    for (int life = 0; life < 3; ++life) {
      int64_t newest = lam_now_ms(world.device);
      uint64_t in_life = 0;
      for (int i = 0; i < 300; ++i) {
        const bool late = world.random() % 4 == 0;
        const int64_t time = late ? newest - 1 - static_cast<int64_t>(world.random() % 400) : newest + 500;
        if (!late) newest = time;
        for (lam_series ref = 1; ref <= 4; ++ref) {
          const uint64_t bits = ref == 2 ? std::bit_cast<uint64_t>(static_cast<double>(i)) : static_cast<uint64_t>(i);
          ASSERT_EQ(lam_append_at(world.device, ref, time, bits), LAM_OK);
          lam_point last;
          ASSERT_EQ(lam_last(world.device, ref, &last), LAM_OK);
          if (late && last.time_ms == newest) ++moved;
          ++in_life;
        }
        const uint64_t what = world.random() % 40;
        if (what == 0) lam_flash_save(world.flash);
        if (what == 1) lam_flush(world.device);
        if (what == 2) world.go_online();
        if (what == 3) world.linked = false, lam_disconnected(world.device);
        world.run(500);
        const lam_counters c = world.counters();
        ASSERT_EQ(c.points_made, c.points_settled + c.points_refused + c.points_dropped + c.points_waiting);
      }
      made += in_life;
      if (world.random() % 2 == 0) lam_flash_save(world.flash);
      world.reset();
      ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
    }
    world.go_online();
    lam_flush(world.device);
    world.run(120'000);
    EXPECT_EQ(world.counters().points_refused, 0u);
    EXPECT_EQ(world.counters().points_waiting, 0u);
    EXPECT_LE(world.gateway.points.size(), made);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(moved, 5'000u);
}

}  // namespace
}  // namespace lambda::test
