#include "cli/promql_script.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "query/duration.h"
#include "query/labels.h"
#include "query/lexer.h"
#include "query/number.h"
#include "query/parser.h"

namespace lambda::cli {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The first word; takes it and the blanks behind it off.
std::string_view take_word(std::string_view& text) {
  const size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  text = trimmed(text.substr(end));
  return word;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix) || (text.size() > prefix.size() && !is_space(text[prefix.size()]))) {
    return false;
  }
  text = trimmed(text.substr(prefix.size()));
  return true;
}

Result<int64_t> parse_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) {
    text.remove_prefix(1);
  }
  if (text == "0") {
    return 0;
  }
  auto duration_ms = query::parse_duration_ms(text);
  if (duration_ms && negative) {
    *duration_ms = -*duration_ms;
  }
  return duration_ms;
}

// --- series and values ---

// Where the name and labels of a line end.
Result<size_t> end_of_metric(std::string_view line) {
  size_t at = std::min(line.find_first_of(" \t{"), line.size());
  const size_t brace = line.find_first_not_of(" \t", at);
  if (brace == std::string_view::npos || line[brace] != '{' || line.substr(brace).starts_with("{{")) {
    return at;
  }
  char quote = 0;
  for (at = brace + 1; at < line.size(); ++at) {
    if (quote != 0) {
      at += line[at] == '\\' && quote != '`' ? 1 : 0;
      quote = at < line.size() && line[at] == quote ? 0 : quote;
    } else if (line[at] == '"' || line[at] == '\'' || line[at] == '`') {
      quote = line[at];
    } else if (line[at] == '}') {
      return at + 1;
    }
  }
  return fail(ErrorCode::kInvalid, "the labels do not end");
}

Result<query::Labels> parse_metric(std::string_view text) {
  const size_t brace = std::min(text.find('{'), text.size());
  if (trimmed(text.substr(0, brace)).empty() && trimmed(text.substr(brace)).find_first_not_of("{} \t") == text.npos) {
    return query::Labels{};
  }
  const auto matchers = query::parse_selector(text);
  if (!matchers) {
    return tl::unexpected(matchers.error());
  }
  std::vector<std::pair<std::string, std::string>> labels;
  for (const query::Matcher& matcher : *matchers) {
    if (matcher.op != query::MatchOp::kEqual) {
      return fail(ErrorCode::kInvalid, "a series is written with = alone");
    }
    labels.emplace_back(matcher.label, matcher.value);
  }
  return query::sorted_labels(std::move(labels));
}

// A number at the front: up to the sign of an increment, an `x` or the end.
size_t end_of_number(std::string_view item, size_t at) {
  if (at < item.size() && (item[at] == '+' || item[at] == '-')) {
    ++at;
  }
  while (at < item.size() && item[at] != 'x') {
    const bool sign = item[at] == '+' || item[at] == '-';
    if (sign && (item[at - 1] | 0x20) != 'e') {
      break;
    }
    ++at;
  }
  return at;
}

class Values {
 public:
  explicit Values(ScriptSeries& series) : series_(series) {}

  Status read(std::string_view text) {
    while (!(text = trimmed(text)).empty()) {
      const size_t end = end_of_item(text);
      if (auto added = add(text.substr(0, end)); !added) {
        return added;
      }
      if (series_.values.size() > kScriptValuesMax) {
        return fail(ErrorCode::kInvalid, "a line stands for more than " + std::to_string(kScriptValuesMax) + " values");
      }
      text.remove_prefix(end);
    }
    return {};
  }

 private:
  // A blank ends an item, but not within {{ }}.
  static size_t end_of_item(std::string_view text) {
    int depth = 0;
    size_t at = 0;
    for (; at < text.size() && (depth > 0 || !is_space(text[at])); ++at) {
      depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
    }
    return at;
  }

