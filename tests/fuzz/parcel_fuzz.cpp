// Any bytes as any message: refused or read, never a crash. What the hosted programs' protobuf classes take for a
// message, the SDK reads to the same fields; a parcel they read can be built again by the SDK to the same digest; and
// whatever comes down, the uplink keeps its bounds and frees nothing that no ack covers.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "lambda/codecs.h"
#include "lambda/messages.h"
#include "lambda/uplink.h"
#include "port/posix/posix_port.h"
#include "proto/lambda.pb.h"

namespace {

using namespace lambda;  // NOLINT: a fuzz target is a program of its own

void expect(bool condition) {
  if (!condition) std::abort();
}

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void compare_ack(const v1::Ack& theirs, const AckView& ours) {
  expect(ours.boot == theirs.boot() && ours.contiguous_seq == theirs.contiguous_seq());
  expect(ours.gateway == theirs.gateway() && ours.incarnation == theirs.incarnation());
  expect(ours.gateway_ms == theirs.gateway_ms() && ours.nonce == theirs.nonce());
  const auto count = static_cast<size_t>(theirs.ranges_size());
  expect(ours.range_count == (count < kAckRangesMax ? count : kAckRangesMax));
  for (size_t i = 0; i < ours.range_count; ++i) {
    const v1::SeqRange& range = theirs.ranges(static_cast<int>(i));
    expect(ours.ranges[i].first == range.first() && ours.ranges[i].last == range.last());
  }
}

void compare_nack(const v1::Nack& theirs, const NackView& ours) {
  using Verdict = NackView::Verdict;
  expect(ours.boot == theirs.boot() && ours.seq == theirs.seq());
  expect(ours.gateway == theirs.gateway() && ours.incarnation == theirs.incarnation());
  switch (theirs.verdict_case()) {
    case v1::Nack::kRetryAfter:
      expect(ours.verdict == Verdict::kRetryAfter && ours.delay_ms == theirs.retry_after().delay_ms() &&
             ours.text == theirs.retry_after().reason());
      break;
    case v1::Nack::kPermanent:
      expect(ours.verdict == Verdict::kPermanent && ours.text == theirs.permanent().text());
      break;
    case v1::Nack::kNewBoot:
      expect(ours.verdict == Verdict::kNewBoot && ours.text == theirs.new_boot().text());
      break;
    case v1::Nack::kDeclare: {
      const auto count = static_cast<size_t>(theirs.declare().refs_size());
      expect(ours.verdict == Verdict::kDeclare &&
             ours.ref_count == (count < kDeclareRefsMax ? count : kDeclareRefsMax));
      for (size_t i = 0; i < ours.ref_count; ++i) expect(ours.refs[i] == theirs.declare().refs(static_cast<int>(i)));
      break;
    }
    default:
      expect(ours.verdict == Verdict::kOther);
  }
}

// Groups, which nothing of ours writes, are fields like others to protobuf; the SDK refuses a message with one. Whether
// there may be one: what only looks like a message within the message is looked into, too.
bool may_have_group(std::span<const uint8_t> message) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(message.data(), static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    const auto type = WireFormatLite::GetTagWireType(tag);
    if (type == WireFormatLite::WIRETYPE_START_GROUP) return true;
    const int begin = in.CurrentPosition();
    if (!WireFormatLite::SkipField(&in, tag)) return false;
    const auto end = static_cast<size_t>(in.CurrentPosition());
    if (type != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) continue;
    uint32_t size = 0;
    google::protobuf::io::CodedInputStream length(message.data() + begin, static_cast<int>(message.size()) - begin);
    if (length.ReadVarint32(&size) && may_have_group(message.subspan(end - size, size))) return true;
  }
  return false;
}

