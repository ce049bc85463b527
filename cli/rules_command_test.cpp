#include "cli/rules_command.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/os/disk.h"
#include "base/os/loop.h"
#include "cli/cep_command.h"

namespace lambda::cli {
namespace {

using nlohmann::json;

struct RulesCommand : ::testing::Test {
  RulesCommand() {
    file = (std::filesystem::temp_directory_path() / ("rules-command-" + std::to_string(::getpid()) + ".sql")).string();
    std::ofstream(file) << "CREATE RULE x;\n";
    options.file = file;
  }
  ~RulesCommand() override { std::filesystem::remove(file); }

  Ask answering(int status, std::string body) {
    return [this, status, body](const HttpCall& call) -> Result<HttpResponse> {
      calls.push_back(call);
      return HttpResponse{call.method == "PUT" || call.method == "DELETE" ? status : there, "application/json", body};
    };
  }

  std::string file;
  RulesOptions options;
  int there = 200;  // of questions
  std::vector<HttpCall> calls;
  std::ostringstream out, err;
  Output output{out, err, false};
  OsLoop loop;
  OsDisk disk{loop};
};

TEST_F(RulesCommand, ListNamesEachRuleAndWhatIsWrong) {
  const std::string body =
      R"({"files":[{"file":"a.sql","rules":[{"rule":"hot","events":7,"outputs":2,"late_dropped":1,"actions":["log","mqtt"]}],"errors":[]},)"
      R"({"file":"b.sql","rules":[],"errors":[{"line":3,"column":12,"error":"unknown stream haet"}]}]})";
  EXPECT_EQ(rules_list(output, options, answering(200, body)), kExitDone);
  EXPECT_NE(out.str().find("a.sql  hot        7       2        1     log,mqtt"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("(refused)"), std::string::npos);
  EXPECT_EQ(err.str(), "b.sql:3:12: unknown stream haet\n");
  EXPECT_EQ(calls[0].url, std::string(kGatewayUrl) + "/api/v1/lambda/rules");
}

TEST_F(RulesCommand, AFileThatIsWrongEndsWithItsErrorsAndStatusTwo) {
  options.name = "pumps";
  const auto ask = answering(422, R"({"errors":["pumps.sql:1:14: expected AS"]})");
  EXPECT_EQ(rules_put(output, options, false, disk, ask), kExitRules);
  EXPECT_EQ(err.str(), "pumps.sql:1:14: expected AS\n");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[1].method, "PUT");
  EXPECT_EQ(calls[1].body, "CREATE RULE x;\n");
  output.json = true;
  EXPECT_EQ(rules_put(output, options, false, disk, ask), kExitRules);
  EXPECT_EQ(json::parse(out.str())["errors"][0], "pumps.sql:1:14: expected AS");
}

TEST_F(RulesCommand, AddAndReplaceKnowWhetherTheFileIsThere) {
  EXPECT_EQ(rules_put(output, options, true, disk, answering(200, "{}")), kExitFailed);
  EXPECT_NE(err.str().find("is there already"), std::string::npos);
  there = 404;
  EXPECT_EQ(rules_put(output, options, false, disk, answering(200, "{}")), kExitFailed);
  EXPECT_NE(err.str().find("is not there"), std::string::npos);
  EXPECT_EQ(rules_put(output, options, true, disk, answering(200, "{}")), kExitDone);
  EXPECT_EQ(calls.back().method, "PUT");
}

TEST_F(RulesCommand, AnswersThatAreNoneOfAGatewaysAreNotTakenForOne) {
  for (const char* body : {"", "nonsense", "[]", R"({"files":7})", R"({"files":[{"rules":[1]},3]})"}) {
    EXPECT_EQ(rules_list(output, options, answering(200, body)), kExitDone) << body;
    EXPECT_EQ(rules_alerts(output, options, answering(200, body)), kExitDone) << body;
  }
  there = 503;
  EXPECT_EQ(rules_list(output, options, answering(503, "[]")), kExitFailed);
  const Ask nobody = [](const HttpCall&) -> Result<HttpResponse> { return fail(ErrorCode::kUnavailable, "nobody"); };
  EXPECT_EQ(rules_list(output, options, nobody), kExitUnreachable);
  EXPECT_EQ(rules_put(output, options, true, disk, nobody), kExitUnreachable);
  EXPECT_EQ(rules_remove(output, options, nobody), kExitUnreachable);
}

}  // namespace
}  // namespace lambda::cli
