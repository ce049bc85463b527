#include "base/config/config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/os/disk.h"
#include "base/test_support.h"

namespace lambda {
namespace {

struct Place {
  std::string path;
  int64_t age_ms = 5;
};
struct Settings {
  std::string site;
  std::string token;
  std::vector<std::string> gateways = {"mqtt://127.0.0.1:1883"};
  int64_t seal_age_ms = 60'000;
  uint16_t port = 8600;
  uint64_t bytes_max = 1u << 20;
  double share = 0.5;
  bool live = true;
  std::vector<Place> places;
};

class Config : public ::testing::Test {
 protected:
  Status parse(const std::string& text) {
    settings_ = {};
    ConfigTable table("lambda-test");
    describe(table);
    return table.parse(text, "agent.toml", disk_, [](const std::string& name) -> std::optional<std::string> {
      if (name == "SITE") return "plant-9";
      return std::nullopt;
    });
  }

  void describe(ConfigTable& table) {
    table.text("site", settings_.site, "The site's name.", identifier()).required();
    table.secret("http.token", settings_.token, "Asked of clients.");
    table.text_list("uplink.gateways", settings_.gateways, 3, "Brokers, tried in order.", mqtt_url());
    table.integer("uplink.seal_age_ms", settings_.seal_age_ms, 1'000, 600'000, "A block is sent when it is this old.");
    table.integer("http.port", settings_.port, 0, 65'535, "Port; 0: any.");
    table.integer("bytes_max", settings_.bytes_max, 1, UINT64_MAX, "Memory.");
    table.number("share", settings_.share, 0, 1, "Share | part.");
    table.flag("live", settings_.live, "Send live points.");
    table.tables<Place>("place", settings_.places, 2, "Watched folders.", [](ConfigTable& row, Place& place) {
      row.text("path", place.path, "The folder.", not_empty()).required();
      row.integer("age_ms", place.age_ms, 0, 10, "Age.");
    });
    table.rule("bytes_max", [this]() -> Status {
      if (settings_.bytes_max < 10) return fail(ErrorCode::kInvalid, "is too small for the rest");
      return {};
    });
  }

  std::string problems(const std::string& text) {
    const auto status = parse(text);
    if (status) return "(none)";
    EXPECT_EQ(status.error().code, ErrorCode::kInvalid);
    return status.error().text;
  }

  TestFolder folder_;
  OsLoop loop_;
  OsDisk disk_{loop_};
  Settings settings_;
};

TEST_F(Config, KeepsDefaultsAndTakesWhatIsGiven) {
  ASSERT_TRUE(parse("site = \"a\""));
  EXPECT_EQ(settings_.seal_age_ms, 60'000);
  EXPECT_EQ(settings_.gateways.size(), 1u);
  const auto status = parse(R"(site = "press-7"
bytes_max = 16_777_216
share = 1
live = false
[uplink]
gateways = ["mqtts://a:8883", "mqtts://[::1]:8883"]
seal_age_ms = 1000
[http]
port = 0
[[place]]
path = "/a"
[[place]]
path = "/b"
age_ms = 10
)");
  ASSERT_TRUE(status) << status.error().text;
  EXPECT_EQ(settings_.site, "press-7");
  EXPECT_EQ(settings_.bytes_max, 16'777'216u);
  EXPECT_EQ(settings_.share, 1.0);
  EXPECT_FALSE(settings_.live);
  EXPECT_EQ(settings_.gateways, (std::vector<std::string>{"mqtts://a:8883", "mqtts://[::1]:8883"}));
  EXPECT_EQ(settings_.port, 0);
  ASSERT_EQ(settings_.places.size(), 2u);
  EXPECT_EQ(settings_.places[0].age_ms, 5);
  EXPECT_EQ(settings_.places[1].age_ms, 10);
}

TEST_F(Config, NamesFileLineKeyAndRemedy) {
  EXPECT_EQ(problems("site = \"a\"\n\n[uplink]\ngateways = [\"mqtts://fog1:8883\",\n  \"mqtts://fog2\"]\n"),
            "agent.toml:5: uplink.gateways[1]: \"mqtts://fog2\" has no port; write mqtts://fog2:8883");
}

TEST_F(Config, ReportsAllProblemsTogetherInTheOrderOfLines) {
  EXPECT_EQ(problems("live = 3\nshare = 1.5\n[http]\nport = 70000\n[uplink]\nseal_age_ms = \"5\"\n"),
            "agent.toml: site: is missing: The site's name.\n"
            "agent.toml:1: live: is an integer; boolean wanted\n"
            "agent.toml:2: share: 1.5 is not within 0 .. 1\n"
            "agent.toml:4: http.port: 70000 is not within 0 .. 65535\n"
            "agent.toml:6: uplink.seal_age_ms: is a string; integer wanted");
}

TEST_F(Config, AnUnknownKeyIsAnErrorWithTheNearestName) {
  EXPECT_EQ(problems("site = \"a\"\n[uplink]\nseal_age = 5\n"),
            "agent.toml:3: uplink.seal_age: is not known; did you mean uplink.seal_age_ms?");
  EXPECT_EQ(problems("site = \"a\"\n[uplnik]\nseal_age_ms = 5000\n"),
            "agent.toml:2: uplnik: is not known; did you mean uplink?");
  EXPECT_EQ(problems("site = \"a\"\nentirely_different = 1\n"), "agent.toml:2: entirely_different: is not known");
  EXPECT_EQ(problems("site = \"a\"\n[[place]]\npath = \"x\"\npaht = \"y\"\n"),
            "agent.toml:4: place[0].paht: is not known; did you mean place[0].path?");
  EXPECT_EQ(problems("site = \"a\"\nuplink = 3\n"), "agent.toml:2: uplink: is an integer; table wanted");
}

TEST_F(Config, ChecksRowsOfTables) {
  EXPECT_EQ(problems("site = \"a\"\n[[place]]\npath = \"\"\n[[place]]\nage_ms = 11\n"),
            "agent.toml:3: place[0].path: \"\" is empty\n"
            "agent.toml:4: place[1].path: is missing: The folder.\n"
            "agent.toml:5: place[1].age_ms: 11 is not within 0 .. 10");
  EXPECT_EQ(problems("site = \"a\"\nplace = [{path=\"1\"},{path=\"2\"},{path=\"3\"}]\n"),
            "agent.toml:2: place: 3 tables; at most 2 are allowed");
}

TEST_F(Config, SyntaxErrorsHaveALine) {
  const auto text = problems("site = \"a\"\nlive = maybe\n");
  EXPECT_EQ(text.rfind("agent.toml:2: ", 0), 0u) << text;
  EXPECT_NE(problems("site = \"a\"\nsite = \"b\"\n").find("agent.toml:2: "), std::string::npos);
}

TEST_F(Config, ReplacesVariablesOfTheEnvironment) {
  ASSERT_TRUE(parse("site = \"${SITE}\""));
  EXPECT_EQ(settings_.site, "plant-9");
  EXPECT_EQ(problems("site = \"a-${NONE}\""), "agent.toml:1: site: the environment has no variable NONE");
  EXPECT_NE(problems("site = \"a-${NONE\"").find("has no \"}\""), std::string::npos);
  ASSERT_TRUE(parse("site = \"a\"\n[http]\ntoken = \"$${SITE}$\""));
  EXPECT_EQ(settings_.token, "${SITE}$");
}

TEST_F(Config, ReadsSecretsFromFiles) {
  const std::string path = folder_ / "token";
  std::ofstream(path) << "s3cret\n";
  ASSERT_TRUE(parse("site = \"a\"\n[http]\ntoken = \"file:" + path + "\""));
  EXPECT_EQ(settings_.token, "s3cret");
  const auto text = problems("site = \"a\"\n[http]\ntoken = \"file:" + (folder_ / "none") + "\"");
  EXPECT_EQ(text.rfind("agent.toml:3: http.token: ", 0), 0u) << text;
  // Only secrets: other strings are what they are.
  EXPECT_NE(problems("site = \"file:" + path + "\"").find("is not of the form"), std::string::npos);
}

TEST_F(Config, AsksRulesOverSeveralFieldsLast) {
  EXPECT_EQ(problems("site = \"a\"\nbytes_max = 3\n"), "agent.toml:2: bytes_max: is too small for the rest");
}

TEST_F(Config, LoadsFilesAndRefusesMissingOnes) {
  const std::string path = folder_ / "c.toml";
  ConfigTable table("lambda-test");
  describe(table);
  EXPECT_EQ(table.load(disk_, {}, path).error().code, ErrorCode::kNotFound);
  std::ofstream(path) << "site = \"x\"";
  EXPECT_TRUE(table.load(disk_, {}, path));
  EXPECT_EQ(settings_.site, "x");
}

TEST_F(Config, TheHelpAndTheReferenceNameEveryKeyWithItsDefaultAndRange) {
  ConfigTable table("lambda-test");
  describe(table);
  for (const std::string& text : {table.help(), table.reference()}) {
    for (const char* part : {"site", "http.token", "uplink.gateways", "60000", "1000 .. 600000", "place[].path",
                             "place[].age_ms", "required"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
    }
  }
  EXPECT_NE(table.reference().find("Share \\| part."), std::string::npos);
  EXPECT_TRUE(settings_.places.empty());
}

TEST(ConfigChecks, TellGoodUrlsFromBad) {
  const auto check = mqtt_url();
  for (const char* good : {"mqtts://fog:8883", "mqtt://127.0.0.1:1", "mqtts://[::1]:65535"})
    EXPECT_TRUE(check(good)) << good;
  for (const char* bad :
       {"", "fog:8883", "http://fog:1", "mqtts://", "mqtts://:8883", "mqtts://fog:0", "mqtts://fog:65536",
        "mqtts://fog:88x", "mqtts://fog/x:1", "mqtts://u@fog:1", "mqtts://fo g:1"}) {
    EXPECT_FALSE(check(bad)) << bad;
  }
}

TEST(ConfigChecks, TellAddressesFromNames) {
  const auto check = listen_address();
  for (const char* good : {"127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1"}) EXPECT_TRUE(check(good)) << good;
  for (const char* bad : {"", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.a", "x::y"})
    EXPECT_FALSE(check(bad)) << bad;
}

TEST(ConfigChecks, KnowWordsAndIdentifiers) {
  EXPECT_EQ(one_of({"text", "json"})("xml").error().text, "\"xml\" is not one of text, json");
  EXPECT_TRUE(one_of({"text", "json"})("json"));
  EXPECT_TRUE(identifier()(std::string(64, 'a')));
  EXPECT_FALSE(identifier()(std::string(65, 'a')));
  EXPECT_FALSE(identifier()("Press"));
}

}  // namespace
}  // namespace lambda
