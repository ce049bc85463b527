#include "agent/spool/spool.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "agent/spool/packer.h"
#include "agent/spool/test_world.h"

namespace lambda::agent {
namespace {

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

void note(Ordinals& ordinals, uint64_t boot, const Run& run) {
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
void drain(Spool& spool, Ordinals& stored, Ordinals& gaps) {
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

void expect_covered(const Ordinals& made, const Ordinals& stored, const Ordinals& gaps, const std::string& when) {
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

TEST(Spool, AParcelComesBackByteForByteAfterARestart) {
  World world(1);
  std::vector<uint8_t> first;
  {
    Start start(world, {}, 11);
    start.parcel(2);
    world.loop.run_for(100);
    ASSERT_EQ(start.parcels, 1u);
    const auto up = start.spool.read(11, 1);
    first.assign(up.begin(), up.end());
  }
  world.loop.clear();
  world.disk.power_cut();
  Start again(world, {}, 12);
  world.loop.run_for(100);
  ASSERT_NE(again.spool.state().find(11), nullptr);
  const auto up = again.spool.read(11, 1);
  EXPECT_EQ(std::vector<uint8_t>(up.begin(), up.end()), first);
  EXPECT_EQ(again.spool.state().find(11)->next_seq, 2u);
  EXPECT_TRUE(again.spool.state().find(11)->series->at(2).covered > 0);
  EXPECT_EQ(again.spool.parcels_left(), 1u);
}

TEST(Spool, AFileGoesWhenAllInItIsSettledAndNotBefore) {
  World world(2);
  SpoolOptions options;
  options.file_bytes = 1500;
  Start start(world, options, 11);
  while (start.spool.state().files().size() < 3) {
    start.parcel(2);
    world.loop.run_for(10);
  }
  const uint64_t oldest = start.spool.state().files().front().number;
  const FileRun run = start.spool.state().files().front().runs.front();
  start.spool.settled(11, run.first_seq, run.last_seq - 1);
  world.loop.run_for(5000);
  EXPECT_EQ(start.spool.state().files().front().number, oldest);
  start.spool.settled(11, run.last_seq, run.last_seq);
  world.loop.run_for(5000);
  EXPECT_GT(start.spool.state().files().front().number, oldest);
}

TEST(Spool, OverItsBoundTheOldestGoesAndGapsNameExactlyWhatIsMissing) {
  World world(3);
  SpoolOptions options;
  options.bytes_max = 30'000;
  options.file_bytes = 3'000;
  Start start(world, options, 11);
  for (int i = 0; i < 200; ++i) {
    start.parcel(3);
    world.loop.run_for(50);
    start.spool.enforce(0);
    world.loop.run_for(50);
    EXPECT_LE(start.spool.bytes(), options.bytes_max);
  }
  EXPECT_GT(start.spool.counters().files_dropped, 10u);
  EXPECT_GT(start.spool.counters().points_dropped_bytes, 0u);
  Ordinals stored, gaps;
  drain(start.spool, stored, gaps);
  expect_covered(start.made, stored, gaps, "at the bound");
  for (const auto& [place, runs] : gaps) {
    for (const auto& [first, last] : runs.runs()) {
      for (uint64_t at = first; at <= last; ++at)
        ASSERT_FALSE(stored[place].contains(at)) << "a gap over what is there";
    }
  }
}

TEST(Spool, OldParcelsGoByAge) {
  World world(4);
  SpoolOptions options;
  options.age_ms_max = 60'000;
  options.file_bytes = 1'500;
  Start start(world, options, 11);
  for (int i = 0; i < 10; ++i) {
    start.parcel(3);
    world.loop.run_for(50);
  }
  start.spool.enforce(0);
  world.loop.run_for(100);
  EXPECT_EQ(start.spool.counters().files_dropped, 0u);
  world.loop.run_for(70'000);
  start.spool.enforce(0);
  world.loop.run_for(100);
  EXPECT_GT(start.spool.counters().points_dropped_age, 0u);
  const auto gaps = start.spool.state().find(11)->pending.all();
  ASSERT_FALSE(gaps.empty());
  EXPECT_EQ(gaps[0].reason, GapReason::kSpoolAge);
}

TEST(Spool, ARefusedParcelIsGivenUpAndItsPointsAreNamedOnce) {
  World world(5);
  Start start(world, {}, 11);
  start.parcel(1);
  world.loop.run_for(50);
  start.spool.refused(11, 1);
  world.loop.run_for(50);
  EXPECT_EQ(start.spool.parcels_left(), 0u);
  ASSERT_EQ(start.spool.state().find(11)->pending.size(), 1u);
  start.name_gaps(11);
  world.loop.run_for(50);
  EXPECT_TRUE(start.spool.state().find(11)->pending.empty());
  start.spool.refused(11, 2);  // the parcel that names the gap
  world.loop.run_for(50);
  EXPECT_TRUE(start.spool.state().find(11)->pending.empty()) << "else it would go round for ever";
}

TEST(Spool, ABadParcelInAnOlderFileIsNamedByWhatTheOthersLeaveOut) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed);
    SpoolOptions options;
    options.file_bytes = 3'000;
    Start start(world, options, 11);
    while (start.spool.state().files().size() < 3) {
      start.parcel(3);
      world.loop.run_for(10);
    }
    const std::string path = "d/" + std::string("spool-000000000000000") + (seed % 2 == 0 ? "1" : "2") + ".lam";
    auto& bytes = world.disk.files.at(path).bytes;
    bytes[bytes.size() / 2 + world.random.below(bytes.size() / 2)] ^= 0x10;
    Ordinals stored, gaps;
    const auto indices = world.random.below(2);
    if (indices == 0) {
      drain(start.spool, stored, gaps);
    } else {
      world.loop.run_for(100);
      world.loop.clear();
      SpoolOptions same = options;
      Start again(world, same, 12);
      world.loop.run_for(100);
      drain(again.spool, stored, gaps);
    }
    expect_covered(start.made, stored, gaps, "seed " + std::to_string(seed));
  }
}

TEST(Spool, CutAtAnyByteItStartsAndKeepsEveryWholeParcel) {
  World world(7);
  Ordinals made;
  {
    Start start(world, {}, 11);
    for (int i = 0; i < 3; ++i) {
      start.parcel(2);
      world.loop.run_for(50);
    }
    made = start.made;
  }
  world.loop.clear();
  const std::string path = "d/spool-0000000000000001.lam";
  const std::string whole = world.disk.files.at(path).bytes;
  uint64_t most = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    world.disk.files.clear();
    world.disk.files[path] = {whole.substr(0, size), size, true};
    Start again(world, {}, 12);
    ASSERT_TRUE(again.opened.has_value()) << size;
    world.loop.run_for(50);
    ASSERT_TRUE(again.spool.ready()) << size;
    ASSERT_GE(again.spool.parcels_left(), most) << size;
    most = again.spool.parcels_left();
    world.loop.clear();
  }
  EXPECT_EQ(most, 3u);
}

TEST(Spool, AHigherVersionIsLeftAloneAndTheStartGoesOn) {
  World world(8);
  std::string newer(32, '\0');
  newer.replace(0, 5, "LREC\x02");
  newer[5] = 'P';
  world.disk.files["d/spool-0000000000000009.lam"] = {newer + std::string(100, 'x'), 132, true};
  Start start(world, {}, 11);
  start.parcel(1);
  world.loop.run_for(50);
  EXPECT_EQ(start.parcels, 1u);
  EXPECT_EQ(world.disk.files.count("d/spool-0000000000000009.lam"), 1u);
  EXPECT_EQ(world.disk.files.count("d/spool-000000000000000a.lam"), 1u);
}

TEST(Spool, AStartReadsTheNewestFileAndNoOther) {
  World world(9);
  SpoolOptions options;
  options.file_bytes = 3'000;
  {
    Start start(world, options, 11);
    while (start.spool.state().files().size() < 50) {
      start.parcel(3);
      world.loop.run_for(10);
    }
  }
  world.loop.clear();
  std::string newest;
  for (const auto& [path, file] : world.disk.files) newest = path;
  world.disk.bytes_read.clear();
  Start again(world, options, 12);
  world.loop.run_for(100);
  EXPECT_TRUE(again.spool.ready());
  EXPECT_GT(again.spool.parcels_left(), 100u);
  for (const auto& [path, bytes] : world.disk.bytes_read) EXPECT_EQ(path, newest);
  // The drain reads the oldest first, and then one file after the other.
  uint64_t seq = 0;
  size_t bytes = 0;
  ASSERT_TRUE(again.spool.next(11, 0, UINT64_MAX, &seq, &bytes));
  EXPECT_EQ(world.disk.bytes_read.size(), 2u);
}

// A killed start, a start whose first sync fails, and a power cut.
TEST(Spool, WhatAStartFoundAndCannotSyncIsOfferedOnlyAfterItWasWrittenAgain) {
  for (const bool drops : {false, true}) {
    World world(10);
    Ordinals made;
    {
      Start start(world, {}, 11);
      world.loop.run_for(50);
      const uint64_t appends = world.disk.appends;
      start.parcel(2);
      while (world.disk.appends == appends) world.loop.step(world.clock.now_us);  // written, and not synced
      const auto facts = parse_parcel(*parcel_in_up(start.last_up));
      for (const auto& run : facts->runs) note(made, 11, run);
    }
    world.loop.clear();
    world.disk.kill();
    world.disk.failed_sync_drops = drops;
    world.disk.faults.insert(FakeDisk::Fault::kSync);
    {
      Start start(world, {}, 12);
      world.loop.run_for(2'500);
      uint64_t seq = 0;
      size_t bytes = 0;
      EXPECT_FALSE(start.spool.next(11, 0, UINT64_MAX, &seq, &bytes)) << "it may vanish";
      EXPECT_FALSE(start.spool.started());
      EXPECT_GT(start.spool.counters().sync_errors, 2u);
      world.disk.faults.clear();
      world.loop.run_for(1'000);
      EXPECT_TRUE(start.spool.started());
      Ordinals stored, gaps;
      drain(start.spool, stored, gaps);
      expect_covered(made, stored, gaps, "after the sync");
      EXPECT_EQ(stored.empty(), drops);
      world.loop.run_for(5);  // nothing more was synced than what next() offered
    }
    world.loop.clear();
    world.disk.power_cut();
    Start start(world, {}, 13);
    world.loop.run_for(50);
    Ordinals stored, gaps;
    drain(start.spool, stored, gaps);
    expect_covered(made, stored, gaps, "after the power cut");
    EXPECT_EQ(stored.empty(), drops);
    EXPECT_EQ(world.disk.files.count("d/spool-0000000000000001.lam.again"), 0u);
  }
}

// Everything made is in a parcel or in a gap, and no gap names what is in a parcel, unless a gateway has it: always of
// what was acked before, and with `found_late`, where parcels named gaps of others, of what was sent until the loss was
// found.
void expect_exact(const Ordinals& made, const Ordinals& stored, const Ordinals& acked, const Ordinals& gaps,
                  bool found_late, const std::string& when) {
  const auto in = [](const Ordinals& set, const auto& place, uint64_t at) {
    const auto found = set.find(place);
    return found != set.end() && found->second.contains(at);
  };
  for (const auto& [place, runs] : made) {
    for (const auto& [first, last] : runs.runs()) {
      for (uint64_t at = first; at <= last; ++at) {
        const int places = (in(stored, place, at) ? 1 : 0) + (in(gaps, place, at) ? 1 : 0);
        ASSERT_TRUE(places == 1 || (places == 2 && found_late) || in(acked, place, at))
            << when << ": ref " << place.second << " ordinal " << at - 1 << " is in " << places << " places";
      }
    }
  }
  for (const auto& [place, runs] : gaps) {
    for (const auto& [first, last] : runs.runs()) {
      for (uint64_t at = first; at <= last; ++at) {
        ASSERT_TRUE(in(made, place, at)) << when << ": a gap over what was never made: ref " << place.second;
      }
    }
  }
}

// A boot that ended in order: parcels in many files, some of them acked; with `refusals` some parcels name gaps of
// earlier ones.
Ordinals many_files(World& world, const SpoolOptions& options, bool refusals, Ordinals* acked) {
  Start start(world, options, 11);
  while (start.spool.state().files().size() < 6) {
    start.parcel(3);
    world.loop.run_for(10);
    uint64_t seq = 0;
    size_t bytes = 0;
    if (world.random.below(4) != 0 || !start.spool.next(11, world.random.below(30), UINT64_MAX, &seq, &bytes)) continue;
    const auto facts = parse_parcel(*parcel_in_up(start.spool.read(11, seq)));
    if (refusals && world.random.below(3) == 0) {
      start.spool.refused(11, seq);
      continue;
    }
    for (const Run& run : facts->runs) note(*acked, 11, run);
    for (const Gap& gap : facts->gaps) note(*acked, 11, gap.run);
    start.spool.settled(11, seq, seq);
  }
  world.loop.run_for(100);
  bool ended = false;
  start.spool.finish([&](Status) { ended = true; });
  world.loop.run_for(100);
  EXPECT_TRUE(ended);
  return start.made;
}

TEST(Spool, AnyOneFileMayGoAndGapsNameExactlyWhatWasInIt) {
  uint64_t lost_points = 0, files = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    SpoolOptions options;
    options.file_bytes = 3'000;
    Ordinals acked;
    const Ordinals made = many_files(world, options, seed % 2 == 0, &acked);
    world.loop.clear();
    const auto before = world.disk.files;
    for (const auto& [path, whole] : before) {
      for (const bool while_it_runs : {false, true}) {
        world.disk.files = before;
        if (!while_it_runs) world.disk.files.erase(path);
        Start again(world, options, 12);
        world.loop.run_for(100);
        if (while_it_runs) world.disk.files.erase(path);
        const std::string when = "seed " + std::to_string(seed) + " without " + path + (while_it_runs ? " late" : "");
        Ordinals stored, gaps;
        drain(again.spool, stored, gaps);
        expect_exact(made, stored, acked, gaps, while_it_runs && seed % 2 == 0, when);
        if (HasFatalFailure()) return;
        files += again.spool.counters().files_missing;
        lost_points += again.spool.counters().points_corrupt;
        world.loop.clear();
      }
    }
  }
  EXPECT_GT(files, 100u);
  EXPECT_GT(lost_points, 1'000u);
}

TEST(Spool, TwoNeighboursMayGoAndGapsNameExactlyWhatWasInThem) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    SpoolOptions options;
    options.file_bytes = 3'000;
    Ordinals acked;
    const Ordinals made = many_files(world, options, seed % 2 == 0, &acked);
    world.loop.clear();
    const auto before = world.disk.files;
    for (auto path = before.begin(); std::next(path) != before.end(); ++path) {
      if (std::next(path, 2) == before.end()) break;  // the last two: nothing speaks of the last but one any more
      world.disk.files = before;
      world.disk.files.erase(path->first);
      world.disk.files.erase(std::next(path)->first);
      Start again(world, options, 12);
      world.loop.run_for(100);
      Ordinals stored, gaps;
      drain(again.spool, stored, gaps);
      expect_exact(made, stored, acked, gaps, false,
                   "seed " + std::to_string(seed) + " without two from " + path->first);
      if (HasFatalFailure()) return;
      world.loop.clear();
    }
  }
}

TEST(Spool, ABadByteAnywhereCostsAtMostWhatGapsName) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    World world(seed);
    SpoolOptions options;
    options.file_bytes = 3'000;
    Ordinals acked;
    const Ordinals made = many_files(world, options, seed % 2 == 0, &acked);
    world.loop.clear();
    const auto before = world.disk.files;
    for (const auto& [path, whole] : before) {
      world.disk.files = before;
      auto& bytes = world.disk.files.at(path).bytes;
      const size_t at = world.random.below(seed % 3 == 0 ? 100 : bytes.size());
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << world.random.below(8)));
      Start again(world, options, 12);
      world.loop.run_for(100);
      Ordinals stored, gaps;
      drain(again.spool, stored, gaps);
      expect_exact(made, stored, acked, gaps, seed % 2 == 0,
                   "seed " + std::to_string(seed) + " byte " + std::to_string(at) + " of " + path);
      if (HasFatalFailure()) return;
      world.loop.clear();
    }
  }
}

