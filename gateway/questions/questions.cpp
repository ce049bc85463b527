#include "gateway/questions/questions.h"

#include <algorithm>
#include <utility>

#include "lambda/codecs.h"
#include "query/block_samples.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kBusyMs = 300;  // before a device that answers somebody else is asked again

tl::unexpected<Error> broken(const std::string& device, const std::string& what) {
  return fail(ErrorCode::kUnavailable, device + " was asked, and its answer is broken: " + what + "; ask again");
}

}  // namespace

Questions::Questions(Env& env, QuestionsOptions options, QuestionsPort port)
    : env_(env), options_(std::move(options)), port_(std::move(port)) {}

Questions::~Questions() {
  *alive_ = false;
  for (auto& [device, line] : lines_) env_.loop.cancel(line.timer);
}

uint64_t Questions::waiting() const {
  uint64_t count = 0;
  for (const auto& [device, line] : lines_) count += line.waiting.size();
  return count;
}

void Questions::ask(const std::string& device, DeviceQuestion question, Done done) {
  ++counters_.asked;
  Line& line = lines_[device];
  if (line.waiting.size() >= options_.device_waiting_max) {
    ++counters_.full;
    env_.loop.post([done = std::move(done), device, alive = alive_] {
      if (*alive) done(fail(ErrorCode::kUnavailable, device + " has enough questions to answer: ask again"));
    });
    return;
  }
  line.waiting.push_back({std::move(question), std::move(done)});
  if (line.waiting.size() == 1) begin(device, line);
}

void Questions::begin(const std::string& device, Line& line) {
  line.asked_ms = env_.clock.mono_ms();
  send(device, line);
}

// Asks the first in line, from the beginning.
void Questions::send(const std::string& device, Line& line) {
  const int64_t now_ms = env_.clock.mono_ms();
  line.answer = {};
  line.pieces = 0;
  line.bytes = line.points = 0;
  line.heard_ms = now_ms;
  do {
    line.id = env_.random.u64();
  } while (line.id == 0);
  const int64_t left_ms = line.asked_ms + options_.answer_ms_max - now_ms;
  const std::string message =
      make_question(line.id, line.waiting.front().question, static_cast<uint32_t>(std::max<int64_t>(left_ms, 1)));
  const Status sent = port_.publish("lambda/v1/" + options_.site + "/" + device + "/down", message);
  if (!sent) {
    ++counters_.not_sent;
    end(device, line, fail(ErrorCode::kUnavailable, device + " cannot be asked now: " + sent.error().text));
    return;
  }
  line.timer = env_.loop.after(std::min(options_.timeout_ms, left_ms), [this, device] { look(device); });
}

// Time has passed: the device is busy and asked again, or it is waited for, or given up.
void Questions::look(const std::string& device) {
  Line& line = lines_.at(device);
  line.timer = 0;
  const int64_t now_ms = env_.clock.mono_ms();
  const int64_t due_ms = std::min(line.heard_ms + options_.timeout_ms, line.asked_ms + options_.answer_ms_max);
  if (now_ms >= due_ms) {
    const bool busy = line.id == 0;
    ++(busy ? counters_.busy : counters_.timed_out);
    const std::string text = busy               ? " answers somebody else's question all the time"
                             : line.pieces == 0 ? " does not answer; it may be away, or not know such questions"
                                                : " did not end its answer in time";
    end(device, line, fail(ErrorCode::kUnavailable, device + text));
    return;
  }
  if (line.id == 0) return send(device, line);
  line.timer = env_.loop.after(due_ms - now_ms, [this, device] { look(device); });
}

void Questions::message(std::string_view from, std::span<const std::byte> payload) {
  const auto found = lines_.find(from);
  if (found == lines_.end() || found->second.id == 0) {
    ++counters_.unasked;
    return;
  }
  const std::string device(from);
  Line& line = found->second;
  AnswerPiece piece;
  const Decoded decoded = decode_answer(payload, &piece);
  if (decoded.verdict != DecodeVerdict::kOk) {
    ++counters_.malformed;
    ++counters_.broken;
    env_.log.debug("answer_refused", {{"device", device}, {"why", decoded.text}});
    end(device, line, broken(device, decoded.text));
    return;
  }
  if (piece.id != line.id) {
    ++counters_.unasked;
    return;
  }
  if (piece.piece <= line.pieces) {
    ++counters_.repeated;
    return;
  }
  line.bytes += payload.size();
  counters_.bytes += payload.size();
  take(device, line, piece);
}

void Questions::take(const std::string& device, Line& line, AnswerPiece& piece) {
  if (piece.error != AnswerError::kAnswered) return refused(device, line, piece.error);
  if (piece.piece != line.pieces + 1) {
    ++counters_.broken;
    return end(device, line, broken(device, "piece " + std::to_string(line.pieces + 1) + " is lost"));
  }
  ++line.pieces;
  ++counters_.pieces;
  line.heard_ms = env_.clock.mono_ms();
  auto taken = take_items(line.waiting.front().question, line, piece);
  if (!taken) {
    const bool bound = taken.error().code == ErrorCode::kFull;
    ++(bound ? counters_.too_large : counters_.broken);
    if (!bound) return end(device, line, broken(device, taken.error().text));
    return end(device, line,
               fail(ErrorCode::kFull, device + " has more to say than " + taken.error().text +
                                          ": ask for fewer series or a shorter time"));
  }
  if (!piece.last) return;
  ++counters_.answered;
  end(device, line, std::move(line.answer));
}

