// The model notices what it should: the store's sources are built once more with LAMBDA_PLANTED_BUGS, one bug is
// switched on, and some seed must turn red. A bug that no seed notices means that a promise is not tested.
#include <gtest/gtest.h>

#include <string>

#include "base/planted.h"
#include "gateway/store/model.h"

namespace lambda {

static std::string the_bug;
bool planted(const char* name) {
  return the_bug == name;
}

namespace gateway {
namespace {

class StorePlanted : public testing::TestWithParam<const char*> {};

TEST_P(StorePlanted, BugIsNoticedWithin200Seeds) {
  the_bug = GetParam();
  std::string red;
  for (uint32_t seed = 1; seed <= 200 && red.empty(); ++seed) red = run_model({.seed = seed});
  the_bug.clear();
  EXPECT_FALSE(red.empty()) << GetParam();
  RecordProperty("noticed", red.substr(0, red.find('\n')));
}

INSTANTIATE_TEST_SUITE_P(All, StorePlanted,
                         testing::Values("store_no_sync", "store_ack_before_sync", "store_no_dir_sync", "store_no_cut",
                                         "store_no_cut_sync", "store_no_start_sync", "store_no_dedupe",
                                         "store_no_conflict", "store_merge_no_sync", "store_merge_no_dir_sync",
                                         "store_merge_ends_unverified"));

TEST(StoreUnplanted, WithoutABugTheSameSeedsAreGreen) {
  for (uint32_t seed = 1; seed <= 10; ++seed) EXPECT_EQ(run_model({.seed = seed}), "");
}

}  // namespace
}  // namespace gateway
}  // namespace lambda
