#include "gateway/store/model.h"

#include <bit>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "base/record/record.h"
#include "gateway/store/record_body.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kStart = 1'700'000'000'000;
using Identity = std::tuple<std::string, uint64_t, uint32_t, uint64_t>;  // device, boot, ref, ordinal

struct Parcel {
  size_t device = 0;
  uint64_t boot = 0, seq = 0;
  std::vector<TestBlock> blocks;
  bool declares = false;
  bool contradicts = false;
  bool stored = false;  // said to be kStored
};

struct Maker {
  std::string name;
  uint64_t boot = 1;
  uint64_t seq = 0;
  std::map<uint32_t, uint64_t> made;  // of this boot, by ref: the next ordinal
};

class Model {
 public:
  explicit Model(const ModelOptions& options) : options_(options), random_(options.seed) {
    world_.options.segment_bytes_max = 6'000;
    world_.options.batch_bytes_max = 1u << 20;
    world_.options.coverage_bytes_max = 3'000;  // the cache is always too small
    world_.options.merge_points_min = 64;
    if (options.retention) world_.options.retention_bytes_max = 40'000;
    if (!options.index_directory.empty()) {
      world_.options.index_in_memory = false;
      world_.options.directory = options.index_directory;
    }
    world_.disk.sync_turns = static_cast<int>(options.seed % 5);
    makers_ = {{"press-1", 1, 0, {}}, {"press-2", 1, 0, {}}};
  }

  std::string run() {
    open();
    for (int i = 0; i < options_.steps && wrong_.empty(); ++i) act();
    if (wrong_.empty()) check();
    if (wrong_.empty() && !options_.retention) send_everything();
    world_.close();
    if (wrong_.empty()) return "";
    std::string story = "seed " + std::to_string(options_.seed) + ": " + wrong_;
    const size_t from = world_.log.lines.size() > 40 ? world_.log.lines.size() - 40 : 0;
    for (size_t i = from; i < world_.log.lines.size(); ++i) story += "\n  " + world_.log.lines[i];
    return story;
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  void wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }

  void open() {
    auto opened = Store::open(world_.env, world_.options);
    if (!opened) return wrong("the store does not open: " + opened.error().text);
    world_.store = std::move(*opened);
    world_.loop.run();
    for (int i = 0; i < 10 && !world_.store->ready(); ++i) world_.loop.run(true);
    if (!world_.store->ready()) wrong("the store does not become ready");
  }

  void act() {
    const uint64_t what = below(100);
    if (what < 25) {
      make();
    } else if (what < 55) {
      if (!parcels_.empty()) send(parcels_[below(parcels_.size())]);
    } else if (what < 62) {
      repack();
    } else if (what < 66) {
      contradict();
    } else if (what < 80) {
      for (uint64_t i = below(30); i > 0; --i) world_.loop.step(below(4) == 0);
    } else if (what < 86) {
      for (uint64_t i = below(40); i > 0; --i) world_.store->merge_slice();
    } else if (what < 89) {
      for (uint64_t i = below(10); i > 0; --i) world_.store->retention_slice();
    } else if (what < 91) {
      if (options_.disk_faults)
        (below(2) == 0 ? world_.disk.fail_syncs : world_.disk.fail_appends) = 1 + static_cast<int>(below(3));
    } else if (what < 93) {
      if (!options_.index_directory.empty()) std::filesystem::remove(options_.index_directory + "/index.db");
    } else if (what < 94) {
      makers_[below(2)] = {"press-" + std::to_string(1 + below(2)), ++last_boot_, 0, {}};
    } else if (what < 98) {
      crash();
    } else {
      check();
    }
  }

