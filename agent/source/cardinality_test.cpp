#include "agent/source/cardinality.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace lambda::agent {
namespace {

TEST(Cardinality, IsExactUpToItsBound) {
  Cardinality members(17);
  EXPECT_EQ(members.estimate(), 0u);
  for (uint32_t i = 1; i <= kCardinalityExactMax; ++i) {
    members.add("user-" + std::to_string(i));
    members.add("user-" + std::to_string(1 + i / 2));
    ASSERT_EQ(members.estimate(), i);
  }
  EXPECT_TRUE(members.is_exact());
  members.add("one more");
  EXPECT_FALSE(members.is_exact());
  EXPECT_GT(members.estimate(), kCardinalityExactMax);
}

// Five standard errors: a fault in the estimate is larger, chance is not.
TEST(Cardinality, PastItsBoundIsOffByAFewHundredthsAtMost) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (const uint32_t count : {300u, 3'000u, 10'000u, 30'000u, 300'000u}) {
    Cardinality members(seed);
    for (uint32_t i = 0; i < count; ++i) members.add(std::to_string(i));
    for (uint32_t i = 0; i < count; i += 3) members.add(std::to_string(i));
    EXPECT_NEAR(static_cast<double>(members.estimate()) / count, 1, 5 * 0.0163) << count;
  }
}

TEST(Cardinality, ClearedItIsExactAgain) {
  Cardinality members(1);
  for (int i = 0; i < 1'000; ++i) members.add(std::to_string(i));
  members.clear();
  EXPECT_TRUE(members.is_exact());
  EXPECT_EQ(members.estimate(), 0u);
  members.add("a");
  members.add("a");
  EXPECT_EQ(members.estimate(), 1u);
  members.clear();
  members.add("a");
  EXPECT_EQ(members.estimate(), 1u);
}

TEST(Cardinality, TextsThatDifferInAZeroByteOrTheirEndDiffer) {
  Cardinality members(1);
  for (const std::string& text : {std::string("a"), std::string("a\0", 2), std::string(), std::string("\0", 1),
                                  std::string("aaaaaaaa"), std::string("aaaaaaaaa")}) {
    members.add(text);
  }
  EXPECT_EQ(members.estimate(), 6u);
}

}  // namespace
}  // namespace lambda::agent
