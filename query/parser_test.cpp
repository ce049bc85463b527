#include "query/parser.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "query/matcher.h"

namespace lambda::query {
namespace {

std::string canonical(std::string_view text) {
  const auto parsed = parse_expression(text);
  return parsed ? to_string(**parsed) : "error: " + parsed.error().text;
}

std::string error_of(std::string_view text) {
  const auto parsed = parse_expression(text);
  return parsed ? "no error: " + to_string(**parsed) : parsed.error().text;
}

TEST(Parser, ReadsSelectorsInAllTheirForms) {
  EXPECT_EQ(canonical(R"({"up", "down"})"), R"({__name__="up",__name__="down"})");
  EXPECT_EQ(canonical("up"), "up");
  EXPECT_EQ(canonical(" up # the rest is a comment\n"), "up");
  EXPECT_EQ(canonical("up{}"), "up");
  EXPECT_EQ(canonical(R"(up{a="b",c!="d",e=~"f.*",g!~"h|i",})"), R"(up{a="b",c!="d",e=~"f.*",g!~"h|i"})");
  EXPECT_EQ(canonical(R"({__name__="up"})"), "up");
  EXPECT_EQ(canonical(R"({__name__=~"node_.+"})"), R"({__name__=~"node_.+"})");
  EXPECT_EQ(canonical(R"({"up"})"), "up");
  EXPECT_EQ(canonical(R"({"http.requests", "http.method"='GET'})"),
            R"({__name__="http.requests","http.method"="GET"})");
  EXPECT_EQ(canonical("job:rate:5m{by=\"x\",offset='y'}"), R"(job:rate:5m{by="x",offset="y"})");
  EXPECT_EQ(canonical(":a:b"), ":a:b");
}

TEST(Parser, TakesKeywordsAsMetricNamesWhereNothingElseCanBeMeant) {
  for (const char* name : {"sum", "by", "without", "offset", "start", "end", "and", "rate", "count_values"}) {
    const auto parsed = parse_selector(std::string(name) + "{a=\"b\"}");
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_EQ(parsed->front().value, name);
  }
}

TEST(Parser, ReadsEveryKindOfString) {
  EXPECT_EQ(canonical(R"(up{a='it is "x"'})"), R"(up{a="it is \"x\""})");
  EXPECT_EQ(canonical(R"(up{a="\a\b\f\n\r\t\v\\\"\x41\101\u00e9\U0001F600"})"),
            "up{a=\"\\x07\\x08\\x0c\\n\\r\\t\\x0b\\\\\\\"AA\xC3\xA9\xF0\x9F\x98\x80\"}");
  EXPECT_EQ(canonical("up{a=`\\n stays\nand so does this`}"), R"(up{a="\\n stays\nand so does this"})");
  EXPECT_EQ(canonical("\"text\""), "\"text\"");
  EXPECT_EQ(canonical("up{a=\"Gr\xC3\xB6\xC3\x9F"
                      "e\"}"),
            "up{a=\"Gr\xC3\xB6\xC3\x9F"
            "e\"}");
}

TEST(Parser, ReadsRangesOffsetsAndAnchors) {
  EXPECT_EQ(canonical("up[5m]"), "up[5m]");
  EXPECT_EQ(canonical("up[1h30m5s20ms]"), "up[1h30m5s20ms]");
  EXPECT_EQ(canonical("up[300]"), "up[5m]");
  EXPECT_EQ(canonical("up[1y]"), "up[1y]");
  EXPECT_EQ(canonical("up[10d]"), "up[10d]");
  EXPECT_EQ(canonical("up offset 1w"), "up offset 1w");
  EXPECT_EQ(canonical("up offset -1m"), "up offset -1m");
  EXPECT_EQ(canonical("up[5m] OFFSET 1m"), "up[5m] offset 1m");
  EXPECT_EQ(canonical("up @ 1700000000.5 offset 1m"), "up @ 1700000000.500 offset 1m");
  EXPECT_EQ(canonical("up offset 1m @ end()"), "up @ end() offset 1m");
  EXPECT_EQ(canonical("up[5m:1m]"), "up[5m:1m]");
  EXPECT_EQ(canonical("sum(up)[5m:] @ start()"), "sum(up)[5m:] @ start()");
}

