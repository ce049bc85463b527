#include "doubles.h"

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

void expect_sum_as_the_processor(double a, double b) {
  const double sum = add_by_steps(a, b);
  const double processor = a + b;
  if (processor != processor) {
    EXPECT_TRUE(sum != sum) << a << " + " << b;
    return;
  }
  EXPECT_EQ(std::bit_cast<uint64_t>(sum), std::bit_cast<uint64_t>(processor)) << a << " + " << b;
}

constexpr double kEdges[] = {0.0,
                             1.0,
                             std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::max(),
                             std::numeric_limits<double>::min(),
                             std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::quiet_NaN()};

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

TEST(Add, ByStepsIsToTheBitWhatTheProcessorRounds) {
  constexpr uint64_t kSeed = 8;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 200'000 && !testing::Test::HasFailure(); ++i) {
    const uint64_t bits = random();
    const double any = std::bit_cast<double>(bits);
    expect_sum_as_the_processor(any, std::bit_cast<double>(random()));
    // One whose exponent is near, so that they meet; one that all but cancels it; two below the smallest exponent.
    const uint64_t exponents_up = random() % 130 << 52;
    expect_sum_as_the_processor(any, std::bit_cast<double>(random() >> 12 | ((bits >> 52 << 52) + exponents_up)));
    expect_sum_as_the_processor(any, std::bit_cast<double>((bits ^ uint64_t{1} << 63) + random() % 5));
    expect_sum_as_the_processor(std::bit_cast<double>(bits & ~(uint64_t{0x7FF} << 52)),
                                std::bit_cast<double>(random() & ~(uint64_t{0x7FF} << 52)));
  }
  for (const double a : kEdges) {
    for (const double b : kEdges) {
      for (const double sign : {1.0, -1.0}) expect_sum_as_the_processor(a, sign * b);
      for (const double sign : {1.0, -1.0}) expect_sum_as_the_processor(-a, sign * b);
    }
  }
}

TEST(Doubles, OfIntegersAndFloatsAreWhatTheProcessorMakes) {
  constexpr uint64_t kSeed = 9;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 200'000 && !testing::Test::HasFailure(); ++i) {
    const auto n = static_cast<int64_t>(random()) >> random() % 64;
    EXPECT_EQ(double_by_steps(n), static_cast<double>(n));
    const auto bits = static_cast<uint32_t>(random());
    const auto value = static_cast<double>(std::bit_cast<float>(bits));
    const double stepped = double_by_steps_of_float(bits);
    if (value != value) {
      EXPECT_TRUE(stepped != stepped);
    } else {
      EXPECT_EQ(std::bit_cast<uint64_t>(stepped), std::bit_cast<uint64_t>(value)) << bits;
    }
  }
  for (const int64_t n : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1}, INT64_MAX, (int64_t{1} << 53) + 1}) {
    EXPECT_EQ(double_by_steps(n), static_cast<double>(n));
  }
  for (const uint32_t bits : {0u, 1u, 0x80000000u, 0x007FFFFFu, 0x00800000u, 0x7F800000u, 0xFF800000u}) {
    EXPECT_EQ(std::bit_cast<uint64_t>(double_by_steps_of_float(bits)),
              std::bit_cast<uint64_t>(static_cast<double>(std::bit_cast<float>(bits))));
  }
}

}  // namespace
}  // namespace lambda
