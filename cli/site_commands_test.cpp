#include "cli/site_commands.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "gateway/site/enrolment.h"
#include "gateway/site/registry.h"
#include "gateway/site/site.h"
#include "gateway/test_world.h"

namespace lambda::cli {
namespace {

struct SiteCommands : ::testing::Test {
  SiteCommands() {
    site_directory = world.path("site");
    EXPECT_TRUE(gateway::Site::open_or_make(world.env, {site_directory, "plant", "fog-1", {"localhost"}}));
  }

  std::string request(const std::string& device, const SigningKey& signing) {
    const std::string csr = make_certificate_request(make_tls_key(world.random).value(), device, world.random).value();
    nlohmann::json json{{"version", 1},  {"device", device},
                        {"csr", csr},    {"public_key", hex(signing.public_key())},
                        {"key_spec", 1}, {"proof", hex(signing.sign(gateway::enrolment_digest(device, csr)))}};
    world.write(device + ".request.json", json.dump());
    return world.path(device + ".request.json");
  }

  int run_enroll(const std::string& file, bool replace = false, std::vector<std::string> gateways = {}) {
    EnrollOptions options;
    options.request_file = file;
    options.site_directory = site_directory;
    options.bundle_file = world.path("bundle.json");
    options.replace = replace;
    options.gateways = std::move(gateways);
    options.json = true;
    out.str("");
    err.str("");
    return enroll(site_world, options);
  }

  int run_revoke(const std::string& device) {
    out.str("");
    err.str("");
    return revoke(site_world, {device, site_directory, true});
  }

  gateway::Registry registry() {
    gateway::Registry fresh(world.disk, world.log, site_directory);
    EXPECT_TRUE(fresh.refresh());
    return fresh;
  }

