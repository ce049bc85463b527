// The runner of promqltest scripts: what it reads, and that it notices every kind of wrong answer. The scripts of
// query/test/promql are run by it.
#include "cli/promql_test_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/os/disk.h"
#include "cli/promql_script.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;

class NoLoop final : public EventLoop {
 public:
  void post(Task) override { LAMBDA_ASSERT(false); }
  TimerId after(int64_t, Task) override { LAMBDA_ASSERT(false); }
  void cancel(TimerId) override { LAMBDA_ASSERT(false); }
};

class PromqlTest : public testing::Test {
 protected:
  ~PromqlTest() override { fs::remove(file_); }

  // What it prints of the script, after `load`; the file's name falls away.
  std::string run(const std::string& script) {
    std::ofstream(file_) << "load 1m\n  x{a=\"1\"} 1+1x5\n  x{a=\"2\"} 7 _ stale NaN\n\n" << script;
    out_.str("");
    status_ = promql_test(output_, {{file_.string()}}, disk_);
    std::string text = out_.str();
    for (size_t at = 0; (at = text.find(file_.string())) != std::string::npos;) {
      text.erase(at, file_.string().size());
    }
    return text;
  }
  std::string last_line(const std::string& text) { return text.substr(text.rfind('\n', text.size() - 2) + 1); }

  NoLoop loop_;
  OsDisk disk_{loop_};
  fs::path file_ = fs::temp_directory_path() / ("promql_test_" + std::to_string(::getpid()) + ".test");
  std::ostringstream out_, err_;
  Output output_{out_, err_, false};
  int status_ = -1;
};

TEST_F(PromqlTest, OfOurScriptsAllPass) {
  PromqlTestOptions options;
  for (const auto& entry : fs::directory_iterator(fs::path(LAMBDA_SOURCE_DIR) / "query/test/promql")) {
    options.files.push_back(entry.path().string());
  }
  std::ranges::sort(options.files);
  ASSERT_GE(options.files.size(), 8u);
  EXPECT_EQ(promql_test(output_, options, disk_), kExitDone) << out_.str();
  EXPECT_EQ(err_.str(), "");
}

TEST_F(PromqlTest, CountsWhatPassesAndExitsWithZero) {
  EXPECT_EQ(run("eval instant at 1m x\n  x{a=\"1\"} 2\n  x{a=\"2\"} 7\n\neval instant at 0 2+3\n  5\n\nclear\n\n"
                "eval instant at 0 x\n"),
            "{\"evals\":3,\"passed\":3,\"unsupported\":0,\"failed\":0}\n");
  EXPECT_EQ(status_, kExitDone);
}

