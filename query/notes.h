// What is said beside a result. The words are Prometheus': dashboards and people search for them.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "query/expression.h"

namespace lambda::query {

inline constexpr size_t kNotesShownMax = 10;    // of each kind, as Prometheus; a last one says how many were left out
inline constexpr size_t kNotesHeldMax = 1'000;  // of each kind; what comes later is forgotten

struct Notes {
  std::set<std::string> warnings;  // the answer may be wrong or partial
  std::set<std::string> infos;     // probably a mistake in the question

  // Each once; those of sources first, then in alphabetic order.
  static void add(std::set<std::string>& notes, std::string note);
  // `kind` is "warning" or "info".
  static std::vector<std::string> shown(const std::set<std::string>& notes, std::string_view kind);

  // `at` is the part of the question that is meant.
  void warn(const std::string& what, const Expression& at);
  void inform(const std::string& what, const Expression& at);

  // NaN, or not within [0, 1].
  void check_quantile(double quantile, const Expression& at);
  // A metric whose name does not sound like a counter.
  void check_counter(std::string_view metric, const Expression& at);
};

// " for metric name \"up\"", or nothing when there is no name.
std::string for_metric(std::string_view metric);

}  // namespace lambda::query
