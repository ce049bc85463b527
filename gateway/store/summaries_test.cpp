#include "gateway/store/summaries.h"

#include <gtest/gtest.h>

namespace lambda::gateway {
namespace {

BlockRow row_at(uint64_t offset, uint64_t first = 0) {
  BlockRow row;
  row.segment = 3;
  row.offset = offset;
  row.first = first;
  row.count = 60;
  return row;
}

query::RunSummary summary_with(double sum) {
  return {0, 1, 60, sum, 0, 0, 0, 0};
}

TEST(Summaries, KnowWhatTheyKeptAndWhatCannotBeSummedUp) {
  Summaries summaries(100);
  EXPECT_FALSE(summaries.find(row_at(8)).known);
  summaries.keep(row_at(8), summary_with(7));
  summaries.keep(row_at(16), std::nullopt);
  ASSERT_TRUE(summaries.find(row_at(8)).summary.has_value());
  EXPECT_EQ(summaries.find(row_at(8)).summary->sum, 7);
  EXPECT_TRUE(summaries.find(row_at(16)).known);
  EXPECT_FALSE(summaries.find(row_at(16)).summary.has_value());
  EXPECT_FALSE(summaries.find(row_at(8, 1)).known);  // another run of the same block
  EXPECT_EQ(summaries.hits(), 4u);
}

TEST(Summaries, ForgetWhatNobodyAsksForAtTheirBound) {
  Summaries summaries(20);
  summaries.keep(row_at(0), summary_with(1));
  for (uint64_t offset = 1; offset < 100; ++offset) {
    summaries.keep(row_at(offset), summary_with(2));
    EXPECT_TRUE(summaries.find(row_at(0)).known) << offset;  // asked for again and again
  }
  EXPECT_FALSE(summaries.find(row_at(50)).known);
  EXPECT_TRUE(summaries.find(row_at(99)).known);
  EXPECT_GE(summaries.dropped(), 79u);
  EXPECT_LE(summaries.dropped(), 99u);
}

TEST(Summaries, KeepNothingWhereNothingIsAllowed) {
  Summaries summaries(0);
  summaries.keep(row_at(8), summary_with(7));
  EXPECT_FALSE(summaries.find(row_at(8)).known);
}

}  // namespace
}  // namespace lambda::gateway
