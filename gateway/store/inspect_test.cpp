#include "gateway/store/inspect.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/record/record.h"
#include "gateway/store/index.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

// A store with a real index file beside segments in memory.
struct InspectWorld : TestWorld {
  InspectWorld() {
    std::string made = "/tmp/lambda_store_inspect_XXXXXX";
    options.directory = mkdtemp(made.data());
    options.index_in_memory = false;
    options.segment_bytes_max = 4'000;
  }
  ~InspectWorld() {
    close();
    std::filesystem::remove_all(options.directory);
  }
  void fill(uint64_t parcels) {
    for (uint64_t i = 0; i < parcels; ++i) {
      ASSERT_EQ(put(device.parcel({test_block(1, i * 20, 20), test_block(2, i * 30, 30)}, {1, 2})).verdict,
                Verdict::kStored);
    }
  }
  TestDevice device;
};

TEST(StoreInspect, AGoodStoreIsFoundGoodAndCounted) {
  InspectWorld world;
  world.open();
  world.fill(60);
  world.put(world.device.parcel({}, {}, {{1, 5'000, 70, GapReason::kMemory}}));
  EXPECT_EQ(check_store(world.disk, world.options.directory).error().code, ErrorCode::kDenied);  // it is running
  world.close();
  const auto report = check_store(world.disk, world.options.directory);
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_TRUE(report->ok()) << report->index_text;
  EXPECT_EQ(report->points, 3'000u);
  EXPECT_EQ(report->parcels, 61u);
  EXPECT_EQ(report->gap_points, 70u);
  EXPECT_GT(report->segments, 1u);
  EXPECT_EQ(report->index, IndexState::kAgrees) << report->index_text;
}

TEST(StoreInspect, ASeriesKnownByAGapAloneIsNoDisagreement) {
  InspectWorld world;
  world.open();
  world.put(world.device.parcel({test_block(1, 0, 10)}, {1}, {{2, 0, 5, GapReason::kMemory}}));
  world.close();
  const auto report = check_store(world.disk, world.options.directory);
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->index, IndexState::kAgrees) << report->index_text;
  EXPECT_EQ(report->gap_points, 5u);
}

TEST(StoreInspect, AnIndexThatLiesIsFoundAndAMissingOneIsNoFault) {
  InspectWorld world;
  world.open();
  world.fill(5);
  world.close();
  const std::string path = world.options.directory + "/index.db";
  std::filesystem::remove(path);
  EXPECT_EQ(check_store(world.disk, world.options.directory)->index, IndexState::kMissing);
  EXPECT_TRUE(check_store(world.disk, world.options.directory)->ok());
  world.open();
  world.close();
  EXPECT_EQ(check_store(world.disk, world.options.directory)->index, IndexState::kAgrees);
  {
    bool made = false;
    auto index = Index::open(path, &made);
    ASSERT_TRUE(index.has_value());
    for (const IndexedSegment& segment : (*index)->segments()) EXPECT_TRUE((*index)->drop_extents(segment.number));
  }
  const auto report = check_store(world.disk, world.options.directory);
  EXPECT_EQ(report->index, IndexState::kDisagrees);
  EXPECT_NE(report->index_text.find("the index has 0 points, the segments 100"), std::string::npos)
      << report->index_text;
  EXPECT_FALSE(report->ok());
}

TEST(StoreInspect, DamageIsNamedByFileAndOffsetAndRepairKeepsTheRest) {
  InspectWorld world;
  world.open();
  world.fill(40);
  world.close();
  const std::string first = world.disk.files.begin()->first;
  world.disk.files[first].bytes[300] ^= 0x20;
  const auto before = check_store(world.disk, world.options.directory);
  ASSERT_TRUE(before.has_value());
  EXPECT_FALSE(before->ok());
  ASSERT_EQ(before->damage_count, 1u);
  EXPECT_EQ(before->damage[0].file, first);
  EXPECT_LE(before->damage[0].offset, 300u);
  EXPECT_EQ(before->points, 39 * 50u);

  const auto repair = repair_store(world.disk, world.options.directory);
  ASSERT_TRUE(repair.has_value()) << repair.error().text;
  EXPECT_EQ(repair->records_lost, 1u);
  EXPECT_EQ(repair->quarantined, std::vector<std::string>{first + ".damaged"});
  EXPECT_TRUE(repair->index_dropped);
  const auto after = check_store(world.disk, world.options.directory);
  EXPECT_TRUE(after->ok());
  EXPECT_EQ(after->points, 39 * 50u);
  world.open();
  EXPECT_EQ(read_series(*world.store, 2).size(), 39 * 30u);
}

TEST(StoreInspect, ADamagedHeaderCostsNoRecord) {
  InspectWorld world;
  world.open();
  world.fill(10);
  world.close();
  world.disk.files.begin()->second.bytes[9] ^= 0xFF;
  EXPECT_EQ(check_store(world.disk, world.options.directory)->damage_count, 1u);
  ASSERT_TRUE(repair_store(world.disk, world.options.directory).has_value());
  EXPECT_EQ(check_store(world.disk, world.options.directory)->points, 500u);
}

TEST(StoreInspect, ATornTailIsNoDamageAndIsCut) {
  InspectWorld world;
  world.open();
  world.fill(3);
  world.close();
  auto& last = std::prev(world.disk.files.end())->second;
  last.bytes += "LR and then the power went";
  const auto report = check_store(world.disk, world.options.directory);
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->torn_bytes, 26u);
  EXPECT_EQ(repair_store(world.disk, world.options.directory)->torn_bytes_cut, 26u);
  EXPECT_EQ(check_store(world.disk, world.options.directory)->torn_bytes, 0u);
}

TEST(StoreInspect, APointThatStandsTwiceIsNamed) {
  InspectWorld world;
  world.open();
  world.fill(4);
  world.close();
  const auto& file = *world.disk.files.begin();
  std::string copy = file.second.bytes;
  std::vector<std::byte> header;
  append_file_header(header, {FileKind::kSegment, 77, 0, 0});
  for (size_t i = 0; i < header.size(); ++i) copy[i] = static_cast<char>(header[i]);
  world.disk.files[world.options.directory + "/seg-000000000000004d.lam"] = {copy, copy.size(), true, {}};
  const auto report = check_store(world.disk, world.options.directory);
  EXPECT_FALSE(report->ok());
  EXPECT_EQ(report->doubled_points, 200u);
  EXPECT_EQ(report->points, 200u);
  EXPECT_EQ(report->doubled[0].device, "press-7");
}

TEST(StoreInspect, ExportWritesEachPointOnceInBothForms) {
  InspectWorld world;
  world.open();
  TestBlock block = test_block(1, 0, 3);
  block.points[1].bits = 0x7FF8000000000000;
  world.put(world.device.parcel({block}, {1}));
  const std::vector<query::Matcher> matchers{{"__name__", query::MatchOp::kEqual, "m1"}};
  for (const auto format : {ExportFormat::kJsonLines, ExportFormat::kCsv}) {
    std::string text;
    std::vector<std::string> warnings;
    const auto sink = [&](const std::string& lines) {
      text += lines;
      return Status();
    };
    const auto count = export_points(*world.store, matchers, INT64_MIN, INT64_MAX, format, sink, &warnings);
    ASSERT_TRUE(count.has_value());
    EXPECT_EQ(*count, 3u);
    EXPECT_TRUE(warnings.empty());
    if (format == ExportFormat::kCsv) {
      EXPECT_EQ(text,
                "series,time_ms,value\n"
                "\"m1{instance=\"\"press-7\"\",site=\"\"hall\"\"}\",1700000000000,0\n"
                "\"m1{instance=\"\"press-7\"\",site=\"\"hall\"\"}\",1700000000100,NaN\n"
                "\"m1{instance=\"\"press-7\"\",site=\"\"hall\"\"}\",1700000000200,2\n");
    } else {
      EXPECT_NE(text.find("{\"labels\":{\"__name__\":\"m1\",\"instance\":\"press-7\",\"site\":\"hall\"},\"time_ms\":"
                          "1700000000100,\"value\":\"NaN\"}\n"),
                std::string::npos);
    }
  }
}

}  // namespace
}  // namespace lambda::gateway
