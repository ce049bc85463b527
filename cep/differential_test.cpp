// Windows and patterns against the naive reading of their sentences: all events kept, sorted, and looked at anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "cep/test_engine.h"

namespace lambda::cep {
namespace {

struct Happened {
  std::string stream;
  int64_t t = 0;
  std::string dev;
  int64_t v = 0;
};
using History = std::vector<Happened>;

class Dice {
 public:
  explicit Dice(uint64_t seed) : bits_(seed) {}
  int64_t roll(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(bits_); }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<size_t>(roll(0, static_cast<int64_t>(from.size()) - 1))];
  }

 private:
  std::mt19937_64 bits_;
};

History random_history(Dice& dice, size_t events, bool disorder) {
  History history;
  int64_t t = dice.roll(-50, 50);
  for (size_t i = 0; i < events; ++i) {
    t += dice.roll(0, 12);
    const int64_t late = disorder ? dice.roll(0, 15) : 0;
    history.push_back({dice.pick(std::vector<std::string>{"a", "b", "c"}), t - late,
                       dice.pick(std::vector<std::string>{"x", "y"}), dice.roll(0, 9)});
  }
  return history;
}

constexpr const char* kStreams =
    "CREATE STREAM a (dev TEXT, v INT); CREATE STREAM b (dev TEXT, v INT); CREATE STREAM c (dev TEXT, v INT);\n";

std::vector<std::string> run(const std::string& rules, const History& history, int64_t end, bool restarts = false) {
  TestEngine engine(kStreams + rules);
  for (size_t i = 0; i < history.size(); ++i) {
    engine.push(history[i].stream, history[i].t, {engine.text(history[i].dev), Value::of_int(history[i].v)});
    if (restarts && i % 5 == 3) {
      engine.restart();
    }
  }
  engine.advance_to(end);
  std::ranges::sort(engine.said);
  return engine.said;
}

std::string describe(const History& history) {
  std::string out;
  for (const Happened& h : history) {
    out += h.stream + " " + std::to_string(h.t) + " " + h.dev + " " + std::to_string(h.v) + "\n";
  }
  return out;
}

constexpr int64_t kEnd = 100'000;

// ---- windows

// What a device's horizon let in, in the order of (t, arrival).
std::map<std::string, History> by_device(const History& history, int64_t lateness) {
  std::map<std::string, int64_t> horizon;
  std::map<std::string, History> out;
  for (const Happened& h : history) {
    auto& at = horizon.emplace(h.dev, INT64_MIN).first->second;
    const bool late = h.t < at;
    at = std::max(at, h.t - lateness);
    if (!late && h.stream == "a") {
      out[h.dev].push_back(h);
    }
  }
  for (auto& [dev, events] : out) {
    std::ranges::stable_sort(events, {}, &Happened::t);
  }
  return out;
}

std::string aggregates(const History& rows) {
  int64_t sum = 0;
  std::vector<int64_t> sorted;
  for (const Happened& h : rows) {
    sum += h.v;
    sorted.push_back(h.v);
  }
  std::ranges::sort(sorted);
  const double rank = 0.5 * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  const double median = static_cast<double>(sorted[low]) +
                        (rank - static_cast<double>(low)) * static_cast<double>(sorted[high] - sorted[low]);
  return std::to_string(rows.size()) + " " + std::to_string(sum) + " " + std::to_string(sorted.front()) + " " +
         std::to_string(sorted.back()) + " " + std::to_string(rows.front().v) + " " + std::to_string(rows.back().v) +
         " " + std::to_string(static_cast<double>(sum) / static_cast<double>(rows.size())) + " " +
         std::to_string(median);
}

constexpr const char* kAggregates =
    "count(*) AS n, sum(v) AS s, min(v) AS low, max(v) AS high, first(v) AS f, last(v) AS l, avg(v) AS m, p(0.5, v) AS "
    "p";

