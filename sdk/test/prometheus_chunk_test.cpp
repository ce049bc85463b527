// Chunks as Prometheus writes them: read, and written the same.
#include "lambda/prometheus_chunk.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "lambda/block.h"

namespace lambda {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes chunk_of(std::span<const Point> points) {
  Bytes space(prometheus_chunk_bytes_max(points.size()));
  space.resize(write_prometheus_chunk(points, space));
  return space;
}

std::vector<Point> points_of(std::span<const uint8_t> chunk) {
  std::vector<Point> points(prometheus_chunk_count(chunk));
  EXPECT_TRUE(read_prometheus_chunk(chunk, points));
  return points;
}

std::vector<Point> random_points(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Point> points;
  int64_t time = static_cast<int64_t>(random() >> (random() % 60));
  for (size_t i = 0, n = 1 + random() % 300; i < n; ++i) {
    time = static_cast<int64_t>(static_cast<uint64_t>(time) + (random() % 3 == 0 ? random() >> random() % 64 : 15'000));
    const uint64_t last = points.empty() ? 0 : points.back().bits;
    points.push_back({time, random() % 3 == 0 ? last : last ^ random() >> random() % 64 << random() % 64});
  }
  return points;
}

TEST(PrometheusChunk, GivesBackEveryBit) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    const auto points = random_points(seed);
    ASSERT_EQ(points_of(chunk_of(points)), points) << "seed " << seed;
  }
}

TEST(PrometheusChunk, EveryWidthOfAStepAtBothItsEnds) {
  std::vector<Point> points{{0, 1}};
  int64_t step = 1'000'000;
  for (const int64_t half : {8192, 65'536, 524'288}) {
    for (const int64_t change : {half, -half + 1, half + 1, -half}) {
      step += change;
      points.push_back({points.back().time_ms + step, 1});
    }
  }
  EXPECT_EQ(points_of(chunk_of(points)), points);
}

TEST(PrometheusChunk, CutItIsRefused) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Bytes chunk = chunk_of(random_points(seed));
    std::vector<Point> points(kPrometheusPointsMax);
    for (size_t size = 0; size < chunk.size(); ++size) {
      const Bytes cut(chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(size));
      ASSERT_FALSE(read_prometheus_chunk(cut, points)) << "seed " << seed << ", " << size << " bytes";
    }
    EXPECT_FALSE(read_prometheus_chunk(chunk, std::span(points).first(prometheus_chunk_count(chunk) - 1)));
  }
}

TEST(PrometheusChunk, AnyBytesAreReadOrRefused) {
  std::mt19937_64 random(7);
  size_t read = 0;
  std::vector<Point> points(kPrometheusPointsMax);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(2 + random() % 80);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() & random());
    bytes[0] = 0;
    read += read_prometheus_chunk(bytes, points) ? 1 : 0;
  }
  EXPECT_GT(read, 100u);
}

// ---- Against Prometheus itself

std::vector<Point> measured() {
  std::mt19937_64 random(11);
  std::vector<Point> points;
  int64_t time = 1'700'000'000'000;
  double walk = 20;
  for (int i = 0; i < 3000; ++i) {
    walk += static_cast<double>(static_cast<int64_t>(random() % 21) - 10) / 100;
    double value = walk;
    if (i % 500 > 250) value = std::round(walk * 100) / 100;
    if (i % 500 > 400) value = i;
    if (i % 700 == 3) value = -INFINITY;
    if (i % 700 == 4) value = 5e-324;
    if (i % 700 == 5) value = -0.0;
    points.push_back({time, std::bit_cast<uint64_t>(value)});
    time += i % 900 == 899 ? 400'000 : 5000 + (i % 3 == 0 ? static_cast<int64_t>(random() % 4) * 250 : 0);
  }
  return points;
}

// The chunks of a segment file (tsdb/docs/format/chunks.md), their checksums checked.
std::vector<Bytes> chunks_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const Bytes bytes(text.begin(), text.end());
  std::vector<Bytes> chunks;
  EXPECT_GT(bytes.size(), 8u);
  for (size_t at = 8; at < bytes.size();) {
    size_t length = 0;
    for (unsigned shift = 0;; shift += 7) {
      length |= static_cast<size_t>(bytes.at(at) & 0x7F) << shift;
      if ((bytes.at(at++) & 0x80) == 0) break;
    }
    EXPECT_EQ(bytes.at(at), 1) << "XOR";
    const uint32_t crc = crc32c(std::span(bytes).subspan(at, 1 + length));
    uint32_t stored = 0;
    for (size_t i = 0; i < 4; ++i) stored = stored << 8 | bytes.at(at + 1 + length + i);
    EXPECT_EQ(stored, crc);
    chunks.emplace_back(bytes.begin() + static_cast<ptrdiff_t>(at + 1),
                        bytes.begin() + static_cast<ptrdiff_t>(at + 1 + length));
    at += 1 + length + 4;
  }
  return chunks;
}

TEST(PrometheusChunk, WhatPrometheusWroteIsReadAndWrittenByteForByte) {
  if (std::system("promtool --version >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "*** NOTHING IS PROVEN: promtool is missing (Debian package prometheus) ***";
  }
  const fs::path folder = fs::path(testing::TempDir()) / ("lambda-chunks-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto points = measured();
  {
    std::ofstream text(folder / "in.txt");
    text << "# TYPE m gauge\n";
    for (const Point& point : points) {
      char line[96];
      std::snprintf(line, sizeof line, "m %.17g %lld.%03lld\n", std::bit_cast<double>(point.bits),
                    static_cast<long long>(point.time_ms / 1000), static_cast<long long>(point.time_ms % 1000));
      text << line;
    }
    text << "# EOF\n";
  }
  const std::string command = "timeout 60 promtool tsdb create-blocks-from openmetrics '" +
                              (folder / "in.txt").string() + "' '" + (folder / "out").string() + "' > '" +
                              (folder / "log").string() + "' 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0) << "see " << folder / "log";
  std::map<int64_t, Point> all;
  size_t chunks = 0;
  for (const auto& block : fs::directory_iterator(folder / "out")) {
    if (!fs::exists(block.path() / "chunks" / "000001")) continue;
    for (const Bytes& chunk : chunks_of(block.path() / "chunks" / "000001")) {
      const auto some = points_of(chunk);
      // Where the bits end with a byte, Prometheus may have begun another one, of zeros.
      Bytes ours = chunk_of(some);
      if (ours.size() + 1 == chunk.size() && chunk.back() == 0) ours.push_back(0);
      EXPECT_EQ(ours, chunk);
      for (const Point& point : some) all[point.time_ms] = point;
      ++chunks;
    }
  }
  EXPECT_GE(chunks, points.size() / 150);
  std::vector<Point> read;
  for (const auto& [time, point] : all) read.push_back(point);
  EXPECT_EQ(read, points);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace lambda
