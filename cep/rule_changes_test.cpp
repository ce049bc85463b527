// Rules that are replaced and removed while events go on.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "cep/sharded_engine.h"
#include "cep/test_engine.h"

namespace lambda::cep {
namespace {

using Said = std::vector<std::string>;

const std::string kStream = "CREATE STREAM temp (dev TEXT, v INT); CREATE STREAM beat (dev TEXT, v INT);\n";

std::string hot(const std::string& on, const std::string& clear, const std::string& action = "log()") {
  return "CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > " + on + " CLEAR v < " + clear +
         " DO " + action + ";\n";
}

// Machines of every kind, with state in each.
std::string busy(const std::string& action) {
  const std::string rest = " DO " + action + ";\n";
  return "CREATE RULE burning AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 FOR 20ms CLEAR v < 3 FOR 10ms "
         "REMIND 40ms" +
         rest + "CREATE RULE counted AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 4 FOR 3 SAMPLES" + rest +
         "CREATE RULE minute AS SELECT dev, sum(v) AS s, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 50ms" +
         rest + "CREATE RULE hops AS SELECT dev, max(v) AS m FROM temp GROUP BY dev WINDOW HOP 50ms, 20ms" + rest +
         "CREATE RULE visits AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW SESSION 15ms" + rest +
         "CREATE RULE sliding AS SELECT dev, avg(v) AS m FROM temp PARTITION BY dev WINDOW SLIDE 30ms" + rest +
         "CREATE RULE total AS SELECT dev, sum(v) AS s FROM temp PARTITION BY dev" + rest +
         "CREATE RULE site AS SELECT count(*) AS n FROM temp WINDOW TUMBLE 40ms" + rest +
         "CREATE RULE chain AS SELECT a.dev AS dev, a.v AS v FROM PATTERN (EVERY a = temp[v > 2] -> b = beat) WITHIN "
         "60ms PARTITION BY dev" +
         rest +
         "CREATE RULE tree AS SELECT a.dev AS dev, count(a) AS n FROM PATTERN (EVERY a = temp{2,4} -> b = beat) WITHIN "
         "60ms PARTITION BY dev" +
         rest +
         "CREATE RULE silent AS SELECT a.dev AS dev FROM PATTERN (EVERY a = beat -> NOT beat FOR 30ms) PARTITION BY "
         "dev" +
         rest + "CREATE RULE waits OPTIONS(lateness=10ms) AS SELECT dev, v FROM temp WHERE v > 6" + rest +
         "CREATE RULE changes AS SELECT dev, v FROM temp PARTITION BY dev EMIT CHANGES" + rest;
}

TEST(RuleChanges, UnderLoadLoseAndDoubleNothing) {
  size_t outputs = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 dice(seed);
    TestEngine left_alone(kStream + busy("log()"));
    TestEngine replaced(kStream + busy("log()"));
    int64_t t = 0;
    for (int i = 0; i < 150; ++i) {
      t += static_cast<int64_t>(dice() % 8) + (dice() % 30 == 0 ? 60 : 0);
      const int64_t late = static_cast<int64_t>(dice() % 6);
      const std::string dev = dice() % 2 == 0 ? "x" : "y";
      const std::string stream = dice() % 4 == 0 ? "beat" : "temp";
      const auto v = static_cast<int64_t>(dice() % 10);
      for (TestEngine* engine : {&left_alone, &replaced}) {
        engine->push(stream, t - late, {engine->text(dev), Value::of_int(v)});
      }
      if (dice() % 4 == 0) {
        const auto errors = replaced.engine().replace(busy("mqtt('" + std::to_string(i) + "')"));
        ASSERT_TRUE(errors.empty()) << format_diagnostic("rules", errors[0]);
      }
      ASSERT_EQ(replaced.said, left_alone.said) << "seed " << seed << ", event " << i;
    }
    EXPECT_EQ(replaced.engine().counters().rules_begun_anew, 0u);
    outputs += left_alone.said.size();
  }
  EXPECT_GT(outputs, 60u * 100);
}

TEST(RuleChanges, AnAlertGoesOnUnderItsNewThresholds) {
  TestEngine engine(kStream + hot("90", "80"));
  engine.push("temp", 1, {engine.text("a"), Value::of_int(95)});
  ASSERT_TRUE(engine.engine().replace(hot("50", "40", "mqtt('x')")).empty());
  engine.push("temp", 2, {engine.text("a"), Value::of_int(70)});  // below the old CLEAR
  engine.push("temp", 3, {engine.text("b"), Value::of_int(60)});  // above the new ON
  engine.push("temp", 4, {engine.text("a"), Value::of_int(30)});
  EXPECT_EQ(engine.said, (Said{"hot 1 firing a 95", "hot 3 firing b 60", "hot 4 resolved a 30"}));
  EXPECT_EQ(engine.engine().rule(0).actions[0].name, "mqtt");
}

TEST(RuleChanges, ARuleOfAnotherShapeBeginsAnewAndTheOldAlertsAreResolved) {
  const std::string slow =
      "CREATE RULE r AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 REMIND 10ms DO log();";
  TestEngine engine(kStream + slow);
  engine.push("temp", 1, {engine.text("a"), Value::of_int(9)});
  ASSERT_TRUE(
      engine.engine()
          .replace("CREATE RULE r AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 100ms DO log();")
          .empty());
  engine.push("temp", 50, {engine.text("a"), Value::of_int(9)});  // no reminder
  engine.push("temp", 120, {engine.text("a"), Value::of_int(9)});
  EXPECT_EQ(engine.said, (Said{"r 1 firing a 9", "r 1 resolved a 9", "r 100 row a 1"}));
  EXPECT_EQ(engine.engine().counters().rules_begun_anew, 1u);
}

TEST(RuleChanges, ARemovedRuleResolvesItsAlertsAndLeavesNoTimer) {
  TestEngine engine(kStream + hot("5", "3") +
                    "CREATE RULE r AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 REMIND 10ms DO log();\n");
  engine.push("temp", 1, {engine.text("a"), Value::of_int(9)});
  ASSERT_TRUE(engine.engine().remove("r"));
  EXPECT_FALSE(engine.engine().has_rule(1));
  EXPECT_FALSE(engine.engine().find_rule("r").has_value());
  engine.advance_to(100);
  engine.push("temp", 101, {engine.text("a"), Value::of_int(1)});
  EXPECT_EQ(engine.said, (Said{"hot 1 firing a 9", "r 1 firing a 9", "r 1 resolved a 9", "hot 101 resolved a 1"}));
  EXPECT_EQ(engine.engine().remove("r").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(engine.engine().create("CREATE RULE r AS SELECT v FROM temp DO log();").empty());
  EXPECT_EQ(engine.engine().find_rule("r"), std::optional<RuleId>(2));
}

TEST(RuleChanges, WhatOtherRulesReadStays) {
  TestEngine engine(kStream +
                    "CREATE RULE source AS SELECT dev, v FROM temp WHERE v > 1;\n"
                    "CREATE RULE reader AS SELECT dev, v FROM source DO log();\n");
  const Status removed = engine.engine().remove("source");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().text, "rule reader reads source: remove it first");
  EXPECT_EQ(engine.engine().replace("CREATE RULE source AS SELECT dev FROM temp;").size(), 1u);
  ASSERT_TRUE(engine.engine().replace("CREATE RULE source AS SELECT dev, v FROM temp WHERE v > 3;").empty());
  engine.push("temp", 1, {engine.text("a"), Value::of_int(3)});
  engine.push("temp", 2, {engine.text("a"), Value::of_int(4)});
  ASSERT_TRUE(engine.engine().remove("reader"));
  ASSERT_TRUE(engine.engine().replace("CREATE RULE source AS SELECT v FROM temp DO log();").empty());
  engine.push("temp", 3, {engine.text("a"), Value::of_int(1)});
  EXPECT_EQ(engine.said, (Said{"reader 2 row a 4", "source 3 row 1"}));
}

TEST(RuleChanges, WrongOnesChangeNothing) {
  TestEngine engine(kStream + hot("5", "3") + "CREATE RULE later AS SELECT v FROM temp;\n");
  for (const char* wrong :
       {"CREATE RULE cold AS SELECT v FROM temp;", "CREATE STREAM temp (dev TEXT);",
        "CREATE RULE hot AS SELECT w FROM temp;", "CREATE RULE hot AS SELECT v FROM later;",
        "CREATE RULE hot AS SELECT v FROM temp; CREATE RULE hot AS SELECT v FROM temp;", "CREATE RULE hot",
        "CREATE RULE later AS SELECT dev FROM temp DO log(); CREATE RULE hot AS SELECT nothing FROM temp;"}) {
    EXPECT_EQ(engine.engine().replace(wrong).size(), 1u) << wrong;
  }
  engine.push("temp", 1, {engine.text("a"), Value::of_int(9)});
  EXPECT_EQ(engine.said, Said{"hot 1 firing a 9"});
  EXPECT_EQ(engine.engine().find_rule("later"), std::optional<RuleId>(1));
}

TEST(RuleChanges, ASnapshotIsRestoredForTheRulesThatAreStillThere) {
  const std::string gone =
      "CREATE RULE gone AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 5 REMIND 10ms DO log();\n";
  const std::string window =
      "CREATE RULE w OPTIONS(idle=1h) AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 100ms DO "
      "log();\n";
  TestEngine before(kStream + gone + hot("5", "3") + window);
  before.push("temp", 1, {before.text("a"), Value::of_int(9)});
  const std::string state = before.engine().snapshot();
  TestEngine after(kStream + window + "CREATE RULE fresh AS SELECT v FROM temp DO log();\n" + hot("5", "2"));
  ASSERT_TRUE(after.engine().restore(state));
  EXPECT_EQ(after.engine().counters().rules_begun_anew, 1u);
  after.push("temp", 50, {after.text("a"), Value::of_int(1)});
  after.push("temp", 100, {after.text("a"), Value::of_int(4)});
  EXPECT_EQ(after.said, (Said{"fresh 50 row 1", "hot 50 resolved a 1", "w 100 row a 2", "fresh 100 row 4"}));
}

// Rules over shards, changed while events go on; what they say, as "rule t field".
class TestShards {
 public:
  explicit TestShards(uint32_t shards)
      : engine_(
            {}, shards,
            [](auto tasks) {
              for (const auto& task : tasks) task();
            },
            [this](std::span<const Output> outputs) {
              for (const Output& out : outputs) {
                std::string line = engine_.rule(out.rule).name + " " + std::to_string(out.t);
                line += out.kind == OutputKind::kLimit ? " limit" : " " + std::to_string(out.fields[1].i);
                said.push_back(std::move(line));
              }
            }) {}
  void push(const std::string& dev, int64_t t, int64_t v) {
    const Symbol symbol = engine_.symbols().intern(dev);
    Batch batch;
    batch.stream = engine_.catalog().find_stream("temp")->id;
    batch.rows = 1;
    batch.first_index = next_index_++;
    batch.t = &t;
    batch.columns = {{Type::kText, &symbol, nullptr}, {Type::kInt, &v, nullptr}};
    engine_.push(batch);
  }
  ShardedEngine& engine() { return engine_; }
  Said said;

