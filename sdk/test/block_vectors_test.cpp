// The golden vectors of proto/vectors/block, made by another program than this SDK: read, and written again.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "lambda/block.h"

namespace lambda {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

struct Vector {
  std::string error;
  BlockOptions options;
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
    if (key == "type") vector.options.type = static_cast<ValueType>(std::stoul(value));
    if (key == "boot") vector.options.write_boot = value != "-";
    if (key == "boot" && value != "-") vector.options.boot = std::stoull(value, nullptr, 16);
    if (key == "clock") vector.options.clock = static_cast<uint32_t>(std::stoul(value));
    if (key == "scale") vector.options.scale = static_cast<uint8_t>(std::stoul(value));
    if (key == "ref") vector.options.ref = static_cast<uint32_t>(std::stoul(value));
    if (key == "first") vector.options.first_ordinal = std::stoull(value);
    if (key == "tick") vector.options.tick_ms = static_cast<uint32_t>(std::stoul(value));
    if (key == "point") {
      std::string bits;
      in >> bits;
      vector.points.push_back({std::stoll(value), std::stoull(bits, nullptr, 16)});
    }
  }
  return vector;
}

Bytes read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  const std::vector<char> text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return Bytes(text.begin(), text.end());
}

std::vector<fs::path> texts() {
  std::set<fs::path> sorted;
  for (const auto& entry : fs::directory_iterator(LAMBDA_VECTORS)) {
    if (entry.path().extension() == ".txt") sorted.insert(entry.path());
  }
  return {sorted.begin(), sorted.end()};
}

TEST(BlockVectors, EveryGoodOneReadsAsItsDescriptionAndIsWrittenByteForByte) {
  size_t seen = 0;
  for (const fs::path& path : texts()) {
    SCOPED_TRACE(path.string());
    const Vector vector = read_text(path);
    if (vector.error != "none") continue;
    ++seen;
    const Bytes bytes = read_bytes(fs::path(path).replace_extension(".bin"));
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, 0, &info, points);
    ASSERT_TRUE(status.ok()) << block_error_name(status.error) << " at " << status.offset;
    points.resize(info.count);
    EXPECT_EQ(points, vector.points);
    EXPECT_EQ(info.type, vector.options.type);
    EXPECT_EQ(info.has_boot, vector.options.write_boot);
    EXPECT_EQ(info.boot, vector.options.boot);
    EXPECT_EQ(info.clock, vector.options.clock);
    EXPECT_EQ(info.scale, vector.options.scale);
    EXPECT_EQ(info.ref, vector.options.ref);
    EXPECT_EQ(info.first_ordinal, vector.options.first_ordinal);

    Bytes space(block_bytes_max(points.size()));
    BlockWriter writer(space, vector.options);
    for (const Point& point : vector.points) ASSERT_EQ(writer.append(point), AppendResult::kOk);
    const auto sealed = writer.seal();
    EXPECT_EQ(Bytes(sealed.begin(), sealed.end()), bytes);
  }
  EXPECT_GE(seen, 15u);
}

TEST(BlockVectors, EveryMalformedOneIsRefusedByItsName) {
  std::set<std::string> errors;
  for (const fs::path& path : texts()) {
    SCOPED_TRACE(path.string());
    const Vector vector = read_text(path);
    if (vector.error == "none") continue;
    errors.insert(vector.error);
    const Bytes bytes = read_bytes(fs::path(path).replace_extension(".bin"));
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, 0, &info, points);
    EXPECT_EQ(block_error_name(status.error), vector.error);
    EXPECT_LE(status.offset, bytes.size());
  }
  // Every error a reader can name has its vector.
  for (int error = 1; error <= static_cast<int>(BlockError::kChecksum); ++error) {
    EXPECT_EQ(errors.count(block_error_name(static_cast<BlockError>(error))), 1u)
        << block_error_name(static_cast<BlockError>(error));
  }
}

}  // namespace
}  // namespace lambda