std::string line(int64_t t, const std::string& dev, const History& rows) {
  return "r " + std::to_string(t) + " row " + dev + " " + aggregates(rows);
}

std::vector<std::string> naive_fixed(const std::map<std::string, History>& devices, int64_t size, int64_t step) {
  std::vector<std::string> out;
  for (const auto& [dev, events] : devices) {
    for (int64_t start = -10'000 * step; start < 10'000 * step; start += step) {
      if (start + size < events.front().t || start > events.back().t) {
        continue;
      }
      History rows;
      std::ranges::copy_if(events, std::back_inserter(rows),
                           [&](const Happened& h) { return h.t >= start && h.t < start + size; });
      if (!rows.empty()) {
        out.push_back(line(start + size, dev, rows));
      }
    }
  }
  return out;
}

std::vector<std::string> naive_session(const std::map<std::string, History>& devices, int64_t gap, int64_t max) {
  std::vector<std::string> out;
  for (const auto& [dev, events] : devices) {
    History rows;
    const auto close = [&] {
      if (!rows.empty()) {
        out.push_back(line(std::min(rows.back().t + gap, rows.front().t + max), dev, rows));
        rows.clear();
      }
    };
    for (const Happened& h : events) {
      if (!rows.empty() && (h.t > rows.back().t + gap || h.t >= rows.front().t + max)) {
        close();
      }
      rows.push_back(h);
    }
    close();
  }
  return out;
}

std::vector<std::string> naive_rows(const std::map<std::string, History>& devices, size_t n, int64_t slide) {
  std::vector<std::string> out;
  for (const auto& [dev, events] : devices) {
    for (size_t i = 0; i < events.size(); ++i) {
      History rows;
      for (size_t j = 0; j <= i; ++j) {
        if (slide > 0 ? events[j].t > events[i].t - slide : j + n > i) {
          rows.push_back(events[j]);
        }
      }
      if (slide > 0 || (i + 1) % n == 0) {
        out.push_back(line(events[i].t, dev, rows));
      }
    }
  }
  return out;
}

