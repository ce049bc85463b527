// Seeds are printed with what went wrong: run_model({.seed = N}) plays it again.
#include "gateway/store/model.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace lambda::gateway {
namespace {

// LAMBDA_STORE_SEED plays one seed alone.
TEST(StoreModel, TheSeedOfTheEnvironment) {
  const char* seed = std::getenv("LAMBDA_STORE_SEED");
  if (seed == nullptr) GTEST_SKIP() << "LAMBDA_STORE_SEED is not set";
  EXPECT_EQ(run_model({.seed = static_cast<uint32_t>(std::atoi(seed))}), "");
}

TEST(StoreModel, NothingAckedIsLostAndNothingCountsTwiceThroughCrashesFaultsAndMerges) {
  for (uint32_t seed = 1; seed <= 40; ++seed) EXPECT_EQ(run_model({.seed = seed}), "");
}

TEST(StoreModel, TheSameWithAnIndexOnDiskThatIsDeletedAtAnyMoment) {
  std::string directory = "/tmp/lambda_store_model_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  for (uint32_t seed = 1; seed <= 15; ++seed) {
    for (const auto& file : std::filesystem::directory_iterator(directory)) std::filesystem::remove(file.path());
    EXPECT_EQ(run_model({.seed = seed, .index_directory = directory}), "");
  }
  std::filesystem::remove_all(directory);
}

TEST(StoreModel, RetiredOrdinalsAreNeverTakenAgain) {
  for (uint32_t seed = 1; seed <= 40; ++seed) EXPECT_EQ(run_model({.seed = seed, .retention = true}), "");
}

}  // namespace
}  // namespace lambda::gateway
