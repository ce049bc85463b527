#include "query/matcher.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "query/labels.h"

namespace lambda::query {
namespace {

// What one pattern may cost: a regex is the only part of a query whose size its length does not bound.
constexpr int64_t kRegexBytesMax = 1 << 20;

std::unique_ptr<RE2> compile_regex(const std::string& pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  options.set_max_mem(kRegexBytesMax);
  return std::make_unique<RE2>(pattern, options);
}

const char* symbol(MatchOp op) {
  switch (op) {
    case MatchOp::kEqual:
      return "=";
    case MatchOp::kNotEqual:
      return "!=";
    case MatchOp::kRegex:
      return "=~";
    case MatchOp::kNotRegex:
      return "!~";
  }
  return "?";
}

bool is_regex(MatchOp op) {
  return op == MatchOp::kRegex || op == MatchOp::kNotRegex;
}

}  // namespace

struct MatcherSet::Compiled {
  Matcher matcher;
  std::unique_ptr<RE2> regex;  // null for = and !=

  bool holds(std::string_view value) const {
    switch (matcher.op) {
      case MatchOp::kEqual:
        return value == matcher.value;
      case MatchOp::kNotEqual:
        return value != matcher.value;
      case MatchOp::kRegex:
        return RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *regex);
      case MatchOp::kNotRegex:
        return !RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *regex);
    }
    return false;
  }
};

MatcherSet::MatcherSet() = default;
MatcherSet::~MatcherSet() = default;
MatcherSet::MatcherSet(MatcherSet&&) noexcept = default;
MatcherSet& MatcherSet::operator=(MatcherSet&&) noexcept = default;

Result<MatcherSet> MatcherSet::compile(const std::vector<Matcher>& matchers) {
  MatcherSet set;
  for (const Matcher& matcher : matchers) {
    Compiled compiled{matcher, nullptr};
    if (is_regex(matcher.op)) {
      compiled.regex = compile_regex(matcher.value);
      if (!compiled.regex->ok()) {
        return fail(ErrorCode::kInvalid,
                    "regular expression in " + to_string(matcher) + " is not valid: " + compiled.regex->error());
      }
    }
    set.matchers_.push_back(std::move(compiled));
  }
  // Cheap questions first: a regex is asked only of what the equalities left.
  std::ranges::stable_sort(set.matchers_, {}, [](const Compiled& c) { return is_regex(c.matcher.op); });
  return set;
}

bool MatcherSet::matches(const Labels& labels) const {
  return std::ranges::all_of(matchers_,
                             [&](const Compiled& c) { return c.holds(label_value(labels, c.matcher.label)); });
}

bool MatcherSet::label_may_match(std::string_view label, std::string_view value) const {
  return std::ranges::all_of(matchers_, [&](const Compiled& c) { return c.matcher.label != label || c.holds(value); });
}

bool matches_empty(const Matcher& matcher) {
  const auto set = MatcherSet::compile({matcher});
  LAMBDA_ASSERT(set.has_value());
  return set->matches({});
}

bool matches(const Labels& labels, const std::vector<Matcher>& matchers) {
  const auto set = MatcherSet::compile(matchers);
  LAMBDA_ASSERT(set.has_value());
  return set->matches(labels);
}

Status check_matchers(const std::vector<Matcher>& matchers) {
  const auto set = MatcherSet::compile(matchers);
  if (!set) {
    return tl::unexpected(set.error());
  }
  return {};
}

bool is_plain_metric_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) {
    return false;
  }
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
  });
}

bool is_plain_label_name(std::string_view name) {
  return is_plain_metric_name(name) && name.find(':') == std::string_view::npos;
}

std::string to_string(const Matcher& matcher) {
  return (is_plain_label_name(matcher.label) ? matcher.label : quoted(matcher.label)) + symbol(matcher.op) +
         quoted(matcher.value);
}

namespace {

// Names that mean something else, or could, where an expression begins: they are written in quotes.
bool is_keyword(std::string_view name) {
  static constexpr std::string_view kKeywords[] = {
      "and",          "atan2",  "avg",        "bool",        "bottomk",  "by",     "count",
      "count_values", "group",  "group_left", "group_right", "ignoring", "inf",    "limit_ratio",
      "limitk",       "max",    "min",        "nan",         "offset",   "on",     "or",
      "quantile",     "stddev", "stdvar",     "sum",         "topk",     "unless", "without"};
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return std::ranges::binary_search(kKeywords, lower);
}

}  // namespace

std::string to_string(const std::vector<Matcher>& matchers) {
  std::string name;
  std::string inside;
  for (const Matcher& matcher : matchers) {
    if (name.empty() && matcher.label == kMetricName && matcher.op == MatchOp::kEqual &&
        is_plain_metric_name(matcher.value) && !is_keyword(matcher.value)) {
      name = matcher.value;
      continue;
    }
    inside += (inside.empty() ? "" : ",") + to_string(matcher);
  }
  return inside.empty() && !name.empty() ? name : name + "{" + inside + "}";
}

}  // namespace lambda::query
