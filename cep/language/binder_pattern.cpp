// PATTERN: the tree, its bounds, its keys, and the names of what steps take.
#include <algorithm>
#include <limits>

#include "cep/language/binder_state.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using ast::Step;
using ast::StepKind;

class TreeBuilder {
 public:
  TreeBuilder(const Catalog& catalog, PatternPlan& plan, std::vector<const ast::Expr*>& filters,
              std::map<std::string, uint32_t>& aliases, Diagnostics& errors)
      : catalog_(catalog), plan_(plan), filters_(filters), aliases_(aliases), errors_(errors) {}

  void run(const Step& root) {
    if (is_open(root)) {
      run(*root.parts[0]);
      return;
    }
    if (root.kind == StepKind::kSequence) {
      (void)build(root, -1);
    } else {
      const uint16_t sequence = add(StepKind::kSequence, root, -1);
      const uint16_t part = build(root, sequence);
      plan_.nodes[sequence].parts = {part};
      plan_.nodes[sequence].end = static_cast<uint16_t>(plan_.nodes.size());
    }
    name_by_stream();
  }

 private:
  static bool ends_with_guard(const Step& step) {
    switch (step.kind) {
      case StepKind::kAbsence:
        return !step.absence_ms;
      case StepKind::kGroup:
        return !step.every && ends_with_guard(*step.parts[0]);
      case StepKind::kSequence:
        return ends_with_guard(*step.parts.back());
      default:
        return false;
    }
  }
  // A group in a sequence that ends with NOT b: b must not come before what follows the group, so it is as if there
  // were no parentheses (28).
  static bool is_open(const Step& step) { return step.kind == StepKind::kGroup && ends_with_guard(step); }

  void build_sequence(const Step& step, uint16_t id, std::vector<uint16_t>& parts, std::vector<bool>& strict) {
    for (size_t i = 0; i < step.parts.size(); ++i) {
      const Step& part = *step.parts[i];
      if (i > 0) {
        strict.push_back(step.strict[i - 1]);
      }
      if (!is_open(part)) {
        parts.push_back(build(part, id));
      } else if (part.parts[0]->kind == StepKind::kSequence) {
        build_sequence(*part.parts[0], id, parts, strict);
      } else {
        parts.push_back(build(*part.parts[0], id));
      }
    }
  }

  uint16_t add(StepKind kind, const Step& step, int parent) {
    if (plan_.nodes.size() >= kPatternNodesMax) {
      if (plan_.nodes.size() == kPatternNodesMax && !full_) {
        errors_.push_back({step.at, "a pattern has at most " + std::to_string(kPatternNodesMax) + " parts"});
      }
      full_ = true;
      return 0;
    }
    PatternNode node;
    node.kind = kind;
    node.at = step.at;
    node.parent = parent;
    plan_.nodes.push_back(std::move(node));
    filters_.push_back(nullptr);
    return static_cast<uint16_t>(plan_.nodes.size() - 1);
  }

  uint16_t build(const Step& step, int parent) {
    const Step* inner = &step;
    if (step.kind == StepKind::kGroup && step.parts[0]->kind == StepKind::kSequence && !step.parts[0]->every) {
      inner = step.parts[0].get();
    }
    const StepKind kind = inner->kind == StepKind::kGroup ? StepKind::kSequence : inner->kind;
    const uint16_t id = add(kind, step, parent);
    if (full_) {
      return id;
    }
    plan_.nodes[id].every = step.every;
    plan_.has_every = plan_.has_every || step.every;
    if (kind == StepKind::kEvent || kind == StepKind::kAbsence) {
      leaf(*inner, id);
    } else {
      std::vector<uint16_t> parts;
      std::vector<bool> strict;
      if (inner->kind == StepKind::kSequence) {
        build_sequence(*inner, id, parts, strict);
      } else {
        for (const auto& part : inner->parts) {
          parts.push_back(build(*part, id));
        }
      }
      plan_.nodes[id].parts = std::move(parts);
      plan_.nodes[id].strict = std::move(strict);
    }
    plan_.nodes[id].end = static_cast<uint16_t>(plan_.nodes.size());
    return id;
  }

  void leaf(const Step& step, uint16_t id) {
    PatternNode& node = plan_.nodes[id];
    const StreamSchema* stream = catalog_.find_stream(step.stream.text);
    if (stream == nullptr) {
      errors_.push_back({step.stream.at,
                         "unknown stream " + step.stream.text + name_hint(step.stream.text, catalog_.stream_names())});
      return;
    }
    node.stream = stream->id;
    node.counted = step.counted;
    node.count_min = step.count_min;
    node.count_max = step.count_max < 0 ? std::numeric_limits<int64_t>::max() : step.count_max;
    node.absence_ms = step.absence_ms;
    filters_[id] = step.filter.get();
    if (step.alias) {
      if (!aliases_.emplace(step.alias->text, id).second) {
        errors_.push_back({step.alias->at, "there are two steps " + step.alias->text});
      }
    } else if (step.kind == StepKind::kEvent) {
      unnamed_[step.stream.text].push_back(id);
    }
  }

