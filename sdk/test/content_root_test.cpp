#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "lambda/block.h"
#include "port/posix/posix_port.h"

namespace lambda {
namespace {

std::string sha256(const std::string& text) {
  HashState state;
  posix_hash().start(&state);
  posix_hash().update(&state, reinterpret_cast<const uint8_t*>(text.data()), text.size());
  uint8_t digest[kDigestBytes];
  posix_hash().finish(&state, digest);
  return std::string(digest, digest + kDigestBytes);
}

std::string big_endian(uint64_t value) {
  std::string bytes(8, '\0');
  for (size_t i = 8; i-- > 0; value >>= 8) bytes[i] = static_cast<char>(value & 0xFF);
  return bytes;
}

// MTH() of RFC 6962, section 2.1, word for word.
std::string tree_hash(const std::vector<std::string>& leaves) {
  if (leaves.size() == 1) return sha256(std::string(1, '\0') + leaves[0]);
  size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  const auto middle = leaves.begin() + static_cast<ptrdiff_t>(k);
  return sha256(std::string(1, '\1') + tree_hash({leaves.begin(), middle}) + tree_hash({middle, leaves.end()}));
}

std::string naive_root(const std::vector<Point>& points) {
  std::vector<std::string> leaves;
  for (size_t i = 0; i < points.size(); ++i) {
    if (i % 64 == 0) leaves.emplace_back();
    leaves.back() += big_endian(static_cast<uint64_t>(points[i].time_ms)) + big_endian(points[i].bits);
  }
  return tree_hash(leaves);
}

TEST(ContentRoot, IsTheMerkleRootOfTheRfcForEveryNumberOfPoints) {
  std::mt19937_64 random(11);
  std::vector<Point> points;
  ContentRoot root(posix_hash());  // one object for all: finish() leaves it as new
  for (uint32_t count = 1; count <= kBlockPointsMax; ++count) {
    points.push_back({static_cast<int64_t>(random()), random()});
    if (count > 200 && count % 64 > 2 && count % 64 < 62) continue;
    for (const Point& point : points) root.add(point);
    uint8_t digest[kDigestBytes];
    root.finish(digest);
    ASSERT_EQ(std::string(digest, digest + kDigestBytes), naive_root(points)) << count;
  }
}

}  // namespace
}  // namespace lambda
