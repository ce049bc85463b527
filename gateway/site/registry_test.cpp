#include "gateway/site/registry.h"

#include <gtest/gtest.h>

#include "gateway/test_world.h"

namespace lambda::gateway {
namespace {

Enrolled device(const std::string& name, uint8_t key, const std::string& serial) {
  Enrolled enrolled;
  enrolled.device = name;
  enrolled.public_key.fill(key);
  enrolled.fingerprint = std::string(64, 'a');
  enrolled.serial = serial;
  enrolled.enrolled_ms = 1'760'000'000'000;
  return enrolled;
}

struct RegistryTest : ::testing::Test {
  void append(const std::string& text) { world.append("registry.jsonl", text); }
  test::World world;
  Registry registry{world.disk, world.log, world.dir};
};

TEST_F(RegistryTest, IsEmptyWhenThereIsNoFile) {
  auto changed = registry.refresh();
  ASSERT_TRUE(changed);
  EXPECT_FALSE(*changed);
  EXPECT_EQ(registry.find("press-7"), nullptr);
}

TEST_F(RegistryTest, KnowsADeviceAndItsKeyAfterItsLine) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  ASSERT_TRUE(registry.refresh().value());
  const Enrolled* found = registry.find("press-7");
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->revoked);
  EXPECT_EQ(found->public_key, device("press-7", 3, "1a").public_key);
  EXPECT_EQ(found->serial, "1a");
  EXPECT_FALSE(registry.refresh().value()) << "nothing changed since";
}

