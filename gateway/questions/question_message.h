// What a gateway asks a device, and reading what the device says. Bytes and meaning: proto/question.md. Answers are
// taken as hostile: who sent one is known by its topic alone. Pure: any one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/ingest/up_message.h"
#include "gateway/store/store.h"
#include "lambda/question_desk.h"
#include "query/series_source.h"

namespace lambda::gateway {

inline constexpr size_t kAnswerItemsMax = 4096;  // of each kind in a piece, and series in an answer

struct DeviceQuestion {
  Asked what = Asked::kRange;
  int64_t from_ms = 0, to_ms = 0;  // UTC, both included
  std::string name;                // empty: any metric
  std::vector<std::pair<std::string, std::string>> equal;
};

// The Down message. What does not fit kQuestionBytesMax of `equal` is left out: the answer may have more than was
// asked.
std::string make_question(uint64_t id, const DeviceQuestion& question, uint32_t wait_ms);

// Whether an Up message is an answer; the rest of it is not looked at.
bool is_answer(std::span<const std::byte> message);

struct AnswerSummary {
  uint32_t ref = 0;
  query::RunSummary run;
};

struct AnswerPiece {
  uint64_t id = 0;
  uint32_t piece = 0;
  bool last = false;
  AnswerError error = AnswerError::kAnswered;
  bool timeless = false;
  uint64_t boot = 0;
  std::vector<Declared> declarations;
  std::vector<ClockView> clocks;
  std::vector<std::string> blocks;  // not looked into yet
  std::vector<AnswerSummary> summaries;
  std::vector<uint32_t> unsummed;
};

// All of the piece, or why none of it.
Decoded decode_answer(std::span<const std::byte> message, AnswerPiece* piece);

}  // namespace lambda::gateway
