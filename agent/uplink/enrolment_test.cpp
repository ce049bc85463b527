// A device's enrolment with bundles that fit and bundles that do not.
#include "agent/uplink/enrolment.h"

#include <gtest/gtest.h>

#include "agent/spool/test_world.h"

namespace lambda::agent {
namespace {

using test::World;

constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr int64_t kYearMs = int64_t{365} * 24 * 3600 * 1000;

// A site's authority.
struct Authority {
  explicit Authority(Random& in) : random(in) {
    CertificateOrder order;
    order.common_name = "hall-ca";
    order.authority = true;
    order.not_before_ms = kNowMs;
    order.not_after_ms = kNowMs + kYearMs;
    key = make_tls_key(random).value();
    certificate = self_signed_authority(key, order, random).value();
  }
  std::string issue(const std::string& device_key, const std::string& name) {
    CertificateOrder order;
    order.common_name = name;
    order.client = true;
    order.not_before_ms = kNowMs;
    order.not_after_ms = kNowMs + kYearMs;
    return issue_for_key(certificate, key, device_key, order, random).value();
  }
  Random& random;
  std::string key, certificate;
};

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
  return out + "\"";
}

std::string bundle_of(const std::string& device, const std::string& certificate, const std::string& ca) {
  return "{\"version\":1,\"site\":\"hall\",\"device\":\"" + device + "\",\"certificate\":" + json_text(certificate) +
         ",\"ca\":" + json_text(ca) + ",\"gateways\":[\"mqtts://fog-1:8883\"]}";
}

class EnrolmentTest : public ::testing::Test {
 protected:
  EnrolmentTest() : identity(load_or_make_identity(world.disk, world.random, "d").value()) {}
  Status install(const std::string& bundle) { return install_bundle(world.disk, "d", "press-7", identity, bundle); }
  Result<Enrolment> read() { return read_enrolment(world.disk, "d", "press-7", identity); }
  // Refused, nothing installed, and the person is told `wanted`.
  void expect_refused(const std::string& bundle, const std::string& wanted) {
    const auto files = world.disk.files.size();
    const Status status = install(bundle);
    ASSERT_FALSE(status.has_value()) << wanted;
    EXPECT_NE(status.error().text.find(wanted), std::string::npos) << status.error().text;
    EXPECT_EQ(world.disk.files.size(), files) << "all of it or nothing";
    EXPECT_EQ(read().error().code, ErrorCode::kNotFound);
  }
  // What is installed already turns out to be wrong: the file and the remedy are named.
  void expect_unusable(const std::string& bundle, const std::string& wanted) {
    world.disk.files["d/enrolment.json"].bytes = bundle;
    const auto enrolment = read();
    ASSERT_FALSE(enrolment.has_value()) << wanted;
    for (const std::string& text : {wanted, std::string("d/enrolment.json"), std::string("enrol this device again")}) {
      EXPECT_NE(enrolment.error().text.find(text), std::string::npos) << enrolment.error().text;
    }
  }

  World world{9};
  Identity identity;
  Authority site{world.random};
};

TEST_F(EnrolmentTest, ABundleThatFitsIsInstalledAndReadBack) {
  EXPECT_EQ(read().error().code, ErrorCode::kNotFound);
  const std::string certificate = site.issue(identity.tls_key_pem, "press-7");
  ASSERT_TRUE(install(bundle_of("press-7", certificate, site.certificate)));
  const auto enrolment = read();
  ASSERT_TRUE(enrolment.has_value()) << enrolment.error().text;
  EXPECT_EQ(enrolment->site, "hall");
  EXPECT_EQ(enrolment->gateways, std::vector<std::string>{"mqtts://fog-1:8883"});
  EXPECT_EQ(world.disk.files.at(enrolment->certificate_file).bytes, certificate);
  world.disk.files.erase(enrolment->ca_file);
  ASSERT_TRUE(read().has_value());
  EXPECT_EQ(world.disk.files.at(enrolment->ca_file).bytes, site.certificate) << "written again from the bundle";
}

TEST_F(EnrolmentTest, ABundleForAnotherDeviceIsRefusedByBothNames) {
  const std::string certificate = site.issue(identity.tls_key_pem, "press-8");
  expect_refused(bundle_of("press-8", certificate, site.certificate),
                 "it is for device \"press-8\", this is \"press-7\"");
  expect_refused(bundle_of("press-7", certificate, site.certificate), "common name is \"press-8\"");
  expect_unusable(bundle_of("press-8", certificate, site.certificate),
                  "is for device \"press-8\", the configuration says \"press-7\"");
}

TEST_F(EnrolmentTest, ACertificateForAnotherKeyIsRefused) {
  const std::string other_key = make_tls_key(world.random).value();
  const std::string bundle = bundle_of("press-7", site.issue(other_key, "press-7"), site.certificate);
  expect_refused(bundle, "key");
  expect_unusable(bundle, "d/tls.key");
}

TEST_F(EnrolmentTest, ACertificateOfAnotherAuthorityIsRefused) {
  Authority other(world.random);
  const std::string bundle = bundle_of("press-7", other.issue(identity.tls_key_pem, "press-7"), site.certificate);
  expect_refused(bundle, "authority");
  expect_unusable(bundle, "authority");
}

TEST_F(EnrolmentTest, ABundleThatIsCutAnywhereIsRefusedAndChangesNothing) {
  const std::string whole = bundle_of("press-7", site.issue(identity.tls_key_pem, "press-7"), site.certificate);
  for (size_t size = 0; size < whole.size(); size += 7) expect_refused(whole.substr(0, size), "bundle: ");
  expect_unusable(whole.substr(0, whole.size() / 2), "bundle: ");
  ASSERT_TRUE(install(whole));
}

TEST_F(EnrolmentTest, ABundleOfAHigherVersionIsRefusedByIt) {
  std::string bundle = bundle_of("press-7", site.issue(identity.tls_key_pem, "press-7"), site.certificate);
  bundle.replace(bundle.find("\"version\":1"), 11, "\"version\":2");
  expect_refused(bundle, "version 2; this program reads 1");
}

TEST_F(EnrolmentTest, TheKeysAreMadeOnceAndADamagedOneIsNamed) {
  const auto again = load_or_make_identity(world.disk, world.random, "d");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->key.to_hex(), identity.key.to_hex());
  EXPECT_EQ(again->tls_key_pem, identity.tls_key_pem);
  world.disk.files["d/device.key"].bytes = "12345";
  const auto damaged = load_or_make_identity(world.disk, world.random, "d");
  ASSERT_FALSE(damaged.has_value());
  EXPECT_NE(damaged.error().text.find("d/device.key"), std::string::npos) << damaged.error().text;
}

}  // namespace
}  // namespace lambda::agent
