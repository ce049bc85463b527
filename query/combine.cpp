#include "query/combine.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "query/labels.h"

namespace lambda::query {
namespace {

struct Group {
  std::vector<const Column*> left, right;
};
using Groups = std::map<Labels, Group>;

Labels signature(const Binary& node, const Labels& labels) {
  if (node.on) {
    return only_labels(labels, node.labels);
  }
  Labels out = without_labels(labels, node.labels);
  set_label(out, kMetricName, "");
  return out;
}

Groups group(const Binary& node, const Columns& left, const Columns& right) {
  Groups groups;
  for (const Column& column : left) {
    groups[signature(node, column.labels)].left.push_back(&column);
  }
  for (const Column& column : right) {
    groups[signature(node, column.labels)].right.push_back(&column);
  }
  return groups;
}

// At which steps some of the columns has a value. Asked once of each group: a query pays for its columns, not for its
// pairs of columns.
std::vector<uint8_t> presence(const std::vector<const Column*>& columns, size_t steps) {
  std::vector<uint8_t> any(steps);
  for (const Column* column : columns) {
    for (size_t step = 0; step < steps; ++step) {
      any[step] |= column->present[step];
    }
  }
  return any;
}
std::vector<uint8_t> presence(const Columns& columns, size_t steps) {
  std::vector<const Column*> all;
  for (const Column& column : columns) {
    all.push_back(&column);
  }
  return presence(all, steps);
}

bool drops_name(const Binary& node) {
  return !is_comparison(node.op) || node.return_bool;
}

// The value of `left op right`, or nothing when a comparison filters it out.
std::optional<double> result_of(const Binary& node, double left, double right, double kept) {
  const double value = compute(node.op, left, right);
  if (!is_comparison(node.op) || node.return_bool) {
    return value;
  }
  return value != 0 ? std::optional(kept) : std::nullopt;
}

// The column where `other` has something, or nothing.
Column kept_where(const Column& column, const std::vector<uint8_t>& other, bool has) {
  Column kept = column;
  for (size_t step = 0; step < other.size(); ++step) {
    if ((other[step] != 0) != has) {
      kept.present[step] = 0;
    }
  }
  return kept;
}

Result<Columns> combine_sets(const Binary& node, const Groups& groups, size_t steps) {
  Columns out;
  for (const auto& [labels, sides] : groups) {
    const bool either = node.op == BinaryOp::kOr;
    const std::vector<uint8_t> other = presence(either ? sides.left : sides.right, steps);
    for (const Column* column : sides.left) {
      out.push_back(either ? *column : kept_where(*column, other, node.op == BinaryOp::kAnd));
    }
    for (size_t i = 0; either && i < sides.right.size(); ++i) {
      out.push_back(kept_where(*sides.right[i], other, false));
    }
  }
  if (auto merged = merge_equal(out); !merged) {
    return tl::unexpected(merged.error());
  }
  return out;
}

// Arithmetic and comparisons of the columns of one group. The "one" side may have one value a step, the "many" side
// also only one unless group_left or group_right allows more.
class Pairing {
 public:
  Pairing(const Binary& node, size_t steps, NameRemoval names, SampleBudget& budget, Columns& out)
      : node_(node),
        one_to_many_(node.cardinality == Binary::Cardinality::kOneToMany),
        steps_(steps),
        names_(names),
        budget_(budget),
        out_(out) {}

  Status pair(const Labels& labels, const Group& group, const std::vector<uint8_t>& both) {
    places_.clear();
    const auto& many = one_to_many_ ? group.right : group.left;
    const auto& one = one_to_many_ ? group.left : group.right;
    for (size_t step = 0; step < steps_; ++step) {
      if (both[step] == 0) {
        continue;
      }
      const Column* single = nullptr;
      for (const Column* column : one) {
        if (column->present[step] == 0) {
          continue;
        }
        if (single != nullptr) {
          return fail(ErrorCode::kInvalid, several_text(labels, one_to_many_ ? "left" : "right", *single, *column));
        }
        single = column;
      }
      if (single == nullptr) {
        continue;
      }
      if (auto done = pair_step(many, *single, step); !done) {
        return done;
      }
    }
    return {};
  }

