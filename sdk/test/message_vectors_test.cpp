// The golden messages of proto/vectors/parcel, made by another program than this SDK: read by the SDK and by the hosted
// programs' protobuf classes, and written again by both.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "lambda/messages.h"
#include "port/posix/posix_port.h"
#include "proto/lambda.pb.h"

namespace lambda {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
std::string text_of(std::span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
std::string hex_of(std::span<const uint8_t> bytes) {
  std::string out;
  for (const uint8_t byte : bytes) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", byte);
    out += digits;
  }
  return out;
}
std::string hex_of(uint64_t number) {
  char digits[17];
  snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(number));
  return digits;
}
std::string in_quotes(std::string_view text) {
  return '"' + std::string(text) + '"';
}

struct Golden {
  std::string name, message, verdict, bytes;
  Lines lines;
};

std::vector<Golden> golden() {
  std::set<fs::path> sorted;
  for (const auto& entry : fs::directory_iterator(LAMBDA_PARCEL_VECTORS)) {
    if (entry.path().extension() == ".txt") sorted.insert(entry.path());
  }
  std::vector<Golden> all;
  for (const fs::path& path : sorted) {
    Golden one;
    one.name = path.stem();
    std::ifstream text(path);
    for (std::string line; std::getline(text, line);) {
      if (line.empty() || line[0] == '#') continue;
      if (line.rfind("message ", 0) == 0) {
        one.message = line.substr(8);
      } else if (line.rfind("verdict ", 0) == 0) {
        one.verdict = line.substr(8);
      } else {
        one.lines.push_back(line);
      }
    }
    std::ifstream file(fs::path(path).replace_extension(".bin"), std::ios::binary);
    EXPECT_TRUE(file) << path;
    one.bytes.assign(std::istreambuf_iterator<char>(file), {});
    all.push_back(one);
  }
  return all;
}

void secret_key(uint8_t secret[kSecretBytes]) {
  memset(secret, 0, kSecretBytes);
  secret[31] = 1;
}
const SignPort kSigner{nullptr, [](void*, const uint8_t* digest, uint8_t* signature) {
                         uint8_t secret[kSecretBytes];
                         secret_key(secret);
                         return posix_sign(secret, digest, signature);
                       }};
bool is_signed(const uint8_t digest[kDigestBytes], const std::string& signature) {
  uint8_t secret[kSecretBytes], key[kPublicKeyBytes];
  secret_key(secret);
  return posix_public_key(secret, key) && signature.size() == kSignatureBytes &&
         posix_verify(key, digest, bytes_of(signature).data());
}

// ---- Up: read as a gateway does

struct ReadBlock {
  BlockInfo info;
  uint8_t root[kDigestBytes];
};

ReadBlock read_block(const std::string& bytes) {
  ReadBlock block;
  std::vector<Point> points(kBlockPointsMax);
  EXPECT_TRUE(decode_block(bytes_of(bytes), 1, &block.info, points).ok());
  ContentRoot content(posix_hash());
  for (uint32_t i = 0; i < block.info.count; ++i) content.add(points[i]);
  content.finish(block.root);
  return block;
}

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

void describe(const v1::Declaration& one, Lines* lines) {
  lines->push_back("declaration " + std::to_string(one.ref()) + " " + in_quotes(one.name()) + " kind " +
                   std::to_string(one.kind()) + " type " + std::to_string(one.type()) + " scale " +
                   std::to_string(one.scale()) + " unit " + in_quotes(one.unit()));
  for (const auto& label : one.labels())
    lines->push_back("label " + in_quotes(label.name()) + " " + in_quotes(label.value()));
}
void describe(const ReadBlock& block, Lines* lines) {
  lines->push_back("block " + std::to_string(block.info.ref) + " first " + std::to_string(block.info.first_ordinal) +
                   " count " + std::to_string(block.info.count) + " root " +
                   hex_of(std::span<const uint8_t>(block.root)));
}

ParcelHead head_of(const v1::Parcel& parcel) {
  return {parcel.site(),
          parcel.device(),
          parcel.boot(),
          parcel.seq(),
          parcel.created_ms(),
          parcel.floor_seq(),
          parcel.previous().empty() ? nullptr : bytes_of(parcel.previous()).data()};
}

