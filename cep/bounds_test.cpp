// What an engine holds is bounded, and no bound is silent: each has a counter and a `limit` output (47).
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cep/engine.h"

namespace lambda::cep {
namespace {

struct Said {
  uint64_t lines = 0;
  uint64_t dropped = 0;
  uint64_t max = 0;
};

// An engine whose outputs are counted; its `limit` outputs by rule and bound.
class CountingEngine {
 public:
  explicit CountingEngine(const std::string& rules, const EngineSettings& settings = {})
      : engine_(settings, [this](const Output& out) { note(out); }) {
    for (const Diagnostic& error : engine_.create(rules)) {
      ADD_FAILURE() << format_diagnostic("rules", error);
    }
  }
  Engine& engine() { return engine_; }
  const RuleCounters& counters(const std::string& rule) { return engine_.counters(*engine_.find_rule(rule)); }
  const Said& said(const std::string& rule, Bound bound) { return limits_[{*engine_.find_rule(rule), bound}]; }
  uint64_t rows(const std::string& rule) { return rows_[*engine_.find_rule(rule)]; }
  int64_t last_t() const { return last_t_; }

  // One event of a stream (key INT or dev TEXT, v INT).
  void push(const std::string& stream, int64_t t, Value key, int64_t v) {
    Batch batch;
    batch.stream = engine_.catalog().find_stream(stream)->id;
    batch.rows = 1;
    batch.first_index = next_index_++;
    batch.t = &t;
    batch.columns = {{key.type, &key.bits, nullptr}, {Type::kInt, &v, nullptr}};
    engine_.push(batch);
  }

 private:
  void note(const Output& out) {
    last_t_ = out.t;
    if (out.kind != OutputKind::kLimit) {
      ++rows_[out.rule];
      return;
    }
    Said& said = limits_[{out.rule, out.bound}];
    ++said.lines;
    said.dropped += out.dropped;
    said.max = out.max;
  }

