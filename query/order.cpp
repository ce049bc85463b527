#include "query/order.h"

#include <algorithm>
#include <cmath>

#include "query/labels.h"

namespace lambda::query {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The run of digits, or of anything else, at the front; takes it off.
std::string_view take_run(std::string_view& text) {
  size_t length = 0;
  while (length < text.size() && is_digit(text[length]) == is_digit(text[0])) {
    ++length;
  }
  const std::string_view run = text.substr(0, length);
  text.remove_prefix(length);
  return run;
}

// Negative, 0 or positive. Of two equal numbers the one with fewer zeros in front comes first.
int compare_runs(std::string_view a, std::string_view b) {
  if (!is_digit(a[0]) || !is_digit(b[0])) {
    return a.compare(b);
  }
  const auto significant = [](std::string_view digits) {
    return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
  };
  const std::string_view x = significant(a);
  const std::string_view y = significant(b);
  if (x.size() != y.size()) {
    return x.size() < y.size() ? -1 : 1;
  }
  if (const int by_digits = x.compare(y); by_digits != 0) {
    return by_digits;
  }
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

}  // namespace

bool naturally_before(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    const std::string_view run_a = take_run(a);
    const std::string_view run_b = take_run(b);
    if (const int order = compare_runs(run_a, run_b); order != 0) {
      return order < 0;
    }
  }
  return a.empty() && !b.empty();
}

void sort_by_label(Columns& columns, const std::vector<std::string>& names, bool descending) {
  const auto before = [&](const Column& a, const Column& b) {
    for (const std::string& name : names) {
      const std::string_view x = label_value(a.labels, name);
      const std::string_view y = label_value(b.labels, name);
      if (x != y) {
        return naturally_before(x, y);
      }
    }
    return a.labels < b.labels;
  };
  std::stable_sort(columns.begin(), columns.end(),
                   [&](const Column& a, const Column& b) { return descending ? before(b, a) : before(a, b); });
}

void sort_by_value(Columns& columns, bool descending) {
  const auto rank = [](const Column& column) {  // 0: has a value to sort by
    return column.present[0] == 0 || std::isnan(column.values[0]) ? 1 : 0;
  };
  std::stable_sort(columns.begin(), columns.end(), [&](const Column& a, const Column& b) {
    if (rank(a) != rank(b)) {
      return rank(a) < rank(b);
    }
    if (rank(a) != 0) {
      return false;
    }
    return descending ? a.values[0] > b.values[0] : a.values[0] < b.values[0];
  });
}

}  // namespace lambda::query