Status Questions::take_items(const DeviceQuestion& question, Line& line, AnswerPiece& piece) {
  auto& series = line.answer.series;
  line.answer.timeless = line.answer.timeless || piece.timeless;
  if (line.bytes > options_.answer_bytes_max) {
    return fail(ErrorCode::kFull, std::to_string(options_.answer_bytes_max) + " bytes");
  }
  for (Declared& declared : piece.declarations) {
    if (!series.contains(declared.ref) && series.size() >= kAnswerItemsMax) {
      return fail(ErrorCode::kFull, std::to_string(kAnswerItemsMax) + " series");
    }
    const uint32_t ref = declared.ref;
    series[ref].declared = std::move(declared);
  }
  for (const std::string& block : piece.blocks) {
    if (auto taken = take_block(question, line, piece, block); !taken) return taken;
  }
  for (const AnswerSummary& summary : piece.summaries) {
    const auto found = series.find(summary.ref);
    if (found == series.end() || found->second.summary || question.what != Asked::kSummary) {
      return fail(ErrorCode::kInvalid, "a summary that was not asked for");
    }
    if (summary.run.t_min < question.from_ms || summary.run.t_max > question.to_ms) {
      return fail(ErrorCode::kInvalid, "a summary of another time");
    }
    found->second.summary = summary.run;
  }
  for (const uint32_t ref : piece.unsummed) {
    const auto found = series.find(ref);
    if (found == series.end()) return fail(ErrorCode::kInvalid, "a series that was not declared");
    found->second.unsummed = true;
  }
  return {};
}

Status Questions::take_block(const DeviceQuestion& question, Line& line, const AnswerPiece& piece,
                             const std::string& block) {
  const std::span bytes(reinterpret_cast<const uint8_t*>(block.data()), block.size());
  // By its own head first: it may unfold to a thousand times its size.
  BlockInfo info;
  BlockReader reader;
  if (const BlockStatus status = reader.open(bytes, piece.boot, kAllCodings); !status.ok()) {
    return fail(ErrorCode::kInvalid, std::string("a block: ") + block_error_name(status.error));
  }
  const auto found = line.answer.series.find(reader.info().ref);
  if (found == line.answer.series.end()) return fail(ErrorCode::kInvalid, "a block of a series that was not declared");
  AnsweredSeries& series = found->second;
  if (reader.info().type != series.declared.type || reader.info().scale != series.declared.scale ||
      reader.info().boot != piece.boot) {
    return fail(ErrorCode::kInvalid, "a block of another type or boot than its series");
  }
  line.points += reader.info().count;
  if (line.points > kAnswerPointsMax) return fail(ErrorCode::kFull, std::to_string(kAnswerPointsMax) + " points");
  query::BlockPart part;
  part.from_ms = question.from_ms;
  part.to_ms = question.to_ms;
  for (const ClockView& clock : piece.clocks) {
    if (clock.segment == reader.info().clock && clock.known) part.offset_ms = clock.offset_ms;
  }
  const BlockStatus status = query::append_samples(bytes, piece.boot, part, &info, series.samples);
  if (!status.ok()) return fail(ErrorCode::kInvalid, std::string("a block: ") + block_error_name(status.error));
  return {};
}

void Questions::refused(const std::string& device, Line& line, AnswerError error) {
  switch (error) {
    case AnswerError::kBusy:
      // Another gateway's question, or an earlier one of ours that nobody waits for any more.
      line.id = 0;
      env_.loop.cancel(line.timer);
      line.timer = env_.loop.after(kBusyMs, [this, device] { look(device); });
      return;
    case AnswerError::kNotKnown:
      ++counters_.refused;
      return end(device, line, fail(ErrorCode::kUnsupported, device + " does not know such questions"));
    case AnswerError::kTooLong:
      ++counters_.refused;
      return end(device, line, fail(ErrorCode::kFull, device + " has no room for such a question, or its answer"));
    default:
      ++counters_.refused;
      return end(device, line, fail(ErrorCode::kCorrupt, device + ": a block in its memory does not read back"));
  }
}

// The first in line is done with; the next one is asked.
void Questions::end(const std::string& device, Line& line, Result<DeviceAnswer> result) {
  env_.loop.cancel(line.timer);
  line.timer = 0;
  line.id = 0;
  line.answer = {};
  auto answer = std::make_shared<Result<DeviceAnswer>>(std::move(result));
  env_.loop.post([this, device, answer, done = std::move(line.waiting.front().done), alive = alive_] {
    if (!*alive) return;
    Line& next = lines_.at(device);
    next.waiting.pop_front();
    if (next.waiting.empty()) {
      lines_.erase(device);
    } else {
      begin(device, next);
    }
    done(std::move(*answer));
  });
}

void Questions::disconnected() {
  for (auto& [device, line] : lines_) {
    if (line.id == 0 && line.timer == 0) continue;  // it has ended already
    ++counters_.disconnected;
    end(device, line,
        fail(ErrorCode::kUnavailable, "the connection to the broker ended while " + device + " was asked"));
  }
}

}  // namespace lambda::gateway
