// What agents are told is wanted, and when.
#include "gateway/live/interest_table.h"

#include <gtest/gtest.h>

#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

struct Told {
  int64_t at_ms;
  uint64_t version;
  uint32_t lease_s;
  std::vector<std::string> selectors;
};

struct InterestTableTest : ::testing::Test {
  void make() {
    table = std::make_unique<InterestTable>(
        world.env, options, [this](uint64_t version, uint32_t lease_s, const std::vector<std::string>& selectors) {
          if (refuses) return Status(fail(ErrorCode::kFull, "full"));
          told.push_back({world.clock.mono_ms() - 1'000, version, lease_s, selectors});
          return Status();
        });
  }
  void pass(int64_t ms) {
    bool over = false;
    world.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step(true)) {
    }
  }
  TestWorld world;
  InterestOptions options;
  bool refuses = false;
  std::vector<Told> told;
  std::unique_ptr<InterestTable> table;
};

TEST_F(InterestTableTest, AConnectionIsGreetedAndWithoutQuestionsNothingFollows) {
  make();
  table->connected();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].lease_s, 0u);
  EXPECT_TRUE(told[0].selectors.empty());
  pass(600'000);
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(InterestTableTest, AQuestionIsToldAtOnceRenewedAtHalfTheLeaseAndEndsWhenNobodyAsksAgain) {
  make();
  table->connected();
  pass(5'000);
  table->want("up");
  pass(1);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].version, told[0].version + 1);
  EXPECT_EQ(told[1].lease_s, 30u);
  EXPECT_EQ(told[1].selectors, std::vector<std::string>{"up"});
  pass(120'000);
  // At 5, renewed at 20, 35, 50, 65, 80; over at 95.
  ASSERT_EQ(told.size(), 8u);
  for (size_t i = 2; i < 7; ++i) {
    EXPECT_EQ(told[i].at_ms - told[i - 1].at_ms, options.lease_ms / 2);
    EXPECT_EQ(told[i].version, told[1].version) << "a renewal is no change";
    EXPECT_EQ(told[i].selectors, told[1].selectors);
  }
  EXPECT_EQ(told[7].at_ms, 5'000 + options.keep_ms);
  EXPECT_EQ(told[7].lease_s, 0u);
  EXPECT_TRUE(told[7].selectors.empty());
  EXPECT_EQ(told[7].version, told[1].version + 1);
  EXPECT_EQ(table->counters().renewals, 6u) << "the greeting among them";
}

TEST_F(InterestTableTest, WhoAsksAgainKeepsItWithoutAChange) {
  make();
  table->connected();
  for (int i = 0; i < 100; ++i) {
    table->want("up");
    pass(10'000);
  }
  EXPECT_EQ(table->version(), 2u);
  EXPECT_EQ(table->selectors(), 1u);
}

TEST_F(InterestTableTest, ManyChangesShareAMessage) {
  make();
  table->connected();
  pass(1'000);
  told.clear();
  for (int i = 0; i < 50; ++i) {
    table->want("m" + std::to_string(i));
    pass(10);
  }
  pass(1'000);
  EXPECT_LE(told.size(), 5u);
  EXPECT_EQ(told.back().selectors.size(), 50u);
}

TEST_F(InterestTableTest, PastTheBoundTheQuestionAskedLeastRecentlyGivesWayAndWhatIsHeldNever) {
  options.selectors_max = 3;
  make();
  ASSERT_TRUE(table->hold("held").has_value());
  table->want("a");
  pass(10);
  table->want("b");
  pass(10);
  table->want("a");
  table->want("c");
  table->connected();
  EXPECT_EQ(told.back().selectors, (std::vector<std::string>{"a", "c", "held"}));
  EXPECT_EQ(table->counters().replaced, 1u);
  ASSERT_TRUE(table->hold("held-2").has_value());
  ASSERT_TRUE(table->hold("held-3").has_value());
  EXPECT_EQ(table->hold("held-4").error().code, ErrorCode::kFull);
  ASSERT_TRUE(table->hold("held").has_value()) << "a place is shared";
  table->want("d");
  EXPECT_EQ(table->counters().refused, 2u);
  EXPECT_EQ(table->selectors(), 3u);
}

TEST_F(InterestTableTest, WhatIsHeldStaysUntilItWasReleasedAsOften) {
  make();
  table->connected();
  ASSERT_TRUE(table->hold("up").has_value());
  ASSERT_TRUE(table->hold("up").has_value());
  pass(600'000);
  table->release("up");
  pass(600'000);
  EXPECT_EQ(told.back().selectors, std::vector<std::string>{"up"});
  table->release("up");
  pass(1'000);
  EXPECT_TRUE(told.back().selectors.empty());
}

TEST_F(InterestTableTest, AllSelectorsTogetherAreBoundedInBytes) {
  options.bytes_max = 3'000;
  make();
  ASSERT_TRUE(table->hold(std::string(1'000, 'h')).has_value());
  for (char c = 'a'; c < 'g'; ++c) {
    table->want(std::string(900, c));
    pass(10);
  }
  table->connected();
  EXPECT_EQ(told.back().selectors,
            (std::vector<std::string>{std::string(900, 'e'), std::string(900, 'f'), std::string(1'000, 'h')}));
  EXPECT_EQ(table->counters().replaced, 4u);
  pass(options.keep_ms);
  for (char c = 'a'; c < 'g'; ++c) table->want(std::string(900, c));
  EXPECT_EQ(table->selectors(), 3u) << "what expired takes no room";
}

TEST_F(InterestTableTest, ASelectorThatIsTooLongIsRefused) {
  make();
  const std::string text(options.selector_bytes_max + 1, 'a');
  table->want(text);
  EXPECT_EQ(table->hold(text).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(table->selectors(), 0u);
}

TEST_F(InterestTableTest, AfterTheConnectionWasLostAllIsToldAgainAndMeanwhileNothing) {
  make();
  table->connected();
  table->want("up");
  pass(1'000);
  table->disconnected();
  const size_t before = told.size();
  pass(40'000);
  EXPECT_EQ(told.size(), before);
  table->connected();
  ASSERT_EQ(told.size(), before + 1);
  EXPECT_EQ(told.back().selectors, std::vector<std::string>{"up"});
  EXPECT_EQ(told.back().version, told[before - 1].version);
}

TEST_F(InterestTableTest, WhatTheConnectionDoesNotTakeIsToldAMomentLater) {
  make();
  table->connected();
  pass(1'000);
  refuses = true;
  table->want("up");
  pass(5'000);
  refuses = false;
  pass(options.retry_ms + 10);
  EXPECT_EQ(told.back().selectors, std::vector<std::string>{"up"});
  EXPECT_GE(table->counters().publish_errors, 4u);
  EXPECT_LE(table->counters().publish_errors, 6u) << "no storm";
}

}  // namespace
}  // namespace lambda::gateway
