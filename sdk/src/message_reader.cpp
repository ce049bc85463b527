#include <new>
#include <type_traits>

#include "lambda/messages.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda {
namespace {

using wire::FieldReader;
using wire::Form;
using wire::Place;
using wire::read_fields;
using wire::Shape;
using Bytes = std::span<const uint8_t>;

static_assert(static_cast<int>(Policy::kRing) == lambda_v1_Policy_RING);
static_assert(static_cast<int>(RefusalCode::kWrongSender) == lambda_v1_RefusalCode_WRONG_SENDER);
static_assert(std::is_standard_layout_v<AckView> && std::is_standard_layout_v<NackView> &&
                  std::is_standard_layout_v<InterestView>,
              "their members have offsets");

constexpr Place kRangePlaces[] = {
    {lambda_v1_SeqRange_first_tag, Form::kU64, offsetof(SeqRange, first)},
    {lambda_v1_SeqRange_last_tag, Form::kU64, offsetof(SeqRange, last)},
};
constexpr Shape kRangeShape{kRangePlaces, std::size(kRangePlaces)};
constexpr Place kAckPlaces[] = {
    {lambda_v1_Ack_boot_tag, Form::kFixed64, offsetof(AckView, boot)},
    {lambda_v1_Ack_contiguous_seq_tag, Form::kU64, offsetof(AckView, contiguous_seq)},
    {lambda_v1_Ack_policy_tag, Form::kU8, offsetof(AckView, policy)},
    {lambda_v1_Ack_gateway_tag, Form::kText, offsetof(AckView, gateway)},
    {lambda_v1_Ack_incarnation_tag, Form::kFixed64, offsetof(AckView, incarnation)},
    {lambda_v1_Ack_gateway_ms_tag, Form::kSigned, offsetof(AckView, gateway_ms)},
    {lambda_v1_Ack_nonce_tag, Form::kFixed64, offsetof(AckView, nonce)},
    {lambda_v1_Ack_codecs_tag, Form::kU32, offsetof(AckView, codecs)},
};
constexpr Shape kAckShape{kAckPlaces, std::size(kAckPlaces)};
constexpr Place kNackPlaces[] = {
    {lambda_v1_Nack_boot_tag, Form::kFixed64, offsetof(NackView, boot)},
    {lambda_v1_Nack_seq_tag, Form::kU64, offsetof(NackView, seq)},
    {lambda_v1_Nack_gateway_tag, Form::kText, offsetof(NackView, gateway)},
    {lambda_v1_Nack_incarnation_tag, Form::kFixed64, offsetof(NackView, incarnation)},
};
constexpr Shape kNackShape{kNackPlaces, std::size(kNackPlaces)};
// The verdicts' own fields.
constexpr Place kRetryAfterPlaces[] = {
    {lambda_v1_RetryAfter_delay_ms_tag, Form::kU32, offsetof(NackView, delay_ms)},
    {lambda_v1_RetryAfter_reason_tag, Form::kText, offsetof(NackView, text)},
};
constexpr Shape kRetryAfterShape{kRetryAfterPlaces, std::size(kRetryAfterPlaces)};
constexpr Place kPermanentPlaces[] = {
    {lambda_v1_Permanent_code_tag, Form::kU8, offsetof(NackView, code)},
    {lambda_v1_Permanent_text_tag, Form::kText, offsetof(NackView, text)},
};
constexpr Shape kPermanentShape{kPermanentPlaces, std::size(kPermanentPlaces)};
constexpr Place kNewBootPlaces[] = {{lambda_v1_NewBoot_text_tag, Form::kText, offsetof(NackView, text)}};
constexpr Shape kNewBootShape{kNewBootPlaces, std::size(kNewBootPlaces)};
constexpr Place kInterestPlaces[] = {
    {lambda_v1_Interest_version_tag, Form::kU32, offsetof(InterestView, version)},
    {lambda_v1_Interest_gateway_tag, Form::kText, offsetof(InterestView, gateway)},
    {lambda_v1_Interest_incarnation_tag, Form::kFixed64, offsetof(InterestView, incarnation)},
    {lambda_v1_Interest_interest_version_tag, Form::kU64, offsetof(InterestView, interest_version)},
    {lambda_v1_Interest_lease_s_tag, Form::kU32, offsetof(InterestView, lease_s)},
};
constexpr Shape kInterestShape{kInterestPlaces, std::size(kInterestPlaces)};

bool read_ack(Bytes message, AckView* ack) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    in.take(kAckShape, ack);
    if (tag != lambda_v1_Ack_ranges_tag || !in.is_bytes()) continue;
    SeqRange range{};
    if (!read_fields(in.bytes(), kRangeShape, &range)) return false;
    if (ack->range_count < kAckRangesMax) ack->ranges[ack->range_count++] = range;
  }
  if (ack->policy > Policy::kRing) ack->policy = Policy::kLocal;
  return in.ok();
}

