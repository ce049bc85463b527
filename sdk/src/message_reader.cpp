#include "lambda/messages.h"

#include <new>

#include "proto/lambda.npb.h"
#include "wire.h"

namespace lambda {
namespace {

using wire::FieldReader;
using Bytes = std::span<const uint8_t>;

static_assert(static_cast<int>(Policy::kRing) == lambda_v1_Policy_RING);
static_assert(static_cast<int>(RefusalCode::kWrongSender) == lambda_v1_RefusalCode_WRONG_SENDER);

bool read_range(Bytes message, SeqRange* range) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (tag == lambda_v1_SeqRange_first_tag) in.varint(&range->first);
    if (tag == lambda_v1_SeqRange_last_tag) in.varint(&range->last);
  }
  return in.ok();
}

bool read_ack(Bytes message, AckView* ack) {
  FieldReader in(message);
  Bytes inner;
  uint64_t policy = 0;
  while (const uint32_t tag = in.next()) {
    switch (tag) {
      case lambda_v1_Ack_boot_tag:
        in.fixed64(&ack->boot);
        break;
      case lambda_v1_Ack_contiguous_seq_tag:
        in.varint(&ack->contiguous_seq);
        break;
      case lambda_v1_Ack_ranges_tag:
        if (in.bytes(&inner)) {
          SeqRange range;
          if (!read_range(inner, &range)) return false;
          if (ack->range_count < kAckRangesMax) ack->ranges[ack->range_count++] = range;
        }
        break;
      case lambda_v1_Ack_policy_tag:
        in.varint(&policy);
        break;
      case lambda_v1_Ack_gateway_tag:
        in.text(&ack->gateway);
        break;
      case lambda_v1_Ack_incarnation_tag:
        in.fixed64(&ack->incarnation);
        break;
      case lambda_v1_Ack_gateway_ms_tag:
        in.svarint(&ack->gateway_ms);
        break;
      case lambda_v1_Ack_nonce_tag:
        in.fixed64(&ack->nonce);
        break;
      default:
        break;
    }
  }
  const bool known = policy <= static_cast<uint64_t>(Policy::kRing);
  ack->policy = known ? static_cast<Policy>(policy) : Policy::kLocal;
  return in.ok();
}

bool read_retry_after(Bytes message, NackView* nack) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (tag == lambda_v1_RetryAfter_delay_ms_tag) in.varint(&nack->delay_ms);
    if (tag == lambda_v1_RetryAfter_reason_tag) in.text(&nack->text);
  }
  return in.ok();
}

bool read_permanent(Bytes message, NackView* nack) {
  FieldReader in(message);
  uint64_t code = 0;
  while (const uint32_t tag = in.next()) {
    if (tag == lambda_v1_Permanent_code_tag) in.varint(&code);
    if (tag == lambda_v1_Permanent_text_tag) in.text(&nack->text);
  }
  const bool known = code >= static_cast<uint64_t>(RefusalCode::kMalformed) &&
                     code <= static_cast<uint64_t>(RefusalCode::kWrongSender);
  nack->code = known ? static_cast<RefusalCode>(code) : RefusalCode::kMalformed;
  return in.ok();
}

bool read_new_boot(Bytes message, NackView* nack) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (tag == lambda_v1_NewBoot_text_tag) in.text(&nack->text);
  }
  return in.ok();
}

void take_ref(uint32_t ref, NackView* nack) {
  if (nack->ref_count < kDeclareRefsMax) nack->refs[nack->ref_count++] = ref;
}

// Proto3 packs repeated numbers; a reader must take both forms.
bool read_packed_refs(Bytes packed, NackView* nack) {
  pb_istream_t stream = pb_istream_from_buffer(packed.data(), packed.size());
  while (stream.bytes_left > 0) {
    uint64_t ref = 0;
    if (!pb_decode_varint(&stream, &ref)) return false;
    take_ref(static_cast<uint32_t>(ref), nack);
  }
  return true;
}

