// Many events at once, by machines made for a rule's shape, against one event at a time by the general machines: the
// outputs must be the same, one by one, with what caused them.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cep/engine.h"
#include "cep/sharded_engine.h"

namespace lambda::cep {
namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : bits_(seed) {}
  int64_t roll(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(bits_); }
  bool one_in(int64_t n) { return roll(1, n) == 1; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<size_t>(roll(0, static_cast<int64_t>(from.size()) - 1))];
  }

 private:
  std::mt19937_64 bits_;
};

struct Line {
  bool advance = false;
  bool second = false;  // stream b
  int64_t t = 0;
  std::optional<int64_t> at;
  std::optional<std::string> dev;
  std::optional<int64_t> i;
  std::optional<double> d;
  std::optional<bool> flag;
};

const std::string kColumns = "(dev TEXT, i INT, d DOUBLE, flag BOOL, s TEXT)";
const std::string kStreams = "CREATE STREAM a " + kColumns + "; CREATE STREAM b " + kColumns + ";\n";

const std::vector<std::string> kConditions = {
    "d > 2.5",
    "i <= 3",
    "2 < i AND d < 4",
    "flag",
    "NOT flag OR i = 3",
    "dev = 'x'",
    "dev != 'y'",
    "i + 1 > d * 2",
    "d / i > 0.5",
    "i IS NULL",
    "d IS NOT NULL",
    "-9223372036854775807 - i > 0 OR i > 4",
    "i % 2 = 0",
    "s LIKE 'v%' AND i > 2",
    "d > i",
    "1 = 1",
    "i = d",
    "i > 0 AND i < 5 AND (d > 1 OR flag)",
};

const std::vector<std::string> kShapes = {
    "SELECT dev, i, d, flag, s FROM {a} WHERE {c}",
    "SELECT i * 2 AS j, d + i AS e, -d AS f FROM {a} WHERE {c}",
    "SELECT i, s FROM {a}",
    "SELECT dev, sum(i) AS x, sum(d) AS y, count(*) AS n FROM {a} PARTITION BY dev",
    "SELECT dev, i, avg(d) AS y, count(i) AS n, last(s) AS l FROM {a} WHERE {c} PARTITION BY dev",
    "SELECT dev, s, sum(i) AS x FROM {a} GROUP BY dev, s HAVING sum(i) > 5",
    "SELECT dev, count(*) AS n, sum(i) AS x, avg(d) AS y, min(i) AS lo, max(d) AS hi FROM {a} GROUP BY dev WINDOW "
    "TUMBLE {w}",
    "SELECT dev, stddev(d) AS q, first(s) AS f, last(i) AS l, delta(i) AS g, delta(d) AS h, sum(i + d) AS z, "
    "window_start() AS b, window_end() AS e FROM {a} WHERE {c} GROUP BY dev WINDOW TUMBLE {w}",
    "SELECT dev, sum(d) / count(*) AS m FROM {a} WHERE {c} GROUP BY dev WINDOW TUMBLE {w} HAVING count(*) > 1",
    "SELECT dev, avg(i) AS m FROM {a} GROUP BY dev WINDOW TUMBLE {w} ALERT ON m > 3 CLEAR m < 2",
    "SELECT dev, count(*) AS n FROM {a} GROUP BY dev, s WINDOW TUMBLE {w}",
    "SELECT dev, max(i) AS n FROM {a} GROUP BY dev WINDOW TUMBLE {w} EMIT CHANGES",
    "SELECT dev, d FROM {a} PARTITION BY dev ALERT ON {c} FOR 2 SAMPLES CLEAR i > 4",
    "SELECT dev, d FROM {a} PARTITION BY dev ALERT ON {c} FOR 20ms CLEAR i > 4 FOR 15ms REMIND 40ms",
    "SELECT dev, i FROM {a} PARTITION BY dev EMIT FIRST PER 30ms",
    "SELECT dev, count(*) AS n FROM {a} GROUP BY dev WINDOW HOP {w}, 5ms",
    "SELECT count(*) AS n FROM {a} WINDOW TUMBLE {w}",
    "SELECT dev, sum(i) AS x FROM {a} GROUP BY dev WINDOW SESSION {w}",
    "SELECT y.dev AS dev, x.i AS i FROM PATTERN (EVERY x = a[i > 2] -> y = b) WITHIN 40ms PARTITION BY dev",
    "SELECT x.dev AS dev FROM PATTERN (EVERY x = {a} -> NOT b FOR {w}) PARTITION BY dev",
    "SELECT dev, x.i AS i, y.d AS d FROM PATTERN (EVERY x = a -> y = a[i > x.i]) WITHIN {w} PARTITION BY dev",
    "SELECT dev, x.i AS i, y.i AS j, z.i AS k, count(y) AS n FROM PATTERN (EVERY x = a -> y = b -> z = a[d > x.d]) "
    "WITHIN 90ms PARTITION BY dev",
    "SELECT x.i AS i, y.i AS j FROM PATTERN (x = a[i > 1] -> y = b) WITHIN 200ms PARTITION BY dev",
    "SELECT x.i AS i, y.i AS j FROM PATTERN (EVERY x = a -> y = b) WITHIN 40ms PER STEP",
    "SELECT x.i AS i, z.i AS j FROM PATTERN (EVERY x = b -> y = a -> z = a) WITHIN {w} PER STEP PARTITION BY dev",
    "SELECT x.i + y.i AS i FROM PATTERN (EVERY x = a -> y = a[i != x.i]) WITHIN {w} WHERE x.i > 1 PARTITION BY dev",
    "SELECT dev, y.d AS d FROM PATTERN (EVERY x = a -> y = b) WITHIN 60ms PARTITION BY dev ALERT REMIND 50ms",
};

