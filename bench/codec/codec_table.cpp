// The table: bits a point of each series, then speed on all of them mixed, ours beside memcpy, zstd-3 and Beringei's
// coder in the same run. Every cell was decoded and compared bit for bit with its input.
//
// Input: CSV packed with gzip (`timestamp_ms,value`) from $LAMBDA_SHARED/data, else ../shared/data beside the checkout,
// else bench/data. Mixed: blocks of up to 1,024 points, shuffled, so that no branch predictor learns one series.
#include "bench/codec/codec_table.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bench/codec/anchors.h"
#include "lambda/stored_block.h"

namespace lambda::bench {
namespace {

namespace fs = std::filesystem;
using Run = std::vector<Point>;
using Bytes = std::vector<uint8_t>;

Run read_csv(const fs::path& path) {
  Run points;
  FILE* pipe = popen(("gzip -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) return points;
  char line[256];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    char* end = nullptr;
    const long long time = std::strtoll(line, &end, 10);
    if (end != line && *end == ',') points.push_back({time, std::bit_cast<uint64_t>(std::strtod(end + 1, nullptr))});
  }
  pclose(pipe);
  return points;
}

std::map<std::string, Run> load(const fs::path& folder) {
  std::map<std::string, Run> all;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (entry.path().extension() == ".gz") all[entry.path().stem().stem().string()] = read_csv(entry.path());
  }
  return all;
}

std::vector<Run> cut(const Run& points) {
  std::vector<Run> runs;
  for (std::span<const Point> rest = points; !rest.empty();) {
    const size_t count = points_that_fit(rest, kLongSpanMsMax);
    runs.emplace_back(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count));
    rest = rest.subspan(count);
  }
  return runs;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

using Write = std::function<std::span<const uint8_t>(const Run&, std::span<uint8_t>)>;

std::vector<Bytes> blocks_of(const std::vector<Run>& runs, const Write& write) {
  Bytes space(stored_bytes_max(kBlockPointsMax));
  std::vector<Bytes> blocks;
  for (const Run& run : runs) {
    const auto block = write(run, space);
    blocks.emplace_back(block.begin(), block.end());
    BlockInfo info;
    Run back(kBlockPointsMax);
    require(read_block(block, 0, &info, back, kLongSpanMsMax).ok(), "a block does not read back");
    back.resize(info.count);
    require(back == run, "a block gives back other points");
  }
  return blocks;
}

std::vector<std::string> encoded(Anchor& anchor, const std::vector<Run>& runs) {
  std::vector<std::string> all;
  for (const Run& run : runs) {
    anchor.encode(run, &all.emplace_back());
    Run back;
    anchor.decode(all.back(), run.size(), &back);
    bool same = back.size() == run.size();
    for (size_t i = 0; same && i < run.size(); ++i) {
      same = back[i].bits == run[i].bits && back[i].time_ms == run[i].time_ms - run[0].time_ms;
    }
    require(same, anchor.name());
  }
  return all;
}

template <class Blocks>
double bits_per_point(const Blocks& blocks, size_t points) {
  size_t bytes = 0;
  for (const auto& block : blocks) bytes += block.size();
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(points);
}

// Million points a second: the median of seven samples of at least 50 ms.
double speed(size_t points, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> samples;
  for (int sample = 0; sample < 7; ++sample) {
    const auto begin = Clock::now();
    size_t rounds = 0;
    double seconds = 0;
    for (; seconds < 0.05; ++rounds) {
      work();
      seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    samples.push_back(static_cast<double>(rounds * points) / seconds / 1e6);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

std::span<const uint8_t> write_xor64(const Run& run, std::span<uint8_t> space) {
  return write_block({}, Codec::kXor64, run, space);
}
std::span<const uint8_t> write_packed(const Run& run, std::span<uint8_t> space) {
  return pack_block({}, run, space);
}

struct Row {
  std::string name;
  double bits = 0;
  double encode = 0;
  double decode = 0;
};

Row measure(const std::string& name, const std::vector<Run>& runs, size_t points, const Write& write) {
  const auto blocks = blocks_of(runs, write);
  Bytes space(stored_bytes_max(kBlockPointsMax));
  Run back(kBlockPointsMax);
  BlockInfo info;
  return {name, bits_per_point(blocks, points),
          speed(points,
                [&] {
                  for (const Run& run : runs) write(run, space);
                }),
          speed(points, [&] {
            for (const Bytes& block : blocks) require(read_block(block, 0, &info, back, kLongSpanMsMax).ok(), "read");
          })};
}

Row measure(Anchor& anchor, const std::vector<Run>& runs, size_t points) {
  const auto all = encoded(anchor, runs);
  std::string to;
  Run back;
  return {anchor.name(), bits_per_point(all, points),
          speed(points,
                [&] {
                  for (const Run& run : runs) anchor.encode(run, &to);
                }),
          speed(points, [&] {
            for (size_t i = 0; i < all.size(); ++i) anchor.decode(all[i], runs[i].size(), &back);
          })};
}

double memcpy_speed(const std::vector<Run>& runs, size_t points) {
  Run back(kBlockPointsMax);
  volatile uint64_t seen = 0;
  return speed(points, [&] {
    for (const Run& run : runs) {
      std::memcpy(back.data(), run.data(), run.size() * sizeof(Point));
      seen = back[run.size() - 1].bits;
    }
  });
}

// One point of each of 10,000 series in turn: what a server does, and what the caches feel.
double in_turn_speed() {
  constexpr size_t kSeries = 10'000, kPoints = 100;
  Bytes space(kSeries * block_bytes_max(kPoints));
  return speed(kSeries * kPoints, [&] {
    std::vector<BlockWriter> writers;
    writers.reserve(kSeries);
    for (size_t i = 0; i < kSeries; ++i) {
      writers.emplace_back(std::span(space).subspan(i * block_bytes_max(kPoints), block_bytes_max(kPoints)),
                           BlockOptions{.ref = static_cast<uint32_t>(i)});
    }
    for (size_t p = 0; p < kPoints; ++p) {
      for (size_t i = 0; i < kSeries; ++i) {
        const double value = static_cast<double>((i * 31 + p * 7) % 200) / 10;
        const Point point{static_cast<int64_t>(p) * 1000, std::bit_cast<uint64_t>(value)};
        require(writers[i].append(point) == AppendResult::kOk, "append");
      }
    }
  });
}

void print_aggregates(const std::vector<Run>& runs, size_t points) {
  const auto blocks = blocks_of(runs, [](const Run& run, std::span<uint8_t> space) {
    return pack_block({{}, true}, run, space);
  });
  BlockInfo info;
  Aggregates all;
  const double folded = speed(points, [&] {
    for (const Bytes& block : blocks) {
      require(aggregate_block(block, 0, INT64_MIN, INT64_MAX, &info, &all, kLongSpanMsMax).ok(), "aggregate");
    }
  });
  const double headers = speed(blocks.size(), [&] {
    for (const Bytes& block : blocks) {
      require(read_block_info(block, 0, &info, &all, true, kLongSpanMsMax).ok() && all.count > 0, "head");
    }
  });
  std::printf("packed, sum min max folded into decoding: %.0f Mpts/s\n", folded);
  std::printf("aggregates of 10,000 blocks from their heads: %.2f ms\n", 10'000 / headers / 1e3);
}

}  // namespace

void print_codec_table(const std::string& source_folder) {
  const char* shared = std::getenv("LAMBDA_SHARED");
  auto series = load(fs::path(shared != nullptr ? shared : source_folder + "/../shared") / "data");
  if (series.empty()) series = load(fs::path(source_folder) / "bench/data");
  const auto anchor = beringei();
  std::vector<Run> mixed;
  std::printf("%-32s %8s %10s %10s %10s\n", "bits a point", "points", "xor64", "packed", anchor ? "Beringei" : "");
  for (const auto& [name, points] : series) {
    const auto runs = cut(points);
    std::printf("%-32s %8zu %10.2f %10.2f", name.c_str(), points.size(),
                bits_per_point(blocks_of(runs, write_xor64), points.size()),
                bits_per_point(blocks_of(runs, write_packed), points.size()));
    if (anchor) std::printf(" %10.2f", bits_per_point(encoded(*anchor, runs), points.size()));
    std::printf("\n");
    for (const Run& run : runs) {
      if (run.size() >= kBlockPointsMax / 2) mixed.push_back(run);
    }
  }
  std::shuffle(mixed.begin(), mixed.end(), std::mt19937_64(7));
  size_t points = 0;
  for (const Run& run : mixed) points += run.size();
  std::vector<Row> rows;
  const double copied = memcpy_speed(mixed, points);
  rows.push_back({"memcpy of 16 bytes a point", 128, copied, copied});
  if (const auto other = zstd()) rows.push_back(measure(*other, mixed, points));
  if (anchor) rows.push_back(measure(*anchor, mixed, points));
  const Row yardstick = anchor ? rows.back() : Row{};
  rows.push_back(measure("xor64, one series", mixed, points, write_xor64));
  rows.push_back(measure("packed", mixed, points, write_packed));
  std::printf("\n%-32s %8s %10s %10s   against %s: bits, encode, decode\n", "mixed, Mpts/s", "bits", "encode", "decode",
              anchor ? "Beringei" : "memcpy");
  for (const Row& row : rows) {
    const Row& base = anchor ? yardstick : rows.front();
    std::printf("%-32s %8.2f %10.0f %10.0f   %.2fx %.2fx %.2fx\n", row.name.c_str(), row.bits, row.encode, row.decode,
                row.bits / base.bits, row.encode / base.encode, row.decode / base.decode);
  }
  std::printf("xor64, 10,000 series in turn: %.0f Mpts/s\n", in_turn_speed());
  print_aggregates(mixed, points);
  if (!anchor) std::printf("Beringei: not measured; configure with -DLAMBDA_BERINGEI=PATH of its sources\n");
  if (!zstd()) std::printf("zstd: not measured; libzstd-dev was missing when this was built\n");
  std::printf("\n");
}

}  // namespace lambda::bench
