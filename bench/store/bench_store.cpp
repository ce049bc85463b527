// What the store costs: parcels of 16 blocks of 120 points from 100 devices, put as fast as they are answered, beside
// the raw append + fdatasync of as many bytes in as many batches on the same disk; for small, middle and large batches,
// by how many parcels wait at once. Then: how long a start takes, how long computing the index again takes, how fast
// points come back. The last line is JSON. Exit status 1: a parcel was refused, or the store did less than half of raw.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <bit>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/os/disk.h"
#include "base/os/loop.h"
#include "base/os/random.h"
#include "gateway/store/store.h"
#include "proto/lambda.pb.h"

namespace {

using namespace lambda;
using namespace lambda::gateway;

class Quiet final : public Log {
 public:
  void write(LogLevel level, std::string_view event, Fields) override {
    if (level >= LogLevel::kWarn) std::fprintf(stderr, "%.*s\n", static_cast<int>(event.size()), event.data());
  }
};
class NoNetwork final : public Network {
 public:
  std::unique_ptr<MessageBus> bus(BusOptions, MessageBus::Handlers) override { return nullptr; }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnavailable, "no network here");
  }
};
class NoProcesses final : public Processes {
 public:
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>&, std::function<void(int)>) override {
    return fail(ErrorCode::kUnavailable, "no processes here");
  }
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

constexpr double kOfRawMust = 0.5;

struct Shape {
  int devices = 100, blocks = 16, points = 120, series = 80;
  int parcels = 62'500;  // a million blocks
};

// All parcels, ready to be put: signatures and roots are ingest's work, not the store's.
std::vector<StoreRequest> make_parcels(const Shape& shape) {
  std::vector<StoreRequest> all;
  std::mt19937 random(1);
  std::vector<uint64_t> next(static_cast<size_t>(shape.devices) * static_cast<size_t>(shape.series));
  std::vector<uint8_t> space(block_bytes_max(static_cast<size_t>(shape.points)));
  for (int n = 0; n < shape.parcels; ++n) {
    const int device = n % shape.devices;
    const int turn = n / shape.devices;
    v1::Parcel parcel;
    StoreRequest request;
    request.device = "device-" + std::to_string(device);
    request.boot = static_cast<uint64_t>(device) + 1;
    request.seq = static_cast<uint64_t>(turn) + 1;
    request.received_ms = 1'700'000'000'000 + n;
    parcel.set_version(1);
    parcel.set_device(request.device);
    parcel.set_boot(request.boot);
    parcel.set_seq(request.seq);
    std::vector<Digest> roots;
    for (int b = 0; b < shape.blocks; ++b) {
      const int series = (turn * shape.blocks + b) % shape.series;
      const auto ref = static_cast<uint32_t>(series + 1);
      if (turn * shape.blocks + b < shape.series) {
        auto* declaration = parcel.add_declarations();
        declaration->set_ref(ref);
        declaration->set_name("metric_" + std::to_string(series));
        declaration->set_kind(v1::GAUGE);
        declaration->set_type(v1::F64);
        Declared declared;
        declared.ref = ref;
        declared.name = declaration->name();
        request.declarations.push_back(declared);
      }
      uint64_t& ordinal = next[static_cast<size_t>(device * shape.series + series)];
      BlockOptions options;
      options.boot = request.boot;
      options.ref = ref;
      options.first_ordinal = ordinal;
      options.tick_ms = 1000;
      BlockWriter writer(space, options);
      ContentRoot root(host_hash());
      double value = 20;
      for (int i = 0; i < shape.points; ++i) {
        value += static_cast<double>(static_cast<int>(random() % 9) - 4) / 4;
        const Point point{1'700'000'000'000 + static_cast<int64_t>(ordinal + static_cast<uint64_t>(i)) * 1000,
                          std::bit_cast<uint64_t>(value)};
        if (writer.append(point) != AppendResult::kOk) std::abort();
        root.add(point);
      }
      ordinal += static_cast<uint64_t>(shape.points);
      const auto bytes = writer.seal();
      parcel.add_blocks(bytes.data(), bytes.size());
      root.finish(roots.emplace_back().data());
    }
    parcel.set_signature(std::string(64, 's'));
    request.message = parcel.SerializeAsString();
    request.digest = sha256({reinterpret_cast<const uint8_t*>(request.message.data()), request.message.size()});
    size_t at = 0;
    for (int b = 0; b < shape.blocks; ++b) {
      BlockSlip slip;
      at = request.message.find(parcel.blocks(b), at);
      slip.bytes = std::string_view(request.message).substr(at, parcel.blocks(b).size());
      at += slip.bytes.size();
      BlockReader reader;
      if (!reader.open({reinterpret_cast<const uint8_t*>(slip.bytes.data()), slip.bytes.size()}, request.boot).ok())
        std::abort();
      slip.info = reader.info();
      slip.root = roots[static_cast<size_t>(b)];
      request.blocks.push_back(slip);
    }
    all.push_back(std::move(request));
  }
  return all;
}

// As many bytes in as many batches, by nothing but the system calls.
double raw_seconds(const std::string& path, uint64_t bytes, uint64_t batches) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  if (fd < 0) std::abort();
  std::string batch(bytes / batches + 1, 'x');
  std::mt19937_64 random(2);
  for (char& c : batch) c = static_cast<char>(random());
  const double start = seconds();
  for (uint64_t i = 0; i < batches; ++i) {
    if (::write(fd, batch.data(), batch.size()) < 0 || ::fdatasync(fd) != 0) std::abort();
  }
  const double took = seconds() - start;
  ::close(fd);
  ::unlink(path.c_str());
  return took;
}