std::string with(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

std::string random_rules(Dice& dice) {
  std::string rules = kStreams;
  const bool only_together = dice.one_in(2);  // so that the loop over all rows is taken
  const std::string idle = dice.pick(std::vector<std::string>{"30s", "50ms"});
  const int64_t count = dice.roll(1, 5);
  for (int64_t n = 0; n < count; ++n) {
    const auto shape = static_cast<size_t>(dice.roll(0, only_together ? 9 : static_cast<int64_t>(kShapes.size()) - 1));
    std::string options = "idle=" + std::to_string(dice.pick(std::vector<int64_t>{20, 60, 30'000})) + "ms";
    if (only_together) {
      options = "idle=" + idle;
    } else if (dice.one_in(4)) {
      options += ", lateness=10ms";
    }
    options += dice.one_in(5) ? ", max_keys=2" : "";
    options += dice.one_in(8) ? ", max_state=1000" : "";
    if (dice.one_in(3)) {
      options += ", max_runs=2, on_limit=" + dice.pick(std::vector<std::string>{"oldest", "newest", "reject"});
    }
    std::string rule = "CREATE RULE r" + std::to_string(n) + (dice.one_in(4) ? " PRIORITY 2" : "") + " OPTIONS(" +
                       options + ") AS " + kShapes[shape] + (dice.one_in(8) ? ";\n" : " DO log();\n");
    rule = with(rule, "{a}", dice.one_in(4) ? "b" : "a");
    rule = with(rule, "{c}", dice.pick(kConditions));
    rules += with(rule, "{w}", std::to_string(dice.pick(std::vector<int64_t>{7, 20, 50})) + "ms");
  }
  if (dice.one_in(3)) {  // enough to be looked up
    for (int64_t n = 0; n < 12; ++n) {
      const std::string sign = dice.pick(std::vector<std::string>{">", ">=", "<", "<=", "="});
      const std::string column = dice.pick(std::vector<std::string>{"i", "d"});
      rules += "CREATE RULE t" + std::to_string(n) + (dice.one_in(6) ? " PRIORITY 1" : "") +
               (only_together ? " OPTIONS(idle=" + idle + ")" : "") + " AS SELECT dev, i FROM a WHERE " + column + " " +
               sign + " " + std::to_string(dice.roll(0, 6)) + (dice.one_in(3) ? " AND flag" : "") + " DO log();\n";
    }
  }
  if (!only_together && dice.one_in(3)) {
    rules += "CREATE RULE c AS SELECT * FROM r0 DO log();\n";
  }
  return rules;
}

std::vector<Line> random_lines(Dice& dice) {
  std::vector<Line> lines;
  int64_t t = dice.roll(-30, 30);
  bool second = false;
  const bool arrivals = dice.one_in(4);
  const int64_t disorder = dice.pick(std::vector<int64_t>{0, 0, 3, 15});
  const auto count = dice.roll(1, 90);
  for (int64_t n = 0; n < count; ++n) {
    t += dice.one_in(40) ? dice.roll(20'000, 40'000) : dice.one_in(15) ? dice.roll(30, 200) : dice.roll(0, 3);
    Line line;
    if (dice.one_in(40)) {
      line.advance = true;
      line.t = t + dice.roll(-10, 60);
      lines.push_back(line);
      continue;
    }
    second = dice.one_in(8) ? !second : second;
    line.second = second;
    line.t = t - dice.roll(0, disorder);
    if (arrivals) {
      line.at = t + dice.roll(-5, 5);
      line.t += dice.one_in(20) ? 10'000'000 : 0;  // the clock guard's
    }
    if (!dice.one_in(15)) {
      line.dev = dice.pick(std::vector<std::string>{"x", "y", "z", "u"});
    }
    if (!dice.one_in(10)) {
      line.i = dice.roll(0, 6);
    }
    if (!dice.one_in(10)) {
      line.d = dice.one_in(30) ? std::nan("") : static_cast<double>(dice.roll(-2, 12)) / 2;
    }
    if (!dice.one_in(10)) {
      line.flag = dice.one_in(2);
    }
    lines.push_back(line);
  }
  return lines;
}

// How an engine is made: of `shards`, or a plain one when there are none.
struct Way {
  bool at_once = true;
  uint32_t shards = 0;
  uint64_t state_bytes_max = EngineSettings{}.state_bytes_max;
};

template <class AnyEngine>
class Run {
 public:
  Run(const std::string& rules, const Way& way) : rules_(rules), way_(way) { make(); }

  // Events of one stream, all with or all without arrival time.
  void push(const std::vector<Line>& lines, size_t begin, size_t end, uint64_t index) {
    const size_t rows = end - begin;
    std::vector<int64_t> t(rows), at(rows), i(rows);
    std::vector<double> d(rows);
    std::vector<Symbol> dev(rows), s(rows);
    std::vector<uint8_t> flag(rows), no_dev(rows), no_i(rows), no_d(rows), no_flag(rows);
    bool any_null = false;
    for (size_t row = 0; row < rows; ++row) {
      const Line& line = lines[begin + row];
      t[row] = line.t;
      at[row] = line.at.value_or(0);
      dev[row] = engine_->symbols().intern(line.dev.value_or(""));
      s[row] = engine_->symbols().intern(line.i.value_or(0) > 3 ? "very" : "little");
      i[row] = line.i.value_or(7);
      d[row] = line.d.value_or(7);
      flag[row] = line.flag.value_or(true) ? 1 : 0;
      no_dev[row] = !line.dev;
      no_i[row] = !line.i;
      no_d[row] = !line.d;
      no_flag[row] = !line.flag;
      any_null = any_null || !line.dev || !line.i || !line.d || !line.flag;
    }
    Batch batch;
    batch.stream = engine_->catalog().find_stream(lines[begin].second ? "b" : "a")->id;
    batch.rows = rows;
    batch.first_index = index;
    batch.t = t.data();
    batch.at = lines[begin].at ? at.data() : nullptr;
    const auto nulls = [&](const std::vector<uint8_t>& of) { return any_null ? of.data() : nullptr; };
    batch.columns = {{Type::kText, dev.data(), nulls(no_dev)},
                     {Type::kInt, i.data(), nulls(no_i)},
                     {Type::kDouble, d.data(), nulls(no_d)},
                     {Type::kBool, flag.data(), nulls(no_flag)},
                     {Type::kText, s.data(), nullptr}};
    engine_->push(batch);
  }
  void advance_to(int64_t t) { engine_->advance_to(t); }
  void restart() {
    const std::string state = engine_->snapshot();
    make();
    const Status restored = engine_->restore(state);
    ASSERT_TRUE(restored) << restored.error().text;
  }
  const AnyEngine& engine() const { return *engine_; }
  std::vector<std::string> said;

 private:
  void make() {
    EngineSettings settings;
    settings.at_once = way_.at_once;
    settings.state_bytes_max = way_.state_bytes_max;
    const BatchSink sink = [this](std::span<const Output> outputs) {
      for (const Output& output : outputs) {
        note(output);
      }
    };
    if constexpr (std::is_same_v<AnyEngine, Engine>) {
      engine_ = std::make_unique<Engine>(settings, sink);
    } else {
      engine_ = std::make_unique<ShardedEngine>(settings, way_.shards, run_on_threads, sink);
    }
    for (const Diagnostic& error : engine_->create(rules_)) {
      ADD_FAILURE() << format_diagnostic("rules", error) << "\n" << rules_;
    }
  }
  void note(const Output& out) {
    std::string line = engine_->rule(out.rule).name + " " + std::to_string(out.t) + " " + output_kind_name(out.kind) +
                       " on " + std::to_string(out.on_input) + " " + std::to_string(out.dropped);
    for (const Value& value : out.fields) {
      line += " ";
      line += value.type == Type::kText     ? std::string(engine_->symbols().text(value.text))
              : value.type == Type::kDouble ? (std::isnan(value.d) ? "nan" : std::to_string(value.d))
              : value.is_null()             ? "null"
                                            : std::to_string(value.i);
    }
    said.push_back(std::move(line));
  }

  static void run_on_threads(std::span<const std::function<void()>> tasks) {
    std::vector<std::thread> threads;
    for (const auto& task : tasks) {
      threads.emplace_back(task);
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

  std::string rules_;
  Way way_;
  std::unique_ptr<AnyEngine> engine_;
};

template <class AnyEngine>
std::vector<std::string> run(const std::string& rules, const std::vector<Line>& lines, const Way& way, Dice& dice,
                             int64_t batch_max, bool restarts, std::vector<uint64_t>* counts) {
  Run<AnyEngine> run(rules, way);
  uint64_t index = 0;
  for (size_t begin = 0; begin < lines.size();) {
    if (lines[begin].advance) {
      run.advance_to(lines[begin++].t);
      continue;
    }
    const auto most = begin + static_cast<size_t>(dice.roll(1, batch_max));
    size_t end = begin;
    while (end < lines.size() && end < most && !lines[end].advance && lines[end].second == lines[begin].second) {
      ++end;
    }
    run.push(lines, begin, end, index);
    index += end - begin;
    begin = end;
    if (restarts && dice.one_in(4)) {
      run.restart();
    }
  }
  run.advance_to(lines.back().t + 300);
  for (RuleId id = 0; id < run.engine().rule_count(); ++id) {
    const RuleCounters& c = run.engine().counters(id);
    counts->insert(counts->end(), {c.events, c.outputs, c.late_dropped, c.null_keys, c.keys_rejected, c.state_dropped,
                                   c.state_refused});
  }
  return run.said;
}

std::string describe(const std::vector<Line>& lines) {
  std::string out;
  for (const Line& line : lines) {
    out += (line.advance  ? "advance "
            : line.second ? "b "
                          : "a ") +
           std::to_string(line.t) + " " + line.dev.value_or("null") + " i " +
           (line.i ? std::to_string(*line.i) : "null") + " d " + (line.d ? std::to_string(*line.d) : "null") +
           " flag " + (line.flag ? std::to_string(*line.flag) : "null") +
           (line.at ? " at " + std::to_string(*line.at) : "") + "\n";
  }
  return out;
}

// What the rules take before the first event.
uint64_t idle_bytes(const std::string& rules) {
  return Run<Engine>(rules, {}).engine().state_bytes();
}

class AtOnce : public ::testing::TestWithParam<int> {};

TEST_P(AtOnce, SaysWhatEventByEventSays) {
  constexpr uint64_t kSeeds = 300;
  size_t outputs = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const uint64_t own_seed = seed + kSeeds * static_cast<uint64_t>(GetParam());
    Dice dice(own_seed);
    const std::string rules = random_rules(dice);
    const std::vector<Line> lines = random_lines(dice);
    std::vector<uint64_t> expected_counts;
    const auto expected = run<Engine>(rules, lines, {false, 0}, dice, 1, false, &expected_counts);
    outputs += expected.size();
    for (const int64_t batch_max : {1, 4, 100}) {
      for (const bool restarts : {false, true}) {
        std::vector<uint64_t> counts;
        ASSERT_EQ(run<Engine>(rules, lines, {true, 0}, dice, batch_max, restarts, &counts), expected)
            << "seed " << own_seed << ", batches to " << batch_max << ", restarts " << restarts << "\n"
            << rules << describe(lines);
        ASSERT_EQ(counts, expected_counts) << "seed " << own_seed << ", batches to " << batch_max << "\n"
                                           << rules << describe(lines);
      }
    }
  }
  EXPECT_GT(outputs, 10 * kSeeds);
}

// Who may hold more is decided for all rules together; it does not depend on batches and restarts either.
TEST_P(AtOnce, SaysTheSameWhenTheMemoryOfAllRulesIsShort) {
  constexpr uint64_t kSeeds = 100;
  uint64_t refused = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const uint64_t own_seed = 200'000 + seed + kSeeds * static_cast<uint64_t>(GetParam());
    Dice dice(own_seed);
    const std::string rules = random_rules(dice);
    const std::vector<Line> lines = random_lines(dice);
    const uint64_t idle = idle_bytes(rules);
    const uint64_t max = 2 * idle + 64;
    std::vector<uint64_t> expected_counts;
    const auto expected = run<Engine>(rules, lines, {false, 0, max}, dice, 1, false, &expected_counts);
    for (size_t i = 6; i < expected_counts.size(); i += 7) {
      refused += expected_counts[i];
    }
    for (const int64_t batch_max : {4, 100}) {
      std::vector<uint64_t> counts;
      ASSERT_EQ(run<Engine>(rules, lines, {true, 0, max}, dice, batch_max, dice.one_in(2), &counts), expected)
          << "seed " << own_seed << ", batches to " << batch_max << "\n"
          << rules << describe(lines);
      ASSERT_EQ(counts, expected_counts) << "seed " << own_seed << ", batches to " << batch_max << "\n"
                                         << rules << describe(lines);
    }
  }
  EXPECT_GT(refused, 10u) << "the bound was hardly ever hit";
}

TEST_P(AtOnce, ShardsSayWhatOneEngineSays) {
  constexpr uint64_t kSeeds = 150;
  size_t outputs = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const uint64_t own_seed = 100'000 + seed + kSeeds * static_cast<uint64_t>(GetParam());
    Dice dice(own_seed);
    const std::string rules = random_rules(dice);
    std::vector<Line> lines = random_lines(dice);
    if (dice.one_in(10)) {  // enough to be worth threads
      const std::vector<Line> some = lines;
      const int64_t span = std::max<int64_t>(some.back().t - some.front().t, 0) + 20;
      for (int64_t i = 1; lines.size() < 600; ++i) {
        for (Line line : some) {
          line.second = false;
          line.t += i * span;
          line.at = line.at ? std::optional<int64_t>(*line.at + i * span) : std::nullopt;
          lines.push_back(line);
        }
      }
    }
    std::vector<uint64_t> expected_counts;
    const auto expected = run<Engine>(rules, lines, {true, 0}, dice, 5, false, &expected_counts);
    outputs += expected.size();
    for (const uint32_t shards : {1, 2, 3, 4}) {
      std::vector<uint64_t> counts;
      const int64_t batch_max = dice.pick(std::vector<int64_t>{1, 10, 500});
      const bool restarts = dice.one_in(3);
      const auto said = run<ShardedEngine>(rules, lines, {dice.one_in(2), shards}, dice, batch_max, restarts, &counts);
      ASSERT_EQ(said, expected) << "seed " << own_seed << ", shards " << shards << ", batches to " << batch_max
                                << ", restarts " << restarts << "\n"
                                << rules << describe(lines);
      ASSERT_EQ(counts, expected_counts) << "seed " << own_seed << ", shards " << shards << "\n"
                                         << rules << describe(lines);
    }
  }
  EXPECT_GT(outputs, 10 * kSeeds);
}

using OneEngine = Run<Engine>;

// Rules that an event's values lead to, with nothing in the order of their creation, and several horizons.
std::string looked_up_rules(Dice& dice) {
  std::string rules = kStreams;
  const int64_t count = dice.roll(1, 40);
  for (int64_t n = 0; n < count; ++n) {
    const std::string items = dice.pick(std::vector<std::string>{"dev, d", "s", "*", "i + 1 AS j, dev"});
    const std::string sign = dice.pick(std::vector<std::string>{">", ">=", "<", "<=", "="});
    rules += "CREATE RULE r" + std::to_string(n) + (dice.one_in(4) ? " PRIORITY 2" : "") +
             (dice.one_in(6) ? " OPTIONS(idle=50ms)" : "") + " AS SELECT " + items + " FROM a WHERE " +
             dice.pick(std::vector<std::string>{"i", "d"}) + " " + sign + " " + std::to_string(dice.roll(-1, 7)) +
             (dice.one_in(5) ? " AND flag" : "") + (dice.one_in(8) ? ";\n" : " DO log();\n");
  }
  if (dice.one_in(2)) {  // something becomes due now and then
    rules += "CREATE RULE w AS SELECT dev, count(*) AS n FROM b GROUP BY dev WINDOW HOP 20ms, 10ms DO log();\n";
    rules += "CREATE RULE p AS SELECT x.dev AS dev FROM PATTERN (EVERY x = b -> NOT a FOR 10ms) PARTITION BY dev;\n";
  }
  return rules;
}

// Alone an event is done with as soon as it is known that it matters to nobody and that nothing is due: what it leaves
// is what it leaves among others, byte by byte. (Windows that have a machine of their own for many events keep other
// things.)
TEST_P(AtOnce, AnEventAloneLeavesTheStateThatItLeavesAmongOthers) {
  constexpr uint64_t kSeeds = 60;
  size_t outputs = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const uint64_t own_seed = 300'000 + seed + kSeeds * static_cast<uint64_t>(GetParam());
    Dice dice(own_seed);
    const std::string rules = looked_up_rules(dice);
    const std::vector<Line> lines = random_lines(dice);
    OneEngine alone(rules, {true, 0});
    OneEngine general(rules, {false, 0});
    OneEngine among(rules, {true, 0});
    uint64_t index = 0;
    for (size_t begin = 0, end = 0; begin < lines.size(); begin = end) {
      for (end = begin; end < lines.size() && !lines[end].advance && lines[end].second == lines[begin].second; ++end) {
        alone.push(lines, end, end + 1, index + end - begin);
        general.push(lines, end, end + 1, index + end - begin);
        ASSERT_EQ(alone.engine().snapshot(), general.engine().snapshot())
            << "seed " << own_seed << ", line " << end << "\n"
            << rules << describe(lines);
      }
      if (end > begin) {
        among.push(lines, begin, end, index);
        index += end - begin;
      } else {
        for (OneEngine* run : {&alone, &general, &among}) {
          run->advance_to(lines[end].t);
        }
        ++end;
      }
      ASSERT_EQ(alone.engine().snapshot(), among.engine().snapshot()) << "seed " << own_seed << ", line " << end << "\n"
                                                                      << rules << describe(lines);
    }
    ASSERT_EQ(alone.said, general.said) << "seed " << own_seed << "\n" << rules << describe(lines);
    ASSERT_EQ(alone.said, among.said) << "seed " << own_seed << "\n" << rules << describe(lines);
    outputs += alone.said.size();
  }
  EXPECT_GT(outputs, 10 * kSeeds);
}

INSTANTIATE_TEST_SUITE_P(Parts, AtOnce, ::testing::Values(0, 1, 2, 3));

}  // namespace
}  // namespace lambda::cep
