#include "divide.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <random>

namespace lambda {
namespace {

void expect_as_the_processor(double value, uint64_t by) {
  EXPECT_EQ(std::bit_cast<uint64_t>(divide_by_steps(value, by)),
            std::bit_cast<uint64_t>(value / static_cast<double>(by)))
      << value << " / " << by;
}

TEST(Divide, ByStepsIsToTheBitWhatTheProcessorRounds) {
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 200'000 && !testing::Test::HasFailure(); ++i) {
    uint64_t by = 1;
    for (uint64_t tens = random() % 19; tens > 0; --tens) by *= 10;
    if (i % 2 == 0) by = (random() >> (11 + random() % 53)) | 1;
    const uint64_t bits = random();
    // Any number, one below the smallest exponent, an integer of any length.
    const double any = std::bit_cast<double>(bits);
    if (any == any) expect_as_the_processor(any, by);
    expect_as_the_processor(std::bit_cast<double>(bits & ~(uint64_t{0x7FF} << 52)), by);
    expect_as_the_processor(static_cast<double>(static_cast<int64_t>(bits) >> random() % 63), by);
  }
}

TEST(Divide, KnowsZerosInfinitiesAndTheSmallest) {
  for (const uint64_t by : {uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{1} << 62}) {
    for (const double value : {0.0, -0.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::max(),
                               std::numeric_limits<double>::min(), std::numeric_limits<double>::denorm_min()}) {
      expect_as_the_processor(value, by);
      expect_as_the_processor(-value, by);
    }
  }
}

}  // namespace
}  // namespace lambda
