#include "query/aggregate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "query/functions.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/number.h"
#include "query/support.h"

namespace lambda::query {
namespace {

// `values` are those present in a group at a step, at least one; it may reorder them.
using Reduce = double (*)(std::vector<double>& values, double parameter);

template <class Folded>
double fold(const std::vector<double>& values) {
  Folded folded;
  for (const double value : values) {
    folded.add(value);
  }
  return folded.total();
}

// NaN only when there is nothing else.
double extreme(const std::vector<double>& values, bool highest) {
  double found = values.front();
  for (const double value : values) {
    if (std::isnan(found) || (highest ? value > found : value < found)) {
      found = value;
    }
  }
  return found;
}

struct Entry {
  std::string_view name;
  Reduce reduce;
};
constexpr std::array kReductions = std::to_array<Entry>({
    {"avg", [](std::vector<double>& v, double) { return mean(v, [](double value) { return value; }); }},
    {"count", [](std::vector<double>& v, double) { return static_cast<double>(v.size()); }},
    {"group", [](std::vector<double>&, double) { return 1.0; }},
    {"max", [](std::vector<double>& v, double) { return extreme(v, true); }},
    {"min", [](std::vector<double>& v, double) { return extreme(v, false); }},
    {"quantile", [](std::vector<double>& v, double q) { return quantile(q, v); }},
    {"stddev", [](std::vector<double>& v, double) { return std::sqrt(fold<Variance>(v)); }},
    {"stdvar", [](std::vector<double>& v, double) { return fold<Variance>(v); }},
    {"sum", [](std::vector<double>& v, double) { return fold<ExactSum>(v); }},
});

using Groups = std::map<Labels, std::vector<const Column*>>;

Labels key_of(const Aggregation& node, const Labels& labels) {
  return node.without ? without_metric_name(without_labels(labels, node.labels)) : only_labels(labels, node.labels);
}

Groups group(const Aggregation& node, const Columns& columns) {
  Groups groups;
  for (const Column& column : columns) {
    groups[key_of(node, column.labels)].push_back(&column);
  }
  return groups;
}

Column reduce_group(const Labels& labels, const std::vector<const Column*>& members, Reduce reduce,
                    const std::vector<double>& parameter, size_t steps) {
  Column out{labels, std::vector<double>(steps), std::vector<uint8_t>(steps)};
  out.drops_name = std::ranges::any_of(members, [](const Column* member) { return member->drops_name; });
  std::vector<double> values;
  for (size_t step = 0; step < steps; ++step) {
    values.clear();
    for (const Column* member : members) {
      if (member->present[step] != 0) {
        values.push_back(member->values[step]);
      }
    }
    if (!values.empty()) {
      out.values[step] = reduce(values, parameter.empty() ? 0 : parameter[step]);
      out.present[step] = 1;
    }
  }
  return out;
}

using Members = std::vector<const Column*>;

// The members present at a step, the first of topk (or bottomk) first. NaN comes last both ways; of equal values the
// first label set comes first.
void rank(const Members& members, size_t step, bool highest, std::vector<size_t>& order) {
  order.clear();
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i]->present[step] != 0) {
      order.push_back(i);
    }
  }
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    const double x = members[a]->values[step];
    const double y = members[b]->values[step];
    return std::isnan(x) || std::isnan(y) ? std::isnan(y) && !std::isnan(x) : highest ? x > y : x < y;
  });
}

// Which members a selecting aggregation keeps at a step; `order` is room to work in.
using Choose = void (*)(const Members& members, size_t step, double parameter, std::vector<size_t>& order);

// The first of `order`, at most `k` of them.
void keep_first(double k, std::vector<size_t>& order) {
  const auto most = static_cast<double>(order.size());
  order.resize(k >= 1 ? static_cast<size_t>(std::min(k, most)) : 0);
}

void choose_in_order(const Members& members, size_t step, double k, std::vector<size_t>& order) {
  order.clear();
  for (size_t i = 0; i < members.size() && static_cast<double>(order.size()) + 1 <= k; ++i) {
    if (members[i]->present[step] != 0) {
      order.push_back(i);
    }
  }
}

// A share of all series, always the same ones: r of them, or with -r those that 1 - r leaves over.
void choose_share(const Members& members, size_t step, double ratio, std::vector<size_t>& order) {
  ratio = std::clamp(ratio, -1.0, 1.0);
  order.clear();
  for (size_t i = 0; i < members.size(); ++i) {
    const double place = std::ldexp(static_cast<double>(hash_of(members[i]->labels)), -64);
    if (members[i]->present[step] != 0 && (ratio >= 0 ? place < ratio || ratio == 1 : place >= 1 + ratio)) {
      order.push_back(i);
    }
  }
}