  Status add(std::string_view item) {
    const auto bad = [&] { return fail(ErrorCode::kInvalid, query::quoted(item) + " is not a value"); };
    if (item.starts_with("{{")) {
      series_.foreign = true;
      series_.values.emplace_back();
      return {};
    }
    if (item == "stale") {
      series_.values.emplace_back(std::bit_cast<double>(query::kStalenessBits));
      return {};
    }
    if (item.starts_with('_')) {
      const auto count = item.size() == 1 ? std::optional<size_t>(1) : times(item.substr(1));
      if (!count) {
        return bad();
      }
      series_.values.resize(series_.values.size() + *count);
      return {};
    }
    const size_t end = end_of_number(item, 0);
    const auto first = query::parse_number(item.substr(0, end));
    if (!first) {
      return bad();
    }
    double increment = 0;
    size_t increment_end = end;
    if (end < item.size() && item[end] != 'x') {
      increment_end = end_of_number(item, end);
      const auto parsed = query::parse_number(item.substr(end, increment_end - end));
      if (!parsed) {
        return bad();
      }
      increment = *parsed;
    }
    const auto count = increment_end == item.size() && end == increment_end ? std::optional<size_t>(0)
                                                                            : times(item.substr(increment_end));
    if (!count) {
      return bad();
    }
    double value = *first;
    series_.values.emplace_back(value);
    for (size_t i = 0; i < *count; ++i) {
      series_.values.emplace_back(value += increment);
    }
    return {};
  }

  // The N of "xN".
  static std::optional<size_t> times(std::string_view text) {
    if (text.size() < 2 || text[0] != 'x' || text.find_first_not_of("0123456789", 1) != std::string_view::npos) {
      return std::nullopt;
    }
    const auto count = query::parse_number(text.substr(1));
    return count && *count <= static_cast<double>(kScriptValuesMax) ? std::optional(static_cast<size_t>(*count))
                                                                    : std::nullopt;
  }

  ScriptSeries& series_;
};

Result<ScriptSeries> parse_series(std::string_view line) {
  const auto end = end_of_metric(line);
  if (!end) {
    return tl::unexpected(end.error());
  }
  ScriptSeries series;
  std::string_view metric = line.substr(0, *end);
  std::string_view values = line.substr(*end);
  if (values.starts_with("@st") || metric.ends_with("@st")) {  // the times at which counters began
    series.foreign = true;
    metric = metric.substr(0, metric.ends_with("@st") ? metric.size() - 3 : metric.size());
    values = {};
  }
  auto labels = parse_metric(metric);
  if (!labels) {
    return tl::unexpected(labels.error());
  }
  series.labels = std::move(*labels);
  if (auto read = Values(series).read(values); !read) {
    return tl::unexpected(read.error());
  }
  return series;
}

// --- commands ---

// The lines that belong to a command: to the next empty one. Comments are empty lines.
class Lines {
 public:
  explicit Lines(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view line = trimmed(text.substr(0, end));
      lines_.push_back(line.starts_with('#') ? std::string_view() : line);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }
  bool at_end() const { return at_ == lines_.size(); }
  std::string_view peek() const { return at_end() ? std::string_view() : lines_[at_]; }
  std::string_view take() { return lines_[at_++]; }
  size_t number() const { return at_ + 1; }  // of the line that peek() shows

 private:
  std::vector<std::string_view> lines_;
  size_t at_ = 0;
};

std::string at_line(size_t line, const std::string& what) {
  return "line " + std::to_string(line) + ": " + what;
}

std::string read_load(std::string_view head, Lines& lines, LoadCommand& load) {
  load.makes_native = take_word(head) == "load_with_nhcb";
  std::string problem;
  const auto step_ms = query::parse_duration_ms(head);
  if (!step_ms || *step_ms <= 0) {
    problem = "load takes the time between two values: load 30s";
  } else {
    load.step_ms = *step_ms;
  }
  while (!lines.peek().empty()) {
    const size_t number = lines.number();
    auto series = parse_series(lines.take());
    if (series) {
      load.series.push_back(std::move(*series));
    } else if (problem.empty()) {
      problem = at_line(number, series.error().text);
    }
  }
  return problem;
}

// "from A to B step S": the times, and what is left of the text.
Result<EvalCommand::Moments> take_moments(std::string_view& text) {
  EvalCommand::Moments moments{};
  for (const auto& [word, into] :
       {std::pair{"from", &moments.start_ms}, std::pair{"to", &moments.end_ms}, std::pair{"step", &moments.step_ms}}) {
    if (!take_prefix(text, word)) {
      return fail(ErrorCode::kInvalid, "\"from A to B step S\" is expected");
    }
    const auto time_ms = parse_time(take_word(text));
    if (!time_ms) {
      return tl::unexpected(time_ms.error());
    }
    *into = *time_ms;
  }
  if (moments.end_ms < moments.start_ms || moments.step_ms <= 0) {
    return fail(ErrorCode::kInvalid, "the end is before the start, or the step is not above 0");
  }
  return moments;
}

