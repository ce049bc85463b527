// A spool on a disk in memory, parcels for it, and the sums that must come out.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/spool/packer.h"
#include "agent/spool/parcel_facts.h"
#include "agent/spool/spool.h"
#include "agent/spool/test_world.h"

namespace lambda::agent {

using test::FakeDisk;
using test::World;
using Ordinals = std::map<std::pair<uint64_t, uint32_t>, SeqSet>;  // (boot, ref) -> ordinals + 1

// Blocks of known ordinals that need no memory of their own.
class MadeFeed final : public BlockFeed {
 public:
  void add(uint32_t ref, uint64_t first, uint32_t count) {
    BlockHead head;
    auto& bytes = bytes_.emplace_back(block_bytes_max(count));
    BlockOptions options;
    options.ref = ref;
    options.first_ordinal = first;
    BlockWriter writer(bytes, options);
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < count; ++i) {
      const Point point{static_cast<int64_t>(first + i) * 1000, (first + i) * 7 + ref};
      ASSERT_EQ(writer.append(point), AppendResult::kOk);
      root.add(point);
    }
    head.info = writer.info();
    const auto sealed = writer.seal();
    head.bytes = static_cast<uint32_t>(sealed.size());
    head.data = sealed.data();
    root.finish(head.root);
    heads_.push_back(head);
  }
  bool peek(BlockHead* head) override {
    if (heads_.empty()) return false;
    *head = heads_.front();
    return true;
  }
  void take() override { heads_.pop_front(); }
  bool copy(const BlockHead&, std::span<uint8_t>) override { return false; }

 private:
  std::deque<std::vector<uint8_t>> bytes_;
  std::deque<BlockHead> heads_;
};

inline void note(Ordinals& ordinals, uint64_t boot, const Run& run) {
  ordinals[{boot, run.ref}].add(run.first + 1, run.first + run.count);
}

// One start of a spool with a boot of its own.
struct Start {
  Start(World& in, SpoolOptions options, uint64_t id)
      : world(in),
        key(SigningKey::from_hex(std::string(63, '0') + "1").value()),
        packer({"site", "device", 64u << 10}, key),
        spool(in.env, with_dir(options)),
        boot(id) {
    opened = spool.open();
    auto table = std::make_shared<SeriesTable>();
    for (int i = 0; i < 3; ++i) {
      SeriesSpec spec;
      spec.name = "s" + std::to_string(i);
      (void)table->find_or_add(spec);
    }
    spool.begin_boot(id, 0, in.clock.utc_ms(), table, std::vector<uint8_t>(64, 1));
    spool.start();
  }
  static SpoolOptions with_dir(SpoolOptions options) {
    options.dir = "d";
    return options;
  }
  // A parcel with a few blocks, and the pending gaps of its boot. One at a time, as the node does it.
  void parcel(uint64_t blocks) {
    if (waiting) return;
    waiting = true;
    MadeFeed feed;
    Boot& state = *spool.state().find(boot);
    for (uint64_t i = 0; i < blocks; ++i) {
      const auto ref = static_cast<uint32_t>(1 + (i + state.next_seq) % 3);
      if (taken.contains(ref)) continue;
      taken.insert(ref);
      const auto count = static_cast<uint32_t>(1 + world.random.below(20));
      feed.add(ref, state.series->at(ref).covered, count);
    }
    taken.clear();
    send(state, &feed);
  }
  void name_gaps(uint64_t id) {
    Boot& state = *spool.state().find(id);
    if (waiting || state.pending.empty()) return;
    waiting = true;
    send(state, nullptr);
  }
  void send(Boot& state, BlockFeed* feed) {
    PackInput input;
    input.blocks = feed;
    for (const Gap& gap : state.gaps_to_name()) input.gaps.push_back(gap);
    Packed packed;
    std::vector<BlockHead> too_large;
    ASSERT_TRUE(packer.pack(state, world.clock.utc_ms(), input, &packed, &too_large));
    const auto facts = parse_parcel(*parcel_in_up(packed.up));
    ASSERT_TRUE(facts.has_value());
    last_up = packed.up;
    spool.append(packed.up, packed.digest, [this, facts = *facts](Status status) {
      ASSERT_TRUE(status.has_value());
      waiting = false;
      parcels++;
      for (const Run& run : facts.runs) note(made, facts.boot, run);
    });
  }
  World& world;
  SigningKey key;
  Packer packer;
  Spool spool;
  uint64_t boot;
  Status opened;
  bool waiting = false;
  uint64_t parcels = 0;
  std::vector<uint8_t> last_up;
  Ordinals made;  // in parcels whose append said done
  std::set<uint32_t> taken;
};

// What a gateway would get by draining all: blocks, and what gaps name.
inline void drain(Spool& spool, Ordinals& stored, Ordinals& gaps) {
  std::vector<uint64_t> ids;
  for (const auto& boot : spool.state().boots()) ids.push_back(boot->id);
  for (const uint64_t id : ids) {
    uint64_t seq = 0;
    size_t bytes = 0;
    while (spool.next(id, seq, UINT64_MAX, &seq, &bytes)) {
      const auto up = spool.read(id, seq);
      if (up.empty()) continue;
      EXPECT_EQ(up.size(), bytes);
      const auto facts = parse_parcel(*parcel_in_up(up));
      for (const Run& run : facts->runs) note(stored, id, run);
      for (const Gap& gap : facts->gaps) note(gaps, id, gap.run);
      spool.settled(id, seq, seq);
    }
    if (const Boot* boot = spool.state().find(id)) {
      for (const Gap& gap : boot->pending.all()) note(gaps, id, gap.run);
    }
  }
}

inline void expect_covered(const Ordinals& made, const Ordinals& stored, const Ordinals& gaps,
                           const std::string& when) {
  for (const auto& [place, runs] : made) {
    for (const auto& [first, last] : runs.runs()) {
      for (uint64_t at = first; at <= last; ++at) {
        const auto in = [&](const Ordinals& set) {
          const auto found = set.find(place);
          return found != set.end() && found->second.contains(at);
        };
        ASSERT_TRUE(in(stored) || in(gaps))
            << when << " boot " << place.first << " ref " << place.second << " ordinal " << at - 1;
      }
    }
  }
}

}  // namespace lambda::agent
