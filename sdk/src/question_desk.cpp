// What is asked and which blocks answer it; how pieces are written is in question_pieces.cpp.
#include "lambda/question_desk.h"

#include <string.h>

#include "expect.h"
#include "lambda/messages.h"
#include "message_parts.h"
#include "point_value.h"

namespace lambda {
namespace {

using wire::FieldReader;
using wire::Form;
using wire::kEndPlace;
using wire::Place;
using wire::read_fields;
using Bytes = std::span<const uint8_t>;

static_assert(static_cast<int>(Asked::kSummary) == lambda_v1_Asked_SUMMARY);
static_assert(static_cast<int>(AnswerError::kDamaged) == lambda_v1_AnswerError_DAMAGED);

constexpr uint8_t kQuestionTag = lambda_v1_Down_question_tag << 3 | 2;
constexpr int64_t kTransportMs = 20;  // between two offers of a piece
constexpr int64_t kExact = int64_t{1} << 53;

int64_t shifted(int64_t time_ms, int64_t by_ms) {
  int64_t result = 0;
  if (__builtin_add_overflow(time_ms, by_ms, &result)) return by_ms > 0 ? INT64_MAX : INT64_MIN;
  return result;
}

// Knuth, TAOCP 2, 4.2.2: what the addition rounds off is known exactly.
void add_exactly(double value, double* sum, double* rest) {
  const double next = *sum + value;
  const double taken = next - *sum;
  *rest += (*sum - (next - taken)) + (value - taken);
  *sum = next;
}

bool is_finite(double value) {
  return value - value == 0;
}

struct Head {
  uint64_t id = 0, what = 0;
  int64_t from_ms = 0, to_ms = 0;
  uint32_t version = 0, wait_ms = 0;
};

constexpr Place kHeadShape[] = {
    {lambda_v1_Question_version_tag, Form::kU32, offsetof(Head, version)},
    {lambda_v1_Question_id_tag, Form::kFixed64, offsetof(Head, id)},
    {lambda_v1_Question_what_tag, Form::kU64, offsetof(Head, what)},
    {lambda_v1_Question_from_ms_tag, Form::kSigned, offsetof(Head, from_ms)},
    {lambda_v1_Question_to_ms_tag, Form::kSigned, offsetof(Head, to_ms)},
    {lambda_v1_Question_wait_ms_tag, Form::kU32, offsetof(Head, wait_ms)},
    kEndPlace,
};

// The fields but for the texts, which are only walked over.
bool read_head(Bytes question, Head* head) {
  FieldReader in(question);
  while (const uint32_t tag = in.next()) {
    in.take(kHeadShape, head);
    if (tag == lambda_v1_Question_equal_tag && in.is_bytes() && !read_fields(in.bytes(), wire::kNoFields, nullptr))
      return false;
  }
  return in.ok() && head->id != 0;
}

std::string_view label_of(const DeclarationView& declaration, std::string_view name) {
  for (const LabelView& label : declaration.labels) {
    if (label.name == name) return label.value;
  }
  return {};
}

}  // namespace

struct QuestionDesk::Visit {
  QuestionDesk* desk;
  const Found* found;
  static void point(void* context, uint64_t, uint64_t ordinal, Point point) {
    const Visit& visit = *static_cast<Visit*>(context);
    visit.desk->fold_point(*visit.found, ordinal, point);
  }
};

QuestionDesk::QuestionDesk(QuestionSource& source, QuestionPort port, std::span<uint8_t> space)
    : source_(source), port_(port), space_(space) {
  LAMBDA_EXPECT(space_.size() > kAnswerHeadBytesMax && space_.size() <= kAnswerBytesMax);
}

bool QuestionDesk::incoming(Bytes message, int64_t now_ms) {
  if (message.empty() || message[0] != kQuestionTag) return false;
  FieldReader in(message);
  Head head;
  const bool is_question = in.next() == lambda_v1_Down_question_tag && in.is_bytes();
  const Bytes question = in.bytes();
  if (!is_question || in.next() != 0 || !in.ok() || !read_head(question, &head)) {
    ++counters_.malformed;
    return true;
  }
  ++counters_.asked;
  if (head.id == id_) return true;  // came twice
  const bool known = head.version <= kMessageVersion && head.what >= 1 && head.what <= 3;
  if (id_ != 0 || !known || question.size() > sizeof question_) {
    refused_id_ = head.id;
    refused_error_ = !known ? AnswerError::kNotKnown : id_ != 0 ? AnswerError::kBusy : AnswerError::kTooLong;
    return true;
  }
  memcpy(question_, question.data(), question.size());
  question_bytes_ = question.size();
  id_ = head.id;
  what_ = static_cast<Asked>(head.what);
  from_ms_ = head.from_ms;
  to_ms_ = head.to_ms;
  const uint32_t wait_ms = head.wait_ms == 0 ? kQuestionWaitMs : head.wait_ms;
  give_up_ms_ = now_ms + (wait_ms < kQuestionWaitMsMax ? wait_ms : kQuestionWaitMsMax);
  ref_ = 0;
  declared_ = false;
  timeless_ = done_ = ready_ = false;
  error_ = AnswerError::kAnswered;
  piece_ = 0;
  begin_piece();
  return true;
}

int64_t QuestionDesk::tick(int64_t now_ms) {
  if (refused_id_ != 0 && !send_refusal()) return now_ms + kTransportMs;
  if (id_ == 0) return INT64_MAX;
  if (now_ms >= give_up_ms_) {
    ++counters_.expired;
    forget();
    return INT64_MAX;
  }
  if (!ready_) {
    if (!work()) return now_ms + 1;
    message_ = close_piece();
    ready_ = true;
  }
  if (!port_.publish_up(port_.context, message_)) return now_ms + kTransportMs;
  ++counters_.pieces;
  if (done_) {
    ++(error_ == AnswerError::kAnswered ? counters_.answered : counters_.refused);
    forget();
    return INT64_MAX;
  }
  ready_ = false;
  begin_piece();
  return now_ms + 1;
}

void QuestionDesk::disconnected() {
  if (id_ != 0) ++counters_.expired;
  refused_id_ = 0;
  forget();
}

void QuestionDesk::forget() {
  id_ = 0;
  question_bytes_ = 0;
}

// The piece becomes the last one.
void QuestionDesk::end(AnswerError error) {
  error_ = error;
  done_ = true;
}

// Goes on with the answer; true when the piece should go.
bool QuestionDesk::work() {
  for (;;) {
    DeclarationView declaration;
    if (!declared_) {
      if (!next_series()) {
        end(AnswerError::kAnswered);
        return true;
      }
      source_.declaration(ref_, &declaration);
      if (!put_declaration(declaration)) {
        --ref_;  // the next piece begins with it
        return true;
      }
      declared_ = true;
      thinned_ = source_.store().counters().points_thinned;
      power_ = power_of_ten(declaration.scale);
    }
    // Points that were given already may have come to lie in a block that is still to come.
    if (thinned_ != source_.store().counters().points_thinned) {
      end(AnswerError::kBusy);
      return true;
    }
    Found found;
    if (!next_block(&found)) {
      if (!end_series()) return true;
      declared_ = false;
      continue;
    }
    if (what_ == Asked::kRange) {
      if (!put_block(found)) return true;
    } else {
      fold(found);
    }
    if (error_ != AnswerError::kAnswered) return true;
    started_ = true;
    past_open_ = found.open;
    if (!found.open) at_ = found.id;
    if (what_ != Asked::kRange) return false;
  }
}

bool QuestionDesk::matches(const DeclarationView& declaration) const {
  FieldReader in({question_, question_bytes_});
  while (const uint32_t tag = in.next()) {
    if (!in.is_bytes()) continue;
    if (tag == lambda_v1_Question_name_tag) {
      const std::string_view text(reinterpret_cast<const char*>(in.bytes().data()), in.bytes().size());
      if (!text.empty() && text != declaration.name) return false;
    }
    if (tag != lambda_v1_Question_equal_tag) continue;
    LabelView label;
    read_fields(in.bytes(), kLabelShape, &label);
    if (label_of(declaration, label.name) != label.value) return false;
  }
  return true;
}

// The next series that is asked for and has points in the range.
bool QuestionDesk::next_series() {
  const uint32_t count = source_.store().series_count();
  while (ref_ < count) {
    ++ref_;
    DeclarationView declaration;
    if (!source_.declaration(ref_, &declaration) || !matches(declaration)) continue;
    started_ = past_open_ = false;
    fold_ = {};
    floor_ms_ = INT64_MIN;
    find_floor();
    Found found;
    if (next_block(&found)) return true;
  }
  return false;
}

// Whether it has points in the range, as far as its head tells; sets what is added to its times.
bool QuestionDesk::in_range(const BlockInfo& info, Found* found) {
  found->info = info;
  found->clock = {};
  found->offset_ms = 0;
  ClockView clock;
  const bool known = source_.clock(info.boot, info.clock, &clock);
  if (!known || (clock.relative && !clock.known)) {
    timeless_ = true;
    return false;
  }
  found->clock = clock;
  if (clock.known) found->offset_ms = clock.offset_ms;
  const int64_t end_ms = shifted(info.t_max, found->offset_ms);
  return end_ms >= from_ms_ && end_ms >= floor_ms_ && shifted(info.t_min, found->offset_ms) <= to_ms_;
}

bool QuestionDesk::next_block(Found* found) {
  if (past_open_) return false;
  const SeriesStore& store = source_.store();
  SealedBlock block;
  // The last one may have left memory meanwhile: whatever was sealed after it comes next.
  const bool there = started_ && at_.page != UINT32_MAX && store.find(at_, &block);
  bool more = there ? store.next_of(at_, &block) : store.first_of(ref_, &block);
  for (; more; more = store.next_of(block.id, &block)) {
    const bool done = started_ && at_.page != UINT32_MAX && static_cast<int32_t>(block.id.serial - at_.serial) <= 0;
    if (done || !in_range(block.info, found)) continue;
    found->id = block.id;
    found->bytes = block.bytes;
    found->open = false;
    return true;
  }
  BlockInfo open;
  if (!store.open_info(ref_, &open) || !in_range(open, found)) return false;
  found->open = true;
  return true;
}

// LAST: what ends within the range ends with a point in it, so no block that ends earlier has the newest.
void QuestionDesk::find_floor() {
  at_ = {};
  if (what_ != Asked::kLast) return;
  int64_t best_ms = INT64_MIN;
  const auto look = [&](const BlockInfo& info) {
    Found found;
    if (!in_range(info, &found)) return;
    const int64_t end_ms = shifted(info.t_max, found.offset_ms);
    if (end_ms <= to_ms_ && end_ms > best_ms) best_ms = end_ms;
  };
  const SeriesStore& store = source_.store();
  SealedBlock block;
  for (bool more = store.first_of(ref_, &block); more; more = store.next_of(block.id, &block)) look(block.info);
  BlockInfo open;
  if (store.open_info(ref_, &open)) look(open);
  floor_ms_ = best_ms;
}

void QuestionDesk::fold(const Found& found) {
  Visit visit{this, &found};
  const SeriesStore& store = source_.store();
  // By the block's own times.
  const int64_t low = found.offset_ms == INT64_MIN ? INT64_MIN : shifted(from_ms_, -found.offset_ms);
  const int64_t high = found.offset_ms == INT64_MIN ? INT64_MAX : shifted(to_ms_, -found.offset_ms);
  const bool read = found.open ? store.read_open(ref_, low, high, Visit::point, &visit)
                               : store.read_block(found.id, low, high, Visit::point, &visit);
  if (!read) end(AnswerError::kDamaged);
}

void QuestionDesk::fold_point(const Found& found, uint64_t ordinal, Point point) {
  Fold& f = fold_;
  const int64_t time_ms = shifted(point.time_ms, found.offset_ms);
  if (what_ == Asked::kLast) {
    if (f.has_newest && time_ms < f.last_ms) return;
    f.has_newest = true;
    f.last_ms = time_ms;
    f.newest = point;
    f.newest_ordinal = ordinal;
    last_found_ = found;
    return;
  }
  if (f.failed) return;
  const auto n = static_cast<int64_t>(point.bits);
  const ValueType type = found.info.type;
  const bool whole = type == ValueType::kI64 || type == ValueType::kState;
  // Beyond 2^53 a gateway's double is another number: leave the sum to it.
  if ((f.count > 0 && time_ms <= f.last_ms) || (whole && (n > kExact || n < -kExact))) {
    f.failed = true;
    return;
  }
  const double value = point_value(type, power_, point.bits);
  if (value != value) {
    f.failed = true;
    return;
  }
  if (f.count == 0) {
    f.first_ms = time_ms;
    f.first = f.min = f.max = value;
  }
  ++f.count;
  f.last_ms = time_ms;
  f.last = value;
  if (value < f.min) f.min = value;
  if (value > f.max) f.max = value;
  if (whole) {
    f.halves_low += point.bits & 0xFFFFFFFF;
    f.halves_high += n >> 32;
  } else {
    add_exactly(value, &f.sum, &f.rest);
  }
}

// Sums of whole numbers are exact until here, and after it, too.
void QuestionDesk::finish_sum() {
  Fold& f = fold_;
  add_exactly(static_cast<double>(f.halves_high) * 4294967296.0, &f.sum, &f.rest);
  add_exactly(static_cast<double>(f.halves_low), &f.sum, &f.rest);
  if (!is_finite(f.sum)) f.failed = true;
}

// False: what is left to say of the series does not fit this piece.
bool QuestionDesk::end_series() {
  if (what_ == Asked::kLast) return !fold_.has_newest || put_newest();
  if (what_ != Asked::kSummary) return true;
  if (fold_.failed) return put_unsummed();
  if (fold_.count == 0) return true;  // blocks reach into the range, none of their points does
  const Fold before = fold_;
  finish_sum();
  if (fold_.failed ? put_unsummed() : put_summary()) return true;
  fold_ = before;
  return false;
}

}  // namespace lambda
