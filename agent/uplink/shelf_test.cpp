#include "agent/uplink/shelf.h"

#include <gtest/gtest.h>

#include "agent/spool/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::agent {
namespace {

using test::World;
using Seqs = std::vector<std::pair<uint64_t, uint64_t>>;  // boot, seq

// One block of `count` points of series 1.
class OneBlock final : public BlockFeed {
 public:
  OneBlock(uint64_t first, uint32_t count) : bytes_(block_bytes_max(count)) {
    BlockOptions options;
    options.ref = 1;
    options.first_ordinal = first;
    BlockWriter writer(bytes_, options);
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < count; ++i) {
      const Point point{static_cast<int64_t>(first + i) * 1000, i};
      EXPECT_EQ(writer.append(point), AppendResult::kOk);
      root.add(point);
    }
    head_.info = writer.info();
    const auto sealed = writer.seal();
    head_.bytes = static_cast<uint32_t>(sealed.size());
    head_.data = sealed.data();
    root.finish(head_.root);
  }
  bool peek(BlockHead* head) override {
    if (!taken_) *head = head_;
    return !taken_;
  }
  void take() override { taken_ = true; }
  bool copy(const BlockHead&, std::span<uint8_t>) override { return false; }

 private:
  std::vector<uint8_t> bytes_;
  BlockHead head_;
  bool taken_ = false;
};

// A shelf over a spool with boots of one series each.
struct Shelved {
  Shelved()
      : spool(world.env, options()),
        shelf(world.env, spool, packer.options(), "test 1",
              {[this](uint64_t boot, std::vector<uint32_t> refs) { declares.emplace_back(boot, std::move(refs)); },
               [this] { ++new_boots; }, [this](int64_t ms) { time_ms = ms; }}) {
    EXPECT_TRUE(spool.open().has_value());
    spool.start();
  }
  static SpoolOptions options() {
    SpoolOptions out;
    out.dir = "d";
    return out;
  }
  void begin(uint64_t id, uint64_t previous) {
    auto table = std::make_shared<SeriesTable>();
    SeriesSpec spec;
    spec.name = "a";
    EXPECT_TRUE(table->find_or_add(spec).has_value());
    spool.begin_boot(id, previous, 1'700'000'000'000 + static_cast<int64_t>(id), table,
                     std::vector<uint8_t>(kSignatureBytes, 7));
    shelf.set_boot(id);
    world.loop.run_for(10);
  }
  // A parcel of one block.
  void parcel(uint64_t id, uint32_t points = 1) {
    Boot& boot = *spool.state().find(id);
    PackInput input;
    OneBlock block(boot.series->at(1).covered, points);
    input.blocks = &block;
    Packed packed;
    std::vector<BlockHead> too_large;
    ASSERT_TRUE(packer.pack(boot, world.clock.utc_ms(), input, &packed, &too_large));
    bool done = false;
    spool.append(packed.up, packed.digest, [&](Status status) { done = status.has_value(); });
    world.loop.run_for(10);
    ASSERT_TRUE(done);
  }
  Seqs lane(Lane which) {
    Seqs found;
    ParcelKey after, key;
    size_t bytes = 0;
    while (found.size() < 1000 && shelf.next(which, after, &key, &bytes)) {
      found.emplace_back(key.boot, key.seq);
      EXPECT_EQ(shelf.read(key).size(), bytes);
      after = key;
    }
    return found;
  }

  World world{5};
  SigningKey signing = SigningKey::from_hex(std::string(63, '0') + "1").value();
  Packer packer{{"hall", "press-7", 64u << 10}, signing};
  Spool spool;
  SpoolShelf shelf;
  std::vector<std::pair<uint64_t, std::vector<uint32_t>>> declares;
  int new_boots = 0;
  int64_t time_ms = 0;
};

TEST(SpoolShelf, WhatIsThereAtAConnectionIsBacklogAndWhatComesLaterIsFresh) {
  Shelved at;
  at.begin(11, 0);
  at.parcel(11);
  at.parcel(11);
  at.begin(12, 11);
  at.parcel(12);
  at.shelf.begin_connection();
  EXPECT_EQ(at.lane(Lane::kBacklog), (Seqs{{11, 1}, {11, 2}, {12, 1}})) << "oldest first";
  EXPECT_EQ(at.lane(Lane::kFresh), Seqs{});
  at.parcel(12);
  at.parcel(11);  // of an older boot too
  EXPECT_EQ(at.lane(Lane::kBacklog), (Seqs{{11, 1}, {11, 2}, {12, 1}}));
  EXPECT_EQ(at.lane(Lane::kFresh), (Seqs{{11, 3}, {12, 2}}));
  at.shelf.begin_connection();
  EXPECT_EQ(at.lane(Lane::kFresh), Seqs{}) << "after an outage what is new goes before it";
  EXPECT_EQ(at.lane(Lane::kBacklog).size(), 5u);
}

