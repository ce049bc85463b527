#include "gateway/questions/question_message.h"

#include <google/protobuf/stubs/logging.h>

#include <cmath>

#include "gateway/ingest/declaration.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

constexpr std::byte kAnswerTag{v1::Up::kAnswerFieldNumber << 3 | 2};

Decoded malformed(std::string text) {
  return {DecodeVerdict::kMalformed, std::move(text)};
}

Decoded read_summary(const v1::Summary& from, int index, AnswerSummary* to) {
  to->ref = from.ref();
  query::RunSummary& run = to->run;
  run.t_min = from.first_ms();
  run.t_max = from.last_ms();
  run.count = from.count();
  run.first = from.first();
  run.last = from.last();
  run.min = from.min();
  run.max = from.max();
  run.sum = from.sum();
  run.sum_lost = from.sum_rest();
  bool numbers = true;
  for (const double value : {run.first, run.last, run.min, run.max, run.sum, run.sum_lost}) {
    numbers = numbers && std::isfinite(value);
  }
  const auto span = static_cast<uint64_t>(run.t_max) - static_cast<uint64_t>(run.t_min);
  if (!numbers || run.count == 0 || run.t_min > run.t_max || run.count - 1 > span || run.min > run.max) {
    return malformed("summaries[" + std::to_string(index) + "]: cannot be of any points");
  }
  return {DecodeVerdict::kOk, {}};
}

}  // namespace

std::string make_question(uint64_t id, const DeviceQuestion& question, uint32_t wait_ms) {
  v1::Down down;
  v1::Question& to = *down.mutable_question();
  to.set_version(kMessageVersion);
  to.set_id(id);
  to.set_what(static_cast<v1::Asked>(question.what));
  to.set_from_ms(question.from_ms);
  to.set_to_ms(question.to_ms);
  to.set_wait_ms(wait_ms);
  if (question.name.size() <= kMetricNameBytesMax) to.set_name(question.name);
  for (const auto& [name, value] : question.equal) {
    v1::Label& label = *to.add_equal();
    label.set_name(name);
    label.set_value(value);
    if (to.ByteSizeLong() > kQuestionBytesMax) to.mutable_equal()->RemoveLast();
  }
  return down.SerializeAsString();
}

bool is_answer(std::span<const std::byte> message) {
  return !message.empty() && message[0] == kAnswerTag;
}

Decoded decode_answer(std::span<const std::byte> message, AnswerPiece* piece) {
  // It writes a line on standard error for each string that is no UTF-8: a flood would fill the log with them.
  static const bool silent = google::protobuf::SetLogHandler(nullptr) != nullptr;
  (void)silent;
  if (message.size() > kAnswerBytesMax) return malformed("longer than 64 KB");
  v1::Up up;
  if (!up.ParseFromArray(message.data(), static_cast<int>(message.size())) || !up.has_answer()) {
    return malformed("not an Answer");
  }
  const v1::Answer& from = up.answer();
  if (from.version() > kMessageVersion) {
    return {DecodeVerdict::kUnsupported, "version " + std::to_string(from.version()) + " is unknown"};
  }
  for (const int items : {from.declarations_size(), from.clocks_size(), from.blocks_size(), from.summaries_size(),
                          from.unsummed_size()}) {
    if (static_cast<size_t>(items) > kAnswerItemsMax) return malformed("more than 4096 items of a kind");
  }
  if (from.boot() == 0 && from.blocks_size() > 0) return malformed("blocks of no boot");
  if (from.error() < 0 || from.error() > v1::DAMAGED) {
    return {DecodeVerdict::kUnsupported, "error " + std::to_string(from.error()) + " is unknown"};
  }
  piece->id = from.id();
  piece->piece = from.piece();
  piece->last = from.last();
  piece->error = static_cast<AnswerError>(from.error());
  piece->timeless = from.timeless();
  piece->boot = from.boot();
  piece->declarations.resize(static_cast<size_t>(from.declarations_size()));
  for (int i = 0; i < from.declarations_size(); ++i) {
    const Decoded read = read_declaration(from.declarations(i), i, &piece->declarations[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  for (const v1::ClockSegment& clock : from.clocks()) {
    piece->clocks.push_back({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  for (const std::string& block : from.blocks()) piece->blocks.push_back(block);
  piece->summaries.resize(static_cast<size_t>(from.summaries_size()));
  for (int i = 0; i < from.summaries_size(); ++i) {
    const Decoded read = read_summary(from.summaries(i), i, &piece->summaries[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  piece->unsummed.assign(from.unsummed().begin(), from.unsummed().end());
  return {DecodeVerdict::kOk, {}};
}

}  // namespace lambda::gateway