TEST(Parser, ReadsNumbers) {
  EXPECT_EQ(canonical("1.50"), "1.5");
  EXPECT_EQ(canonical("1e3"), "1000");
  EXPECT_EQ(canonical("1E-7"), "1e-07");
  EXPECT_EQ(canonical(".5"), "0.5");
  EXPECT_EQ(canonical("0x1F"), "31");
  EXPECT_EQ(canonical("1_000_000"), "1000000");
  EXPECT_EQ(canonical("5m"), "300");
  EXPECT_EQ(canonical("Inf"), "+Inf");
  EXPECT_EQ(canonical("-nan"), "-NaN");
}

TEST(Parser, KnowsWhatBindsTighter) {
  const auto shape = [](std::string_view text) {
    const auto parsed = parse_expression(text);
    if (!parsed) {
      return parsed.error().text;
    }
    struct Shape {
      std::string operator()(const Expression& e) const {
        if (const auto* b = std::get_if<Binary>(&e.node)) {
          return "(" + (*this)(*b->left) + std::string(symbol(b->op)) + (*this)(*b->right) + ")";
        }
        if (const auto* n = std::get_if<Negation>(&e.node)) {
          return "(-" + (*this)(*n->inner) + ")";
        }
        return to_string(e);
      }
    };
    return Shape{}(**parsed);
  };
  EXPECT_EQ(shape("1+2*3"), "(1+(2*3))");
  EXPECT_EQ(shape("1*2+3"), "((1*2)+3)");
  EXPECT_EQ(shape("1-2-3"), "((1-2)-3)");
  EXPECT_EQ(shape("2^3^4"), "(2^(3^4))");
  EXPECT_EQ(shape("-2^2"), "(-(2^2))");
  EXPECT_EQ(shape("-2*3"), "((-2)*3)");
  EXPECT_EQ(shape("2^-3*4"), "((2^(-3))*4)");
  EXPECT_EQ(shape("a or b and c unless d"), "(aor((bandc)unlessd))");
  EXPECT_EQ(shape("a + b == c % d"), "((a+b)==(c%d))");
  EXPECT_EQ(shape("a and b == c"), "(aand(b==c))");
  EXPECT_EQ(shape("a atan2 b ^ c"), "(aatan2(b^c))");
}

TEST(Parser, ReadsCallsAggregationsAndMatching) {
  EXPECT_EQ(canonical("rate(up[5m])"), "rate(up[5m])");
  EXPECT_EQ(canonical("sum by (a, b) (up)"), "sum by (a, b) (up)");
  EXPECT_EQ(canonical("SUM(up) without(a,)"), "sum without (a) (up)");
  EXPECT_EQ(canonical("topk(3, up)"), "topk(3, up)");
  EXPECT_EQ(canonical(R"(count_values("v", up))"), R"(count_values("v", up))");
  EXPECT_EQ(canonical("a / on(x) group_left(y) b"), "a / on (x) group_left (y) b");
  EXPECT_EQ(canonical("a / ignoring(x) group_right b"), "a / ignoring (x) group_right () b");
  EXPECT_EQ(canonical("a > bool 1"), "a > bool 1");
  EXPECT_EQ(canonical("a and on() b"), "a and on () b");
  EXPECT_EQ(canonical("time()"), "time()");
  EXPECT_EQ(canonical("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))"),
            "histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))");
}

