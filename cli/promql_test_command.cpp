#include "cli/promql_test_command.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>

#include "cli/promql_script.h"
#include "query/evaluator.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/memory_source.h"
#include "query/number.h"
#include "query/parser.h"
#include "query/support.h"

namespace lambda::cli {
namespace {

constexpr uint64_t kFileBytesMax = 16u << 20;
constexpr double kRelativeErrorMax = 1e-6;  // as promqltest
constexpr int64_t kMinuteMs = 60'000;

bool nearly_equal(double a, double b) {
  if (query::is_stale(a) || query::is_stale(b)) {
    return query::is_stale(a) && query::is_stale(b);
  }
  if (a == b || (std::isnan(a) && std::isnan(b))) {
    return true;
  }
  const double size = std::fabs(a) + std::fabs(b);
  return std::fabs(a - b) < kRelativeErrorMax * std::min(size, std::numeric_limits<double>::max());
}

std::string numbers_text(const std::vector<query::Sample>& samples) {
  std::string out;
  for (const query::Sample& sample : samples) {
    out += (out.empty() ? "" : " ") + query::format_number(sample.value) + "@" + std::to_string(sample.time_ms);
  }
  return out;
}

bool meets(const TextExpectation& expected, const std::string& text) {
  if (expected.equal) {
    return *expected.equal == text;
  }
  if (!expected.pattern) {
    return true;
  }
  const auto pattern = query::Rewriting::compile(".*(?:" + *expected.pattern + ").*", "");
  return pattern && pattern->apply(text, SIZE_MAX).has_value();
}

// Empty when each expectation has a text and each text an expectation.
std::string check_texts(const std::vector<TextExpectation>& expected, const std::vector<std::string>& texts,
                        const std::string& kind) {
  if (expected.empty()) {
    return {};
  }
  if (texts.empty()) {
    return "no " + kind + " came, though one is expected";
  }
  for (const TextExpectation& one : expected) {
    if (std::ranges::none_of(texts, [&](const std::string& text) { return meets(one, text); })) {
      return "no " + kind + " meets " + query::quoted(one.equal ? *one.equal : one.pattern.value_or("")) +
             "; the first is " + query::quoted(texts.front());
    }
  }
  for (const std::string& text : texts) {
    if (std::ranges::none_of(expected, [&](const TextExpectation& one) { return meets(one, text); })) {
      return "unexpected " + kind + " " + query::quoted(text);
    }
  }
  return {};
}

// The samples that `expected` stands for, from `start_ms` on.
std::vector<query::Sample> samples_of(const ScriptSeries& expected, int64_t start_ms, int64_t step_ms) {
  std::vector<query::Sample> out;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    if (expected.values[i]) {
      out.push_back({start_ms + static_cast<int64_t>(i) * step_ms, *expected.values[i]});
    }
  }
  return out;
}

std::string check_series(const std::vector<query::Sample>& expected, const query::ResultSeries& got) {
  const bool same = expected.size() == got.samples.size() &&
                    std::ranges::equal(expected, got.samples, [](const query::Sample& a, const query::Sample& b) {
                      return a.time_ms == b.time_ms && nearly_equal(a.value, b.value);
                    });
  return same ? ""
              : query::to_string(got.labels) + ": expected " + numbers_text(expected) + ", got " +
                    numbers_text(got.samples);
}

// `samples` gives what an expected series stands for.
template <class Samples>
std::string check_all(const EvalCommand& eval, const std::vector<query::ResultSeries>& series, bool ordered,
                      Samples samples) {
  for (size_t i = 0; i < series.size(); ++i) {
    const auto expected = std::ranges::find(eval.series, series[i].labels, &ScriptSeries::labels);
    if (expected == eval.series.end()) {
      return "unexpected " + query::to_string(series[i].labels) + " " + numbers_text(series[i].samples);
    }
    if (ordered && expected - eval.series.begin() != static_cast<std::ptrdiff_t>(i)) {
      return query::to_string(series[i].labels) + " stands at place " + std::to_string(i + 1);
    }
    if (std::string wrong = check_series(samples(*expected), series[i]); !wrong.empty()) {
      return wrong;
    }
  }
  for (const ScriptSeries& expected : eval.series) {
    if (std::ranges::find(series, expected.labels, &query::ResultSeries::labels) == series.end() &&
        !samples(expected).empty()) {
      return query::to_string(expected.labels) + " is missing";
    }
  }
  return {};
}

// Empty when the answer is the expected one. `ordered`: the order counts.
std::string check_answer(const EvalCommand& eval, const query::QueryResult& result, bool ordered) {
  switch (result.type) {
    case query::ExpressionType::kString:
      return eval.string == result.string ? "" : "got the string " + query::quoted(result.string);
    case query::ExpressionType::kScalar:
      if (!eval.scalar) {
        return "got the scalar " + query::format_number(result.scalar.value);
      }
      return nearly_equal(*eval.scalar, result.scalar.value) ? ""
                                                             : "expected " + query::format_number(*eval.scalar) +
                                                                   ", got " + query::format_number(result.scalar.value);
    case query::ExpressionType::kVector:
    case query::ExpressionType::kMatrix:
      break;
  }
  if (eval.scalar) {
    return "a scalar is expected, not " + std::string(query::type_name(result.type));
  }
  const EvalCommand::Moments moments =
      eval.moments.value_or(EvalCommand::Moments{eval.start_ms, eval.end_ms, eval.step_ms});
  return check_all(eval, result.series, ordered, [&](const ScriptSeries& expected) {
    return samples_of(expected, moments.start_ms, moments.step_ms);
  });
}

enum class Outcome { kPassed, kUnsupported, kFailed };

// One script, from its first command on.
class Script {
 public:
  // Empty text: passed.
  std::pair<Outcome, std::string> run(const EvalCommand& eval) {
    if (std::ranges::any_of(eval.series, &ScriptSeries::foreign)) {
      return {Outcome::kUnsupported, ""};
    }
    auto expression = query::parse_expression(eval.expression);
    if (!expression && expression.error().code == ErrorCode::kUnsupported) {
      return {Outcome::kUnsupported, ""};
    }
    if (expression && touches_foreign(**expression)) {
      return {Outcome::kUnsupported, ""};
    }
    const query::QueryTimes times{eval.start_ms, eval.end_ms, eval.step_ms, eval.range};
    const auto result = ask(std::move(expression), times);
    if (!result && result.error().code == ErrorCode::kUnsupported) {
      return {Outcome::kUnsupported, ""};
    }
    std::string wrong = check(eval, result);
    if (wrong.empty() && result && !eval.range) {
      wrong = check_as_range(eval, *result);
    }
    return {wrong.empty() ? Outcome::kPassed : Outcome::kFailed, std::move(wrong)};
  }

