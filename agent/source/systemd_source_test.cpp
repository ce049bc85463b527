#include "agent/source/systemd_source.h"

#include <gtest/gtest.h>

#include <bit>

#include "agent/source/host_sources.h"
#include "agent/source/test_world.h"

namespace lambda::agent {
namespace {

// A service manager that answers when a test says so.
class HeldManager final : public ServiceManager {
 public:
  explicit HeldManager(std::vector<Done>& asked) : asked_(asked) {}
  void ask(Done done) override { asked_.push_back(std::move(done)); }

 private:
  std::vector<Done>& asked_;
};

struct SystemdSourceTest : ::testing::Test {
  Status collect() {
    sink.next();
    return source.collect(sink, 0);
  }
  void answer(Result<ServiceStates> states) {
    ASSERT_EQ(asked.size(), 1u);
    auto done = std::move(asked.front());
    asked.clear();
    done(std::move(states));
  }
  int64_t at(const std::string& key) const {
    const auto found = sink.last.find(key);
    return found == sink.last.end() ? -1 : static_cast<int64_t>(found->second);
  }
  static std::string state(const char* name, const char* state, const char* type) {
    return std::string("node_systemd_unit_state{name=\"") + name + "\",state=\"" + state + "\",type=\"" + type + "\"}";
  }

  std::vector<ServiceManager::Done> asked;
  SystemdSource source{std::make_unique<HeldManager>(asked), 30'000};
  MemorySink sink;
};

ServiceStates states_of(std::vector<ServiceUnit> units) {
  ServiceStates out;
  out.states_of_all = {"active", "active", "failed", "reloading"};
  out.units = std::move(units);
  out.system = "running";
  out.version = "252.38-1~deb12u1";
  return out;
}

TEST_F(SystemdSourceTest, ACollectionTellsWhatWasAnsweredAndAsksAgain) {
  EXPECT_TRUE(collect());
  EXPECT_TRUE(sink.last.empty());
  answer(states_of({{"ssh.service", "active", "notify"}, {"getty.target", "failed", ""}}));
  EXPECT_TRUE(collect());
  EXPECT_EQ(sink.last.size(), 2u * 5 + 5 + 4);
  EXPECT_EQ(at(state("ssh.service", "active", "notify")), 1);
  EXPECT_EQ(at(state("ssh.service", "failed", "notify")), 0);
  EXPECT_EQ(at("node_systemd_unit_state{name=\"getty.target\",state=\"failed\",type=\"\"}"), 1);
  EXPECT_EQ(at("node_systemd_units{state=\"active\"}"), 2);
  EXPECT_EQ(at("node_systemd_units{state=\"failed\"}"), 1);
  EXPECT_EQ(at("node_systemd_system_running{}"), 1);
  EXPECT_EQ(std::bit_cast<double>(sink.last["node_systemd_version{version=\"252.38-1~deb12u1\"}"]), 252.38);
  ServiceStates next = states_of({{"ssh.service", "failed", "notify"}});
  next.system = "degraded";
  answer(next);
  EXPECT_TRUE(collect());
  EXPECT_EQ(at(state("ssh.service", "active", "notify")), 0);
  EXPECT_EQ(at(state("ssh.service", "failed", "notify")), 1);
  EXPECT_EQ(at("node_systemd_system_running{}"), 0);
  EXPECT_TRUE(sink.doubled.empty());
}

TEST_F(SystemdSourceTest, WhileNothingIsAnsweredNothingIsToldAndNotAskedTwice) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(collect());
  EXPECT_EQ(asked.size(), 1u);
  answer(states_of({{"ssh.service", "active", "notify"}}));
  EXPECT_TRUE(collect());
  EXPECT_EQ(at(state("ssh.service", "active", "notify")), 1);
  EXPECT_TRUE(collect());
  EXPECT_EQ(at(state("ssh.service", "active", "notify")), -1) << "an old answer is not told again";
}

TEST_F(SystemdSourceTest, AnAnswerThatFailsIsAnErrorAndACountAndNoBusIsNeither) {
  EXPECT_TRUE(collect());
  answer(fail(ErrorCode::kNotFound, "no socket"));
  EXPECT_TRUE(collect());
  EXPECT_TRUE(sink.last.empty());
  answer(fail(ErrorCode::kUnavailable, "it hangs"));
  const Status status = collect();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().text, "it hangs");
  EXPECT_EQ(at("lambda_systemd_answers_failed_total{}"), 1);
  answer(states_of({}));
  EXPECT_TRUE(collect());
  EXPECT_EQ(at("lambda_systemd_answers_failed_total{}"), 1);
}

TEST_F(SystemdSourceTest, AUnitThatIsNamedTwiceOrWithABadNameCostsItself) {
  EXPECT_TRUE(collect());
  answer(states_of({{"a.service", "active", "exec"}, {"a.service", "failed", "exec"}, {"", "active", ""}}));
  EXPECT_TRUE(collect());
  EXPECT_TRUE(sink.doubled.empty());
  EXPECT_EQ(at(state("a.service", "active", "exec")), 1);
}

TEST(SystemdOptions, SayWhichUnitsAreWantedAndWhereTheBusIs) {
  HostSourceOptions options;
  options.root = "/host";
  std::string at;
  std::function<bool(std::string_view)> wanted;
  std::vector<ServiceManager::Done> asked;
  const auto make = [&](std::string socket, std::function<bool(std::string_view)> wants) {
    at = std::move(socket);
    wanted = std::move(wants);
    return std::make_unique<HeldManager>(asked);
  };
  ASSERT_TRUE(make_systemd_source(options, make).has_value());
  EXPECT_EQ(at, "/host/run/dbus/system_bus_socket");
  EXPECT_TRUE(wanted("ssh.service"));
  EXPECT_TRUE(wanted("logrotate.timer"));
  EXPECT_FALSE(wanted("dev-vda.device"));
  EXPECT_FALSE(wanted("-.mount"));
  options.systemd_socket = "/run/other";
  options.systemd.include = "^ssh";
  ASSERT_TRUE(make_systemd_source(options, make).has_value());
  EXPECT_EQ(at, "/run/other");
  EXPECT_FALSE(wanted("cron.service"));
  options.systemd.exclude = "(";
  EXPECT_NE(make_systemd_source(options, make).error().text.find("sources.systemd.exclude"), std::string::npos);
  options.systemd.enabled = false;
  EXPECT_EQ(*make_systemd_source(options, make), nullptr);
}

}  // namespace
}  // namespace lambda::agent
