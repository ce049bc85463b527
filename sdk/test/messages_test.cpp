// What the SDK writes, the hosted programs' protobuf classes read, and the reverse.
#include "lambda/messages.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "port/posix/posix_port.h"
#include "proto/lambda.pb.h"

namespace lambda {
namespace {

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
std::string text_of(std::span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

bool sign_with_one(void*, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]) {
  uint8_t secret[kSecretBytes] = {};
  secret[31] = 1;
  return posix_sign(secret, digest, signature);
}
constexpr SignPort kSigner{nullptr, sign_with_one};

// One sealed block of `count` points of series `ref`, and its root.
struct Sealed {
  Sealed(uint32_t ref, uint64_t first, uint32_t count) : space(block_bytes_max(count)) {
    BlockWriter writer(space, {.first_ordinal = first, .ref = ref, .clock = 3});
    ContentRoot content(posix_hash());
    for (uint32_t i = 0; i < count; ++i) {
      const Point point{1'700'000'000'000 + 1000 * int64_t{i}, 0x3ff0000000000000u + i * 77};
      EXPECT_EQ(writer.append(point), AppendResult::kOk);
      content.add(point);
    }
    info = writer.info();
    bytes = writer.seal();
    content.finish(root.data());
  }
  std::vector<uint8_t> space;
  std::span<const uint8_t> bytes;
  BlockInfo info;
  std::array<uint8_t, kDigestBytes> root;
};

const LabelView kLabels[] = {{"core", "0"}, {"mode", "idle"}};
const DeclarationView kDeclared{7, "node_cpu_seconds_total", kLabels, Kind::kCounter, ValueType::kF64, 0, "seconds"};
const DeclarationView kDecimal{8, "temperature", {}, Kind::kGauge, ValueType::kDec, 2, ""};
const GapView kGap{7, 100, 20, GapReason::kMemory};
const ClockView kClock{3, true, -5, true};
const uint8_t kPrevious[kDigestBytes] = {9, 8, 7};

ParcelHead head_with(const uint8_t* previous) {
  return {"plant-1", "press-7", 0x1122334455667788u, 300, 1'700'000'000'123, 290, previous};
}

std::string full_parcel(const uint8_t* previous, uint8_t digest[kDigestBytes], size_t* planned = nullptr) {
  const Sealed one(7, 120, 60), two(8, 0, 1);
  const ParcelHead head = head_with(previous);
  ParcelPlan plan(head, 4096);
  EXPECT_TRUE(plan.add_block(one.bytes.size(), kDeclared));
  EXPECT_TRUE(plan.add_block(two.bytes.size(), kDecimal));
  EXPECT_TRUE(plan.add(kGap));
  EXPECT_TRUE(plan.add(kClock));
  std::vector<uint8_t> space(plan.bytes());
  ParcelBuilder parcel(posix_hash(), head, plan, space);
  parcel.declaration(kDeclared);
  parcel.declaration(kDecimal);
  parcel.block(one.info, one.root.data(), one.bytes);
  parcel.block(two.info, two.root.data(), two.bytes);
  parcel.gap(kGap);
  parcel.clock(kClock);
  const std::string message = text_of(parcel.finish(kSigner, digest));
  if (planned != nullptr) *planned = plan.bytes();
  return message;
}

// Reads a Parcel with the protobuf classes and computes its digest from what they say: the gateway's way.
std::array<uint8_t, kDigestBytes> digest_of(const v1::Parcel& parcel) {
  ParcelDigest digest(posix_hash(),
                      {parcel.site(), parcel.device(), parcel.boot(), parcel.seq(), parcel.created_ms(),
                       parcel.floor_seq(), parcel.previous().empty() ? nullptr : bytes_of(parcel.previous()).data()});
  digest.declarations(parcel.declarations_size());
  for (const auto& declaration : parcel.declarations()) {
    std::vector<LabelView> labels;
    for (const auto& label : declaration.labels()) labels.push_back({label.name(), label.value()});
    digest.declaration({declaration.ref(), declaration.name(), labels, static_cast<Kind>(declaration.kind()),
                        static_cast<ValueType>(declaration.type()), static_cast<uint8_t>(declaration.scale()),
                        declaration.unit()});
  }
  digest.blocks(parcel.blocks_size());
  for (const auto& block : parcel.blocks()) {
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    EXPECT_TRUE(decode_block(bytes_of(block), parcel.boot(), &info, points).ok());
    ContentRoot content(posix_hash());
    for (uint32_t i = 0; i < info.count; ++i) content.add(points[i]);
    uint8_t root[kDigestBytes];
    content.finish(root);
    digest.block(info, root);
  }
  digest.gaps(parcel.gaps_size());
  for (const auto& gap : parcel.gaps()) {
    digest.gap({gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())});
  }
  digest.clocks(parcel.clocks_size());
  for (const auto& clock : parcel.clocks()) {
    digest.clock({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  std::array<uint8_t, kDigestBytes> out;
  digest.finish(out.data());
  return out;
}

TEST(ParcelBuilder, WritesWhatTheHostedProgramsReadAndTheirDigestIsTheSignedOne) {
  for (const uint8_t* previous : {static_cast<const uint8_t*>(nullptr), kPrevious}) {
    std::array<uint8_t, kDigestBytes> digest;
    size_t planned = 0;
    const std::string message = full_parcel(previous, digest.data(), &planned);
    EXPECT_EQ(message.size(), planned);

    v1::Up up;
    ASSERT_TRUE(up.ParseFromString(message));
    ASSERT_EQ(up.body_case(), v1::Up::kParcel);
    const v1::Parcel& parcel = up.parcel();
    EXPECT_EQ(parcel.version(), 1u);
    EXPECT_EQ(parcel.site(), "plant-1");
    EXPECT_EQ(parcel.device(), "press-7");
    EXPECT_EQ(parcel.boot(), 0x1122334455667788u);
    EXPECT_EQ(parcel.seq(), 300u);
    EXPECT_EQ(parcel.created_ms(), 1'700'000'000'123);
    EXPECT_EQ(parcel.floor_seq(), 290u);
    ASSERT_EQ(parcel.declarations_size(), 2);
    EXPECT_EQ(parcel.declarations(0).name(), "node_cpu_seconds_total");
    EXPECT_EQ(parcel.declarations(0).labels(1).value(), "idle");
    EXPECT_EQ(parcel.declarations(1).scale(), 2u);
    ASSERT_EQ(parcel.blocks_size(), 2);
    ASSERT_EQ(parcel.gaps_size(), 1);
    EXPECT_EQ(parcel.gaps(0).reason(), v1::MEMORY);
    ASSERT_EQ(parcel.clocks_size(), 1);
    EXPECT_EQ(parcel.clocks(0).offset_ms(), -5);
    EXPECT_EQ(parcel.key_spec(), 1u);
    EXPECT_EQ(parcel.previous(), previous == nullptr ? std::string() : text_of({kPrevious, kDigestBytes}));
    EXPECT_EQ(digest_of(parcel), digest);

    uint8_t secret[kSecretBytes] = {}, key[kPublicKeyBytes];
    secret[31] = 1;
    ASSERT_TRUE(posix_public_key(secret, key));
    ASSERT_EQ(parcel.signature().size(), kSignatureBytes);
    EXPECT_TRUE(posix_verify(key, digest.data(), bytes_of(parcel.signature()).data()));

    // Canonical: the other implementation would have written the same bytes.
    EXPECT_EQ(up.SerializeAsString(), message);
  }
}

TEST(ParcelBuilder, WritesTheSameBytesWhenAParcelIsBuiltAgain) {
  uint8_t digest[kDigestBytes];
  EXPECT_EQ(full_parcel(kPrevious, digest), full_parcel(kPrevious, digest));
}

TEST(ParcelBuilder, NeverPassesItsBoundAndPlansToTheByte) {
  const ParcelHead head = head_with(kPrevious);
  const Sealed block(7, 0, 30);
  for (size_t bytes_max = 0; bytes_max < 1400; ++bytes_max) {
    ParcelPlan plan(head, bytes_max);
    uint32_t blocks = 0;
    if (plan.add_block(block.bytes.size(), kDeclared)) {
      ++blocks;
      while (plan.add_block(block.bytes.size())) ++blocks;
    }
    if (blocks == 0) {
      EXPECT_TRUE(plan.empty());
      continue;
    }
    std::vector<uint8_t> space(plan.bytes());
    ParcelBuilder parcel(posix_hash(), head, plan, space);
    parcel.declaration(kDeclared);
    for (uint32_t i = 0; i < blocks; ++i) parcel.block(block.info, block.root.data(), block.bytes);
    uint8_t digest[kDigestBytes];
    const auto message = parcel.finish(kSigner, digest);
    ASSERT_EQ(message.size(), plan.bytes());
    ASSERT_LE(message.size(), bytes_max);
    ASSERT_GT(message.size() + block.bytes.size() + 4, bytes_max) << "one more block would have fitted";
  }
}

TEST(ParcelBuilder, LeavesOutTheBlockWhenItsDeclarationDoesNotFit) {
  const ParcelHead head = head_with(nullptr);
  ParcelPlan empty(head, 4096);
  ParcelPlan plan(head, empty.bytes() + 40);
  EXPECT_FALSE(plan.add_block(30, kDeclared));
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.bytes(), empty.bytes());
  EXPECT_TRUE(plan.add_block(30));
}

TEST(ParcelBuilder, HoldsAtMostTheDocumentedNumberOfBlocks) {
  ParcelPlan plan(head_with(nullptr), 16u << 20);
  for (uint32_t i = 0; i < kParcelBlocksMax; ++i) ASSERT_TRUE(plan.add_block(10));
  EXPECT_FALSE(plan.add_block(10));
}

TEST(ParcelBuilder, GivesNothingWhenTheSignerWillNot) {
  const ParcelHead head = head_with(nullptr);
  ParcelPlan plan(head, 4096);
  ASSERT_TRUE(plan.add(kGap));
  std::vector<uint8_t> space(plan.bytes());
  ParcelBuilder parcel(posix_hash(), head, plan, space);
  parcel.gap(kGap);
  uint8_t digest[kDigestBytes];
  EXPECT_TRUE(parcel.finish({nullptr, [](void*, const uint8_t*, uint8_t*) { return false; }}, digest).empty());
}

TEST(ParcelBuilderDeath, StopsWhenOtherThanThePlannedItemsCome) {
  const ParcelHead head = head_with(nullptr);
  ParcelPlan plan(head, 4096);
  ASSERT_TRUE(plan.add(kGap));
  std::vector<uint8_t> space(plan.bytes());
  uint8_t digest[kDigestBytes];
  EXPECT_DEATH(
      {
        ParcelBuilder parcel(posix_hash(), head, plan, space);
        parcel.finish(kSigner, digest);
      },
      "");
  EXPECT_DEATH(
      {
        ParcelBuilder parcel(posix_hash(), head, plan, space);
        parcel.gap({1u << 30, 1ull << 60, 1ull << 60, GapReason::kCorrupt});  // larger than the planned one
        parcel.finish(kSigner, digest);
      },
      "");
}

TEST(Hello, IsReadByTheHostedPrograms) {
  uint8_t digest[kDigestBytes], signature[kSignatureBytes];
  hello_digest(posix_hash(), "plant-1", "press-7", 77, 66, -1, digest);
  ASSERT_TRUE(kSigner.sign(nullptr, digest, signature));
  const HelloView hello{"plant-1", "press-7", 77, 66, -1, signature, 0xabcdefu, 123, 9, 4, 5, 6000, "agent 0.1"};
  uint8_t space[kHelloBytesMax];
  const size_t size = encode_hello(hello, space);
  v1::Up up;
  ASSERT_TRUE(up.ParseFromArray(space, static_cast<int>(size)));
  ASSERT_EQ(up.body_case(), v1::Up::kHello);
  EXPECT_EQ(up.hello().version(), 1u);
  EXPECT_EQ(up.hello().site(), "plant-1");
  EXPECT_EQ(up.hello().device(), "press-7");
  EXPECT_EQ(up.hello().boot(), 77u);
  EXPECT_EQ(up.hello().previous_boot(), 66u);
  EXPECT_EQ(up.hello().started_ms(), -1);
  EXPECT_EQ(up.hello().key_spec(), 1u);
  EXPECT_EQ(up.hello().signature(), text_of({signature, kSignatureBytes}));
  EXPECT_EQ(up.hello().nonce(), 0xabcdefu);
  EXPECT_EQ(up.hello().sent_ms(), 123);
  EXPECT_EQ(up.hello().next_seq(), 9u);
  EXPECT_EQ(up.hello().floor_seq(), 4u);
  EXPECT_EQ(up.hello().backlog_parcels(), 5u);
  EXPECT_EQ(up.hello().backlog_bytes(), 6000u);
  EXPECT_EQ(up.hello().software(), "agent 0.1");
  EXPECT_EQ(up.SerializeAsString(), text_of({space, size}));
  EXPECT_EQ(encode_hello(hello, std::span(space).first(size - 1)), 0u) << "a hello cut short is none";
}

TEST(Hello, OfTheLongestFieldsFitsItsStatedBound) {
  const std::string longest(64, 'x');
  const uint8_t signature[kSignatureBytes] = {};
  const uint64_t all = ~uint64_t{0};
  const HelloView hello{longest, longest, all, all, INT64_MIN, signature, all, INT64_MIN, all, all, all, all, longest};
  uint8_t space[kHelloBytesMax];
  EXPECT_GT(encode_hello(hello, space), 0u);
}

TEST(Live, IsReadByTheHostedProgramsAndStopsAtItsSpace) {
  const Sealed block(7, 0, 5);
  std::vector<uint8_t> space(200);
  LiveBuilder live(space, 42, 17);
  ASSERT_TRUE(live.add(kDeclared));
  size_t blocks = 0;
  while (live.add_block(block.bytes)) ++blocks;
  ASSERT_GT(blocks, 0u);
  EXPECT_GT(live.bytes().size() + block.bytes.size() + 2, space.size());
  v1::Live read;
  ASSERT_TRUE(read.ParseFromString(text_of(live.bytes())));
  EXPECT_EQ(read.version(), 1u);
  EXPECT_EQ(read.boot(), 42u);
  EXPECT_EQ(read.interest_version(), 17u);
  EXPECT_EQ(read.declarations(0).name(), kDeclared.name);
  ASSERT_EQ(static_cast<size_t>(read.blocks_size()), blocks);
  EXPECT_EQ(read.blocks(0), text_of(block.bytes));
}

TEST(Down, ReadsAnAckAsTheGatewayWroteIt) {
  v1::Down message;
  v1::Ack& ack = *message.mutable_ack();
  ack.set_boot(5);
  ack.set_contiguous_seq(300);
  for (uint64_t i = 0; i < 70; ++i) {
    auto& range = *ack.add_ranges();
    range.set_first(400 + 10 * i);
    range.set_last(405 + 10 * i);
  }
  ack.set_policy(v1::FOG);
  ack.set_gateway("fog-1");
  ack.set_incarnation(99);
  ack.set_gateway_ms(-7);
  ack.set_nonce(1234);
  const std::string bytes = message.SerializeAsString();
  DownMessage down;
  ASSERT_EQ(decode_down(bytes_of(bytes), &down), MessageError::kNone);
  ASSERT_EQ(down.body, DownMessage::Body::kAck);
  EXPECT_EQ(down.ack.boot, 5u);
  EXPECT_EQ(down.ack.contiguous_seq, 300u);
  EXPECT_EQ(down.ack.policy, Policy::kFog);
  EXPECT_EQ(down.ack.gateway, "fog-1");
  EXPECT_EQ(down.ack.incarnation, 99u);
  EXPECT_EQ(down.ack.gateway_ms, -7);
  EXPECT_EQ(down.ack.nonce, 1234u);
  ASSERT_EQ(down.ack.range_count, kAckRangesMax) << "the rest waits for the next ack";
  EXPECT_EQ(down.ack.ranges[63].first, 1030u);
  EXPECT_EQ(down.ack.ranges[63].last, 1035u);
}

TEST(Down, TakesAPolicyItDoesNotKnowForTheWeakest) {
  v1::Down message;
  message.mutable_ack()->set_boot(5);
  message.mutable_ack()->set_policy(static_cast<v1::Policy>(9));
  const std::string bytes = message.SerializeAsString();
  DownMessage down;
  ASSERT_EQ(decode_down(bytes_of(bytes), &down), MessageError::kNone);
  EXPECT_EQ(down.ack.policy, Policy::kLocal);
}

TEST(Down, ReadsEveryNackAsTheGatewayWroteIt) {
  v1::Nack base;
  base.set_boot(5);
  base.set_seq(6);
  base.set_gateway("fog-1");
  base.set_incarnation(7);
  const auto read = [&](const v1::Nack& nack, DownMessage* down) {
    v1::Down message;
    *message.mutable_nack() = nack;
    static std::string bytes;  // the views point into it
    bytes = message.SerializeAsString();
    ASSERT_EQ(decode_down(bytes_of(bytes), down), MessageError::kNone);
    ASSERT_EQ(down->body, DownMessage::Body::kNack);
    EXPECT_EQ(down->nack.boot, 5u);
    EXPECT_EQ(down->nack.seq, 6u);
    EXPECT_EQ(down->nack.gateway, "fog-1");
    EXPECT_EQ(down->nack.incarnation, 7u);
  };
  DownMessage down;
  v1::Nack nack = base;
  nack.mutable_retry_after()->set_delay_ms(2500);
  nack.mutable_retry_after()->set_reason("disk");
  read(nack, &down);
  EXPECT_EQ(down.nack.verdict, NackView::Verdict::kRetryAfter);
  EXPECT_EQ(down.nack.delay_ms, 2500u);
  EXPECT_EQ(down.nack.text, "disk");

  nack = base;
  nack.mutable_permanent()->set_code(v1::CONFLICT);
  nack.mutable_permanent()->set_text("ordinal 3");
  read(nack, &down);
  EXPECT_EQ(down.nack.verdict, NackView::Verdict::kPermanent);
  EXPECT_EQ(down.nack.code, RefusalCode::kConflict);
  EXPECT_EQ(down.nack.text, "ordinal 3");
  nack.mutable_permanent()->set_code(static_cast<v1::RefusalCode>(77));
  read(nack, &down);
  EXPECT_EQ(down.nack.code, RefusalCode::kMalformed) << "a code of a newer gateway";

  nack = base;
  nack.mutable_new_boot()->set_text("copied");
  read(nack, &down);
  EXPECT_EQ(down.nack.verdict, NackView::Verdict::kNewBoot);

  nack = base;
  for (uint32_t ref = 1; ref <= 80; ++ref) nack.mutable_declare()->add_refs(ref * 1000);
  read(nack, &down);
  EXPECT_EQ(down.nack.verdict, NackView::Verdict::kDeclare);
  ASSERT_EQ(down.nack.ref_count, kDeclareRefsMax);
  EXPECT_EQ(down.nack.refs[63], 64000u);

  read(base, &down);
  EXPECT_EQ(down.nack.verdict, NackView::Verdict::kOther) << "no verdict, or one of a newer gateway";
}

TEST(Down, ReadsRefsThatAreNotPacked) {
  const std::string refs{"\x08\x05\x08\x96\x01", 5};              // field 1: 5, then 150
  const std::string nack = std::string("\x42\x05", 2) + refs;     // declare
  const std::string message = std::string("\x12\x07", 2) + nack;  // Down.nack
  DownMessage down;
  ASSERT_EQ(decode_down(bytes_of(message), &down), MessageError::kNone);
  ASSERT_EQ(down.nack.ref_count, 2u);
  EXPECT_EQ(down.nack.refs[1], 150u);
}

TEST(Down, SkipsFieldsOfANewerWriter) {
  v1::Down message;
  message.mutable_ack()->set_boot(5);
  message.mutable_ack()->set_contiguous_seq(8);
  const std::string known = message.ack().SerializeAsString();
  // Field 500 as varint, fixed64, bytes and fixed32, before and behind what is known.
  const std::string news = std::string("\xa0\x1f\x01", 3) + std::string("\xa1\x1f\1\2\3\4\5\6\7\x8", 10) +
                           std::string("\xa2\x1f\x03zzz", 6) + std::string("\xa5\x1f\1\2\3\4", 6);
  const std::string body = news + known + news;
  const std::string bytes = news + std::string("\x0a", 1) + static_cast<char>(body.size()) + body + news;
  DownMessage down;
  ASSERT_EQ(decode_down(bytes_of(bytes), &down), MessageError::kNone);
  EXPECT_EQ(down.ack.boot, 5u);
  EXPECT_EQ(down.ack.contiguous_seq, 8u);
}

TEST(Down, OfAKindThisReaderDoesNotKnowIsEmptyNotMalformed) {
  const std::string bytes{"\xa2\x1f\x03zzz", 6};
  DownMessage down;
  EXPECT_EQ(decode_down(bytes_of(bytes), &down), MessageError::kEmpty);
}

TEST(Down, NeverTakesAMessageThatIsCutShortForAWholeOne) {
  v1::Down message;
  v1::Nack& nack = *message.mutable_nack();
  nack.set_boot(0x0102030405060708u);
  nack.set_seq(1u << 20);
  nack.set_gateway("fog-1");
  nack.mutable_permanent()->set_code(v1::SIGNATURE);
  nack.mutable_permanent()->set_text("no such key");
  const std::string whole = message.SerializeAsString();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);
    DownMessage down;
    const MessageError error = decode_down(bytes_of(part), &down);
    EXPECT_NE(error, MessageError::kNone) << "first " << size << " bytes";
    EXPECT_EQ(error == MessageError::kEmpty, size == 0);
  }
}

TEST(Down, SurvivesEveryFlippedBit) {
  v1::Down message;
  message.mutable_ack()->set_boot(5);
  message.mutable_ack()->set_gateway("fog-1");
  for (int i = 0; i < 5; ++i) message.mutable_ack()->add_ranges()->set_last(1u << (i * 6));
  std::string bytes = message.SerializeAsString();
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    DownMessage down;
    if (decode_down(bytes_of(bytes), &down) == MessageError::kMalformed) ++refused;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
  EXPECT_GT(refused, 0u);
}

struct Selectors {
  std::vector<std::string> texts;
  static void take(void* context, std::string_view text) { static_cast<Selectors*>(context)->texts.emplace_back(text); }
};

TEST(Interest, ReadsWhatTheGatewayWroteUpToTheBound) {
  v1::Interest message;
  message.set_version(1);
  message.set_gateway("fog-1");
  message.set_incarnation(3);
  message.set_interest_version(4);
  message.set_lease_s(30);
  for (size_t i = 0; i < kInterestSelectorsMax + 5; ++i) message.add_selectors("up{n=\"" + std::to_string(i) + "\"}");
  const std::string bytes = message.SerializeAsString();
  InterestView interest;
  Selectors selectors;
  ASSERT_EQ(decode_interest(bytes_of(bytes), &interest, Selectors::take, &selectors), MessageError::kNone);
  EXPECT_EQ(interest.gateway, "fog-1");
  EXPECT_EQ(interest.incarnation, 3u);
  EXPECT_EQ(interest.interest_version, 4u);
  EXPECT_EQ(interest.lease_s, 30u);
  EXPECT_EQ(interest.selector_count, kInterestSelectorsMax);
  EXPECT_EQ(interest.selectors_left_out, 5u);
  ASSERT_EQ(selectors.texts.size(), kInterestSelectorsMax);
  EXPECT_EQ(selectors.texts[255], "up{n=\"255\"}");
}

TEST(Interest, OfAHigherVersionIsRecognisedAndNothingOfItIsUsed) {
  v1::Interest message;
  message.set_version(2);
  message.add_selectors("up");
  const std::string bytes = message.SerializeAsString();
  InterestView interest;
  Selectors selectors;
  EXPECT_EQ(decode_interest(bytes_of(bytes), &interest, Selectors::take, &selectors), MessageError::kVersion);
  EXPECT_EQ(interest.version, 2u);
  EXPECT_TRUE(selectors.texts.empty());
}

TEST(Interest, CutShortVisitsNoSelector) {
  v1::Interest message;
  message.set_version(1);
  message.add_selectors("up");
  message.add_selectors("down");
  const std::string whole = message.SerializeAsString();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);
    InterestView interest;
    Selectors selectors;
    const MessageError error = decode_interest(bytes_of(part), &interest, Selectors::take, &selectors);
    EXPECT_TRUE(error == MessageError::kNone || selectors.texts.empty());
    EXPECT_LT(selectors.texts.size(), 2u);
  }
}

TEST(Up, OfANewerWriterIsStillReadByTheHostedPrograms) {
  uint8_t digest[kDigestBytes];
  const std::string message = full_parcel(kPrevious, digest);
  v1::Up up;
  ASSERT_TRUE(up.ParseFromString(message + std::string("\xa2\x1f\x03zzz", 6)));
  EXPECT_EQ(up.parcel().seq(), 300u);
  ASSERT_TRUE(up.ParseFromString(message));
  up.mutable_parcel()->set_version(2);
  v1::Up again;
  ASSERT_TRUE(again.ParseFromString(up.SerializeAsString()));
  EXPECT_EQ(again.parcel().version(), 2u) << "a gateway sees the version before it judges anything else";
}

}  // namespace
}  // namespace lambda
