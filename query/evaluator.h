// Computes an expression over a SeriesSource, for one moment or for a row of them.
//
// Two halves, because a source may be asked on the loop thread only: prepare() selects, and is quick; run() decodes and
// computes, on any one thread. Every part of the tree is computed for all steps at once (columns.h).
//
// A selector sees the newest sample in (t - lookback, t], a range selector all in (t - range, t], as Prometheus 3.
// A staleness marker (series_source.h) ends a series at its time and is in no window.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "query/expression.h"
#include "query/series_source.h"

namespace lambda::query {

struct QueryTimes {
  int64_t start_ms = 0;
  int64_t end_ms = 0;   // not before start_ms; equal to it in an instant query
  int64_t step_ms = 1;  // at least 1
  bool range = false;   // query_range: the answer is always a matrix
};

// When functions and operators take the metric's name away: at once, as Prometheus does by itself, or only from the
// result, so that label_replace() still sees it (Prometheus' feature promql-delayed-name-removal).
enum class NameRemoval { kAtOnce, kAtTheEnd };

struct QueryLimits {
  int64_t lookback_ms = 300'000;
  uint64_t series_max = 10'000;       // of one selector
  uint64_t samples_max = 10'000'000;  // read and computed by one query; about 16 bytes each at worst
};

struct ResultSeries {
  Labels labels;
  std::vector<Sample> samples;  // one in a vector
};

struct QueryResult {
  ExpressionType type = ExpressionType::kVector;
  // Of a vector or matrix; sorted by labels unless an instant query ends in sort(), topk() and the like.
  std::vector<ResultSeries> series;
  Sample scalar{};
  std::string string;
  std::vector<std::string> warnings;  // each once: the answer may be wrong or partial
  std::vector<std::string> infos;     // each once: what is probably a mistake in the question
};

class Evaluation {
 public:
  // Takes references to what `expression` needs. kUnsupported names the first part of it that cannot be computed;
  // kInvalid: its type does not fit the kind of query; else what the source says. Loop thread only.
  static Result<Evaluation> prepare(ExpressionPtr expression, const QueryTimes& times, const QueryLimits& limits,
                                    SeriesSource& source, NameRemoval names = NameRemoval::kAtOnce);
  ~Evaluation();
  Evaluation(Evaluation&&) noexcept;
  Evaluation& operator=(Evaluation&&) noexcept;

  // Once. `cancelled` is asked between series; when it says so the answer is kUnavailable. kFull: a limit was reached;
  // kInvalid: the data do not fit the expression (many-to-many matching and the like).
  Result<QueryResult> run(const std::function<bool()>& cancelled);

 private:
  struct State;
  explicit Evaluation(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lambda::query
