// What an agent answers is what its memory holds, whatever the connection does meanwhile. What the questions mean, and
// hostile ones: sdk/test/question_test.cpp.
#include "agent/live/answers.h"

#include <gtest/gtest.h>

#include <map>

#include "agent/memory/memory.h"
#include "agent/spool/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::agent {
namespace {

using test::World;

struct AnswersTest : ::testing::Test {
  AnswersTest() {
    table = std::make_shared<SeriesTable>();
    memory.set_table(table);
    answers.set_table(table);
  }

  SeriesRef series(const std::string& name, const std::string& part) {
    SeriesSpec spec;
    spec.name = name;
    spec.labels = {{"part", part}};
    spec.type = ValueType::kI64;
    const SeriesRef ref = *table->find_or_add(spec);
    memory.add_series(*table, ref);
    return ref;
  }
  void make(SeriesRef ref, int count) {
    for (int i = 0; i < count; ++i) {
      const uint64_t ordinal = table->at(ref).next_ordinal++;
      const Point point{kFirst + static_cast<int64_t>(ordinal) * 1000, ordinal * ordinal};
      ASSERT_TRUE(memory.append(ref, ordinal, point, 0));
      made[ref].push_back(point);
    }
  }
  void ask(v1::Asked what, const std::string& name = "") {
    v1::Down down;
    v1::Question& question = *down.mutable_question();
    question.set_version(1);
    question.set_id(++last_id);
    question.set_what(what);
    question.set_from_ms(kFirst);
    question.set_to_ms(kFirst + 10'000'000);
    question.set_wait_ms(5000);
    question.set_name(name);
    const std::string bytes = down.SerializeAsString();
    EXPECT_TRUE(answers.incoming({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  }
  Status take(std::span<const uint8_t> message) {
    if (refuses) return fail(ErrorCode::kFull, "full");
    EXPECT_LE(message.size(), kAnswerBytesMax);
    v1::Up up;
    EXPECT_TRUE(up.ParseFromArray(message.data(), static_cast<int>(message.size())) && up.has_answer());
    pieces.push_back(up.answer());
    return {};
  }
  bool ended() const { return !pieces.empty() && pieces.back().last(); }
  // What all pieces hold, by ref.
  std::map<SeriesRef, std::vector<Point>> points() const {
    std::map<SeriesRef, std::vector<Point>> all;
    std::vector<Point> block(kBlockPointsMax);
    for (const v1::Answer& piece : pieces) {
      for (const std::string& bytes : piece.blocks()) {
        BlockInfo info;
        EXPECT_TRUE(
            decode_block({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, piece.boot(), &info, block)
                .ok());
        all[info.ref].insert(all[info.ref].end(), block.begin(), block.begin() + info.count);
      }
    }
    return all;
  }

  static constexpr int64_t kFirst = 1'700'000'000'000;
  World world{5};
  Memory memory{MemoryOptions{}, 77};
  std::shared_ptr<SeriesTable> table;
  bool refuses = false;
  uint64_t outgoing = 0;
  std::vector<v1::Answer> pieces;
  uint64_t last_id = 0;
  std::map<SeriesRef, std::vector<Point>> made;
  Answers answers{
      world.env, memory.store(),
      AnswersPorts{[this](std::span<const uint8_t> message) { return take(message); }, [this] { return outgoing; }}};
};

TEST_F(AnswersTest, AllThatIsInMemoryIsAnsweredInPieces) {
  for (int i = 0; i < 300; ++i) make(series("strokes", std::to_string(i)), 1500);
  ask(v1::RANGE);
  world.loop.run_for(1000);
  ASSERT_TRUE(ended());
  EXPECT_EQ(pieces.back().error(), v1::ANSWERED);
  EXPECT_GT(pieces.size(), 1u);
  EXPECT_EQ(points(), made);
  EXPECT_EQ(answers.counters().answered, 1u);
}

TEST_F(AnswersTest, OneMetricIsToldByItsNameAndLabels) {
  make(series("pressure", "left"), 10);
  const SeriesRef ref = series("strokes", "right");
  make(ref, 10);
  ask(v1::SUMMARY, "strokes");
  world.loop.run_for(1000);
  ASSERT_TRUE(ended());
  ASSERT_EQ(pieces.size(), 1u);
  ASSERT_EQ(pieces[0].declarations_size(), 1);
  EXPECT_EQ(pieces[0].declarations(0).name(), "strokes");
  ASSERT_EQ(pieces[0].declarations(0).labels_size(), 1);
  EXPECT_EQ(pieces[0].declarations(0).labels(0).value(), "right");
  ASSERT_EQ(pieces[0].summaries_size(), 1);
  EXPECT_EQ(pieces[0].summaries(0).count(), 10u);
  EXPECT_EQ(pieces[0].summaries(0).sum(), 285.0);  // 0 + 1 + 4 ... + 81
}

TEST_F(AnswersTest, WhatTheConnectionDoesNotTakeIsOfferedAgain) {
  for (int i = 0; i < 100; ++i) make(series("strokes", std::to_string(i)), 1000);
  refuses = true;
  ask(v1::RANGE);
  world.loop.run_for(500);
  EXPECT_TRUE(pieces.empty());
  refuses = false;
  world.loop.run_for(1000);
  EXPECT_TRUE(ended());
  EXPECT_EQ(points(), made);
}

TEST_F(AnswersTest, ParcelsOnTheirWayGoFirst) {
  make(series("strokes", "left"), 10);
  outgoing = Answers::kOutgoingBytesMax;
  ask(v1::RANGE);
  world.loop.run_for(1000);
  EXPECT_TRUE(pieces.empty());
  outgoing = 0;
  world.loop.run_for(1000);
  EXPECT_TRUE(ended());
}

TEST_F(AnswersTest, AnAnswerThatNobodyHearsEnds) {
  for (int i = 0; i < 100; ++i) make(series("strokes", std::to_string(i)), 1000);
  refuses = true;
  ask(v1::RANGE);
  world.loop.run_for(100);
  answers.disconnected();
  refuses = false;
  world.loop.run_for(10'000);
  EXPECT_TRUE(pieces.empty());
  EXPECT_EQ(answers.counters().expired, 1u);
  ask(v1::RANGE);
  world.loop.run_for(1000);
  EXPECT_TRUE(ended());
  EXPECT_EQ(points(), made);
}

TEST_F(AnswersTest, OtherMessagesAreLeftToTheUplink) {
  v1::Down down;
  down.mutable_ack()->set_boot(77);
  const std::string bytes = down.SerializeAsString();
  EXPECT_FALSE(answers.incoming({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
}

TEST_F(AnswersTest, BlocksOfAnEarlierBootKeepTheirNames) {
  const SeriesRef ref = series("strokes", "left");
  make(ref, 10);
  table = std::make_shared<SeriesTable>(table->next_boot());
  memory.set_table(table);
  answers.set_table(table);
  ASSERT_TRUE(memory.begin_boot(78));
  make(ref, 10);
  ask(v1::RANGE);
  world.loop.run_for(1000);
  ASSERT_TRUE(ended());
  EXPECT_EQ(points(), made);
}

}  // namespace
}  // namespace lambda::agent
