// Snapshots that are restored into rules and bounds that changed meanwhile: what fits goes on, what does not goes by
// the bound's policy, and each loss is said.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "cep/test_engine.h"

namespace lambda::cep {
namespace {

using Said = std::vector<std::string>;

const std::string kStreams = "CREATE STREAM temp (dev TEXT, v INT); CREATE STREAM beat (dev TEXT, v INT);\n";

std::string hot(int max_keys) {
  return "CREATE RULE hot OPTIONS(max_keys=" + std::to_string(max_keys) +
         ") AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 REMIND 1s DO log();\n";
}

TEST(Restore, ALoweredMaxKeysKeepsWhatFitsAndSaysWhatItLost) {
  TestEngine engine(kStreams + hot(100) + "CREATE RULE all AS SELECT dev, sum(v) AS s FROM temp PARTITION BY dev;");
  for (const char* dev : {"a", "quiet", "b", "c", "still"}) {
    engine.push("temp", 1, {engine.text(dev), Value::of_int(dev[1] == 0 ? 9 : 1)});
  }
  ASSERT_EQ(engine.said.size(), 3u);
  engine.said.clear();
  engine.restart(kStreams + hot(2) + "CREATE RULE all AS SELECT dev, sum(v) AS s FROM temp PARTITION BY dev;");
  // The quiet ones are no loss; of those that fire the last one goes, and its alert does not fire for ever.
  EXPECT_EQ(engine.said, (Said{"hot 1 limit max_keys 1", "hot 1 resolved c 9"}));
  EXPECT_EQ(engine.engine().counters(0).keys_forgotten, 1u);
  EXPECT_EQ(engine.engine().counters().rules_begun_anew, 0u);
  engine.said.clear();
  engine.advance_to(1001);
  EXPECT_EQ(engine.said, (Said{"hot 1001 firing a 9", "hot 1001 firing b 9"}));
  engine.said.clear();
  engine.push("temp", 1002, {engine.text("a"), Value::of_int(1)});
  engine.push("temp", 1003, {engine.text("c"), Value::of_int(8)});  // there is room again
  EXPECT_EQ(engine.said, (Said{"hot 1002 resolved a 1", "hot 1003 firing c 8"}));
}

TEST(Restore, IdleKeysGoFirstAndOfThoseTheOneThatHasBeenSoLongest) {
  const auto rules = [](int max_keys) {
    return kStreams + "CREATE RULE changed OPTIONS(max_keys=" + std::to_string(max_keys) +
           ") AS SELECT dev, v FROM temp PARTITION BY dev EMIT CHANGES DO log();\n";
  };
  TestEngine engine(rules(10));
  for (const char* dev : {"a", "b", "c", "d"}) {
    engine.push("temp", 1, {engine.text(dev), Value::of_int(1)});
  }
  engine.said.clear();
  engine.restart(rules(2));
  EXPECT_EQ(engine.said, Said{"changed 1 limit max_keys 2"});
  engine.said.clear();
  for (const char* dev : {"d", "c"}) {  // still known, so nothing changed
    engine.push("temp", 2, {engine.text(dev), Value::of_int(1)});
  }
  EXPECT_EQ(engine.said, Said{});
  engine.push("temp", 3, {engine.text("a"), Value::of_int(1)});
  EXPECT_EQ(engine.said, Said{"changed 3 row a 1"});
  EXPECT_EQ(engine.engine().counters(0).keys_forgotten, 3u);
}

// Machines of every kind, with state in each; the same with other bounds says the same of the keys that are left.
std::string busy(int max_keys) {
  const auto rule = [max_keys](const std::string& name, const std::string& query) {
    return "CREATE RULE " + name + " OPTIONS(max_keys=" + std::to_string(max_keys) + ") AS " + query + " DO log();\n";
  };
  return kStreams +
         rule("burning",
              "SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 3 FOR 20ms CLEAR v < 3 FOR 10ms REMIND "
              "40ms") +
         rule("minute", "SELECT dev, sum(v) AS s FROM temp GROUP BY dev WINDOW TUMBLE 50ms") +
         rule("hops", "SELECT dev, max(v) AS m FROM temp GROUP BY dev WINDOW HOP 50ms, 20ms") +
         rule("visits", "SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW SESSION 15ms") +
         rule("sliding", "SELECT dev, sum(v) AS m FROM temp PARTITION BY dev WINDOW SLIDE 30ms") +
         rule("total", "SELECT dev, sum(v) AS s FROM temp PARTITION BY dev") +
         rule("top", "SELECT dev, sum(v) AS s FROM temp GROUP BY dev WINDOW TUMBLE 40ms ORDER BY s DESC LIMIT 9") +
         rule("chain",
              "SELECT a.dev AS dev, a.v AS v FROM PATTERN (EVERY a = temp[v > 2] -> b = beat) WITHIN 60ms "
              "PARTITION BY dev") +
         rule("tree",
              "SELECT a.dev AS dev, count(a) AS n FROM PATTERN (EVERY a = temp{2,4} -> b = beat) WITHIN 60ms "
              "PARTITION BY dev") +
         rule("silent",
              "SELECT a.dev AS dev, a.v AS v FROM PATTERN (EVERY a = temp -> NOT temp FOR 30ms) PARTITION BY "
              "dev");
}

TEST(Restore, TheKeysThatStayGoOnAsIfNothingHadHappened) {
  size_t outputs = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    std::mt19937_64 dice(seed);
    TestEngine left_alone(busy(100));
    TestEngine lowered(busy(100));
    int64_t t = 0;
    const auto both = [&](const std::string& stream, const std::string& dev, bool high = false) {
      t += static_cast<int64_t>(dice() % 8);
      const auto v = high ? 9 : static_cast<int64_t>(dice() % 10);
      for (TestEngine* engine : {&left_alone, &lowered}) {
        engine->push(stream, t, {engine->text(dev), Value::of_int(v)});
      }
    };
    const std::vector<std::string> stay = {"x", "y"};
    for (const char* dev : {"x", "y"}) {
      both("temp", dev);
    }
    // Others come and go; they are silent long enough to be idle for rules where that is possible.
    for (int i = 0; i < 20; ++i) {
      both(dice() % 3 == 0 ? "beat" : "temp", "z" + std::to_string(dice() % 6));
    }
    for (int i = 0; i < 20; ++i) {
      both(dice() % 4 == 0 ? "beat" : "temp", stay[dice() % 2]);
    }
    for (const char* dev : {"x", "y"}) {  // in each rule both hold something now, and have the lowest numbers
      both("temp", dev, true);
    }
    lowered.restart(busy(2));
    left_alone.said.clear();
    lowered.said.clear();
    for (int i = 0; i < 40; ++i) {
      both(dice() % 4 == 0 ? "beat" : "temp", stay[dice() % 2]);
      if (i == 20) {
        lowered.restart();
      }
    }
    const auto of_others = [](const std::string& line) { return line.find(" z") != std::string::npos; };
    std::erase_if(left_alone.said, of_others);
    ASSERT_EQ(lowered.said, left_alone.said) << "seed " << seed;
    EXPECT_EQ(lowered.engine().counters().rules_begun_anew, 0u);
    outputs += lowered.said.size();
  }
  EXPECT_GT(outputs, 100u * 100);
}

TEST(Restore, ALoweredMaxRunsDropsRunsByTheRulesPolicy) {
  for (const char* skip : {"", " NO SKIP"}) {  // the machine for chains, and the general one
    const auto rules = [skip](int max_runs) {
      return kStreams + "CREATE RULE r OPTIONS(max_runs=" + std::to_string(max_runs) +
             ") AS SELECT a.v AS v FROM PATTERN (EVERY a = temp -> b = beat) WITHIN 1m" + skip +
             " PARTITION BY dev DO log();\n";
    };
    TestEngine engine(rules(10));
    for (int64_t v = 1; v <= 4; ++v) {
      engine.push("temp", v, {engine.text("a"), Value::of_int(v)});
    }
    engine.restart(rules(2));
    engine.push("beat", 9, {engine.text("a"), Value::of_int(0)});
    EXPECT_EQ(engine.said, (Said{"r 4 limit max_runs 1", "r 9 row 3", "r 9 row 4"})) << skip;
    EXPECT_EQ(engine.engine().counters(0).runs_dropped, 2u) << skip;
  }
}

// A timer that runs keeps its end; the next one is of the new length.
TEST(Restore, RemindAndClearGoOnOverARestartWithOtherDurations) {
  const auto rules = [](const std::string& remind, const std::string& clear) {
    return kStreams + "CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 CLEAR v < 3 FOR " +
           clear + " REMIND " + remind + " DO log();\n";
  };
  TestEngine engine(rules("10ms", "8ms"));
  engine.push("temp", 0, {engine.text("a"), Value::of_int(9)});
  engine.advance_to(12);
  engine.restart(rules("25ms", "8ms"));
  engine.advance_to(50);
  EXPECT_EQ(engine.said, (Said{"hot 0 firing a 9", "hot 10 firing a 9", "hot 20 firing a 9", "hot 45 firing a 9"}));
  engine.said.clear();
  engine.push("temp", 51, {engine.text("a"), Value::of_int(1)});
  engine.restart(rules("25ms", "3ms"));
  engine.advance_to(58);
  EXPECT_EQ(engine.said, Said{});
  engine.restart();
  engine.advance_to(100);
  EXPECT_EQ(engine.said, Said{"hot 59 resolved a 1"});
}

TEST(Restore, ARuleOfAnotherShapeLosesItsOwnStateOnlyAndSaysHowMuch) {
  const std::string sum =
      "CREATE RULE sum AS SELECT dev, sum(v) AS s FROM temp GROUP BY dev WINDOW TUMBLE 100ms DO "
      "log();\n";
  TestEngine engine(kStreams + hot(100) + sum);
  for (const char* dev : {"a", "b", "c"}) {
    engine.push("temp", 1, {engine.text(dev), Value::of_int(dev[0] == 'c' ? 1 : 9)});
  }
  engine.said.clear();
  engine.restart(kStreams +
                 "CREATE RULE fresh AS SELECT v FROM temp WHERE v > 100 DO log();\n"
                 "CREATE RULE hot AS SELECT dev, max(v) AS v FROM temp GROUP BY dev WINDOW TUMBLE 50ms DO log();\n" +
                 sum);
  EXPECT_EQ(engine.said, Said{"hot 1 limit shape 2"});  // two alerts fired; nothing was known of c
  EXPECT_EQ(engine.engine().counters().rules_begun_anew, 2u);
  engine.push("temp", 100, {engine.text("a"), Value::of_int(1)});
  EXPECT_EQ(engine.said, (Said{"hot 1 limit shape 2", "sum 100 row a 9"}));
}

TEST(Restore, FewerDevicesKeepTheTimeOfThoseThatAreKnown) {
  const std::string rules = kStreams + "CREATE RULE r AS SELECT dev, v FROM temp DO log();\n";
  EngineSettings many;
  std::vector<std::string> said;
  const auto note = [&](const Output& out) {
    said.push_back(std::to_string(out.t) + " " + output_kind_name(out.kind));
  };
  const auto push = [](Engine& engine, const char* name, int64_t t) {
    const Symbol device = engine.symbols().intern(name);
    const int64_t v = 1;
    Batch batch;
    batch.stream = engine.catalog().find_stream("temp")->id;
    batch.rows = 1;
    batch.t = &t;
    batch.columns = {{Type::kText, &device, nullptr}, {Type::kInt, &v, nullptr}};
    engine.push(batch);
  };
  Engine before(many, note);
  ASSERT_TRUE(before.create(rules).empty());
  push(before, "a", 10);
  push(before, "b", 20);
  push(before, "c", 30);
  EngineSettings few;
  few.devices_max = 2;
  Engine after(few, note);
  ASSERT_TRUE(after.create(rules).empty());
  ASSERT_TRUE(after.restore(before.snapshot()));
  said.clear();
  push(after, "a", 9);  // late: its own time is known
  push(after, "a", 11);
  push(after, "d", 5);  // a stranger shares the time of those without a device
  EXPECT_EQ(said, (Said{"11 row", "5 limit", "5 row"}));
  EXPECT_EQ(after.counters().timelines_rejected, 1u);
}

}  // namespace
}  // namespace lambda::cep
