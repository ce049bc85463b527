// Any bytes as a question to a device, and as an answer to a gateway: dropped, refused by name or read, never a crash.
// What a device answers fits its room, ends, and is an answer that the gateway reads.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gateway/questions/question_message.h"
#include "lambda/question_desk.h"
#include "port/posix/posix_port.h"

namespace {

using namespace lambda;  // NOLINT: a fuzz target is a program of its own

void expect(bool condition) {
  if (!condition) std::abort();
}

constexpr LabelView kLabels[] = {{"line", "2"}, {"zone", "a"}};
constexpr ValueType kTypes[] = {ValueType::kF64, ValueType::kI64, ValueType::kDec};

// Three series of three types, with sealed and open blocks.
struct Held final : QuestionSource {
  Held() : arena(64 * 1024 / 8), memory(bytes(), options(), posix_hash(), 7) {
    for (const ValueType type : kTypes) {
      uint32_t ref = 0;
      expect(memory.add({type, uint8_t(type == ValueType::kDec ? 2 : 0), 1}, &ref));
      for (uint32_t i = 0; i < 300; ++i) {
        expect(memory.append(ref, {1'700'000'000'000 + i * 1000, i * 0x9E3779B97F4A7C15u}).result == StoreResult::kOk);
        if (i % 70 == 69) memory.seal(ref);
      }
    }
  }
  static SeriesStoreOptions options() {
    SeriesStoreOptions made;
    made.series_max = 3;
    made.block_bytes_max = 1024;
    return made;
  }
  std::span<uint8_t> bytes() { return {reinterpret_cast<uint8_t*>(arena.data()), arena.size() * 8}; }
  const SeriesStore& store() const override { return memory; }
  bool declaration(uint32_t ref, DeclarationView* declaration) override {
    *declaration = {ref, "press_force", kLabels, Kind::kGauge, kTypes[ref - 1], uint8_t(ref == 3 ? 2 : 0), "newton"};
    return true;
  }
  bool clock(uint64_t, uint32_t segment, ClockView* clock) const override {
    *clock = {segment, true, 5, true};
    return true;
  }
  std::vector<uint64_t> arena;
  SeriesStore memory;
};

void ask_device(std::span<const uint8_t> message) {
  static Held& held = *new Held();  // never freed: it lives as long as the program
  std::array<uint8_t, QuestionDesk::piece_bytes(1024, 512)> space;
  struct Said {
    uint32_t pieces = 0;
    bool last = false;
  } said;
  QuestionPort port{
      &said, [](void* context, std::span<const uint8_t> bytes) {
        Said& to = *static_cast<Said*>(context);
        gateway::AnswerPiece piece;
        expect(!to.last && bytes.size() <= QuestionDesk::piece_bytes(1024, 512));
        expect(gateway::decode_answer(std::as_bytes(bytes), &piece).verdict == gateway::DecodeVerdict::kOk);
        expect(piece.piece == ++to.pieces);
        to.last = piece.last;
        return true;
      }};
  QuestionDesk desk(held, port, space);
  const bool question = desk.incoming(message, 0);
  expect(question || message.empty() || message[0] != 0x1A);
  int64_t now_ms = 0;
  for (int turns = 0; turns < 1000; ++turns) {
    const int64_t due_ms = desk.tick(now_ms);
    if (due_ms == INT64_MAX) break;
    expect(turns < 999);
    now_ms = due_ms;
  }
  const QuestionCounters& counted = desk.counters();
  expect(counted.asked == counted.answered + counted.refused + counted.expired);
  // A question may give less time than its answer has pieces.
  expect(said.last == (counted.answered + counted.refused == 1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1u << 16) return 0;
  ask_device({data, size});
  gateway::AnswerPiece piece;
  const gateway::Decoded decoded = gateway::decode_answer(std::as_bytes(std::span(data, size)), &piece);
  expect(decoded.verdict == gateway::DecodeVerdict::kOk || !decoded.text.empty());
  for (const gateway::AnswerSummary& summary : piece.summaries) {
    if (decoded.verdict == gateway::DecodeVerdict::kOk) expect(summary.run.count > 0);
  }
  return 0;
}