  // A step without a name goes by its stream's when that is clear.
  void name_by_stream() {
    for (const auto& [name, nodes] : unnamed_) {
      if (nodes.size() == 1) {
        aliases_.emplace(name, nodes[0]);
      }
    }
  }

  const Catalog& catalog_;
  PatternPlan& plan_;
  std::vector<const ast::Expr*>& filters_;
  std::map<std::string, uint32_t>& aliases_;
  Diagnostics& errors_;
  std::map<std::string, std::vector<uint32_t>> unnamed_;
  bool full_ = false;
};

class TreeChecker {
 public:
  TreeChecker(PatternPlan& plan, bool bounded, Diagnostics& errors) : plan_(plan), bounded_(bounded), errors_(errors) {}

  void run() {
    mark_leading(0);
    for (uint16_t id = 0; id < plan_.nodes.size(); ++id) {
      const PatternNode& node = plan_.nodes[id];
      if (is_guard(id)) {
        check_guard(id);
      }
      if (!bounded_) {
        check_bound(id);
      }
      if (node.kind == StepKind::kAnd && std::ranges::all_of(node.parts, [&](uint16_t p) { return is_guard(p); })) {
        fail(id, "AND needs a side that is to come");
      }
    }
    if (plan_.skip != ast::Skip::kNone) {  // every event that can begin does so (32)
      for (PatternNode& node : plan_.nodes) {
        node.every = node.every && !node.leading;
      }
    }
  }

 private:
  bool is_guard(uint16_t id) const { return plan_.nodes[id].kind == StepKind::kAbsence && !plan_.nodes[id].absence_ms; }
  void fail(uint16_t id, std::string text) { errors_.push_back({plan_.nodes[id].at, std::move(text)}); }

  void mark_leading(uint16_t id) {
    PatternNode& node = plan_.nodes[id];
    node.leading = true;
    plan_.starts_with_absence = plan_.starts_with_absence || node.kind == StepKind::kAbsence;
    if (node.kind == StepKind::kSequence) {
      for (const uint16_t part : node.parts) {
        mark_leading(part);
        if (!(plan_.nodes[part].counted && plan_.nodes[part].count_min == 0)) {
          break;
        }
      }
    } else {
      for (const uint16_t part : node.parts) {
        mark_leading(part);
      }
    }
  }

  // Sentence 28.
  void check_guard(uint16_t id) {
    const PatternNode& parent = plan_.nodes[static_cast<size_t>(plan_.nodes[id].parent)];
    if (plan_.nodes[id].every) {
      fail(id, "EVERY NOT needs FOR");
    } else if (parent.kind == StepKind::kOr) {
      fail(id, "NOT without FOR is never over, it cannot be a side of OR; give it a FOR");
    } else if (parent.kind == StepKind::kSequence && parent.parts.front() == id) {
      fail(id, "NOT without FOR cannot come first; give it a FOR");
    } else if (parent.kind == StepKind::kSequence && parent.parts.back() == id) {
      if (parent.parent >= 0) {
        fail(id, "nothing says when a group under EVERY, AND or OR is over that ends with NOT; give the NOT a FOR");
      } else if (!plan_.within_ms || plan_.per_step) {
        fail(id, "NOT without FOR at the end needs WITHIN");
      }
    }
  }

  // Sentence 31.
  void check_bound(uint16_t id) {
    const PatternNode& node = plan_.nodes[id];
    const auto need = [&](const std::string& what) {
      fail(id, what + " needs WITHIN behind the pattern, or OPTIONS(max_runs=..)");
    };
    if (node.count_max == std::numeric_limits<int64_t>::max()) {
      need("a step without a greatest count");
    } else if (node.kind == StepKind::kAnd) {
      need("AND");
    } else if (node.kind == StepKind::kAbsence && node.every && !node.leading) {
      need("EVERY NOT that is not the first step");
    } else if (node.parent >= 0 && node.kind != StepKind::kAbsence) {
      const PatternNode& parent = plan_.nodes[static_cast<size_t>(node.parent)];
      if (parent.kind == StepKind::kSequence && parent.parts.front() != id) {
        need("waiting for another step");
      }
    }
  }