struct Selector {
  std::string_view name;
  Choose choose;
};
constexpr std::array kSelectors = std::to_array<Selector>({
    {"bottomk",
     [](const Members& m, size_t step, double k, std::vector<size_t>& order) {
       rank(m, step, false, order);
       keep_first(k, order);
     }},
    {"limit_ratio", choose_share},
    {"limitk", choose_in_order},
    {"topk",
     [](const Members& m, size_t step, double k, std::vector<size_t>& order) {
       rank(m, step, true, order);
       keep_first(k, order);
     }},
});

// The series of a group themselves, each at the steps where it is chosen; in the order of the first step.
void select_members(const Members& members, Choose choose, const std::vector<double>& parameter, size_t steps,
                    Columns& out) {
  std::vector<std::vector<uint8_t>> kept(members.size(), std::vector<uint8_t>(steps));
  std::vector<size_t> order;
  std::vector<size_t> first_order;
  for (size_t step = 0; step < steps; ++step) {
    choose(members, step, parameter[step], order);
    for (const size_t i : order) {
      kept[i][step] = 1;
    }
    if (step == 0) {
      first_order = order;
    }
  }
  const auto add = [&](size_t i) {
    out.push_back({members[i]->labels, members[i]->values, std::move(kept[i]), members[i]->drops_name});
    kept[i].clear();
  };
  std::ranges::for_each(first_order, add);
  for (size_t i = 0; i < members.size(); ++i) {
    if (std::ranges::find(kept[i], 1) != kept[i].end()) {
      add(i);
    }
  }
}

}  // namespace

bool can_aggregate(std::string_view operation) {
  return operation == "count_values" || std::ranges::find(kSelectors, operation, &Selector::name) != kSelectors.end() ||
         std::ranges::find(kReductions, operation, &Entry::name) != kReductions.end();
}

Status check_parameter(const Aggregation& node, const std::vector<double>& parameter, Notes& notes) {
  if (parameter.empty()) {
    return {};
  }
  const bool ratio = node.operation == "limit_ratio";
  const auto [lowest, highest] = std::ranges::minmax_element(parameter);
  if (node.operation == "quantile") {
    for (const double value : parameter) {
      notes.check_quantile(value, *node.parameter);
    }
    return {};
  }
  if (std::ranges::any_of(parameter, [](double value) { return std::isnan(value); })) {
    return fail(ErrorCode::kInvalid, ratio ? "Ratio value is NaN" : "Parameter value is NaN");
  }
  if (ratio) {
    for (const double worst : {*lowest, *highest}) {
      if (std::fabs(worst) > 1) {
        notes.warn("ratio value should be between -1 and 1, got " + format_number(worst) + ", capping to " +
                       (worst > 0 ? "1" : "-1"),
                   *node.parameter);
      }
    }
    return {};
  }
  for (const double worst : {*lowest, *highest}) {
    if (!(std::fabs(worst) < 9223372036854775808.0)) {
      return fail(ErrorCode::kInvalid, "Scalar value " + format_number(worst) + " overflows int64");
    }
  }
  return {};
}

Result<Columns> count_values(const Aggregation& node, const Columns& columns, size_t steps, SampleBudget& budget) {
  const std::string& name = std::get<StringLiteral>(without_parentheses(*node.parameter).node).value;
  if (!is_label_name(name)) {
    return fail(ErrorCode::kInvalid, "invalid label name " + quoted(name));
  }
  Columns out;
  std::map<Labels, size_t> places;
  for (const Column& column : columns) {
    const Labels key = key_of(node, column.labels);
    for (size_t step = 0; step < steps; ++step) {
      if (column.present[step] == 0) {
        continue;
      }
      Labels labels = key;
      set_label(labels, name, plain_decimal(column.values[step]));
      const auto [place, is_new] = places.try_emplace(labels, out.size());
      if (is_new) {
        if (auto charged = budget.charge(steps); !charged) {
          return tl::unexpected(charged.error());
        }
        out.push_back({std::move(labels), std::vector<double>(steps), std::vector<uint8_t>(steps)});
      }
      out[place->second].values[step] += 1;
      out[place->second].present[step] = 1;
    }
  }
  return out;
}

Result<Columns> aggregate(const Aggregation& node, const Columns& columns, const std::vector<double>& parameter,
                          size_t steps, SampleBudget& budget) {
  const Groups groups = group(node, columns);
  const auto selector = std::ranges::find(kSelectors, node.operation, &Selector::name);
  const bool selects = selector != kSelectors.end();
  if (auto charged = budget.charge((selects ? columns.size() : groups.size()) * steps); !charged) {
    return tl::unexpected(charged.error());
  }
  const auto entry = std::ranges::find(kReductions, node.operation, &Entry::name);
  LAMBDA_ASSERT(selects || entry != kReductions.end());
  Columns out;
  for (const auto& [labels, members] : groups) {
    if (selects) {
      select_members(members, selector->choose, parameter, steps, out);
    } else {
      out.push_back(reduce_group(labels, members, entry->reduce, parameter, steps));
    }
  }
  return out;
}

}  // namespace lambda::query
