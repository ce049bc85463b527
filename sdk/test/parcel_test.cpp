#include "lambda/parcel.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "port/posix/posix_port.h"

namespace lambda {
namespace {

// The signed form written out as one string, the way proto/parcel.md reads; shares nothing with parcel.cpp.
struct Naive {
  std::string bytes;

  void number(uint64_t value, int width) {
    std::string digits;
    for (int i = 0; i < width; ++i) {
      digits.insert(digits.begin(), static_cast<char>(value % 256));
      value /= 256;
    }
    bytes += digits;
  }
  void str(const std::string& text) {
    number(text.size(), 4);
    bytes += text;
  }
  std::string hash() const {
    HashState state;
    posix_hash().start(&state);
    posix_hash().update(&state, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    uint8_t digest[kDigestBytes];
    posix_hash().finish(&state, digest);
    return std::string(reinterpret_cast<char*>(digest), sizeof digest);
  }
};

std::string text_of(const uint8_t digest[kDigestBytes]) {
  return std::string(reinterpret_cast<const char*>(digest), kDigestBytes);
}

std::string hex_of(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
    out += digits;
  }
  return out;
}

struct Series {
  uint32_t ref;
  std::string name, unit;
  std::vector<std::pair<std::string, std::string>> labels;
  int kind, type;
  uint8_t scale;
};

struct RandomParcel {
  explicit RandomParcel(uint64_t seed) : random(seed) {
    site = text();
    device = text();
    boot = random();
    seq = random();
    created_ms = static_cast<int64_t>(random());
    floor_seq = random();
    with_previous = random() % 2 == 0;
    for (uint8_t& byte : previous) byte = static_cast<uint8_t>(random());
    for (uint64_t n = random() % 5; n > 0; --n) {
      Series one{static_cast<uint32_t>(random()),    text(), text(), {}, 1 + int(random() % 3), 1 + int(random() % 5),
                 static_cast<uint8_t>(random() % 19)};
      for (uint64_t m = random() % 4; m > 0; --m) one.labels.emplace_back(text(), text());
      series.push_back(one);
    }
    for (uint64_t n = random() % 6; n > 0; --n) {
      BlockInfo info;
      info.ref = static_cast<uint32_t>(random());
      info.type = static_cast<ValueType>(1 + random() % 5);
      info.scale = static_cast<uint8_t>(random() % 19);
      info.clock = static_cast<uint32_t>(random());
      info.first_ordinal = random();
      info.count = static_cast<uint32_t>(random());
      blocks.push_back(info);
      std::string root(kDigestBytes, 0);
      for (char& c : root) c = static_cast<char>(random());
      roots.push_back(root);
    }
    for (uint64_t n = random() % 4; n > 0; --n) {
      gaps.push_back({static_cast<uint32_t>(random()), random(), random(), static_cast<GapReason>(1 + random() % 5)});
    }
    for (uint64_t n = random() % 4; n > 0; --n) {
      clocks.push_back(
          {static_cast<uint32_t>(random()), random() % 2 == 0, static_cast<int64_t>(random()), random() % 2 == 0});
    }
  }

  std::string text() {
    std::string out(random() % 12, 'x');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  }

  std::string naive_digest() const {
    Naive n;
    n.bytes = std::string("lambda/parcel/1") + '\0';
    n.str(site);
    n.str(device);
    n.number(boot, 8);
    n.number(seq, 8);
    n.number(static_cast<uint64_t>(created_ms), 8);
    n.number(floor_seq, 8);
    n.bytes += with_previous ? std::string(reinterpret_cast<const char*>(previous), 32) : std::string(32, '\0');
    n.number(series.size(), 4);
    for (const Series& one : series) {
      n.number(one.ref, 4);
      n.str(one.name);
      n.number(one.labels.size(), 4);
      for (const auto& [name, value] : one.labels) {
        n.str(name);
        n.str(value);
      }
      n.number(one.kind, 1);
      n.number(one.type, 1);
      n.number(one.scale, 1);
      n.str(one.unit);
    }
    n.number(blocks.size(), 4);
    for (size_t i = 0; i < blocks.size(); ++i) {
      n.number(blocks[i].ref, 4);
      n.number(static_cast<uint64_t>(blocks[i].type), 1);
      n.number(blocks[i].scale, 1);
      n.number(blocks[i].clock, 4);
      n.number(blocks[i].first_ordinal, 8);
      n.number(blocks[i].count, 4);
      n.bytes += roots[i];
    }
    n.number(gaps.size(), 4);
    for (const GapView& gap : gaps) {
      n.number(gap.ref, 4);
      n.number(gap.first_ordinal, 8);
      n.number(gap.count, 8);
      n.number(static_cast<uint64_t>(gap.reason), 1);
    }
    n.number(clocks.size(), 4);
    for (const ClockView& clock : clocks) {
      n.number(clock.segment, 4);
      n.number(clock.relative ? 1 : 0, 1);
      n.number(static_cast<uint64_t>(clock.offset_ms), 8);
      n.number(clock.known ? 1 : 0, 1);
    }
    return n.hash();
  }

