// Where the fields of what several messages are made of lie. Private to the SDK's sources.
#pragma once

#include <stddef.h>

#include "lambda/messages.h"
#include "proto/lambda.npb.h"
#include "wire.h"

namespace lambda {

// The order of the fields is also that of the signed form (proto/parcel.md); what that leaves out is kConstant, or
// stands behind the signature.
inline constexpr wire::Place kLabelShape[] = {
    {lambda_v1_Label_name_tag, wire::Form::kText, offsetof(LabelView, name)},
    {lambda_v1_Label_value_tag, wire::Form::kText, offsetof(LabelView, value)},
    wire::kEndPlace,
};

inline constexpr wire::Place kDeclarationShape[] = {
    {lambda_v1_Declaration_ref_tag, wire::Form::kU32, offsetof(DeclarationView, ref)},
    {lambda_v1_Declaration_name_tag, wire::Form::kText, offsetof(DeclarationView, name)},
    {lambda_v1_Declaration_labels_tag, wire::Form::kLabels, offsetof(DeclarationView, labels)},
    {lambda_v1_Declaration_kind_tag, wire::Form::kU8, offsetof(DeclarationView, kind)},
    {lambda_v1_Declaration_type_tag, wire::Form::kU8, offsetof(DeclarationView, type)},
    {lambda_v1_Declaration_scale_tag, wire::Form::kU8, offsetof(DeclarationView, scale)},
    {lambda_v1_Declaration_unit_tag, wire::Form::kText, offsetof(DeclarationView, unit)},
    wire::kEndPlace,
};

inline constexpr wire::Place kGapShape[] = {
    {lambda_v1_Gap_ref_tag, wire::Form::kU32, offsetof(GapView, ref)},
    {lambda_v1_Gap_first_ordinal_tag, wire::Form::kU64, offsetof(GapView, first_ordinal)},
    {lambda_v1_Gap_count_tag, wire::Form::kU64, offsetof(GapView, count)},
    {lambda_v1_Gap_reason_tag, wire::Form::kU8, offsetof(GapView, reason)},
    wire::kEndPlace,
};

inline constexpr wire::Place kClockShape[] = {
    {lambda_v1_ClockSegment_segment_tag, wire::Form::kU32, offsetof(ClockView, segment)},
    {lambda_v1_ClockSegment_relative_tag, wire::Form::kU8, offsetof(ClockView, relative)},
    {lambda_v1_ClockSegment_offset_ms_tag, wire::Form::kSigned, offsetof(ClockView, offset_ms)},
    {lambda_v1_ClockSegment_known_tag, wire::Form::kU8, offsetof(ClockView, known)},
    wire::kEndPlace,
};

inline constexpr wire::Place kParcelHeadShape[] = {
    {lambda_v1_Parcel_version_tag, wire::Form::kConstant, kMessageVersion},
    {lambda_v1_Parcel_site_tag, wire::Form::kText, offsetof(ParcelHead, site)},
    {lambda_v1_Parcel_device_tag, wire::Form::kText, offsetof(ParcelHead, device)},
    {lambda_v1_Parcel_boot_tag, wire::Form::kFixed64, offsetof(ParcelHead, boot)},
    {lambda_v1_Parcel_seq_tag, wire::Form::kU64, offsetof(ParcelHead, seq)},
    {lambda_v1_Parcel_created_ms_tag, wire::Form::kSigned, offsetof(ParcelHead, created_ms)},
    {lambda_v1_Parcel_floor_seq_tag, wire::Form::kU64, offsetof(ParcelHead, floor_seq)},
    wire::kEndPlace,
};

inline constexpr wire::Place kHelloShape[] = {
    {lambda_v1_Hello_version_tag, wire::Form::kConstant, kMessageVersion},
    {lambda_v1_Hello_site_tag, wire::Form::kText, offsetof(HelloView, site)},
    {lambda_v1_Hello_device_tag, wire::Form::kText, offsetof(HelloView, device)},
    {lambda_v1_Hello_boot_tag, wire::Form::kFixed64, offsetof(HelloView, boot)},
    {lambda_v1_Hello_previous_boot_tag, wire::Form::kFixed64, offsetof(HelloView, previous_boot)},
    {lambda_v1_Hello_started_ms_tag, wire::Form::kSigned, offsetof(HelloView, started_ms)},
    {lambda_v1_Hello_key_spec_tag, wire::Form::kConstant, kKeySpecSecp256k1},
    {lambda_v1_Hello_signature_tag, wire::Form::kSignature, offsetof(HelloView, signature)},
    {lambda_v1_Hello_nonce_tag, wire::Form::kFixed64, offsetof(HelloView, nonce)},
    {lambda_v1_Hello_sent_ms_tag, wire::Form::kSigned, offsetof(HelloView, sent_ms)},
    {lambda_v1_Hello_next_seq_tag, wire::Form::kU64, offsetof(HelloView, next_seq)},
    {lambda_v1_Hello_floor_seq_tag, wire::Form::kU64, offsetof(HelloView, floor_seq)},
    {lambda_v1_Hello_backlog_parcels_tag, wire::Form::kU64, offsetof(HelloView, backlog_parcels)},
    {lambda_v1_Hello_backlog_bytes_tag, wire::Form::kU64, offsetof(HelloView, backlog_bytes)},
    {lambda_v1_Hello_software_tag, wire::Form::kText, offsetof(HelloView, software)},
    wire::kEndPlace,
};
// What a parcel holds behind its head, by section: its number there, and what is signed of it. A block is written as it
// is; these fields of it are signed, beside its root, and have no numbers.
inline constexpr wire::Place kSignedBlockShape[] = {
    {0, wire::Form::kU32, offsetof(BlockInfo, ref)},
    {0, wire::Form::kU8, offsetof(BlockInfo, type)},
    {0, wire::Form::kU8, offsetof(BlockInfo, scale)},
    {0, wire::Form::kU32, offsetof(BlockInfo, clock)},
    {0, wire::Form::kU64, offsetof(BlockInfo, first_ordinal)},
    {0, wire::Form::kU32, offsetof(BlockInfo, count)},
    wire::kEndPlace,
};
inline wire::Shape item_shape(ParcelSection section) {
  static constexpr wire::Shape kShapes[] = {kDeclarationShape, kSignedBlockShape, kGapShape, kClockShape};
  return kShapes[static_cast<size_t>(section) - static_cast<size_t>(ParcelSection::kDeclarations)];
}
constexpr uint32_t item_tag(ParcelSection section) {
  return lambda_v1_Parcel_declarations_tag - static_cast<uint32_t>(ParcelSection::kDeclarations) +
         static_cast<uint32_t>(section);
}
static_assert(item_tag(ParcelSection::kDeclarations) == lambda_v1_Parcel_declarations_tag &&
              item_tag(ParcelSection::kBlocks) == lambda_v1_Parcel_blocks_tag &&
              item_tag(ParcelSection::kGaps) == lambda_v1_Parcel_gaps_tag &&
              item_tag(ParcelSection::kClocks) == lambda_v1_Parcel_clocks_tag);

}  // namespace lambda
