// The table: bits a point of each series, then speed on all of them mixed, ours beside memcpy, zstd-3 and Beringei's
// coder in the same run. Every cell was decoded and compared bit for bit with its input.
//
// Input: CSV packed with gzip (`timestamp_ms,value`) from $LAMBDA_SHARED/data, else ../shared/data beside the checkout,
// else bench/data. Mixed: blocks of up to 1,024 points, shuffled, so that no branch predictor learns one series.
#include "bench/codec/codec_table.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
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

double processor_seconds() {
  timespec now{};
  require(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "clock");
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Million points a second of processor time, over at least 50 ms.
double sample_speed(size_t points, const std::function<void()>& work) {
  const double begin = processor_seconds();
  size_t rounds = 0;
  double seconds = 0;
  for (; seconds < 0.05; ++rounds) {
    work();
    seconds = processor_seconds() - begin;
  }
  return static_cast<double>(rounds * points) / seconds / 1e6;
}

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

constexpr int kRounds = 7;

double speed(size_t points, const std::function<void()>& work) {
  std::vector<double> samples;
  for (int round = 0; round < kRounds; ++round) samples.push_back(sample_speed(points, work));
  return median(samples);
}

std::span<const uint8_t> write_xor64(const Run& run, std::span<uint8_t> space) {
  return write_block({}, Codec::kXor64, run, space);
}
std::span<const uint8_t> write_packed(const Run& run, std::span<uint8_t> space) {
  return pack_block({}, run, space);
}

// What is measured, and its speed in each round. In a round the rows take turns, so that what else the machine does
// meets all of them: a ratio is the median of the rounds' ratios.
struct Row {
  std::string name;
  double bits = 0;
  std::function<void()> encode_all;
  std::function<void()> decode_all;
  std::vector<double> encode = {};
  std::vector<double> decode = {};
};

void measure(std::vector<Row>* rows, size_t points) {
  for (int round = 0; round < kRounds; ++round) {
    for (Row& row : *rows) {
      row.encode.push_back(sample_speed(points, row.encode_all));
      row.decode.push_back(sample_speed(points, row.decode_all));
    }
  }
}

double ratio(const std::vector<double>& samples, const std::vector<double>& yardstick) {
  std::vector<double> ratios;
  for (size_t i = 0; i < samples.size(); ++i) ratios.push_back(samples[i] / yardstick[i]);
  return median(ratios);
}

// The runs must outlive the row.
Row row_of(const std::string& name, const std::vector<Run>& runs, size_t points, const Write& write) {
  const auto blocks = blocks_of(runs, write);
  const double bits = bits_per_point(blocks, points);
  return {name, bits,
          [&runs, write, space = Bytes(stored_bytes_max(kBlockPointsMax))]() mutable {
            for (const Run& run : runs) write(run, space);
          },
          [blocks, back = Run(kBlockPointsMax)]() mutable {
            BlockInfo info;
            for (const Bytes& block : blocks) require(read_block(block, 0, &info, back, kLongSpanMsMax).ok(), "read");
          }};
}

Row row_of(Anchor& anchor, const std::vector<Run>& runs, size_t points) {
  const auto all = encoded(anchor, runs);
  const double bits = bits_per_point(all, points);
  return {anchor.name(), bits,
          [&anchor, &runs, to = std::string()]() mutable {
            for (const Run& run : runs) anchor.encode(run, &to);
          },
          [&anchor, &runs, all, back = Run()]() mutable {
            for (size_t i = 0; i < all.size(); ++i) anchor.decode(all[i], runs[i].size(), &back);
          }};
}

Row row_of_copying(const std::vector<Run>& runs) {
  const std::function<void()> copy = [&runs, back = Run(kBlockPointsMax)]() mutable {
    for (const Run& run : runs) {
      std::memcpy(back.data(), run.data(), run.size() * sizeof(Point));
      asm volatile("" : : "r"(back.data()) : "memory");  // it is read, for all the compiler knows
    }
  };
  return {"memcpy of 16 bytes a point", 128, copy, copy};
}

// One point after the other into an open block, as a server takes them: two a second, so that all fit ten minutes.
double one_by_one_speed(std::vector<Run> runs, size_t points) {
  for (Run& run : runs) {
    for (size_t i = 0; i < run.size(); ++i) run[i].time_ms = static_cast<int64_t>(i) * 500;
  }
  Bytes space(block_bytes_max(kBlockPointsMax));
  return speed(points, [&] {
    for (const Run& run : runs) {
      BlockWriter writer(space, BlockOptions{});
      for (const Point& point : run) require(writer.append(point) == AppendResult::kOk, "append");
      require(!writer.seal().empty(), "seal");
    }
  });
}

// One point of each of 10,000 series in turn: what a server does, and what the caches feel. `ahead`: where the writer
// so many places farther on will write is fetched by now, as who has a batch of points can. 0: none is.
double in_turn_speed(size_t ahead) {
  constexpr size_t kSeries = 10'000, kPoints = 100;
  const size_t block_bytes = block_bytes_max(kPoints);
  Bytes space(kSeries * block_bytes);
  return speed(kSeries * kPoints, [&] {
    std::vector<BlockWriter> writers;
    writers.reserve(kSeries);
    for (size_t i = 0; i < kSeries; ++i) {
      writers.emplace_back(std::span(space).subspan(i * block_bytes, block_bytes),
                           BlockOptions{.ref = static_cast<uint32_t>(i)});
    }
    for (size_t p = 0; p < kPoints; ++p) {
      for (size_t i = 0; i < kSeries; ++i) {
        if (ahead > 0 && i + ahead < kSeries) writers[i + ahead].fetch();
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
  const auto other = zstd();
  std::vector<Row> rows;
  rows.push_back(row_of_copying(mixed));
  if (other) rows.push_back(row_of(*other, mixed, points));
  const size_t yardstick = anchor ? rows.size() : 0;
  if (anchor) rows.push_back(row_of(*anchor, mixed, points));
  rows.push_back(row_of("xor64, one series", mixed, points, write_xor64));
  rows.push_back(row_of("packed", mixed, points, write_packed));
  measure(&rows, points);
  std::printf("\n%-32s %8s %10s %10s   against %s: bits, encode, decode\n", "mixed, Mpts/s", "bits", "encode", "decode",
              anchor ? "Beringei" : "memcpy");
  const Row& base = rows[yardstick];
  for (const Row& row : rows) {
    std::printf("%-32s %8.2f %10.0f %10.0f   %.2fx %.2fx %.2fx\n", row.name.c_str(), row.bits, median(row.encode),
                median(row.decode), row.bits / base.bits, ratio(row.encode, base.encode),
                ratio(row.decode, base.decode));
  }
  std::printf("xor64, one series, point by point: %.0f Mpts/s\n", one_by_one_speed(mixed, points));
  std::printf("xor64, 10,000 series in turn: %.0f Mpts/s; %.0f where the next ones are fetched ahead\n",
              in_turn_speed(0), in_turn_speed(8));
  print_aggregates(mixed, points);
  if (!anchor) std::printf("Beringei: not measured; configure with -DLAMBDA_BERINGEI=PATH of its sources\n");
  if (!other) std::printf("zstd: not measured; libzstd-dev was missing when this was built\n");
  std::printf("\n");
}

}  // namespace lambda::bench