  std::map<std::pair<RuleId, Bound>, Said> limits_;
  std::map<RuleId, uint64_t> rows_;
  int64_t last_t_ = 0;
  uint64_t next_index_ = 0;
  Engine engine_;
};

TEST(Bounds, AMillionRandomKeysStayWithinMaxKeys) {
  CountingEngine counting(
      "CREATE STREAM a (k INT, v INT);\n"
      "CREATE RULE hot OPTIONS(max_keys=1000) AS SELECT k, v FROM a PARTITION BY k ALERT ON v > 995 DO log();\n"
      "CREATE RULE changed OPTIONS(max_keys=1000) AS SELECT k, v > 500 AS high FROM a PARTITION BY k EMIT CHANGES DO "
      "log();\n"
      "CREATE RULE twice OPTIONS(max_keys=1000) AS SELECT x.v AS v FROM PATTERN (EVERY x=a -> y=a) WITHIN 10s "
      "PARTITION BY k "
      "DO log();\n"
      "CREATE RULE mean OPTIONS(max_keys=1000) AS SELECT k, avg(v) AS v FROM a GROUP BY k WINDOW TUMBLE 5s DO "
      "log();\n");
  Engine& engine = counting.engine();
  constexpr uint64_t kSeed = 20'261;
  constexpr size_t kEvents = 1'000'000;
  constexpr size_t kRows = 1000;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 bits(kSeed);
  std::vector<int64_t> t(kRows);
  std::vector<int64_t> k(kRows);
  std::vector<int64_t> v(kRows);
  Batch batch;
  batch.stream = engine.catalog().find_stream("a")->id;
  batch.rows = kRows;
  batch.t = t.data();
  batch.columns = {{Type::kInt, k.data(), nullptr}, {Type::kInt, v.data(), nullptr}};
  for (size_t first = 0; first < kEvents; first += kRows) {
    for (size_t i = 0; i < kRows; ++i) {
      t[i] = static_cast<int64_t>(first + i);  // a millisecond each
      k[i] = static_cast<int64_t>(bits() >> 1);
      v[i] = static_cast<int64_t>(bits() % 1000);
    }
    batch.first_index = first;
    engine.push(batch);
    for (const char* rule : {"hot", "changed", "twice", "mean"}) {
      ASSERT_LT(engine.state_bytes(*engine.find_rule(rule)), 1'500'000u) << rule << " after " << first;
    }
  }
  // Quiet keys give way; those whose alert fires, whose window is open or whose run waits do not.
  constexpr uint64_t kMinutes = kEvents / 60'000 + 1;
  for (const char* rule : {"hot", "changed", "twice", "mean"}) {
    const RuleCounters& counters = counting.counters(rule);
    const Said& said = counting.said(rule, Bound::kMaxKeys);
    const uint64_t dropped = counters.keys_rejected + counters.keys_forgotten;
    EXPECT_EQ(counters.events, kEvents) << rule;
    EXPECT_GT(dropped, kEvents / 10) << rule;
    EXPECT_LE(said.lines, kMinutes) << rule;
    EXPECT_GE(said.lines, 10u) << rule;
    EXPECT_LE(said.dropped, dropped) << rule;
    EXPECT_GE(said.dropped, dropped - dropped / 8) << rule;  // all but what came since the last line
    EXPECT_EQ(said.max, 1000u) << rule;
  }
  EXPECT_EQ(counting.rows("hot"), 1000u);  // each fires once, and none of a random million comes again
  EXPECT_EQ(counting.counters("changed").keys_rejected, 0u);
  EXPECT_EQ(counting.counters("changed").keys_forgotten, kEvents - 1000);
  EXPECT_EQ(counting.rows("changed"), kEvents);
  EXPECT_EQ(counting.counters("hot").keys_forgotten, 0u);
}

TEST(Bounds, AJumpOfTimeDoesNotRemindForever) {
  CountingEngine counting(
      "CREATE STREAM temp (dev TEXT, v INT);\n"
      "CREATE RULE r AS SELECT v FROM temp PARTITION BY dev ALERT ON v > 1 REMIND 1ms DO log();");
  counting.push("temp", 0, Value::of_text(counting.engine().symbols().intern("a")), 9);
  constexpr int64_t kYear = 365LL * 86'400'000;
  counting.engine().advance_to(kYear);
  EXPECT_LE(counting.rows("r"), static_cast<uint64_t>(kTicksMax) + 3);
  EXPECT_EQ(counting.last_t(), kYear);
  EXPECT_EQ(counting.counters("r").ticks_skipped + counting.rows("r"), static_cast<uint64_t>(kYear) + 1);
  EXPECT_EQ(counting.said("r", Bound::kTicks).lines, 1u);
  EXPECT_EQ(counting.said("r", Bound::kTicks).dropped, counting.counters("r").ticks_skipped);
  EXPECT_EQ(counting.said("r", Bound::kTicks).max, static_cast<uint64_t>(kTicksMax));
  counting.engine().advance_to(kYear + 1);
  EXPECT_EQ(counting.last_t(), kYear + 1);  // and goes on as before
}

TEST(Bounds, AJumpOfTimeShowsTheLastWindowsEarlyAndTheLastSilencesOnly) {
  for (const char* time : {"event", "arrival"}) {
    CountingEngine counting(std::string("CREATE STREAM temp (dev TEXT, v INT);\n") +
                            "CREATE RULE shown AS SELECT count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 400d EMIT "
                            "EARLY EVERY 1ms DO log();\n"
                            "CREATE RULE quiet OPTIONS(time=" +
                            time + ") AS SELECT dev FROM PATTERN (EVERY NOT temp FOR 2ms) PARTITION BY dev DO log();");
    counting.push("temp", 0, Value::of_text(counting.engine().symbols().intern("a")), 9);
    constexpr int64_t kMonth = 30LL * 86'400'000;
    counting.engine().advance_to(kMonth);
    for (const char* rule : {"shown", "quiet"}) {
      EXPECT_GE(counting.rows(rule), static_cast<uint64_t>(kTicksMax)) << rule << " " << time;
      EXPECT_LE(counting.rows(rule), static_cast<uint64_t>(kTicksMax) + 3) << rule << " " << time;
      EXPECT_EQ(counting.said(rule, Bound::kTicks).dropped, counting.counters(rule).ticks_skipped) << rule;
    }
    EXPECT_EQ(counting.counters("quiet").ticks_skipped + counting.rows("quiet"), static_cast<uint64_t>(kMonth) / 2);
    EXPECT_EQ(counting.last_t(), kMonth);
    counting.engine().advance_to(kMonth + 2);
    EXPECT_EQ(counting.counters("quiet").ticks_skipped + counting.rows("quiet"), static_cast<uint64_t>(kMonth) / 2 + 1);
  }
}

TEST(Bounds, TextsWithoutRoomAreSaidByTheRulesThatReadTheirStream) {
  EngineSettings settings;
  settings.text_bytes_max = 10'000;
  CountingEngine counting(
      "CREATE STREAM a (dev TEXT, v INT);\nCREATE STREAM b (dev TEXT, v INT);\n"
      "CREATE RULE of_a AS SELECT dev FROM a DO log();\nCREATE RULE of_b AS SELECT dev FROM b DO log();",
      settings);
  Engine& engine = counting.engine();
  const StreamId a = engine.catalog().find_stream("a")->id;
  uint64_t refused = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    const auto text = engine.symbols().try_intern("device-" + std::to_string(i));
    if (text) {
      counting.push("a", i, Value::of_text(*text), i);
    } else {
      ++refused;
      engine.text_refused(a, i, static_cast<uint64_t>(i));
    }
  }
  EXPECT_GT(refused, 500u);
  EXPECT_EQ(engine.counters().texts_refused, refused);
  EXPECT_EQ(counting.rows("of_a"), 1000 - refused);
  EXPECT_EQ(counting.said("of_a", Bound::kTexts).lines, 1u);  // all within a minute
  EXPECT_EQ(counting.said("of_a", Bound::kTexts).max, 10'000u);
  EXPECT_EQ(counting.said("of_b", Bound::kTexts).lines, 0u);
  engine.text_refused(a, 61'000, 1000);
  EXPECT_EQ(counting.said("of_a", Bound::kTexts).dropped, refused + 1);
}

// Whether its events are taken one by one or many at once.
TEST(Bounds, DevicesWithoutATimeOfTheirOwnAreSaid) {
  for (const bool at_once : {false, true}) {
    EngineSettings settings;
    settings.devices_max = 4;  // three, and the shared time
    settings.at_once = at_once;
    CountingEngine counting(
        "CREATE STREAM a (dev TEXT, v INT);\n"
        "CREATE RULE all_of_it AS SELECT dev, v FROM a DO log();\n"
        "CREATE RULE late AS SELECT v FROM a PARTITION BY dev ALERT ON v > 1 FOR 1s DO log();",
        settings);
    Engine& engine = counting.engine();
    std::vector<Symbol> devices;
    std::vector<int64_t> t;
    std::vector<int64_t> v(10, 0);
    for (int64_t i = 0; i < 10; ++i) {
      devices.push_back(engine.symbols().intern("device-" + std::to_string(i % 5)));
      t.push_back(100 + (i % 5 == 3 ? 0 : i));  // the fourth is behind the fifth, with which it shares a time
    }
    Batch batch;
    batch.stream = engine.catalog().find_stream("a")->id;
    batch.rows = 10;
    batch.t = t.data();
    batch.columns = {{Type::kText, devices.data(), nullptr}, {Type::kInt, v.data(), nullptr}};
    engine.push(batch);
    EXPECT_EQ(engine.counters().timelines_rejected, 4u) << at_once;
    EXPECT_EQ(counting.counters("all_of_it").late_dropped, 1u) << at_once;
    EXPECT_EQ(counting.rows("all_of_it"), 9u) << at_once;
    for (const char* rule : {"all_of_it", "late"}) {
      EXPECT_EQ(counting.said(rule, Bound::kDevices).lines, 1u) << rule << " " << at_once;
      EXPECT_EQ(counting.said(rule, Bound::kDevices).max, 4u) << rule << " " << at_once;
    }
  }
}

// A rule with a watermark of its own.
std::string rule_with_lateness(const std::string& name, int seconds) {
  return "CREATE RULE " + name + " OPTIONS(lateness=" + std::to_string(seconds) +
         "s) AS SELECT dev, v FROM a DO log();\n";
}

TEST(Bounds, ARuleWithOneWatermarkTooManyIsRefusedWithItsPlaceAndThoseThatGoMakeRoom) {
  EngineSettings settings;
  settings.horizons_max = 3;  // the usual one, and two
  Engine engine(settings, [](const Output&) {});
  ASSERT_TRUE(engine.create("CREATE STREAM a (dev TEXT, v INT);\n" + rule_with_lateness("r1", 1)).empty());
  const std::string two_more = rule_with_lateness("r2", 2) + rule_with_lateness("r3", 3);
  auto errors = engine.create(two_more);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].at.line, 2u);
  EXPECT_NE(errors[0].text.find("rule r3: no other rule has this lateness, idle and max_delay, and 3"),
            std::string::npos)
      << errors[0].text;
  EXPECT_EQ(engine.rule_count(), 1u);  // nothing of the text was kept
  ASSERT_TRUE(engine.create(rule_with_lateness("r2", 2) + rule_with_lateness("like_r2", 2)).empty());
  EXPECT_EQ(engine.replace(rule_with_lateness("r2", 3)).size(), 1u);  // another one still needs what it had
  EXPECT_TRUE(engine.replace(rule_with_lateness("r1", 3)).empty());
  ASSERT_TRUE(engine.remove("r1"));
  EXPECT_TRUE(engine.create(rule_with_lateness("r4", 4)).empty());
}

TEST(Bounds, WatermarksThatNoRuleNeedsAnyMoreAreForgotten) {
  CountingEngine counting("CREATE STREAM a (dev TEXT, v INT);\n" + rule_with_lateness("r", 1));
  Engine& engine = counting.engine();
  for (int i = 0; i < 100; ++i) {
    counting.push("a", i, Value::of_text(engine.symbols().intern("device-" + std::to_string(i))), 1);
  }
  ASSERT_TRUE(engine.replace(rule_with_lateness("r", 2)).empty());
  const size_t saved = engine.snapshot().size();
  for (int i = 3; i < 100; ++i) {
    ASSERT_TRUE(engine.replace(rule_with_lateness("r", i)).empty()) << i;
  }
  EXPECT_EQ(engine.snapshot().size(), saved);
}

// What the allocator gave out, and is not given back.
size_t allocated() {
  const auto now = mallinfo2();  // a sanitizer's says 0
  return now.uordblks + now.hblkhd;
}

// Of this process: what it has in memory now.
size_t resident() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0;
  size_t resident_pages = 0;
  file >> pages >> resident_pages;
  return resident_pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Rules of every kind over a stream (key INT, v INT), so many of each.
std::string rules_of_each_kind(int of_each) {
  const std::vector<std::string> queries = {
      "SELECT k, v FROM {s} PARTITION BY k ALERT ON v > 500 FOR 10s CLEAR v < 100 FOR 5s REMIND 1m",
      "SELECT k, v FROM {s} PARTITION BY k EMIT CHANGES",
      "SELECT k, sum(v) AS s FROM {s} PARTITION BY k",
      "SELECT k, avg(v) AS m FROM {s} GROUP BY k WINDOW TUMBLE 1h",
      "SELECT k, max(v) AS m FROM {s} GROUP BY k WINDOW HOP 1h, 10m",
      "SELECT k, min(v) AS m FROM {s} GROUP BY k WINDOW SESSION 30m",
      "SELECT k, avg(v) AS m FROM {s} GROUP BY k WINDOW SLIDE 1h",
      "SELECT k, p(0.9, v) AS q FROM {s} GROUP BY k WINDOW TUMBLE 1h",
      "SELECT x.v AS v FROM PATTERN (EVERY x={s} -> y={s}[v > x.v]) WITHIN 1h PARTITION BY k",
      "SELECT x.v AS v FROM PATTERN (EVERY x={s}{2,5} -> y={s}[v > 900]) WITHIN 1h PARTITION BY k",
      "SELECT x.v AS v FROM PATTERN (EVERY x={s} -> NOT {s} FOR 10m) PARTITION BY k",
  };
  std::string rules = "CREATE STREAM flood (k INT, v INT);\nCREATE STREAM calm (k INT, v INT);\n";
  for (int i = 0; i < of_each; ++i) {
    for (size_t q = 0; q < queries.size(); ++q) {
      std::string query = queries[q];
      for (size_t at = 0; (at = query.find("{s}", at)) != std::string::npos;) {
        query.replace(at, 3, "flood");
      }
      rules += "CREATE RULE r" + std::to_string(i) + "x" + std::to_string(q) + " AS " + query + " DO log();\n";
    }
  }
  return rules;
}

// A hundred rules under a flood of keys, none of which hits a bound of its own.
TEST(Bounds, AFloodOnManyRulesStaysWithinTheMemoryOfAllAndLeavesRoomForTheOthers) {
  EngineSettings settings;
  settings.state_bytes_max = 24 << 20;
  const size_t before = allocated();
  CountingEngine counting(
      rules_of_each_kind(10) +
          "CREATE RULE few AS SELECT k, v FROM calm PARTITION BY k ALERT ON v > 5 CLEAR v < 3 DO log();\n",
      settings);
  Engine& engine = counting.engine();
  const RuleId few = *engine.find_rule("few");
  constexpr uint64_t kSeed = 47;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 bits(kSeed);
  uint64_t most = 0;
  for (int64_t t = 0; t < 4000; ++t) {
    counting.push("flood", t, Value::of_int(static_cast<int64_t>(bits() >> 1)), static_cast<int64_t>(bits() % 1000));
    most = std::max(most, t % 64 == 0 ? engine.state_bytes() : 0);
    ASSERT_LE(engine.state_bytes(few), 100'000u);
  }
  EXPECT_GE(most, settings.state_bytes_max / 8 * 7);  // it was hit
  EXPECT_LE(most, settings.state_bytes_max);
  EXPECT_LE(allocated() - before, settings.state_bytes_max + (4 << 20)) << "accounted: " << most;
  uint64_t refused = 0;
  for (RuleId rule = 0; rule < few; ++rule) {
    refused += engine.counters(rule).state_refused;
    const Said& said = counting.said(engine.rule(rule).name, Bound::kStateBytes);
    const bool lost = engine.counters(rule).state_refused + engine.counters(rule).keys_forgotten > 0;
    EXPECT_EQ(said.lines, lost ? 1u : 0u) << engine.rule(rule).name;
    EXPECT_EQ(engine.counters(rule).keys_rejected + engine.counters(rule).state_dropped, 0u);
  }
  EXPECT_GT(refused, 100'000u);
  // A rule that holds little has room still.
  for (int64_t k = 0; k < 40; ++k) {
    counting.push("calm", 4000 + k, Value::of_int(k), 9);
  }
  EXPECT_EQ(counting.rows("few"), 40u);
  EXPECT_EQ(engine.counters(few).state_refused, 0u);
}

TEST(Bounds, IdleKeysGiveWayWhenThereIsNoRoomForMoreAndThereIsAgainWhenWindowsClose) {
  EngineSettings settings;
  settings.state_bytes_max = 400'000;
  CountingEngine counting(
      "CREATE STREAM a (k INT, v INT);\nCREATE STREAM b (k INT, v INT);\n"
      "CREATE RULE big AS SELECT k, count(*) AS n FROM a GROUP BY k WINDOW SLIDE 1m DO log();\n"
      "CREATE RULE hot AS SELECT k, v FROM b PARTITION BY k ALERT ON v > 5 CLEAR v < 3 DO log();\n",
      settings);
  Engine& engine = counting.engine();
  int64_t t = 0;
  for (; t < 500; ++t) {  // quiet ones
    counting.push("b", t, Value::of_int(t), 1);
  }
  for (; t < 8000; ++t) {  // one key with ever more rows
    counting.push("a", t, Value::of_int(1), 1);
  }
  const uint64_t refused = counting.counters("big").state_refused;
  EXPECT_GT(refused, 100u);
  EXPECT_EQ(counting.said("big", Bound::kStateBytes).max, settings.state_bytes_max);
  const size_t held = engine.state_bytes(*engine.find_rule("hot"));
  for (int64_t k = 0; k < 400; ++k) {
    counting.push("b", t, Value::of_int(1000 + k), 9);
  }
  EXPECT_EQ(counting.rows("hot"), 400u);  // each took a quiet one's place
  EXPECT_EQ(counting.counters("hot").state_refused, 0u);
  EXPECT_LE(engine.state_bytes(*engine.find_rule("hot")), std::max<size_t>(2 * held, 200'000));
  // A minute later the rows have left: there is room again.
  engine.advance_to(t + 70'000);
  for (int64_t i = 0; i < 100; ++i) {  // of a key that is there
    counting.push("b", t + 70'000, Value::of_int(1000), 9);
  }
  for (int64_t i = 0; i < 100; ++i) {
    counting.push("a", t + 70'001 + i, Value::of_int(1), 1);
  }
  EXPECT_EQ(counting.counters("big").state_refused, refused);
}

TEST(Bounds, RulesThatWouldLeaveNoRoomForTheirStateAreRefusedWithTheirPlace) {
  EngineSettings settings;
  settings.state_bytes_max = 100'000;
  Engine engine(settings, [](const Output&) {});
  std::string rules = "CREATE STREAM a (k INT, v INT);\n";
  for (int i = 0; i < 100; ++i) {
    rules += "CREATE RULE r" + std::to_string(i) + " AS SELECT v FROM a DO log();\n";
  }
  const auto errors = engine.create(rules);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_GT(errors[0].at.line, 5u);
  EXPECT_LT(errors[0].at.line, 30u);
  EXPECT_NE(errors[0].text.find("there is no room for rule r"), std::string::npos) << errors[0].text;
  EXPECT_EQ(engine.rule_count(), 0u);
  EXPECT_EQ(engine.catalog().find_stream("a"), nullptr);
}

constexpr size_t kManyRules = 10'000;

// Over a stream (k INT, v INT): alerts of each key.
std::string many_rules(size_t count = kManyRules) {
  std::string rules = "CREATE STREAM a (k INT, v INT);\n";
  for (size_t i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    rules += "CREATE RULE r" + n + " AS SELECT k, v FROM a WHERE v >= 0 PARTITION BY k ALERT ON v > " + n +
             " FOR 3 SAMPLES CLEAR v < " + n + " FOR 10s DO mqtt('alarms');\n";
  }
  return rules;
}

// By the allocator's count, by what is charged for them, and by what the process has in memory once free memory was
// given back: reading the rules takes about as much again for a moment, which the allocator keeps for what comes next.
TEST(Bounds, TenThousandIdleRulesTakeAtMostFourKilobytesEach) {
  constexpr size_t kRules = kManyRules;
  const std::string rules = many_rules();
  Engine engine({}, [](const Output&) {});
  malloc_trim(0);
  const size_t resident_before = resident();
  const size_t before = allocated();
  ASSERT_TRUE(engine.create(rules).empty());
  const size_t took = allocated() - before;
  EXPECT_LE(took, kRules * 4096);
  EXPECT_LE(engine.state_bytes(), kRules * 4096);
  EXPECT_GE(engine.state_bytes(), took / 10 * 9) << "they are charged less than they take";
  if (took > 0) {  // not with a sanitizer, which keeps memory that was given back
    malloc_trim(0);
    const size_t grown = resident() - resident_before;
    std::printf("an idle rule takes %zu bytes, %zu of the process\n", took / kRules, grown / kRules);
    EXPECT_LE(grown, kRules * 4096);
  }
}

// Of all of them in the same line, as each of them gets the same keys: whatever the room is, that does not go beyond
// it.
TEST(Bounds, TablesOfManyRulesDoubleOnlyWhereThereIsRoomForAllOfThem) {
  constexpr size_t kRules = 200;
  const std::string rules = many_rules(kRules);
  for (uint64_t most = 1'500'000; most < 20'000'000; most += most / 7) {
    SCOPED_TRACE("of " + std::to_string(most) + " bytes");
    EngineSettings settings;
    settings.state_bytes_max = most;
    CountingEngine counting(rules, settings);
    Engine& engine = counting.engine();
    uint64_t greatest = 0;
    for (int64_t t = 0; t < 600; ++t) {
      counting.push("a", t, Value::of_int(t), kRules);
      greatest = std::max(greatest, engine.state_bytes());
    }
    EXPECT_LE(greatest, most);
    EXPECT_GE(greatest, most / 3) << "much of the room is for nobody";
    EXPECT_GT(engine.counters(0).state_refused, 0u) << "the bound was not hit";
  }
}

// With as many keys as come, each of which every rule wants to know.
TEST(Bounds, TheResidentMemoryOfTenThousandRulesUnderAFloodStaysWithinTheMemoryOfAll) {
  if (allocated() == 0) {
    GTEST_SKIP() << "a sanitizer keeps memory that was given back";
  }
  const EngineSettings settings;
  const std::string rules = many_rules();
  malloc_trim(0);
  const size_t before = resident();
  CountingEngine counting(rules, settings);
  Engine& engine = counting.engine();
  constexpr uint64_t kSeed = 10;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 bits(kSeed);
  constexpr int64_t kEvents = 100;  // each is an alert that begins, for each rule
  for (int64_t t = 0; t < kEvents; ++t) {
    counting.push("a", t, Value::of_int(static_cast<int64_t>(bits() >> 1)), kManyRules);
  }
  uint64_t lost = 0;
  for (RuleId rule = 0; rule < kManyRules; ++rule) {
    lost += engine.counters(rule).state_refused;
  }
  EXPECT_GT(lost, kManyRules) << "the bound was not hit";
  EXPECT_LE(engine.state_bytes(), settings.state_bytes_max);
  const size_t grown = resident() - before;
  std::printf("%.1f MB charged of %.1f MB, %.1f MB resident\n", static_cast<double>(engine.state_bytes()) / 1e6,
              static_cast<double>(settings.state_bytes_max) / 1e6, static_cast<double>(grown) / 1e6);
  EXPECT_LE(grown, settings.state_bytes_max);
}

}  // namespace
}  // namespace lambda::cep
