// The gateway's side of a question: what ends it, and what a device may not do to it.
#include "gateway/questions/questions.h"

#include <gtest/gtest.h>

#include <bit>
#include <cinttypes>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gateway/store/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string up(const v1::Answer& answer) {
  v1::Up message;
  *message.mutable_answer() = answer;
  return message.SerializeAsString();
}

class QuestionsTest : public testing::Test {
 protected:
  QuestionsTest() {
    options.site = "hall";
    QuestionsPort port;
    port.publish = [this](const std::string& topic, std::string_view message) -> Status {
      if (!published) return published;
      v1::Down down;
      EXPECT_TRUE(down.ParseFromArray(message.data(), static_cast<int>(message.size())) && down.has_question());
      asked.emplace_back(topic, down.question());
      return {};
    };
    questions = std::make_unique<Questions>(world.env, options, std::move(port));
  }

  void ask(const std::string& device = "press-7", Asked what = Asked::kRange) {
    questions->ask(device, {what, 0, INT64_MAX, "m1", {}},
                   [this](Result<DeviceAnswer> answer) { ended.push_back(std::move(answer)); });
  }
  // An answer to the question asked last.
  v1::Answer piece(uint32_t number, bool last) {
    v1::Answer answer;
    answer.set_version(1);
    answer.set_id(asked.back().second.id());
    answer.set_piece(number);
    answer.set_last(last);
    return answer;
  }
  static void declare(v1::Answer& answer, uint32_t ref = 1) {
    v1::Declaration* declaration = answer.add_declarations();
    declaration->set_ref(ref);
    declaration->set_name("m" + std::to_string(ref));
    declaration->set_kind(v1::GAUGE);
    declaration->set_type(v1::I64);
  }
  static std::string block(uint32_t ref, uint64_t first, uint32_t count, ValueType type = ValueType::kI64) {
    std::vector<uint8_t> space(block_bytes_max(count));
    BlockOptions block_options;
    block_options.ref = ref;
    block_options.first_ordinal = first;
    block_options.type = type;
    BlockWriter writer(space, block_options);
    for (uint32_t i = 0; i < count; ++i) {
      EXPECT_EQ(writer.append({1'000 + static_cast<int64_t>(first + i), first + i}), AppendResult::kOk);
    }
    const auto sealed = writer.seal();
    return {sealed.begin(), sealed.end()};
  }
  void hear(const v1::Answer& answer, const std::string& device = "press-7") {
    questions->message(device, bytes_of(up(answer)));
    world.loop.run();
  }
  void pass(int64_t ms) {
    bool over = false;
    world.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step()) {
    }
  }
  const Error& only_error() {
    static const Error none{ErrorCode::kInvalid, "(no end, or a good one)"};
    EXPECT_EQ(ended.size(), 1u);
    return ended.size() == 1 && !ended[0] ? ended[0].error() : none;
  }

  TestWorld world;
  QuestionsOptions options;
  Status published;
  std::unique_ptr<Questions> questions;
  std::vector<std::pair<std::string, v1::Question>> asked;
  std::vector<Result<DeviceAnswer>> ended;
};

TEST_F(QuestionsTest, PiecesMakeAnAnswer) {
  ask();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].first, "lambda/v1/hall/press-7/down");
  EXPECT_EQ(asked[0].second.name(), "m1");
  EXPECT_NE(asked[0].second.id(), 0u);
  EXPECT_EQ(asked[0].second.wait_ms(), 30'000u);
  v1::Answer one = piece(1, false);
  declare(one);
  one.set_boot(5);
  one.add_blocks(block(1, 0, 10));
  hear(one);
  hear(one);  // QoS 1 may bring it twice
  v1::Answer two = piece(2, true);
  two.set_boot(5);
  two.add_blocks(block(1, 10, 10));
  EXPECT_TRUE(ended.empty());
  hear(two);
  ASSERT_EQ(ended.size(), 1u);
  ASSERT_TRUE(ended[0].has_value()) << ended[0].error().text;
  EXPECT_EQ(ended[0]->series.at(1).samples.size(), 20u);
  EXPECT_EQ(ended[0]->series.at(1).samples[19].value, 19);
  EXPECT_EQ(questions->counters().repeated, 1u);
  EXPECT_EQ(questions->waiting(), 0u);
  hear(two);
  EXPECT_EQ(questions->counters().unasked, 1u);
}

TEST_F(QuestionsTest, ADeviceThatIsSilentOrEndlessIsGivenUp) {
  ask();
  pass(9'900);
  EXPECT_TRUE(ended.empty());
  pass(200);
  EXPECT_EQ(only_error().code, ErrorCode::kUnavailable);
  EXPECT_NE(only_error().text.find("press-7 does not answer"), std::string::npos);
  hear(piece(1, true));
  EXPECT_EQ(ended.size(), 1u) << "it ends once";
  ended.clear();
  ask();
  for (uint32_t number = 1; number <= 40; ++number) {
    hear(piece(number, false));
    pass(1'000);
  }
  EXPECT_NE(only_error().text.find("did not end its answer in time"), std::string::npos) << only_error().text;
  EXPECT_EQ(questions->counters().timed_out, 2u);
  EXPECT_EQ(questions->waiting(), 0u);
}

TEST_F(QuestionsTest, ABusyDeviceIsAskedAgainUntilItsTimeIsUp) {
  ask();
  v1::Answer busy = piece(1, true);
  busy.set_error(v1::BUSY);
  hear(busy);
  pass(400);
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_NE(asked[0].second.id(), asked[1].second.id());
  hear(piece(1, true));
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_TRUE(ended[0].has_value());
  ended.clear();
  ask();
  for (int i = 0; i < 200 && ended.empty(); ++i) {
    busy.set_id(asked.back().second.id());
    hear(busy);
    pass(400);
  }
  EXPECT_NE(only_error().text.find("somebody else's question"), std::string::npos) << only_error().text;
  EXPECT_EQ(questions->counters().busy, 1u);
}

TEST_F(QuestionsTest, OneQuestionAtATimeIsAskedOfADeviceAndOthersWaitInABoundedLine) {
  for (uint64_t i = 0; i < options.device_waiting_max + 1; ++i) ask();
  ask("press-8");
  world.loop.run();
  EXPECT_EQ(asked.size(), 2u) << "one of each device";
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_NE(only_error().text.find("enough questions"), std::string::npos);
  ended.clear();
  for (uint64_t i = 0; i < options.device_waiting_max; ++i) {
    for (auto at = asked.rbegin(); at != asked.rend(); ++at) {
      if (at->first != "lambda/v1/hall/press-7/down") continue;
      v1::Answer answer = piece(1, true);
      answer.set_id(at->second.id());
      hear(answer);
      break;
    }
  }
  EXPECT_EQ(ended.size(), options.device_waiting_max);
  EXPECT_EQ(questions->waiting(), 1u);
}

TEST_F(QuestionsTest, NothingIsHeardThatWasNotAskedOfThatDevice) {
  ask();
  hear(piece(1, true), "press-8");
  v1::Answer other = piece(1, true);
  other.set_id(other.id() + 1);
  hear(other);
  EXPECT_TRUE(ended.empty());
  EXPECT_EQ(questions->counters().unasked, 2u);
  hear(piece(1, true));
  EXPECT_EQ(ended.size(), 1u);
}

TEST_F(QuestionsTest, ABrokenAnswerIsAnErrorThatSaysWhat) {
  struct Case {
    const char* text;
    std::function<void(v1::Answer&)> bend;
  };
  const std::vector<Case> cases = {
      {"piece 1 is lost", [](v1::Answer& a) { a.set_piece(2); }},
      {"not declared", [](v1::Answer& a) { a.add_blocks(block(9, 0, 3)); }},
      {"another type", [](v1::Answer& a) { a.add_blocks(block(1, 0, 3, ValueType::kF64)); }},
      {"checksum",
       [](v1::Answer& a) {
         std::string bytes = block(1, 0, 3);
         bytes.back() ^= 1;
         a.add_blocks(bytes);
       }},
      {"a block", [](v1::Answer& a) { a.add_blocks("x"); }},
      {"blocks of no boot",
       [](v1::Answer& a) {
         a.set_boot(0);
         a.add_blocks(block(1, 0, 3));
       }},
      {"not asked for",
       [](v1::Answer& a) {
         auto* summary = a.add_summaries();
         summary->set_ref(1);
         summary->set_count(1);
       }},
      {"not declared", [](v1::Answer& a) { a.add_unsummed(77); }},
      {"no metric name", [](v1::Answer& a) { a.mutable_declarations(0)->set_name("2"); }},
      {"version 2", [](v1::Answer& a) { a.set_version(2); }},
      {"64 KB",
       [](v1::Answer& a) {
         for (int i = 0; i < 200; ++i) a.add_blocks(std::string(1'000, 'x'));
       }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.text);
    ended.clear();
    ask();
    v1::Answer answer = piece(1, true);
    declare(answer);
    answer.set_boot(5);
    one.bend(answer);
    hear(answer);
    EXPECT_NE(only_error().text.find(one.text), std::string::npos) << only_error().text;
    EXPECT_EQ(questions->waiting(), 0u);
  }
}

TEST_F(QuestionsTest, WhatADeviceSaysInAllIsBounded) {
  ask();
  for (uint32_t number = 1; number <= 400 && ended.empty(); ++number) {
    v1::Answer answer = piece(number, false);
    if (number == 1) declare(answer);
    answer.set_boot(5);
    answer.add_blocks(block(1, uint64_t{number} * 1024, 1024));
    hear(answer);
  }
  EXPECT_EQ(only_error().code, ErrorCode::kFull);
  EXPECT_EQ(questions->counters().too_large, 1u);
  EXPECT_LE(questions->counters().pieces, 258u) << "of 1,024 points each";
}

TEST_F(QuestionsTest, ErrorsOfADeviceAreTold) {
  const std::pair<v1::AnswerError, ErrorCode> errors[] = {
      {v1::NOT_KNOWN, ErrorCode::kUnsupported}, {v1::TOO_LONG, ErrorCode::kFull}, {v1::DAMAGED, ErrorCode::kCorrupt}};
  for (const auto& [error, code] : errors) {
    ended.clear();
    ask();
    v1::Answer answer = piece(1, true);
    answer.set_error(error);
    hear(answer);
    EXPECT_EQ(only_error().code, code);
  }
  EXPECT_EQ(questions->counters().refused, 3u);
}

TEST_F(QuestionsTest, ALostConnectionEndsThemAll) {
  ask();
  ask("press-8");
  questions->disconnected();
  questions->disconnected();
  world.loop.run();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_FALSE(ended[0] || ended[1]);
  published = fail(ErrorCode::kUnavailable, "not connected");
  ask();
  world.loop.run();
  ASSERT_EQ(ended.size(), 3u);
  EXPECT_NE(ended[2].error().text.find("not connected"), std::string::npos);
  EXPECT_EQ(questions->waiting(), 0u);
}

// ---- Golden messages

std::string hex(uint64_t number) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, number);
  return text;
}

std::string describe(const AnswerPiece& piece) {
  std::string out = "answer\nid " + hex(piece.id) + "\npiece " + std::to_string(piece.piece) + "\nlast " +
                    std::to_string(piece.last) + "\nerror " + std::to_string(static_cast<int>(piece.error)) +
                    "\ntimeless " + std::to_string(piece.timeless) + "\nboot " + hex(piece.boot) + "\n";
  for (const Declared& one : piece.declarations) {
    out += "declaration " + std::to_string(one.ref) + " \"" + one.name + "\" kind " +
           std::to_string(static_cast<int>(one.kind)) + " type " + std::to_string(static_cast<int>(one.type)) +
           " scale " + std::to_string(one.scale) + " unit \"" + one.unit + "\"\n";
    for (const auto& [name, value] : one.labels) out += "label \"" + name + "\" \"" + value + "\"\n";
  }
  for (const ClockView& one : piece.clocks) {
    out += "clock " + std::to_string(one.segment) + " relative " + std::to_string(one.relative) + " offset_ms " +
           std::to_string(one.offset_ms) + " known " + std::to_string(one.known) + "\n";
  }
  for (const std::string& bytes : piece.blocks) {
    BlockReader reader;
    EXPECT_TRUE(reader.open({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, piece.boot).ok());
    out += "block " + std::to_string(reader.info().ref) + " first " + std::to_string(reader.info().first_ordinal) +
           " count " + std::to_string(reader.info().count) + "\n";
  }
  for (const AnswerSummary& one : piece.summaries) {
    out += "summary " + std::to_string(one.ref) + " count " + std::to_string(one.run.count) + " from " +
           std::to_string(one.run.t_min) + " to " + std::to_string(one.run.t_max);
    for (const double value : {one.run.first, one.run.last, one.run.min, one.run.max, one.run.sum, one.run.sum_lost}) {
      out += " " + hex(std::bit_cast<uint64_t>(value));
    }
    out += "\n";
  }
  for (const uint32_t ref : piece.unsummed) out += "unsummed " + std::to_string(ref) + "\n";
  return out;
}

TEST(QuestionMessages, TheGoldenOnesAreReadAndWrittenAsTheirTextsSay) {
  size_t read = 0, refused = 0, written = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LAMBDA_QUESTION_VECTORS)) {
    if (entry.path().extension() != ".txt") continue;
    SCOPED_TRACE(entry.path().stem());
    std::ifstream text(entry.path());
    std::string note, message, verdict;
    std::getline(text, note);
    std::getline(text, message);
    std::getline(text, verdict);
    const std::string fields(std::istreambuf_iterator<char>(text), {});
    std::ifstream file(std::filesystem::path(entry.path()).replace_extension(".bin"), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    if (message == "message answer") {
      AnswerPiece piece;
      const Decoded decoded = decode_answer(bytes_of(bytes), &piece);
      const char* said = decoded.verdict == DecodeVerdict::kOk            ? "verdict good"
                         : decoded.verdict == DecodeVerdict::kUnsupported ? "verdict refused"
                                                                          : "verdict malformed";
      EXPECT_EQ(said, verdict) << decoded.text;
      EXPECT_TRUE(is_answer(bytes_of(bytes)));
      if (decoded.verdict == DecodeVerdict::kOk) {
        EXPECT_EQ(describe(piece), fields);
      }
      ++(decoded.verdict == DecodeVerdict::kOk ? read : refused);
    } else if (verdict == "verdict good" && entry.path().stem().string().find("newer") == std::string::npos) {
      v1::Down down;
      ASSERT_TRUE(down.ParseFromString(bytes));
      const v1::Question& from = down.question();
      DeviceQuestion question{static_cast<Asked>(from.what()), from.from_ms(), from.to_ms(), from.name(), {}};
      for (const auto& label : from.equal()) question.equal.emplace_back(label.name(), label.value());
      EXPECT_EQ(make_question(from.id(), question, from.wait_ms()), bytes);
      ++written;
    }
  }
  EXPECT_GE(read, 8u);
  EXPECT_GE(refused, 10u);
  EXPECT_GE(written, 3u);
}

TEST(QuestionMessages, AQuestionThatWouldBeTooLongAsksForMore) {
  DeviceQuestion question{Asked::kRange, 0, 1, "m", {}};
  for (int i = 0; i < 40; ++i) question.equal.emplace_back("label_" + std::to_string(i), std::string(30, 'v'));
  v1::Down down;
  ASSERT_TRUE(down.ParseFromString(make_question(1, question, 1)));
  EXPECT_LE(down.question().ByteSizeLong(), kQuestionBytesMax);
  EXPECT_GT(down.question().equal_size(), 5);
}

}  // namespace
}  // namespace lambda::gateway
