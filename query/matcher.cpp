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

struct Rewriting::State {
  // A piece of the replacement: text as it is, or (index >= 0) a group of the pattern.
  struct Piece {
    std::string text;
    int group = -1;
  };
  std::unique_ptr<RE2> regex;
  std::vector<Piece> pieces;

  void add_text(std::string_view text) {
    if (pieces.empty() || pieces.back().group >= 0) {
      pieces.emplace_back();
    }
    pieces.back().text += text;
  }
  void add_group(const std::string& name) {
    const bool numeric = std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    int index = -1;
    if (numeric) {
      index = name.size() > 4 ? -1 : std::stoi(name);  // there are far fewer groups
    } else if (const auto found = regex->NamedCapturingGroups().find(name);
               found != regex->NamedCapturingGroups().end()) {
      index = found->second;
    }
    if (index >= 0 && index <= regex->NumberOfCapturingGroups()) {
      pieces.push_back({"", index});
    }
  }
  void read(std::string_view replacement);
};

namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

void Rewriting::State::read(std::string_view replacement) {
  while (!replacement.empty()) {
    const size_t dollar = std::min(replacement.find('$'), replacement.size());
    add_text(replacement.substr(0, dollar));
    replacement.remove_prefix(dollar);
    if (replacement.empty()) {
      return;
    }
    const bool braces = replacement.size() > 1 && replacement[1] == '{';
    const size_t begin = braces ? 2 : 1;
    size_t end = begin;
    while (end < replacement.size() && is_word(replacement[end])) {
      ++end;
    }
    const bool closed = !braces || (end < replacement.size() && replacement[end] == '}');
    if (replacement.size() > 1 && replacement[1] == '$') {
      add_text("$");
      replacement.remove_prefix(2);
    } else if (end == begin || !closed) {  // no name: the sign stands for itself
      add_text("$");
      replacement.remove_prefix(1);
    } else {
      add_group(std::string(replacement.substr(begin, end - begin)));
      replacement.remove_prefix(end + (braces ? 1 : 0));
    }
  }
}

Rewriting::Rewriting(std::unique_ptr<State> state) : state_(std::move(state)) {}
Rewriting::~Rewriting() = default;
Rewriting::Rewriting(Rewriting&&) noexcept = default;
Rewriting& Rewriting::operator=(Rewriting&&) noexcept = default;

Result<Rewriting> Rewriting::compile(const std::string& pattern, const std::string& replacement) {
  auto state = std::make_unique<State>();
  state->regex = compile_regex(pattern);
  if (!state->regex->ok()) {
    return fail(ErrorCode::kInvalid, state->regex->error());
  }
  state->read(replacement);
  return Rewriting(std::move(state));
}

std::optional<std::string> Rewriting::apply(std::string_view text, size_t bytes_max) const {
  std::vector<re2::StringPiece> groups(static_cast<size_t>(state_->regex->NumberOfCapturingGroups()) + 1);
  if (!state_->regex->Match(re2::StringPiece(text.data(), text.size()), 0, text.size(), RE2::ANCHOR_BOTH, groups.data(),
                            static_cast<int>(groups.size()))) {
    return std::nullopt;
  }
  std::string out;
  for (const State::Piece& piece : state_->pieces) {
    if (piece.group < 0) {
      out += piece.text;
    } else {
      const re2::StringPiece& group = groups[static_cast<size_t>(piece.group)];
      out.append(group.data() == nullptr ? "" : group.data(), group.size());
    }
    if (out.size() > bytes_max) {
      out.resize(bytes_max + 1);
      break;
    }
  }
  return out;
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

bool is_label_name(std::string_view name) {
  static const std::unique_ptr<RE2> valid = compile_regex(".+");  // RE2 matches valid UTF-8 only
  return RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *valid);
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
  const auto names_metric = [](const Matcher& m) { return m.label == kMetricName && m.op == MatchOp::kEqual; };
  const bool one_name = std::ranges::count_if(matchers, names_metric) == 1;  // of several none may stand outside
  std::string name;
  std::string inside;
  for (const Matcher& matcher : matchers) {
    if (one_name && matcher.label == kMetricName && matcher.op == MatchOp::kEqual &&
        is_plain_metric_name(matcher.value) && !is_keyword(matcher.value)) {
      name = matcher.value;
      continue;
    }
    inside += (inside.empty() ? "" : ",") + to_string(matcher);
  }
  return inside.empty() && !name.empty() ? name : name + "{" + inside + "}";
}

}  // namespace lambda::query