  void make() {
    const size_t device = below(makers_.size());
    Maker& maker = makers_[device];
    Parcel parcel;
    parcel.device = device;
    parcel.boot = maker.boot;
    parcel.seq = ++maker.seq;
    parcel.declares = parcel.seq == 1 || below(4) == 0;
    std::set<uint32_t> refs;
    for (uint64_t i = 1 + below(3); i > 0; --i) refs.insert(1 + static_cast<uint32_t>(below(3)));
    for (const uint32_t ref : refs) {
      const auto count = static_cast<uint32_t>(1 + below(below(4) == 0 ? 200 : 20));
      parcel.blocks.push_back(block(maker.boot, ref, maker.made[ref], count, 0));
      maker.made[ref] += count;
    }
    note(maker, parcel);
  }

  void repack() {
    const size_t device = below(makers_.size());
    Maker& maker = makers_[device];
    const auto ref = 1 + static_cast<uint32_t>(below(3));
    const uint64_t made = maker.made[ref];
    if (made < 2) return;
    Parcel parcel;
    parcel.device = device;
    parcel.boot = maker.boot;
    parcel.seq = ++maker.seq;
    parcel.declares = true;
    const uint64_t first = below(made);
    parcel.blocks.push_back(
        block(maker.boot, ref, first, static_cast<uint32_t>(1 + below(std::min<uint64_t>(made - first, 300))), 0));
    note(maker, parcel);
  }

  // Other content of something that was acked: must never be taken.
  void contradict() {
    if (options_.retention || acked_.empty()) return;
    auto at = acked_.lower_bound(
        {makers_[below(2)].name, 1 + below(last_boot_), 1 + static_cast<uint32_t>(below(3)), below(300)});
    if (at == acked_.end()) at = acked_.begin();
    const auto& [name, boot, ref, ordinal] = *at;
    TestDevice device{.name = name, .boot = boot};
    const uint64_t first = ordinal > 3 ? ordinal - below(3) : ordinal;
    StoreRequest request = device.parcel_of(
        100'000 + below(1000), {block(boot, ref, first, static_cast<uint32_t>(ordinal - first + 1 + below(5)), 3)},
        {1, 2, 3});
    world_.store->put(std::move(request), [this](const Decision& decision) {
      if (decision.verdict == Verdict::kStored || decision.verdict == Verdict::kDuplicate) {
        wrong("other content of an acked ordinal was accepted");
      }
    });
  }

  void note(const Maker& maker, const Parcel& parcel) {
    for (const TestBlock& b : parcel.blocks) {
      for (size_t i = 0; i < b.points.size(); ++i) sent_.insert({maker.name, maker.boot, b.ref, b.first + i});
    }
    names_.push_back(maker.name);
    parcels_.push_back(parcel);
    parcels_.back().device = names_.size() - 1;
  }

  static TestBlock block(uint64_t boot, uint32_t ref, uint64_t first, uint32_t count, uint64_t salt) {
    TestBlock b;
    b.ref = ref;
    b.first = first;
    for (uint64_t i = first; i < first + count; ++i) {
      const double value = static_cast<double>(i) + static_cast<double>(salt) / 8;
      b.points.push_back({time_of(boot, i), std::bit_cast<uint64_t>(value)});
    }
    return b;
  }
  static int64_t time_of(uint64_t boot, uint64_t ordinal) {
    return kStart + static_cast<int64_t>(boot) * 100'000'000 + static_cast<int64_t>(ordinal) * 100;
  }

  void send(Parcel& parcel) {
    const std::string name = names_[parcel.device];
    TestDevice device{.name = name, .boot = parcel.boot};
    StoreRequest request = device.parcel_of(parcel.seq, parcel.blocks,
                                            parcel.declares ? std::vector<uint32_t>{1, 2, 3} : std::vector<uint32_t>{});
    const size_t index = static_cast<size_t>(&parcel - parcels_.data());
    world_.store->put(std::move(request), [this, index, name](const Decision& decision) {
      Parcel& sent = parcels_[index];
      switch (decision.verdict) {
        case Verdict::kStored:
        case Verdict::kDuplicate:
          if (decision.verdict == Verdict::kStored) sent.stored = true;
          for (const TestBlock& b : sent.blocks) {
            for (size_t i = 0; i < b.points.size(); ++i) acked_.insert({name, sent.boot, b.ref, b.first + i});
          }
          return;
        case Verdict::kConflict:
          return wrong("a true parcel was refused: " + decision.text);
        case Verdict::kUndeclared:
          sent.declares = true;
          return;
        case Verdict::kFull:
        case Verdict::kBusy:
          return;
      }
    });
  }

