// `lambda store` as a shell runs it, on stores that a real gateway's store wrote.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/os/disk.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "cli/test_world.h"
#include "gateway/store/store.h"
#include "gateway/store/test_world.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class StoreCommand : public testing::Test {
 protected:
  StoreCommand() {
    std::string made = testing::TempDir() + "/lambda_store_XXXXXX";
    directory = ::mkdtemp(made.data());
  }
  ~StoreCommand() override { fs::remove_all(directory); }

  // Two series of one device, 30 points each, in three parcels.
  void fill() {
    OsLoop loop;
    OsClock clock;
    const auto log = make_log({.level = LogLevel::kError}, clock);
    OsDisk disk(loop);
    OsNetwork network(loop, *log);
    OsRandom random;
    OsProcesses processes(loop);
    Env env{clock, loop, disk, network, random, processes, *log};
    gateway::StoreOptions options;
    options.directory = directory;
    options.site = "hall";
    auto store = gateway::Store::open(env, options);
    ASSERT_TRUE(store.has_value()) << store.error().text;
    gateway::TestDevice device;
    name = device.name;
    int stored = 0;
    loop.after(20'000, [&] { loop.stop(); });  // a bound, not a wait
    std::function<void()> fill_when_ready = [&] {
      if (!(*store)->ready()) {
        loop.after(5, fill_when_ready);
        return;
      }
      for (uint64_t i = 0; i < 3; ++i) {
        (*store)->put(device.parcel({gateway::test_block(1, i * 10, 10), gateway::test_block(2, i * 10, 10)}, {1, 2}),
                      [&](const gateway::Decision& decision) {
                        stored += decision.verdict == gateway::Verdict::kStored ? 1 : 0;
                        if (stored == 3) loop.stop();
                      });
      }
    };
    loop.post(fill_when_ready);
    loop.run();
    ASSERT_EQ(stored, 3);
    store->reset();
  }
  // The only segment.
  fs::path segment() const {
    fs::path found;
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().filename().string().starts_with("seg-") && entry.path().extension() == ".lam") {
        EXPECT_TRUE(found.empty());
        found = entry.path();
      }
    }
    EXPECT_FALSE(found.empty());
    return found;
  }
  void flip_byte_in_the_middle() const {
    const fs::path path = segment();
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }

  std::string directory;
  std::string name;
};

TEST_F(StoreCommand, ChecksAGoodStore) {
  fill();
  const Ran ran = run("store check --json '" + directory + "'");
  EXPECT_EQ(ran.status, 0) << ran.out;
  const json facts = json::parse(ran.out);
  EXPECT_EQ(facts["ok"], true);
  EXPECT_EQ(facts["points"], 60);
  EXPECT_EQ(facts["parcels"], 3);
  EXPECT_EQ(facts["devices"], 1);
  const Ran table = run("store check '" + directory + "'");
  EXPECT_EQ(table.status, 0);
  EXPECT_NE(table.out.find("points               60\n"), std::string::npos) << table.out;
}

TEST_F(StoreCommand, ExportsThePointsOfTheSeriesThatMatch) {
  fill();
  const Ran csv = run("store export '" + directory + "' --match m1");
  EXPECT_EQ(csv.status, 0);
  EXPECT_EQ(std::ranges::count(csv.out, '\n'), 31) << csv.out;
  EXPECT_TRUE(csv.out.starts_with("series,time_ms,value\n")) << csv.out;
  const Ran lines = run("store export --json '" + directory + "'");
  EXPECT_EQ(lines.status, 0);
  std::istringstream in(lines.out);
  int points = 0;
  for (std::string line; std::getline(in, line); ++points) {
    const json point = json::parse(line);
    EXPECT_EQ(point["labels"]["site"], "hall");
    EXPECT_EQ(point["labels"]["instance"], name);
  }
  EXPECT_EQ(points, 60);
  const json first = json::parse(lines.out.substr(0, lines.out.find('\n')));
  const std::string start = std::to_string(first["time_ms"].get<int64_t>() / 1000 + 1);
  EXPECT_LT(std::ranges::count(run("store export --json '" + directory + "' --start " + start).out, '\n'), 60);
  EXPECT_EQ(run("store export '" + directory + "' --match 'm1['").status, 2);
  EXPECT_EQ(run("store export '" + directory + "' --format xml").status, 2);
}

TEST_F(StoreCommand, FindsAndMendsDamage) {
  fill();
  flip_byte_in_the_middle();
  const Ran bad = run("--json store check '" + directory + "'");
  EXPECT_EQ(bad.status, 1);
  const json facts = json::parse(bad.out);
  EXPECT_EQ(facts["ok"], false);
  EXPECT_GE(facts["damage_count"], 1);
  EXPECT_NE(facts["damage"][0]["file"].get<std::string>().find("seg-"), std::string::npos);
  const Ran mended = run("--json store repair '" + directory + "'");
  EXPECT_EQ(mended.status, 0) << mended.out;
  EXPECT_EQ(json::parse(mended.out)["quarantined"].size(), 1u);
  const Ran good = run("--json store check '" + directory + "'");
  EXPECT_EQ(good.status, 0) << good.out;
  EXPECT_EQ(json::parse(good.out)["points"], 40);  // one parcel of 20 is lost, the others are not
}

TEST_F(StoreCommand, DoesNotTakeAnyDirectoryForAStore) {
  for (const char* action : {"check", "repair", "export"}) {
    EXPECT_EQ(run(std::string("store ") + action + " '" + directory + "'").status, 1);
    EXPECT_EQ(run(std::string("store ") + action + " /nonexistent").status, 1);
  }
  EXPECT_TRUE(fs::is_empty(directory));
  EXPECT_FALSE(fs::exists("/nonexistent"));
}

}  // namespace
}  // namespace lambda::cli
