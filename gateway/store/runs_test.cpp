#include "gateway/store/runs.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace lambda::gateway {
namespace {

TEST(RunSet, AgreesWithASetOfNumbersWhateverIsAddedInWhateverOrder) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    RunSet runs;
    std::set<uint64_t> naive;
    for (int step = 0; step < 60; ++step) {
      const uint64_t first = random() % 120;
      const uint64_t end = first + random() % 12;
      uint64_t fresh = 0;
      for (uint64_t i = first; i < end; ++i) fresh += naive.insert(i).second ? 1 : 0;
      ASSERT_EQ(runs.add(first, end), fresh);

      const uint64_t low = random() % 130;
      const uint64_t high = low + random() % 20;
      uint64_t inside = 0;
      for (uint64_t i = low; i < high; ++i) inside += naive.count(i);
      uint64_t covered = 0;
      for (const OrdinalRun& run : runs.covered(low, high)) {
        for (uint64_t i = run.first; i < run.end; ++i) {
          ASSERT_EQ(naive.count(i), 1u);
          ++covered;
        }
      }
      uint64_t missing = 0;
      for (const OrdinalRun& run : runs.missing(low, high)) missing += run.count();
      ASSERT_EQ(covered, inside);
      ASSERT_EQ(missing, high - low - inside);
      ASSERT_EQ(runs.contains(low, high), inside == high - low);
      ASSERT_EQ(runs.intersects(low, high), inside > 0);
      ASSERT_EQ(runs.total(), naive.size());
      for (size_t i = 1; i < runs.runs().size(); ++i) ASSERT_GT(runs.runs()[i].first, runs.runs()[i - 1].end);
    }
    const auto again = RunSet::decode(runs.encode());
    ASSERT_TRUE(again.has_value());
    ASSERT_EQ(again->runs(), runs.runs());
  }
}

TEST(RunSet, RefusesBytesThatAreNoRuns) {
  EXPECT_TRUE(RunSet::decode("").has_value());
  EXPECT_FALSE(RunSet::decode(std::string_view("\x01", 1)).has_value());              // a distance alone
  EXPECT_FALSE(RunSet::decode(std::string_view("\x01\x00", 2)).has_value());          // an empty run
  EXPECT_FALSE(RunSet::decode(std::string_view("\x01\x02\x00\x02", 4)).has_value());  // two runs that touch
  EXPECT_FALSE(RunSet::decode("\x80").has_value());
  EXPECT_FALSE(RunSet::decode("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").has_value());  // past the last number
  RunSet ends;
  ends.add(UINT64_MAX - 1, UINT64_MAX);
  EXPECT_EQ(RunSet::decode(ends.encode())->runs(), ends.runs());
}

}  // namespace
}  // namespace lambda::gateway
