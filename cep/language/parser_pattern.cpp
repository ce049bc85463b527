// PATTERN '(' .. ')' [WITHIN ..] [SKIP ..]: sequence of steps; AND binds tighter than OR, both tighter than -> and ','.
#include "cep/language/parser.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using ast::Step;
using ast::StepKind;
using ast::StepPtr;

class PatternParser {
 public:
  explicit PatternParser(ParserState& in) : in_(in) {}

  StepPtr sequence() {
    if (in_.depth >= kNestingMax) {
      in_.fail(in_.token().at, "nested more than " + std::to_string(kNestingMax) + " deep");
      return node(StepKind::kEvent);
    }
    ++in_.depth;
    StepPtr first = either();
    if (!in_.failed() && (in_.is_symbol("->") || in_.is_symbol(","))) {
      StepPtr all = std::make_unique<Step>();
      all->kind = StepKind::kSequence;
      all->at = first->at;
      all->parts.push_back(std::move(first));
      while (!in_.failed() && (in_.is_symbol("->") || in_.is_symbol(","))) {
        all->strict.push_back(in_.is_symbol(","));
        in_.advance();
        all->parts.push_back(either());
      }
      first = std::move(all);
    }
    --in_.depth;
    return first;
  }

 private:
  StepPtr node(StepKind kind) {
    auto step = std::make_unique<Step>();
    step->kind = kind;
    step->at = in_.token().at;
    return step;
  }

  StepPtr either() {
    return joined("OR", StepKind::kOr, [this] { return joined("AND", StepKind::kAnd, [this] { return unit(); }); });
  }

  template <class Next>
  StepPtr joined(std::string_view word, StepKind kind, const Next& next) {
    StepPtr first = next();
    if (in_.failed() || !in_.is_word(word)) {
      return first;
    }
    auto all = std::make_unique<Step>();
    all->kind = kind;
    all->at = first->at;
    all->parts.push_back(std::move(first));
    while (in_.take_word(word)) {
      all->parts.push_back(next());
    }
    return all;
  }

  StepPtr unit() {
    const Position at = in_.token().at;
    const bool every = in_.take_word("EVERY");
    StepPtr step = primary();
    step->every = every;
    if (every) {
      step->at = at;
    }
    return step;
  }

  StepPtr primary() {
    if (in_.is_word("NOT")) {
      return absence();
    }
    if (in_.is_symbol("(")) {
      StepPtr group = node(StepKind::kGroup);
      in_.advance();
      group->parts.push_back(sequence());
      in_.need_symbol(")", ", \"->\" or \",\" in the pattern");
      return group;
    }
    StepPtr step = node(StepKind::kEvent);
    if (!in_.is_name() && !in_.failed()) {
      in_.fail_expected("a step of the pattern: a stream, EVERY, NOT or \"(\"");
      return step;
    }
    if (in_.is_symbol("=", 1)) {
      step->alias = in_.need_name("the step's name");
      in_.need_symbol("=");
    }
    stream_and_filter(*step);
    count(*step);
    return step;
  }

  StepPtr absence() {
    StepPtr step = node(StepKind::kAbsence);
    in_.advance();
    if (in_.is_name() && in_.is_symbol("=", 1)) {
      in_.fail(in_.token().at, "what does not come has no name; write NOT stream");
    }
    stream_and_filter(*step);
    if (in_.take_word("FOR")) {
      step->absence_ms = in_.need_duration("the time of absence");
    }
    return step;
  }

  void stream_and_filter(Step& step) {
    step.stream = in_.need_name("a stream");
    if (in_.take_symbol("[")) {
      step.filter = in_.expression();
      in_.need_symbol("]", " after the step's filter");
    }
  }

  void count(Step& step) {
    constexpr int64_t kNoMaximum = -1;
    if (in_.take_symbol("+")) {
      set_count(step, 1, kNoMaximum);
    } else if (in_.take_symbol("*")) {
      set_count(step, 0, kNoMaximum);
    } else if (in_.take_symbol("?")) {
      set_count(step, 0, 1);
    } else if (in_.is_symbol("{")) {
      const Position at = in_.token().at;
      in_.advance();
      const int64_t low = in_.need_count("the least number of events", 0);
      int64_t high = low;
      if (in_.take_symbol(",")) {
        high = in_.is_symbol("}") ? kNoMaximum : in_.need_count("the greatest number of events", 0);
      }
      in_.need_symbol("}");
      if (!in_.failed() && high != kNoMaximum && (high < low || high == 0)) {
        in_.fail(at, "the greatest number of events must be at least 1 and not below the least");
      }
      set_count(step, low, high);
    }
  }

  void set_count(Step& step, int64_t low, int64_t high) {
    step.counted = true;
    step.count_min = low;
    step.count_max = high;
  }

  ParserState& in_;
};

}  // namespace

ast::Pattern parse_pattern(ParserState& in) {
  ast::Pattern pattern;
  in.need_symbol("(", " after PATTERN");
  pattern.root = PatternParser(in).sequence();
  in.need_symbol(")", ", \"->\" or \",\" in the pattern");
  if (in.take_word("WITHIN")) {
    pattern.within_ms = in.need_duration("the time of WITHIN");
    if (in.take_word("PER")) {
      in.need_word("STEP");
      pattern.per_step = true;
    }
  }
  if (in.take_word("NO")) {
    in.need_word("SKIP");
    pattern.skip = ast::Skip::kNoSkip;
  } else if (in.take_word("SKIP")) {
    if (in.take_word("NEXT")) {
      pattern.skip = ast::Skip::kNext;
    } else if (in.take_word("PAST")) {
      in.need_word("LAST");
      pattern.skip = ast::Skip::kPastLast;
    } else if (!in.failed()) {
      in.fail_expected("NEXT or PAST LAST after SKIP");
    }
  }
  return pattern;
}

}  // namespace lambda::cep