TEST(SpoolShelf, AnOlderBootThatIsTakenUpLaterIsBacklogAndAPresentOneThatBeganIsFresh) {
  Shelved at;
  at.begin(12, 11);
  at.parcel(12);
  at.shelf.begin_connection();
  at.begin(11, 0);  // its journals waited
  at.shelf.set_boot(12);
  at.parcel(11);
  at.parcel(12);
  EXPECT_EQ(at.lane(Lane::kFresh), (Seqs{{12, 2}}));
  EXPECT_EQ(at.lane(Lane::kBacklog), (Seqs{{12, 1}, {11, 1}}));
  at.begin(13, 12);
  at.parcel(13);
  EXPECT_EQ(at.lane(Lane::kFresh), (Seqs{{12, 2}, {13, 1}}));
}

TEST(SpoolShelf, GoesOnBehindAParcelOrABootThatIsGone) {
  Shelved at;
  for (const uint64_t boot : {11, 12, 13}) {
    at.begin(boot, boot - 1);
    at.parcel(boot);
    at.parcel(boot);
  }
  at.shelf.begin_connection();
  ParcelKey key;
  size_t bytes = 0;
  at.shelf.settled({12, 1});
  ASSERT_TRUE(at.shelf.next(Lane::kBacklog, {12, 1}, &key, &bytes));
  EXPECT_EQ(key, (ParcelKey{12, 2}));
  ASSERT_TRUE(at.shelf.next(Lane::kBacklog, {11, UINT64_MAX}, &key, &bytes));
  EXPECT_EQ(key, (ParcelKey{12, 2})) << "the first of the next boot";
  EXPECT_FALSE(at.shelf.next(Lane::kBacklog, {13, UINT64_MAX}, &key, &bytes));
  ASSERT_TRUE(at.shelf.next(Lane::kBacklog, {99, 5}, &key, &bytes));
  EXPECT_EQ(key, (ParcelKey{11, 1})) << "a boot that is gone is as good as the start";
}

TEST(SpoolShelf, ListsThePresentBootFirstAndThenThoseWithParcels) {
  Shelved at;
  for (const uint64_t boot : {11, 12, 13}) at.begin(boot, boot - 1);
  at.parcel(11);
  at.parcel(12);
  at.shelf.settled_through(12, 1);
  std::vector<uint64_t> listed;
  uint64_t boot = 0;
  for (size_t i = 0; i < 10 && at.shelf.boot(i, &boot); ++i) listed.push_back(boot);
  EXPECT_EQ(listed, (std::vector<uint64_t>{13, 11}));
}

TEST(SpoolShelf, AHelloSaysWhatTheSpoolKnows) {
  Shelved at;
  at.begin(11, 7);
  for (int i = 0; i < 3; ++i) at.parcel(11);
  at.shelf.settled({11, 1});
  const auto bytes = at.shelf.hello(11, 99);
  v1::Up up;
  ASSERT_TRUE(up.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  ASSERT_TRUE(up.has_hello());
  EXPECT_EQ(up.hello().site(), "hall");
  EXPECT_EQ(up.hello().device(), "press-7");
  EXPECT_EQ(up.hello().boot(), 11u);
  EXPECT_EQ(up.hello().previous_boot(), 7u);
  EXPECT_EQ(up.hello().nonce(), 99u);
  EXPECT_EQ(up.hello().next_seq(), 4u);
  EXPECT_EQ(up.hello().floor_seq(), 2u);
  EXPECT_EQ(up.hello().backlog_parcels(), 2u);
  EXPECT_EQ(up.hello().signature(), std::string(kSignatureBytes, 7));
  EXPECT_TRUE(at.shelf.hello(77, 1).empty()) << "no such boot";
}

TEST(SpoolShelf, ASettledSeqBeyondTheLastIsNumberedAboveUnlessItIsAbsurd) {
  Shelved at;
  at.begin(11, 0);
  at.parcel(11);
  at.shelf.settled_through(11, 80);
  EXPECT_EQ(at.lane(Lane::kFresh), Seqs{});
  EXPECT_EQ(at.spool.state().find(11)->seq_known_max, 80u);
  at.shelf.settled_through(11, UINT64_MAX - 1);
  EXPECT_EQ(at.spool.state().find(11)->seq_known_max, 80u);
}

TEST(SpoolShelf, WhatARefusedParcelHeldBecomesAGapAndTheParcelIsGone) {
  Shelved at;
  at.begin(11, 0);
  at.parcel(11, 5);
  at.shelf.begin_connection();
  at.shelf.refused({11, 1}, RefusalCode::kConflict);
  at.world.loop.run_for(2'000);
  EXPECT_EQ(at.lane(Lane::kBacklog), Seqs{});
  const auto gaps = at.spool.state().find(11)->gaps_to_name();
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].reason, GapReason::kRefused);
  EXPECT_EQ(gaps[0].run.first, 0u);
  EXPECT_EQ(gaps[0].run.count, 5u);
  EXPECT_EQ(at.world.log.events["parcel_refused"], 1u);
}

TEST(SpoolShelf, HandsOnWhatOnlyTheNodeCanDo) {
  Shelved at;
  at.begin(11, 0);
  const uint32_t refs[] = {1, 4};
  at.shelf.declare(11, refs);
  at.shelf.new_boot();
  at.shelf.gateway_time(5);
  ASSERT_EQ(at.declares.size(), 1u);
  EXPECT_EQ(at.declares[0].second, (std::vector<uint32_t>{1, 4}));
  EXPECT_EQ(at.new_boots, 1);
  EXPECT_EQ(at.time_ms, 5);
}

}  // namespace
}  // namespace lambda::agent
