// What the rule engine costs: each piece of work as a rule, beside a loop written by hand for just that work, on the
// same events in the same run. Both write every output row; the sums of their outputs must agree. When Java and Maven
// are there, Esper 9 does the same work on the same events (esper/). The last line is JSON.
#include <malloc.h>
#include <time.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cep/engine.h"

namespace {

using namespace lambda::cep;

// Of this thread's work: the figures are ratios, and others may be at work on the machine.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}
double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Shape {
  size_t events = 2'000'000;
  uint32_t devices = 10'000;
  size_t batch = 1024;
  uint64_t seed = 1;
  int repeats = 3;
};

// Columns of one stream, or of the two streams of a pattern, told apart by `is_b`.
struct Events {
  std::vector<int64_t> t;
  std::vector<uint32_t> device;
  std::vector<double> v;
  std::vector<uint8_t> is_b;
};

Events make_events(const Shape& shape) {
  std::mt19937_64 bits(shape.seed);
  Events events;
  for (size_t i = 0; i < shape.events; ++i) {
    events.t.push_back(static_cast<int64_t>(i / 100));  // 100 events a millisecond: each device every 100 ms
    events.device.push_back(static_cast<uint32_t>(bits() % shape.devices));
    events.v.push_back(static_cast<double>(bits() % 1'000'000) / 10'000);
    events.is_b.push_back(bits() % 4 == 0);
  }
  return events;
}

// Rows that were written, and a sum over them that both sides must agree on.
struct Answer {
  uint64_t rows = 0;
  double sum = 0;
};
struct Row {
  int64_t t;
  uint32_t device;
  double v;
};

// ---- by hand

Answer total(const std::vector<Row>& out) {
  Answer answer{out.size(), 0};
  for (const Row& row : out) {
    answer.sum += row.v;
  }
  return answer;
}

Answer hand_filter(const Events& e, const Shape&) {
  std::vector<Row> out;
  for (size_t i = 0; i < e.t.size(); ++i) {
    if (e.v[i] > 90) {
      out.push_back({e.t[i], e.device[i], e.v[i]});
    }
  }
  return total(out);
}

Answer hand_sum(const Events& e, const Shape& shape) {
  std::vector<double> sums(shape.devices);
  std::vector<Row> out(e.t.size());
  for (size_t i = 0; i < e.t.size(); ++i) {
    sums[e.device[i]] += e.v[i];
    out[i] = {e.t[i], e.device[i], sums[e.device[i]]};
  }
  return total(out);
}

Answer hand_tumble(const Events& e, const Shape& shape) {
  struct Open {
    int64_t start = -1;
    double sum = 0;
    uint64_t count = 0;
  };
  std::vector<Open> open(shape.devices);
  std::vector<Row> out;
  for (size_t i = 0; i < e.t.size(); ++i) {
    Open& window = open[e.device[i]];
    const int64_t start = e.t[i] / 1000 * 1000;
    if (window.start != start) {
      if (window.count > 0) {
        out.push_back({window.start + 1000, e.device[i], window.sum / static_cast<double>(window.count)});
      }
      window = {start, 0, 0};
    }
    window.sum += e.v[i];
    ++window.count;
  }
  return total(out);
}

Answer hand_pattern(const Events& e, const Shape& shape) {
  constexpr size_t kRuns = 16;
  struct Runs {
    int64_t t[kRuns];
    double v[kRuns];
    size_t count = 0;
  };
  std::vector<Runs> all(shape.devices);
  std::vector<Row> out;
  for (size_t i = 0; i < e.t.size(); ++i) {
    Runs& runs = all[e.device[i]];
    if (e.is_b[i] != 0) {
      for (size_t r = 0; r < runs.count; ++r) {
        if (e.t[i] <= runs.t[r] + 5000) {
          out.push_back({e.t[i], e.device[i], runs.v[r]});
        }
      }
      runs.count = 0;
      continue;
    }
    if (runs.count == kRuns) {
      std::copy(runs.t + 1, runs.t + kRuns, runs.t);
      std::copy(runs.v + 1, runs.v + kRuns, runs.v);
      --runs.count;
    }
    runs.t[runs.count] = e.t[i];
    runs.v[runs.count++] = e.v[i];
  }
  return total(out);
}

constexpr int kThresholds = 1000;

// The thresholds are sorted: those below a value are a prefix.
Answer hand_thresholds(const Events& e, const Shape&) {
  std::vector<double> thresholds;
  for (int i = 0; i < kThresholds; ++i) {
    thresholds.push_back(97.5 + i * 0.0025);
  }
  std::vector<Row> out;
  for (size_t i = 0; i < e.t.size(); ++i) {
    for (size_t rule = 0; rule < thresholds.size() && e.v[i] > thresholds[rule]; ++rule) {
      out.push_back({e.t[i], e.device[i], e.v[i]});
    }
  }
  return total(out);
}

// ---- by rule

class ByRule {
 public:
  ByRule(const std::string& rules, const Shape& shape, int summed)
      : shape_(shape), engine_({}, [this, summed](std::span<const Output> outputs) {
          for (const Output& out : outputs) {
            if (out.kind == OutputKind::kRow) {
              ++answer_.rows;
              answer_.sum += out.fields[static_cast<size_t>(summed)].number();
            }
          }
        }) {
    for (const auto& error : engine_.create(rules)) {
      std::fprintf(stderr, "%s\n", format_diagnostic("rules", error).c_str());
      std::exit(1);
    }
    for (uint32_t i = 0; i < shape.devices; ++i) {
      symbols_.push_back(engine_.symbols().intern("device-" + std::to_string(i)));
    }
  }

  // Batches are cut where the stream changes.
  Answer run(const Events& e, bool two_streams) {
    std::vector<uint32_t> devices(e.device.size());
    std::ranges::transform(e.device, devices.begin(), [&](uint32_t d) { return symbols_[d]; });
    const StreamId a = engine_.catalog().find_stream("a")->id;
    const StreamId b = two_streams ? engine_.catalog().find_stream("b")->id : a;
    Batch batch;
    batch.columns.resize(2);
    began_ = cpu_seconds();
    for (size_t i = 0; i < e.t.size();) {
      size_t end = std::min(i + shape_.batch, e.t.size());
      if (two_streams) {
        end = static_cast<size_t>(std::find_if(e.is_b.begin() + static_cast<std::ptrdiff_t>(i),
                                               e.is_b.begin() + static_cast<std::ptrdiff_t>(end),
                                               [&](uint8_t x) { return x != e.is_b[i]; }) -
                                  e.is_b.begin());
      }
      batch.stream = e.is_b[i] != 0 ? b : a;
      batch.rows = end - i;
      batch.first_index = i;
      batch.t = &e.t[i];
      batch.columns[0] = {Type::kText, &devices[i], nullptr};
      batch.columns[1] = {Type::kDouble, &e.v[i], nullptr};
      engine_.push(batch);
      i = end;
    }
    took_ = cpu_seconds() - began_;
    return answer_;
  }
  double took() const { return took_; }

 private:
  Shape shape_;
  Answer answer_;
  Engine engine_;
  std::vector<Symbol> symbols_;
  double began_ = 0;
  double took_ = 0;
};

struct Work {
  const char* name;
  const char* esper;  // what esper/ calls it
  std::string rules;
  Answer (*by_hand)(const Events&, const Shape&);
  bool two_streams;
  int summed;          // which SELECT item is summed
  double must;         // of the hand loop's speed
  size_t events_part;  // one in so many events: the slow ones need not run for minutes
  // Esper has no bound on the runs of a key, and ends the windows of all devices with one event of the next second.
  double differs_max = 0;
};

bool agree(const Answer& x, const Answer& y) {
  return x.rows == y.rows && std::abs(x.sum - y.sum) <= 1e-6 * std::max(1.0, std::abs(x.sum));
}

// What a rule did, for the comparison with Esper.
struct Measured {
  std::string name;
  std::string esper;
  size_t events = 0;
  double per_s = 0;
  Answer answer;
  double differs_max = 0;  // how far Esper's number of rows may be from ours
};

bool measure(const Work& work, const Shape& shape, nlohmann::ordered_json& json, std::vector<Measured>& all) {
  Shape smaller = shape;
  smaller.events = shape.events / work.events_part;
  const Events events = make_events(smaller);
  double hand = 1e9;
  double rule = 1e9;
  Answer expected;
  Answer got;
  for (int i = 0; i < shape.repeats; ++i) {
    const double began = cpu_seconds();
    expected = work.by_hand(events, smaller);
    hand = std::min(hand, cpu_seconds() - began);
    ByRule engine(work.rules, smaller, work.summed);
    got = engine.run(events, work.two_streams);
    rule = std::min(rule, engine.took());
  }
  const auto n = static_cast<double>(smaller.events);
  std::printf("%-28s %9.2f M/s by hand %9.3f M/s by rule   1/%-6.0f must 1/%.0f   %llu rows%s\n", work.name,
              n / hand / 1e6, n / rule / 1e6, rule / hand, 1 / work.must, static_cast<unsigned long long>(got.rows),
              agree(expected, got) ? "" : "   THE ANSWERS DIFFER");
  json[work.name] = {{"hand_per_s", n / hand}, {"rule_per_s", n / rule}, {"ratio", hand / rule}, {"must", work.must}};
  all.push_back({work.name, work.esper, smaller.events, n / rule, got, work.differs_max});
  return agree(expected, got);
}

// ---- one event at a time, 100 rules on its stream
//
// What is given for an event, to each engine the same and made before the clock starts: its time, its device's name,
// its value. The name is a number that the engine's table of texts gave it, as the gateway keeps it for each series;
// Esper gets a reference to a String, which no rule here looks at, so that it is never hashed or compared. Esper's row
// is an Object[] that exists already; our Batch is pointed at the event within the time that is taken. Esper's one
// clock is moved when the time of an event is another than that of the event before, one in a hundred; ours is the
// device's own and moves with every event, with its idleness, its lateness and the clock guard. For each row a listener
// is called before the call returns; it reads the value from the row.

constexpr int kLiveRules = 100;

double live_threshold(int rule) {
  return 99 + rule * 0.01;
}

Answer hand_live(const Events& e, const Shape&) {
  std::vector<Row> out;
  for (size_t i = 0; i < e.t.size(); ++i) {
    for (int rule = 0; rule < kLiveRules && e.v[i] > live_threshold(rule); ++rule) {
      out.push_back({e.t[i], e.device[i], e.v[i]});
    }
  }
  return total(out);
}

// How many events come ahead of those that are timed, here and with Esper: no device is new then, and all code is warm.
size_t live_warm_up(size_t events) {
  return events / 10;
}

// What a caller has at hand when an event comes: the engine with its rules, and one Batch that is pointed at the event.
class Live {
 public:
  // `above`: how much higher than usual the thresholds are.
  Live(const Shape& shape, const Events& events, int rules = kLiveRules, double above = 0)
      : events_(events), engine_({}, [this](std::span<const Output> outputs) {
          for (const Output& out : outputs) {
            ++answer_.rows;
            answer_.sum += out.fields[1].number();
          }
        }) {
    std::string text = "CREATE STREAM a (dev TEXT, v DOUBLE);\n";
    for (int i = 0; i < rules; ++i) {
      text += "CREATE RULE r" + std::to_string(i) + " AS SELECT dev, v FROM a WHERE v > " +
              std::to_string(above + live_threshold(i)) + " DO log();\n";
    }
    if (!engine_.create(text).empty()) {
      std::exit(1);
    }
    std::vector<Symbol> symbols;
    for (uint32_t i = 0; i < shape.devices; ++i) {
      symbols.push_back(engine_.symbols().intern("device-" + std::to_string(i)));
    }
    std::ranges::transform(events.device, std::back_inserter(devices_), [&](uint32_t d) { return symbols[d]; });
    batch_.stream = engine_.catalog().find_stream("a")->id;
    batch_.rows = 1;
    batch_.columns = {{Type::kText, nullptr, nullptr}, {Type::kDouble, nullptr, nullptr}};
  }
  void push(size_t i) {
    batch_.first_index = i;
    batch_.t = &events_.t[i];
    batch_.columns[0].data = &devices_[i];
    batch_.columns[1].data = &events_.v[i];
    engine_.push(batch_);
  }
  // All events; returns the seconds that one of those behind the warm-up took.
  double run() {
    const size_t first = live_warm_up(events_.t.size());
    for (size_t i = 0; i < first; ++i) {
      push(i);
    }
    const double began = cpu_seconds();
    for (size_t i = first; i < events_.t.size(); ++i) {
      push(i);
    }
    return (cpu_seconds() - began) / static_cast<double>(events_.t.size() - first);
  }
  const Answer& answer() const { return answer_; }

 private:
  const Events& events_;
  Answer answer_;
  Engine engine_;
  std::vector<Symbol> devices_;  // by event
  Batch batch_;
};

// A call for each event, and the sink is called before it returns. Reading the clock for each costs as much as the
// event: the rate and the time of each are taken in runs of their own.
bool measure_live(const Shape& shape, nlohmann::ordered_json& json, std::vector<Measured>& all) {
  const Events events = make_events(shape);
  const size_t count = events.t.size();
  const size_t first = live_warm_up(count);
  const Answer expected = hand_live(events, shape);
  double best = 1;
  double unread = 1;  // nobody reads the stream: its devices' time alone
  double unmet = 1;   // and 100 rules, none of which the event meets
  Answer answer;
  for (int repeat = 0; repeat < shape.repeats; ++repeat) {
    Live live(shape, events);
    best = std::min(best, live.run());
    answer = live.answer();
    unread = std::min(unread, Live(shape, events, 0).run());
    unmet = std::min(unmet, Live(shape, events, kLiveRules, 100).run());
  }
  Live live(shape, events);
  std::vector<double> each(count);
  for (size_t i = 0; i < count; ++i) {
    const double before = seconds();
    live.push(i);
    each[i] = seconds() - before;
  }
  each.erase(each.begin(), each.begin() + static_cast<std::ptrdiff_t>(first));
  const auto p99 = each.begin() + static_cast<std::ptrdiff_t>(each.size() * 99 / 100);
  std::nth_element(each.begin(), p99, each.end());
  const double per_s = 1 / best;
  const bool same = agree(expected, answer);
  std::printf("%-28s %9.3f M/s, p99 %.2f us (must 1 M/s, 100 us), %llu rows%s\n", "live, 100 rules", per_s / 1e6,
              *p99 * 1e6, static_cast<unsigned long long>(answer.rows), same ? "" : "   THE ANSWERS DIFFER");
  std::printf("%-28s %9.1f ns an event: %.1f its device's time, %.1f to look 100 rules up, %.1f for %.2f rows\n", "",
              best * 1e9, unread * 1e9, (unmet - unread) * 1e9, (best - unmet) * 1e9,
              static_cast<double>(answer.rows) / static_cast<double>(count));
  all.push_back({"live, 100 rules", "live", count, per_s, answer, 0});
  json["live, 100 rules"] = {{"per_s", per_s}, {"p99_us", *p99 * 1e6}};
  return same;
}

// Of this process: what it has in memory now.
size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0;
  size_t resident = 0;
  file >> pages >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Rules that wait for something: what each takes, by the allocator's own count, and by what the process has in memory
// once free memory was given back: reading the rules takes about as much again for a moment. Ahead of all other work,
// whose memory would be used again.
void measure_idle_rules(nlohmann::ordered_json& json) {
  constexpr int kRules = 10'000;
  std::string rules = "CREATE STREAM a (dev TEXT, v DOUBLE);\n";
  for (int i = 0; i < kRules; ++i) {
    const std::string n = std::to_string(i);
    rules += "CREATE RULE r" + n + " AS SELECT dev, v FROM a WHERE v > " + n + " PARTITION BY dev ALERT ON v > " + n +
             " FOR 3 SAMPLES CLEAR v < " + n + " FOR 10s DO mqtt('alarms');\n";
  }
  Engine engine({}, [](const Output&) {});
  const size_t before = mallinfo2().uordblks;
  const size_t resident_before = resident_bytes();
  const double began = cpu_seconds();
  const bool made = engine.create(rules).empty();
  const double took = cpu_seconds() - began;
  const double each = static_cast<double>(mallinfo2().uordblks - before) / kRules;
  malloc_trim(0);
  const double resident = static_cast<double>(resident_bytes() - resident_before) / kRules;
  std::printf("%-28s %9.0f bytes each, %.0f of the process' memory (must 4096), created in %.2f s%s\n",
              "10000 idle rules", each, resident, took, made ? "" : "   REFUSED");
  json["idle_rule_bytes"] = each;
  json["idle_rule_resident_bytes"] = resident;
}

// ---- by Esper

class TemporaryFile {
 public:
  TemporaryFile()
      : path_(std::filesystem::temp_directory_path() / ("bench_cep_" + std::to_string(getpid()) + ".events")) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_events(const Events& events, const std::filesystem::path& path) {
  std::ofstream out(path, std::ios::binary);
  const auto put = [&](const auto& x) { out.write(reinterpret_cast<const char*>(&x), sizeof(x)); };
  for (size_t i = 0; i < events.t.size(); ++i) {
    put(events.t[i]);
    put(events.device[i]);
    put(uint32_t{events.is_b[i]});
    put(events.v[i]);
  }
}

// Its standard output, or nothing when it fails.
std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> part{};
  for (size_t size = 0; pipe != nullptr && (size = fread(part.data(), 1, part.size(), pipe)) > 0;) {
    out.append(part.data(), size);
  }
  return pipe != nullptr && pclose(pipe) == 0 ? out : std::string();
}

// Esper beside what was measured. False: its rows differ from ours by more than they may.
bool compare_with_esper(const Shape& shape, const std::vector<Measured>& all, nlohmann::ordered_json& json) {
  const std::string sources = std::string(LAMBDA_SOURCE_DIR) + "/bench/cep/esper";
  const std::string build = std::string(LAMBDA_BINARY_DIR) + "/esper";
  if (std::system("command -v java mvn > /dev/null 2>&1") != 0 ||
      std::system(("mvn -q -B -f '" + sources + "' -Dbench.build='" + build + "' package >&2").c_str()) != 0) {
    std::printf("ESPER IS LEFT OUT: it needs Java 17 and Maven, which fetches Esper 9\n");
    return true;
  }
  const TemporaryFile file;
  write_events(make_events(shape), file.path());
  std::string command = "java -Xmx3g -cp '" + build + "/esper-bench-1.jar:" + build + "/lib/*' EsperBench '" +
                        file.path().string() + "' " + std::to_string(shape.repeats);
  for (const Measured& measured : all) {
    command += " " + measured.esper + ":" + std::to_string(measured.events);
  }
  std::istringstream lines(output_of(command));
  bool agreed = true;
  size_t compared = 0;
  std::string name;
  size_t events = 0;
  double took = 0;
  Answer answer;
  double p99_us = 0;
  while (lines >> name >> events >> took >> answer.rows >> answer.sum >> p99_us) {
    const auto ours = std::ranges::find(all, name, &Measured::esper);
    if (ours == all.end()) {
      continue;
    }
    const double per_s = static_cast<double>(events) / took;  // of those that it timed
    const double off = std::abs(static_cast<double>(answer.rows) / static_cast<double>(ours->answer.rows) - 1);
    const bool same = off <= ours->differs_max;
    std::printf("%-28s %9.3f M/s by Esper, by rule %6.1fx (must 5x), %llu rows%s\n", ours->name.c_str(), per_s / 1e6,
                ours->per_s / per_s, static_cast<unsigned long long>(answer.rows), same ? "" : "   THE ANSWERS DIFFER");
    if (p99_us > 0) {
      std::printf("%-28s p99 %.2f us by Esper\n", "", p99_us);
      json[ours->name]["esper_p99_us"] = p99_us;
    }
    json[ours->name]["esper_per_s"] = per_s;
    json[ours->name]["times_esper"] = ours->per_s / per_s;
    agreed = agreed && same;
    ++compared;
  }
  if (compared != all.size()) {
    std::printf("ESPER FAILED: %zu of %zu answers\n", compared, all.size());
  }
  return agreed && compared == all.size();
}

}  // namespace

int main(int argc, char** argv) {
  Shape shape;
  CLI::App app{"The rule engine beside loops written by hand"};
  app.add_option("--events", shape.events)->capture_default_str();
  app.add_option("--devices", shape.devices)->capture_default_str();
  app.add_option("--batch", shape.batch)->capture_default_str();
  app.add_option("--seed", shape.seed)->capture_default_str();
  std::string only;
  app.add_option("--only", only, "The one whose name begins so");
  app.add_option("--repeats", shape.repeats, "The best of so many counts")->capture_default_str();
  bool without_esper = false;
  app.add_flag("--without-esper", without_esper, "Leave out the comparison with it");
  CLI11_PARSE(app, argc, argv);

  const std::string stream = "CREATE STREAM a (dev TEXT, v DOUBLE);\n";
  std::string thresholds = stream;
  for (int i = 0; i < kThresholds; ++i) {
    thresholds += "CREATE RULE r" + std::to_string(i) + " AS SELECT dev, v FROM a WHERE v > " +
                  std::to_string(97.5 + i * 0.0025) + " DO log();\n";
  }
  const std::vector<Work> works = {
      {"filter, 10 % hit", "filter", stream + "CREATE RULE r AS SELECT dev, v FROM a WHERE v > 90 DO log();",
       hand_filter, false, 1, 1.0 / 8, 1},
      {"running sum by device", "sum", stream + "CREATE RULE r AS SELECT dev, sum(v) FROM a PARTITION BY dev DO log();",
       hand_sum, false, 1, 1.0 / 8, 1},
      {"tumbling 1 s average", "tumble",
       stream + "CREATE RULE r AS SELECT dev, avg(v) FROM a GROUP BY dev WINDOW TUMBLE 1s DO log();", hand_tumble,
       false, 1, 1.0 / 8, 1, 0.001},
      {"every A -> B within 5 s", "pattern",
       stream + "CREATE STREAM b (dev TEXT, v DOUBLE);\nCREATE RULE r OPTIONS(max_state=1000000000) AS SELECT a.dev AS "
                "dev, a.v AS v FROM PATTERN "
                "(EVERY a -> b) WITHIN 5s PARTITION BY dev DO log();",
       hand_pattern, true, 1, 1.0 / 10, 2, 0.02},
      {"1000 threshold rules", "thresholds", thresholds, hand_thresholds, false, 1, 1.0 / 6, 20},
  };
  nlohmann::ordered_json json;
  if (std::string("idle").starts_with(only)) {
    measure_idle_rules(json);
  }
  bool agreed = true;
  std::vector<Measured> all;
  for (const Work& work : works) {
    if (!std::string(work.name).starts_with(only)) {
      continue;
    }
    agreed = measure(work, shape, json, all) && agreed;
  }
  if (std::string("live").starts_with(only)) {
    agreed = measure_live(shape, json, all) && agreed;
  }
  if (!without_esper && !all.empty()) {
    agreed = compare_with_esper(shape, all, json) && agreed;
  }
  std::printf("%s\n", json.dump().c_str());
  return agreed ? 0 : 1;
}
