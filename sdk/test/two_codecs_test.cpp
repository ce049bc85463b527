// An image without the choice of further codecs (LAMBDA_TWO_CODECS) refuses a configuration that names one.
#include <gtest/gtest.h>

#include "device_world.h"
#include "lambda/codecs.h"

namespace lambda::test {
namespace {

static_assert(!kFurtherCodecs, "of an image compiled so");

TEST(TwoCodecs, AConfigurationThatNamesAnotherIsNotValid) {
  const lam_codec* const codecs[] = {&lam_codec_runs64};
  lam_config config{};
  config.site = "hall-2";
  config.device = "press-7";
  config.series_max = 2;
  EXPECT_GT(lam_memory_min(&config), 0u);
  config.codecs = codecs;
  config.codec_count = 1;
  EXPECT_EQ(lam_memory_min(&config), 0u);
}

TEST(TwoCodecs, ABlockInAnotherIsRefusedByName) {
  uint8_t space[block_bytes_max(2)];
  BlockWriter writer(space, {.type = ValueType::kState, .coding = &kRuns64Coding});
  ASSERT_EQ(writer.append({1000, 7}), AppendResult::kOk);
  const BlockCoding* const codings[] = {&kRuns64Coding};
  BlockReader reader;
  EXPECT_EQ(reader.open(writer.seal(), 0, codings).error, BlockError::kCodec);
}

}  // namespace
}  // namespace lambda::test
