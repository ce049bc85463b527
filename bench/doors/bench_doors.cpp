// Points a second that a real agent takes over HTTP: Prometheus' remote-write, InfluxDB's line protocol, JSON lines.
// Durable: an answer comes when the points are in the journal and synced. The agent is enrolled and makes parcels into
// its spool all the while; it has no gateway.
//
// Clients: four connections that are kept, each sending its next request when the last was answered. A request of
// remote-write has 2,000 samples of as many series, in four moments, eight labels each; 8,000 series in all. Everything
// is made and packed beforehand: the clients' processor time, told apart, is that of sending.
//
// Yardsticks of the same run: the same bytes as the journal's, appended and synced as often by fdatasync to the same
// disk; and unpacking (snappy) and reading (Protocol Buffers) the same requests on one core, nothing else.
//
// The last line is JSON. Exit status 1 when remote-write stays below 500,000 samples a second, or a point is missing.
#include <fcntl.h>
#include <snappy.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/doors/agent_process.h"
#include "proto/prometheus_write.pb.h"

namespace {

using namespace lambda;
using namespace lambda::bench;

constexpr double kMustSamples = 500'000;
constexpr size_t kClients = 4;
constexpr size_t kSeriesEach = 2'000;
constexpr size_t kLinesEach = 500;
constexpr int64_t kStepMs = 1'000;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double own_cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(used.ru_utime) + of(used.ru_stime);
}

struct Load {
  std::vector<std::vector<std::string>> requests;  // of each client
  std::vector<std::string> packed;                 // bodies, for the yardstick
  uint64_t points = 0;
};

std::string post(const std::string& path, const std::string& headers, const std::string& body) {
  return "POST " + path + " HTTP/1.1\r\nHost: bench\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

// Values as they are: counters in uneven steps, and gauges of a few digits.
class Values {
 public:
  explicit Values(uint64_t seed) : random_(seed) {}
  double next(double& last, size_t series) {
    if (series % 3 != 0) return last += static_cast<double>(random_() % 50);
    return last = static_cast<double>(random_() % 10'000) / 8;
  }

 private:
  std::mt19937_64 random_;
};

Load remote_write_load(uint64_t rounds, int64_t start_ms) {
  Load load;
  for (size_t client = 0; client < kClients; ++client) {
    Values values(client);
    std::vector<double> last(kSeriesEach);
    auto& requests = load.requests.emplace_back();
    for (uint64_t round = 0; round < rounds; ++round) {
      prometheus::WriteRequest request;
      for (size_t i = 0; i < kSeriesEach; ++i) {
        auto* series = request.add_timeseries();
        const auto label = [&](const char* name, const std::string& value) {
          auto* added = series->add_labels();
          added->set_name(name);
          added->set_value(value);
        };
        label("__name__", "http_server_request_duration_seconds_" + std::to_string(i % 20));
        label("client", std::to_string(client));
        label("code", i % 2 == 0 ? "200" : "404");
        label("handler", "/api/v1/orders/" + std::to_string(i / 20));
        label("instance", "shop-" + std::to_string(i % 4) + ".example.net:9100");
        label("job", "shop");
        label("method", i % 4 < 2 ? "GET" : "POST");
        label("namespace", "production");
        auto* sample = series->add_samples();
        sample->set_timestamp(start_ms + static_cast<int64_t>(round) * kStepMs + static_cast<int64_t>(i / 500) * 100);
        sample->set_value(values.next(last[i], i));
        ++load.points;
      }
      std::string packed;
      const std::string message = request.SerializeAsString();
      snappy::Compress(message.data(), message.size(), &packed);
      requests.push_back(post("/api/v1/write", "Content-Encoding: snappy\r\n", packed));
      load.packed.push_back(std::move(packed));
    }
  }
  return load;
}

Load lines_load(bool json, uint64_t rounds, int64_t start_ms) {
  Load load;
  for (size_t client = 0; client < kClients; ++client) {
    Values values(client);
    std::vector<double> last(kLinesEach);
    auto& requests = load.requests.emplace_back();
    for (uint64_t round = 0; round < rounds; ++round) {
      std::string body;
      const int64_t time = start_ms + static_cast<int64_t>(round) * kStepMs;
      for (size_t i = 0; i < kLinesEach; ++i) {
        const std::string value = nlohmann::json(values.next(last[i], i)).dump();
        const std::string hall = std::to_string(i / 50), machine = std::to_string(i % 50);
        const std::string of = std::to_string(client);
        body += json ? R"({"name":"machine_pressure_json","labels":{"client":")" + of + R"(","hall":")" + hall +
                           R"(","machine":")" + machine + R"("},"t":)" + std::to_string(time) + R"(,"value":)" + value +
                           "}\n"
                     : "machine,client=" + of + ",hall=" + hall + ",machine=" + machine + " pressure=" + value + " " +
                           std::to_string(time) + "\n";
        ++load.points;
      }
      requests.push_back(post(json ? "/api/v1/push" : "/api/v2/write?precision=ms", "", body));
    }
  }
  return load;
}

