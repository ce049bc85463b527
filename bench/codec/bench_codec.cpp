// What a point costs: bits and time in a block, time and memory in the series store. The yardstick of the same run is
// memcpy of the raw points, 16 bytes each.
//
// Input "mixed": real series from gzipped CSV files (time, value) in $LAMBDA_SHARED/data or ../shared/data beside the
// checkout, cut into blocks of 600 points that are interleaved, so that no branch predictor learns one of them. A
// series recorded more slowly than ten minutes allow for 600 points is taken at one point a second. Without such files:
// made-up series, and the name says so.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bench/codec/codec_table.h"
#include "lambda/block.h"
#include "lambda/series_store.h"
#include "port/posix/posix_port.h"

namespace {

using namespace lambda;
namespace fs = std::filesystem;

constexpr size_t kRun = 600;  // ten minutes at 1 Hz

using Series = std::vector<Point>;

// The decimals of a series that has at most `scale` of them, as integers.
bool to_decimal(const Series& from, int scale, Series* to) {
  const double factor = std::pow(10.0, scale);
  to->clear();
  for (const Point& point : from) {
    const double value = std::bit_cast<double>(point.bits);
    const double scaled = std::nearbyint(value * factor);
    if (std::abs(scaled) > 1e15 || scaled / factor != value) return false;
    to->push_back({point.time_ms, static_cast<uint64_t>(static_cast<int64_t>(scaled))});
  }
  return true;
}

void normalise_times(Series* series) {
  for (size_t i = 0; i + kRun <= series->size(); i += kRun) {
    if ((*series)[i + kRun - 1].time_ms - (*series)[i].time_ms <= kBlockSpanMsMax) continue;
    for (size_t j = 0; j < series->size(); ++j)
      (*series)[j].time_ms = 1'700'000'000'000 + static_cast<int64_t>(j) * 1000;
    return;
  }
}

Series read_csv(const fs::path& path) {
  Series series;
  FILE* pipe = popen(("gzip -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) return series;
  char line[256];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    long long time = 0;
    double value = 0;
    if (std::sscanf(line, "%lld,%lf", &time, &value) == 2) series.push_back({time, std::bit_cast<uint64_t>(value)});
  }
  pclose(pipe);
  return series;
}

std::map<std::string, Series> load() {
  std::map<std::string, Series> all;
  const char* shared = std::getenv("LAMBDA_SHARED");
  std::error_code none;
  for (const auto& entry :
       fs::directory_iterator(fs::path(shared ? shared : LAMBDA_SOURCE_DIR "/../shared") / "data", none)) {
    if (entry.path().extension() != ".gz") continue;
    Series series = read_csv(entry.path());
    normalise_times(&series);
    if (series.size() >= kRun) all[entry.path().stem().stem().string()] = std::move(series);
  }
  if (!all.empty()) return all;
  std::mt19937_64 random(1);
  double walk = 20;
  for (int64_t i = 0; i < 60'000; ++i) {
    const int64_t time = 1'700'000'000'000 + i * 1000;
    walk += static_cast<double>(static_cast<int64_t>(random() % 21) - 10) / 100;
    all["made_up_hundredths"].push_back({time, std::bit_cast<uint64_t>(std::round(walk * 100) / 100)});
    all["made_up_counter"].push_back(
        {time, std::bit_cast<uint64_t>(static_cast<double>(i * 1000 + static_cast<int64_t>(random() % 1000)))});
    all["made_up_ratio"].push_back({time, std::bit_cast<uint64_t>(static_cast<double>(random() % 100) / 97.0)});
    all["made_up_constant"].push_back({time, std::bit_cast<uint64_t>(3.5)});
  }
  return all;
}

const std::map<std::string, Series>& series() {
  static const auto all = load();
  return all;
}

struct Runs {
  ValueType type;
  std::vector<Series> runs;
  size_t points = 0;
};

void add_runs(const Series& series, Runs* to) {
  for (size_t i = 0; i + kRun <= series.size(); i += kRun) {
    to->runs.emplace_back(series.begin() + static_cast<ptrdiff_t>(i),
                          series.begin() + static_cast<ptrdiff_t>(i + kRun));
    to->points += kRun;
  }
}

Runs mixed(bool decimals) {
  Runs all{decimals ? ValueType::kDec : ValueType::kF64, {}, 0};
  for (const auto& [name, points] : series()) {
    Series dec;
    bool fits = false;
    for (int scale = 0; decimals && !fits && scale <= 6; ++scale) fits = to_decimal(points, scale, &dec);
    if (!decimals || fits) add_runs(decimals ? dec : points, &all);
  }
  std::shuffle(all.runs.begin(), all.runs.end(), std::mt19937_64(7));
  return all;
}

size_t encode(const Series& run, ValueType type, std::vector<uint8_t>* space, std::span<const uint8_t>* bytes) {
  BlockWriter writer(*space, {.ref = 1, .type = type});
  for (const Point& point : run) {
    if (writer.append(point) != AppendResult::kOk) std::abort();
  }
  *bytes = writer.seal();
  return bytes->size();
}

void report(benchmark::State& state, size_t points, size_t bytes) {
  state.counters["Mpts/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(points) / 1e6, benchmark::Counter::kIsRate);
  if (bytes > 0) state.counters["bits/point"] = 8.0 * static_cast<double>(bytes) / static_cast<double>(points);
}

void bench_encode(benchmark::State& state, const Runs& runs) {
  std::vector<uint8_t> space(block_bytes_max(kRun));
  size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (const Series& run : runs.runs) {
      std::span<const uint8_t> block;
      bytes += encode(run, runs.type, &space, &block);
    }
  }
  report(state, runs.points, bytes);
}

void bench_decode(benchmark::State& state, const Runs& runs) {
  std::vector<uint8_t> space(block_bytes_max(kRun));
  std::vector<std::vector<uint8_t>> blocks;
  size_t bytes = 0;
  for (const Series& run : runs.runs) {
    std::span<const uint8_t> block;
    bytes += encode(run, runs.type, &space, &block);
    blocks.emplace_back(block.begin(), block.end());
  }
  std::vector<Point> points(kRun);
  for (auto _ : state) {
    for (const auto& block : blocks) {
      BlockInfo info;
      if (!decode_block(block, 0, &info, points).ok()) std::abort();
      benchmark::DoNotOptimize(points.data());
    }
  }
  report(state, runs.points, bytes);
}

void bench_memcpy(benchmark::State& state, const Runs& runs) {
  std::vector<Point> points(kRun);
  for (auto _ : state) {
    for (const Series& run : runs.runs) {
      std::memcpy(points.data(), run.data(), kRun * sizeof(Point));
      benchmark::DoNotOptimize(points.data());
      benchmark::ClobberMemory();
    }
  }
  report(state, runs.points, runs.points * sizeof(Point));
}

void bench_root(benchmark::State& state, const Runs& runs) {
  for (auto _ : state) {
    for (const Series& run : runs.runs) {
      ContentRoot root(posix_hash());
      for (const Point& point : run) root.add(point);
      uint8_t digest[kDigestBytes];
      root.finish(digest);
      benchmark::DoNotOptimize(digest);
    }
  }
  report(state, runs.points, 0);
}

void bench_crc(benchmark::State& state) {
  std::vector<uint8_t> bytes(64 * 1024, 0x5A);
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(bytes.size()));
}

// A third each of f64, dec and i64, one point a second each, blocks sealed each minute and safe at once.
void bench_store(benchmark::State& state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  const SeriesStoreOptions options{.series_max = count};
  const size_t pages = size_t{count} * 120;
  std::vector<uint64_t> arena(SeriesStore::arena_bytes(options, pages) / 8 + 1);
  SeriesStore store({reinterpret_cast<uint8_t*>(arena.data()), arena.size() * 8}, options, posix_hash(), 1);
  const size_t fixed = SeriesStore::arena_bytes(options, 0);
  const Runs f64 = mixed(false);
  const Runs dec = mixed(true);
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t ref;
    store.add({i % 3 == 0 ? ValueType::kF64 : i % 3 == 1 ? ValueType::kDec : ValueType::kI64, 0, 1}, &ref);
  }
  int64_t now = 0;
  size_t used_max = 0;
  uint64_t points = 0;
  for (auto _ : state) {
    for (uint32_t ref = 1; ref <= count; ++ref) {
      const Runs& from = (ref - 1) % 3 == 0 ? f64 : dec;
      const Series& run = from.runs[ref % from.runs.size()];
      if (store.append(ref, {1'700'000'000'000 + now, run[static_cast<size_t>(now / 1000) % kRun].bits}).result !=
          StoreResult::kOk) {
        std::abort();
      }
    }
    points += count;
    now += 1000;
    store.tick(now);
    SealedBlock block;
    while (store.first(BlockState::kLoose, &block)) store.safe(block.id);
    used_max = std::max(used_max, store.pages() - store.pages_free());
  }
  state.counters["Mpts/s"] = benchmark::Counter(static_cast<double>(points) / 1e6, benchmark::Counter::kIsRate);
  state.counters["seconds"] = static_cast<double>(now) / 1000;
  state.counters["MB"] = static_cast<double>(fixed + used_max * (options.page_bytes + sizeof(uint32_t))) / 1e6;
}

