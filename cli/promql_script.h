// Scripts in the form of Prometheus' promqltest: series are loaded, questions asked of them, answers expected.
//
//   load 30s                                  the first value at 0, then one each 30 s
//     requests_total{path="/"} 0+10x5 _ stale NaN
//   eval instant at 2m sum(rate(requests_total[1m]))
//     expect no_warn
//     {} 0.33
//   eval range from 0 to 2m step 1m requests_total
//     requests_total{path="/"} 0 20 40
//   clear
//
// Values: 7, -1.5, NaN, Inf; `_` none, `_x3` none three times; `2x3` four times 2; `1+2x3` is 1 3 5 7; `stale` ends the
// series. Native histograms ({{...}}) and start times (@st) are recognized, so that they can be told from mistakes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "query/series_source.h"

namespace lambda::cli {

struct ScriptSeries {
  query::Labels labels;
  std::vector<std::optional<double>> values;  // nothing: no sample at this step
  bool foreign = false;                       // has histograms or start times, which are not held here
};

struct ClearCommand {};

struct LoadCommand {
  int64_t step_ms = 1;
  std::vector<ScriptSeries> series;
  bool makes_native = false;  // load_with_nhcb: of classic histograms native ones are made as well
};

// One `expect` line about a text: it must be equal, or contain a match of the pattern; neither: any will do.
struct TextExpectation {
  std::optional<std::string> equal;
  std::optional<std::string> pattern;
};

struct EvalCommand {
  std::string expression;
  bool range = false;
  int64_t start_ms = 0;
  int64_t end_ms = 0;
  int64_t step_ms = 1;

  bool ordered = false;
  std::optional<TextExpectation> fails;
  std::vector<TextExpectation> warnings, infos;
  bool no_warnings = false;
  bool no_infos = false;
  std::optional<double> scalar;
  std::optional<std::string> string;
  // The answer is a range vector: its samples stand at these times.
  struct Moments {
    int64_t start_ms, end_ms, step_ms;
  };
  std::optional<Moments> moments;
  std::vector<ScriptSeries> series;  // the answer
};

struct ScriptCommand {
  size_t line = 0;      // from 1
  std::string problem;  // what is wrong with the command; the rest is then as far as it was read
  std::variant<ClearCommand, LoadCommand, EvalCommand> what;
};

inline constexpr size_t kScriptValuesMax = 1'000'000;  // of one line, after expansion

// Every command of the text; a mistake is kept with its command, and reading goes on behind it.
std::vector<ScriptCommand> parse_script(std::string_view text);

}  // namespace lambda::cli
