#include "gateway/ingest/ack_ranges.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace lambda::gateway {
namespace {

using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;

RunSet set_of(const std::vector<uint64_t>& seqs) {
  RunSet set;
  for (const uint64_t seq : seqs) set.add(seq, seq + 1);
  return set;
}

TEST(AckRanges, ListTheStoresRangesWhenAllHaveRoom) {
  RunSet answered = set_of({7});
  const AckState ack = next_ack({3, {{5, 5}, {7, 9}}}, &answered, 2);
  EXPECT_EQ(ack.contiguous_seq, 3u);
  EXPECT_EQ(ack.ranges, (Ranges{{5, 5}, {7, 9}}));
  EXPECT_TRUE(answered.empty());
}

TEST(AckRanges, CoverTheParcelThatIsAnsweredBeforeOthers) {
  RunSet answered = set_of({100});
  const AckState ack = next_ack({3, {{5, 5}, {7, 7}, {9, 9}}}, &answered, 2);
  EXPECT_EQ(ack.ranges, (Ranges{{5, 5}, {100, 100}}));
  EXPECT_TRUE(answered.empty());
}

TEST(AckRanges, LeaveForAnotherAckWhatFindsNoRoom) {
  RunSet answered = set_of({2, 10, 20, 30});
  EXPECT_EQ(next_ack({3, {{10, 10}}}, &answered, 2).ranges, (Ranges{{10, 10}, {20, 20}}));
  ASSERT_EQ(answered.runs().size(), 1u);
  EXPECT_EQ(next_ack({3, {{10, 10}}}, &answered, 2).ranges, (Ranges{{10, 10}, {30, 30}}));
  EXPECT_TRUE(answered.empty());
}

// Against sets of numbers: no ack is too long, none says what is not settled, and together they say all that was
// answered.
TEST(AckRanges, SayAllThatWasAnsweredAndNothingElse) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const size_t ranges_max = 1 + random() % 5;
    std::set<uint64_t> settled;
    RunSet all, answered;
    for (uint64_t seq = 1; seq <= 60; ++seq) {
      if (random() % 2 == 0) continue;
      settled.insert(seq);
      all.add(seq, seq + 1);
      if (random() % 4 == 0) answered.add(seq, seq + 1);
    }
    AckState known;
    while (settled.count(known.contiguous_seq + 1) > 0) ++known.contiguous_seq;
    for (const OrdinalRun& run : all.runs()) {
      if (run.first > known.contiguous_seq && known.ranges.size() < ranges_max) {
        known.ranges.emplace_back(run.first, run.end - 1);
      }
    }
    std::set<uint64_t> wanted, said;
    for (const OrdinalRun& run : answered.runs()) {
      for (uint64_t seq = run.first; seq < run.end; ++seq) wanted.insert(seq);
    }
    int acks = 0;
    do {
      const AckState ack = next_ack(known, &answered, ranges_max);
      ASSERT_LE(ack.ranges.size(), ranges_max);
      for (uint64_t seq = 1; seq <= ack.contiguous_seq; ++seq) said.insert(seq);
      uint64_t before = ack.contiguous_seq;
      for (const auto& [first, last] : ack.ranges) {
        ASSERT_GT(first, before);
        ASSERT_LE(first, last);
        before = last;
        for (uint64_t seq = first; seq <= last; ++seq) said.insert(seq);
      }
      ASSERT_LE(++acks, 61);
    } while (!answered.empty());
    for (const uint64_t seq : wanted) ASSERT_TRUE(said.count(seq)) << seq;
    for (const uint64_t seq : said) ASSERT_TRUE(settled.count(seq)) << seq;
  }
}

}  // namespace
}  // namespace lambda::gateway