TEST(Parser, NamesLineAndColumnOfWhatIsWrong) {
  const struct {
    const char* text;
    const char* error;
  } kTable[] = {
      {"", "1:1: parse error: there is no expression"},
      {"  # only a comment", "1:1: parse error: there is no expression"},
      {"up up", R"(1:4: parse error: unexpected "up" after the expression)"},
      {"up{", R"(1:4: parse error: unexpected end of input in a selector, expected a label name or "}")"},
      {"up{a}", R"(1:5: parse error: unexpected "}" in a selector, expected one of = != =~ !~)"},
      {"up{a=b}", R"(1:6: parse error: unexpected "b" where a string is expected)"},
      {"up{a=\"b\" c=\"d\"}", R"(1:10: parse error: unexpected "c" in a selector, expected "," or "}")"},
      {"up{a:b=\"c\"}", R"(1:4: parse error: "a:b" is not a label name; put it in quotes)"},
      {"up{a=\"b\n\"}", "1:6: parse error: the string does not end on its line"},
      {"up{a='b}", "1:6: parse error: the string does not end"},
      {"up{a=\"\\", "1:6: parse error: the string does not end"},
      {"up{a=\"x\\q\"}", "1:8: parse error: unknown escape \\q"},
      {"up{a=\"\\x4\"}", "1:7: parse error: \\x takes two hexadecimal digits"},
      {"up{a=\"\\ud800\"}", "1:7: parse error: \\u takes 4 hexadecimal digits of a Unicode character"},
      {"up{a=\"\\777\"}", "1:7: parse error: an octal escape has three digits, at most \\377"},
      {"{}", "1:1: parse error: a selector needs at least one matcher that does not match the empty string"},
      {"{a=\"\"}", "1:1: parse error: a selector needs at least one matcher that does not match the empty string"},
      {"{a=~\".*\",b!=\"x\"}",
       "1:1: parse error: a selector needs at least one matcher that does not match the empty string"},
      {"up{__name__=\"down\"}", R"(1:1: parse error: the metric name is given twice: "up" and "down")"},
      {"up[5m", R"(1:6: parse error: unexpected end of input in a range, expected "]")"},
      {"up[]", R"(1:4: parse error: unexpected "]" where a duration is expected)"},
      {"up[0s]", "1:4: parse error: the duration must be greater than 0"},
      {"up[5x]", R"(1:4: parse error: "5x" is neither a number nor a duration)"},
      {"up[1m1h]", R"(1:4: parse error: "1m1h" is neither a number nor a duration)"},
      {"up[5m] [5m]", "1:8: parse error: a range stands only behind a selector; use a subquery such as [5m:1m]"},
      {"up offset 1m [5m]", "1:14: parse error: offset and @ stand behind the range"},
      {"sum(up)[5m]", "1:8: parse error: a range stands only behind a selector; use a subquery such as [5m:1m]"},
      {"sum(up) offset 5m", "1:9: parse error: offset stands only behind a selector or a subquery"},
      {"up offset 5m offset 5m", "1:14: parse error: offset may stand only once"},
      {"1 @ 5", "1:3: parse error: @ stands only behind a selector or a subquery"},
      {"rate(up)", "1:6: parse error: function rate takes a range vector here, not an instant vector"},
      {"rate(up[5m], 1)", "1:1: parse error: function rate takes 1 arguments, not 2"},
      {"round()", "1:1: parse error: function round takes 1 to 2 arguments, not 0"},
      {"rats(up[5m])", R"(1:1: parse error: there is no function "rats")"},
      {"sum(up[5m])", "1:5: parse error: aggregation sum takes an instant vector here, not a range vector"},
      {"topk(up)", "1:1: parse error: aggregation topk takes 2 arguments, not 1"},
      {"1 == 2", "1:3: parse error: comparisons between scalars must use bool"},
      {"1 + bool 2", "1:5: parse error: bool is for comparisons only"},
      {"up and 1", R"(1:4: parse error: operator "and" takes two instant vectors)"},
      {"up + on(a) 1", "1:4: parse error: vector matching is only allowed between instant vectors"},
      {"up[5m] + 1", R"(1:1: parse error: operator "+" takes scalars and instant vectors, not a range vector)"},
      {"a and on(x) group_left b", R"(1:13: parse error: no grouping is allowed for "and")"},
      {"-\"x\"", "1:1: parse error: a sign takes a scalar or an instant vector, not a string"},
      {"1 +", "1:4: parse error: unexpected end of input where an expression is expected"},
      {"up\n  and\n  )", R"~(3:3: parse error: unexpected ")" where an expression is expected)~"},
      {"up $", R"(1:4: parse error: unexpected character "$")"},
      {"up = 1", R"(1:4: parse error: unexpected "=" after the expression)"},
      {"on", R"(1:1: parse error: unexpected "on" where an expression is expected)"},
      {"(up", R"~(1:4: parse error: unexpected end of input in parentheses, expected ")")~"},
      {"1e999", R"(1:1: parse error: "1e999" is neither a number nor a duration)"},
      {"up[1000y]", R"(1:4: parse error: "1000y" is neither a number nor a duration)"},
  };
  for (const auto& row : kTable) {
    EXPECT_EQ(error_of(row.text), row.error) << row.text;
  }
}