// The input itself, and what the other implementation writes of it: there the fields must agree. (In the input itself
// they need not: a field that comes twice is merged by one and replaced by the other.)
void read_down(std::span<const uint8_t> input) {
  DownMessage ours;
  decode_down(input, &ours);
  v1::Down theirs;
  if (!theirs.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  const std::string written = theirs.SerializeAsString();
  if (may_have_group(bytes_of(written))) return;
  const MessageError error = decode_down(bytes_of(written), &ours);
  if (theirs.has_ack()) {
    expect(error == MessageError::kNone && ours.body == DownMessage::Body::kAck);
    compare_ack(theirs.ack(), ours.ack);
  } else if (theirs.has_nack()) {
    expect(error == MessageError::kNone && ours.body == DownMessage::Body::kNack);
    compare_nack(theirs.nack(), ours.nack);
  } else {
    expect(error == MessageError::kEmpty);
  }
}

void read_interest(std::span<const uint8_t> input) {
  std::vector<std::string> selectors;
  const auto take = [](void* context, std::string_view text) {
    static_cast<std::vector<std::string>*>(context)->emplace_back(text);
  };
  InterestView ours;
  if (decode_interest(input, &ours, take, &selectors) != MessageError::kNone) expect(selectors.empty());
  v1::Interest theirs;
  if (!theirs.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  const std::string written = theirs.SerializeAsString();
  if (written.empty() || may_have_group(bytes_of(written))) return;
  selectors.clear();
  const MessageError error = decode_interest(bytes_of(written), &ours, take, &selectors);
  if (theirs.version() > kMessageVersion) {
    expect(error == MessageError::kVersion);
    return;
  }
  expect(error == MessageError::kNone && ours.gateway == theirs.gateway());
  expect(ours.incarnation == theirs.incarnation() && ours.interest_version == theirs.interest_version());
  expect(ours.lease_s == theirs.lease_s() && selectors.size() == ours.selector_count);
  expect(ours.selector_count + ours.selectors_left_out == static_cast<size_t>(theirs.selectors_size()));
  for (size_t i = 0; i < selectors.size(); ++i) expect(selectors[i] == theirs.selectors(static_cast<int>(i)));
}

bool any_signature(void*, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]) {
  std::memcpy(signature, digest, kDigestBytes);
  std::memcpy(signature + kDigestBytes, digest, kDigestBytes);
  return true;
}

struct DecodedBlock {
  BlockInfo info;
  uint8_t root[kDigestBytes];
};

DeclarationView view_of(const v1::Declaration& one, std::vector<LabelView>* labels) {
  labels->clear();
  for (const auto& label : one.labels()) labels->push_back({label.name(), label.value()});
  return {one.ref(),
          one.name(),
          *labels,
          static_cast<Kind>(one.kind()),
          static_cast<ValueType>(one.type()),
          static_cast<uint8_t>(one.scale()),
          one.unit()};
}
GapView view_of(const v1::Gap& gap) {
  return {gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())};
}
ClockView view_of(const v1::ClockSegment& clock) {
  return {clock.segment(), clock.relative(), clock.offset_ms(), clock.known()};
}

void digest_of(const v1::Parcel& parcel, const ParcelHead& head, const std::vector<DecodedBlock>& blocks,
               uint8_t digest[kDigestBytes]) {
  std::vector<LabelView> labels;
  ParcelDigest hash(posix_hash(), head);
  hash.declarations(static_cast<uint32_t>(parcel.declarations_size()));
  for (const auto& one : parcel.declarations()) hash.declaration(view_of(one, &labels));
  hash.blocks(static_cast<uint32_t>(blocks.size()));
  for (const DecodedBlock& one : blocks) hash.block(one.info, one.root);
  hash.gaps(static_cast<uint32_t>(parcel.gaps_size()));
  for (const auto& one : parcel.gaps()) hash.gap(view_of(one));
  hash.clocks(static_cast<uint32_t>(parcel.clocks_size()));
  for (const auto& one : parcel.clocks()) hash.clock(view_of(one));
  hash.finish(digest);
}

