#include "gateway/ingest/quarantine.h"

#include <gtest/gtest.h>

#include "gateway/ingest/test_world.h"
#include "gateway/ingest/token_bucket.h"

namespace lambda::gateway {
namespace {

struct QuarantineTest : ::testing::Test {
  void keep(const std::string& device, const std::string& content) {
    quarantine->keep(device, "malformed", bytes_of(content));
    world.loop.run();
  }
  void open() { quarantine = std::make_unique<Quarantine>(world.env, options); }
  TestWorld world;
  QuarantineOptions options{"/q", 1000, 6, 500, 4};
  std::unique_ptr<Quarantine> quarantine;
};

TEST_F(QuarantineTest, KeepsTheFirstExampleOfEachContentWordForWord) {
  open();
  keep("a", "poison");
  keep("a", "poison");
  keep("b", "poison");
  EXPECT_EQ(quarantine->counters().kept, 2u);
  EXPECT_EQ(quarantine->counters().repeats, 1u);
  size_t found = 0;
  for (const auto& [path, file] : world.disk.files) found += file.bytes == "poison";
  EXPECT_EQ(found, 2u);
}

TEST_F(QuarantineTest, AFloodStaysWithinEveryBound) {
  open();
  for (int i = 0; i < 1000; ++i) keep("flooder", "garbage " + std::to_string(i));
  EXPECT_EQ(quarantine->files(), 4u) << "device_files_max";
  EXPECT_EQ(quarantine->counters().over_bound, 996u);
  keep("big", std::string(501, 'x'));
  EXPECT_EQ(quarantine->files(), 4u) << "device_bytes_max";
  keep("b", std::string(400, 'b'));
  keep("c", std::string(400, 'c'));
  keep("d", std::string(400, 'd'));
  EXPECT_LE(quarantine->bytes(), 1000u) << "bytes_max";
  for (int i = 0; i < 20; ++i) keep("e" + std::to_string(i), "x");
  EXPECT_EQ(quarantine->files(), 6u) << "files_max";
}

TEST_F(QuarantineTest, TheBoundsHoldAcrossRestarts) {
  open();
  for (int i = 0; i < 4; ++i) keep("flooder", "garbage " + std::to_string(i));
  const uint64_t bytes = quarantine->bytes();
  open();
  EXPECT_EQ(quarantine->files(), 4u);
  EXPECT_EQ(quarantine->bytes(), bytes);
  keep("flooder", "garbage 1");
  EXPECT_EQ(quarantine->counters().repeats, 1u);
  keep("flooder", "garbage 9");
  EXPECT_EQ(quarantine->counters().over_bound, 1u);
}

TEST(TokenBucket, GivesItsRateAndItsBurst) {
  TokenBucket bucket(10, 20, 0);
  int taken = 0;
  for (int64_t us = 0; us < 10'000'000; us += 1000) taken += bucket.take(1, us);
  EXPECT_NEAR(taken, 20 + 100, 1);
}

TEST(TokenBucket, LetsAMessageLargerThanTheBurstThroughAsADebt) {
  TokenBucket bucket(10, 20, 0);
  EXPECT_TRUE(bucket.take(100, 0));
  EXPECT_FALSE(bucket.take(1, 7'900'000));
  EXPECT_TRUE(bucket.take(1, 8'200'000));
}

TEST(TokenBucket, SaysWhenToComeAgain) {
  TokenBucket bucket(10, 20, 0);
  EXPECT_TRUE(bucket.take(20, 0));
  const int64_t wait_ms = bucket.wait_ms(5, 0);
  EXPECT_FALSE(bucket.take(5, (wait_ms - 10) * 1000));
  EXPECT_TRUE(bucket.take(5, wait_ms * 1000));
}

}  // namespace
}  // namespace lambda::gateway
