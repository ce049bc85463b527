// Files of the spool that vanish or go bad: gaps name exactly what was in them.
#include <functional>
#include <map>

#include "agent/spool/test_spool.h"

namespace lambda::agent {
namespace {

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

// What is left of a boot that ended in order.
struct ManyFiles {
  SpoolOptions options;
  Ordinals made, acked;
  std::map<std::string, FakeDisk::File> disk;
};

// Parcels in many files, some of them acked; with `refusals` some parcels name gaps of earlier ones.
ManyFiles many_files(World& world, bool refusals) {
  ManyFiles out;
  out.options.file_bytes = 3'000;
  Start start(world, out.options, 11);
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
    for (const Run& run : facts->runs) note(out.acked, 11, run);
    for (const Gap& gap : facts->gaps) note(out.acked, 11, gap.run);
    start.spool.settled(11, seq, seq);
  }
  world.loop.run_for(100);
  bool ended = false;
  start.spool.finish([&](Status) { ended = true; });
  world.loop.run_for(100);
  EXPECT_TRUE(ended);
  out.made = start.made;
  world.loop.clear();
  out.disk = world.disk.files;
  return out;
}

// Starts on the folder as it is; nothing may be unaccounted for. Gives what the start found missing.
SpoolCounters start_and_sum(
    World& world, const ManyFiles& files, bool found_late, const std::string& when,
    const std::function<void()>& then = [] {}) {
  Start again(world, files.options, 12);
  world.loop.run_for(100);
  then();
  Ordinals stored, gaps;
  drain(again.spool, stored, gaps);
  expect_exact(files.made, stored, files.acked, gaps, found_late, when);
  world.loop.clear();
  return again.spool.counters();
}

TEST(SpoolLoss, AnyOneFileMayGoAndGapsNameExactlyWhatWasInIt) {
  uint64_t lost_points = 0, missing = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    const ManyFiles files = many_files(world, seed % 2 == 0);
    for (const auto& [path, whole] : files.disk) {
      for (const bool while_it_runs : {false, true}) {
        world.disk.files = files.disk;
        if (!while_it_runs) world.disk.files.erase(path);
        const std::string when = "seed " + std::to_string(seed) + " without " + path + (while_it_runs ? " late" : "");
        const SpoolCounters found =
            start_and_sum(world, files, while_it_runs && seed % 2 == 0, when, [&, &path = path] {
              if (while_it_runs) world.disk.files.erase(path);
            });
        if (HasFatalFailure()) return;
        missing += found.files_missing;
        lost_points += found.points_corrupt;
      }
    }
  }
  EXPECT_GT(missing, 100u);
  EXPECT_GT(lost_points, 1'000u);
}

TEST(SpoolLoss, TwoNeighboursMayGoAndGapsNameExactlyWhatWasInThem) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    const ManyFiles files = many_files(world, seed % 2 == 0);
    // Not the last two: nothing speaks of the last but one any more.
    for (auto path = files.disk.begin(); std::next(path, 2) != files.disk.end(); ++path) {
      world.disk.files = files.disk;
      world.disk.files.erase(path->first);
      world.disk.files.erase(std::next(path)->first);
      start_and_sum(world, files, false, "seed " + std::to_string(seed) + " without two from " + path->first);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(SpoolLoss, ABadByteAnywhereCostsAtMostWhatGapsName) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    World world(seed);
    const ManyFiles files = many_files(world, seed % 2 == 0);
    for (const auto& [path, whole] : files.disk) {
      world.disk.files = files.disk;
      auto& bytes = world.disk.files.at(path).bytes;
      const size_t at = world.random.below(seed % 3 == 0 ? 100 : bytes.size());
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << world.random.below(8)));
      start_and_sum(world, files, seed % 2 == 0,
                    "seed " + std::to_string(seed) + " byte " + std::to_string(at) + " of " + path);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace lambda::agent