  PatternPlan& plan_;
  bool bounded_;
  Diagnostics& errors_;
};

}  // namespace

PatternPlan bind_pattern_tree(const ast::Pattern& pattern, bool bounded_by_option, const Catalog& catalog,
                              std::vector<const ast::Expr*>& filters, std::map<std::string, uint32_t>& aliases,
                              Diagnostics& errors) {
  PatternPlan plan;
  plan.within_ms = pattern.within_ms;
  plan.per_step = pattern.per_step;
  plan.skip = pattern.skip;
  const size_t errors_before = errors.size();
  TreeBuilder(catalog, plan, filters, aliases, errors).run(*pattern.root);
  if (errors.size() == errors_before) {
    TreeChecker(plan, bounded_by_option || pattern.within_ms, errors).run();
  }
  return plan;
}

void bind_pattern_keys(const std::vector<ast::Key>& keys, const Catalog& catalog, RulePlan& plan, Diagnostics& errors) {
  for (const PatternNode& node : plan.pattern->nodes) {
    const bool leaf = node.kind == StepKind::kEvent || node.kind == StepKind::kAbsence;
    if (leaf && std::ranges::find(plan.streams, node.stream, &StreamUse::stream) == plan.streams.end()) {
      plan.streams.push_back({node.stream, {}});
    }
  }
  for (const ast::Key& key : keys) {
    const std::string name = key.as ? key.as->text : key.columns[0]->name;
    Type type = Type::kNull;
    for (StreamUse& use : plan.streams) {
      const StreamSchema& stream = catalog.stream(use.stream);
      const auto names_it = [&](const ast::ExprPtr& column) {
        return column->qualifier == stream.name || (column->qualifier.empty() && key.columns.size() == 1);
      };
      const auto column = std::ranges::find_if(key.columns, names_it);
      if (column == key.columns.end()) {
        errors.push_back(
            {key.at, "the key says no column of " + stream.name + "; write " + stream.name + ".column = .."});
        return;
      }
      const int slot = stream.find((*column)->name);
      if (slot < 0) {
        errors.push_back({(*column)->at, "unknown column " + (*column)->name + " in " + stream.name});
        return;
      }
      const Type found = stream.columns[static_cast<size_t>(slot)].type;
      if (type != Type::kNull && found != type) {
        errors.push_back({key.at, "the key " + name + " is " + type_name(type) + " in one stream and " +
                                      type_name(found) + " in " + stream.name});
        return;
      }
      type = found;
      use.keys.push_back({Frame::kEvent, static_cast<uint32_t>(slot)});
    }
    if (std::ranges::find(plan.keys, name, &ColumnSchema::name) != plan.keys.end()) {
      errors.push_back({key.at, "there are two keys " + name});
    }
    plan.keys.push_back({name, type});
  }
}

// ---- names

bool PatternScope::knows(const ast::Expr& expr) const {
  return !expr.qualifier.empty() || std::ranges::find(plan_.keys, expr.name, &ColumnSchema::name) != plan_.keys.end();
}

Resolved PatternScope::column(const ast::Expr& expr, Diagnostics& errors) {
  if (expr.qualifier.empty()) {
    return bare(expr, errors);
  }
  if (expr.index == ast::Index::kNumber) {
    if (expr.index_number >= kCapturesMax) {
      errors.push_back({expr.at, "a step keeps " + std::to_string(kCapturesMax) + " elements, counted from 0"});
      return Resolved::error();
    }
    return captured(CaptureKind::kElement, expr, errors);
  }
  return captured(CaptureKind::kLast, expr, errors);
}

Resolved PatternScope::bare(const ast::Expr& expr, Diagnostics& errors) {
  if (step_ >= 0) {
    const StreamSchema& stream = catalog_.stream(plan_.pattern->nodes[static_cast<size_t>(step_)].stream);
    const int slot = stream.find(expr.name);
    if (slot >= 0) {
      const auto index = static_cast<uint32_t>(slot);
      return Resolved::at(Frame::kEvent, index, stream.columns[index].type);
    }
    std::vector<std::string> names;
    std::ranges::transform(stream.columns, std::back_inserter(names), &ColumnSchema::name);
    errors.push_back({expr.at, "unknown column " + expr.name + " in " + stream.name + name_hint(expr.name, names)});
    return Resolved::error();
  }
  const auto key = std::ranges::find(plan_.keys, expr.name, &ColumnSchema::name);
  if (key != plan_.keys.end()) {
    return Resolved::at(Frame::kRun, static_cast<uint32_t>(key - plan_.keys.begin()), key->type);
  }
  errors.push_back({expr.at, expr.name + " is not a key of PARTITION BY; say of which step it is, as a." + expr.name});
  return Resolved::error();
}

