// The pieces of an answer, written where they are sent from. The room before a piece is for its head, whose length is
// known at the end.
#include <string.h>

#include "codes.h"
#include "expect.h"
#include "lambda/messages.h"
#include "lambda/question_desk.h"
#include "message_parts.h"

namespace lambda {
namespace {

using wire::embedded_size;
using wire::FieldWriter;
using wire::Form;
using wire::kEndPlace;
using wire::Place;
using wire::size_of;
using wire::writing;

constexpr size_t kHeadRoom = 4;   // Up's tag, and a length up to 64 KB
constexpr size_t kTailRoom = 16;  // last, error, timeless
constexpr size_t kBootBytes = 9;

struct Summary {
  uint32_t ref;
  uint64_t count;
  int64_t first_ms, last_ms;
  uint64_t values[6];  // first, last, min, max, sum, rest: the bits of doubles
};
constexpr Place kSummaryShape[] = {
    {lambda_v1_Summary_ref_tag, Form::kU32, offsetof(Summary, ref)},
    {lambda_v1_Summary_count_tag, Form::kU64, offsetof(Summary, count)},
    {lambda_v1_Summary_first_ms_tag, Form::kSigned, offsetof(Summary, first_ms)},
    {lambda_v1_Summary_last_ms_tag, Form::kSigned, offsetof(Summary, last_ms)},
    {lambda_v1_Summary_first_tag, Form::kFixed64, offsetof(Summary, values[0])},
    {lambda_v1_Summary_last_tag, Form::kFixed64, offsetof(Summary, values[1])},
    {lambda_v1_Summary_min_tag, Form::kFixed64, offsetof(Summary, values[2])},
    {lambda_v1_Summary_max_tag, Form::kFixed64, offsetof(Summary, values[3])},
    {lambda_v1_Summary_sum_tag, Form::kFixed64, offsetof(Summary, values[4])},
    {lambda_v1_Summary_sum_rest_tag, Form::kFixed64, offsetof(Summary, values[5])},
    kEndPlace,
};

// Writes behind `size` and moves it; that there is room was seen before.
template <class Write>
void append(std::span<uint8_t> space, size_t* size, Write write) {
  FieldWriter out = writing(space.subspan(*size));
  write(out);
  LAMBDA_EXPECT(out.ok());
  *size += out.size();
}

void write_answer_head(FieldWriter& out, uint64_t id, uint32_t piece) {
  out.varint(lambda_v1_Answer_version_tag, kMessageVersion);
  out.fixed64(lambda_v1_Answer_id_tag, id);
  out.varint(lambda_v1_Answer_piece_tag, piece);
}

std::span<const uint8_t> write_up_head(std::span<uint8_t> space, size_t size) {
  uint8_t head[kHeadRoom];
  FieldWriter out = writing(head);
  out.head(lambda_v1_Up_answer_tag, size - kHeadRoom);
  LAMBDA_EXPECT(out.ok());
  uint8_t* begin = space.data() + kHeadRoom - out.size();
  memcpy(begin, head, out.size());
  return {begin, size - kHeadRoom + out.size()};
}

}  // namespace

void QuestionDesk::begin_piece() {
  ++piece_;
  size_ = kHeadRoom;
  blank_ = true;
  piece_boot_ = 0;
  piece_has_clock_ = false;
  append(space_, &size_, [&](FieldWriter& out) { write_answer_head(out, id_, piece_); });
}

size_t QuestionDesk::room() const {
  return space_.size() - size_ - kTailRoom;
}

std::span<const uint8_t> QuestionDesk::close_piece() {
  append(space_, &size_, [&](FieldWriter& out) {
    out.varint(lambda_v1_Answer_last_tag, done_ ? 1 : 0);
    out.varint(lambda_v1_Answer_error_tag, static_cast<uint64_t>(error_));
    out.varint(lambda_v1_Answer_timeless_tag, timeless_ ? 1 : 0);
  });
  return write_up_head(space_, size_);
}

// Beside the answer that is being given: it has nothing of its own but this. False: the transport takes nothing now.
bool QuestionDesk::send_refusal() {
  uint8_t space[kHeadRoom + 32];
  size_t size = kHeadRoom;
  append(space, &size, [&](FieldWriter& out) {
    write_answer_head(out, refused_id_, 1);
    out.varint(lambda_v1_Answer_last_tag, 1);
    out.varint(lambda_v1_Answer_error_tag, static_cast<uint64_t>(refused_error_));
  });
  if (!port_.publish_up(port_.context, write_up_head(space, size))) return false;
  refused_id_ = 0;
  ++counters_.refused;
  return true;
}

// Each put: false when the piece has to go first. What does not fit an empty piece ends the answer.

bool QuestionDesk::put_declaration(const DeclarationView& declaration) {
  if (embedded_size(lambda_v1_Answer_declarations_tag, size_of(kDeclarationShape, &declaration)) > room()) {
    if (blank_) end(AnswerError::kTooLong);
    return false;
  }
  blank_ = false;
  append(space_, &size_,
         [&](FieldWriter& out) { out.message(lambda_v1_Answer_declarations_tag, kDeclarationShape, &declaration); });
  return true;
}

// Makes the piece one of this boot, and tells the clock of what follows, if that and `bytes` more have room.
bool QuestionDesk::open_boot(uint64_t boot, const Found& found, size_t bytes) {
  if (piece_boot_ != 0 && piece_boot_ != boot) return false;
  const bool tells_clock = found.offset_ms != 0 && !(piece_has_clock_ && piece_clock_ == found.clock.segment);
  size_t needed = bytes + (piece_boot_ == 0 ? kBootBytes : 0);
  if (tells_clock) needed += embedded_size(lambda_v1_Answer_clocks_tag, size_of(kClockShape, &found.clock));
  if (needed > room()) {
    if (blank_) end(AnswerError::kTooLong);
    return false;
  }
  blank_ = false;
  append(space_, &size_, [&](FieldWriter& out) {
    if (piece_boot_ == 0) out.fixed64(lambda_v1_Answer_boot_tag, boot);
    if (tells_clock) out.message(lambda_v1_Answer_clocks_tag, kClockShape, &found.clock);
  });
  piece_boot_ = boot;
  if (tells_clock) {
    piece_has_clock_ = true;
    piece_clock_ = found.clock.segment;
  }
  return true;
}

bool QuestionDesk::put_block(const Found& found) {
  const SeriesStore& store = source_.store();
  // How long an open block would be is known when it was copied: behind where it will lie, so that its head fits too.
  constexpr size_t kBlockHead = 4;
  size_t bytes = found.bytes;
  if (found.open) {
    const size_t before = kBlockHead + kBootBytes + 32;
    const std::span<uint8_t> rest = space_.subspan(size_);
    bytes = rest.size() > before ? store.copy_open(ref_, rest.subspan(before)) : 0;
    if (bytes == 0) {
      if (blank_) end(AnswerError::kTooLong);
      return false;
    }
  }
  if (!open_boot(found.info.boot, found, embedded_size(lambda_v1_Answer_blocks_tag, bytes))) return false;
  append(space_, &size_, [&](FieldWriter& out) { out.head(lambda_v1_Answer_blocks_tag, bytes); });
  const std::span<uint8_t> rest = space_.subspan(size_);
  const size_t copied = found.open ? store.copy_open(ref_, rest) : store.copy(found.id, rest);
  LAMBDA_EXPECT(copied == bytes);
  size_ += copied;
  return true;
}

bool QuestionDesk::put_newest() {
  BlockInfo info = last_found_.info;
  info.first_ordinal = fold_.newest_ordinal;
  info.t_min = info.t_max = fold_.newest.time_ms;
  info.count = 1;
  info.tick_ms = 1;
  info.unordered = false;
  uint8_t block[kBlockHeaderBytesMax + kChecksumBytes];
  const size_t head = write_head<false>(info, fold_.newest, block);
  write_checksum(crc32c({block, head}), block + head);
  const std::span<const uint8_t> bytes(block, head + kChecksumBytes);
  if (!open_boot(info.boot, last_found_, embedded_size(lambda_v1_Answer_blocks_tag, bytes.size()))) return false;
  append(space_, &size_, [&](FieldWriter& out) { out.bytes(lambda_v1_Answer_blocks_tag, bytes); });
  return true;
}

bool QuestionDesk::put_summary() {
  const Fold& f = fold_;
  Summary summary{ref_, f.count, f.first_ms, f.last_ms, {}};
  const double values[] = {f.first, f.last, f.min, f.max, f.sum, f.rest};
  static_assert(sizeof values == sizeof summary.values);
  memcpy(summary.values, values, sizeof values);
  if (embedded_size(lambda_v1_Answer_summaries_tag, size_of(kSummaryShape, &summary)) > room()) return false;
  blank_ = false;
  append(space_, &size_,
         [&](FieldWriter& out) { out.message(lambda_v1_Answer_summaries_tag, kSummaryShape, &summary); });
  return true;
}

bool QuestionDesk::put_unsummed() {
  // One by one: a reader takes that as well as the packed form.
  if (room() < 6) return false;
  blank_ = false;
  append(space_, &size_, [&](FieldWriter& out) { out.varint(lambda_v1_Answer_unsummed_tag, ref_); });
  return true;
}

}  // namespace lambda
