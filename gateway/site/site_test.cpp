#include "gateway/site/site.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "gateway/test_world.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kDayMs = 86'400'000;

struct SiteTest : ::testing::Test {
  SiteTest() { options = {world.path("site"), "plant", "fog-1", {"localhost", "127.0.0.1"}}; }
  test::World world;
  SiteOptions options;
};

TEST_F(SiteTest, MakesAnAuthorityAndCertificatesOnceAndKeepsThem) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  const auto authority = world.read("site/ca.crt"), server = world.read("site/server.crt"),
             own = world.read("site/gateway.crt");
  EXPECT_EQ(read_certificate(own).value().common_name, "fog-1");
  EXPECT_GT(read_certificate(authority).value().not_after_ms, world.clock.utc + 3600 * kDayMs);
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  EXPECT_EQ(world.read("site/ca.crt"), authority);
  EXPECT_EQ(world.read("site/server.crt"), server);
  EXPECT_EQ(world.read("site/gateway.crt"), own);
}

TEST_F(SiteTest, EveryFileIsItsOwnersAlone) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  for (const auto& entry : std::filesystem::directory_iterator(options.directory)) {
    struct stat facts {};
    ASSERT_EQ(stat(entry.path().c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_F(SiteTest, WhatACrashLeftMissingIsMadeAtTheNextStart) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  for (const char* name :
       {"ca.crt", "server.key", "server.crt", "gateway.key", "gateway.crt", "crl.pem", "site.json"}) {
    std::filesystem::remove(options.directory + "/" + name);
    auto site = Site::open_or_make(world.env, options);
    ASSERT_TRUE(site) << name << ": " << site.error().text;
    EXPECT_TRUE(std::filesystem::exists(options.directory + "/" + name)) << name;
  }
}

TEST_F(SiteTest, ADirectoryOfAnotherSiteIsRefusedByName) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  options.site = "mill";
  auto other = Site::open_or_make(world.env, options);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kInvalid);
  EXPECT_NE(other.error().text.find("\"plant\""), std::string::npos);
}

TEST_F(SiteTest, TheBrokersCertificateFollowsItsNamesAndItsAge) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  const auto first = world.read("site/server.crt");
  options.broker_names.push_back("fog.example");
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  const auto second = world.read("site/server.crt");
  EXPECT_NE(first, second);
  world.clock.advance_ms(800 * kDayMs);
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  EXPECT_NE(world.read("site/server.crt"), second);
}

TEST_F(SiteTest, ADamagedCertificateOrKeyOfItsOwnIsMadeAnewOrNamed) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  for (const char* name : {"server.key", "server.crt", "gateway.key", "gateway.crt"}) {
    for (const std::string& bad : {std::string("none"), world.read("site/ca.key"), world.read("site/ca.crt")}) {
      world.write(std::string("site/") + name, bad);
      ASSERT_TRUE(Site::open_or_make(world.env, options)) << name;
      const std::string stem = "site/" + std::string(name, std::string(name).find('.'));
      EXPECT_TRUE(check_certificate(world.read(stem + ".crt"), world.read(stem + ".key"), world.read("site/ca.crt")))
          << name;
    }
  }
  std::filesystem::remove(options.directory + "/ca.key");
  ASSERT_TRUE(Site::open_or_make(world.env, options)) << "nothing has to be made";
  world.write("site/gateway.crt", "none");
  const auto site = Site::open_or_make(world.env, options);
  ASSERT_FALSE(site);
  EXPECT_NE(site.error().text.find("gateway.crt"), std::string::npos) << site.error().text;
  EXPECT_NE(site.error().text.find("ca.key"), std::string::npos) << site.error().text;
}

TEST_F(SiteTest, IssuesForADevicesRequestOnly) {
  auto site = Site::open_or_make(world.env, options).value();
  const std::string csr = make_certificate_request(make_tls_key(world.random).value(), "press-7", world.random).value();
  auto certificate = site.issue("press-7", csr, 30);
  ASSERT_TRUE(certificate) << certificate.error().text;
  EXPECT_EQ(certificate->facts.common_name, "press-7");
  EXPECT_LE(certificate->facts.not_after_ms, world.clock.utc + 30 * kDayMs);
  EXPECT_GT(certificate->facts.not_after_ms, world.clock.utc + 29 * kDayMs);
  EXPECT_FALSE(site.issue("press-7", "no request", 30));
}

TEST_F(SiteTest, WithoutTheAuthoritysKeyItRunsButIssuesNothing) {
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  std::filesystem::remove(options.directory + "/ca.key");
  auto site = Site::open_or_make(world.env, options);
  ASSERT_TRUE(site) << site.error().text;
  auto refused = site->eviction_credentials("press-7");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(refused.error().text.find("ca.key"), std::string::npos);
}

TEST_F(SiteTest, MakesNoCertificatesWhileTheClockIsUnset) {
  world.clock.utc = 5 * kDayMs;
  auto site = Site::open_or_make(world.env, options);
  ASSERT_FALSE(site);
  EXPECT_EQ(site.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(options.directory + "/ca.crt"));
}

TEST_F(SiteTest, TheCommandLineFindsASiteOrSaysThatThereIsNone) {
  auto none = Site::open(world.env, world.path("nowhere"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(Site::open_or_make(world.env, options));
  auto site = Site::open(world.env, options.directory);
  ASSERT_TRUE(site);
  EXPECT_EQ(site->site(), "plant");
  EXPECT_EQ(site->gateway(), "fog-1");
}

}  // namespace
}  // namespace lambda::gateway
