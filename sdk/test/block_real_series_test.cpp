// Series that were really measured, from gzipped CSV files outside this repository (time, value). They are sought in
// $LAMBDA_SHARED/data and in ../shared/data beside the checkout; without them the test says so and is skipped.
#include <gtest/gtest.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "lambda/block.h"

namespace lambda {
namespace {

namespace fs = std::filesystem;

fs::path data_folder() {
  const char* shared = std::getenv("LAMBDA_SHARED");
  return fs::path(shared != nullptr ? shared : LAMBDA_SOURCE_DIR "/../shared") / "data";
}

std::vector<Point> read_series(const fs::path& path) {
  std::vector<Point> points;
  FILE* pipe = popen(("gzip -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) return points;
  char line[256];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    long long time = 0;
    double value = 0;
    if (std::sscanf(line, "%lld,%lf", &time, &value) == 2) points.push_back({time, std::bit_cast<uint64_t>(value)});
  }
  pclose(pipe);
  return points;
}

TEST(BlockRealSeries, ComeBackBitForBit) {
  size_t series = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(data_folder(), none)) {
    if (entry.path().extension() != ".gz") continue;
    SCOPED_TRACE(entry.path().string());
    const std::vector<Point> points = read_series(entry.path());
    ASSERT_GT(points.size(), 100u);  // the file was read
    ++series;
    std::vector<uint8_t> space(block_bytes_max(kBlockPointsMax));
    size_t bytes = 0;
    for (size_t at = 0; at < points.size();) {
      BlockWriter writer(space, {.first_ordinal = at});
      size_t taken = 0;
      while (at + taken < points.size() && writer.append(points[at + taken]) == AppendResult::kOk) ++taken;
      BlockInfo info;
      std::vector<Point> decoded(kBlockPointsMax);
      const auto sealed = writer.seal();
      ASSERT_TRUE(decode_block(sealed, 0, &info, decoded).ok());
      decoded.resize(info.count);
      ASSERT_EQ(decoded, std::vector<Point>(points.begin() + static_cast<ptrdiff_t>(at),
                                            points.begin() + static_cast<ptrdiff_t>(at + taken)));
      bytes += sealed.size();
      at += taken;
    }
    std::printf("%-48s %7zu points %6.2f bits a point\n", entry.path().filename().c_str(), points.size(),
                8.0 * static_cast<double>(bytes) / static_cast<double>(points.size()));
  }
  if (series == 0) GTEST_SKIP() << "no real series in " << data_folder() << ": set LAMBDA_SHARED";
}

}  // namespace
}  // namespace lambda
