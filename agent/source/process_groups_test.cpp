#include "agent/source/process_groups.h"

#include <gtest/gtest.h>

#include "agent/source/processes_source.h"
#include "agent/source/test_world.h"

namespace lambda::agent {
namespace {

std::string stat_of(const std::string& name, int64_t ticks, int64_t pages, int64_t threads = 1, int64_t started = 100) {
  std::string text = "1 (" + name + ") S 1";
  for (int field = 5; field <= 24; ++field) {
    const int64_t value = field == 14 ? ticks : field == 20 ? threads : field == 22 ? started : field == 24 ? pages : 0;
    text += " " + std::to_string(value);
  }
  return text + "\n";
}

struct ProcessGroupsTest : ::testing::Test {
  void process(int pid, const std::string& name, const std::string& command, int64_t ticks, int64_t started = 100) {
    const std::string folder = "/proc/" + std::to_string(pid);
    files.files[folder + "/stat"] = stat_of(name, ticks, 10, 3, started);
    files.files[folder + "/cmdline"] = command;
  }
  void gone(int pid) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/";
    std::erase_if(files.files, [&](const auto& file) { return file.first.starts_with(folder); });
  }
  void collect() {
    if (source == nullptr) {
      auto groups = ProcessGroups::make(files, "/", options);
      ASSERT_TRUE(groups) << groups.error().text;
      source = std::make_unique<ProcessesSource>(files, "/", 1000, DeviceFilter(), 5, std::move(*groups));
    }
    sink.next();
    ASSERT_TRUE(source->collect(sink, 0));
  }
  int64_t at(const std::string& what, const std::string& group) {
    const auto found = sink.last.find("lambda_process_group_" + what + "{group=\"" + group + "\"}");
    return found == sink.last.end() ? -1 : static_cast<int64_t>(found->second);
  }

  MemoryFiles files;
  MemorySink sink;
  std::vector<ProcessGroupOptions> options{{"db", "^postgres"}, {"shop", "/shop\\.js( |$)"}};
  std::unique_ptr<ProcessesSource> source;
};

TEST_F(ProcessGroupsTest, SumsWhatTheProcessesOfAGroupUse) {
  process(10, "postgres", std::string("postgres: writer\0\0", 18), 1000);
  process(11, "postgres", "postgres: reader", 500);
  process(12, "node",
          std::string("node\0/srv/shop.js\0--port\0"
                      "80\0",
                      28),
          70);
  process(13, "node", std::string("node\0/srv/shop.json\0", 20), 70);
  files.files["/proc/10/fd/0"] = files.files["/proc/10/fd/1"] = files.files["/proc/11/fd/0"] = "";
  collect();
  EXPECT_EQ(at("count", "db"), 2);
  EXPECT_EQ(at("count", "shop"), 1) << "the words of the command line have blanks between them";
  EXPECT_EQ(at("cpu_seconds_total", "db"), 0) << "what was used before we came is nobody's";
  EXPECT_EQ(at("resident_memory_bytes", "db"), 2 * 10 * 4096);
  EXPECT_EQ(at("threads", "db"), 6);
  EXPECT_EQ(at("open_files", "db"), 3);
  EXPECT_EQ(at("open_files", "shop"), -1) << "the agent may not look into it";
  process(10, "postgres", "", 1007);
  process(11, "postgres", "", 503);
  collect();
  EXPECT_EQ(at("cpu_seconds_total", "db"), 10);
}

TEST_F(ProcessGroupsTest, TimeNeverGoesDownAndAnEmptyGroupIsToldSo) {
  process(10, "postgres", "", 1000);
  collect();
  process(10, "postgres", "", 1050);
  collect();
  EXPECT_EQ(at("cpu_seconds_total", "db"), 50);
  gone(10);
  process(99, "init", "", 1);
  collect();
  EXPECT_EQ(at("count", "db"), 0);
  EXPECT_EQ(at("cpu_seconds_total", "db"), 50);
  EXPECT_EQ(at("resident_memory_bytes", "db"), 0);
  // The same number, another process.
  process(10, "postgres", "", 5, 7'000);
  collect();
  EXPECT_EQ(at("count", "db"), 1);
  EXPECT_EQ(at("cpu_seconds_total", "db"), 55);
}

TEST_F(ProcessGroupsTest, AProcessThatBecomesAnotherProgramIsLookedAtAgain) {
  process(10, "bash", "bash", 0);
  collect();
  collect();
  EXPECT_EQ(at("count", "db"), 0);
  process(10, "postgres", "postgres", 0);
  collect();
  EXPECT_EQ(at("count", "db"), 1);
  process(10, "nginx", "nginx", 0);
  collect();
  EXPECT_EQ(at("count", "db"), 0);
  // A name that stays, and words that follow a moment later.
  process(11, "node", "node", 0);
  collect();
  EXPECT_EQ(at("count", "shop"), 0);
  process(11, "node", std::string("node\0/srv/shop.js", 17), 0);
  collect();
  EXPECT_EQ(at("count", "shop"), 1);
}

TEST_F(ProcessGroupsTest, AKnownProcessIsNotReadAgain) {
  process(10, "init", "init", 0);
  collect();
  collect();
  const uint64_t reads = files.reads;
  collect();
  EXPECT_EQ(files.reads - reads, 1u + 2u) << "its stat, and the two limits";
}

TEST_F(ProcessGroupsTest, AProcessMayBeInSeveralGroups) {
  options.push_back({"all", "."});
  process(10, "postgres", "", 0);
  collect();
  EXPECT_EQ(at("count", "db"), 1);
  EXPECT_EQ(at("count", "all"), 1);
}

TEST_F(ProcessGroupsTest, WhatCannotBeIsNamed) {
  const auto refused = [&] {
    const auto made = ProcessGroups::make(files, "/", options);
    return made ? std::string() : made.error().text;
  };
  options = {{"db", "("}};
  EXPECT_NE(refused().find("process_group \"db\": match"), std::string::npos) << refused();
  options = {{"db", ""}};
  EXPECT_EQ(refused(), "process_group \"db\": match: is empty and would take every process");
  options = {{"db", "a"}, {"db", "b"}};
  EXPECT_EQ(refused(), "process_group \"db\": another group has this name");
  options.assign(kProcessGroupsMax + 1, {"db", "a"});
  EXPECT_FALSE(refused().empty());
}

}  // namespace
}  // namespace lambda::agent
