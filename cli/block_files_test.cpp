// `lambda query --blocks`: files that hold blocks, asked where they lie.
#include "cli/block_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/record/record.h"
#include "cli/query_command.h"
#include "cli/test_world.h"
#include "gateway/store/test_world.h"
#include "proto/store.pb.h"
#include "query/labels.h"

namespace lambda::cli {
namespace {

using gateway::TestDevice;
using gateway::TestWorld;
using nlohmann::json;

constexpr int64_t kT0 = 1'700'000'000'000;

std::map<query::Labels, std::vector<query::Sample>> everything(query::SeriesSource& source) {
  std::map<query::Labels, std::vector<query::Sample>> out;
  auto selection = source.select({}, INT64_MIN, INT64_MAX, 1000);
  EXPECT_TRUE(selection.has_value());
  for (auto& series : selection->series) {
    auto samples = series.cursor->read(1'000'000);
    EXPECT_TRUE(samples.has_value());
    if (samples && !samples->empty()) out[series.labels] = std::move(*samples);
  }
  return out;
}

// The oracle is the store itself, which has an index, clocks, boots and all.
TEST(BlockFiles, SayOfAStoresFolderWhatTheStoreSays) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TestWorld world;
    world.options.segment_bytes_max = 6'000;
    world.open();
    std::vector<TestDevice> devices{{.name = "press-7", .boot = 9}, {.name = "press-7", .boot = 4}, {.name = "saw-1"}};
    world.store->put_hello(devices[1].hello(9, kT0), [](const Status&) {});
    world.store->put_hello(devices[0].hello(0, kT0 + 5), [](const Status&) {});
    std::vector<std::map<uint32_t, uint64_t>> next(devices.size());
    for (int round = 0; round < 60; ++round) {
      const size_t which = random() % devices.size();
      const uint32_t ref = 1 + random() % 2;
      uint64_t& first = next[which][ref];
      const uint64_t back = first < 5 ? 0 : random() % 5;  // some were sent before
      const auto count = static_cast<uint32_t>(6 + random() % 20);
      auto block = gateway::test_block(ref, first - back, count, kT0);
      std::vector<ClockView> clocks;
      if (which == 2) {
        block.clock = ref;
        clocks = {{1, true, 777, true}, {2, true, 0, false}};
      }
      (void)world.put(devices[which].parcel({block}, {1, 2}, {}, clocks));
      first += count - back;
      for (int i = 0; round % 20 == 19 && i < 50; ++i) {
        while (world.store->merge_slice()) {
        }
        world.loop.run();
      }
    }
    EXPECT_GT(world.store->counters().merged_blocks, 0u);
    const auto wanted = everything(*world.store);
    const auto files = BlockFiles::open(world.disk, {"/store"});
    ASSERT_TRUE(files.has_value()) << files.error().text;
    const auto found = everything(**files);
    ASSERT_EQ(found.size(), wanted.size());
    for (const auto& [labels, samples] : wanted) {
      ASSERT_TRUE(found.contains(labels)) << query::to_string(labels);
      const auto& others = found.at(labels);
      ASSERT_EQ(others.size(), samples.size()) << query::to_string(labels);
      for (size_t i = 0; i < samples.size(); ++i) {
        ASSERT_EQ(others[i].time_ms, samples[i].time_ms);
        ASSERT_EQ(others[i].value, samples[i].value);
      }
    }
  }
}

