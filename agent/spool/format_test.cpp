// The bytes of proto/spool.md: its worked example, and the golden files of proto/vectors/spool. Run with
// LAMBDA_WRITE_VECTORS=1 to write those anew after a deliberate change.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "agent/spool/journal.h"
#include "agent/spool/journal_replay.h"
#include "agent/spool/packer.h"
#include "agent/spool/spool.h"
#include "agent/spool/test_world.h"
#include "base/record/record.h"

namespace lambda::agent {
namespace {

using test::World;

std::string hex_of(std::span<const std::byte> bytes) {
  return hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

SeriesTable two_series() {
  SeriesTable table;
  SeriesSpec load;
  load.name = "load";
  SeriesSpec bytes;
  bytes.name = "bytes_total";
  bytes.labels = {{"disk", "sda"}};
  bytes.kind = Kind::kCounter;
  bytes.type = ValueType::kI64;
  EXPECT_EQ(table.find_or_add(load).value(), 1u);
  EXPECT_EQ(table.find_or_add(bytes).value(), 2u);
  return table;
}

void compare_with_golden(const std::string& name, const std::string& bytes) {
  const std::string path = std::string(LAMBDA_SOURCE_DIR) + "/proto/vectors/spool/" + name;
  if (std::getenv("LAMBDA_WRITE_VECTORS") != nullptr) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  std::ifstream file(path, std::ios::binary);
  std::stringstream golden;
  golden << file.rdbuf();
  const std::string wanted = golden.str();
  EXPECT_EQ(hex_of(std::as_bytes(std::span(wanted))), hex_of(std::as_bytes(std::span(bytes)))) << path;
}

TEST(SpoolFormat, RowsAreAsInTheWorkedExample) {
  const SeriesTable table = two_series();
  JournalEncoder encoder;
  std::vector<std::byte> first, second;
  encoder.rows(std::array{Row{1000, 0, {{1, 0x3ff8000000000000}, {2, 300}}}}, table, first);   // load 1.5, bytes 300
  encoder.rows(std::array{Row{2000, 0, {{1, 0x3ff8000000000000}, {2, 299}}}}, table, second);  // unchanged, one less
  EXPECT_EQ(hex_of(std::span(first).subspan(kRecordHeadBytes)), "d00f020162f83f00d804");
  EXPECT_EQ(hex_of(std::span(second).subspan(kRecordHeadBytes)), "a01f0201000001");
}

TEST(SpoolFormat, SeveralRowsInOneRecordAreAsInTheWorkedExample) {
  const SeriesTable table = two_series();
  JournalEncoder encoder;
  std::vector<std::byte> record;
  encoder.rows(std::array{Row{1000, 0, {{1, 0x3ff8000000000000}, {2, 300}}}, Row{2000, 0, {{2, 299}}}}, table, record);
  EXPECT_EQ(static_cast<uint8_t>(record[2]), kRecordRows);
  EXPECT_EQ(hex_of(std::span(record).subspan(kRecordHeadBytes)), "d00f020162f83f00d804d00f010201");
}

TEST(SpoolFormat, AJournalIsAsItAlwaysWas) {
  World world(1);
  SeriesTable table = two_series();
  JournalOptions options;
  options.dir = "d";
  Journal journal(world.env, options, {0x1122334455667788, 0x99, 1'700'000'000'000, 0}, table, 5);
  for (uint64_t i = 0; i < 3; ++i) {
    journal.append({1'700'000'001'000 + static_cast<int64_t>(i) * 1000, i == 2 ? 1u : 0u, {{1, i << 52}, {2, 7 * i}}},
                   [](Status status, const Row&) { ASSERT_TRUE(status.has_value()); });
  }
  world.loop.run_for(100);
  compare_with_golden("journal-0000000000000005.lam", world.disk.files.at("d/journal-0000000000000005.lam").bytes);
}

TEST(SpoolFormat, AJournalWithRowsOfSeveralMomentsInOneRecordIsAsItAlwaysWas) {
  World world(1);
  SeriesTable table = two_series();
  JournalOptions options;
  options.dir = "d";
  Journal journal(world.env, options, {0x1122334455667788, 0x99, 1'700'000'000'000, 0}, table, 6);
  const auto made = [](Status status, const auto&) { ASSERT_TRUE(status.has_value()); };
  constexpr int64_t kStart = 1'700'000'001'000;
  journal.append({kStart, 0, {{1, 1}, {2, 7}}}, made);
  journal.append({{kStart + 250, 0, {{2, 8}}}, {kStart + 500, 0, {{1, 2}, {2, 6}}}}, {}, made);
  world.loop.run_for(100);
  journal.append({kStart + 1'000, 0, {{1, 3}}}, made);
  world.loop.run_for(100);
  compare_with_golden("journal-0000000000000006.lam", world.disk.files.at("d/journal-0000000000000006.lam").bytes);
}

TEST(SpoolFormat, ASpoolIsAsItAlwaysWas) {
  World world(1);
  SpoolOptions options;
  options.dir = "d";
  Spool spool(world.env, options);
  ASSERT_TRUE(spool.open().has_value());
  const SigningKey key = SigningKey::from_hex(std::string(63, '0') + "1").value();
  Packer packer({"site-1", "press-7", 4096}, key);
  constexpr uint64_t kBoot = 0x1122334455667788;
  Boot& boot = spool.begin_boot(kBoot, 0x99, 1'700'000'000'000, std::make_shared<SeriesTable>(two_series()),
                                sign_hello(key, packer.options(), kBoot, 0x99, 1'700'000'000'000));
  spool.start();
  world.loop.run_for(100);
  for (int parcel = 0; parcel < 2; ++parcel) {
    PackInput input;
    input.declare = {1, 2};
    if (parcel == 0) input.gaps = {{{2, 0, 4}, GapReason::kMemory}};
    if (parcel == 0) input.clocks = {{0, false, 0, true}};
    Packed packed;
    std::vector<BlockHead> too_large;
    ASSERT_TRUE(packer.pack(boot, 1'700'000'002'000, input, &packed, &too_large));
    spool.append(packed.up, packed.digest, [](Status status) { ASSERT_TRUE(status.has_value()); });
    world.loop.run_for(100);
  }
  spool.settled(kBoot, 1, 1);
  spool.add_gaps(kBoot, {{{1, 10, 5}, GapReason::kRefused}});
  world.loop.run_for(5'000);
  compare_with_golden("spool-0000000000000001.lam", world.disk.files.at("d/spool-0000000000000001.lam").bytes);
}

TEST(SpoolFormat, ACheckpointGivesTheSameStateAgain) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    World world(seed);
    SpoolState state(100'000);
    for (uint64_t id = 1; id <= 1 + world.random.below(4); ++id) {
      Boot& boot = state.find_or_add(id);
      boot.previous = id - 1;
      boot.started_ms = static_cast<int64_t>(world.random.below(1u << 30)) + 1;
      boot.next_seq = 100 + world.random.below(100);
      boot.held = true;
      for (int i = 0; i < 10; ++i) boot.gone.add(1 + world.random.below(99));
      for (uint32_t i = 0; i < world.random.below(6000); ++i) {
        SeriesSpec spec;
        spec.name = "s" + std::to_string(i);
        const SeriesRef ref = boot.series->find_or_add(spec).value();
        boot.series->at(ref).covered = world.random.below(1000);
        boot.series->at(ref).declared = world.random.below(2) == 0;
      }
      for (int i = 0; i < 5; ++i)
        boot.pending.add({{1, world.random.below(500), 1 + world.random.below(9)}, GapReason::kRefused});
    }
    SpoolState again(100'000);
    bool more = true;
    for (const auto& body : state.checkpoint()) {
      ASSERT_TRUE(more);
      const auto applied = again.apply_checkpoint(body);
      ASSERT_TRUE(applied.has_value()) << applied.error().text;
      more = *applied;
    }
    ASSERT_FALSE(more);
    ASSERT_EQ(again.boots().size(), state.boots().size());
    for (const auto& boot : state.boots()) {
      const Boot& other = *again.find(boot->id);
      EXPECT_EQ(other.next_seq, boot->next_seq);
      EXPECT_EQ(other.gone.runs(), boot->gone.runs()) << "seed " << seed;
      EXPECT_EQ(other.pending.all(), boot->pending.all());
      for (SeriesRef ref = 1; ref < boot->series->size(); ++ref) {
        const Series& series = boot->series->at(ref);
        if (series.covered == 0 && !series.declared) continue;
        ASSERT_EQ(other.series->at(ref).covered, series.covered);
        ASSERT_EQ(other.series->at(ref).declared, series.declared);
      }
    }
  }
}

TEST(SeriesTable, FindsASeriesWhateverTheOrderOfItsLabels) {
  SeriesTable table;
  SeriesSpec spec;
  spec.name = "m";
  spec.labels = {{"a", "1"}, {"b", "2"}, {"c", ""}};
  const SeriesRef ref = table.find_or_add(spec).value();
  spec.labels = {{"b", "2"}, {"a", "1"}};
  EXPECT_EQ(table.find_or_add(spec).value(), ref) << "an empty label is an absent one";
  spec.labels = {{"a", "2"}, {"b", "1"}};
  EXPECT_NE(table.find_or_add(spec).value(), ref);
}

TEST(SeriesTable, TablesOfTheSameSeriesShareTheirNamesUntilOneGetsMore) {
  const SeriesTable first = two_series();
  SeriesTable second = two_series(), other;
  SeriesSpec more;
  more.name = "more";
  EXPECT_EQ(other.find_or_add(more).value(), 1u);
  second.at(1).covered = 7;
  EXPECT_TRUE(second.share_names(first));
  EXPECT_FALSE(other.share_names(first));
  EXPECT_EQ(second.at(1).covered, 7u) << "how far it came is its own";
  EXPECT_EQ(second.find_or_add(more).value(), 3u);
  EXPECT_TRUE(second.known(3));
  EXPECT_EQ(first.size(), 3u);
  SeriesTable third = two_series();
  EXPECT_TRUE(third.share_names(first));
  std::vector<LabelView> labels;
  EXPECT_EQ(third.declaration(2, labels).name, "bytes_total");
  EXPECT_EQ(second.declaration(3, labels).name, "more");
  SeriesSpec again;
  again.name = "bytes_total";
  again.labels = {{"disk", "sda"}};
  again.kind = Kind::kCounter;
  again.type = ValueType::kI64;
  EXPECT_EQ(second.find_or_add(again).value(), 2u);
}

TEST(SeriesTable, TheNextBootLeavesOutWhatEndedAndItsRefsGoToOthers) {
  const auto named = [](const std::string& name) {
    return SeriesSpec{name, {{"id", "7"}}, Kind::kGauge, ValueType::kF64, 0, ""};
  };
  SeriesTable first(4);
  for (const char* name : {"a", "b", "c", "d"}) ASSERT_TRUE(first.find_or_add(named(name)).has_value());
  first.at(1).next_ordinal = first.at(4).next_ordinal = 9;
  ASSERT_EQ(first.find_or_add(named("e")).error().code, ErrorCode::kFull);
  SeriesTable second = first.next_boot({false, false, true, true});
  EXPECT_EQ(second.known_count(), 2u);
  EXPECT_EQ(second.size(), first.size()) << "refs of those that stay do not change";
  EXPECT_FALSE(second.known(2));
  EXPECT_EQ(second.find_or_add(named("a")).value(), 1u);
  EXPECT_EQ(second.find_or_add(named("d")).value(), 4u);
  EXPECT_EQ(second.at(4).next_ordinal, 0u);
  EXPECT_EQ(second.find_or_add(named("e")).value(), 2u);
  EXPECT_EQ(second.find_or_add(named("b")).value(), 3u) << "what comes back may get another ref";
  EXPECT_EQ(second.find_or_add(named("f")).error().code, ErrorCode::kFull);
  EXPECT_EQ(second.refs_retaken(), (std::vector<SeriesRef>{2, 3}));
  std::vector<LabelView> labels;
  EXPECT_EQ(second.declaration(2, labels).name, "e");
  EXPECT_EQ(first.declaration(2, labels).name, "b") << "the boot before is as it was";
  EXPECT_TRUE(second.next_boot().refs_retaken().empty());
}

TEST(SeriesTable, ASeriesHasOneOwnerUntilItLeaves) {
  SeriesTable table;
  const SeriesSpec spec{"queue_length", {}, Kind::kGauge, ValueType::kF64, 0, ""};
  const SeriesRef ref = table.find_or_add(spec, true, kOwnerDoors).value();
  EXPECT_EQ(table.find_or_add(spec, true, kOwnerDoors).value(), ref);
  const auto refused = table.find_or_add(spec, true, kOwnerStatsd);
  ASSERT_EQ(refused.error().code, ErrorCode::kDenied);
  EXPECT_NE(refused.error().text.find("over HTTP"), std::string::npos) << refused.error().text;
  EXPECT_EQ(table.next_boot().find_or_add(spec).error().code, ErrorCode::kDenied) << "also in the next boot";
  EXPECT_TRUE(table.next_boot({false, true}).find_or_add(spec).has_value());
}

TEST(SeriesTable, RefusesWhatTheWireCannotCarryAndHoldsItsCap) {
  SeriesTable table(2);
  SeriesSpec spec;
  for (const char* name : {"", "1x", "a-b", "a b", "\xff"}) {
    spec.name = name;
    EXPECT_EQ(table.find_or_add(spec).error().code, ErrorCode::kInvalid) << name;
  }
  spec.name = "ok";
  for (const LabelList& labels :
       {LabelList{{"instance", "x"}}, LabelList{{"site", "x"}}, LabelList{{"__name__", "x"}},
        LabelList{{"a", "1"}, {"a", "2"}}, LabelList{{"a", "\xc0\x80"}}, LabelList{{"a", std::string(1025, 'x')}}}) {
    spec.labels = labels;
    EXPECT_EQ(table.find_or_add(spec).error().code, ErrorCode::kInvalid);
  }
  spec.labels = {{"mount", "/\xc3\xbc"}};
  EXPECT_TRUE(table.find_or_add(spec).has_value());
  spec.name = "two";
  EXPECT_TRUE(table.find_or_add(spec).has_value());
  spec.name = "three";
  EXPECT_EQ(table.find_or_add(spec).error().code, ErrorCode::kFull);
  spec.name = "two";
  spec.type = ValueType::kI64;
  EXPECT_EQ(table.find_or_add(spec).error().code, ErrorCode::kInvalid) << "another type than before";
}

TEST(GapSet, IsWhatASetOfOrdinalsWouldBe) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    World world(seed);
    GapSet set;
    std::map<std::pair<uint32_t, uint64_t>, GapReason> naive;
    for (int i = 0; i < 60; ++i) {
      const agent::Run run{static_cast<uint32_t>(world.random.below(2)), world.random.below(30),
                           1 + world.random.below(8)};
      const auto reason = static_cast<GapReason>(1 + world.random.below(3));
      const bool add = world.random.below(3) > 0;
      if (add) {
        set.add({run, reason});
      } else {
        set.subtract(run);
      }
      for (uint64_t at = run.first; at < run.first + run.count; ++at) {
        if (add) {
          naive.emplace(std::pair(run.ref, at), reason);
        } else {
          naive.erase({run.ref, at});
        }
      }
      std::map<std::pair<uint32_t, uint64_t>, GapReason> mine;
      for (const Gap& gap : set.all()) {
        for (uint64_t at = gap.run.first; at < gap.run.first + gap.run.count; ++at)
          mine[{gap.run.ref, at}] = gap.reason;
      }
      ASSERT_EQ(mine, naive) << "seed " << seed << " step " << i;
    }
  }
}

}  // namespace
}  // namespace lambda::agent
