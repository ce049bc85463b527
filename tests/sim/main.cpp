// lambda-sim: gateway, devices, a lying network and a lying disk from one seed, in one process but for firmware
// (board/).
//
//   lambda-sim --seed N                 one run; with --verbose its log
//   lambda-sim --seeds A..B             many; ends with {"seeds":N,"failed":[...],"events":N}, exit 1 on a failure
//   lambda-sim --list-bugs              what can be planted
//   lambda-sim --bug NAME --seeds A..B  with that bug; add --expect-failure to be told 0 when some seed found it
//   lambda-sim --twice --seeds A..B     runs each seed twice: the same hash, or a failure
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/sim/bugs.h"
#include "tests/sim/scenario.h"

namespace {

struct Arguments {
  uint64_t first = 1, last = 0;
  bool verbose = false, list_bugs = false, expect_failure = false, twice = false;
  std::string bug;
};

int usage() {
  std::fprintf(
      stderr,
      "lambda-sim --seed N | --seeds A..B [--bug NAME] [--expect-failure] [--twice] [--verbose] | --list-bugs\n");
  return 2;
}

bool parse(int count, char** words, Arguments* arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const char* value = i + 1 < count ? words[i + 1] : nullptr;
    if (word == "--verbose") {
      arguments->verbose = true;
    } else if (word == "--list-bugs") {
      arguments->list_bugs = true;
    } else if (word == "--expect-failure") {
      arguments->expect_failure = true;
    } else if (word == "--twice") {
      arguments->twice = true;
    } else if (value == nullptr) {
      return false;
    } else if (word == "--seed") {
      arguments->first = arguments->last = std::strtoull(value, nullptr, 10);
      ++i;
    } else if (word == "--seeds") {
      const char* dots = std::strstr(value, "..");
      if (dots == nullptr) return false;
      arguments->first = std::strtoull(value, nullptr, 10);
      arguments->last = std::strtoull(dots + 2, nullptr, 10);
      ++i;
    } else if (word == "--bug") {
      arguments->bug = value;
      ++i;
    } else {
      return false;
    }
  }
  return arguments->list_bugs || arguments->last >= arguments->first;
}

}  // namespace

int main(int count, char** words) {
  using namespace lambda::sim;
  Arguments arguments;
  if (!parse(count, words, &arguments)) return usage();
  if (arguments.list_bugs) {
    for (const Bug& bug : bugs()) std::printf("%-28s %s\n", bug.name, bug.what);
    return 0;
  }
  if (!plant(arguments.bug)) {
    std::fprintf(stderr, "no bug named %s; --list-bugs names them\n", arguments.bug.c_str());
    return 2;
  }
  std::vector<uint64_t> failed;
  uint64_t seeds = 0, events = 0;
  for (uint64_t seed = arguments.first; seed <= arguments.last; ++seed) {
    Outcome outcome = run_scenario(seed, arguments.verbose);
    if (arguments.twice && run_scenario(seed, false).hash != outcome.hash) {
      outcome.violations.push_back("a second run of this seed went another way");
    }
    ++seeds;
    events += outcome.events;
    for (const auto& text : outcome.violations) {
      std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), text.c_str());
    }
    if (arguments.first == arguments.last) {
      std::printf("{\"seed\":%llu,\"hash\":\"%016llx\",\"events\":%llu,\"made\":%llu,\"acked\":%llu}\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(outcome.hash),
                  static_cast<unsigned long long>(outcome.events), static_cast<unsigned long long>(outcome.made),
                  static_cast<unsigned long long>(outcome.acked));
    }
    if (outcome.violations.empty()) continue;
    failed.push_back(seed);
    if (!arguments.expect_failure) continue;
    // The bug must be what turns it red.
    (void)plant("");
    if (!run_scenario(seed, false).violations.empty()) {
      std::fprintf(stderr, "seed %llu fails without the bug, too\n", static_cast<unsigned long long>(seed));
      return 1;
    }
    break;
  }
  if (failed.empty() && !arguments.bug.empty()) {
    std::fprintf(stderr, "the bug %s was met %llu times, and nobody noticed\n", arguments.bug.c_str(),
                 static_cast<unsigned long long>(planted_bug_was_met()));
  }
  std::string list;
  for (const uint64_t seed : failed) list += (list.empty() ? "" : ",") + std::to_string(seed);
  std::printf("{\"seeds\":%llu,\"failed\":[%s],\"events\":%llu}\n", static_cast<unsigned long long>(seeds),
              list.c_str(), static_cast<unsigned long long>(events));
  return failed.empty() == arguments.expect_failure ? 1 : 0;
}
