#include "gateway/store/record_body.h"

#include <fstream>
#include <sstream>

#include "base/record/record.h"
#include "gateway/store/inspect.h"
#include "gateway/store/retired_set.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

std::vector<std::byte> read_hex(const std::string& path) {
  std::ifstream file(path);
  std::string digits;
  for (std::string line; std::getline(file, line);) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (c != ' ') digits += c;
    }
  }
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(SegmentRecords, TheWorkedExampleIsWhatIsWritten) {
  std::vector<std::byte> out;
  append_file_header(out, {FileKind::kSegment, 18, 1'700'000'000'000, kOwnerMerged});
  append_replaces(out, std::vector<uint64_t>{16, 17});
  std::vector<uint8_t> space(1024);
  BlockOptions options;
  options.boot = 0x1122334455667788;
  options.ref = 1;
  options.first_ordinal = 5;
  options.write_boot = true;
  options.tick_ms = 1000;
  BlockWriter writer(space, options);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(writer.append({1'700'000'000'000 + i * 1000, 0x4035000000000000}), AppendResult::kOk);
  }
  append_merged(out, "press-7", writer.seal());
  append_retired(out, {"press-7", {{0x1122334455667788, 1, {0, 5}}}, {}});
  append_end(out, {3, out.size()});
  EXPECT_EQ(out, read_hex(std::string(LAMBDA_SOURCE_DIR) + "/proto/vectors/segment/merged.hex"));
}

TEST(SegmentRecords, TheWorkedExampleIsRead) {
  const auto bytes = read_hex(std::string(LAMBDA_SOURCE_DIR) + "/proto/vectors/segment/merged.hex");
  ASSERT_FALSE(bytes.empty());
  TestWorld world;
  world.disk.files["/store/seg-0000000000000012.lam"] = {
      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bytes.size(), true, {}};
  const auto report = check_store(world.disk, "/store");
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->points, 3u);
  EXPECT_EQ(report->retired_points, 5u);
  world.open();
  EXPECT_EQ(world.store->devices().at(0).points, 8u);
}

TEST(SegmentRecords, TheWorkedExampleOfAGapIsWhatIsWritten) {
  std::vector<std::byte> out;
  EXPECT_EQ(append_retired(out, {"press-7", {}, {{0x1122334455667788, {1, 5, 3, GapReason::kCorrupt}}}}), 1u);
  const std::string body(reinterpret_cast<const char*>(out.data()) + kRecordHeadBytes, out.size() - kRecordHeadBytes);
  EXPECT_EQ(body, "\x0a\x07press-7\x1a\x11\x09\x88\x77\x66\x55\x44\x33\x22\x11\x10\x01\x18\x05\x20\x03\x28\x05");
}

TEST(SegmentRecords, RetiredRunsAndGapsComeBackHoweverManyTheyAre) {
  RetiredSet set;
  for (uint64_t i = 0; i < 60'000; ++i) {
    set.add_run("press-7", UINT64_MAX, 1, {i * 4, i * 4 + 2});
    set.add_gap("press-7", UINT64_MAX, {1, i * 4 + 2, 1, GapReason::kMemory});
    set.add_gap("press-7", UINT64_MAX, {1, i * 4 + 3, 1, GapReason::kCorrupt});  // touches no other of its reason
    set.add_gap("press-8", 2, {4'000'000'000, i * 3, 3, GapReason::kRefused});
  }
  TestWorld world;
  auto& file = world.disk.files["/store/x"].bytes;
  std::vector<std::byte> out;
  append_file_header(out, {FileKind::kSegment, 1, 0, kOwnerArrivals});
  const uint64_t count = set.append_to(out);
  EXPECT_EQ(count, 4u + 1);
  file.assign(reinterpret_cast<const char*>(out.data()), out.size());
  RetiredSet back;
  uint64_t gaps = 0;
  const auto scanned = scan_records(world.disk, "/store/x", 0, [&](const RecordView& record) {
    const auto retired = parse_retired(record.body);
    EXPECT_TRUE(retired.has_value());
    if (retired) back.add(*retired);
    if (retired) gaps += retired->gaps.size();
    return true;
  });
  ASSERT_TRUE(scanned.has_value());
  EXPECT_EQ(scanned->damage_count, 0u);
  EXPECT_EQ(gaps, 120'000u + 1);
  std::vector<std::byte> again;
  append_file_header(again, {FileKind::kSegment, 1, 0, kOwnerArrivals});
  EXPECT_EQ(back.append_to(again), count);
  EXPECT_EQ(again, out);
}

TEST(SegmentRecords, BodiesCutAnywhereOrWithAnyBitFlippedAreReadOrRefused) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 5), test_block(2, 0, 3)}, {1, 2}, {{1, 9, 2, GapReason::kMemory}}));
  world.put(device.parcel({test_block(1, 3, 5)}));
  std::vector<std::vector<std::byte>> bodies;
  (void)scan_records(world.disk, world.disk.files.begin()->first, 0, [&](const RecordView& record) {
    bodies.emplace_back(record.body.begin(), record.body.end());
    return true;
  });
  std::vector<std::byte> retired;
  append_retired(retired, {"press-7", {{3, 1, {0, 5}}}, {{3, {1, 5, 300, GapReason::kCorrupt}}}});
  bodies.emplace_back(retired.begin() + kRecordHeadBytes, retired.end());
  ASSERT_EQ(bodies.size(), 3u);
  const auto all = [](std::span<const std::byte> body) {
    int taken = 0;
    if (const auto parcel = parse_stored_parcel(body)) {
      ++taken;
      for (const StoredBlock& block : parcel->blocks) {
        for (const OrdinalRun& run : block.accepted) {
          EXPECT_GE(run.first, block.info.first_ordinal);
          EXPECT_LE(run.end, block.info.first_ordinal + block.info.count);
          EXPECT_LT(run.first, run.end);
        }
      }
    }
    taken += parse_skeleton(body).has_value() + parse_stored_hello(body).has_value() + parse_retired(body).has_value();
    taken += parse_merged(body).has_value() + parse_replaces(body).has_value() + parse_end(body).has_value();
    return taken;
  };
  for (std::vector<std::byte>& body : bodies) {
    EXPECT_GE(all(body), 1);
    for (size_t length = 0; length < body.size(); ++length) (void)all(std::span(body).first(length));
    for (size_t bit = 0; bit < body.size() * 8; ++bit) {
      body[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      (void)all(body);
      body[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    }
  }
}

}  // namespace
}  // namespace lambda::gateway