  void crash() {
    const uint64_t how = below(3);
    world_.log.info("crash", {{"how", how}});
    if (how == 0) {
      world_.kill();
    } else if (how == 1) {
      world_.power_cut(random_);
    } else {
      world_.close();
    }
    world_.disk.fail_appends = world_.disk.fail_syncs = 0;
    if (!options_.index_directory.empty() && below(3) == 0) {
      std::filesystem::remove(options_.index_directory + (below(4) == 0 ? "/index.db-wal" : "/index.db"));
    }
    open();
    if (below(2) == 0) check();
  }

  void settle() {
    world_.disk.fail_appends = world_.disk.fail_syncs = 0;
    world_.loop.run();
    for (int i = 0; i < 20 && !world_.store->ready(); ++i) world_.loop.run(true);
  }

  // Every identity in the segments in force, counted without the store's help.
  std::map<Identity, int> raw() {
    std::set<uint64_t> dead;
    std::map<uint64_t, std::string> files;
    for (const auto& [path, file] : world_.disk.files) {
      const auto number = parse_numbered_name("seg-", path.substr(path.rfind('/') + 1));
      if (!number || file.bytes.size() <= kFileHeaderBytes) continue;
      bool ended = false;
      std::vector<uint64_t> replaces;
      const auto result = scan_records(world_.disk, path, 0, [&](const RecordView& record) {
        ended = ended || record.type == 7;
        if (record.type == 6) replaces = *parse_replaces(record.body);
        return true;
      });
      if (!result || (result->header.owner == kOwnerMerged && !ended)) continue;
      files[*number] = path;
      dead.insert(replaces.begin(), replaces.end());
    }
    std::map<Identity, int> all;
    for (const auto& [number, path] : files) {
      if (dead.count(number) != 0) continue;
      (void)scan_records(world_.disk, path, 0, [&](const RecordView& record) {
        if (record.type == 1) {
          const auto parcel = parse_stored_parcel(record.body);
          if (!parcel) return true;
          for (const StoredBlock& b : parcel->blocks) {
            for (const OrdinalRun& run : b.accepted) {
              for (uint64_t i = run.first; i < run.end; ++i) all[{parcel->device, parcel->boot, b.info.ref, i}]++;
            }
          }
        } else if (record.type == 5) {
          const auto merged = parse_merged(record.body);
          if (!merged) return true;
          const BlockInfo& info = merged->block.info;
          for (uint64_t i = 0; i < info.count; ++i) {
            all[{merged->device, info.boot, info.ref, info.first_ordinal + i}]++;
          }
        }
        return true;
      });
    }
    return all;
  }

  static std::string text(const Identity& identity) {
    const auto& [device, boot, ref, ordinal] = identity;
    return device + " boot " + std::to_string(boot) + " ref " + std::to_string(ref) + " ordinal " +
           std::to_string(ordinal);
  }

  void check() {
    settle();
    world_.log.info("check");
    if (!world_.store->ready()) return wrong("the store does not become ready again");
    const auto stored = raw();
    for (const auto& [identity, times] : stored) {
      if (times != 1) return wrong("stored " + std::to_string(times) + " times: " + text(identity));
      if (sent_.count(identity) == 0) return wrong("nobody made: " + text(identity));
    }
    if (!options_.retention) {
      for (const Identity& identity : acked_) {
        if (stored.count(identity) == 0) return wrong("acked and not stored: " + text(identity));
      }
    }
    check_reading(stored);
    check_acks(stored);
    if (!options_.retention && wrong_.empty()) {
      uint64_t points = 0;
      for (const DeviceTotals& totals : world_.store->devices()) points += totals.points;
      if (points != stored.size()) {
        wrong("devices() counts " + std::to_string(points) + " points of " + std::to_string(stored.size()));
      }
    }
  }