std::string judge_parcel(const v1::Parcel& parcel, Lines* lines) {
  if (parcel.version() > kMessageVersion) return "version";
  *lines = {"parcel",
            "site " + in_quotes(parcel.site()),
            "device " + in_quotes(parcel.device()),
            "boot " + hex_of(parcel.boot()),
            "seq " + std::to_string(parcel.seq()),
            "created_ms " + std::to_string(parcel.created_ms()),
            "floor_seq " + std::to_string(parcel.floor_seq())};
  ParcelDigest hash(posix_hash(), head_of(parcel));
  std::vector<LabelView> labels;
  hash.declarations(static_cast<uint32_t>(parcel.declarations_size()));
  for (const auto& one : parcel.declarations()) {
    describe(one, lines);
    hash.declaration(view_of(one, &labels));
  }
  hash.blocks(static_cast<uint32_t>(parcel.blocks_size()));
  for (const auto& one : parcel.blocks()) {
    const ReadBlock block = read_block(one);
    describe(block, lines);
    hash.block(block.info, block.root);
  }
  hash.gaps(static_cast<uint32_t>(parcel.gaps_size()));
  for (const auto& gap : parcel.gaps()) {
    lines->push_back("gap " + std::to_string(gap.ref()) + " first " + std::to_string(gap.first_ordinal()) + " count " +
                     std::to_string(gap.count()) + " reason " + std::to_string(gap.reason()));
    hash.gap({gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())});
  }
  hash.clocks(static_cast<uint32_t>(parcel.clocks_size()));
  for (const auto& clock : parcel.clocks()) {
    lines->push_back("clock " + std::to_string(clock.segment()) + " relative " + (clock.relative() ? "1" : "0") +
                     " offset_ms " + std::to_string(clock.offset_ms()) + " known " + (clock.known() ? "1" : "0"));
    hash.clock({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  if (!parcel.previous().empty()) lines->push_back("previous " + hex_of(bytes_of(parcel.previous())));
  uint8_t digest[kDigestBytes];
  hash.finish(digest);
  lines->push_back("digest " + hex_of(std::span<const uint8_t>(digest)));
  lines->push_back("signature " + hex_of(bytes_of(parcel.signature())));
  return is_signed(digest, parcel.signature()) ? "good" : "signature";
}

std::string judge_hello(const v1::Hello& hello, Lines* lines) {
  if (hello.version() > kMessageVersion) return "version";
  uint8_t digest[kDigestBytes];
  hello_digest(posix_hash(), hello.site(), hello.device(), hello.boot(), hello.previous_boot(), hello.started_ms(),
               digest);
  *lines = {"hello",
            "site " + in_quotes(hello.site()),
            "device " + in_quotes(hello.device()),
            "boot " + hex_of(hello.boot()),
            "previous_boot " + hex_of(hello.previous_boot()),
            "started_ms " + std::to_string(hello.started_ms()),
            "nonce " + hex_of(hello.nonce()),
            "sent_ms " + std::to_string(hello.sent_ms()),
            "next_seq " + std::to_string(hello.next_seq()),
            "floor_seq " + std::to_string(hello.floor_seq()),
            "backlog_parcels " + std::to_string(hello.backlog_parcels()),
            "backlog_bytes " + std::to_string(hello.backlog_bytes()),
            "software " + in_quotes(hello.software()),
            "digest " + hex_of(std::span<const uint8_t>(digest)),
            "signature " + hex_of(bytes_of(hello.signature()))};
  return is_signed(digest, hello.signature()) ? "good" : "signature";
}

std::string judge_up(const std::string& bytes, Lines* lines) {
  v1::Up up;
  if (!up.ParseFromString(bytes)) return "malformed";
  if (up.has_hello()) return judge_hello(up.hello(), lines);
  return up.has_parcel() ? judge_parcel(up.parcel(), lines) : "empty";
}

// ---- Down, interest: read as a device does

const char* name_of(MessageError error) {
  switch (error) {
    case MessageError::kNone:
      return "good";
    case MessageError::kMalformed:
      return "malformed";
    case MessageError::kVersion:
      return "version";
    case MessageError::kEmpty:
      return "empty";
  }
  return "?";
}

std::string judge_down(const std::string& bytes, Lines* lines) {
  DownMessage down;
  const MessageError error = decode_down(bytes_of(bytes), &down);
  if (error != MessageError::kNone) return name_of(error);
  if (down.body == DownMessage::Body::kAck) {
    const AckView& ack = down.ack;
    *lines = {"ack", "boot " + hex_of(ack.boot), "contiguous_seq " + std::to_string(ack.contiguous_seq)};
    for (size_t i = 0; i < ack.range_count; ++i) {
      lines->push_back("range " + std::to_string(ack.ranges[i].first) + " " + std::to_string(ack.ranges[i].last));
    }
    lines->push_back("policy " + std::to_string(static_cast<int>(ack.policy)));
    lines->push_back("gateway " + in_quotes(ack.gateway));
    lines->push_back("incarnation " + hex_of(ack.incarnation));
    lines->push_back("gateway_ms " + std::to_string(ack.gateway_ms));
    lines->push_back("nonce " + hex_of(ack.nonce));
    return "good";
  }
  const NackView& nack = down.nack;
  *lines = {"nack", "boot " + hex_of(nack.boot), "seq " + std::to_string(nack.seq),
            "gateway " + in_quotes(nack.gateway), "incarnation " + hex_of(nack.incarnation)};
  std::string verdict = "other";
  if (nack.verdict == NackView::Verdict::kRetryAfter) {
    verdict = "retry_after " + std::to_string(nack.delay_ms) + " " + in_quotes(nack.text);
  } else if (nack.verdict == NackView::Verdict::kPermanent) {
    verdict = "permanent " + std::to_string(static_cast<int>(nack.code)) + " " + in_quotes(nack.text);
  } else if (nack.verdict == NackView::Verdict::kNewBoot) {
    verdict = "new_boot " + in_quotes(nack.text);
  } else if (nack.verdict == NackView::Verdict::kDeclare) {
    verdict = "declare";
    for (size_t i = 0; i < nack.ref_count; ++i) verdict += " " + std::to_string(nack.refs[i]);
  }
  lines->push_back(verdict);
  return "good";
}

std::string judge_interest(const std::string& bytes, Lines* lines) {
  InterestView interest;
  Lines selectors;
  const auto take = [](void* context, std::string_view text) {
    static_cast<Lines*>(context)->push_back("selector " + std::string(text));
  };
  const MessageError error = decode_interest(bytes_of(bytes), &interest, take, &selectors);
  if (error != MessageError::kNone) return name_of(error);
  *lines = {"interest", "gateway " + in_quotes(interest.gateway), "incarnation " + hex_of(interest.incarnation),
            "interest_version " + std::to_string(interest.interest_version),
            "lease_s " + std::to_string(interest.lease_s)};
  lines->insert(lines->end(), selectors.begin(), selectors.end());
  return "good";
}

std::string judge_live(const std::string& bytes, Lines* lines) {
  v1::Live live;
  if (!live.ParseFromString(bytes)) return "malformed";
  *lines = {"live", "boot " + hex_of(live.boot()), "interest_version " + std::to_string(live.interest_version())};
  for (const auto& one : live.declarations()) describe(one, lines);
  for (const auto& one : live.blocks()) describe(read_block(one), lines);
  return "good";
}

TEST(MessageVectors, EachIsReadAsItsTextSays) {
  size_t good = 0, bad = 0;
  for (const Golden& one : golden()) {
    SCOPED_TRACE(one.name);
    Lines lines;
    std::string verdict = "unknown kind " + one.message;
    if (one.message == "up") verdict = judge_up(one.bytes, &lines);
    if (one.message == "down") verdict = judge_down(one.bytes, &lines);
    if (one.message == "interest") verdict = judge_interest(one.bytes, &lines);
    if (one.message == "live") verdict = judge_live(one.bytes, &lines);
    EXPECT_EQ(verdict, one.verdict);
    EXPECT_EQ(verdict == "good" ? lines : Lines(), one.lines);
    ++(verdict == "good" ? good : bad);
  }
  EXPECT_GE(good, 20u);
  EXPECT_GE(bad, 15u);
}

// What the SDK builds from the fields of a golden message.
std::string build_parcel(const v1::Parcel& parcel) {
  const ParcelHead head = head_of(parcel);
  std::vector<LabelView> labels;
  ParcelPlan plan(head, 1u << 20);
  for (const auto& one : parcel.declarations()) EXPECT_TRUE(plan.add(view_of(one, &labels)));
  for (const auto& one : parcel.blocks()) EXPECT_TRUE(plan.add_block(one.size()));
  const auto gap_of = [](const v1::Gap& gap) {
    return GapView{gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())};
  };
  const auto clock_of = [](const v1::ClockSegment& clock) {
    return ClockView{clock.segment(), clock.relative(), clock.offset_ms(), clock.known()};
  };
  for (const auto& one : parcel.gaps()) EXPECT_TRUE(plan.add(gap_of(one)));
  for (const auto& one : parcel.clocks()) EXPECT_TRUE(plan.add(clock_of(one)));
  std::vector<uint8_t> space(plan.bytes());
  ParcelBuilder builder(posix_hash(), head, plan, space);
  for (const auto& one : parcel.declarations()) builder.declaration(view_of(one, &labels));
  for (const auto& one : parcel.blocks()) {
    const ReadBlock block = read_block(one);
    builder.block(block.info, block.root, bytes_of(one));
  }
  for (const auto& one : parcel.gaps()) builder.gap(gap_of(one));
  for (const auto& one : parcel.clocks()) builder.clock(clock_of(one));
  uint8_t digest[kDigestBytes];
  return text_of(builder.finish(kSigner, digest));
}

std::string build_hello(const v1::Hello& hello) {
  uint8_t digest[kDigestBytes], signature[kSignatureBytes], space[kHelloBytesMax];
  hello_digest(posix_hash(), hello.site(), hello.device(), hello.boot(), hello.previous_boot(), hello.started_ms(),
               digest);
  EXPECT_TRUE(kSigner.sign(nullptr, digest, signature));
  const HelloView view{hello.site(),          hello.device(),          hello.boot(),
                       hello.previous_boot(), hello.started_ms(),      signature,
                       hello.nonce(),         hello.sent_ms(),         hello.next_seq(),
                       hello.floor_seq(),     hello.backlog_parcels(), hello.backlog_bytes(),
                       hello.software()};
  return text_of({space, encode_hello(view, space)});
}

std::string build_live(const v1::Live& live) {
  std::vector<uint8_t> space(2048);
  std::vector<LabelView> labels;
  LiveBuilder builder(space, live.boot(), live.interest_version());
  for (const auto& one : live.declarations()) EXPECT_TRUE(builder.add(view_of(one, &labels)));
  for (const auto& one : live.blocks()) EXPECT_TRUE(builder.add_block(bytes_of(one)));
  return text_of(builder.bytes());
}

TEST(MessageVectors, TheSdkWritesEachThatADeviceSendsToTheSameBytes) {
  size_t written = 0;
  for (const Golden& one : golden()) {
    // Fields of a newer writer are not ours to write.
    if (one.verdict != "good" || one.name.find("newer") != std::string::npos) continue;
    SCOPED_TRACE(one.name);
    if (one.message == "up") {
      v1::Up up;
      ASSERT_TRUE(up.ParseFromString(one.bytes));
      EXPECT_EQ(hex_of(bytes_of(up.has_hello() ? build_hello(up.hello()) : build_parcel(up.parcel()))),
                hex_of(bytes_of(one.bytes)));
      ++written;
    }
    if (one.message == "live") {
      v1::Live live;
      ASSERT_TRUE(live.ParseFromString(one.bytes));
      EXPECT_EQ(hex_of(bytes_of(build_live(live))), hex_of(bytes_of(one.bytes)));
      ++written;
    }
  }
  EXPECT_GE(written, 6u);
}

TEST(MessageVectors, TheProtobufClassesWriteEachThatAGatewaySendsToTheSameBytes) {
  size_t written = 0;
  for (const Golden& one : golden()) {
    if (one.verdict != "good" || one.name.find("unpacked") != std::string::npos ||
        one.name.find("newer") != std::string::npos) {
      continue;
    }
    SCOPED_TRACE(one.name);
    v1::Down down;
    v1::Interest interest;
    if (one.message == "down") {
      ASSERT_TRUE(down.ParseFromString(one.bytes));
      EXPECT_EQ(down.SerializeAsString(), one.bytes);
      ++written;
    } else if (one.message == "interest") {
      ASSERT_TRUE(interest.ParseFromString(one.bytes));
      EXPECT_EQ(interest.SerializeAsString(), one.bytes);
      ++written;
    }
  }
  EXPECT_GE(written, 12u);
}

TEST(MessageVectors, NoneIsTakenForGoodWhenItIsCutShort) {
  for (const Golden& one : golden()) {
    if (one.verdict != "good" || (one.message != "up" && one.message != "down")) continue;
    SCOPED_TRACE(one.name);
    for (size_t size = 0; size < one.bytes.size(); ++size) {
      Lines lines;
      const std::string part = one.bytes.substr(0, size);
      EXPECT_NE(one.message == "up" ? judge_up(part, &lines) : judge_down(part, &lines), "good") << size << " bytes";
    }
  }
}

TEST(MessageVectors, TheWorkedExampleOfTheDocumentIsTheGoldenOne) {
  std::ifstream document(LAMBDA_SOURCE_DIR "/proto/parcel.md");
  ASSERT_TRUE(document);
  std::string hex;
  bool inside = false;
  for (std::string line; std::getline(document, line);) {
    if (line.rfind("## ", 0) == 0) inside = line == "## A worked example";
    if (!inside || line.rfind("    ", 0) != 0) continue;
    std::istringstream words(line.substr(0, 54));  // what stands further right explains
    for (std::string word; words >> word;) hex += word;
  }
  for (const Golden& one : golden()) {
    EXPECT_TRUE(one.name != "example" || hex == hex_of(bytes_of(one.bytes))) << hex;
  }
  EXPECT_FALSE(hex.empty());
}

}  // namespace
}  // namespace lambda