void register_all() {
  static const Runs f64 = mixed(false);
  static const Runs dec = mixed(true);
  benchmark::RegisterBenchmark("yardstick/memcpy", bench_memcpy, f64);
  benchmark::RegisterBenchmark("encode/mixed_f64", bench_encode, f64);
  benchmark::RegisterBenchmark("decode/mixed_f64", bench_decode, f64);
  benchmark::RegisterBenchmark("encode/mixed_dec", bench_encode, dec);
  benchmark::RegisterBenchmark("decode/mixed_dec", bench_decode, dec);
  static std::map<std::string, Runs> each;
  for (const auto& [name, points] : series()) {
    Runs& runs = each[name];
    runs.type = ValueType::kF64;
    add_runs(points, &runs);
    benchmark::RegisterBenchmark(("encode/" + name).c_str(), bench_encode, runs);
    benchmark::RegisterBenchmark(("decode/" + name).c_str(), bench_decode, runs);
  }
  benchmark::RegisterBenchmark("content_root", bench_root, f64);
  benchmark::RegisterBenchmark("crc32c", bench_crc);
  // 1,260 seconds: retention is full after eleven minutes.
  benchmark::RegisterBenchmark("store/append", bench_store)->Arg(1'000)->Iterations(1'260);
  benchmark::RegisterBenchmark("store/append", bench_store)->Arg(10'000)->Iterations(1'260);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  lambda::bench::print_codec_table(LAMBDA_SOURCE_DIR);
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
