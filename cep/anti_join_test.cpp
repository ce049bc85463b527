// Rows that come to the table of an ANTI JOIN, and go from it, while the rule is at work (40).
#include <gtest/gtest.h>

#include <string>

#include "cep/test_engine.h"

namespace lambda::cep {
namespace {

using Said = std::vector<std::string>;

const std::string kRules =
    "CREATE STREAM hb (dev TEXT, v INT); CREATE TABLE devices (dev TEXT KEY);\n"
    "CREATE RULE silent AS SELECT d.dev AS dev FROM TABLE devices d ANTI JOIN hb ON dev WITHIN 10ms ALERT REMIND 1h DO "
    "log();\n";

void list(TestEngine& engine, const std::vector<std::string>& devices) {
  std::vector<std::vector<Value>> rows;
  for (const std::string& dev : devices) {
    rows.push_back({engine.text(dev)});
  }
  ASSERT_EQ(engine.engine().set_table(engine.engine().catalog().find_table("devices")->id, rows), 0u);
}

void beat(TestEngine& engine, const std::string& dev, int64_t t) {
  engine.push("hb", t, {engine.text(dev), Value::of_int(0)});
}

TEST(AntiJoin, ARowThatComesLaterIsWaitedForFromThen) {
  TestEngine engine(kRules);
  list(engine, {"a"});
  beat(engine, "a", 0);
  beat(engine, "b", 4);  // no row of the table
  beat(engine, "a", 5);
  list(engine, {"a", "b", "c"});
  beat(engine, "c", 9);
  engine.advance_to(14);
  EXPECT_EQ(engine.said, Said{});
  engine.advance_to(30);
  EXPECT_EQ(engine.said, (Said{"silent 15 firing a", "silent 15 firing b", "silent 19 firing c"}));
  list(engine, {"a", "b", "c"});  // the same rows are no news
  engine.advance_to(60);
  EXPECT_EQ(engine.said.size(), 3u);
}

TEST(AntiJoin, ARowThatGoesIsSilentNoMoreAndBeginsAnewWhenItComesBack) {
  TestEngine engine(kRules);
  list(engine, {"a", "b"});
  beat(engine, "a", 0);
  engine.advance_to(12);
  ASSERT_EQ(engine.said, (Said{"silent 10 firing a", "silent 10 firing b"}));
  engine.said.clear();
  list(engine, {"b"});
  EXPECT_EQ(engine.said, Said{"silent 12 resolved a"});
  engine.advance_to(50);
  beat(engine, "b", 51);
  EXPECT_EQ(engine.said, (Said{"silent 12 resolved a", "silent 51 resolved b"}));
  engine.said.clear();
  list(engine, {"a", "b"});
  engine.advance_to(70);
  EXPECT_EQ(engine.said, (Said{"silent 61 firing a", "silent 61 firing b"}));
}

TEST(AntiJoin, RowsThatCameAndWentWhileTheEngineWasDownAreNoticed) {
  for (const bool table_first : {true, false}) {
    TestEngine before(kRules);
    list(before, {"a", "b"});
    beat(before, "a", 0);
    before.advance_to(5);
    beat(before, "b", 6);
    const std::string state = before.engine().snapshot();
    TestEngine after(kRules);
    if (table_first) {
      list(after, {"b", "c"});
    }
    ASSERT_TRUE(after.engine().restore(state));
    if (!table_first) {
      list(after, {"b", "c"});
    }
    after.advance_to(100);
    EXPECT_EQ(after.said, (Said{"silent 16 firing b", "silent 16 firing c"})) << table_first;
  }
}

TEST(AntiJoin, KeysOfRowsThatAreGoneMakeRoom) {
  TestEngine engine(
      "CREATE STREAM hb (dev TEXT, v INT); CREATE TABLE devices (dev TEXT KEY);\n"
      "CREATE RULE silent OPTIONS(max_keys=2) AS SELECT d.dev AS dev FROM TABLE devices d ANTI JOIN hb ON dev WITHIN "
      "10ms DO log();\n");
  list(engine, {"a", "b"});
  beat(engine, "a", 0);
  for (const char* next : {"c", "d", "e"}) {
    list(engine, {"a", next});
  }
  engine.advance_to(20);
  EXPECT_EQ(engine.said, (Said{"silent 10 row a", "silent 10 row e"}));
  EXPECT_EQ(engine.engine().counters(0).keys_rejected, 0u);
}

}  // namespace
}  // namespace lambda::cep