  void load(const LoadCommand& load) {
    for (const ScriptSeries& series : load.series) {
      const auto samples = samples_of(series, 0, load.step_ms);
      if (series.foreign) {
        foreign_.push_back(series.labels);
      }
      if (!samples.empty()) {
        source_->add(series.labels, samples);
      }
      if (load.makes_native) {
        add_native(series.labels);
      }
    }
  }

  void clear() {
    source_ = std::make_unique<query::MemorySource>();
    foreign_.clear();
  }

 private:
  Result<query::QueryResult> ask(Result<query::ExpressionPtr> expression, const query::QueryTimes& times) {
    if (!expression) {
      return tl::unexpected(expression.error());
    }
    auto evaluation =
        query::Evaluation::prepare(std::move(*expression), times, {}, *source_, query::NameRemoval::kAtTheEnd);
    if (!evaluation) {
      return tl::unexpected(evaluation.error());
    }
    return evaluation->run({});
  }

  static std::string check(const EvalCommand& eval, const Result<query::QueryResult>& result) {
    if (!result) {
      if (!eval.fails) {
        return result.error().text;
      }
      return meets(*eval.fails, result.error().text) ? "" : "it failed with another text: " + result.error().text;
    }
    if (eval.fails) {
      return "it should fail";
    }
    if (std::string wrong = check_texts(eval.warnings, result->warnings, "warning"); !wrong.empty()) {
      return wrong;
    }
    if (std::string wrong = check_texts(eval.infos, result->infos, "info"); !wrong.empty()) {
      return wrong;
    }
    if (eval.no_warnings && !result->warnings.empty()) {
      return "unexpected warning " + query::quoted(result->warnings.front());
    }
    if (eval.no_infos && !result->infos.empty()) {
      return "unexpected info " + query::quoted(result->infos.front());
    }
    return check_answer(eval, *result, eval.ordered);
  }