TEST_F(RegistryTest, SeesARevocationAppendedByAnotherProcess) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  append(Registry::enroll_line(device("press-8", 4, "1b"), false));
  ASSERT_TRUE(registry.refresh().value());
  append(Registry::revoke_line("press-7", 5, false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_TRUE(registry.find("press-7")->revoked);
  EXPECT_EQ(registry.find("press-7")->revoked_ms, 5);
  EXPECT_FALSE(registry.find("press-8")->revoked);
  EXPECT_EQ(registry.dead_serials(), std::vector<std::string>{"1a"});
}

TEST_F(RegistryTest, TheLastLineOfADeviceCountsAndItsFormerCertificateIsDead) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  append(Registry::revoke_line("press-7", 5, false));
  append(Registry::enroll_line(device("press-7", 9, "2a"), false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_FALSE(registry.find("press-7")->revoked);
  EXPECT_EQ(registry.find("press-7")->public_key[0], 9);
  EXPECT_EQ(registry.dead_serials(), std::vector<std::string>{"1a"});
}

TEST_F(RegistryTest, ARenewedCertificateLeavesTheFormerGoodUntilTheDeviceIsRevoked) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  append(Registry::enroll_line(device("press-7", 3, "2a"), false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_TRUE(registry.dead_serials().empty());
  append(Registry::revoke_line("press-7", 5, false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_EQ(registry.dead_serials(), (std::vector<std::string>{"1a", "2a"}));
}

TEST_F(RegistryTest, AnotherKeyKillsEveryFormerCertificate) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  append(Registry::enroll_line(device("press-7", 3, "2a"), false));
  append(Registry::enroll_line(device("press-7", 4, "3a"), false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_EQ(registry.dead_serials(), (std::vector<std::string>{"1a", "2a"}));
}

TEST_F(RegistryTest, ADamagedLineLocksItsDeviceOutNamesTheLineAndLeavesTheOthers) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  append(Registry::enroll_line(device("press-8", 4, "1b"), false));
  append("{\"enroll\":{\"device\":\"press-7\",\"public_key\":\"zz\n");
  append("\x01\x02 nonsense\n");
  append(Registry::enroll_line(device("press-9", 5, "1c"), false));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_TRUE(registry.find("press-7")->revoked);
  EXPECT_FALSE(registry.find("press-8")->revoked);
  EXPECT_FALSE(registry.find("press-9")->revoked);
  EXPECT_EQ(registry.malformed_lines(), 2u);
  ASSERT_EQ(world.log.count("registry_line_malformed"), 2u);
  EXPECT_EQ(world.log.entries[0].fields.at("line"), "3");
  EXPECT_EQ(world.log.entries[0].fields.at("device_locked_out"), "press-7");
  EXPECT_EQ(world.log.entries[1].fields.at("line"), "4");
}

TEST_F(RegistryTest, EveryFieldOfAnEnrolmentIsCheckedAndNamed) {
  const std::string good = Registry::enroll_line(device("press-7", 3, "1a"), false);
  for (const char* field : {"device", "public_key", "key_spec", "fingerprint", "serial", "at"}) {
    std::string line = good;
    const std::string quoted = std::string("\"") + field + "\"";
    line.replace(line.find(quoted), quoted.size(), "\"other\"");
    world.write("registry.jsonl", line);
    test::MemoryLog log;
    Registry fresh(world.disk, log, world.dir);
    ASSERT_TRUE(fresh.refresh().value());
    EXPECT_EQ(fresh.malformed_lines(), 1u) << field;
    ASSERT_EQ(log.count("registry_line_malformed"), 1u);
    EXPECT_NE(log.entries[0].fields.at("why").find(field), std::string::npos) << log.entries[0].fields.at("why");
    const Enrolled* locked_out = fresh.find("press-7");
    EXPECT_EQ(locked_out != nullptr && locked_out->revoked, std::string(field) != "device") << field;
  }
}

TEST_F(RegistryTest, ALineThatIsStillBeingWrittenWaitsForItsNewline) {
  const std::string line = Registry::enroll_line(device("press-7", 3, "1a"), false);
  append(line.substr(0, 40));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_EQ(registry.find("press-7"), nullptr);
  EXPECT_EQ(registry.malformed_lines(), 0u);
  EXPECT_TRUE(registry.ends_torn());
  append(line.substr(40));
  ASSERT_TRUE(registry.refresh().value());
  ASSERT_NE(registry.find("press-7"), nullptr);
  EXPECT_FALSE(registry.ends_torn());
}

TEST_F(RegistryTest, AWriterEndsATornLineBeforeItsOwn) {
  append("{\"enroll\":{\"device\":\"press-1\",\"pub");
  ASSERT_TRUE(registry.refresh().value());
  append(Registry::enroll_line(device("press-7", 3, "1a"), registry.ends_torn()));
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_NE(registry.find("press-7"), nullptr);
  EXPECT_FALSE(registry.find("press-7")->revoked);
  EXPECT_EQ(registry.malformed_lines(), 1u);
}

TEST_F(RegistryTest, AChangeShowsInItsSizeBeforeItIsRead) {
  EXPECT_FALSE(registry.looks_changed()) << "there is none";
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  EXPECT_TRUE(registry.looks_changed());
  ASSERT_TRUE(registry.refresh().value());
  EXPECT_FALSE(registry.looks_changed());
  append(Registry::revoke_line("press-7", 5, false));
  EXPECT_TRUE(registry.looks_changed());
}

TEST_F(RegistryTest, AFileThatVanishedThrowsNobodyOutAndIsCounted) {
  append(Registry::enroll_line(device("press-7", 3, "1a"), false));
  ASSERT_TRUE(registry.refresh().value());
  std::filesystem::remove(world.path("registry.jsonl"));
  EXPECT_FALSE(registry.refresh().has_value());
  EXPECT_NE(registry.find("press-7"), nullptr);
  EXPECT_EQ(registry.read_errors(), 1u);
}

TEST_F(RegistryTest, ARevocationOfAnUnknownDeviceLocksThatNameOut) {
  append(Registry::revoke_line("press-7", 5, false));
  ASSERT_TRUE(registry.refresh().value());
  ASSERT_NE(registry.find("press-7"), nullptr);
  EXPECT_TRUE(registry.find("press-7")->revoked);
}

}  // namespace
}  // namespace lambda::gateway
