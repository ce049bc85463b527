#include "gateway/ingest/up_message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include "gateway/ingest/declaration.h"
#include "lambda/codecs.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr uint32_t tag_of(int field, WireFormatLite::WireType type) {
  return (static_cast<uint32_t>(field) << 3) | static_cast<uint32_t>(type);
}
constexpr auto kVarint = WireFormatLite::WIRETYPE_VARINT;
constexpr auto kFixed64 = WireFormatLite::WIRETYPE_FIXED64;
constexpr auto kBytes = WireFormatLite::WIRETYPE_LENGTH_DELIMITED;

CodedInputStream stream_of(std::string_view bytes) {
  return CodedInputStream(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
}

// A length-delimited field as a view into `whole`, which `in` reads.
bool read_view(CodedInputStream& in, std::string_view whole, std::string_view* view) {
  uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return false;
  const auto at = static_cast<size_t>(in.CurrentPosition());
  if (size > whole.size() - at) return false;
  *view = whole.substr(at, size);
  return in.Skip(static_cast<int>(size));
}

// Calls `field(tag)` for each field; it returns -1 for one it does not want, else whether it could be read.
template <class Field>
bool walk(CodedInputStream& in, Field field) {
  while (true) {
    const uint32_t tag = in.ReadTag();
    if (tag == 0) return in.ConsumedEntireMessage();
    const int taken = field(tag);
    if (taken == 0) return false;
    if (taken < 0 && !WireFormatLite::SkipField(&in, tag)) return false;
  }
}

bool read_inner(UpHead* head) {
  const bool hello = head->body == UpHead::Body::kHello;
  CodedInputStream in = stream_of(head->inner);
  return walk(in, [&](uint32_t tag) -> int {
    switch (tag) {
      case tag_of(v1::Parcel::kVersionFieldNumber, kVarint):
        return in.ReadVarint32(&head->version);
      case tag_of(v1::Parcel::kSiteFieldNumber, kBytes):
        return read_view(in, head->inner, &head->site);
      case tag_of(v1::Parcel::kDeviceFieldNumber, kBytes):
        return read_view(in, head->inner, &head->device);
      case tag_of(v1::Parcel::kBootFieldNumber, kFixed64):
        return in.ReadLittleEndian64(&head->boot);
      case tag_of(v1::Parcel::kSeqFieldNumber, kVarint):
        return hello ? -1 : in.ReadVarint64(&head->seq);
      default:
        return -1;
    }
  });
}

// The blocks of a Parcel message, where they lie in it.
bool block_views(std::string_view parcel, std::vector<std::string_view>* blocks) {
  CodedInputStream in = stream_of(parcel);
  return walk(in, [&](uint32_t tag) -> int {
    if (tag != tag_of(v1::Parcel::kBlocksFieldNumber, kBytes)) return -1;
    return read_view(in, parcel, &blocks->emplace_back());
  });
}

Decoded malformed(std::string text) {
  return {DecodeVerdict::kMalformed, std::move(text)};
}
Decoded unsupported(std::string text) {
  return {DecodeVerdict::kUnsupported, std::move(text)};
}

std::string item(const char* what, int index, const std::string& text) {
  return std::string(what) + "[" + std::to_string(index) + "]: " + text;
}

Decoded read_gap(const v1::Gap& from, int index, GapView* to) {
  constexpr uint64_t kOrdinalMax = uint64_t{1} << 63;
  *to = {from.ref(), from.first_ordinal(), from.count(), static_cast<GapReason>(from.reason())};
  if (to->count == 0) return malformed(item("gaps", index, "count is 0"));
  if (to->first_ordinal > kOrdinalMax || to->count > kOrdinalMax - to->first_ordinal) {
    return malformed(item("gaps", index, "ordinals pass 2^63"));
  }
  if (from.reason() < 1) return malformed(item("gaps", index, "reason is missing"));
  if (from.reason() > 6)
    return unsupported(item("gaps", index, "reason " + std::to_string(from.reason()) + " is unknown"));
  return {DecodeVerdict::kOk, {}};
}

Decoded read_fields(const v1::Parcel& from, DecodedParcel* to) {
  StoreRequest& request = to->request;
  if (from.seq() == 0) return malformed("seq is 0");
  if (from.boot() == 0) return malformed("boot is 0");
  if (!from.previous().empty() && from.previous().size() != kDigestBytes) return malformed("previous is not 32 bytes");
  if (static_cast<size_t>(from.blocks_size()) > kParcelBlocksMax) return malformed("more than 4096 blocks");
  if (static_cast<size_t>(std::max({from.declarations_size(), from.gaps_size(), from.clocks_size()})) >
      kParcelItemsMax) {
    return malformed("more than 4096 declarations, gaps or clock segments");
  }
  request.device = from.device();
  request.boot = from.boot();
  request.seq = from.seq();
  request.floor_seq = from.floor_seq();
  std::copy(from.previous().begin(), from.previous().end(), request.previous.begin());
  to->signature = from.signature();
  to->key_spec = from.key_spec();
  request.declarations.resize(static_cast<size_t>(from.declarations_size()));
  for (int i = 0; i < from.declarations_size(); ++i) {
    Decoded read = read_declaration(from.declarations(i), i, &request.declarations[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  request.gaps.resize(static_cast<size_t>(from.gaps_size()));
  for (int i = 0; i < from.gaps_size(); ++i) {
    Decoded read = read_gap(from.gaps(i), i, &request.gaps[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  for (const auto& clock : from.clocks()) {
    request.clocks.push_back({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  return {DecodeVerdict::kOk, {}};
}

Digest digest_of(const v1::Parcel& from, const StoreRequest& request) {
  ParcelHead head;
  head.site = from.site();
  head.device = from.device();
  head.boot = from.boot();
  head.seq = from.seq();
  head.created_ms = from.created_ms();
  head.floor_seq = from.floor_seq();
  head.previous = from.previous().empty() ? nullptr : request.previous.data();
  ParcelDigest digest(host_hash(), head);
  digest.declarations(static_cast<uint32_t>(request.declarations.size()));
  std::vector<LabelView> labels;
  for (const auto& declared : request.declarations) {
    labels.clear();
    for (const auto& [name, value] : declared.labels) labels.push_back({name, value});
    digest.declaration(
        {declared.ref, declared.name, labels, declared.kind, declared.type, declared.scale, declared.unit});
  }
  digest.blocks(static_cast<uint32_t>(request.blocks.size()));
  for (const auto& block : request.blocks) digest.block(block.info, block.root.data());
  digest.gaps(static_cast<uint32_t>(request.gaps.size()));
  for (const auto& gap : request.gaps) digest.gap(gap);
  digest.clocks(static_cast<uint32_t>(request.clocks.size()));
  for (const auto& clock : request.clocks) digest.clock(clock);
  Digest result;
  digest.finish(result.data());
  return result;
}

// Whether a block that cannot be read is whole all the same, so that a newer gateway could read it.
bool is_whole_but_newer(std::span<const uint8_t> bytes, BlockError error) {
  if (error != BlockError::kVersion && error != BlockError::kCodec && error != BlockError::kValueType) return false;
  if (bytes.size() < 8) return false;
  const size_t body = bytes.size() - 4;
  const uint32_t said = static_cast<uint32_t>(bytes[body]) | static_cast<uint32_t>(bytes[body + 1]) << 8 |
                        static_cast<uint32_t>(bytes[body + 2]) << 16 | static_cast<uint32_t>(bytes[body + 3]) << 24;
  return crc32c(bytes.first(body)) == said;
}

std::string text_of(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString();
}

v1::Nack* begin_nack(v1::Down* down, const Answerer& from, uint64_t boot, uint64_t seq) {
  v1::Nack* nack = down->mutable_nack();
  nack->set_boot(boot);
  nack->set_seq(seq);
  nack->set_gateway(from.gateway);
  nack->set_incarnation(from.incarnation);
  return nack;
}

}  // namespace

std::optional<UpHead> read_up_head(std::span<const std::byte> message) {
  const std::string_view whole(reinterpret_cast<const char*>(message.data()), message.size());
  UpHead head;
  int bodies = 0;
  CodedInputStream in = stream_of(whole);
  const bool walked = walk(in, [&](uint32_t tag) -> int {
    const bool hello = tag == tag_of(v1::Up::kHelloFieldNumber, kBytes);
    if (!hello && tag != tag_of(v1::Up::kParcelFieldNumber, kBytes)) return -1;
    ++bodies;
    head.body = hello ? UpHead::Body::kHello : UpHead::Body::kParcel;
    return read_view(in, whole, &head.inner);
  });
  if (!walked || bodies != 1 || !read_inner(&head)) return std::nullopt;
  return head;
}

ParcelDecoder::ParcelDecoder() : points_(kBlockPointsMax) {
  // It writes a line on standard error for each string that is no UTF-8: a flood would fill the log with them.
  google::protobuf::SetLogHandler(nullptr);
}
ParcelDecoder::~ParcelDecoder() = default;

Decoded ParcelDecoder::decode(const UpHead& head, int64_t now_ms, const ParcelLimits& limits, DecodedParcel* parcel) {
  v1::Parcel message;
  if (!message.ParseFromArray(head.inner.data(), static_cast<int>(head.inner.size()))) {
    return malformed("not a Parcel message");
  }
  if (Decoded read = read_fields(message, parcel); read.verdict != DecodeVerdict::kOk) return read;
  parcel->request.message.assign(head.inner);
  if (Decoded read = decode_blocks(head, now_ms, limits, parcel); read.verdict != DecodeVerdict::kOk) return read;
  parcel->request.digest = digest_of(message, parcel->request);
  return {DecodeVerdict::kOk, {}};
}

Decoded ParcelDecoder::decode_blocks(const UpHead& head, int64_t now_ms, const ParcelLimits& limits,
                                     DecodedParcel* parcel) {
  std::vector<std::string_view> views;
  if (!block_views(parcel->request.message, &views)) return malformed("not a Parcel message");
  parcel->request.blocks.resize(views.size());
  ContentRoot root(host_hash());
  for (size_t i = 0; i < views.size(); ++i) {
    BlockSlip& slip = parcel->request.blocks[i];
    slip.bytes = views[i];
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(views[i].data()), views[i].size());
    const BlockStatus status = decode_block(bytes, head.boot, &slip.info, points_, kAllCodings);
    if (!status.ok()) {
      const std::string text =
          item("blocks", static_cast<int>(i),
               std::string(block_error_name(status.error)) + " at byte " + std::to_string(status.offset));
      return is_whole_but_newer(bytes, status.error) ? unsupported(text) : malformed(text);
    }
    if (slip.info.has_boot && slip.info.boot != head.boot) {
      return malformed(item("blocks", static_cast<int>(i), "is of another boot than its parcel"));
    }
    for (uint32_t p = 0; p < slip.info.count; ++p) root.add(points_[p]);
    root.finish(slip.root.data());
    parcel->points += slip.info.count;
    if (slip.info.t_max > now_ms + limits.ahead_ms_max) parcel->points_ahead += slip.info.count;
  }
  return {DecodeVerdict::kOk, {}};
}

Decoded decode_hello(const UpHead& head, DecodedHello* hello) {
  v1::Hello message;
  if (!message.ParseFromArray(head.inner.data(), static_cast<int>(head.inner.size()))) {
    return malformed("not a Hello message");
  }
  if (message.boot() == 0) return malformed("boot is 0");
  if (message.boot() == message.previous_boot()) return malformed("previous_boot is the boot itself");
  hello->record.device = message.device();
  hello->record.boot = message.boot();
  hello->record.previous_boot = message.previous_boot();
  hello->record.started_ms = message.started_ms();
  hello->record.message.assign(head.inner);
  hello->signature = message.signature();
  hello->software = message.software().substr(0, 128);
  hello->key_spec = message.key_spec();
  hello->nonce = message.nonce();
  hello->next_seq = message.next_seq();
  hello->floor_seq = message.floor_seq();
  hello->backlog_parcels = message.backlog_parcels();
  hello->backlog_bytes = message.backlog_bytes();
  hello->sent_ms = message.sent_ms();
  hello_digest(host_hash(), message.site(), message.device(), message.boot(), message.previous_boot(),
               message.started_ms(), hello->digest.data());
  return {DecodeVerdict::kOk, {}};
}

std::string make_ack(const Answerer& from, uint64_t boot, const AckState& state, uint64_t nonce, int64_t now_ms) {
  v1::Down down;
  v1::Ack* ack = down.mutable_ack();
  ack->set_boot(boot);
  ack->set_contiguous_seq(state.contiguous_seq);
  for (const auto& [first, last] : state.ranges) {
    v1::SeqRange* range = ack->add_ranges();
    range->set_first(first);
    range->set_last(last);
  }
  ack->set_policy(v1::LOCAL);
  ack->set_gateway(from.gateway);
  ack->set_incarnation(from.incarnation);
  ack->set_gateway_ms(now_ms);
  ack->set_nonce(nonce);
  ack->set_codecs(kCodecsOfDevices);
  return text_of(down);
}

std::string make_retry_after(const Answerer& from, uint64_t boot, uint64_t seq, uint32_t delay_ms,
                             std::string_view reason) {
  v1::Down down;
  v1::RetryAfter* verdict = begin_nack(&down, from, boot, seq)->mutable_retry_after();
  verdict->set_delay_ms(delay_ms);
  verdict->set_reason(std::string(reason));
  return text_of(down);
}

std::string make_permanent(const Answerer& from, uint64_t boot, uint64_t seq, RefusalCode code, std::string_view text) {
  v1::Down down;
  v1::Permanent* verdict = begin_nack(&down, from, boot, seq)->mutable_permanent();
  verdict->set_code(static_cast<v1::RefusalCode>(code));
  verdict->set_text(std::string(text));
  return text_of(down);
}

std::string make_declare(const Answerer& from, uint64_t boot, uint64_t seq, const std::vector<uint32_t>& refs) {
  v1::Down down;
  v1::Declare* verdict = begin_nack(&down, from, boot, seq)->mutable_declare();
  for (uint32_t ref : refs) verdict->add_refs(ref);
  return text_of(down);
}

std::string make_interest(const Answerer& from, uint64_t interest_version, uint32_t lease_s,
                          const std::vector<std::string>& selectors) {
  v1::Interest interest;
  interest.set_version(kMessageVersion);
  interest.set_gateway(from.gateway);
  interest.set_incarnation(from.incarnation);
  interest.set_interest_version(interest_version);
  interest.set_lease_s(lease_s);
  for (const auto& selector : selectors) interest.add_selectors(selector);
  return text_of(interest);
}

}  // namespace lambda::gateway
