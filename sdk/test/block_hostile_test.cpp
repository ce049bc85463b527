// A block from outside is an error with a name and an offset, or exactly its points: never a crash, never a wrong
// number.
#include <gtest/gtest.h>

#include <string>

#include "block_reference.h"
#include "lambda/block.h"

namespace lambda {
namespace {

using reference::Bytes;
using reference::Inputs;

BlockStatus status_of(const Bytes& bytes) {
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  const Bytes exact(bytes);  // of its own allocation: a sanitizer sees a read behind the end
  return decode_block(exact, 0, &info, points);
}

std::string name_of(const Bytes& bytes) {
  return block_error_name(status_of(bytes).error);
}

std::vector<Bytes> some_blocks() {
  std::vector<Bytes> blocks;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    blocks.push_back(reference::encode(options, inputs.points(options, 1 + inputs.below(40))));
  }
  return blocks;
}

TEST(BlockHostile, CutAtAnyByteItIsRefused) {
  for (const Bytes& block : some_blocks()) {
    ASSERT_EQ(name_of(block), "none");
    for (size_t size = 0; size < block.size(); ++size) {
      const BlockStatus status = status_of(Bytes(block.begin(), block.begin() + static_cast<ptrdiff_t>(size)));
      ASSERT_TRUE(status.error == BlockError::kTooShort || status.error == BlockError::kChecksum) << size;
      EXPECT_LE(status.offset, size);
    }
  }
}

TEST(BlockHostile, WithAnyBitFlippedItIsRefused) {
  for (const Bytes& block : some_blocks()) {
    for (size_t bit = 0; bit < block.size() * 8; ++bit) {
      Bytes flipped = block;
      flipped[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      ASSERT_NE(name_of(flipped), "none") << "bit " << bit;
    }
  }
}

// A forger can make the checksum right. Then the block may be another valid one, but what comes out must agree with its
// own head, and writing it again must give the same points.
void expect_consistent(const Bytes& block) {
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  if (!decode_block(Bytes(block), 0, &info, points).ok()) return;
  points.resize(info.count);
  const reference::Extent extent = reference::extent(points);
  ASSERT_EQ(extent.t_min, info.t_min);
  ASSERT_EQ(extent.t_max, info.t_max);
  ASSERT_EQ(extent.unordered, info.unordered);
}

TEST(BlockHostile, WithBitsChangedAndTheChecksumPutRightItIsRefusedOrConsistent) {
  size_t accepted = 0;
  for (const Bytes& block : some_blocks()) {
    for (size_t bit = 0; bit < (block.size() - 4) * 8; ++bit) {
      Bytes forged(block.begin(), block.end() - 4);
      forged[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      reference::append_checksum(&forged);
      expect_consistent(forged);
      accepted += name_of(forged) == "none" ? 1 : 0;
    }
    for (size_t size = 4; size < block.size() - 4; ++size) {
      Bytes forged(block.begin(), block.begin() + static_cast<ptrdiff_t>(size));
      reference::append_checksum(&forged);
      ASSERT_NE(name_of(forged), "none") << "cut to " << size;
    }
  }
  EXPECT_GT(accepted, 100u);  // the test reaches behind the checksum
}

TEST(BlockHostile, RandomBytesBehindAValidHeadNeverCrash) {
  std::mt19937_64 random(99);
  for (int round = 0; round < 20'000; ++round) {
    const uint8_t count = static_cast<uint8_t>(1 + random() % 127);
    const bool is_xor = random() % 2 == 0;
    Bytes block{0xB1, static_cast<uint8_t>(is_xor ? 1 : 2), static_cast<uint8_t>(is_xor ? 1 : 3), 1, 0, count, 0};
    reference::append(&block, reference::varint(random() % 600'001));
    block.push_back(1);
    const size_t tail = random() % 60 + (is_xor ? 8 : 1);
    for (size_t i = 0; i < tail; ++i) block.push_back(static_cast<uint8_t>(random() & random()));
    reference::append_checksum(&block);
    expect_consistent(block);
  }
}

TEST(BlockHostile, AfterAnErrorTheReaderGivesNothingMore) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 20; ++i) points.push_back({i, static_cast<uint64_t>(i) << 50});
  Bytes forged = reference::encode({}, points);
  forged.erase(forged.end() - 4, forged.end());
  forged.back() = 0xFF;
  reference::append_checksum(&forged);
  BlockReader reader;
  ASSERT_TRUE(reader.open(forged).ok());
  Point point;
  size_t read = 0;
  while (reader.next(&point)) ++read;
  EXPECT_LT(read, points.size());
  EXPECT_FALSE(reader.status().ok());
  EXPECT_FALSE(reader.next(&point));
}

TEST(BlockHostile, AReaderThatWasNeverOpenedGivesNothing) {
  BlockReader reader;
  Point point;
  EXPECT_FALSE(reader.next(&point));
}

TEST(BlockHostile, TooLittleRoomForThePointsIsAnErrorAndNotAnOverflow) {
  const Bytes block = reference::encode({}, {{1, 1}, {2, 2}, {3, 3}});
  std::vector<Point> points(2);
  BlockInfo info;
  EXPECT_EQ(decode_block(block, 0, &info, points).error, BlockError::kCount);
}

// A reader that is handed many points at a time takes another way through the bits than one that is handed one.
void expect_one_way(const Bytes& block) {
  const Bytes exact(block);  // of its own allocation: a sanitizer sees a read behind the end
  BlockReader one, many;
  if (!one.open(exact).ok()) return;
  ASSERT_TRUE(many.open(exact).ok());
  std::vector<Point> singly(kBlockPointsMax), together(kBlockPointsMax);
  size_t count = 0;
  while (count < kBlockPointsMax && one.next(&singly[count])) ++count;
  size_t got = 0;
  for (size_t more; (more = many.next(std::span(together).subspan(got, kBlockPointsMax - got))) > 0;) got += more;
  ASSERT_EQ(got, count);
  ASSERT_EQ(many.status().error, one.status().error);
  ASSERT_EQ(many.status().offset, one.status().offset);
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(together[i], singly[i]) << "point " << i;
}

TEST(BlockHostile, ManyPointsAtATimeAreReadAsOneByOneGoodBlocksAndBadOnes) {
  for (uint64_t seed = 100; seed < 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    const Bytes block = reference::encode(options, inputs.points(options, 1 + inputs.below(kBlockPointsMax)));
    expect_one_way(block);
    for (int round = 0; round < 20; ++round) {
      Bytes forged(block.begin(), block.end() - 4);
      const size_t bit = forged.size() * 8 - 1 - inputs.below(forged.size() * 8 - 1);
      forged[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      if (inputs.below(4) == 0) forged.resize(forged.size() - inputs.below(forged.size() / 2));
      reference::append_checksum(&forged);
      expect_one_way(forged);
    }
  }
}

}  // namespace
}  // namespace lambda
