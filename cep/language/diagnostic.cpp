#include "cep/language/diagnostic.h"

#include <algorithm>

namespace lambda::cep {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Insertions, removals, replacements and swaps of neighbours that turn one into the other; letters' case is free.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

constexpr size_t kNameBytesMax = 64;  // longer names get no suggestion: the search is quadratic

}  // namespace

std::string format_diagnostic(std::string_view file, const Diagnostic& diagnostic) {
  return std::string(file) + ":" + std::to_string(diagnostic.at.line) + ":" + std::to_string(diagnostic.at.column) +
         ": " + diagnostic.text;
}

std::string near_name(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string* best = nullptr;
  size_t best_distance = name.size() / 3 + 2;  // one above what counts as near
  for (const std::string& candidate : candidates) {
    if (name == candidate || name.size() > kNameBytesMax || candidate.size() > kNameBytesMax) {
      continue;
    }
    const size_t d = distance(name, candidate);
    if (d < best_distance && d < std::max(name.size(), candidate.size())) {
      best = &candidate;
      best_distance = d;
    }
  }
  return best == nullptr ? "" : "; did you mean \"" + *best + "\"?";
}

std::string name_hint(std::string_view name, std::vector<std::string> candidates) {
  constexpr size_t kNamedMax = 12;
  std::string near = near_name(name, candidates);
  std::erase(candidates, "");
  if (!near.empty() || candidates.empty() || candidates.size() > kNamedMax) {
    return near;
  }
  std::ranges::sort(candidates);
  std::string out = candidates.size() == 1 ? "; there is only " : "; there are ";
  for (size_t i = 0; i < candidates.size(); ++i) {
    out += (i == 0 ? "" : i + 1 == candidates.size() ? " and " : ", ") + candidates[i];
  }
  return out;
}

}  // namespace lambda::cep