// LAMBDA_CEP_SEED: others than those of every day.
uint64_t first_seed() {
  const char* seed = std::getenv("LAMBDA_CEP_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1;
}

class Windows : public ::testing::TestWithParam<int> {};

TEST_P(Windows, SayWhatTheNaiveReadingSays) {
  constexpr uint64_t kSeeds = 2000;
  for (uint64_t seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    Dice dice(seed);
    const int64_t lateness = dice.pick(std::vector<int64_t>{0, 5, 20});
    const History history = random_history(dice, static_cast<size_t>(dice.roll(1, 40)), true);
    const auto devices = by_device(history, lateness);
    const int64_t size = dice.roll(1, 40);
    std::string window;
    std::vector<std::string> expected;
    switch (GetParam()) {
      case 0:
        window = "TUMBLE " + std::to_string(size) + "ms";
        expected = naive_fixed(devices, size, size);
        break;
      case 1: {
        const int64_t step = dice.roll(1, size);
        window = "HOP " + std::to_string(size) + "ms, " + std::to_string(step) + "ms";
        expected = naive_fixed(devices, size, step);
        break;
      }
      case 2: {
        const int64_t max = dice.roll(1, 60);
        window = "SESSION " + std::to_string(size) + "ms MAX " + std::to_string(max) + "ms";
        expected = naive_session(devices, size, max);
        break;
      }
      case 3:
        window = "SLIDE " + std::to_string(size) + "ms";
        expected = naive_rows(devices, 0, size);
        break;
      default: {
        const int64_t rows = dice.roll(1, 5);
        window = "ROWS " + std::to_string(rows);
        expected = naive_rows(devices, static_cast<size_t>(rows), 0);
        break;
      }
    }
    const std::string rule = "CREATE RULE r OPTIONS(lateness=" + std::to_string(lateness) + "ms) AS SELECT dev, " +
                             kAggregates + " FROM a GROUP BY dev WINDOW " + window + " DO log();";
    std::ranges::sort(expected);
    ASSERT_EQ(run(rule, history, kEnd, seed % 10 == 0), expected) << "seed " << seed << "\n"
                                                                  << rule << "\n"
                                                                  << describe(history);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Windows, ::testing::Range(0, 5));

// ---- patterns

struct Wanted {
  std::string stream;
  int64_t above = 0;
  bool strict = false;  // ',' ahead of it
  std::string never;    // NOT ahead of it: a stream, or empty
  bool fits(const Happened& h) const { return h.stream == stream && h.v > above; }
};

struct RandomPattern {
  std::vector<Wanted> steps;
  bool every = true;
  int64_t within = 0;
  std::string absent;  // NOT .. FOR at the end, or empty
  int64_t absent_ms = 0;

  std::string text() const {
    std::string out = "CREATE RULE r OPTIONS(time=event, max_runs=1000) AS SELECT ";
    for (size_t i = 0; i < steps.size(); ++i) {
      out += (i > 0 ? ", s" : "s") + std::to_string(i) + ".v AS v" + std::to_string(i);
    }
    out += " FROM PATTERN (";
    for (size_t i = 0; i < steps.size(); ++i) {
      if (i > 0) {
        out += steps[i].never.empty() ? "" : " -> NOT " + steps[i].never;
        out += steps[i].strict ? " , " : " -> ";
      }
      out += (i == 0 && every ? "EVERY s" : "s") + std::to_string(i) + "=" + steps[i].stream + "[v > " +
             std::to_string(steps[i].above) + "]";
    }
    if (!absent.empty()) {
      out += " -> NOT " + absent + " FOR " + std::to_string(absent_ms) + "ms";
    }
    return out + ") WITHIN " + std::to_string(within) + "ms PARTITION BY dev DO log();";
  }
  bool reads(const std::string& stream) const {
    return absent == stream ||
           std::ranges::any_of(steps, [&](const Wanted& w) { return w.stream == stream || w.never == stream; });
  }
};

RandomPattern random_pattern(Dice& dice) {
  const std::vector<std::string> streams{"a", "b", "c"};
  RandomPattern pattern;
  const int64_t steps = dice.roll(1, 4);
  for (int64_t i = 0; i < steps; ++i) {
    Wanted wanted{dice.pick(streams), dice.roll(-1, 5), dice.roll(0, 3) == 0, ""};
    if (i > 0 && !wanted.strict && dice.roll(0, 3) == 0) {
      wanted.never = dice.pick(streams);
    }
    pattern.steps.push_back(wanted);
  }
  pattern.every = dice.roll(0, 3) != 0;
  pattern.within = dice.roll(5, 200);
  if (dice.roll(0, 2) == 0) {
    pattern.absent = dice.pick(streams);
    pattern.absent_ms = dice.roll(1, 30);
  }
  return pattern;
}

// One run that begins with events[first]: 25 lines that say all of it.
std::string naive_run(const RandomPattern& pattern, const History& events, size_t first) {
  std::string fields = " " + std::to_string(events[first].v);
  const int64_t deadline = events[first].t + pattern.within;
  size_t next = 1;
  size_t at = first;
  for (size_t i = first + 1; i < events.size() && next < pattern.steps.size(); ++i) {
    const Wanted& wanted = pattern.steps[next];
    if (events[i].t > deadline) {
      return "";
    }
    if (wanted.fits(events[i])) {
      fields += " " + std::to_string(events[i].v);
      ++next;
      at = i;
    } else if (wanted.strict || events[i].stream == wanted.never) {
      return "";
    }
  }
  if (next < pattern.steps.size()) {
    return "";
  }
  if (pattern.absent.empty()) {
    return "r " + std::to_string(events[at].t) + " row" + fields;
  }
  const int64_t over = events[at].t + pattern.absent_ms;
  for (size_t i = at + 1; i < events.size() && events[i].t <= over; ++i) {
    if (events[i].stream == pattern.absent) {
      return "";
    }
  }
  return over > deadline ? "" : "r " + std::to_string(over) + " row" + fields;
}

std::vector<std::string> naive_pattern(const RandomPattern& pattern, const History& history) {
  std::vector<std::string> out;
  for (auto& [dev, all] : [&] {
         std::map<std::string, History> devices;
         for (const Happened& h : history) {
           if (pattern.reads(h.stream)) {
             devices[h.dev].push_back(h);
           }
         }
         return devices;
       }()) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (!pattern.steps[0].fits(all[i])) {
        continue;
      }
      const std::string match = naive_run(pattern, all, i);
      if (!match.empty()) {
        out.push_back(match);
      }
      if (!pattern.every) {
        break;
      }
    }
  }
  return out;
}

