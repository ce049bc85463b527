#include "agent/offenders.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace lambda::agent {
namespace {

TEST(Offenders, AreCountedExactlyWhileTheyAreFew) {
  Offenders offenders;
  for (int i = 0; i < 3; ++i) offenders.add("queue");
  offenders.add("door");
  EXPECT_EQ(offenders.text(), "queue 3, door 1");
  EXPECT_EQ(offenders.total(), 4u);
  EXPECT_EQ(offenders.worst()[0].over, 0u);
}

TEST(Offenders, TheWorstAreToldHoweverManyOthersThereAre) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    Offenders offenders;
    std::map<std::string, uint64_t> exact;
    for (int i = 0; i < 20'000; ++i) {
      // Five that stand for a tenth of all each, and names that never come twice.
      const std::string name = random() % 2 == 0 ? "bad_" + std::to_string(random() % 5) : "once_" + std::to_string(i);
      offenders.add(name);
      exact[name]++;
    }
    const auto worst = offenders.worst();
    ASSERT_EQ(worst.size(), Offenders::kToldMax);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(worst[i].name.substr(0, 4), "bad_") << "seed " << seed;
      EXPECT_GE(worst[i].count, exact[worst[i].name]);
      EXPECT_LE(worst[i].count - worst[i].over, exact[worst[i].name]);
    }
  }
}

}  // namespace
}  // namespace lambda::agent