TEST_F(PromqlTest, NoticesEveryKindOfWrongAnswer) {
  const struct {
    const char* script;
    const char* complaint;
  } kRows[] = {
      {"eval instant at 0 x\n  x{a=\"1\"} 1\n", ":5: x: unexpected x{a=\"2\"} 7@0\n"},
      {"eval instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 1\n  y 1\n", ":5: x{a=\"1\"}: y is missing\n"},
      {"eval instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 1.01\n", ":5: x{a=\"1\"}: x{a=\"1\"}: expected 1.01@0, got 1@0\n"},
      {"eval range from 0 to 2m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 _ 3\n",
       ":5: x{a=\"1\"}: x{a=\"1\"}: expected 1@0 3@120000, got 1@0 2@60000 3@120000\n"},
      {"eval instant at 0 1\n  2\n", ":5: 1: expected 2, got 1\n"},
      {"eval instant at 0 1\n  {} 1\n", ":5: 1: got the scalar 1\n"},
      {"eval instant at 0 vector(1)\n  1\n", ":5: vector(1): a scalar is expected, not an instant vector\n"},
      {"eval instant at 0 'a'\n  expect string \"b\"\n", ":5: 'a': got the string \"a\"\n"},
      {"eval instant at 0 sort_desc(x)\n  expect ordered\n  x{a=\"1\"} 1\n  x{a=\"2\"} 7\n",
       ":5: sort_desc(x): x{a=\"2\"} stands at place 1\n"},
      {"eval instant at 0 x\n  expect fail\n", ":5: x: it should fail\n"},
      {"eval instant at 0 x+\n  x 1\n",
       ":5: x+: 1:3: parse error: unexpected end of input where an expression is expected\n"},
      {"eval instant at 0 topk(NaN, x)\n  expect fail msg: other\n",
       ":5: topk(NaN, x): it failed with another text: Parameter value is NaN\n"},
      {"eval instant at 0 quantile(2, x)\n  expect no_warn\n  {} Inf\n",
       ":5: quantile(2, x): unexpected warning \"PromQL warning: quantile value should be between 0 and 1, got 2 "
       "(1:10)\"\n"},
      {"eval instant at 0 vector(1)\n  expect warn\n  {} 1\n",
       ":5: vector(1): no warning came, though one is expected\n"},
      {"eval_info instant at 0 vector(1)\n  {} 1\n", ":5: vector(1): no info came, though one is expected\n"},
      {"eval instant at 1m quantile(2, x)\n  expect warn regex: got 3\n  {} Inf\n",
       ":5: quantile(2, x): no warning meets \"got 3\"; the first is \"PromQL warning: quantile value should be "
       "between "
       "0 and 1, got 2 (1:10)\"\n"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(run(row.script),
              std::string(row.complaint) + "{\"evals\":1,\"passed\":0,\"unsupported\":0,\"failed\":1}\n");
    EXPECT_EQ(status_, kExitFailed);
  }
}

TEST_F(PromqlTest, CountsWhatCannotBeReadAsFailedAndGoesOn) {
  const struct {
    const char* script;
    const char* complaint;
  } kRows[] = {
      {"evil instant at 0 x\n", ":5: \"evil instant at 0 x\" is no command: clear, load or eval\n"},
      {"eval later at 0 x\n", ":5: eval is instant or range\n"},
      {"eval range from 1m to 0 step 1m x\n", ":5: the end is before the start, or the step is not above 0\n"},
      {"load\n  y 1\n", ":5: load takes the time between two values: load 30s\n"},
      {"load 1m\n  y 1 1x\n", ":5: line 6: \"1x\" is not a value\n"},
      {"load 1m\n  y{a=~\"1\"} 1\n", ":5: line 6: a series is written with = alone\n"},
      {"load 1m\n  y{a=\"1 1\n", ":5: line 6: the labels do not end\n"},
      {"load 1m\n  y 1x99999999\n", ":5: line 6: \"1x99999999\" is not a value\n"},
      {"eval instant at 0 x\n  expect wonders\n", ":5: line 6: there is no \"expect wonders\"\n"},
      {"eval instant at 0 x\n  x 1 2\n", ":5: line 6: one value is expected of an instant query\n"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(run(std::string(row.script) + "\neval instant at 0 1\n  1\n"),
              std::string(row.complaint) + "{\"evals\":2,\"passed\":1,\"unsupported\":0,\"failed\":1}\n");
  }
}

TEST_F(PromqlTest, CountsWhatItDoesNotHoldAsUnsupported) {
  for (const char* script : {
           "load 1m\n  h {{schema:0 sum:1 count:2}}x3\n\neval instant at 0 sum(h)\n  {} 1\n",
           "eval instant at 0 x{a=\"9\"}\n  x {{schema:0 sum:1 count:2}}\n",
           "load_with_nhcb 1m\n  h_bucket{le=\"1\"} 1\n\neval instant at 0 h\n  {} 1\n",
           "load 1m\n  c@st -1m\n  c 1\n\neval instant at 0 c\n  c 1\n",
           "eval instant at 0 histogram_avg(x)\n  x 1\n",
       }) {
    EXPECT_EQ(last_line(run(script)), "{\"evals\":1,\"passed\":0,\"unsupported\":1,\"failed\":0}\n") << script;
    EXPECT_EQ(status_, kExitDone);
  }
}

TEST_F(PromqlTest, NamesAFileThatIsNotThere) {
  EXPECT_EQ(promql_test(output_, {{"/nowhere/at/all.test"}}, disk_), kExitFailed);
  EXPECT_NE(err_.str().find("/nowhere/at/all.test"), std::string::npos) << err_.str();
}

std::string values_text(const ScriptSeries& series) {
  std::string out;
  for (const auto& value : series.values) {
    out += value ? (query::is_stale(*value) ? "stale " : std::to_string(*value) + " ") : "_ ";
  }
  return out;
}

TEST(PromqlScript, ExpandsValues) {
  const struct {
    const char* text;
    const char* values;
  } kRows[] = {
      {"1 -2 +3", "1.000000 -2.000000 3.000000 "},
      {"1x2", "1.000000 1.000000 1.000000 "},
      {"1+2x2", "1.000000 3.000000 5.000000 "},
      {"-1-2x1", "-1.000000 -3.000000 "},
      {"1e2-5e-1x1", "100.000000 99.500000 "},
      {"_ _x2 4", "_ _ _ 4.000000 "},
      {"stale NaN", "stale nan "},
      {"Inf -Inf", "inf -inf "},
      {"2x0", "2.000000 "},
  };
  for (const auto& row : kRows) {
    const auto commands = parse_script("load 1s\n  m{a=\"} x\"} " + std::string(row.text));
    ASSERT_EQ(commands.size(), 1u);
    EXPECT_EQ(commands[0].problem, "") << row.text;
    EXPECT_EQ(values_text(std::get<LoadCommand>(commands[0].what).series.at(0)), row.values) << row.text;
  }
}

}  // namespace
}  // namespace lambda::cli
