#include "gateway/store/follow.h"

#include <gtest/gtest.h>

#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

struct Following : ::testing::Test, TestWorld {
  TestDevice device;

  void store_block(uint64_t first, uint32_t count = 10) {
    const auto declare = first == 0 ? std::vector<uint32_t>{1} : std::vector<uint32_t>{};
    ASSERT_EQ(put(device.parcel({test_block(1, first, count)}, declare)).verdict, Verdict::kStored);
  }
};

TEST_F(Following, WhatArrivedBehindAPlaceIsThereInOrderAlsoAfterARestart) {
  options.segment_bytes_max = 1500;
  open();
  const StorePlace begin = follow(*store).arrivals({}).end;
  EXPECT_EQ(follow(*store).arrivals(begin).bytes, 0u);
  for (uint64_t i = 0; i < 20; ++i) store_block(i * 10);
  const Arrivals all = follow(*store).arrivals(begin);
  ASSERT_GT(all.pieces.size(), 2u);
  EXPECT_FALSE(all.missed);
  EXPECT_EQ(all.complete_ms, INT64_MAX);
  uint64_t bytes = 0;
  for (size_t i = 0; i < all.pieces.size(); ++i) {
    bytes += all.pieces[i].end - all.pieces[i].begin;
    EXPECT_TRUE(i == 0 || all.pieces[i].segment > all.pieces[i - 1].segment) << i;
  }
  EXPECT_EQ(bytes, all.bytes);
  kill();
  open();
  const Arrivals again = follow(*store).arrivals(begin);
  EXPECT_EQ(again.bytes, all.bytes);
  EXPECT_EQ(again.end, all.end);
  EXPECT_EQ(follow(*store).arrivals(all.end).bytes, 0u);
}

TEST_F(Following, WhatIsOnItsWayHoldsTheTimeBack) {
  open();
  StoreRequest request = device.parcel({test_block(1, 0, 10)}, {1});
  request.received_ms = 1234;
  bool told = false;
  follow(*store).when_stored([&] { told = true; });
  bool decided = false;
  store->put(std::move(request), [&](const Decision&) { decided = true; });
  while (!decided) {
    EXPECT_EQ(follow(*store).arrivals({}).complete_ms, told ? INT64_MAX : 1234);
    ASSERT_TRUE(loop.step(false));
  }
  EXPECT_TRUE(told) << "before the answer, or with it";
}

TEST_F(Following, SegmentsThatAreFollowedAreNotMerged) {
  options.segment_bytes_max = 1500;
  open();
  follow(*store).hold_arrivals({1, 0});
  for (uint64_t i = 0; i < 60; ++i) store_block(i * 10);
  for (int i = 0; i < 200; ++i) {
    (void)store->merge_slice();
    loop.run();
  }
  EXPECT_EQ(store->counters().merged_blocks, 0u);
  const Arrivals all = follow(*store).arrivals({});
  follow(*store).hold_arrivals(all.end);
  for (int i = 0; i < 200; ++i) {
    (void)store->merge_slice();
    loop.run();
  }
  EXPECT_GT(store->counters().merged_blocks, 0u);
  EXPECT_TRUE(follow(*store).arrivals({all.pieces[0].segment, 40}).missed);
}

TEST_F(Following, APlaceInAnotherStoreBeginsAnew) {
  open();
  store_block(0);
  const Arrivals all = follow(*store).arrivals({99, 5000});
  EXPECT_TRUE(all.missed);
  ASSERT_EQ(all.pieces.size(), 1u);
}

TEST_F(Following, ASeriesIsKnownAsItWasDeclared) {
  open();
  store_block(0);
  const auto known = follow(*store).series_of("press-7", 11, 1);
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(known->name, "m1");
  EXPECT_FALSE(follow(*store).series_of("press-7", 11, 2).has_value());
  EXPECT_FALSE(follow(*store).series_of("press-8", 11, 1).has_value());
  EXPECT_FALSE(follow(*store).series_of("press-7", 12, 1).has_value());
}

}  // namespace
}  // namespace lambda::gateway
