#include "agent/scrape/exposition.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

namespace lambda::agent {
namespace {

using Item = ExpositionReader::Item;
constexpr auto kText = ExpositionFormat::kText;
constexpr auto kOpen = ExpositionFormat::kOpenMetrics;

// All that a page says, one text an item; the error ends it.
std::vector<std::string> said(std::string_view page, ExpositionFormat format) {
  std::vector<std::string> out;
  ExpositionReader reader(page, format);
  for (;;) {
    const auto item = reader.next();
    if (!item) {
      out.push_back("error " + item.error().text);
      return out;
    }
    if (*item == Item::kEnd) return out;
    if (*item == Item::kSample) {
      const ExpositionSample& sample = reader.sample();
      std::string text(sample.name);
      for (const auto& [name, value] : exposition_labels(sample.labels)) text += " " + name + "=[" + value + "]";
      char number[64];
      std::snprintf(number, sizeof number, " %.17g", sample.value);
      text += number;
      if (sample.timed) text += " @" + std::to_string(sample.time_ms);
      out.push_back(text);
    } else {
      const char* what = *item == Item::kType ? "type " : *item == Item::kUnit ? "unit " : "help ";
      out.push_back(what + std::string(reader.family()) + " " + exposition_help(reader.words(), 1000));
    }
  }
}

std::string only(std::string_view page, ExpositionFormat format) {
  const auto all = said(page, format);
  EXPECT_EQ(all.size(), 1u) << page;
  return all.empty() ? "" : all[0];
}

TEST(Exposition, ReadsWhatBothFormatsHave) {
  const struct {
    const char* line;
    const char* meaning;
  } cases[] = {
      {"a 1\n", "a 1"},
      {"a{} 1\n", "a 1"},
      {"a:b_2 1.5\n", "a:b_2 1.5"},
      {"a{x=\"1\"} -2\n", "a x=[1] -2"},
      {"a{x=\"1\",} 3\n", "a x=[1] 3"},
      {"a{x=\"1\",y_2=\"\"} 3\n", "a x=[1] 3"},  // an empty label is none
      {"a{x=\"q\\\"q\",y=\"b\\\\b\",z=\"l\\nl\"} 4\n", "a x=[q\"q] y=[b\\b] z=[l\nl] 4"},
      {"a{x=\"}, {\"} 5\n", "a x=[}, {] 5"},
      {"a{x=\"\\t\"} 5\n", "a x=[\\t] 5"},  // no escape: it stands for itself
      {"a{x=\"\xc3\xa9\"} 5\n", "a x=[\xc3\xa9] 5"},
      {"a +Inf\n", "a inf"},
      {"a -Inf\n", "a -inf"},
      {"a NaN\n", "a nan"},
      {"a +1e3\n", "a 1000"},
      {"a 1e999\n", "a inf"},
      {"a 1e-999\n", "a 0"},
      {"a .5\n", "a 0.5"},
      {"a 123456789012345678\n", "a 1.2345678901234568e+17"},
      {"# TYPE a counter\n", "type a counter"},
      {"# HELP a what it\\nsays \\\\ here\n", "help a what it\nsays \\ here"},
      {"# HELP a\n", "help a "},
  };
  for (const auto& [line, meaning] : cases) {
    EXPECT_EQ(only(line, kText), meaning) << line;
    EXPECT_EQ(only(std::string(line) + "# EOF\n", kOpen), meaning) << line;
  }
}

TEST(Exposition, TextHasBlanksRemarksAndMilliseconds) {
  EXPECT_EQ(only("a{x=\"1\"} 2 1700000000123\n", kText), "a x=[1] 2 @1700000000123");
  EXPECT_EQ(only("  a \t { x = \"1\" , y = \"2\" }\t2  -5 \r\n", kText), "a x=[1] y=[2] 2 @-5");
  EXPECT_EQ(said("\n# a remark\n#\n   \n#TYPE\tb\tgauge\n# UNIT b seconds\n", kText),
            (std::vector<std::string>{"type b gauge"}));
  EXPECT_EQ(only("# TYPE a untyped\n", kText), "type a untyped");
  EXPECT_EQ(said("", kText), std::vector<std::string>());
}

TEST(Exposition, OpenMetricsHasUnitsExemplarsSecondsAndAnEnd) {
  EXPECT_EQ(said("# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds \\\"x\\\"\n"
                 "a_seconds_total{x=\"1\"} 2 1700000000.123\n"
                 "a_seconds_total{x=\"2\"} 3 # {trace=\"abc\"} 0.5 1700000000\n"
                 "a_seconds_total{x=\"3\"} 4 1e3 # {} 0.5\n"
                 "a_seconds_created{x=\"3\"} 1.5\n# EOF",
                 kOpen),
            (std::vector<std::string>{"type a_seconds counter", "unit a_seconds seconds", "help a_seconds \"x\"",
                                      "a_seconds_total x=[1] 2 @1700000000123", "a_seconds_total x=[2] 3",
                                      "a_seconds_total x=[3] 4 @1000000", "a_seconds_created x=[3] 1.5"}));
  for (const char* type : {"gaugehistogram", "stateset", "info", "unknown"}) {
    EXPECT_EQ(only(std::string("# TYPE a ") + type + "\n# EOF\n", kOpen), std::string("type a ") + type);
  }
}

TEST(Exposition, WhatIsWrongIsRefusedWithItsLine) {
  const struct {
    const char* page;
    ExpositionFormat format;
    const char* error;
  } cases[] = {
      {"a 1\nb\n", kText,
       "error line 2: a metric's name is [a-zA-Z_:][a-zA-Z0-9_:]*, then come labels in braces or a blank"},
      {"a 1\n\nb 2", kText, "error line 3: the last line has no end: the text was cut"},
      {"1a 1\n", kText, "error line 1: a metric's name was expected"},
      {"a-b 1\n", kText, nullptr},
      {"<html>\n", kText, nullptr},
      {"{\"a\", x=\"1\"} 1\n", kText, nullptr},
      {"a{x} 1\n", kText, "error line 1: a label without '='"},
      {"a{x=1} 1\n", kText, nullptr},
      {"a{x=\"1} 1\n", kText, "error line 1: a label's value without its closing quote"},
      {"a{x=\"1\\", kText, nullptr},
      {"a{x=\"1\"\n", kText, nullptr},
      {"a{x=\"1\" y=\"2\"} 1\n", kText, nullptr},
      {"a{1x=\"1\"} 1\n", kText, nullptr},
      {"a{x:y=\"1\"} 1\n", kText, nullptr},
      {"a{,} 1\n", kText, nullptr},
      {"a one\n", kText, "error line 1: a value was expected"},
      {"a 1x\n", kText, nullptr},
      {"a nan(1)\n", kText, nullptr},
      {"a ++1\n", kText, nullptr},
      {"a 0x10\n", kText, nullptr},
      {"a 1 1.5\n", kText, "error line 1: a time is a whole number of milliseconds"},
      {"a 1 99999999999999999\n", kText, nullptr},
      {"a 1 2 3\n", kText, "error line 1: more than a value and a time"},
      {"a 1 # {} 1\n", kText, nullptr},
      {"# TYPE a thing\n", kText, "error line 1: \"thing\" is no type of a metric"},
      {"# TYPE a unknown\n", kText, nullptr},
      {"# TYPE a gauge gauge\n", kText, nullptr},
      {"# TYPE 1 gauge\n", kText, nullptr},
      {"a 1\n", kOpen, "error line 1: the text ends without # EOF: it was cut"},
      {"", kOpen, "error line 0: the text ends without # EOF: it was cut"},
      {"a 1\n# EO", kOpen, nullptr},
      {"# EOF\na 1\n", kOpen, "error line 2: there is more behind # EOF"},
      {"# EOF\n\n", kOpen, nullptr},
      {"\n# EOF\n", kOpen, nullptr},
      {"# remark\n# EOF\n", kOpen, nullptr},
      {"# TYPE a untyped\n# EOF\n", kOpen, nullptr},
      {"a 1 now\n# EOF\n", kOpen, "error line 1: a time is a number of seconds"},
      {"a 1 1e300\n# EOF\n", kOpen, nullptr},
      {"a 1 NaN\n# EOF\n", kOpen, nullptr},
      {"a 1 # x\n# EOF\n", kOpen, "error line 1: an exemplar has labels"},
      {"a 1 # {x=\"1\"}\n# EOF\n", kOpen, "error line 1: an exemplar has a value"},
      {"a 1 # {} 1 1 1\n# EOF\n", kOpen, nullptr},
  };
  for (const auto& [page, format, error] : cases) {
    const auto all = said(page, format);
    ASSERT_FALSE(all.empty()) << page;
    EXPECT_TRUE(all.back().starts_with("error line ")) << page << ": " << all.back();
    if (error != nullptr) {
      EXPECT_EQ(all.back(), error) << page;
    }
  }
}

TEST(Exposition, EveryCutOfAPageIsAnErrorOrEndsBetweenTwoLines) {
  const std::string text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"2\"} 12 1700000000123\n";
  for (size_t length = 1; length < text.size(); ++length) {
    const auto all = said(text.substr(0, length), kText);
    const bool whole = text[length - 1] == '\n';
    EXPECT_EQ(!all.empty() && all.back().starts_with("error"), !whole) << length;
  }
  const std::string open = "# TYPE a counter\na_total{x=\"1\"} 12 17.5 # {t=\"u\"} 1\n# EOF\n";
  for (size_t length = 0; length + 1 < open.size(); ++length) {
    const auto all = said(open.substr(0, length), kOpen);
    EXPECT_TRUE(!all.empty() && all.back().starts_with("error")) << length;
  }
}

TEST(Exposition, NoNaNOnAPageEndsASeries) {
  for (const char* word : {"NaN", "nan", "-nan", "+NaN"}) {
    const std::string page = std::string("a ") + word + "\n";
    ExpositionReader reader(page, kText);
    ASSERT_TRUE(reader.next()) << word;
    EXPECT_TRUE(std::isnan(reader.sample().value));
    EXPECT_NE(std::bit_cast<uint64_t>(reader.sample().value), 0x7ff0000000000002u);
  }
}

TEST(Exposition, TheFormatIsTheAnswersOwn) {
  EXPECT_EQ(*exposition_format("text/plain; version=0.0.4; charset=utf-8"), kText);
  EXPECT_EQ(*exposition_format("application/openmetrics-text; version=1.0.0; charset=utf-8"), kOpen);
  EXPECT_EQ(*exposition_format(""), kText);
  EXPECT_EQ(exposition_format("text/html; charset=utf-8").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(exposition_format("application/vnd.google.protobuf; proto=x").error().code, ErrorCode::kUnsupported);
}

TEST(Exposition, KindsFollowTheTypeAndTheSuffix) {
  EXPECT_EQ(exposition_kind("counter", "a_total", "a_total"), Kind::kCounter);
  EXPECT_EQ(exposition_kind("counter", "a", "a_total"), Kind::kCounter);
  EXPECT_EQ(exposition_kind("counter", "a", "a_created"), Kind::kGauge);
  EXPECT_EQ(exposition_kind("histogram", "a", "a_bucket"), Kind::kCounter);
  EXPECT_EQ(exposition_kind("summary", "a", "a_sum"), Kind::kCounter);
  EXPECT_EQ(exposition_kind("summary", "a", "a"), Kind::kGauge);
  EXPECT_EQ(exposition_kind("gaugehistogram", "a", "a_bucket"), Kind::kGauge);
  EXPECT_EQ(exposition_kind("gauge", "a", "a"), Kind::kGauge);
  EXPECT_EQ(exposition_kind("counter", "a", "ab"), Kind::kGauge);  // another metric
  EXPECT_FALSE(exposition_belongs("", "a"));
  EXPECT_FALSE(exposition_belongs("a", "ab_total"));
}

TEST(Exposition, AHelpTextIsCutBetweenCharacters) {
  EXPECT_EQ(exposition_help("ab\xc3\xa9", 3), "ab");
  EXPECT_EQ(exposition_help("ab\xc3\xa9", 4), "ab\xc3\xa9");
}

}  // namespace
}  // namespace lambda::agent