struct World {
  OsLoop loop;
  OsClock clock;
  OsDisk disk{loop};
  NoNetwork network;
  OsRandom random;
  NoProcesses processes;
  Quiet log;
  Env env{clock, loop, disk, network, random, processes, log};
  StoreOptions options;
  std::unique_ptr<Store> store;

  double open() {
    const double start = seconds();
    auto opened = Store::open(env, options);
    if (!opened) {
      std::fprintf(stderr, "%s\n", opened.error().text.c_str());
      std::exit(1);
    }
    store = std::move(*opened);
    wait_ready();
    loop.run();
    return seconds() - start;
  }
  void wait_ready() {
    loop.post([this] {
      if (store->ready()) {
        loop.stop();
      } else {
        wait_ready();
      }
    });
  }
};

// One store, filled by parcels of which `window` wait at once, as from devices that do not wait for each other.
nlohmann::ordered_json measure(const Shape& shape, const std::string& directory, int window, bool* good) {
  std::vector<StoreRequest> parcels = make_parcels(shape);
  World world;
  world.options.directory = directory;
  world.options.site = "bench";
  world.open();

  const double cpu = cpu_seconds();
  const double start = seconds();
  size_t sent = 0;
  size_t answered = 0;
  uint64_t refused = 0;
  const auto send = [&](auto& self, size_t count) -> void {
    for (; count > 0 && sent < parcels.size(); --count) {
      world.store->put(std::move(parcels[sent++]), [&](const Decision& decision) {
        refused += decision.verdict == Verdict::kStored ? 0 : 1;
        if (++answered == parcels.size()) world.loop.stop();
        self(self, 1);
      });
    }
  };
  world.loop.post([&] { send(send, static_cast<size_t>(window) / 2); });
  world.loop.after(2, [&] { send(send, static_cast<size_t>(window) / 2); });
  world.loop.run();
  const double took = seconds() - start;
  const double used = cpu_seconds() - cpu;
  const StoreCounters counters = world.store->counters();
  const double raw = raw_seconds(directory + "/raw", counters.segment_bytes, counters.syncs);
  const auto blocks = static_cast<double>(counters.blocks_stored);
  const auto megabytes = static_cast<double>(counters.segment_bytes) / 1e6;

  const double read_start = seconds();
  uint64_t read = 0;
  auto selection = world.store->select({{"__name__", query::MatchOp::kEqual, "metric_1"}}, INT64_MIN, INT64_MAX, 1000);
  if (!selection) std::exit(1);
  for (auto& series : selection->series) read += series.cursor->read(10'000'000)->size();
  const double read_took = seconds() - read_start;
  selection = query::Selection{};

  world.store.reset();
  const double start_again = world.open();
  world.store.reset();
  std::filesystem::remove(directory + "/index.db");
  const double rebuild = world.open();
  const bool same = world.store->devices().size() == static_cast<size_t>(std::min(shape.devices, shape.parcels));
  world.store.reset();
  std::filesystem::remove_all(directory);
  *good = *good && refused == 0 && same && raw / took >= kOfRawMust;

  nlohmann::ordered_json out;
  out["window"] = window;
  out["refused"] = refused;
  out["blocks_per_s"] = std::llround(blocks / took);
  out["points_per_s"] = std::llround(static_cast<double>(counters.points_stored) / took);
  out["mb_per_s"] = megabytes / took;
  out["syncs"] = counters.syncs;
  out["bytes_per_sync"] = counters.segment_bytes / std::max<uint64_t>(counters.syncs, 1);
  out["raw_mb_per_s"] = megabytes / raw;
  out["of_raw"] = raw / took;
  out["blocks_per_cpu_s"] = std::llround(blocks / used);
  out["read_points_per_s"] = std::llround(static_cast<double>(read) / read_took);
  out["start_s"] = start_again;
  out["rebuild_s"] = rebuild;
  out["rebuild_mb_per_s"] = megabytes / rebuild;
  std::printf(
      "stored    %5d waiting  %8.0f blocks/s  %10.0f points/s  %6.1f MB/s, %7.0f bytes a sync\n"
      "          raw, the same batches: %6.1f MB/s; the store does %.0f %% of it; %.0f blocks per second of CPU\n",
      window, blocks / took, static_cast<double>(counters.points_stored) / took, megabytes / took,
      static_cast<double>(counters.segment_bytes) / static_cast<double>(counters.syncs), megabytes / raw,
      100 * raw / took, blocks / used);
  std::printf("          read back %.0f points/s; start %.3f s; index computed again in %.3f s, %.1f MB/s\n",
              static_cast<double>(read) / read_took, start_again, rebuild, megabytes / rebuild);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  Shape shape;
  std::string directory = std::filesystem::temp_directory_path() / ("bench_store_" + std::to_string(::getpid()));
  std::vector<int> windows = {64, 512, 2048};
  CLI::App app("Figures of the gateway's store beside raw append + fdatasync");
  app.add_option("--dir", directory, "folder to work in; removed at the end");
  app.add_option("--parcels", shape.parcels, "parcels of 16 blocks of 120 points");
  app.add_option("--window", windows, "parcels that wait at once; one store for each");
  CLI11_PARSE(app, argc, argv);

  bool good = true;
  nlohmann::ordered_json out;
  out["bench"] = "store";
  out["parcels"] = shape.parcels;
  out["runs"] = nlohmann::ordered_json::array();
  for (const int window : windows) out["runs"].push_back(measure(shape, directory, window, &good));
  out["must"] = good;
  std::printf("%s\n", out.dump().c_str());
  return good ? 0 : 1;
}