// Parcels, acks, refusals, bounds and faults in any order; a kill or a power cut at any step; several starts.
TEST(Spool, NoCrashForgetsAParcelThatWasOffered) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed);
    Ordinals made, acked;
    SpoolOptions options;
    options.file_bytes = 2'000;
    options.bytes_max = 40'000;
    for (uint64_t boot = 1; boot <= 4; ++boot) {
      Start start(world, options, boot);
      ASSERT_TRUE(start.opened.has_value());
      const uint64_t steps = 5 + world.random.below(50);
      for (uint64_t i = 0; i < steps; ++i) {
        start.parcel(1 + world.random.below(3));
        const auto& boots = start.spool.state().boots();
        const uint64_t some = boots[world.random.below(boots.size())]->id;
        uint64_t seq = 0;
        size_t bytes = 0;
        if (world.random.below(2) == 0 && start.spool.next(some, world.random.below(5), UINT64_MAX, &seq, &bytes)) {
          const auto up = start.spool.read(some, seq);
          ASSERT_FALSE(up.empty());
          if (world.random.below(4) == 0) {
            start.spool.refused(some, seq);
          } else {
            const auto facts = parse_parcel(*parcel_in_up(up));
            for (const auto& run : facts->runs) note(acked, some, run);
            for (const Gap& gap : facts->gaps) note(acked, some, gap.run);
            start.spool.settled(some, seq, seq);
          }
        }
        if (world.random.below(5) == 0) start.name_gaps(some);
        if (world.random.below(5) == 0) start.spool.enforce(0);
        world.disk.faults.clear();
        if (world.random.below(6) == 0) {
          world.disk.faults.insert(static_cast<FakeDisk::Fault>(1 + world.random.below(6)));
        }
        if (world.random.below(3) == 0) {
          world.loop.run_for(static_cast<int64_t>(world.random.below(3000)));
        } else {
          for (uint64_t k = world.random.below(12); k > 0; --k) world.loop.step(world.clock.now_us);
        }
      }
      for (const auto& [place, runs] : start.made) {
        for (const auto& [first, last] : runs.runs()) made[place].add(first, last);
      }
      start.spool.~Spool();
      world.loop.clear();
      world.disk.faults.clear();
      world.random.below(2) == 0 ? world.disk.power_cut() : world.disk.kill();
      new (&start.spool) Spool(world.env, Start::with_dir(options));
      ASSERT_TRUE(start.spool.open().has_value());
      start.spool.start();
      world.loop.run_for(100);
      Ordinals stored = acked, gaps;
      drain(start.spool, stored, gaps);
      expect_covered(made, stored, gaps, "seed " + std::to_string(seed) + " boot " + std::to_string(boot));
      if (HasFatalFailure()) return;
      world.loop.clear();
    }
  }
}

}  // namespace
}  // namespace lambda::agent
