// Any text as an expression: refused with a position, or a tree that prints to a text of the same tree. What can be
// evaluated is, over a few series, and ends in an answer or an error.
#include <cstdlib>
#include <string>
#include <string_view>

#include "query/evaluator.h"
#include "query/http_answer.h"
#include "query/memory_source.h"
#include "query/parser.h"

namespace {

using namespace lambda::query;

void expect(bool condition) {
  if (!condition) std::abort();
}

MemorySource& source() {
  static MemorySource* made = [] {
    auto* fresh = new MemorySource;
    for (int series = 0; series < 6; ++series) {
      std::vector<Sample> samples;
      for (int i = 0; i < 20; ++i) {
        samples.push_back({i * 30'000, i % 7 == 6 ? -1.5 : i * 0.5 + series});
      }
      fresh->add({{"__name__", series % 2 == 0 ? "up" : "x"}, {"a", std::to_string(series / 2)}, {"job", "j"}},
                 samples);
    }
    return fresh;
  }();
  return *made;
}

void evaluate(std::string_view text, const QueryTimes& times) {
  auto expression = parse_expression(text);
  expect(expression.has_value());
  auto evaluation =
      Evaluation::prepare(std::move(*expression), times, {.series_max = 100, .samples_max = 100'000}, source());
  if (!evaluation) {
    expect(!evaluation.error().text.empty());
    return;
  }
  const auto result = evaluation->run({});
  if (result) {
    expect(result_body(*result, 1u << 24).has_value());
  } else {
    expect(!result.error().text.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto expression = parse_expression(text);
  if (!expression) {
    expect(expression.error().code == lambda::ErrorCode::kInvalid ||
           expression.error().code == lambda::ErrorCode::kUnsupported);
    expect(!expression.error().text.empty());
    return 0;
  }
  const std::string printed = to_string(**expression);
  if (printed.size() <= kExpressionBytesMax) {  // escapes may make it longer than what was read
    const auto again = parse_expression(printed);
    expect(again.has_value());
    expect(to_string(**again) == printed);
  }
  evaluate(text, {300'000, 300'000, 1, false});
  if ((*expression)->type == ExpressionType::kScalar || (*expression)->type == ExpressionType::kVector) {
    evaluate(text, {0, 600'000, 60'000, true});
  }
  return 0;
}