void take_ref(uint64_t ref, NackView* nack) {
  if (nack->ref_count < kDeclareRefsMax) nack->refs[nack->ref_count++] = static_cast<uint32_t>(ref);
}

// Proto3 packs repeated numbers; a reader must take both forms.
bool read_declare(Bytes message, NackView* nack) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (tag != lambda_v1_Declare_refs_tag) continue;
    if (in.is_varint()) take_ref(in.number(), nack);
    if (!in.is_bytes()) continue;
    for (Bytes packed = in.bytes(); !packed.empty();) {
      uint64_t ref = 0;
      const int size = read_varint(packed.data(), packed.size(), &ref);
      if (size <= 0) return false;
      packed = packed.subspan(static_cast<size_t>(size));
      take_ref(ref, nack);
    }
  }
  return in.ok();
}

bool read_verdict(uint32_t tag, Bytes message, NackView* nack) {
  nack->ref_count = 0;
  nack->text = {};
  const Shape* shape = nullptr;
  switch (tag) {
    case lambda_v1_Nack_retry_after_tag:
      nack->verdict = NackView::Verdict::kRetryAfter;
      shape = &kRetryAfterShape;
      break;
    case lambda_v1_Nack_permanent_tag:
      nack->verdict = NackView::Verdict::kPermanent;
      nack->code = RefusalCode::kMalformed;
      shape = &kPermanentShape;
      break;
    case lambda_v1_Nack_new_boot_tag:
      nack->verdict = NackView::Verdict::kNewBoot;
      shape = &kNewBootShape;
      break;
    default:
      nack->verdict = NackView::Verdict::kDeclare;
      return read_declare(message, nack);
  }
  const bool whole = read_fields(message, *shape, nack);
  const bool known = nack->code >= RefusalCode::kMalformed && nack->code <= RefusalCode::kWrongSender;
  if (!known) nack->code = RefusalCode::kMalformed;
  return whole;
}

bool read_nack(Bytes message, NackView* nack) {
  static_assert(lambda_v1_Nack_retry_after_tag + 3 == lambda_v1_Nack_declare_tag);
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    in.take(kNackShape, nack);
    const bool verdict = tag >= lambda_v1_Nack_retry_after_tag && tag <= lambda_v1_Nack_declare_tag;
    if (verdict && in.is_bytes() && !read_verdict(tag, in.bytes(), nack)) return false;
  }
  return in.ok();
}

}  // namespace

MessageError decode_down(Bytes message, DownMessage* down) {
  down->body = DownMessage::Body::kNone;
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (!in.is_bytes()) continue;
    if (tag == lambda_v1_Down_ack_tag) {
      down->body = DownMessage::Body::kNone;
      new (&down->ack) AckView;  // in place: a copy would take a kilobyte of a small stack
      if (!read_ack(in.bytes(), &down->ack)) return MessageError::kMalformed;
      down->body = DownMessage::Body::kAck;
    } else if (tag == lambda_v1_Down_nack_tag) {
      down->body = DownMessage::Body::kNone;
      new (&down->nack) NackView;
      if (!read_nack(in.bytes(), &down->nack)) return MessageError::kMalformed;
      down->body = DownMessage::Body::kNack;
    }
  }
  if (!in.ok()) return MessageError::kMalformed;
  return down->body == DownMessage::Body::kNone ? MessageError::kEmpty : MessageError::kNone;
}

MessageError decode_interest(Bytes message, InterestView* interest,
                             void (*selector)(void* context, std::string_view text), void* context) {
  *interest = InterestView();
  if (message.empty()) return MessageError::kEmpty;  // a retained message that was taken back
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    in.take(kInterestShape, interest);
    if (tag != lambda_v1_Interest_selectors_tag || !in.is_bytes()) continue;
    ++(interest->selector_count < kInterestSelectorsMax ? interest->selector_count : interest->selectors_left_out);
  }
  if (!in.ok()) return MessageError::kMalformed;
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