struct Run {
  double took_s = 0, agent_cpu_s = 0, client_cpu_s = 0, journal_bytes = 0, syncs = 0;
  uint64_t points = 0, refused = 0;
  double per_s() const { return static_cast<double>(points) / took_s; }
};

Run run(const AgentProcess& agent, const Load& load) {
  Run out;
  auto before = agent.metrics();
  const double agent_cpu = agent.cpu_seconds(), own_cpu = own_cpu_seconds(), start = seconds();
  std::atomic<uint64_t> refused{0};
  std::vector<std::thread> clients;
  for (const auto& requests : load.requests) {
    clients.emplace_back([&] {
      HttpLine line(agent.port());
      for (const std::string& request : requests) {
        int status = line.ask(request);
        for (; status == 503 || status == 429; status = line.ask(request)) {  // no room: as clients do
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        if (status != 200 && status != 204) ++refused;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  out.took_s = seconds() - start;
  out.agent_cpu_s = agent.cpu_seconds() - agent_cpu;
  out.client_cpu_s = own_cpu_seconds() - own_cpu;
  auto after = agent.metrics();
  const auto grown = [&](const char* name) { return after[name] - before[name]; };
  out.journal_bytes = grown("lambda_agent_journal_written_bytes_total");
  out.syncs = grown("lambda_agent_journal_syncs_total");
  out.points = static_cast<uint64_t>(grown("lambda_agent_door_points_total{result=\"made\"}"));
  out.refused = refused;
  return out;
}

// As many bytes in as many synced appends; how long it takes.
double append_and_sync(const std::string& folder, double bytes, double syncs) {
  const auto count = std::max<uint64_t>(1, static_cast<uint64_t>(syncs));
  const std::vector<char> piece(std::max<size_t>(1, static_cast<size_t>(bytes / static_cast<double>(count))), 'x');
  const std::string path = folder + "/yardstick";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const double start = seconds();
  for (uint64_t i = 0; i < count; ++i) {
    if (write(fd, piece.data(), piece.size()) != static_cast<ssize_t>(piece.size()) || fdatasync(fd) != 0) {
      std::perror("bench_doors: yardstick");
      std::exit(1);
    }
  }
  const double took = seconds() - start;
  close(fd);
  std::filesystem::remove(path);
  return took;
}

// Wall and processor time: on a busy machine they differ.
struct Took {
  double wall_s = 0, cpu_s = 0;
};

Took unpack_and_read(const Load& load) {
  const double start = seconds(), cpu = own_cpu_seconds();
  uint64_t samples = 0;
  for (const std::string& packed : load.packed) {
    std::string message;
    prometheus::WriteRequest request;
    if (!snappy::Uncompress(packed.data(), packed.size(), &message) || !request.ParseFromString(message)) std::exit(1);
    for (const auto& series : request.timeseries()) samples += static_cast<uint64_t>(series.samples_size());
  }
  if (samples != load.points) std::exit(1);
  return {seconds() - start, own_cpu_seconds() - cpu};
}

nlohmann::json tell(const char* name, const Run& run) {
  std::printf("%-14s %9.0f points/s: %llu in %.2f s; of the agent's processor %.0f ns a point, of the clients' %.0f\n",
              name, run.per_s(), static_cast<unsigned long long>(run.points), run.took_s,
              run.agent_cpu_s * 1e9 / static_cast<double>(run.points),
              run.client_cpu_s * 1e9 / static_cast<double>(run.points));
  std::printf("%-14s journal: %.1f bytes a point, %.0f syncs\n", "",
              run.journal_bytes / static_cast<double>(run.points), run.syncs);
  return {{"points_per_s", run.per_s()},
          {"points", run.points},
          {"agent_cpu_ns", run.agent_cpu_s * 1e9 / static_cast<double>(run.points)},
          {"client_cpu_ns", run.client_cpu_s * 1e9 / static_cast<double>(run.points)},
          {"journal_bytes_per_point", run.journal_bytes / static_cast<double>(run.points)},
          {"syncs", run.syncs}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Points a second over HTTP into an agent.");
  std::string folder = "/var/tmp/lambda-bench-doors-" + std::to_string(getpid());
  std::string binaries = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  uint64_t rounds = 300;
  app.add_option("--dir", folder, "A folder to be made, on the disk that is measured.");
  app.add_option("--bin", binaries, "Where lambda-agent, lambda-gateway and lambda are.");
  app.add_option("--rounds", rounds, "Requests of each client.")->check(CLI::Range(1, 3'000));
  CLI11_PARSE(app, argc, argv);
  std::filesystem::create_directories(folder);
  bool good = true;
  nlohmann::json out;
  {
    AgentProcess agent(binaries, folder);
    const int64_t start_ms = now_ms() - 3'600'000;
    const Load written = remote_write_load(rounds, start_ms);
    const Load warm = remote_write_load(1, start_ms - 10'000);
    (void)run(agent, warm);  // the series are known from here on
    const Run measured = run(agent, written);
    out["remote_write"] = tell("remote-write", measured);
    const double disk_s = append_and_sync(folder, measured.journal_bytes, measured.syncs);
    const Took read = unpack_and_read(written);
    const double points = static_cast<double>(written.points);
    std::printf("%-14s the journal's bytes, appended and synced as often: %9.0f points/s\n", "  yardstick",
                points / disk_s);
    std::printf("%-14s snappy and Protocol Buffers alone, one core:       %9.0f points/s, %.0f ns of processor each\n",
                "  yardstick", points / read.wall_s, read.cpu_s * 1e9 / points);
    out["remote_write"]["yardstick_disk_points_per_s"] = points / disk_s;
    out["remote_write"]["yardstick_read_points_per_s"] = points / read.wall_s;
    out["remote_write"]["yardstick_read_cpu_ns"] = read.cpu_s * 1e9 / points;
    good = measured.refused == 0 && measured.points == written.points;
    for (const bool json : {false, true}) {
      const Load lines = lines_load(json, rounds, start_ms);
      const Run one = run(agent, lines);
      out[json ? "json_lines" : "line_protocol"] = tell(json ? "JSON lines" : "line protocol", one);
      good = good && one.refused == 0 && one.points == lines.points;
    }
    out["agent_rss_mb"] = agent.resident_mb();
    std::printf("%-14s %.1f MB at most\n", "resident", agent.resident_mb());
  }
  std::filesystem::remove_all(folder);
  if (!good) std::printf("A point is missing, or a request was refused.\n");
  good = good && out["remote_write"]["points_per_s"] >= kMustSamples;
  out["must_samples_per_s"] = kMustSamples;
  std::printf("%s\n", out.dump().c_str());
  return good ? 0 : 1;
}