// What an agent that was never online leaves: its parcels in a spool file, one declared there and one in the
// checkpoint.
void write_spool(gateway::TestDisk& disk, const std::string& path, TestDevice& device) {
  std::vector<std::byte> bytes;
  append_file_header(bytes, {FileKind::kSpool, 1, kT0, 0});
  v1::Checkpoint checkpoint;
  v1::BootState& boot = *checkpoint.add_boots();
  boot.set_boot(device.boot);
  boot.set_started_ms(kT0);
  v1::Declaration& declaration = *boot.add_declarations();
  declaration.set_ref(2);
  declaration.set_name("late");
  const auto put = [&](uint8_t type, const std::string& body) {
    append_record(bytes, type, std::as_bytes(std::span(body)));
  };
  put(32, checkpoint.SerializeAsString());
  for (uint64_t i = 0; i < 3; ++i) {
    const auto block = [&](uint32_t ref) { return gateway::test_block(ref, i * 10, 10, kT0); };
    v1::SpooledParcel spooled;
    spooled.set_parcel(device.parcel({block(1), block(2), block(3)}, {1}).message);
    spooled.set_points(30);
    put(33, spooled.SerializeAsString());
  }
  disk.files[path].bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST(BlockFiles, ReadAnAgentsSpoolAndItsNames) {
  TestWorld world;
  TestDevice device;
  write_spool(world.disk, "/state/spool-0000000000000001.lam", device);
  const auto files = BlockFiles::open(world.disk, {"/state"});
  ASSERT_TRUE(files.has_value()) << files.error().text;
  const auto found = everything(**files);
  ASSERT_EQ(found.size(), 3u);
  const auto labels = [](const std::string& name) {
    return query::Labels{{"__name__", name}, {"instance", "press-7"}, {"site", "hall"}};
  };
  ASSERT_TRUE(found.contains(labels("m1")));
  ASSERT_TRUE(found.contains(labels("late")));
  EXPECT_EQ(found.at(labels("late")).size(), 30u);
  EXPECT_EQ(found.at(labels("late")).back().value, 29);
  auto selection = (*files)->select({{"__name__", query::MatchOp::kEqual, "undeclared"}}, 0, INT64_MAX, 10);
  ASSERT_TRUE(selection.has_value());
  ASSERT_EQ(selection->series.size(), 1u);
  ASSERT_EQ(selection->warnings.size(), 1u);
  EXPECT_NE(selection->warnings[0].find("1 series have no name"), std::string::npos);
  EXPECT_EQ((*files)->span(INT64_MAX)->first_ms, kT0);
  EXPECT_EQ((*files)->span(INT64_MAX)->last_ms, kT0 + 2900);
}

TEST(BlockFiles, DamageCostsWhatItHitAndIsSaid) {
  TestWorld world;
  TestDevice device;
  const std::string path = "/state/spool-0000000000000001.lam";
  write_spool(world.disk, path, device);
  const std::string good = world.disk.files[path].bytes;
  for (size_t at = 0; at < good.size(); at += 5) {
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string& bytes = world.disk.files[path].bytes;
    bytes = good;
    bytes[at] ^= 0x40;
    const auto files = BlockFiles::open(world.disk, {"/state"});
    if (!files) {  // a file whose version is higher is not ours to read
      EXPECT_LT(at, kFileHeaderBytes);
      continue;
    }
    size_t points = 0;
    for (const auto& [labels, samples] : everything(**files)) points += samples.size();
    EXPECT_LE(points, 90u);
    EXPECT_GE(points, 60u) << "more is gone than one parcel";
    const auto selection = (*files)->select({}, 0, INT64_MAX, 10);
    if (at >= kFileHeaderBytes) {
      EXPECT_NE((selection->warnings[0] + selection->warnings.back()).find("left out"), std::string::npos);
    }
  }
}

TEST(BlockFiles, AFolderWithoutBlocksAndAFileOfAnotherKindAreErrorsByName) {
  TestWorld world;
  world.disk.files["/etc/notes.txt"].bytes = "nothing";
  auto files = BlockFiles::open(world.disk, {"/etc"});
  ASSERT_FALSE(files.has_value());
  EXPECT_EQ(files.error().code, ErrorCode::kNotFound);
  EXPECT_NE(files.error().text.find("/etc: no block is there"), std::string::npos);
}

class QueryBlocks : public testing::Test {
 protected:
  QueryBlocks() {
    std::string made = testing::TempDir() + "/lambda_blocks_XXXXXX";
    directory = ::mkdtemp(made.data());
    gateway::TestWorld world;
    TestDevice device;
    write_spool(world.disk, "/spool", device);
    std::ofstream(directory + "/spool-0000000000000001.lam", std::ios::binary) << world.disk.files["/spool"].bytes;
  }
  ~QueryBlocks() override { std::filesystem::remove_all(directory); }
  std::string directory;
};

// The program itself, as one types it.
TEST_F(QueryBlocks, AnswersWithATableAtTheDatasLastMoment) {
  const Ran ran = run("query --blocks " + directory + " m1");
  EXPECT_EQ(ran.status, 0) << ran.out;
  EXPECT_NE(ran.out.find("m1{instance=\"press-7\",site=\"hall\"}"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("29"), std::string::npos) << ran.out;
  const Ran one =
      run("query --json --blocks " + directory + "/spool-0000000000000001.lam 'sum(count_over_time(m1[1h]))'");
  EXPECT_EQ(one.status, 0);
  const json answer = json::parse(one.out);
  EXPECT_EQ(answer["data"]["result"][0]["value"][1], "30");
  EXPECT_EQ(answer["data"]["result"][0]["value"][0], 1700000002.9);
  EXPECT_NE(answer["warnings"].dump().find("undeclared"), std::string::npos);
}

TEST_F(QueryBlocks, ARangeWithoutEndsIsTheDatasLastTenMinutes) {
  const Ran ran = run("query --json --step 1 --blocks " + directory + " m1");
  EXPECT_EQ(ran.status, 0) << ran.out;
  const json values = json::parse(ran.out)["data"]["result"][0]["values"];
  ASSERT_EQ(values.size(), 3u) << "the data begin 2.9 s before their end";
  EXPECT_EQ(values[2][1], "29");
}

TEST_F(QueryBlocks, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(run("query --blocks /nowhere m1").status, 1);
  EXPECT_EQ(run("query --blocks " + directory + " 'm1 +'").status, 1);
  EXPECT_EQ(run("query --blocks " + directory + " m1 --time 5 --step 1").status, 2);
  EXPECT_EQ(run("query --blocks " + directory + " m1 --agent http://127.0.0.1:1").status, 2);
  std::ofstream(directory + "/notes.txt") << "nothing\n";
  EXPECT_EQ(run("query --blocks " + directory + "/notes.txt m1").status, 1);
  EXPECT_EQ(run("query --blocks " + directory + " 'count(m1)'").status, 0) << "beside other files";
}

// Golden blocks are files of one block.
TEST_F(QueryBlocks, AFileOfOneBlockIsASeriesCalledBlock) {
  const std::string file = LAMBDA_SOURCE_DIR "/proto/vectors/block/steady.bin";
  const Ran cat = run("block cat " + file);
  const auto points = std::count(cat.out.begin(), cat.out.end(), '\n') - 1;
  const Ran ran = run("query --json --blocks " + file + " 'count_over_time(block[1h])'");
  EXPECT_EQ(ran.status, 0) << ran.out;
  EXPECT_EQ(json::parse(ran.out)["data"]["result"][0]["value"][1], std::to_string(points)) << ran.out;
  const Ran bad = run("query --json --blocks " LAMBDA_SOURCE_DIR "/proto/vectors/block/bad_checksum.bin block");
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.out.find("checksum"), std::string::npos) << bad.out;
}

}  // namespace
}  // namespace lambda::cli
