#include <string.h>

#include <type_traits>

#include "expect.h"
#include "lambda/messages.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda {
namespace {

using wire::embedded_size;
using wire::FieldWriter;
using wire::kEndPlace;
using wire::Place;
using wire::size_of;
using wire::writing;

static_assert(static_cast<int>(Kind::kState) == lambda_v1_Kind_STATE);
static_assert(static_cast<int>(ValueType::kState) == lambda_v1_ValueType_STATE64);
static_assert(static_cast<int>(GapReason::kCorrupt) == lambda_v1_GapReason_CORRUPT);
static_assert(static_cast<int>(GapReason::kThinned) == lambda_v1_GapReason_THINNED);
static_assert(std::is_standard_layout_v<DeclarationView> && std::is_standard_layout_v<HelloView> &&
                  std::is_standard_layout_v<ParcelHead> && std::is_standard_layout_v<GapView> &&
                  std::is_standard_layout_v<ClockView>,
              "their members have offsets");

// What stands behind a parcel's items.
struct Tail {
  const uint8_t* previous;
  const uint8_t* signature;
};
constexpr Place kTailShape[] = {
    {lambda_v1_Parcel_previous_tag, wire::Form::kDigest, offsetof(Tail, previous)},
    {lambda_v1_Parcel_key_spec_tag, wire::Form::kConstant, kKeySpecSecp256k1},
    {lambda_v1_Parcel_signature_tag, wire::Form::kSignature, offsetof(Tail, signature)},
    kEndPlace,
};

struct LiveHead {
  uint64_t boot;
  uint64_t interest_version;
};
constexpr Place kLiveHeadShape[] = {
    {lambda_v1_Live_version_tag, wire::Form::kConstant, kMessageVersion},
    {lambda_v1_Live_boot_tag, wire::Form::kFixed64, offsetof(LiveHead, boot)},
    {lambda_v1_Live_interest_version_tag, wire::Form::kU64, offsetof(LiveHead, interest_version)},
    kEndPlace,
};

}  // namespace

ParcelPlan::ParcelPlan(const ParcelHead& head, size_t bytes_max) : bytes_max_(bytes_max) {
  // Any address stands for the signature: only its length counts here.
  const Tail tail{head.previous, reinterpret_cast<const uint8_t*>(&head)};
  body_bytes_ = size_of(kParcelHeadShape, &head) + size_of(kTailShape, &tail);
}

size_t ParcelPlan::bytes() const {
  return embedded_size(lambda_v1_Up_parcel_tag, body_bytes_);
}

bool ParcelPlan::take(ParcelSection section, size_t item_bytes) {
  const size_t bytes = body_bytes_ + embedded_size(item_tag(section), item_bytes);
  if (embedded_size(lambda_v1_Up_parcel_tag, bytes) > bytes_max_) return false;
  body_bytes_ = bytes;
  ++items_[static_cast<size_t>(section)];
  return true;
}

LAMBDA_ONE_COPY bool ParcelPlan::take_fields(ParcelSection section, const void* from) {
  return take(section, size_of(item_shape(section), from));
}

bool ParcelPlan::add(const DeclarationView& declaration) {
  return take_fields(ParcelSection::kDeclarations, &declaration);
}

bool ParcelPlan::add_block(size_t block_bytes) {
  return blocks() < kParcelBlocksMax && take(ParcelSection::kBlocks, block_bytes);
}

bool ParcelPlan::add_block(size_t block_bytes, const DeclarationView& declaration) {
  const ParcelPlan before = *this;
  if (add(declaration) && add_block(block_bytes)) return true;
  *this = before;
  return false;
}

bool ParcelPlan::add(const GapView& gap) {
  return take_fields(ParcelSection::kGaps, &gap);
}

bool ParcelPlan::add(const ClockView& clock) {
  return take_fields(ParcelSection::kClocks, &clock);
}

ParcelBuilder::ParcelBuilder(const HashPort& hash, const ParcelHead& head, const ParcelPlan& plan,
                             std::span<uint8_t> space)
    : plan_(plan), space_(space), digest_(hash, head), previous_(head.previous) {
  FieldWriter out = writing(space_);
  out.head(lambda_v1_Up_parcel_tag, plan_.body_bytes_);
  out.fields(kParcelHeadShape, &head);
  wrote(out);
}

// Behind what is written; the room was planned, and is there.
void ParcelBuilder::wrote(const FieldWriter& out) {
  LAMBDA_EXPECT(out.ok());
  size_ = out.size();
}

// Opens every section up to `section`; the digest sees to it that none is left before all its items came.
void ParcelBuilder::advance(ParcelSection section) {
  while (digest_.section_ < section) {
    const auto next = static_cast<ParcelSection>(static_cast<uint8_t>(digest_.section_) + 1);
    digest_.begin(next, plan_.items(next));
  }
}

void ParcelBuilder::item(ParcelSection section, const void* from) {
  advance(section);
  digest_.item(section, from);
  FieldWriter out = writing(space_, size_);
  out.message(item_tag(section), item_shape(section), from);
  wrote(out);
}

void ParcelBuilder::declaration(const DeclarationView& declaration) {
  item(ParcelSection::kDeclarations, &declaration);
}

void ParcelBuilder::block(const BlockInfo& info, const uint8_t root[kDigestBytes], std::span<const uint8_t> bytes) {
  advance(ParcelSection::kBlocks);
  digest_.block(info, root);
  FieldWriter out = writing(space_, size_);
  out.bytes(lambda_v1_Parcel_blocks_tag, bytes);
  wrote(out);
}

void ParcelBuilder::gap(const GapView& gap) {
  item(ParcelSection::kGaps, &gap);
}

void ParcelBuilder::clock(const ClockView& clock) {
  item(ParcelSection::kClocks, &clock);
}

std::span<const uint8_t> ParcelBuilder::finish(const SignPort& signer, uint8_t digest[kDigestBytes]) {
  advance(ParcelSection::kClocks);
  uint8_t own[kDigestBytes], signature[kSignatureBytes];
  digest_.finish(own);
  if (!signer.sign(signer.context, own, signature)) return {};
  const Tail tail{previous_, signature};
  FieldWriter out = writing(space_, size_);
  out.fields(kTailShape, &tail);
  wrote(out);
  LAMBDA_EXPECT(size_ == plan_.bytes());
  memcpy(digest, own, kDigestBytes);
  return space_.first(size_);
}

size_t encode_hello(const HelloView& hello, std::span<uint8_t> space) {
  LAMBDA_EXPECT(hello.signature != nullptr);
  FieldWriter out = writing(space);
  out.message(lambda_v1_Up_hello_tag, kHelloShape, &hello);
  return out.ok() ? out.size() : 0;
}

LiveBuilder::LiveBuilder(std::span<uint8_t> space, uint64_t boot, uint64_t interest_version) : space_(space) {
  const LiveHead head{boot, interest_version};
  FieldWriter out = writing(space_);
  out.fields(kLiveHeadShape, &head);
  LAMBDA_EXPECT(out.ok());
  size_ = out.size();
}

bool LiveBuilder::add(const DeclarationView& declaration) {
  FieldWriter out = writing(space_, size_);
  out.message(lambda_v1_Live_declarations_tag, kDeclarationShape, &declaration);
  if (out.ok()) size_ = out.size();
  return out.ok();
}

bool LiveBuilder::add_block(std::span<const uint8_t> bytes) {
  FieldWriter out = writing(space_, size_);
  out.bytes(lambda_v1_Live_blocks_tag, bytes);
  if (out.ok()) size_ = out.size();
  return out.ok();
}

}  // namespace lambda
