#include "gateway/site/enrolment.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_world.h"

namespace lambda::gateway {
namespace {

struct EnrolmentTest : ::testing::Test {
  EnrolmentTest() {
    tls_key = make_tls_key(world.random).value();
    csr = make_certificate_request(tls_key, "press-7", world.random).value();
    json = {{"version", 1},  {"device", "press-7"},
            {"csr", csr},    {"public_key", hex(key.public_key())},
            {"key_spec", 1}, {"proof", hex(key.sign(enrolment_digest("press-7", csr)))}};
  }
  std::string refusal() const {
    auto read = read_enrolment_request(json.dump());
    return read ? "" : read.error().text;
  }
  test::World world;
  SigningKey key = SigningKey::from_hex(std::string(64, '1')).value();
  std::string tls_key, csr;
  nlohmann::json json;
};

TEST_F(EnrolmentTest, AnHonestRequestIsRead) {
  auto request = read_enrolment_request(json.dump());
  ASSERT_TRUE(request) << request.error().text;
  EXPECT_EQ(request->device, "press-7");
  EXPECT_EQ(request->public_key, key.public_key());
}

TEST_F(EnrolmentTest, TheProofBindsDeviceCsrAndKey) {
  const auto honest = json;
  const std::string other =
      make_certificate_request(make_tls_key(world.random).value(), "press-7", world.random).value();
  json["csr"] = other;
  EXPECT_NE(refusal().find("\"proof\""), std::string::npos);
  json = honest;
  json["public_key"] = hex(SigningKey::make(world.random).public_key());
  EXPECT_NE(refusal().find("\"proof\""), std::string::npos);
  json = honest;
  json["proof"] = std::string(128, '0');
  EXPECT_NE(refusal().find("\"proof\""), std::string::npos);
}

TEST_F(EnrolmentTest, TheCommonNameMustBeTheDevice) {
  const std::string other = make_certificate_request(tls_key, "press-8", world.random).value();
  json["csr"] = other;
  json["proof"] = hex(key.sign(enrolment_digest("press-7", other)));
  EXPECT_NE(refusal().find("common name is \"press-8\""), std::string::npos) << refusal();
}

TEST_F(EnrolmentTest, ACsrWhoseOwnSignatureIsWrongIsRefused) {
  // Swap a character in the middle of the base64 of the signature.
  std::string broken = csr;
  const size_t at = broken.find("-----END") - 20;
  broken[at] = broken[at] == 'A' ? 'B' : 'A';
  json["csr"] = broken;
  json["proof"] = hex(key.sign(enrolment_digest("press-7", broken)));
  EXPECT_NE(refusal().find("\"csr\""), std::string::npos) << refusal();
}

TEST_F(EnrolmentTest, EachMissingOrMistypedFieldIsNamed) {
  for (const char* field : {"version", "device", "csr", "public_key", "key_spec", "proof"}) {
    for (const nlohmann::json& bad :
         {nlohmann::json(), nlohmann::json(true), nlohmann::json("?"), nlohmann::json::array()}) {
      const auto honest = json;
      json[field] = bad;
      EXPECT_NE(refusal().find(std::string("\"") + field + "\""), std::string::npos) << field << ": " << refusal();
      json = honest;
      json.erase(field);
      EXPECT_NE(refusal().find(std::string("\"") + field + "\""), std::string::npos) << field << ": " << refusal();
      json = honest;
    }
  }
}

TEST_F(EnrolmentTest, DeviceIdsThatCouldEscapeATopicOrAPathAreRefused) {
  for (const char* id : {"", "Press", "a/b", "a+b", "#", "..", "a b", "press_7"}) {
    json["device"] = id;
    EXPECT_NE(refusal().find("\"device\""), std::string::npos) << id;
  }
  json["device"] = std::string(65, 'a');
  EXPECT_NE(refusal().find("\"device\""), std::string::npos);
}

TEST_F(EnrolmentTest, AHigherVersionIsRefusedAsNewer) {
  json["version"] = 2;
  auto read = read_enrolment_request(json.dump());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
}

TEST_F(EnrolmentTest, TextThatIsNoJsonIsAnErrorAtEveryLength) {
  const std::string text = json.dump();
  for (size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(read_enrolment_request(text.substr(0, size)));
}

TEST_F(EnrolmentTest, ABundleCarriesWhatADeviceNeeds) {
  auto bundle = nlohmann::json::parse(bundle_text({"plant", "press-7", "CERT", "CA", {"mqtts://fog:8883"}}));
  EXPECT_EQ(bundle["version"], 1);
  EXPECT_EQ(bundle["site"], "plant");
  EXPECT_EQ(bundle["device"], "press-7");
  EXPECT_EQ(bundle["certificate"], "CERT");
  EXPECT_EQ(bundle["ca"], "CA");
  EXPECT_EQ(bundle["gateways"][0], "mqtts://fog:8883");
}

}  // namespace
}  // namespace lambda::gateway
