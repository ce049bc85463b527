// What the store says of a stream to who gets points ahead of their blocks.
#include <gtest/gtest.h>

#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

struct StoreStreams : ::testing::Test {
  StoreStreams() { world.open(); }
  TestWorld world;
  TestDevice device;
};

TEST_F(StoreStreams, AStreamIsKnownWithItsSeriesAndItsOrdinalsAcrossAStart) {
  EXPECT_FALSE(world.store->declared("press-7", 11, 1).has_value());
  EXPECT_TRUE(world.store->coverage("press-7", 11, 1).empty());
  ASSERT_EQ(world.put(device.parcel({test_block(1, 0, 5)}, {1, 2})).verdict, Verdict::kStored);
  ASSERT_EQ(world.put(device.parcel({test_block(1, 8, 2)})).verdict, Verdict::kStored);
  for (int start = 0; start < 2; ++start) {
    const auto declared = world.store->declared("press-7", 11, 1);
    ASSERT_TRUE(declared.has_value());
    EXPECT_EQ(declared->ref, 1u);
    EXPECT_EQ(declared->name, "m1");
    EXPECT_EQ(declared->kind, Kind::kGauge);
    EXPECT_EQ(declared->type, ValueType::kF64);
    EXPECT_EQ(world.store->coverage("press-7", 11, 1).runs(), (std::vector<OrdinalRun>{{0, 5}, {8, 10}}));
    EXPECT_TRUE(world.store->declared("press-7", 11, 2).has_value()) << "declared, though nothing of it is stored";
    EXPECT_TRUE(world.store->coverage("press-7", 11, 2).empty());
    EXPECT_FALSE(world.store->declared("press-7", 12, 1).has_value()) << "another boot";
    EXPECT_FALSE(world.store->declared("press-8", 11, 1).has_value());
    world.close();
    world.open();
  }
}

TEST_F(StoreStreams, ADecisionNamesThePointsThatWereNew) {
  const Decision first = world.put(device.parcel({test_block(1, 0, 5), test_block(2, 3, 4)}, {1, 2}));
  ASSERT_EQ(first.accepted.size(), 2u);
  EXPECT_EQ(first.accepted[0].block, 0u);
  EXPECT_EQ(first.accepted[0].first, 0u);
  EXPECT_EQ(first.accepted[0].end, 5u);
  EXPECT_EQ(first.accepted[1].block, 1u);
  EXPECT_EQ(first.accepted[1].first, 3u);
  EXPECT_EQ(first.accepted[1].end, 7u);
  // Of the second block's ordinals 1 to 8, 3 to 6 are stored.
  const Decision second = world.put(device.parcel({test_block(1, 5, 1), test_block(2, 1, 8)}));
  ASSERT_EQ(second.accepted.size(), 3u);
  EXPECT_EQ(second.accepted[1].block, 1u);
  EXPECT_EQ(second.accepted[1].first, 1u);
  EXPECT_EQ(second.accepted[1].end, 3u);
  EXPECT_EQ(second.accepted[2].first, 7u);
  EXPECT_EQ(second.accepted[2].end, 9u);
  EXPECT_EQ(second.points_new, 5u);
}

TEST_F(StoreStreams, WhatAFailedSyncTakesBackIsNotNamed) {
  world.disk.fail_syncs = 1;
  const Decision decision = world.put(device.parcel({test_block(1, 0, 5)}, {1}));
  EXPECT_NE(decision.verdict, Verdict::kStored);
  EXPECT_TRUE(decision.accepted.empty());
  EXPECT_TRUE(world.store->coverage("press-7", 11, 1).empty());
}

}  // namespace
}  // namespace lambda::gateway