bool read_declare(Bytes message, NackView* nack) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    if (tag != lambda_v1_Declare_refs_tag) continue;
    Bytes packed;
    if (in.is_bytes()) {
      if (in.bytes(&packed) && !read_packed_refs(packed, nack)) return false;
    } else if (in.is_varint()) {
      uint32_t ref = 0;
      in.varint(&ref);
      take_ref(ref, nack);
    }
  }
  return in.ok();
}

bool read_verdict(uint32_t tag, Bytes message, NackView* nack) {
  nack->ref_count = 0;
  nack->text = {};
  switch (tag) {
    case lambda_v1_Nack_retry_after_tag:
      nack->verdict = NackView::Verdict::kRetryAfter;
      return read_retry_after(message, nack);
    case lambda_v1_Nack_permanent_tag:
      nack->verdict = NackView::Verdict::kPermanent;
      return read_permanent(message, nack);
    case lambda_v1_Nack_new_boot_tag:
      nack->verdict = NackView::Verdict::kNewBoot;
      return read_new_boot(message, nack);
    default:
      nack->verdict = NackView::Verdict::kDeclare;
      return read_declare(message, nack);
  }
}

bool read_nack(Bytes message, NackView* nack) {
  FieldReader in(message);
  Bytes inner;
  while (const uint32_t tag = in.next()) {
    switch (tag) {
      case lambda_v1_Nack_boot_tag:
        in.fixed64(&nack->boot);
        break;
      case lambda_v1_Nack_seq_tag:
        in.varint(&nack->seq);
        break;
      case lambda_v1_Nack_gateway_tag:
        in.text(&nack->gateway);
        break;
      case lambda_v1_Nack_incarnation_tag:
        in.fixed64(&nack->incarnation);
        break;
      case lambda_v1_Nack_retry_after_tag:
      case lambda_v1_Nack_permanent_tag:
      case lambda_v1_Nack_new_boot_tag:
      case lambda_v1_Nack_declare_tag:
        if (in.bytes(&inner) && !read_verdict(tag, inner, nack)) return false;
        break;
      default:
        break;
    }
  }
  return in.ok();
}

}  // namespace

MessageError decode_down(Bytes message, DownMessage* down) {
  down->body = DownMessage::Body::kNone;
  FieldReader in(message);
  Bytes inner;
  while (const uint32_t tag = in.next()) {
    if (tag == lambda_v1_Down_ack_tag && in.bytes(&inner)) {
      new (&down->ack) AckView();  // in place: a copy would take a kilobyte of a small stack
      if (!read_ack(inner, &down->ack)) return MessageError::kMalformed;
      down->body = DownMessage::Body::kAck;
    } else if (tag == lambda_v1_Down_nack_tag && in.bytes(&inner)) {
      new (&down->nack) NackView();
      if (!read_nack(inner, &down->nack)) return MessageError::kMalformed;
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
  std::string_view text;
  while (const uint32_t tag = in.next()) {
    switch (tag) {
      case lambda_v1_Interest_version_tag:
        in.varint(&interest->version);
        break;
      case lambda_v1_Interest_gateway_tag:
        in.text(&interest->gateway);
        break;
      case lambda_v1_Interest_incarnation_tag:
        in.fixed64(&interest->incarnation);
        break;
      case lambda_v1_Interest_interest_version_tag:
        in.varint(&interest->interest_version);
        break;
      case lambda_v1_Interest_lease_s_tag:
        in.varint(&interest->lease_s);
        break;
      case lambda_v1_Interest_selectors_tag:
        if (!in.is_bytes()) break;
        ++(interest->selector_count < kInterestSelectorsMax ? interest->selector_count : interest->selectors_left_out);
        break;
      default:
        break;
    }
  }
  if (!in.ok()) return MessageError::kMalformed;
  if (interest->version > kMessageVersion) return MessageError::kVersion;
  if (selector == nullptr) return MessageError::kNone;
  FieldReader again(message);
  size_t visited = 0;
  while (const uint32_t tag = again.next()) {
    if (tag != lambda_v1_Interest_selectors_tag || !again.is_bytes() || visited == interest->selector_count) continue;
    again.text(&text);
    ++visited;
    selector(context, text);
  }
  return MessageError::kNone;
}

}  // namespace lambda