  std::string digest() const {
    ParcelDigest hash(posix_hash(),
                      {site, device, boot, seq, created_ms, floor_seq, with_previous ? previous : nullptr});
    hash.declarations(static_cast<uint32_t>(series.size()));
    for (const Series& one : series) {
      std::vector<LabelView> labels;
      for (const auto& [name, value] : one.labels) labels.push_back({name, value});
      hash.declaration({one.ref, one.name, labels, static_cast<Kind>(one.kind), static_cast<ValueType>(one.type),
                        one.scale, one.unit});
    }
    hash.blocks(static_cast<uint32_t>(blocks.size()));
    for (size_t i = 0; i < blocks.size(); ++i) {
      hash.block(blocks[i], reinterpret_cast<const uint8_t*>(roots[i].data()));
    }
    hash.gaps(static_cast<uint32_t>(gaps.size()));
    for (const GapView& gap : gaps) hash.gap(gap);
    hash.clocks(static_cast<uint32_t>(clocks.size()));
    for (const ClockView& clock : clocks) hash.clock(clock);
    uint8_t out[kDigestBytes];
    hash.finish(out);
    return text_of(out);
  }

  std::mt19937_64 random;
  std::string site, device;
  uint64_t boot, seq, floor_seq;
  int64_t created_ms;
  bool with_previous;
  uint8_t previous[kDigestBytes];
  std::vector<Series> series;
  std::vector<BlockInfo> blocks;
  std::vector<std::string> roots;
  std::vector<GapView> gaps;
  std::vector<ClockView> clocks;
};

TEST(ParcelDigest, EqualsANaiveRecomputationOfTheDocumentedForm) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    const RandomParcel parcel(seed);
    ASSERT_EQ(hex_of(parcel.digest()), hex_of(parcel.naive_digest())) << "seed " << seed;
  }
}

TEST(ParcelDigest, MissingPreviousIsThirtyTwoZeros) {
  const uint8_t zeros[kDigestBytes] = {};
  uint8_t with[kDigestBytes], without[kDigestBytes];
  for (const bool given : {true, false}) {
    ParcelDigest hash(posix_hash(), {"s", "d", 1, 1, 0, 1, given ? zeros : nullptr});
    hash.declarations(0);
    hash.blocks(0);
    hash.gaps(0);
    hash.clocks(0);
    hash.finish(given ? with : without);
  }
  EXPECT_EQ(text_of(with), text_of(without));
}

TEST(ParcelDigest, DependsOnWhereOneTextEndsAndTheNextBegins) {
  uint8_t one[kDigestBytes], other[kDigestBytes];
  hello_digest(posix_hash(), "ab", "c", 1, 0, 0, one);
  hello_digest(posix_hash(), "a", "bc", 1, 0, 0, other);
  EXPECT_NE(text_of(one), text_of(other));
}

TEST(ParcelDigestDeath, RefusesToCoverMoreOrFewerItemsThanWereAnnounced) {
  const ParcelHead head{"s", "d", 1, 1, 0, 1, nullptr};
  EXPECT_DEATH(
      {
        ParcelDigest hash(posix_hash(), head);
        hash.declarations(0);
        hash.blocks(0);
        hash.gaps(1);
        hash.clocks(0);
      },
      "");
  EXPECT_DEATH(
      {
        ParcelDigest hash(posix_hash(), head);
        hash.declarations(0);
        hash.blocks(0);
        hash.gaps(0);
        hash.gap({});
      },
      "");
}

TEST(HelloDigest, EqualsANaiveRecomputationOfTheDocumentedForm) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    std::string site(random() % 40, 's'), device(random() % 40, 'd');
    const uint64_t boot = random(), previous = random();
    const auto started = static_cast<int64_t>(random());
    Naive naive;
    naive.bytes = std::string("lambda/hello/1") + '\0';
    naive.str(site);
    naive.str(device);
    naive.number(boot, 8);
    naive.number(previous, 8);
    naive.number(static_cast<uint64_t>(started), 8);
    uint8_t digest[kDigestBytes];
    hello_digest(posix_hash(), site, device, boot, previous, started, digest);
    ASSERT_EQ(hex_of(text_of(digest)), hex_of(naive.hash())) << "round " << round << " of seed 7";
  }
}

// Anchors the port's hash itself: FIPS 180-4's "abc".
TEST(PosixPort, HashesTheStandardsExample) {
  Naive naive;
  naive.bytes = "abc";
  EXPECT_EQ(hex_of(naive.hash()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(PosixPort, SignsTheSameDigestTheSameWayAndVerifiesOnlyThat) {
  uint8_t secret[kSecretBytes] = {};
  secret[31] = 1;
  uint8_t digest[kDigestBytes] = {1, 2, 3};
  uint8_t key[kPublicKeyBytes], first[kRawSignatureBytes], second[kRawSignatureBytes];
  ASSERT_TRUE(posix_public_key(secret, key));
  ASSERT_TRUE(posix_sign(secret, digest, first));
  ASSERT_TRUE(posix_sign(secret, digest, second));
  EXPECT_EQ(std::string(first, first + 64), std::string(second, second + 64));
  EXPECT_TRUE(posix_verify(key, digest, first));
  digest[31] ^= 1;
  EXPECT_FALSE(posix_verify(key, digest, first));
  digest[31] ^= 1;
  first[40] ^= 1;
  EXPECT_FALSE(posix_verify(key, digest, first));
  const uint8_t zero[kSecretBytes] = {};
  EXPECT_FALSE(posix_sign(zero, digest, first));
}

}  // namespace
}  // namespace lambda