  // The same question for three moments must answer the same at the middle one. Only of vectors and numbers, and not
  // where the question asks for the times of the query.
  std::string check_as_range(const EvalCommand& eval, const query::QueryResult& instant) {
    const auto asks_times = [&](std::string_view what) { return eval.expression.find(what) != std::string::npos; };
    if (instant.type == query::ExpressionType::kString || instant.type == query::ExpressionType::kMatrix ||
        asks_times("start()") || asks_times("end()") || asks_times("range()") || asks_times("step()")) {
      return {};
    }
    const query::QueryTimes times{eval.start_ms - kMinuteMs, eval.start_ms + kMinuteMs, kMinuteMs, true};
    auto ranged = ask(query::parse_expression(eval.expression), times);
    if (!ranged) {
      return "as a range query: " + ranged.error().text;
    }
    query::QueryResult middle;
    middle.type = instant.type;
    for (query::ResultSeries& series : ranged->series) {
      std::erase_if(series.samples, [&](const query::Sample& sample) { return sample.time_ms != eval.start_ms; });
      if (!series.samples.empty()) {
        middle.scalar = series.samples.front();
        middle.series.push_back(std::move(series));
      }
    }
    const std::string wrong = check_answer(eval, middle, false);
    return wrong.empty() ? "" : "as a range query: " + wrong;
  }

  // Native histograms stand under the name without the ending, without bounds.
  void add_native(query::Labels labels) {
    const std::string name(query::label_value(labels, query::kMetricName));
    for (const std::string_view ending : {"_bucket", "_count", "_sum"}) {
      if (name.ends_with(ending)) {
        query::set_label(labels, query::kMetricName, name.substr(0, name.size() - ending.size()));
        query::set_label(labels, "le", "");
        foreign_.push_back(std::move(labels));
        return;
      }
    }
  }

  bool touches_foreign(const query::Expression& expression) const {
    const std::vector<query::Matcher>* matchers = nullptr;
    if (const auto* vector = std::get_if<query::VectorSelector>(&expression.node)) matchers = &vector->matchers;
    if (const auto* matrix = std::get_if<query::MatrixSelector>(&expression.node)) matchers = &matrix->matchers;
    if (matchers != nullptr) {
      return std::ranges::any_of(foreign_, [&](const auto& labels) { return query::matches(labels, *matchers); });
    }
    return std::ranges::any_of(query::children(expression),
                               [this](const query::Expression* child) { return touches_foreign(*child); });
  }

  std::unique_ptr<query::MemorySource> source_ = std::make_unique<query::MemorySource>();
  std::vector<query::Labels> foreign_;  // series that hold what this program does not
};

struct Tally {
  uint64_t evals = 0, passed = 0, unsupported = 0, failed = 0;
};

void run_script(std::ostream& out, const std::string& file, std::string_view text, Tally& tally) {
  Script script;
  const auto complain = [&](size_t line, const std::string& what) {
    ++tally.failed;
    out << file << ':' << line << ": " << what << '\n';
  };
  for (const ScriptCommand& command : parse_script(text)) {
    const auto* eval = std::get_if<EvalCommand>(&command.what);
    if (!command.problem.empty()) {
      ++tally.evals;
      complain(command.line, command.problem);
    } else if (eval != nullptr) {
      ++tally.evals;
      const auto [outcome, wrong] = script.run(*eval);
      tally.passed += outcome == Outcome::kPassed ? 1 : 0;
      tally.unsupported += outcome == Outcome::kUnsupported ? 1 : 0;
      if (outcome == Outcome::kFailed) {
        complain(command.line, eval->expression + ": " + wrong);
      }
    } else if (const auto* load = std::get_if<LoadCommand>(&command.what)) {
      script.load(*load);
    } else {
      script.clear();
    }
  }
}

}  // namespace

int promql_test(Output& output, const PromqlTestOptions& options, Disk& disk) {
  Tally tally;
  for (const std::string& file : options.files) {
    const auto text = disk.read_all(file, kFileBytesMax);
    if (!text) {
      return report(output, text.error());
    }
    run_script(output.out, file, *text, tally);
  }
  output.out << "{\"evals\":" << tally.evals << ",\"passed\":" << tally.passed
             << ",\"unsupported\":" << tally.unsupported << ",\"failed\":" << tally.failed << "}\n";
  return tally.failed == 0 ? kExitDone : kExitFailed;
}

}  // namespace lambda::cli