std::string read_expect(std::string_view text, EvalCommand& eval) {
  const std::string_view type = take_word(text);
  TextExpectation expected;
  if (text.starts_with("msg:")) {
    expected.equal = trimmed(text.substr(4));
  } else if (text.starts_with("regex:")) {
    expected.pattern = trimmed(text.substr(6));
  } else if (!text.empty()) {
    return "msg: or regex: is expected behind \"expect " + std::string(type) + "\"";
  }
  if (type == "fail") {
    eval.fails = expected;
  } else if (type == "warn") {
    eval.warnings.push_back(expected);
  } else if (type == "info") {
    eval.infos.push_back(expected);
  } else if (type == "no_warn") {
    eval.no_warnings = true;
  } else if (type == "no_info") {
    eval.no_infos = true;
  } else if (type == "ordered") {
    eval.ordered = true;
  } else {
    return "there is no \"expect " + std::string(type) + "\"";
  }
  return {};
}

std::string read_answer_line(std::string_view line, EvalCommand& eval) {
  std::string_view rest = line;
  if (take_prefix(rest, "expected_fail_message")) {
    eval.fails = TextExpectation{std::string(rest), {}};
    return {};
  }
  if (take_prefix(rest, "expected_fail_regexp")) {
    eval.fails = TextExpectation{{}, std::string(rest)};
    return {};
  }
  if (take_prefix(rest, "expect range vector")) {
    const auto moments = take_moments(rest);
    if (!moments) {
      return moments.error().text;
    }
    eval.moments = *moments;
    eval.start_ms = eval.end_ms = moments->end_ms;
    return {};
  }
  if (take_prefix(rest, "expect string")) {
    auto value =
        rest.empty() ? tl::unexpected(query::UnquoteError{0, "a quoted text is expected"}) : query::unquote(rest);
    if (!value) {
      return value.error().what;
    }
    eval.string = std::move(*value);
    return {};
  }
  if (take_prefix(rest, "expect")) {
    return read_expect(rest, eval);
  }
  if (const auto number = query::parse_number(line)) {
    eval.scalar = *number;
    return {};
  }
  auto series = parse_series(line);
  if (!series) {
    return series.error().text;
  }
  if (!eval.range && !eval.moments && series->values.size() > 1) {
    return "one value is expected of an instant query";
  }
  eval.series.push_back(std::move(*series));
  return {};
}

std::string read_eval(std::string_view head, Lines& lines, EvalCommand& eval) {
  const std::string_view command = take_word(head);
  std::string problem;
  if (command == "eval_fail") {
    eval.fails = TextExpectation{};
  } else if (command == "eval_warn") {
    eval.warnings.emplace_back();
  } else if (command == "eval_info") {
    eval.infos.emplace_back();
  } else if (command == "eval_ordered") {
    eval.ordered = true;
  } else if (command != "eval") {
    problem = "there is no command " + query::quoted(command);
  }
  const std::string_view kind = take_word(head);
  if (kind == "instant") {
    if (take_prefix(head, "at")) {
      const auto time_ms = parse_time(take_word(head));
      if (time_ms) {
        eval.start_ms = eval.end_ms = *time_ms;
      } else {
        problem = time_ms.error().text;
      }
    }
  } else if (kind == "range") {
    eval.range = true;
    if (const auto moments = take_moments(head)) {
      eval.start_ms = moments->start_ms;
      eval.end_ms = moments->end_ms;
      eval.step_ms = moments->step_ms;
    } else {
      problem = moments.error().text;
    }
  } else {
    problem = "eval is instant or range";
  }
  eval.expression = head;
  while (!lines.peek().empty()) {
    const size_t number = lines.number();
    if (std::string wrong = read_answer_line(lines.take(), eval); !wrong.empty() && problem.empty()) {
      problem = at_line(number, wrong);
    }
  }
  return problem;
}

}  // namespace

std::vector<ScriptCommand> parse_script(std::string_view text) {
  std::vector<ScriptCommand> out;
  Lines lines(text);
  while (!lines.at_end()) {
    ScriptCommand command;
    command.line = lines.number();
    const std::string_view head = lines.take();
    if (head.empty()) {
      continue;
    }
    if (head == "clear") {
      command.what = ClearCommand{};
    } else if (head.starts_with("load")) {
      command.what = LoadCommand{};
      command.problem = read_load(head, lines, std::get<LoadCommand>(command.what));
    } else if (head.starts_with("eval")) {
      command.what = EvalCommand{};
      command.problem = read_eval(head, lines, std::get<EvalCommand>(command.what));
    } else {
      command.problem = query::quoted(head) + " is no command: clear, load or eval";
    }
    out.push_back(std::move(command));
  }
  return out;
}

}  // namespace lambda::cli
