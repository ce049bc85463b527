// The series store against a naive model, under operations drawn at random.
#include <map>
#include <memory>
#include <random>
#include <set>
#include <tuple>

#include "store_world.h"

namespace lambda {
namespace {

using World = test::StoreWorld;
using Key = std::tuple<uint64_t, uint32_t, uint64_t>;  // boot, ref, ordinal

struct Model {
  std::map<Key, Point> taken;
  std::set<Key> safe;
  std::set<Key> in_gaps;
};

void put_gap(const StoreGap& gap, Model* model) {
  for (uint64_t i = 0; i < gap.count; ++i) {
    const Key key{gap.boot, gap.ref, gap.first_ordinal + i};
    EXPECT_TRUE(model->in_gaps.insert(key).second) << "named twice: " << gap.first_ordinal + i;
    EXPECT_EQ(model->taken.count(key), 1u) << "never taken: " << gap.first_ordinal + i;
    EXPECT_EQ(model->safe.count(key), 0u) << "was safe: " << gap.first_ordinal + i;
  }
}

// Every point that was ever taken is in memory with its value, or was safe, or is in exactly one gap.
void check(World* world, Model* model, bool drain_gaps) {
  StoreGap gap;
  while (drain_gaps && world->store.take_gap(&gap)) put_gap(gap, model);
  struct Context {
    std::map<Key, Point> seen;
    uint32_t ref;
  } context{{}, 0};
  for (context.ref = 1; context.ref <= world->store.series_count(); ++context.ref) {
    ASSERT_TRUE(world->store.read(
        context.ref, INT64_MIN, INT64_MAX,
        [](void* to, uint64_t boot, uint64_t ordinal, Point point) {
          auto* into = static_cast<Context*>(to);
          EXPECT_TRUE(into->seen.emplace(Key{boot, into->ref, ordinal}, point).second);
        },
        &context));
  }
  for (const auto& [key, point] : context.seen) {
    const auto found = model->taken.find(key);
    ASSERT_NE(found, model->taken.end());
    ASSERT_EQ(found->second, point);
    ASSERT_EQ(model->in_gaps.count(key), 0u);
  }
  if (!drain_gaps) return;
  for (const auto& [key, point] : model->taken) {
    ASSERT_TRUE(context.seen.count(key) + model->safe.count(key) + model->in_gaps.count(key) > 0)
        << "lost: ref " << std::get<1>(key) << " ordinal " << std::get<2>(key);
  }
  uint32_t last = 0;
  for (BlockState state : {BlockState::kLoose, BlockState::kParcelled, BlockState::kSafe}) {
    last = 0;
    for (const SealedBlock& block : world->blocks(state)) {
      ASSERT_GT(block.id.serial, last);
      last = block.id.serial;
      ASSERT_EQ(block.state, state);
      ContentRoot root(posix_hash());
      for (const Point& point : world->decoded(block.id)) root.add(point);
      uint8_t digest[kDigestBytes];
      root.finish(digest);
      ASSERT_EQ(0, __builtin_memcmp(digest, block.root, kDigestBytes));
    }
  }
}

void mark_safe(const SealedBlock& block, Model* model) {
  for (uint64_t i = 0; i < block.info.count; ++i) {
    model->safe.insert({block.info.boot, block.info.ref, block.info.first_ordinal + i});
  }
}

class RandomOperations {
 public:
  explicit RandomOperations(uint64_t seed) : random_(seed) {
    SeriesStoreOptions options;
    options.series_max = 1 + static_cast<uint32_t>(below(6));
    options.gaps_max = below(2) == 0 ? 1 + static_cast<uint32_t>(below(3)) : 16;
    const uint32_t pages[] = {128, 136, 256, 1024, 4096};
    options.page_bytes = pages[below(5)];
    const uint32_t blocks[] = {256, 300, 1000, 16384};
    options.block_bytes_max = blocks[below(4)];
    options.retention_ms = 20'000;
    options.seal_age_ms = 7'000;
    world_ = std::make_unique<World>(options, 2 + below(below(2) == 0 ? 20 : 200));
    const ValueType types[] = {ValueType::kF64, ValueType::kI64, ValueType::kDec, ValueType::kState};
    for (uint32_t i = 0; i < options.series_max; ++i) world_->add(types[below(4)], 3, below(3) == 0 ? 10 : 1);
    base_ = below(4) == 0 ? static_cast<int64_t>(below(1'200'000)) - 600'000 : 1'700'000'000'000;
  }

