// The Merkle root of RFC 6962, section 2.1, computed as the points come: roots_[k] is the root of a whole subtree of
// 2^k leaves, held while bit k of the number of leaves is set. At the end they fold from the smallest to the largest,
// which is the same tree as splitting at the largest power of two below the number of leaves.
#include "codes.h"
#include "expect.h"
#include "lambda/block.h"

namespace lambda {
namespace {

constexpr uint32_t kLeafPoints = 64;
constexpr uint8_t kLeafTag = 0;
constexpr uint8_t kNodeTag = 1;

}  // namespace

ContentRoot::ContentRoot(const HashPort& hash) : hash_(&hash) {}

void ContentRoot::add(Point point) {
  LAMBDA_EXPECT(points_ < kBlockPointsMax);
  if (points_ % kLeafPoints == 0) {
    hash_->start(&state_);
    hash_->update(&state_, &kLeafTag, 1);
  }
  uint8_t canonical[16];
  store_u64be(canonical, static_cast<uint64_t>(point.time_ms));
  store_u64be(canonical + 8, point.bits);
  hash_->update(&state_, canonical, sizeof canonical);
  ++points_;
  if (points_ % kLeafPoints == 0) end_leaf();
}

void ContentRoot::end_leaf() {
  const auto above = static_cast<uint32_t>(__builtin_ctz(~leaves_));
  uint8_t* const root = roots_[above];
  hash_->finish(&state_, root);
  for (uint32_t level = 0; level < above; ++level) join(roots_[level], root, root);
  ++leaves_;
}

void ContentRoot::finish(uint8_t root[kDigestBytes]) {
  LAMBDA_EXPECT(points_ > 0);
  if (points_ % kLeafPoints != 0) end_leaf();
  uint32_t level = 0;
  while ((leaves_ >> level & 1) == 0) ++level;
  __builtin_memcpy(root, roots_[level], kDigestBytes);
  for (++level; leaves_ >> level != 0; ++level) {
    if ((leaves_ >> level & 1) != 0) join(roots_[level], root, root);
  }
  points_ = 0;
  leaves_ = 0;
}

void ContentRoot::join(const uint8_t* left, const uint8_t* right, uint8_t* root) {
  HashState state;
  hash_->start(&state);
  hash_->update(&state, &kNodeTag, 1);
  hash_->update(&state, left, kDigestBytes);
  hash_->update(&state, right, kDigestBytes);
  hash_->finish(&state, root);
}

}  // namespace lambda
