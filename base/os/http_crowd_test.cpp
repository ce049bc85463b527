#include "base/os/http_crowd.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

namespace lambda {
namespace {

struct Guest final : HttpCrowd::Member {
  void leave() override { left = true; }
  bool left = false;
};

TEST(HttpCrowd, TheOneThatWaitsLongestMakesRoom) {
  HttpCrowd crowd(2, 100);
  Guest first, second, third;
  for (Guest* guest : {&first, &second}) {
    ASSERT_TRUE(crowd.make_room());
    crowd.enter(*guest);
    crowd.waits(*guest);
  }
  crowd.works(first);
  crowd.waits(first);  // began anew, behind the second
  ASSERT_TRUE(crowd.make_room());
  EXPECT_TRUE(second.left);
  EXPECT_FALSE(first.left);
  EXPECT_EQ(crowd.connections(), 1u);
  EXPECT_EQ(crowd.dropped(), 1u);
  crowd.waits(second);  // a callback that was under way
  crowd.end(second);
  EXPECT_EQ(crowd.connections(), 1u) << "whoever left is counted once";
  crowd.enter(third);
  crowd.works(first);
  EXPECT_FALSE(crowd.make_room()) << "nobody waits";
  EXPECT_FALSE(first.left || third.left);
}

TEST(HttpCrowd, WhoWasAnsweredWellStaysLongerThanAnyStranger) {
  HttpCrowd crowd(3, 100);
  Guest known, stranger, late;
  crowd.enter(known);
  crowd.waits(known);
  crowd.served(known);
  for (Guest* guest : {&stranger, &late}) {
    crowd.enter(*guest);
    crowd.waits(*guest);
  }
  crowd.drop_one();
  EXPECT_TRUE(stranger.left);
  crowd.drop_one();
  EXPECT_TRUE(late.left);
  EXPECT_FALSE(known.left);
  crowd.drop_one();
  EXPECT_TRUE(known.left);
}

TEST(HttpCrowd, PastItsBytesTheyGoWhoHoldAnyAndNobodyElse) {
  HttpCrowd crowd(9, 100);
  Guest idle, slow, good;
  for (Guest* guest : {&idle, &slow, &good}) {
    crowd.enter(*guest);
    crowd.waits(*guest);
  }
  EXPECT_TRUE(crowd.holds(slow, 80));
  EXPECT_TRUE(crowd.holds(good, 60));
  EXPECT_TRUE(slow.left);
  EXPECT_FALSE(idle.left);
  EXPECT_EQ(crowd.held_bytes(), 60u);
  EXPECT_FALSE(crowd.holds(good, 101)) << "nobody is left who could make room";
  EXPECT_FALSE(good.left);
  EXPECT_TRUE(crowd.holds(good, 0));
  EXPECT_EQ(crowd.held_bytes(), 0u);
}

// Against a crowd that keeps everything in one plain list.
TEST(HttpCrowd, CountsAreThoseOfWhoIsHereWhateverHappens) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    HttpCrowd crowd(8, 1'000);
    std::deque<Guest> all;
    std::vector<uint64_t> bytes;
    const auto here = [&](size_t i) { return bytes[i] != UINT64_MAX && !all[i].left; };
    for (int step = 0; step < 400; ++step) {
      const size_t i = all.empty() ? 0 : random() % all.size();
      switch (random() % 6) {
        case 0:
          if (crowd.make_room()) {
            crowd.enter(all.emplace_back());
            bytes.push_back(0);
          }
          break;
        case 1:
          if (!all.empty()) crowd.waits(all[i]);
          break;
        case 2:
          if (!all.empty()) crowd.works(all[i]);
          break;
        case 3:
          if (!all.empty()) crowd.served(all[i]);
          break;
        case 4:
          if (!all.empty() && here(i)) {
            bytes[i] = random() % 400;
            crowd.holds(all[i], bytes[i]);
          }
          break;
        default:
          if (!all.empty() && random() % 4 == 0) {
            crowd.end(all[i]);
            bytes[i] = UINT64_MAX;
          }
      }
      uint64_t count = 0, held = 0;
      for (size_t k = 0; k < all.size(); ++k) {
        if (!here(k)) continue;
        ++count;
        held += bytes[k];
      }
      ASSERT_EQ(crowd.connections(), count) << "seed " << seed << " step " << step;
      ASSERT_EQ(crowd.held_bytes(), held) << "seed " << seed << " step " << step;
      ASSERT_LE(count, 8u);
    }
  }
}

}  // namespace
}  // namespace lambda