TEST(Patterns, SayWhatTheNaiveReadingSays) {
  constexpr uint64_t kSeeds = 10'000;
  size_t matches = 0;
  for (uint64_t seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    Dice dice(seed);
    const RandomPattern pattern = random_pattern(dice);
    const History history = random_history(dice, static_cast<size_t>(dice.roll(1, 40)), false);
    std::vector<std::string> expected = naive_pattern(pattern, history);
    std::ranges::sort(expected);
    matches += expected.size();
    ASSERT_EQ(run(pattern.text(), history, kEnd, seed % 10 == 0), expected) << "seed " << seed << "\n"
                                                                            << pattern.text() << "\n"
                                                                            << describe(history);
  }
  EXPECT_GT(matches, kSeeds);  // else this test looks at nothing
}

// ---- counts

struct Counted {
  std::string stream;
  int64_t above = 0;
  int64_t least = 1;
  int64_t most = 1;
  bool fits(const Happened& h) const { return h.stream == stream && h.v > above; }
};

// NO SKIP: each event that fits the first step begins a run, and nothing else decides what it takes (21, 23, 32).
std::string naive_counts(const std::vector<Counted>& steps, int64_t within, const History& events, size_t first) {
  std::vector<int64_t> counts(steps.size());
  std::vector<int64_t> sums(steps.size());
  size_t at = 0;
  const auto complete = [&] {
    return counts[at] >= steps[at].least &&
           std::all_of(steps.begin() + static_cast<std::ptrdiff_t>(at) + 1, steps.end(),
                       [](const Counted& step) { return step.least == 0; });
  };
  for (size_t i = first; i < events.size() && events[i].t <= events[first].t + within; ++i) {
    size_t takes = at;
    if (counts[at] >= steps[at].most || !steps[at].fits(events[i])) {
      if (counts[at] < steps[at].least) {
        continue;
      }
      for (takes = at + 1; takes < steps.size() && !steps[takes].fits(events[i]); ++takes) {
        if (steps[takes].least > 0) {
          takes = steps.size();
          break;
        }
      }
    }
    if (takes >= steps.size()) {
      continue;
    }
    at = takes;
    ++counts[at];
    sums[at] += events[i].v;
    if (complete()) {
      std::string out = "r " + std::to_string(events[i].t) + " row";
      for (size_t s = 0; s < steps.size(); ++s) {
        out += " " + std::to_string(counts[s]) + " " + (counts[s] > 0 ? std::to_string(sums[s]) : "null");
      }
      return out;
    }
  }
  return "";
}

