#include "query/aggregate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "query/functions.h"
#include "query/labels.h"

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
    {"avg", [](std::vector<double>& v, double) { return fold<Mean>(v); }},
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

Groups group(const Aggregation& node, const Columns& columns) {
  Groups groups;
  for (const Column& column : columns) {
    groups[node.without ? without_labels(without_metric_name(column.labels), node.labels)
                        : only_labels(column.labels, node.labels)]
        .push_back(&column);
  }
  return groups;
}

Column reduce_group(const Labels& labels, const std::vector<const Column*>& members, Reduce reduce,
                    const std::vector<double>& parameter, size_t steps) {
  Column out{labels, std::vector<double>(steps), std::vector<uint8_t>(steps)};
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

// The series of a group themselves, each at the steps where it is among the first k.
void keep_first(const Members& members, bool highest, const std::vector<double>& k, size_t steps, Columns& out) {
  std::vector<std::vector<uint8_t>> kept(members.size(), std::vector<uint8_t>(steps));
  std::vector<size_t> order;
  for (size_t step = 0; step < steps; ++step) {
    rank(members, step, highest, order);
    const size_t count = k[step] >= 1 ? static_cast<size_t>(std::min(k[step], static_cast<double>(order.size()))) : 0;
    for (size_t i = 0; i < count; ++i) {
      kept[order[i]][step] = 1;
    }
  }
  for (size_t i = 0; i < members.size(); ++i) {
    if (std::ranges::find(kept[i], 1) != kept[i].end()) {
      out.push_back({members[i]->labels, members[i]->values, std::move(kept[i])});
    }
  }
}

}  // namespace

bool can_aggregate(std::string_view operation) {
  return operation == "topk" || operation == "bottomk" ||
         std::ranges::find(kReductions, operation, &Entry::name) != kReductions.end();
}

Result<Columns> aggregate(const Aggregation& node, const Columns& columns, const std::vector<double>& parameter,
                          size_t steps, SampleBudget& budget) {
  const Groups groups = group(node, columns);
  const bool selects = node.operation == "topk" || node.operation == "bottomk";
  if (auto charged = budget.charge((selects ? columns.size() : groups.size()) * steps); !charged) {
    return tl::unexpected(charged.error());
  }
  const auto entry = std::ranges::find(kReductions, node.operation, &Entry::name);
  LAMBDA_ASSERT(selects || entry != kReductions.end());
  Columns out;
  for (const auto& [labels, members] : groups) {
    if (selects) {
      keep_first(members, node.operation == "topk", parameter, steps, out);
    } else {
      out.push_back(reduce_group(labels, members, entry->reduce, parameter, steps));
    }
  }
  return out;
}

}  // namespace lambda::query
