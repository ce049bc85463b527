#include "base/crypto/crypto.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "base/os/random.h"
#include "base/test_support.h"

namespace lambda {
namespace {

constexpr int64_t kDayMs = 86'400'000;

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(Hash, KnowsTheStandardsExamples) {
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256(bytes_of("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, ThePortHashesInPiecesAndItsStateMayBeCopied) {
  const std::string text(1000, 'q');
  const HashPort& port = host_hash();
  HashState state;
  port.start(&state);
  port.update(&state, bytes_of(text).data(), 333);
  HashState copy = state;
  Digest one, two;
  port.update(&state, bytes_of(text).data() + 333, 667);
  port.finish(&state, one.data());
  port.update(&copy, bytes_of(text).data() + 333, 667);
  port.finish(&copy, two.data());
  EXPECT_EQ(one, sha256(bytes_of(text)));
  EXPECT_EQ(two, one);
}

TEST(Hex, GoesBothWaysAndRefusesTheRest) {
  EXPECT_EQ(hex(*unhex("00ffA5")), "00ffa5");
  EXPECT_TRUE(unhex("")->empty());
  EXPECT_FALSE(unhex("0"));
  EXPECT_FALSE(unhex("0g"));
  EXPECT_NE(unhex("00g0").error().text.find("character 2"), std::string::npos);
}

// A well-known vector of RFC 6979 signing on secp256k1: key 1, message "Satoshi Nakamoto".
TEST(Signing, IsDeterministicAsRfc6979HasIt) {
  const auto key = SigningKey::from_hex("0000000000000000000000000000000000000000000000000000000000000001");
  ASSERT_TRUE(key);
  EXPECT_EQ(hex(key->public_key()), "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
  EXPECT_EQ(hex(key->sign(sha256(bytes_of("Satoshi Nakamoto")))),
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
            "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5");
}

TEST(Signing, VerifiesItsOwnAndNothingElse) {
  OsRandom random;
  const SigningKey key = SigningKey::make(random);
  const SigningKey other = SigningKey::make(random);
  const Digest digest = sha256(bytes_of("parcel"));
  const Signature signature = key.sign(digest);
  EXPECT_TRUE(verify(key.public_key(), digest, signature));
  EXPECT_FALSE(verify(other.public_key(), digest, signature));
  EXPECT_FALSE(verify(key.public_key(), sha256(bytes_of("parcel2")), signature));
  EXPECT_FALSE(verify(key.public_key(), digest, std::span(signature).first(63)));
  for (size_t bit = 0; bit < signature.size() * 8; ++bit) {
    Signature altered = signature;
    altered[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_FALSE(verify(key.public_key(), digest, altered)) << bit;
  }
  EXPECT_FALSE(verify(PublicKey{}, digest, signature));
}

TEST(Signing, RefusesTheTwinInTheUpperHalf) {
  const auto key = SigningKey::from_hex(std::string(63, '0') + "1");
  const Digest digest = sha256(bytes_of("Satoshi Nakamoto"));
  Signature twin = key->sign(digest);
  // s -> n - s, as big-endian numbers.
  const auto order = unhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
  int borrow = 0;
  for (int i = 31; i >= 0; --i) {
    int digit = (*order)[static_cast<size_t>(i)] - twin[static_cast<size_t>(32 + i)] - borrow;
    borrow = digit < 0;
    twin[static_cast<size_t>(32 + i)] = static_cast<uint8_t>(digit + (borrow ? 256 : 0));
  }
  EXPECT_FALSE(verify(key->public_key(), digest, twin));
}

TEST(Signing, KeysSurviveTheirTextAndBadOnesAreRefused) {
  OsRandom random;
  const SigningKey key = SigningKey::make(random);
  const auto back = SigningKey::from_hex(key.to_hex());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->public_key(), key.public_key());
  for (const std::string& bad : {std::string(64, '0'), std::string(64, 'f'), std::string(62, '1'), std::string("zz")}) {
    EXPECT_FALSE(SigningKey::from_hex(bad)) << bad;
  }
}

class Certificates : public ::testing::Test {
 protected:
  void SetUp() override {
    ca_key_ = *make_tls_key(random_);
    ca_ = *self_signed_authority(ca_key_, order("site-ca", true), random_);
  }

  CertificateOrder order(const std::string& name, bool authority = false) const {
    CertificateOrder order;
    order.common_name = name;
    order.not_before_ms = now_ms_ - kDayMs;
    order.not_after_ms = now_ms_ + 365 * kDayMs;
    order.authority = authority;
    order.client = !authority;
    return order;
  }

  std::string file(const std::string& name, const std::string& content) {
    const std::string path = folder_ / name;
    std::ofstream(path) << content;
    return path;
  }

  // Output and exit status of a command.
  std::pair<std::string, int> run(const std::string& command) {
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    std::string out;
    char piece[4096];
    while (const size_t got = fread(piece, 1, sizeof piece, pipe)) out.append(piece, got);
    return {out, pclose(pipe)};
  }

  OsRandom random_;
  TestFolder folder_;
  const int64_t now_ms_ = OsClock().utc_ms() / 1000 * 1000;
  std::string ca_key_, ca_;
};

TEST_F(Certificates, OpenSslVerifiesOurChain) {
  const auto device_key = make_tls_key(random_);
  ASSERT_TRUE(device_key);
  const auto request = make_certificate_request(*device_key, "press-7", random_);
  ASSERT_TRUE(request);
  EXPECT_EQ(*request_common_name(*request), "press-7");
  const auto device = issue_from_request(ca_, ca_key_, *request, order("press-7"), random_);
  ASSERT_TRUE(device) << device.error().text;
  CertificateOrder server_order = order("gateway-1");
  server_order.server = true;
  server_order.dns_names = {"localhost", "fog.example"};
  server_order.ip_addresses = {"127.0.0.1", "::1"};
  const auto server_key = make_tls_key(random_);
  const auto server = issue_for_key(ca_, ca_key_, *server_key, server_order, random_);
  ASSERT_TRUE(server) << server.error().text;

  const std::string ca = file("ca.pem", ca_), dev = file("dev.pem", *device), srv = file("srv.pem", *server);
  const auto verified = run("openssl verify -x509_strict -CAfile " + ca + " -purpose sslclient " + dev);
  EXPECT_EQ(verified.second, 0) << verified.first;
  for (const char* check : {"-verify_hostname fog.example", "-verify_ip 127.0.0.1", "-verify_ip ::1"}) {
    const auto named = run("openssl verify -x509_strict -CAfile " + ca + " -purpose sslserver " + check + " " + srv);
    EXPECT_EQ(named.second, 0) << named.first;
  }
  EXPECT_NE(run("openssl verify -CAfile " + ca + " -verify_hostname other.example " + srv).second, 0);
  EXPECT_NE(run("openssl verify -CAfile " + ca + " -purpose sslserver " + dev).second, 0);
  const auto asked = run("openssl req -verify -noout -in " + file("r.pem", *request));
  EXPECT_EQ(asked.second, 0) << asked.first;
  // A certificate of ours is no authority.
  EXPECT_FALSE(issue_for_key(*device, *device_key, *server_key, order("x"), random_));
}

TEST_F(Certificates, RevocationListsStopWhatTheyName) {
  const auto key = make_tls_key(random_);
  const auto good = issue_for_key(ca_, ca_key_, *key, order("good"), random_);
  const auto bad = issue_for_key(ca_, ca_key_, *key, order("bad"), random_);
  const auto facts = read_certificate(*bad);
  ASSERT_TRUE(facts);
  const auto list = make_revocation_list(ca_, ca_key_, {facts->serial_hex, "01"}, now_ms_, random_);
  ASSERT_TRUE(list) << list.error().text;
  const std::string both = file("ca-and-crl.pem", ca_ + *list);
  EXPECT_EQ(run("openssl verify -crl_check -CAfile " + both + " " + file("good.pem", *good)).second, 0);
  const auto refused = run("openssl verify -crl_check -CAfile " + both + " " + file("bad.pem", *bad));
  EXPECT_NE(refused.second, 0);
  EXPECT_NE(refused.first.find("revoked"), std::string::npos) << refused.first;
  const auto empty = make_revocation_list(ca_, ca_key_, {}, now_ms_, random_);
  ASSERT_TRUE(empty);
  EXPECT_FALSE(make_revocation_list(ca_, ca_key_, {"xyz"}, now_ms_, random_));
  EXPECT_FALSE(make_revocation_list(ca_, ca_key_, {""}, now_ms_, random_));
}

TEST_F(Certificates, AreDatedInAnyYearThatTheyCanSay) {
  const auto dated = [&](int64_t from_ms, int64_t to_ms) {
    CertificateOrder wanted = order("old-and-new");
    wanted.not_before_ms = from_ms;
    wanted.not_after_ms = to_ms;
    return issue_for_key(ca_, ca_key_, ca_key_, wanted, random_);
  };
  // Around what 32 bits of seconds hold and where the text gets four digits of the year; the ends; before 1970.
  for (const int64_t from_s : {-62'167'219'200ll, -1ll, 0ll, 951'782'400ll, 2'147'483'646ll}) {
    for (const int64_t to_s : {2'147'483'647ll, 2'147'483'648ll, 2'524'607'999ll, 2'524'608'000ll, 253'402'300'799ll}) {
      const auto made = dated(from_s * 1000, to_s * 1000 + 999);
      ASSERT_TRUE(made) << from_s << ' ' << to_s << ' ' << made.error().text;
      const auto facts = read_certificate(*made);
      ASSERT_TRUE(facts) << facts.error().text;
      EXPECT_EQ(facts->not_before_ms, from_s * 1000);
      EXPECT_EQ(facts->not_after_ms, to_s * 1000);
    }
  }
  EXPECT_FALSE(dated(0, 253'402'300'800'000));
  EXPECT_FALSE(dated(-62'167'219'200'001, 0));
  EXPECT_FALSE(dated(INT64_MIN, INT64_MAX));
}

TEST_F(Certificates, FactsAreWhatWasOrdered) {
  const auto facts = read_certificate(ca_);
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->common_name, "site-ca");
  EXPECT_EQ(facts->not_before_ms, now_ms_ - kDayMs);
  EXPECT_EQ(facts->not_after_ms, now_ms_ + 365 * kDayMs);
  EXPECT_EQ(facts->serial_hex.size(), 32u);
  const auto shown = run("openssl x509 -noout -fingerprint -sha256 -in " + file("ca.pem", ca_)).first;
  std::string fingerprint;
  for (const char c : shown.substr(shown.find('=') + 1)) {
    if (std::isxdigit(static_cast<unsigned char>(c))) fingerprint += static_cast<char>(std::tolower(c));
  }
  EXPECT_EQ(facts->fingerprint_hex, fingerprint);
}

TEST_F(Certificates, ARequestMustBeSignedByItsOwnKey) {
  const auto key = make_tls_key(random_);
  const auto request = make_certificate_request(*key, "press-7", random_);
  // Another key in the same request: found by exchanging a byte of the DER that belongs to the name.
  std::string der = run("openssl req -outform DER -in " + file("r.pem", *request)).first;
  const auto at = der.find("press-7");
  ASSERT_NE(at, std::string::npos);
  der[at] = 'q';
  file("altered.der", der);
  const auto altered = run("openssl req -inform DER -in " + (folder_ / "altered.der")).first;
  ASSERT_NE(altered.find("BEGIN CERTIFICATE REQUEST"), std::string::npos) << altered;
  const auto issued = issue_from_request(ca_, ca_key_, altered, order("qress-7"), random_);
  ASSERT_FALSE(issued);
  EXPECT_EQ(issued.error().code, ErrorCode::kDenied);
  EXPECT_EQ(request_common_name(altered).error().code, ErrorCode::kDenied);
}

TEST_F(Certificates, RefusesNamesThatAreNone) {
  const auto key = make_tls_key(random_);
  for (const std::string& name :
       {std::string(), std::string("Press"), std::string("a b"), std::string("a/CN=b"), std::string(65, 'a')}) {
    EXPECT_FALSE(make_certificate_request(*key, name, random_)) << name;
    EXPECT_FALSE(issue_for_key(ca_, ca_key_, *key, order(name), random_)) << name;
  }
  // A request of somebody else's making.
  const auto foreign = run("openssl req -new -subj '/CN=Not OK' -key " + file("k.pem", *key)).first;
  EXPECT_FALSE(request_common_name(foreign));
  const auto twice = run("openssl req -new -subj '/CN=one/CN=two' -key " + (folder_ / "k.pem")).first;
  EXPECT_FALSE(request_common_name(twice));
  CertificateOrder sly = order("good");
  sly.dns_names = {"a.example,DNS:b.example"};
  EXPECT_FALSE(issue_for_key(ca_, ca_key_, *key, sly, random_));
}

TEST_F(Certificates, RefusesOtherKindsOfKeysAndEncryptedOnes) {
  const auto rsa = run("openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=rsa 2>/dev/null").first;
  ASSERT_NE(rsa.find("BEGIN CERTIFICATE REQUEST"), std::string::npos);
  const auto pem = rsa.substr(rsa.find("-----BEGIN CERT"));
  EXPECT_EQ(request_common_name(pem).error().code, ErrorCode::kUnsupported);
  const auto key = make_tls_key(random_);
  const auto locked = run("openssl pkcs8 -topk8 -passout pass:x -in " + file("k.pem", *key)).first;
  EXPECT_FALSE(make_certificate_request(locked, "a", random_));
}

TEST_F(Certificates, GarbageIsAnErrorAndNeverMore) {
  const auto key = make_tls_key(random_);
  const auto request = *make_certificate_request(*key, "press-7", random_);
  std::mt19937 random(12345);
  for (int round = 0; round < 300; ++round) {
    std::string pem = round % 2 == 0 ? request : ca_;
    for (int i = 0; i < 3; ++i) pem[random() % pem.size()] = static_cast<char>(random());
    if (round % 5 == 0) pem.resize(random() % pem.size());
    const auto name = request_common_name(pem);
    EXPECT_TRUE(!name || *name == "press-7");
    const auto facts = read_certificate(pem);
    EXPECT_TRUE(facts || !facts.error().text.empty());
  }
  EXPECT_FALSE(read_certificate(""));
  EXPECT_FALSE(read_certificate(std::string(1u << 20, 'A')));
  EXPECT_FALSE(self_signed_authority("", order("a", true), random_));
  EXPECT_FALSE(self_signed_authority(*key, order("a"), random_));
}

// Bytes from a counter: the same twice.
class CountingRandom final : public Random {
 public:
  void fill(std::span<std::byte> into) override {
    for (auto& byte : into) byte = std::byte{static_cast<uint8_t>(++count_ * 37)};
  }

 private:
  uint32_t count_ = 0;
};

TEST(CertificateKeys, ComeFromTheGivenRandomness) {
  CountingRandom one, two;
  EXPECT_EQ(*make_tls_key(one), *make_tls_key(two));
  EXPECT_EQ(SigningKey::make(one).to_hex(), SigningKey::make(two).to_hex());
}

}  // namespace
}  // namespace lambda