void read_up(std::span<const uint8_t> input) {
  v1::Up up;
  if (!up.ParseFromArray(input.data(), static_cast<int>(input.size())) || !up.has_parcel()) return;
  const v1::Parcel& parcel = up.parcel();
  if (!parcel.previous().empty() && parcel.previous().size() != kDigestBytes) return;
  std::vector<DecodedBlock> blocks;
  std::vector<Point> points(kBlockPointsMax);
  for (const auto& bytes : parcel.blocks()) {
    DecodedBlock block;
    if (!decode_block(bytes_of(bytes), parcel.boot(), &block.info, points, kAllCodings).ok()) return;
    ContentRoot content(posix_hash());
    for (uint32_t i = 0; i < block.info.count; ++i) content.add(points[i]);
    content.finish(block.root);
    blocks.push_back(block);
  }
  const ParcelHead head{parcel.site(),
                        parcel.device(),
                        parcel.boot(),
                        parcel.seq(),
                        parcel.created_ms(),
                        parcel.floor_seq(),
                        parcel.previous().empty() ? nullptr : bytes_of(parcel.previous()).data()};
  uint8_t digest[kDigestBytes], built_digest[kDigestBytes], read_digest[kDigestBytes];
  digest_of(parcel, head, blocks, digest);

  std::vector<LabelView> labels;
  ParcelPlan plan(head, 1u << 20);
  for (const auto& one : parcel.declarations()) expect(plan.add(view_of(one, &labels)));
  for (const auto& one : parcel.blocks()) expect(plan.add_block(one.size()));
  for (const auto& one : parcel.gaps()) expect(plan.add(view_of(one)));
  for (const auto& one : parcel.clocks()) expect(plan.add(view_of(one)));
  std::vector<uint8_t> space(plan.bytes());
  ParcelBuilder builder(posix_hash(), head, plan, space);
  for (const auto& one : parcel.declarations()) builder.declaration(view_of(one, &labels));
  for (size_t i = 0; i < blocks.size(); ++i) {
    builder.block(blocks[i].info, blocks[i].root, bytes_of(parcel.blocks(static_cast<int>(i))));
  }
  for (const auto& one : parcel.gaps()) builder.gap(view_of(one));
  for (const auto& one : parcel.clocks()) builder.clock(view_of(one));
  const auto built = builder.finish({nullptr, any_signature}, built_digest);
  expect(std::memcmp(digest, built_digest, kDigestBytes) == 0);

  v1::Up again;
  expect(again.ParseFromArray(built.data(), static_cast<int>(built.size())) && again.has_parcel());
  const ParcelHead head_again{again.parcel().site(),
                              again.parcel().device(),
                              again.parcel().boot(),
                              again.parcel().seq(),
                              again.parcel().created_ms(),
                              again.parcel().floor_seq(),
                              again.parcel().previous().empty() ? nullptr : bytes_of(again.parcel().previous()).data()};
  digest_of(again.parcel(), head_again, blocks, read_digest);
  expect(std::memcmp(digest, read_digest, kDigestBytes) == 0);
}

// A shelf with the boot of the golden vectors and a few parcels.
class FuzzShelf final : public Shelf {
 public:
  static constexpr uint64_t kBoot = 0x1122334455667788u;
  std::set<uint64_t> held{1, 2, 3, 17, 20, 400};

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override {
    const auto found = held.upper_bound(after.boot == kBoot ? after.seq : 0);
    if (lane != Lane::kFresh || found == held.end()) return false;
    *key = {kBoot, *found};
    *bytes = 100;
    return true;
  }
  std::span<const uint8_t> read(ParcelKey) override { return message_; }
  bool boot(size_t index, uint64_t* boot) override {
    *boot = kBoot;
    return index == 0;
  }
  std::span<const uint8_t> hello(uint64_t, uint64_t) override { return message_; }
  void settled(ParcelKey key) override { held.erase(key.seq); }
  void settled_through(uint64_t, uint64_t seq) override { held.erase(held.begin(), held.upper_bound(seq)); }
  void refused(ParcelKey key, RefusalCode) override { held.erase(key.seq); }
  void declare(uint64_t, std::span<const uint32_t>) override {}
  void new_boot() override {}
  void gateway_time(int64_t) override {}

 private:
  uint8_t message_[1] = {0};
};

void run_uplink(std::span<const uint8_t> input) {
  FuzzShelf shelf;
  Uplink uplink(shelf,
                {nullptr, [](void*, std::span<const uint8_t>) { return true; }, [](void*) { return uint64_t{5}; }},
                {.window_parcels_max = 4});
  int64_t now = 0;
  uplink.connected(now);
  uplink.tick(now);
  // The hello is answered, so that parcels are in flight when the input comes.
  v1::Down answer;
  answer.mutable_ack()->set_boot(FuzzShelf::kBoot);
  answer.mutable_ack()->set_nonce(5);
  const std::string answered = answer.SerializeAsString();
  uplink.down(bytes_of(answered), now);
  uplink.tick(now);
  expect(uplink.in_flight_parcels() == 4);
  DownMessage down;
  const bool ack = decode_down(input, &down) == MessageError::kNone && down.body == DownMessage::Body::kAck;
  const bool nack = down.body == DownMessage::Body::kNack;
  for (int round = 0; round < 3; ++round) {
    uplink.down(input, now);
    uplink.interest(input, now);
    const int64_t wake = uplink.tick(now);
    expect(wake > now && uplink.in_flight_parcels() <= 4);
    now = wake;
  }
  expect(ack || nack || shelf.held.size() == 6);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1u << 16) return 0;
  const std::span<const uint8_t> input(data, size);
  read_down(input);
  read_interest(input);
  read_up(input);
  run_uplink(input);
  return 0;
}
