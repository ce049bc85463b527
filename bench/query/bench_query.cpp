// What questions cost, beside Debian's Prometheus on the same series, asked over HTTP on loopback in turns:
//   rate   sum by (instance) (rate(x_total[1m])) over 1,000 series of a point a second, ten minutes, step 10 s
//   one    one series over ten minutes, from an agent's memory: no yardstick, a bound
//   day    avg_over_time(y[1h]) each hour of a day, 1,000 series of a point each ten seconds, from a gateway's store
// The last line is JSON. Exit status 1: a "must" is not met, or the two answers differ in size.
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "agent/memory/memory.h"
#include "base/os/http_client.h"
#include "base/os/workers.h"
#include "bench/query/store_filler.h"
#include "query/http_api.h"
#include "query/labels.h"
#include "tests/peers/prometheus_peer.h"

namespace {

using namespace lambda;
using nlohmann::ordered_json;
using query::ResultSeries;

constexpr int64_t kStartMs =
    1'700'000'000'000 + 300;  // windows' edges lie between samples: 2.42 is closed where 3 is open
constexpr double kRateMust = 0.5;
constexpr double kDayMust = 0.25;
constexpr double kOneMsMust = 1;

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string digits(int number, int width) {
  const std::string text = std::to_string(number);
  return std::string(static_cast<size_t>(width) - text.size(), '0') + text;
}

// `count` series of 100 devices; a counter or a gauge.
std::vector<ResultSeries> make_series(const std::string& name, int count, int64_t step_ms, int64_t span_ms,
                                      bool counter) {
  std::mt19937 random(7);
  std::vector<ResultSeries> out;
  for (int i = 0; i < count; ++i) {
    ResultSeries series{
        query::sorted_labels(
            {{"__name__", name}, {"instance", "i" + digits(i % 100, 3)}, {"n", digits(i / 100, 3)}, {"site", "bench"}}),
        {}};
    double value = 1000;
    for (int64_t at = 0; at < span_ms; at += step_ms) {
      const auto step = static_cast<double>(random() % 9);
      value += counter ? step : (step - 4) / 4;
      series.samples.push_back({kStartMs + at, value});
    }
    out.push_back(std::move(series));
  }
  return out;
}

double thread_cpu_ms(clockid_t clock) {
  timespec used{};
  if (clock_gettime(clock, &used) != 0) {
    return 0;
  }
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

// Serves a source on loopback as agent and gateway do: one thread takes the questions and selects, others evaluate.
class Served {
 public:
  Served(OsLoop& loop, Network& network, query::SeriesSource& source)
      : loop_(loop),
        api_(source, clock_, options(), [this](std::function<void()> task) { evaluate(std::move(task)); }) {
    auto server = network.listen_http({}, [this](const HttpRequest& request, HttpServer::Respond respond) {
      api_.handle(request, std::move(respond));
    });
    if (!server) {
      std::fprintf(stderr, "bench: %s\n", server.error().text.c_str());
      std::exit(1);
    }
    server_ = std::move(*server);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Served() {
    loop_.stop();
    thread_.join();
    workers_.finish();
    server_.reset();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  // What the processor did for answers, so far: the thread that collects and acks as well, and the others.
  struct Cpu {
    double loop_ms, workers_ms;
    double all_ms() const { return loop_ms + workers_ms; }
  };
  Cpu cpu() {
    clockid_t id{};
    const double loop_ms = pthread_getcpuclockid(thread_.native_handle(), &id) == 0 ? thread_cpu_ms(id) : 0;
    return {loop_ms, static_cast<double>(worker_us_) / 1000};
  }

 private:
  static query::HttpApiOptions options() {
    query::HttpApiOptions out;
    out.limits.samples_max = 50'000'000;  // as Prometheus
    return out;
  }
  void evaluate(std::function<void()> task) {
    workers_.run([this, task = std::move(task)] {
      const double before = thread_cpu_ms(CLOCK_THREAD_CPUTIME_ID);
      task();
      worker_us_ += static_cast<uint64_t>((thread_cpu_ms(CLOCK_THREAD_CPUTIME_ID) - before) * 1000);
    });
  }

  OsLoop& loop_;
  OsClock clock_;
  std::atomic<uint64_t> worker_us_{0};
  Workers workers_{2};
  query::HttpApi api_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

struct Question {
  std::string expression;
  int64_t start_ms, end_ms, step_ms;
};

// One answer's time, and how many values it has.
double ask(const std::string& url, const Question& question, size_t* values) {
  HttpCall call;
  call.url = url + "/api/v1/query_range";
  call.post = true;
  call.parameters = {{"query", question.expression},
                     {"start", std::to_string(question.start_ms / 1000)},
                     {"end", std::to_string(question.end_ms / 1000)},
                     {"step", std::to_string(question.step_ms / 1000)}};
  const double start = now_ms();
  const auto answer = call_http(call);
  const double took = now_ms() - start;
  if (!answer || answer->status != 200) {
    std::fprintf(stderr, "bench: %s: %s\n", url.c_str(),
                 answer ? answer->body.substr(0, 300).c_str() : answer.error().text.c_str());
    std::exit(1);
  }
  const auto body = nlohmann::json::parse(answer->body);
  *values = 0;
  for (const auto& series : body["data"]["result"]) {
    *values += series["values"].size();
  }
  return took;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Both in turns, so that both see the same machine; the first turn of each warms up and does not count.
// Beside the time, what the processor did for it: on a busy machine that says more.
ordered_json compare(const char* name, Served& ours, const peers::PrometheusPeer& theirs, const Question& question,
                     int turns, double must, bool* good) {
  std::vector<double> our_ms, their_ms;
  size_t our_values = 0;
  size_t their_values = 0;
  Served::Cpu our_before{};
  double their_cpu = 0;
  double first_ms = 0;
  for (int turn = 0; turn <= turns; ++turn) {
    if (turn == 1) {
      our_before = ours.cpu();
      their_cpu = theirs.cpu_ms();
    }
    const double mine = ask(ours.url(), question, &our_values);
    const double other = ask(theirs.url(), question, &their_values);
    if (turn > 0) {
      our_ms.push_back(mine);
      their_ms.push_back(other);
    } else {
      first_ms = mine;
    }
  }
  const Served::Cpu our_after = ours.cpu();
  const double our_cpu = (our_after.all_ms() - our_before.all_ms()) / turns;
  const double loop_cpu = (our_after.loop_ms - our_before.loop_ms) / turns;
  their_cpu = (theirs.cpu_ms() - their_cpu) / turns;
  const double ratio = median(our_ms) / median(their_ms);
  const bool met = ratio <= must && our_values == their_values && our_values > 0;
  *good = *good && met;
  std::printf(
      "%-12s ours %9.2f ms, Prometheus %9.2f ms: %.2f of its time, must be at most %.2f: %s (%zu and %zu values)\n"
      "             processor: ours %.1f ms (%.1f of them on the loop), Prometheus %.1f ms: %.2f; the first question "
      "took us %.1f ms\n",
      name, median(our_ms), median(their_ms), ratio, must, met ? "met" : "MISSED", our_values, their_values, our_cpu,
      loop_cpu, their_cpu, our_cpu / their_cpu, first_ms);
  return {{"ours_ms", median(our_ms)},
          {"prometheus_ms", median(their_ms)},
          {"of", ratio},
          {"must", must},
          {"met", met},
          {"ours_cpu_ms", our_cpu},
          {"ours_loop_cpu_ms", loop_cpu},
          {"prometheus_cpu_ms", their_cpu},
          {"first_ms", first_ms}};
}

// An agent's memory with the series in it.
struct AgentMemory {
  agent::Memory memory{{.bytes_max = 256u << 20, .series_max = 2'000, .device = "i000", .site = "bench"}, 1};
  std::shared_ptr<agent::SeriesTable> table = std::make_shared<agent::SeriesTable>();
  std::vector<agent::SeriesRef> refs;

  explicit AgentMemory(const std::vector<ResultSeries>& all) {
    memory.set_table(table);
    for (size_t i = 0; i < all.size(); ++i) {
      agent::SeriesSpec spec;
      spec.name = query::label_value(all[i].labels, "__name__");
      spec.labels = {{"n", digits(static_cast<int>(i), 4)}};
      refs.push_back(table->find_or_add(spec).value());
      memory.add_series(*table, refs.back());
    }
    for (size_t point = 0; point < all.front().samples.size(); ++point) {  // in order of time, as they come
      for (size_t i = 0; i < all.size(); ++i) {
        const query::Sample& sample = all[i].samples[point];
        if (!memory.append(refs[i], table->at(refs[i]).next_ordinal++,
                           {sample.time_ms, std::bit_cast<uint64_t>(sample.value)}, 0)) {
          std::fprintf(stderr, "bench: the memory is too small\n");
          std::exit(1);
        }
      }
    }
  }
};

struct Spread {
  double p50, p99;
};
Spread spread(std::vector<double> values) {
  std::ranges::sort(values);
  return {values[values.size() / 2], values[values.size() * 99 / 100]};
}

// One series over ten minutes: from the request to the whole answer, once inside the program and once over a socket,
// where a new connection and two threads on a busy machine come on top.
ordered_json measure_one(query::SeriesSource& source, const std::string& url, int turns, bool* good) {
  const OsClock clock;
  query::HttpApi api(source, clock, {});
  std::vector<double> inside, outside;
  size_t bytes = 0;
  size_t values = 0;
  for (int turn = 0; turn < turns; ++turn) {
    const Question question{"x_total{n=\"" + digits(turn % 1000, 4) + "\"}", kStartMs, kStartMs + 600'000, 1000};
    HttpRequest request;
    request.method = "GET";
    request.path = "/api/v1/query_range";
    request.parameters = {{"query", question.expression},
                          {"start", std::to_string(question.start_ms / 1000)},
                          {"end", std::to_string(question.end_ms / 1000)},
                          {"step", "1"}};
    const double start = now_ms();
    api.handle(request,
               [&](const HttpResponse& response) { bytes = response.status == 200 ? response.body.size() : 0; });
    inside.push_back(now_ms() - start);
    outside.push_back(ask(url, question, &values));
  }
  const Spread in = spread(inside);
  const Spread out = spread(outside);
  const bool met = in.p99 <= kOneMsMust && values >= 600 && bytes > 0;
  *good = *good && met;
  std::printf(
      "one memory   answered in p50 %.3f ms, p99 %.3f ms, must be at most %.0f ms: %s; over HTTP p50 %.3f ms, p99 %.3f "
      "ms (%d questions of %zu values)\n",
      in.p50, in.p99, kOneMsMust, met ? "met" : "MISSED", out.p50, out.p99, turns, values);
  return {{"p50_ms", in.p50},       {"p99_ms", in.p99},      {"http_p50_ms", out.p50},
          {"http_p99_ms", out.p99}, {"must_ms", kOneMsMust}, {"met", met}};
}

}  // namespace

int main(int argc, char** argv) {
  int series = 1'000;
  int turns = 15;
  int hours = 24;
  CLI::App app("Figures of questions beside Debian's Prometheus");
  app.add_option("--series", series, "how many");
  app.add_option("--turns", turns, "of each question");
  app.add_option("--hours", hours, "of the long question; 0: leave it out");
  CLI11_PARSE(app, argc, argv);
  if (!peers::prometheus_installed()) {
    std::fprintf(stderr, "bench: prometheus is not installed (./dev setup): there is nothing to measure against\n");
    return 1;
  }
  char folder[] = "/tmp/bench_query.XXXXXX";
  if (mkdtemp(folder) == nullptr) {
    return 1;
  }
  const std::string root = folder;
  for (const char* part : {"/prometheus", "/store"}) {
    std::filesystem::create_directory(root + part);
  }

  bool good = true;
  ordered_json out{{"bench", "query"}, {"series", series}};
  {
    const std::vector<ResultSeries> counters = make_series("x_total", series, 1'000, 600'000, true);
    std::vector<ResultSeries> all = counters;
    if (hours > 0) {
      std::ranges::move(make_series("y", series, 10'000, hours * 3'600'000LL, false), std::back_inserter(all));
    }
    peers::PrometheusPeer prometheus(root + "/prometheus");
    if (const auto started = prometheus.start(all); !started) {
      std::fprintf(stderr, "bench: %s\n", started.error().text.c_str());
      return 1;
    }
    bench::FilledStore filled(root + "/store", all);
    all.clear();
    const Question rate{"sum by (instance) (rate(x_total[1m]))", kStartMs, kStartMs + 600'000, 10'000};
    {
      Served served(filled.loop(), filled.network(), filled.store());
      out["rate_store"] = compare("rate store", served, prometheus, rate, turns, kRateMust, &good);
      if (hours > 0) {
        const Question day{"avg_over_time(y[1h])", kStartMs + 3'600'000, kStartMs + hours * 3'600'000LL, 3'600'000};
        out["day"] = compare("day store", served, prometheus, day, std::min(turns, 5), kDayMust, &good);
      }
    }
    AgentMemory agent(counters);
    Served served(filled.loop(), filled.network(), agent.memory);
    Question sum = rate;
    sum.expression = "sum(rate(x_total[1m]))";
    out["rate_memory"] = compare("rate memory", served, prometheus, sum, turns, kRateMust, &good);
    out["one"] = measure_one(agent.memory, served.url(), 1'000, &good);
  }
  std::filesystem::remove_all(root);
  out["must"] = good;
  std::printf("%s\n", out.dump().c_str());
  return good ? 0 : 1;
}