std::optional<uint32_t> PatternScope::step(const std::string& alias, Position at, Diagnostics& errors) {
  const auto found = aliases_.find(alias);
  if (found == aliases_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, node] : aliases_) {
      names.push_back(name);
    }
    errors.push_back({at, "unknown step " + alias + name_hint(alias, names)});
    return std::nullopt;
  }
  if (static_cast<int>(found->second) == step_ && !plan_.pattern->nodes[found->second].counted) {
    errors.push_back(
        {at, "the step " + alias + " takes one event, and in its filter that has no name: leave " + alias + ". out"});
    return std::nullopt;
  }
  return found->second;
}

Resolved PatternScope::captured(CaptureKind kind, const ast::Expr& expr, Diagnostics& errors) {
  const auto node = step(expr.qualifier, expr.at, errors);
  if (!node) {
    return Resolved::error();
  }
  const StreamSchema& stream = catalog_.stream(plan_.pattern->nodes[*node].stream);
  const int column = stream.find(expr.name);
  if (column < 0) {
    std::vector<std::string> names;
    std::ranges::transform(stream.columns, std::back_inserter(names), &ColumnSchema::name);
    errors.push_back({expr.at, "unknown column " + expr.name + " in " + stream.name + name_hint(expr.name, names)});
    return Resolved::error();
  }
  const Type type = stream.columns[static_cast<size_t>(column)].type;
  const bool number = type == Type::kInt || type == Type::kDouble;
  if ((kind == CaptureKind::kSum || kind == CaptureKind::kAverage) && !number) {
    errors.push_back({expr.at, "a number is needed, " + expr.text + " is " + type_name(type)});
    return Resolved::error();
  }
  return slot(kind, *node, static_cast<uint32_t>(column),
              kind == CaptureKind::kElement ? static_cast<uint32_t>(expr.index_number) : 0,
              kind == CaptureKind::kAverage ? Type::kDouble : type);
}

Resolved PatternScope::call(const ast::Expr& expr, Diagnostics& errors) {
  static const std::map<std::string, CaptureKind> kFunctions = {
      {"COUNT", CaptureKind::kCount}, {"FIRST", CaptureKind::kFirst}, {"LAST", CaptureKind::kLast},
      {"SUM", CaptureKind::kSum},     {"AVG", CaptureKind::kAverage}, {"MIN", CaptureKind::kMin},
      {"MAX", CaptureKind::kMax}};
  const auto found = kFunctions.find(upper_case(expr.name));
  if (found == kFunctions.end()) {
    if (is_aggregate(expr.name)) {
      errors.push_back(
          {expr.at, expr.name + " has no meaning over PATTERN; there are count, first, last, sum, avg, min, max"});
      return Resolved::error();
    }
    return Resolved::unknown();
  }
  const bool count = found->second == CaptureKind::kCount;
  const bool one = expr.args.size() == 1 && expr.args[0]->kind == ast::ExprKind::kColumn &&
                   expr.args[0]->index == ast::Index::kNone && expr.args[0]->qualifier.empty() == count;
  if (!one) {
    errors.push_back({expr.at, expr.name + (count ? " takes a step, as count(a)"
                                                  : " takes a field of a step, as " + expr.name + "(a.v)")});
    return Resolved::error();
  }
  if (!count) {
    return captured(found->second, *expr.args[0], errors);
  }
  const auto node = step(expr.args[0]->name, expr.args[0]->at, errors);
  return node ? slot(CaptureKind::kCount, *node, 0, 0, Type::kInt) : Resolved::error();
}

Resolved PatternScope::slot(CaptureKind kind, uint32_t node, uint32_t column, uint32_t element, Type type) {
  std::vector<CaptureSlot>& slots = plan_.pattern->slots;
  const auto same = [&](const CaptureSlot& s) {
    return s.kind == kind && s.node == node && s.column == column && s.element == element;
  };
  const auto found = std::ranges::find_if(slots, same);
  const auto index = static_cast<uint32_t>(found - slots.begin());
  if (found == slots.end()) {
    slots.push_back({kind, node, column, element, type});
    plan_.pattern->nodes[node].slots.push_back(index);
    if (kind == CaptureKind::kAverage) {
      slots.push_back({CaptureKind::kHelper, node, column, 0, Type::kDouble});
      slots.push_back({CaptureKind::kHelper, node, column, 0, Type::kInt});
    }
  }
  return Resolved::at(Frame::kRun, static_cast<uint32_t>(plan_.keys.size()) + index, type);
}

}  // namespace lambda::cep
