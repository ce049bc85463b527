// The cases of cep/test/cases: NAME.sql with rules, NAME.jsonl with events (and NAME.table-T.jsonl with the rows of T),
// NAME.out with what `lambda cep run` prints of them, or NAME.err with the errors of `lambda cep check`.
// A case says the same whatever the batches and shards (here the devices are divided over threads), and when the state
// is saved and restored after any event.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/os/disk.h"
#include "cep/language/mutant.h"
#include "cli/cep_command.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = fs::path(LAMBDA_SOURCE_DIR) / "cep/test/cases";

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kCases)) {
    if (entry.path().extension() == ".sql") {
      names.push_back(entry.path().stem().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

CepOptions options_of(const std::string& name) {
  CepOptions options;
  options.rules_file = (kCases / (name + ".sql")).string();
  options.events_file = (kCases / (name + ".jsonl")).string();
  const std::string prefix = name + ".table-";
  for (const auto& entry : fs::directory_iterator(kCases)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(prefix)) {
      options.tables.push_back(file.substr(prefix.size(), file.size() - prefix.size() - 6) + "=" +
                               entry.path().string());
    }
  }
  return options;
}

struct Said {
  int status = -1;
  std::string out;
  std::string err;
};

// Reading a file needs no event loop.
class NoLoop final : public EventLoop {
 public:
  void post(Task) override { LAMBDA_ASSERT(false); }
  TimerId after(int64_t, Task) override { LAMBDA_ASSERT(false); }
  void cancel(TimerId) override { LAMBDA_ASSERT(false); }
};

class Runner {
 public:
  Said run(const CepOptions& options) {
    return catch_output([&](Output& output) { return cep_run(output, options, disk_); });
  }
  Said explain(const CepOptions& options) {
    return catch_output([&](Output& output) { return cep_explain(output, options, disk_); });
  }
  Said check(const CepOptions& options) {
    return catch_output([&](Output& output) { return cep_check(output, options, disk_); });
  }

 private:
  template <class Call>
  Said catch_output(const Call& call) {
    std::ostringstream out;
    std::ostringstream err;
    Output output{out, err, false};
    Said said;
    said.status = call(output);
    said.out = out.str();
    said.err = err.str();
    return said;
  }

  NoLoop loop_;
  OsDisk disk_{loop_};
};

class CepCase : public ::testing::TestWithParam<std::string> {};

TEST_P(CepCase, IsAsWrittenWhateverTheBatchesShardsAndRestarts) {
  Runner runner;
  const std::string name = GetParam();
  CepOptions options = options_of(name);
  if (fs::exists(kCases / (name + ".err"))) {
    const Said said = runner.check(options);
    EXPECT_EQ(said.status, kExitRules);
    std::string errors = said.err;  // without the folder
    for (size_t at = 0; (at = errors.find(kCases.string() + "/")) != std::string::npos;) {
      errors.erase(at, kCases.string().size() + 1);
    }
    EXPECT_EQ(errors, read_file(kCases / (name + ".err")));
    return;
  }
  const std::string expected = read_file(kCases / (name + ".out"));
  const Said first = runner.run(options);
  EXPECT_EQ(first.status, kExitDone) << first.err;
  ASSERT_EQ(first.out, expected) << first.err;
  for (const uint64_t batch : {1, 2, 3, 7, 64, 4096}) {
    for (const uint64_t shards : {1, 2, 3, 4}) {
      options.batch = batch;
      options.shards = shards;
      ASSERT_EQ(runner.run(options).out, expected) << "batch " << batch << ", shards " << shards;
    }
  }
  const std::string events = read_file(kCases / (name + ".jsonl"));
  const auto lines = static_cast<uint64_t>(std::ranges::count(events, '\n'));
  for (uint64_t at = 0; at < lines; ++at) {
    options.snapshot_at = at;
    const Said said = runner.run(options);
    ASSERT_EQ(said.status, kExitDone) << said.err;
    ASSERT_EQ(said.out, expected) << "saved and restored after event " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, CepCase, ::testing::ValuesIn(case_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(CepCases, EachSentenceHasOneAndTheReadmeNamesIt) {
  const std::string readme = read_file(kCases.parent_path() / "README.md");
  std::map<std::string, size_t> cases_of;
  for (const std::string& name : case_names()) {
    const size_t dash = name.find('-');
    ++cases_of[name.substr(0, dash)];
    EXPECT_TRUE(name.starts_with("00-") || readme.find(name.substr(dash + 1)) != std::string::npos) << name;
  }
  EXPECT_EQ(cases_of.count("07b"), 1u);
  for (int sentence = 1; sentence <= 47; ++sentence) {
    const std::string number = (sentence < 10 ? "0" : "") + std::to_string(sentence);
    EXPECT_GE(cases_of[number], 1u) << "no case for sentence " << sentence;
  }
}

TEST(CepCommand, ExitsWithOneForFilesAndTwoForRules) {
  Runner runner;
  CepOptions options = options_of("18-every");
  options.events_file = "/nowhere/events.jsonl";
  const Said no_events = runner.run(options);
  EXPECT_EQ(no_events.status, kExitFailed);
  EXPECT_NE(no_events.err.find("/nowhere/events.jsonl"), std::string::npos) << no_events.err;
  options = options_of("18-every");
  options.rules_file = "/nowhere/rules.sql";
  EXPECT_EQ(runner.run(options).status, kExitFailed);
  options = options_of("18-every");
  options.tables = {"devices=/nowhere/devices.jsonl"};  // no such table either
  EXPECT_EQ(runner.run(options).status, kExitFailed);
  options = options_of("11-errors-of-meaning");
  const Said wrong = runner.run(options);
  EXPECT_EQ(wrong.status, kExitRules);
  EXPECT_TRUE(wrong.out.empty()) << wrong.out;
  EXPECT_EQ(runner.check(options_of("18-every")).status, kExitDone);
}

TEST(CepCommand, ExplainsWhatARuleIsFoundByAndHolds) {
  Runner runner;
  const Said said = runner.explain(options_of("39-join-table"));
  EXPECT_EQ(said.status, kExitDone);
  EXPECT_NE(said.out.find("over\n  reads        temp, table limits\n"), std::string::npos) << said.out;
  const Said windows = runner.explain(options_of("36-session"));
  EXPECT_NE(windows.out.find("window SESSION"), std::string::npos) << windows.out;
  EXPECT_NE(windows.out.find("each device's own"), std::string::npos) << windows.out;
  const Said filter = runner.explain(options_of("02-late-and-release"));
  EXPECT_NE(filter.out.find("each event of its streams is offered"), std::string::npos) << filter.out;  // it waits
  const Said cascade = runner.explain(options_of("15-rules-without-do"));
  EXPECT_NE(cascade.out.find("v > 1"), std::string::npos) << cascade.out;
  EXPECT_EQ(runner.explain(options_of("11-errors-of-meaning")).status, kExitRules);
}

TEST(CepCommand, DropsWrongEventsWithALineEachAndGoesOn) {
  Runner runner;
  const Said said = runner.run(options_of("13-values"));
  EXPECT_EQ(said.status, kExitDone);
  for (const char* line : {":2: i is not INT", ":7: t is not TEXT", ":8: not a JSON object"}) {
    EXPECT_NE(said.err.find(line), std::string::npos) << line << " in " << said.err;
  }
}

// Standard output is a contract: what was counted goes to the other one, and only when asked for.
TEST(CepCommand, CountsOnStandardErrorWhenAskedTo) {
  Runner runner;
  CepOptions options = options_of("47-limit");
  const Said plain = runner.run(options);
  EXPECT_TRUE(plain.err.empty()) << plain.err;
  options.stats = true;
  for (const uint64_t shards : {1, 3}) {
    options.shards = shards;
    const Said said = runner.run(options);
    EXPECT_EQ(said.status, kExitDone);
    EXPECT_EQ(said.out, plain.out);
    std::istringstream lines(said.err);
    std::string rule;
    std::string engine;
    ASSERT_TRUE(std::getline(lines, rule) && std::getline(lines, engine)) << said.err;
    EXPECT_TRUE(rule.starts_with(R"({"stats":"rule","rule":"hot","events":7,"outputs":3,)")) << rule;
    EXPECT_NE(rule.find(R"("keys_rejected":4,)"), std::string::npos) << rule;
    EXPECT_TRUE(engine.starts_with(R"({"stats":"engine","events":7,"lines_dropped":0,)")) << engine;
    EXPECT_FALSE(std::getline(lines, rule)) << rule;
  }
}

TEST(CepCommand, SaysWhichTablesThereAreAndThatOneIsEmpty) {
  Runner runner;
  CepOptions options = options_of("39-join-table");
  const fs::path empty = fs::path(::testing::TempDir()) / "cep_empty_table.jsonl";
  std::ofstream(empty).close();
  options.tables = {"limits=" + empty.string()};
  const Said said = runner.run(options);
  EXPECT_EQ(said.status, kExitDone);
  EXPECT_NE(said.err.find(empty.string() + ": no rows for the table limits\n"), std::string::npos) << said.err;
  options.tables = {"other=" + empty.string()};
  const Said wrong = runner.run(options);
  EXPECT_EQ(wrong.status, kExitFailed);
  EXPECT_NE(wrong.err.find("there is only limits"), std::string::npos) << wrong.err;
  fs::remove(empty);
}

TEST(CepCommand, RulesSayThatTheirEventsTextsHadNoRoom) {
  Runner runner;
  CepOptions options = options_of("33-null-keys");
  options.text_bytes_max = 1;
  options.stats = true;
  std::string one;
  for (const uint64_t shards : {1, 3}) {
    options.shards = shards;
    const Said said = runner.run(options);
    EXPECT_EQ(said.status, kExitDone);
    EXPECT_NE(said.out.find(R"("fields":{"bound":"texts","max":1,"dropped":1})"), std::string::npos) << said.out;
    EXPECT_NE(said.err.find("there is no room for more new texts; event dropped"), std::string::npos) << said.err;
    EXPECT_TRUE(one.empty() || one == said.out) << said.out;
    one = said.out;
  }
}

#ifdef LAMBDA_CEP_MUTANTS
// Each wrong reading makes the case red that cep/test/mutants.txt names for it.
TEST(CepMutants, EachIsNoticedByItsCase) {
  std::map<std::string, std::string> case_of;
  std::istringstream list(read_file(kCases.parent_path() / "mutants.txt"));
  for (std::string mutant, name; list >> mutant >> name;) {
    EXPECT_TRUE(case_of.emplace(mutant, name).second) << mutant << " stands twice";
  }
  Runner runner;
  size_t mutants = 0;
  const auto notice = [&](cep::Mutant which, const std::string& mutant) {
    SCOPED_TRACE(mutant);
    ++mutants;
    ASSERT_TRUE(case_of.contains(mutant)) << "no case is named for it";
    const std::string& name = case_of[mutant];
    const std::string expected = read_file(kCases / (name + ".out"));
    ASSERT_EQ(runner.run(options_of(name)).out, expected) << name << " is red already";
    cep::active_mutant = which;
    EXPECT_NE(runner.run(options_of(name)).out, expected) << name << " does not notice it";
    cep::active_mutant = cep::Mutant::kNone;
  };
#define LAMBDA_CEP_NOTICE(enumerator, name, reading) notice(cep::Mutant::enumerator, name);
  LAMBDA_CEP_MUTANT_LIST(LAMBDA_CEP_NOTICE)
#undef LAMBDA_CEP_NOTICE
  EXPECT_EQ(mutants, case_of.size()) << "mutants.txt names mutants that are not there";
}
#endif

}  // namespace
}  // namespace lambda::cli
