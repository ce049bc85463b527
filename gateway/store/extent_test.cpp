#include "gateway/store/extent.h"

#include <gtest/gtest.h>

#include <random>

#include "gateway/store/varint.h"

namespace lambda::gateway {
namespace {

std::vector<BlockRow> unpacked(const std::vector<Extent>& extents) {
  std::vector<BlockRow> rows;
  for (const Extent& extent : extents) {
    EXPECT_TRUE(unpack_extent(extent.stream, extent.segment, extent.first, extent.packed, &rows));
  }
  return rows;
}

TEST(Extent, GivesBackWhatWasPackedWhateverItIs) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::vector<BlockRow> rows;
    BlockRow row;
    row.stream = static_cast<int64_t>(random() >> 1);
    for (uint64_t i = random() % 300; i > 0; --i) {
      if (random() % 40 == 0) row.segment += 1 + random() % 3;
      row.first = random() % 9 == 0 ? row.end() + random() % 1000 : row.end();
      row.count = 1 + static_cast<uint32_t>(random() % 1024);
      const bool wild = random() % 5 == 0;
      row.clock = static_cast<uint32_t>(wild ? random() : random() % 2);
      row.t_min = wild ? static_cast<int64_t>(random()) : 1'700'000'000'000 + static_cast<int64_t>(random() % 100'000);
      row.t_max = row.t_min > INT64_MAX - 600'000 ? INT64_MAX : row.t_min + static_cast<int64_t>(random() % 600'000);
      row.offset = wild ? random() : row.offset + random() % 500;
      row.length = static_cast<uint32_t>(wild ? random() : random() % 300);
      rows.push_back(row);
    }
    std::vector<Extent> extents;
    pack_extents(rows, &extents);
    EXPECT_EQ(unpacked(extents), rows);
    for (const Extent& extent : extents) {
      std::vector<BlockRow> blocks;
      ASSERT_TRUE(unpack_extent(extent.stream, extent.segment, extent.first, extent.packed, &blocks));
      ASSERT_FALSE(blocks.empty());
      EXPECT_LE(blocks.size(), kExtentBlocksMax);
      EXPECT_EQ(blocks[0].first, extent.first);
      for (size_t i = 0; i < blocks.size(); ++i) {
        EXPECT_GE(blocks[i].t_min, extent.t_min);
        EXPECT_LE(blocks[i].t_max, extent.t_max);
        if (i > 0) {
          EXPECT_EQ(blocks[i].first, blocks[i - 1].end());
        }
      }
    }
  }
}

TEST(Extent, ASteadyStreamCostsAboutADozenBytesABlock) {
  std::vector<BlockRow> rows;
  for (uint64_t i = 0; i < kExtentBlocksMax; ++i) {
    const auto start = static_cast<int64_t>(1'700'000'000'000 + i * 60'000);
    rows.push_back({1, i * 60, 60, 0, start, start + 59'000, 3, 32 + i * 40'000, 110});
  }
  std::vector<Extent> extents;
  pack_extents(rows, &extents);
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_LE(extents[0].packed.size(), 14 * kExtentBlocksMax);
}

TEST(Extent, ATruncatedOneIsRefusedAndAddsNothing) {
  std::vector<Extent> extents;
  pack_extents(std::vector<BlockRow>{{1, 5, 3, 9, -7, 600, 2, 4'000'000'000, 77}}, &extents);
  const std::string& packed = extents[0].packed;
  for (size_t length = 1; length < packed.size(); ++length) {
    std::vector<BlockRow> rows(1);
    EXPECT_FALSE(unpack_extent(1, 2, 5, std::string_view(packed).substr(0, length), &rows));
    EXPECT_EQ(rows.size(), 1u);
  }
  std::vector<BlockRow> rows;
  std::string none;
  for (int i = 0; i < 6; ++i) put_varint(none, 0);
  EXPECT_FALSE(unpack_extent(1, 2, 5, none, &rows)) << "a block without points";
}

}  // namespace
}  // namespace lambda::gateway