 private:
  Status pair_step(const std::vector<const Column*>& many, const Column& one, size_t step) {
    const Column* matched = nullptr;
    for (const Column* column : many) {
      if (column->present[step] == 0) {
        continue;
      }
      const double left = one_to_many_ ? one.values[step] : column->values[step];
      const double right = one_to_many_ ? column->values[step] : one.values[step];
      const auto value = result_of(node_, left, right, left);
      if (matched != nullptr && node_.cardinality == Binary::Cardinality::kOneToOne) {
        return fail(ErrorCode::kInvalid,
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
      }
      matched = column;
      if (!value) {
        continue;
      }
      auto place = column_for(*column, one);
      if (!place) {
        return tl::unexpected(place.error());
      }
      out_[*place].values[step] = *value;
      out_[*place].present[step] = 1;
    }
    return {};
  }

  Result<size_t> column_for(const Column& many, const Column& one) {
    const auto [place, is_new] = places_.try_emplace({&many, &one}, out_.size());
    if (is_new) {
      if (auto charged = budget_.charge(steps_); !charged) {
        return tl::unexpected(charged.error());
      }
      out_.push_back({result_labels(many.labels, one.labels), std::vector<double>(steps_), std::vector<uint8_t>(steps_),
                      node_.return_bool || (is_comparison(node_.op) && many.drops_name)});
    }
    return place->second;
  }

  Labels result_labels(Labels many, const Labels& one) const {
    const bool later = is_comparison(node_.op) && names_ == NameRemoval::kAtTheEnd;
    if (drops_name(node_) && !later) {
      many = without_metric_name(std::move(many));
    }
    if (node_.cardinality == Binary::Cardinality::kOneToOne) {
      many = node_.on ? only_labels(many, node_.labels) : without_labels(many, node_.labels);
    }
    for (const std::string& name : node_.included) {
      set_label(many, name, label_value(one, name));
    }
    return many;
  }

  // Prometheus' words: people search for them.
  static std::string several_text(const Labels& labels, const std::string& side, const Column& a, const Column& b) {
    return "found duplicate series for the match group " + in_braces(labels) + " on the " + side +
           " hand-side of the operation: [" + in_braces(a.labels) + ", " + in_braces(b.labels) +
           "];many-to-many matching not allowed: matching labels must be unique on one side";
  }
  static std::string in_braces(const Labels& labels) {
    std::string out;
    for (const auto& [name, value] : labels) {
      out += (out.empty() ? "" : ", ") + name + "=" + quoted(value);
    }
    return "{" + out + "}";
  }

  const Binary& node_;
  bool one_to_many_;
  size_t steps_;
  NameRemoval names_;
  SampleBudget& budget_;
  Columns& out_;
  std::map<std::pair<const Column*, const Column*>, size_t> places_;  // of the group at hand, in out_
};

}  // namespace

double compute(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::kAdd:
      return left + right;
    case BinaryOp::kSubtract:
      return left - right;
    case BinaryOp::kMultiply:
      return left * right;
    case BinaryOp::kDivide:
      return left / right;
    case BinaryOp::kModulo:
      return std::fmod(left, right);
    case BinaryOp::kPower:
      return std::pow(left, right);
    case BinaryOp::kAtan2:
      return std::atan2(left, right);
    case BinaryOp::kEqual:
      return left == right ? 1 : 0;
    case BinaryOp::kNotEqual:
      return left != right ? 1 : 0;
    case BinaryOp::kLess:
      return left < right ? 1 : 0;
    case BinaryOp::kGreater:
      return left > right ? 1 : 0;
    case BinaryOp::kLessEqual:
      return left <= right ? 1 : 0;
    case BinaryOp::kGreaterEqual:
      return left >= right ? 1 : 0;
    case BinaryOp::kAnd:
    case BinaryOp::kOr:
    case BinaryOp::kUnless:
      break;
  }
  LAMBDA_ASSERT(false);
  return 0;
}

Result<Columns> combine_with_scalar(const Binary& node, Columns columns, const std::vector<double>& scalar,
                                    bool scalar_left, NameRemoval names) {
  for (Column& column : columns) {
    for (size_t step = 0; step < column.values.size(); ++step) {
      if (column.present[step] == 0) {
        continue;
      }
      const double value = column.values[step];
      const auto result =
          scalar_left ? result_of(node, scalar[step], value, value) : result_of(node, value, scalar[step], value);
      column.present[step] = result ? 1 : 0;
      column.values[step] = result.value_or(0);
    }
    if (!drops_name(node)) {
      continue;
    }
    if (names == NameRemoval::kAtOnce) {
      column.labels = without_metric_name(std::move(column.labels));
    } else {
      column.drops_name = true;
    }
  }
  if (auto merged = merge_equal(columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> combine(const Binary& node, const Columns& left, const Columns& right, size_t steps, NameRemoval names,
                        SampleBudget& budget) {
  const Groups groups = group(node, left, right);
  if (is_set_operation(node.op)) {
    if (auto charged = budget.charge((left.size() + right.size()) * steps); !charged) {
      return tl::unexpected(charged.error());
    }
    return combine_sets(node, groups, steps);
  }
  Columns out;
  if (left.empty() || right.empty()) {
    return out;
  }
  Pairing pairing(node, steps, names, budget, out);
  std::vector<uint8_t> both = presence(left, steps);  // where both sides have something at all
  const std::vector<uint8_t> on_the_right = presence(right, steps);
  for (size_t step = 0; step < steps; ++step) {
    both[step] &= on_the_right[step];
  }
  for (const auto& [labels, sides] : groups) {  // also those with one side only: two on the "one" side are an error
    if (auto done = pairing.pair(labels, sides, both); !done) {
      return tl::unexpected(done.error());
    }
  }
  if (auto merged = merge_equal(out); !merged) {
    return tl::unexpected(merged.error());
  }
  return out;
}

}  // namespace lambda::query