TEST(Patterns, CountWhatTheNaiveReadingCounts) {
  constexpr uint64_t kSeeds = 5000;
  size_t matches = 0;
  for (uint64_t seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    Dice dice(seed);
    std::vector<Counted> steps;
    std::string items;
    std::string pattern;
    const int64_t length = dice.roll(1, 4);
    for (int64_t i = 0; i < length; ++i) {
      Counted step{dice.pick(std::vector<std::string>{"a", "b", "c"}), dice.roll(-1, 5), dice.roll(i == 0 ? 1 : 0, 3),
                   0};
      step.most = std::max<int64_t>(1, step.least + dice.roll(0, 2));
      const std::string name = "s" + std::to_string(i);
      items += (i > 0 ? ", count(" : "count(") + name + ") AS n" + std::to_string(i) + ", sum(" + name + ".v) AS t" +
               std::to_string(i);
      pattern += (i > 0 ? " -> " : "") + name + "=" + step.stream + "[v > " + std::to_string(step.above) + "]{" +
                 std::to_string(step.least) + "," + std::to_string(step.most) + "}";
      steps.push_back(step);
    }
    const int64_t within = dice.roll(5, 200);
    const std::string rule = "CREATE RULE r OPTIONS(time=event, max_runs=1000) AS SELECT " + items + " FROM PATTERN (" +
                             pattern + ") WITHIN " + std::to_string(within) + "ms NO SKIP PARTITION BY dev DO log();";
    const History history = random_history(dice, static_cast<size_t>(dice.roll(1, 40)), false);
    std::vector<std::string> expected;
    for (const std::string dev : {"x", "y"}) {
      History own;
      std::ranges::copy_if(history, std::back_inserter(own), [&](const Happened& h) { return h.dev == dev; });
      for (size_t i = 0; i < own.size(); ++i) {
        const std::string match = steps[0].fits(own[i]) ? naive_counts(steps, within, own, i) : "";
        if (!match.empty()) {
          expected.push_back(match);
        }
      }
    }
    std::ranges::sort(expected);
    matches += expected.size();
    ASSERT_EQ(run(rule, history, kEnd, seed % 10 == 0), expected) << "seed " << seed << "\n"
                                                                  << rule << "\n"
                                                                  << describe(history);
  }
  EXPECT_GT(matches, kSeeds);
}

// ---- order of arrival

TEST(Shuffle, WithinTheLatenessChangesNothing) {
  const std::string options = " OPTIONS(time=event, lateness=100ms, max_runs=1000) AS SELECT ";
  const std::string rules =
      "CREATE RULE plain" + options + "dev, v FROM a WHERE v > 3 DO log();" + "CREATE RULE hot" + options +
      "dev, v FROM a PARTITION BY dev ALERT ON v > 5 FOR 20ms CLEAR v < 3 FOR 10ms REMIND 15ms "
      "DO log();" +
      "CREATE RULE windows" + options +
      "dev, first(v), last(v), sum(v) FROM a GROUP BY dev WINDOW HOP 40ms, 10ms DO log();" + "CREATE RULE everywhere" +
      options + "sum(v), count(*) FROM a WINDOW TUMBLE 30ms DO log();" + "CREATE RULE sessions" + options +
      "dev, count(*) FROM a GROUP BY dev WINDOW SESSION 15ms MAX 60ms DO log();" + "CREATE RULE follows" + options +
      "a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> NOT c -> b) WITHIN 50ms PARTITION BY dev "
      "DO log();" +
      "CREATE RULE silent" + options + "a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 25ms) PARTITION BY dev DO log();";
  for (uint64_t seed = first_seed(); seed < first_seed() + 300; ++seed) {
    Dice dice(seed);
    History history = random_history(dice, 60, false);
    int64_t t = 0;
    for (Happened& h : history) {
      t = h.t = std::max(h.t, t + 1);  // at equal times arrival decides, and that is what is shuffled
    }
    const std::vector<std::string> expected = run(rules, history, 3000);
    std::vector<std::pair<int64_t, Happened>> arrivals;
    for (const Happened& h : history) {
      arrivals.emplace_back(h.t + dice.roll(0, 100), h);
    }
    std::ranges::stable_sort(arrivals, {}, &std::pair<int64_t, Happened>::first);
    History shuffled;
    std::ranges::transform(arrivals, std::back_inserter(shuffled), &std::pair<int64_t, Happened>::second);
    ASSERT_EQ(run(rules, shuffled, 3000), expected) << "seed " << seed << "\n" << describe(shuffled);
  }
}

}  // namespace
}  // namespace lambda::cep