  gateway::test::World world;
  std::string site_directory;
  std::ostringstream out, err;
  SiteWorld site_world{world.env, [this] { world.loop.run(); }, [this] { world.loop.stop(); }, out, err};
  SigningKey key = SigningKey::from_hex(std::string(64, '1')).value();
  SigningKey other_key = SigningKey::from_hex(std::string(64, '2')).value();
};

TEST_F(SiteCommands, EnrollWritesTheRegistryAndABundleForThatDevice) {
  ASSERT_EQ(run_enroll(request("press-7", key), false, {"mqtts://fog:8883"}), 0) << err.str();
  auto bundle = nlohmann::json::parse(world.read("bundle.json"));
  EXPECT_EQ(bundle["site"], "plant");
  EXPECT_EQ(bundle["device"], "press-7");
  EXPECT_EQ(bundle["gateways"], nlohmann::json::array({"mqtts://fog:8883"}));
  EXPECT_EQ(bundle["ca"], world.read("site/ca.crt"));
  auto facts = read_certificate(bundle["certificate"]).value();
  EXPECT_EQ(facts.common_name, "press-7");
  auto known = registry();
  ASSERT_NE(known.find("press-7"), nullptr);
  EXPECT_EQ(known.find("press-7")->public_key, key.public_key());
  EXPECT_EQ(known.find("press-7")->serial, facts.serial_hex);
  EXPECT_EQ(nlohmann::json::parse(out.str())["device"], "press-7");
}

TEST_F(SiteCommands, TheBundleNamesTheBrokerThatTheGatewayWroteDown) {
  world.write("site/broker.json", R"({"urls":["mqtts://localhost:8883"]})");
  ASSERT_EQ(run_enroll(request("press-7", key)), 0) << err.str();
  EXPECT_EQ(nlohmann::json::parse(world.read("bundle.json"))["gateways"][0], "mqtts://localhost:8883");
}

TEST_F(SiteCommands, TheSameKeyAgainRenewsTheCertificateAndLeavesTheFormerGood) {
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  const std::string first = registry().find("press-7")->serial;
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  auto known = registry();
  EXPECT_NE(known.find("press-7")->serial, first);
  EXPECT_TRUE(known.dead_serials().empty()) << "the device runs on it until the new one is installed";
}

TEST_F(SiteCommands, AnotherKeyNeedsReplace) {
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  EXPECT_EQ(run_enroll(request("press-7", other_key)), 1);
  EXPECT_NE(err.str().find("another key"), std::string::npos) << err.str();
  EXPECT_EQ(registry().find("press-7")->public_key, key.public_key());
  EXPECT_EQ(run_enroll(request("press-7", other_key), true), 0);
  EXPECT_EQ(registry().find("press-7")->public_key, other_key.public_key());
}

TEST_F(SiteCommands, AKeyIsOfOneDeviceAlsoWhenThatIsRevoked) {
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  for (const bool replace : {false, true}) {
    EXPECT_EQ(run_enroll(request("press-8", key), replace), 1);
    EXPECT_NE(err.str().find("this key is of \"press-7\""), std::string::npos) << err.str();
    EXPECT_EQ(registry().find("press-8"), nullptr);
  }
  ASSERT_EQ(run_revoke("press-7"), 0);
  EXPECT_EQ(run_enroll(request("press-8", key), true), 1);
  EXPECT_EQ(run_enroll(request("press-8", other_key)), 0) << err.str();
}

TEST_F(SiteCommands, ARevokedDeviceComesBackByReplaceOnly) {
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  ASSERT_EQ(run_revoke("press-7"), 0);
  EXPECT_TRUE(registry().find("press-7")->revoked);
  EXPECT_EQ(run_enroll(request("press-7", key)), 1);
  EXPECT_TRUE(registry().find("press-7")->revoked);
  EXPECT_EQ(run_enroll(request("press-7", key), true), 0);
  EXPECT_FALSE(registry().find("press-7")->revoked);
}

TEST_F(SiteCommands, RevokeTwiceIsNoErrorAndWritesOneLine) {
  ASSERT_EQ(run_enroll(request("press-7", key)), 0);
  ASSERT_EQ(run_revoke("press-7"), 0);
  const std::string file = world.read("site/registry.jsonl");
  EXPECT_EQ(run_revoke("press-7"), 0);
  EXPECT_EQ(world.read("site/registry.jsonl"), file);
}

TEST_F(SiteCommands, RevokingAStrangerIsAnError) {
  EXPECT_EQ(run_revoke("press-9"), 1);
  EXPECT_NE(nlohmann::json::parse(out.str())["error"].get<std::string>().find("not enrolled"), std::string::npos);
}

TEST_F(SiteCommands, ADeviceMayNotTakeTheGatewaysName) {
  EXPECT_EQ(run_enroll(request("fog-1", key), true), 1);
  EXPECT_NE(err.str().find("gateway"), std::string::npos);
  EXPECT_EQ(registry().find("fog-1"), nullptr);
}

TEST_F(SiteCommands, AnAlteredRequestChangesNothing) {
  const std::string file = request("press-7", key);
  auto json = nlohmann::json::parse(world.read("press-7.request.json"));
  json["public_key"] = hex(other_key.public_key());
  world.write("press-7.request.json", json.dump());
  EXPECT_EQ(run_enroll(file), 1);
  EXPECT_NE(err.str().find("proof"), std::string::npos);
  EXPECT_EQ(registry().find("press-7"), nullptr);
  EXPECT_FALSE(std::filesystem::exists(world.path("bundle.json")));
}

TEST_F(SiteCommands, AMissingSiteOrRequestIsNamed) {
  const std::string file = request("press-7", key);
  site_directory = world.path("nowhere");
  EXPECT_EQ(run_enroll(file), 1);
  EXPECT_NE(err.str().find("nowhere"), std::string::npos);
  site_directory = world.path("site");
  EXPECT_EQ(run_enroll(world.path("none.json")), 1);
  EXPECT_NE(err.str().find("none.json"), std::string::npos);
}

TEST_F(SiteCommands, DevicesPrintsARowForEachAndSurvivesAnything) {
  const std::string answer =
      R"({"devices":[{"device":"press-7","state":"online","last_seen_ms":1760000000000,"lag_ms":1500,"points":12}]})";
  ASSERT_EQ(devices(site_world, {false}, answer), 0);
  EXPECT_NE(out.str().find("press-7"), std::string::npos);
  EXPECT_NE(out.str().find("2025-10-09T08:53:20Z"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("1.5"), std::string::npos);
  for (const char* bad : {"", "[]", "{}", "{\"devices\":3}", "nonsense"}) {
    EXPECT_EQ(devices(site_world, {true}, bad), 1) << bad;
  }
}

}  // namespace
}  // namespace lambda::cli