TEST(Parser, RefusesInvalidRegularExpressionsByName) {
  EXPECT_TRUE(error_of("up{a=~\"(\"}").starts_with("1:7: parse error: regular expression in a=~\"(\" is not valid:"))
      << error_of("up{a=~\"(\"}");
}

TEST(Parser, BoundsDepthAndLength) {
  const auto repeat = [](const std::string& piece, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) {
      out += piece;
    }
    return out;
  };
  EXPECT_EQ(canonical(repeat("(", 300) + "1" + repeat(")", 300)), repeat("(", 300) + "1" + repeat(")", 300));
  for (const std::string& text :
       {repeat("(", 30'000) + "1", repeat("-", 60'000) + "1", repeat("2^", 30'000) + "2", "1" + repeat("+1", 30'000),
        repeat("abs(", 10'000), repeat("sum(", 10'000), "up" + repeat("[1m:]", 500)}) {
    const std::string error = error_of(text);
    EXPECT_TRUE(error.find("deeper than 400 levels") != std::string::npos ||
                error.find("subquery takes") != std::string::npos)
        << text.substr(0, 10) << ": " << error;
  }
  EXPECT_EQ(error_of(std::string(kExpressionBytesMax + 1, ' ')),
            "the expression has 65537 bytes, at most 65536 are read");
}

TEST(Parser, ReadsItsOwnTextToTheSameTree) {
  for (const char* text :
       {"up", R"({__name__="on"})", R"({__name__="inf"})", "-2 ^ -x", "sum by (a) (rate(x{b!=\"\"}[5m] offset -3s))",
        "a * on (b) group_left (c) d > bool 4", "-(a) ^ 2 unless b", "Inf - -1", "x @ 0.001",
        "x[1d:] @ end() offset 2w", "{\"odd name\",\"odd label\"=~\"\\\\d+\"}", "sum(x) without ()",
        "count without (\"odd label\") (x)"}) {
    const std::string once = canonical(text);
    EXPECT_EQ(canonical(once), once) << text;
  }
}

// Every shortened and every slightly damaged text must end in a tree or an error, and a tree must print to itself.
TEST(Parser, SurvivesDamagedText) {
  const std::string texts[] = {
      R"(sum by (a, "b.c") (rate(up{x=~"a.+",y!='z'}[5m] offset 1h)) / on(a) group_left b > bool 0x1f)",
      R"~(label_replace({"m.n",a="\u00e9\x41"} @ 17.5, "a", `$1`, "b", "(.*)") or -time()[1h:5m])~"};
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto check = [](const std::string& text) {
    const auto parsed = parse_expression(text);
    if (parsed) {
      const std::string printed = to_string(**parsed);
      EXPECT_EQ(canonical(printed), printed) << text;
    } else {
      EXPECT_TRUE(parsed.error().code == ErrorCode::kInvalid || parsed.error().code == ErrorCode::kUnsupported);
      EXPECT_NE(parsed.error().text.find(": parse error: "), std::string::npos) << text;
    }
  };
  for (const std::string& text : texts) {
    for (size_t end = 0; end <= text.size(); ++end) {
      check(text.substr(0, end));
    }
    for (int i = 0; i < 5'000; ++i) {
      std::string damaged = text;
      for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
        const size_t at = random() % damaged.size();
        switch (random() % 3) {
          case 0:
            damaged[at] = static_cast<char>(random());
            break;
          case 1:
            damaged.erase(at, 1 + random() % 4);
            break;
          default:
            damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 8));
        }
        if (damaged.empty()) break;
      }
      check(damaged);
    }
  }
}

TEST(ParseSelector, TakesOnlyPlainSelectors) {
  const auto matchers = parse_selector(R"(up{job=~"a|b"})");
  ASSERT_TRUE(matchers.has_value());
  EXPECT_EQ(to_string(*matchers), R"(up{job=~"a|b"})");
  for (const char* text : {"up[5m]", "up offset 5m", "up @ 5", "1", "sum(up)", "(up)"}) {
    EXPECT_FALSE(parse_selector(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace lambda::query
