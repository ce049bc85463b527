#include <string.h>

#include "expect.h"
#include "lambda/messages.h"
#include "proto/lambda.npb.h"
#include "wire.h"

namespace lambda {
namespace {

using wire::counting;
using wire::FieldWriter;
using wire::writing;

static_assert(static_cast<int>(Kind::kState) == lambda_v1_Kind_STATE);
static_assert(static_cast<int>(ValueType::kState) == lambda_v1_ValueType_STATE64);
static_assert(static_cast<int>(GapReason::kCorrupt) == lambda_v1_GapReason_CORRUPT);

// Fields go in the order of their numbers: with values that are fixed too, a message built again has the same bytes.

void write_label(FieldWriter& out, const LabelView& label) {
  out.text(lambda_v1_Label_name_tag, label.name);
  out.text(lambda_v1_Label_value_tag, label.value);
}

void write_declaration(FieldWriter& out, const DeclarationView& declaration) {
  out.varint(lambda_v1_Declaration_ref_tag, declaration.ref);
  out.text(lambda_v1_Declaration_name_tag, declaration.name);
  for (const LabelView& label : declaration.labels) {
    FieldWriter size = counting();
    write_label(size, label);
    out.head(lambda_v1_Declaration_labels_tag, size.size());
    write_label(out, label);
  }
  out.varint(lambda_v1_Declaration_kind_tag, static_cast<uint64_t>(declaration.kind));
  out.varint(lambda_v1_Declaration_type_tag, static_cast<uint64_t>(declaration.type));
  out.varint(lambda_v1_Declaration_scale_tag, declaration.scale);
  out.text(lambda_v1_Declaration_unit_tag, declaration.unit);
}

void write_gap(FieldWriter& out, const GapView& gap) {
  out.varint(lambda_v1_Gap_ref_tag, gap.ref);
  out.varint(lambda_v1_Gap_first_ordinal_tag, gap.first_ordinal);
  out.varint(lambda_v1_Gap_count_tag, gap.count);
  out.varint(lambda_v1_Gap_reason_tag, static_cast<uint64_t>(gap.reason));
}

void write_clock(FieldWriter& out, const ClockView& clock) {
  out.varint(lambda_v1_ClockSegment_segment_tag, clock.segment);
  out.varint(lambda_v1_ClockSegment_relative_tag, clock.relative ? 1 : 0);
  out.svarint(lambda_v1_ClockSegment_offset_ms_tag, clock.offset_ms);
  out.varint(lambda_v1_ClockSegment_known_tag, clock.known ? 1 : 0);
}

void write_head(FieldWriter& out, const ParcelHead& head) {
  out.varint(lambda_v1_Parcel_version_tag, kMessageVersion);
  out.text(lambda_v1_Parcel_site_tag, head.site);
  out.text(lambda_v1_Parcel_device_tag, head.device);
  out.fixed64(lambda_v1_Parcel_boot_tag, head.boot);
  out.varint(lambda_v1_Parcel_seq_tag, head.seq);
  out.svarint(lambda_v1_Parcel_created_ms_tag, head.created_ms);
  out.varint(lambda_v1_Parcel_floor_seq_tag, head.floor_seq);
}

void write_tail(FieldWriter& out, const uint8_t* previous, const uint8_t signature[kSignatureBytes]) {
  if (previous != nullptr) out.bytes(lambda_v1_Parcel_previous_tag, {previous, kDigestBytes});
  out.varint(lambda_v1_Parcel_key_spec_tag, kKeySpecSecp256k1);
  out.bytes(lambda_v1_Parcel_signature_tag, {signature, kSignatureBytes});
}

// Bytes of an embedded message of `size` bytes with its head.
size_t embedded_size(uint32_t tag, size_t size) {
  FieldWriter head = counting();
  head.head(tag, size);
  return head.size() + size;
}

template <class Write>
size_t size_of(Write write) {
  FieldWriter count = counting();
  write(count);
  return count.size();
}

size_t size_of(const DeclarationView& declaration) {
  return size_of([&](FieldWriter& out) { write_declaration(out, declaration); });
}

// Writes behind `size` and moves it; the room was planned.
template <class Write>
void write_planned(std::span<uint8_t> space, size_t* size, Write write) {
  FieldWriter out = writing(space.subspan(*size));
  write(out);
  LAMBDA_EXPECT(out.ok());
  *size += out.size();
}

}  // namespace

ParcelPlan::ParcelPlan(const ParcelHead& head, size_t bytes_max) : bytes_max_(bytes_max) {
  static constexpr uint8_t kAny[kSignatureBytes] = {};
  body_bytes_ = size_of([&](FieldWriter& out) {
    write_head(out, head);
    write_tail(out, head.previous != nullptr ? kAny : nullptr, kAny);
  });
}

size_t ParcelPlan::bytes() const {
  return embedded_size(lambda_v1_Up_parcel_tag, body_bytes_);
}

bool ParcelPlan::take(size_t bytes) {
  if (embedded_size(lambda_v1_Up_parcel_tag, body_bytes_ + bytes) > bytes_max_) return false;
  body_bytes_ += bytes;
  return true;
}

bool ParcelPlan::add(const DeclarationView& declaration) {
  if (!take(embedded_size(lambda_v1_Parcel_declarations_tag, size_of(declaration)))) return false;
  ++declarations_;
  return true;
}

bool ParcelPlan::add_block(size_t block_bytes) {
  if (blocks_ == kParcelBlocksMax || !take(embedded_size(lambda_v1_Parcel_blocks_tag, block_bytes))) return false;
  ++blocks_;
  return true;
}

bool ParcelPlan::add_block(size_t block_bytes, const DeclarationView& declaration) {
  const ParcelPlan before = *this;
  if (add(declaration) && add_block(block_bytes)) return true;
  *this = before;
  return false;
}

bool ParcelPlan::add(const GapView& gap) {
  const size_t size = size_of([&](FieldWriter& out) { write_gap(out, gap); });
  if (!take(embedded_size(lambda_v1_Parcel_gaps_tag, size))) return false;
  ++gaps_;
  return true;
}

bool ParcelPlan::add(const ClockView& clock) {
  const size_t size = size_of([&](FieldWriter& out) { write_clock(out, clock); });
  if (!take(embedded_size(lambda_v1_Parcel_clocks_tag, size))) return false;
  ++clocks_;
  return true;
}

ParcelBuilder::ParcelBuilder(const HashPort& hash, const ParcelHead& head, const ParcelPlan& plan,
                             std::span<uint8_t> space)
    : plan_(plan), space_(space), digest_(hash, head), has_previous_(head.previous != nullptr) {
  LAMBDA_EXPECT(space_.size() >= plan_.bytes());
  if (has_previous_) memcpy(previous_, head.previous, kDigestBytes);
  write_planned(space_, &size_, [&](FieldWriter& out) {
    out.head(lambda_v1_Up_parcel_tag, plan_.body_bytes_);
    write_head(out, head);
  });
}

// Opens every section up to `section`; the digest sees to it that none is left before all its items came.
void ParcelBuilder::advance(Section section) {
  while (section_ < section) {
    section_ = static_cast<Section>(static_cast<uint8_t>(section_) + 1);
    switch (section_) {
      case Section::kHead:
        break;
      case Section::kDeclarations:
        digest_.declarations(plan_.declarations_);
        break;
      case Section::kBlocks:
        digest_.blocks(plan_.blocks_);
        break;
      case Section::kGaps:
        digest_.gaps(plan_.gaps_);
        break;
      case Section::kClocks:
        digest_.clocks(plan_.clocks_);
        break;
    }
  }
}

void ParcelBuilder::declaration(const DeclarationView& declaration) {
  advance(Section::kDeclarations);
  digest_.declaration(declaration);
  write_planned(space_, &size_, [&](FieldWriter& out) {
    out.head(lambda_v1_Parcel_declarations_tag, size_of(declaration));
    write_declaration(out, declaration);
  });
}

void ParcelBuilder::block(const BlockInfo& info, const uint8_t root[kDigestBytes], std::span<const uint8_t> bytes) {
  advance(Section::kBlocks);
  digest_.block(info, root);
  write_planned(space_, &size_, [&](FieldWriter& out) { out.bytes(lambda_v1_Parcel_blocks_tag, bytes); });
}

void ParcelBuilder::gap(const GapView& gap) {
  advance(Section::kGaps);
  digest_.gap(gap);
  const size_t size = size_of([&](FieldWriter& out) { write_gap(out, gap); });
  write_planned(space_, &size_, [&](FieldWriter& out) {
    out.head(lambda_v1_Parcel_gaps_tag, size);
    write_gap(out, gap);
  });
}

void ParcelBuilder::clock(const ClockView& clock) {
  advance(Section::kClocks);
  digest_.clock(clock);
  const size_t size = size_of([&](FieldWriter& out) { write_clock(out, clock); });
  write_planned(space_, &size_, [&](FieldWriter& out) {
    out.head(lambda_v1_Parcel_clocks_tag, size);
    write_clock(out, clock);
  });
}

std::span<const uint8_t> ParcelBuilder::finish(const SignPort& signer, uint8_t digest[kDigestBytes]) {
  advance(Section::kClocks);
  digest_.finish(digest);
  uint8_t signature[kSignatureBytes];
  if (!signer.sign(signer.context, digest, signature)) return {};
  write_planned(space_, &size_,
                [&](FieldWriter& out) { write_tail(out, has_previous_ ? previous_ : nullptr, signature); });
  LAMBDA_EXPECT(size_ == plan_.bytes());
  return space_.first(size_);
}

size_t encode_hello(const HelloView& hello, std::span<uint8_t> space) {
  const auto write = [&](FieldWriter& out) {
    out.varint(lambda_v1_Hello_version_tag, kMessageVersion);
    out.text(lambda_v1_Hello_site_tag, hello.site);
    out.text(lambda_v1_Hello_device_tag, hello.device);
    out.fixed64(lambda_v1_Hello_boot_tag, hello.boot);
    out.fixed64(lambda_v1_Hello_previous_boot_tag, hello.previous_boot);
    out.svarint(lambda_v1_Hello_started_ms_tag, hello.started_ms);
    out.varint(lambda_v1_Hello_key_spec_tag, kKeySpecSecp256k1);
    out.bytes(lambda_v1_Hello_signature_tag, {hello.signature, kSignatureBytes});
    out.fixed64(lambda_v1_Hello_nonce_tag, hello.nonce);
    out.svarint(lambda_v1_Hello_sent_ms_tag, hello.sent_ms);
    out.varint(lambda_v1_Hello_next_seq_tag, hello.next_seq);
    out.varint(lambda_v1_Hello_floor_seq_tag, hello.floor_seq);
    out.varint(lambda_v1_Hello_backlog_parcels_tag, hello.backlog_parcels);
    out.varint(lambda_v1_Hello_backlog_bytes_tag, hello.backlog_bytes);
    out.text(lambda_v1_Hello_software_tag, hello.software);
  };
  LAMBDA_EXPECT(hello.signature != nullptr);
  FieldWriter out = writing(space);
  out.head(lambda_v1_Up_hello_tag, size_of(write));
  write(out);
  return out.ok() ? out.size() : 0;
}

LiveBuilder::LiveBuilder(std::span<uint8_t> space, uint64_t boot, uint64_t interest_version) : space_(space) {
  FieldWriter out = writing(space_);
  out.varint(lambda_v1_Live_version_tag, kMessageVersion);
  out.fixed64(lambda_v1_Live_boot_tag, boot);
  out.varint(lambda_v1_Live_interest_version_tag, interest_version);
  LAMBDA_EXPECT(out.ok());
  size_ = out.size();
}

bool LiveBuilder::add(const DeclarationView& declaration) {
  const size_t size = size_of(declaration);
  if (embedded_size(lambda_v1_Live_declarations_tag, size) > space_.size() - size_) return false;
  write_planned(space_, &size_, [&](FieldWriter& out) {
    out.head(lambda_v1_Live_declarations_tag, size);
    write_declaration(out, declaration);
  });
  return true;
}

bool LiveBuilder::add_block(std::span<const uint8_t> bytes) {
  if (embedded_size(lambda_v1_Live_blocks_tag, bytes.size()) > space_.size() - size_) return false;
  write_planned(space_, &size_, [&](FieldWriter& out) { out.bytes(lambda_v1_Live_blocks_tag, bytes); });
  return true;
}

}  // namespace lambda
