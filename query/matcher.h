// Label matchers made ready for many series: each pattern is compiled once. matches() in series_source.h is the simple
// form of the same question.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "query/series_source.h"

namespace lambda::query {

// Immutable; may be used from several threads at once.
class MatcherSet {
 public:
  // kInvalid names the matcher whose pattern is no valid RE2, or needs more than the memory RE2 is allowed.
  static Result<MatcherSet> compile(const std::vector<Matcher>& matchers);
  ~MatcherSet();
  MatcherSet(MatcherSet&&) noexcept;
  MatcherSet& operator=(MatcherSet&&) noexcept;

  bool matches(const Labels& labels) const;
  // Whether the matchers on this one label hold for `value`: lets an index skip whole metrics.
  bool label_may_match(std::string_view label, std::string_view value) const;

 private:
  struct Compiled;
  MatcherSet();
  std::vector<Compiled> matchers_;
};

// A pattern whose groups can be put into a text: label_replace(). Immutable.
class Rewriting {
 public:
  // kInvalid: `pattern` is no valid RE2, or needs more than the memory RE2 is allowed.
  static Result<Rewriting> compile(const std::string& pattern, const std::string& replacement);
  ~Rewriting();
  Rewriting(Rewriting&&) noexcept;
  Rewriting& operator=(Rewriting&&) noexcept;

  // Nothing unless the pattern matches all of `text`; else the replacement with $1, ${1}, $name and ${name} filled in.
  // A group that does not exist is empty, $$ is a dollar sign. What would be longer than `bytes_max` is cut behind
  // `bytes_max` + 1 bytes.
  std::optional<std::string> apply(std::string_view text, size_t bytes_max) const;

 private:
  struct State;
  explicit Rewriting(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whether the matcher holds for a series that lacks the label. Regexes must be valid.
bool matches_empty(const Matcher& matcher);

// As one writes it: job=~"a.*".
std::string to_string(const Matcher& matcher);
// As one writes it: up{job="a"}.
std::string to_string(const std::vector<Matcher>& matchers);

// What may name a label since names may hold any UTF-8: not empty, and valid.
bool is_label_name(std::string_view name);
// [a-zA-Z_][a-zA-Z0-9_]*
bool is_plain_label_name(std::string_view name);
// [a-zA-Z_:][a-zA-Z0-9_:]*
bool is_plain_metric_name(std::string_view name);

}  // namespace lambda::query
