#include <string.h>

#include <iterator>
#include <type_traits>

#include "lambda/messages.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda {
namespace {

using wire::FieldReader;
using wire::FieldTaker;
using wire::Form;
using wire::kEndPlace;
using wire::Place;
using wire::read_fields;
using wire::Shape;
using Bytes = std::span<const uint8_t>;

static_assert(static_cast<int>(Policy::kRing) == lambda_v1_Policy_RING);
static_assert(static_cast<int>(RefusalCode::kWrongSender) == lambda_v1_RefusalCode_WRONG_SENDER);
static_assert(std::is_standard_layout_v<AckView> && std::is_standard_layout_v<NackView> &&
                  std::is_standard_layout_v<InterestView>,
              "their members have offsets");

constexpr Place kRangeShape[] = {
    {lambda_v1_SeqRange_first_tag, Form::kU64, offsetof(SeqRange, first)},
    {lambda_v1_SeqRange_last_tag, Form::kU64, offsetof(SeqRange, last)},
    kEndPlace,
};
constexpr Place kAckShape[] = {
    {lambda_v1_Ack_boot_tag, Form::kFixed64, offsetof(AckView, boot)},
    {lambda_v1_Ack_contiguous_seq_tag, Form::kU64, offsetof(AckView, contiguous_seq)},
    {lambda_v1_Ack_policy_tag, Form::kU8, offsetof(AckView, policy)},
    {lambda_v1_Ack_gateway_tag, Form::kText, offsetof(AckView, gateway)},
    {lambda_v1_Ack_incarnation_tag, Form::kFixed64, offsetof(AckView, incarnation)},
    {lambda_v1_Ack_gateway_ms_tag, Form::kSigned, offsetof(AckView, gateway_ms)},
    {lambda_v1_Ack_nonce_tag, Form::kFixed64, offsetof(AckView, nonce)},
    {lambda_v1_Ack_codecs_tag, Form::kU32, offsetof(AckView, codecs)},
    kEndPlace,
};
constexpr Place kNackShape[] = {
    {lambda_v1_Nack_boot_tag, Form::kFixed64, offsetof(NackView, boot)},
    {lambda_v1_Nack_seq_tag, Form::kU64, offsetof(NackView, seq)},
    {lambda_v1_Nack_gateway_tag, Form::kText, offsetof(NackView, gateway)},
    {lambda_v1_Nack_incarnation_tag, Form::kFixed64, offsetof(NackView, incarnation)},
    kEndPlace,
};
// The verdicts' own fields.
constexpr Place kRetryAfterShape[] = {
    {lambda_v1_RetryAfter_delay_ms_tag, Form::kU32, offsetof(NackView, delay_ms)},
    {lambda_v1_RetryAfter_reason_tag, Form::kText, offsetof(NackView, text)},
    kEndPlace,
};
constexpr Place kPermanentShape[] = {
    {lambda_v1_Permanent_code_tag, Form::kU8, offsetof(NackView, code)},
    {lambda_v1_Permanent_text_tag, Form::kText, offsetof(NackView, text)},
    kEndPlace,
};
constexpr Place kNewBootShape[] = {{lambda_v1_NewBoot_text_tag, Form::kText, offsetof(NackView, text)}, kEndPlace};
constexpr Place kInterestShape[] = {
    {lambda_v1_Interest_version_tag, Form::kU32, offsetof(InterestView, version)},
    {lambda_v1_Interest_gateway_tag, Form::kText, offsetof(InterestView, gateway)},
    {lambda_v1_Interest_incarnation_tag, Form::kFixed64, offsetof(InterestView, incarnation)},
    {lambda_v1_Interest_interest_version_tag, Form::kU64, offsetof(InterestView, interest_version)},
    {lambda_v1_Interest_lease_s_tag, Form::kU32, offsetof(InterestView, lease_s)},
    kEndPlace,
};

bool take_range(const FieldReader& field, uint32_t tag, void* to) {
  AckView& ack = *static_cast<AckView*>(to);
  if (tag != lambda_v1_Ack_ranges_tag || !field.is_bytes()) return true;
  SeqRange range{};
  if (!read_fields(field.bytes(), kRangeShape, &range)) return false;
  if (ack.range_count < kAckRangesMax) ack.ranges[ack.range_count++] = range;
  return true;
}

void add_ref(uint64_t ref, NackView* nack) {
  if (nack->ref_count < kDeclareRefsMax) nack->refs[nack->ref_count++] = static_cast<uint32_t>(ref);
}

// Proto3 packs repeated numbers; a reader must take both forms.
bool take_refs(const FieldReader& field, uint32_t tag, void* to) {
  NackView* const nack = static_cast<NackView*>(to);
  if (tag != lambda_v1_Declare_refs_tag) return true;
  if (field.is_varint()) add_ref(field.number(), nack);
  if (!field.is_bytes()) return true;
  for (Bytes packed = field.bytes(); !packed.empty();) {
    uint64_t ref = 0;
    const int size = read_varint(packed.data(), packed.size(), &ref);
    if (size <= 0) return false;
    packed = packed.subspan(static_cast<size_t>(size));
    add_ref(ref, nack);
  }
  return true;
}

bool take_verdict(const FieldReader& field, uint32_t tag, void* to) {
  static constexpr Shape kShapes[] = {kRetryAfterShape, kPermanentShape, kNewBootShape, wire::kNoFields};
  static_assert(lambda_v1_Nack_permanent_tag == lambda_v1_Nack_retry_after_tag + 1 &&
                lambda_v1_Nack_new_boot_tag == lambda_v1_Nack_retry_after_tag + 2 &&
                lambda_v1_Nack_declare_tag == lambda_v1_Nack_retry_after_tag + 3);
  static_assert(static_cast<int>(NackView::Verdict::kRetryAfter) == 1 &&
                static_cast<int>(NackView::Verdict::kDeclare) == 4);
  NackView& nack = *static_cast<NackView*>(to);
  const uint32_t verdict = tag - lambda_v1_Nack_retry_after_tag;
  if (verdict >= std::size(kShapes) || !field.is_bytes()) return true;
  nack.verdict = static_cast<NackView::Verdict>(verdict + 1);
  nack.ref_count = 0;
  nack.text = {};
  nack.code = RefusalCode::kMalformed;
  const bool declares = tag == lambda_v1_Nack_declare_tag;
  const bool whole = read_fields(field.bytes(), kShapes[verdict], &nack, declares ? take_refs : nullptr);
  const bool known = nack.code >= RefusalCode::kMalformed && nack.code <= RefusalCode::kWrongSender;
  if (!known) nack.code = RefusalCode::kMalformed;
  return whole;
}

bool take_answer(const FieldReader& field, uint32_t tag, void* to) {
  static constexpr struct {
    Shape shape;
    FieldTaker taker;
  } kAnswers[] = {{kAckShape, take_range}, {kNackShape, take_verdict}};
  static_assert(lambda_v1_Down_nack_tag == lambda_v1_Down_ack_tag + 1 &&
                static_cast<int>(DownMessage::Body::kNack) == static_cast<int>(DownMessage::Body::kAck) + 1);
  DownMessage& down = *static_cast<DownMessage*>(to);
  const uint32_t answer = tag - lambda_v1_Down_ack_tag;
  if (answer >= std::size(kAnswers) || !field.is_bytes()) return true;
  const bool is_ack = answer == 0;
  down.body = DownMessage::Body::kNone;
  // In place, for a copy would take a kilobyte of a small stack; and at once, not member by member.
  static_assert(std::is_trivially_copyable_v<AckView> && std::is_trivially_copyable_v<NackView> &&
                offsetof(NackView, refs) <= offsetof(AckView, ranges));
  void* const view = memset(static_cast<void*>(&down.ack), 0, offsetof(AckView, ranges));
  if (!is_ack) down.nack.code = RefusalCode::kMalformed;
  if (!read_fields(field.bytes(), kAnswers[answer].shape, view, kAnswers[answer].taker)) return false;
  if (is_ack && down.ack.policy > Policy::kRing) down.ack.policy = Policy::kLocal;
  down.body = static_cast<DownMessage::Body>(answer + static_cast<uint32_t>(DownMessage::Body::kAck));
  return true;
}

bool count_selector(const FieldReader& field, uint32_t tag, void* to) {
  InterestView& interest = *static_cast<InterestView*>(to);
  if (tag != lambda_v1_Interest_selectors_tag || !field.is_bytes()) return true;
  ++(interest.selector_count < kInterestSelectorsMax ? interest.selector_count : interest.selectors_left_out);
  return true;
}

}  // namespace

MessageError decode_down(Bytes message, DownMessage* down) {
  down->body = DownMessage::Body::kNone;
  if (!read_fields(message, wire::kNoFields, down, take_answer)) return MessageError::kMalformed;
  return down->body == DownMessage::Body::kNone ? MessageError::kEmpty : MessageError::kNone;
}

MessageError decode_interest(Bytes message, InterestView* interest,
                             void (*selector)(void* context, std::string_view text), void* context) {
  *interest = InterestView();
  if (message.empty()) return MessageError::kEmpty;  // a retained message that was taken back
  if (!read_fields(message, kInterestShape, interest, count_selector)) return MessageError::kMalformed;
  if (interest->version > kMessageVersion) return MessageError::kVersion;
  if (selector == nullptr) return MessageError::kNone;
  FieldReader again(message);
  size_t visited = 0;
  while (const uint32_t tag = again.next()) {
    if (tag != lambda_v1_Interest_selectors_tag || !again.is_bytes() || visited == interest->selector_count) continue;
    ++visited;
    selector(context, {reinterpret_cast<const char*>(again.bytes().data()), again.bytes().size()});
  }
  return MessageError::kNone;
}

}  // namespace lambda