  void run(int operations) {
    for (int i = 0; i < operations; ++i) {
      step();
      if (i % 50 == 0) check(world_.get(), &model_, below(2) == 0);
      if (testing::Test::HasFatalFailure()) return;
    }
    check(world_.get(), &model_, true);
    finish();
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }

  void step() {
    const uint64_t kind = below(100);
    if (kind < 80) return append();
    if (kind < 84) return world_->store.seal(1 + static_cast<uint32_t>(below(world_->options.series_max)));
    if (kind < 85) return world_->store.seal_all();
    if (kind < 90) return tick();
    if (kind < 98) return settle();
    if (kind < 99 && below(8) == 0) return another_boot();
    world_->store.set_clock(static_cast<uint32_t>(below(1'000'000)));
  }

  void append() {
    const auto ref = 1 + static_cast<uint32_t>(below(world_->options.series_max));
    for (uint64_t n = 1 + below(20); n > 0; --n) {
      SeriesShape shape;
      ASSERT_TRUE(world_->store.shape(ref, &shape));
      const Point point{base_ + now_ + static_cast<int64_t>(below(30)) * 10,
                        below(3) == 0 ? random_() : random_() % 1000};
      const uint64_t next = world_->store.next_ordinal(ref);
      const Appended appended = world_->store.append(ref, point);
      if (appended.result == StoreResult::kNoMemory) {
        ASSERT_EQ(world_->store.next_ordinal(ref), next);
        continue;
      }
      ASSERT_EQ(appended.result, StoreResult::kOk);
      ASSERT_EQ(appended.ordinal, next);
      ASSERT_TRUE(model_.taken.emplace(Key{world_->store.boot(), ref, next}, point).second);
    }
  }

  void tick() {
    now_ += static_cast<int64_t>(below(5'000));
    world_->store.tick(now_);
  }

  void settle() {
    auto loose = world_->blocks(BlockState::kLoose);
    auto parcelled = world_->blocks(BlockState::kParcelled);
    auto& from = below(2) == 0 || parcelled.empty() ? loose : parcelled;
    if (from.empty()) return;
    const SealedBlock block = from[below(from.size())];
    if (below(2) == 0) {
      world_->store.parcelled(block.id, static_cast<uint32_t>(below(3)));
    } else if (below(3) == 0) {
      world_->store.loose(block.id);
    } else if (below(3) == 0) {
      const auto tag = static_cast<uint32_t>(below(3));
      for (const SealedBlock& each : parcelled) {
        if (each.parcel == tag) mark_safe(each, &model_);
      }
      world_->store.safe_parcel(tag);
    } else {
      mark_safe(block, &model_);
      world_->store.safe(block.id);
    }
  }

  void another_boot() { world_->store.new_boot(++boot_); }

  // Made safe and past its retention, everything goes and every page is free again.
  void finish() {
    world_->store.seal_all();
    StoreGap gap;
    while (world_->store.take_gap(&gap)) {
    }
    for (BlockState state : {BlockState::kLoose, BlockState::kParcelled}) {
      for (const SealedBlock& block : world_->blocks(state)) world_->store.safe(block.id);
    }
    EXPECT_EQ(world_->store.pages_free() + world_->store.pages_safe(), world_->store.pages())
        << "all is sealed and safe";
    world_->store.tick(now_ + 1'000'000);
    EXPECT_EQ(world_->store.pages_free(), world_->store.pages());
    EXPECT_EQ(world_->store.pages_safe(), 0u);
    EXPECT_EQ(world_->store.counters().points, model_.taken.size());
  }

  std::mt19937_64 random_;
  std::unique_ptr<World> world_;
  Model model_;
  int64_t base_ = 0;
  int64_t now_ = 0;
  uint64_t boot_ = 1;
};

TEST(SeriesStoreModel, EveryPointIsInMemoryOrWasSafeOrIsInExactlyOneGap) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomOperations(seed).run(400);
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace lambda
