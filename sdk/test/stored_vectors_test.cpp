// The golden vectors of proto/vectors/stored, made by another program than this SDK.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "lambda/codecs.h"
#include "lambda/stored_block.h"

namespace lambda {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

struct Vector {
  std::string error;
  StoredOptions options;
  Codec codec = Codec::kXor64;
  std::vector<Point> points;
};

Vector read_text(const fs::path& path) {
  Vector vector;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    std::string key, value;
    in >> key >> value;
    if (key == "error") vector.error = value;
    if (key == "type") vector.options.block.type = static_cast<ValueType>(std::stoul(value));
    if (key == "scale") vector.options.block.scale = static_cast<uint8_t>(std::stoul(value));
    if (key == "codec") vector.codec = static_cast<Codec>(std::stoul(value));
    if (key == "aggregates") vector.options.aggregates = value == "1";
    if (key == "point") {
      std::string bits;
      in >> bits;
      vector.points.push_back({std::stoll(value), std::stoull(bits, nullptr, 16)});
    }
  }
  vector.options.block.ref = 1;
  return vector;
}

Bytes read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  const std::vector<char> text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return Bytes(text.begin(), text.end());
}

std::set<fs::path> texts() {
  std::set<fs::path> sorted;
  for (const auto& entry : fs::directory_iterator(LAMBDA_STORED_VECTORS)) {
    if (entry.path().extension() == ".txt") sorted.insert(entry.path());
  }
  return sorted;
}

TEST(StoredBlockVectors, EveryGoodOneReadsAsItsDescriptionAndEveryStreamIsWrittenByteForByte) {
  std::set<Codec> codecs;
  size_t packed = 0;
  for (const fs::path& path : texts()) {
    SCOPED_TRACE(path.string());
    const Vector vector = read_text(path);
    if (vector.error != "none") continue;
    codecs.insert(vector.codec);
    const Bytes bytes = read_bytes(fs::path(path).replace_extension(".bin"));
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = read_block(bytes, 0, &info, points, kLongSpanMsMax);
    ASSERT_TRUE(status.ok()) << block_error_name(status.error) << " at " << status.offset;
    points.resize(info.count);
    EXPECT_EQ(points, vector.points);
    EXPECT_EQ(info.type, vector.options.block.type);
    EXPECT_EQ(info.scale, vector.options.block.scale);
    EXPECT_EQ(info.codec, vector.codec);
    Aggregates aggregates;
    ASSERT_TRUE(read_block_info(bytes, 0, &info, &aggregates, false, kLongSpanMsMax).ok());
    EXPECT_EQ(aggregates.count > 0, vector.options.aggregates);
    packed += vector.codec == Codec::kPacked ? 1 : 0;
    if (vector.codec == Codec::kPacked)
      continue;  // a packer may find another form; what it says is bound to be the same
    Bytes space(stored_bytes_max(points.size()));
    const auto written = write_block(vector.options, vector.codec, vector.points, space);
    EXPECT_EQ(Bytes(written.begin(), written.end()), bytes);
  }
  EXPECT_EQ(codecs.size(), 6u);
  EXPECT_GE(packed, 9u);
}

// What a device may write is read, and written, by what a device has as well.
bool is_of_a_device(const Bytes& block) {
  return block.size() > 1 && find_coding(kAllCodings, static_cast<Codec>(block[1])) != nullptr;
}

TEST(StoredBlockVectors, WhatADeviceMayWriteItReadsAndWritesByteForByte) {
  std::set<Codec> codecs;
  for (const fs::path& path : texts()) {
    SCOPED_TRACE(path.string());
    Vector vector = read_text(path);
    const Bytes bytes = read_bytes(fs::path(path).replace_extension(".bin"));
    if (!is_of_a_device(bytes)) continue;
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, 0, &info, points, kAllCodings);
    ASSERT_EQ(block_error_name(status.error), vector.error) << " at " << status.offset;
    ASSERT_EQ(decode_block(bytes, 0, &info, points).error, BlockError::kCodec) << "read without its codec";
    if (!status.ok()) continue;
    codecs.insert(vector.codec);
    points.resize(info.count);
    EXPECT_EQ(points, vector.points);
    vector.options.block.tick_ms = info.tick_ms;
    vector.options.block.coding = find_coding(kAllCodings, vector.codec);
    Bytes space(block_bytes_max(points.size()));
    BlockWriter writer(space, vector.options.block);
    for (const Point& point : points) ASSERT_EQ(writer.append(point), AppendResult::kOk);
    const auto written = writer.seal();
    EXPECT_EQ(Bytes(written.begin(), written.end()), bytes);
  }
  EXPECT_EQ(codecs.size(), kAllCodings.size());
}

TEST(StoredBlockVectors, EveryMalformedOneIsRefusedByItsName) {
  size_t seen = 0;
  for (const fs::path& path : texts()) {
    SCOPED_TRACE(path.string());
    const Vector vector = read_text(path);
    if (vector.error == "none") continue;
    ++seen;
    const Bytes bytes = read_bytes(fs::path(path).replace_extension(".bin"));
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = read_block(bytes, 0, &info, points, kLongSpanMsMax);
    EXPECT_EQ(block_error_name(status.error), vector.error);
    EXPECT_LE(status.offset, bytes.size());
  }
  EXPECT_GE(seen, 30u);
}

}  // namespace
}  // namespace lambda