 private:
  uint64_t next_index_ = 0;
  ShardedEngine engine_;
};

TEST(RuleChanges, OverShardsARuleThatOthersReadStillSaysEachThingOnce) {
  Said one;
  for (const uint32_t shards : {1u, 2u, 4u}) {
    TestShards world(shards);
    const std::string high = "CREATE RULE high AS SELECT dev, v FROM temp WHERE v > 5 DO log();\n";
    ASSERT_TRUE(world.engine()
                    .create(kStream + high + "CREATE RULE higher AS SELECT dev, v FROM high WHERE v > 7 DO log();\n")
                    .empty());
    for (int i = 0; i < 8; ++i) world.push("d" + std::to_string(i), i, i + 2);
    const size_t before = world.said.size();
    ASSERT_TRUE(world.engine().replace("CREATE RULE high AS SELECT dev, v FROM temp WHERE v > 3 DO log();\n").empty());
    for (int i = 0; i < 8; ++i) world.push("d" + std::to_string(i), 10 + i, i + 2);
    EXPECT_EQ(world.said.size() - before, 6u + 2u) << shards << " shards";
    if (shards == 1) one = world.said;
    EXPECT_EQ(world.said, one) << shards << " shards";
  }
}

TEST(RuleChanges, OverShardsWhatARemovedRuleSaidOfItsBoundsIsForgotten) {
  TestShards world(2);
  ASSERT_TRUE(world.engine()
                  .create(kStream +
                          "CREATE RULE few OPTIONS(max_keys=1) AS SELECT dev, sum(v) AS s FROM temp PARTITION BY dev "
                          "DO log();\n")
                  .empty());
  world.push("a", 1, 1);
  world.push("b", 2, 1);
  ASSERT_EQ(world.said.back(), "few 2 limit");
  ASSERT_TRUE(world.engine().remove("few"));
  EXPECT_FALSE(world.engine().snapshot().empty());
}

}  // namespace
}  // namespace lambda::cep