  void check_reading(const std::map<Identity, int>& stored) {
    for (const std::string& name : {std::string("press-1"), std::string("press-2")}) {
      for (uint32_t ref = 1; ref <= 3; ++ref) {
        std::map<int64_t, double> expected;
        for (const auto& [identity, times] : stored) {
          const auto& [device, boot, of, ordinal] = identity;
          if (device == name && of == ref) expected[time_of(boot, ordinal)] = static_cast<double>(ordinal);
        }
        auto selection = world_.store->select({{"__name__", query::MatchOp::kEqual, "m" + std::to_string(ref)},
                                               {"instance", query::MatchOp::kEqual, name}},
                                              INT64_MIN, INT64_MAX, 10);
        if (!selection) return wrong("select: " + selection.error().text);
        if (selection->series.size() > 1) return wrong("one series was selected as several");
        std::vector<query::Sample> samples;
        if (!selection->series.empty()) {
          auto read = selection->series[0].cursor->read(1'000'000);
          if (!read) return wrong("read: " + read.error().text);
          samples = std::move(*read);
          if (!selection->series[0].cursor->warnings().empty())
            return wrong(selection->series[0].cursor->warnings()[0]);
        }
        // Points of a boot whose declaration has not come cannot be found by name; none are stored without it.
        if (samples.size() != expected.size()) {
          return wrong("read " + std::to_string(samples.size()) + " samples of " + std::to_string(expected.size()) +
                       " of " + name + " m" + std::to_string(ref));
        }
        for (const query::Sample& sample : samples) {
          const auto at = expected.find(sample.time_ms);
          if (at == expected.end() || at->second != sample.value) return wrong("a sample that nobody made");
        }
      }
    }
  }

  // A settled seq must not lie, and what was stored stays settled.
  void check_acks(const std::map<Identity, int>& stored) {
    if (options_.retention) return;
    for (const Parcel& parcel : parcels_) {
      const std::string& name = names_[parcel.device];
      const AckState state = world_.store->ack_state(name, parcel.boot);
      bool settled = parcel.seq <= state.contiguous_seq;
      for (const auto& [first, last] : state.ranges) settled = settled || (first <= parcel.seq && parcel.seq <= last);
      if (parcel.stored && !settled && state.ranges.size() < 64) {
        return wrong(name + " seq " + std::to_string(parcel.seq) + " was stored and is not settled");
      }
      if (!settled) continue;
      for (const TestBlock& b : parcel.blocks) {
        for (size_t i = 0; i < b.points.size(); ++i) {
          const Identity identity{name, parcel.boot, b.ref, b.first + i};
          if (stored.count(identity) == 0) return wrong("settled and not stored: " + text(identity));
        }
      }
    }
  }

  // In the end everything that was made arrives.
  void send_everything() {
    settle();
    for (int round = 0; round < 20; ++round) {
      for (Parcel& parcel : parcels_) {
        send(parcel);
        world_.loop.run();
      }
      if (acked_.size() == sent_.size()) break;
      world_.clock.us += 2'000'000;
      world_.loop.run(true);
    }
    if (acked_.size() != sent_.size()) {
      return wrong(std::to_string(sent_.size() - acked_.size()) + " points are never taken");
    }
    while (world_.store->merge_slice()) {
    }
    world_.loop.run();
    check();
    world_.kill();
    open();
    check();
  }

  ModelOptions options_;
  std::mt19937 random_;
  TestWorld world_;
  std::vector<Maker> makers_;
  uint64_t last_boot_ = 1;
  std::vector<std::string> names_;  // of the device of each parcel
  std::vector<Parcel> parcels_;
  std::set<Identity> sent_, acked_;
  std::string wrong_;
};

}  // namespace

std::string run_model(const ModelOptions& options) {
  return Model(options).run();
}

}  // namespace lambda::gateway
