#include "query/http_api.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "query/duration.h"
#include "query/http_answer.h"
#include "query/json.h"
#include "query/labels.h"
#include "query/number.h"
#include "query/parser.h"

namespace lambda::query {
namespace {

constexpr std::string_view kPrefix = "/api/v1/";
constexpr int64_t kDayMs = 86'400'000;
// Of the Prometheus whose interface this is: clients choose by it what they may ask.
constexpr std::string_view kInterfaceVersion = "3.0.0";

// "5m", or seconds: "300", "0.5". At least one millisecond.
Result<int64_t> parse_step_ms(std::string_view text) {
  if (const auto duration_ms = parse_duration_ms(text)) {
    return *duration_ms;
  }
  const auto seconds = parse_number(text);
  if (!seconds || !(std::fabs(*seconds * 1000) <= static_cast<double>(kDurationMsMax))) {
    return fail(ErrorCode::kInvalid, quoted(text) + " is neither a duration nor a number of seconds");
  }
  return std::llround(*seconds * 1000);
}

HttpResponse response_for(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kUnsupported:
    case ErrorCode::kFull:
      return error_response(422, "execution", error.text);
    case ErrorCode::kUnavailable:
      return error_response(503, "unavailable", error.text);
    default:
      return error_response(500, "internal", error.text);
  }
}

// The <name> of label/<name>/values.
std::optional<std::string_view> label_of_path(std::string_view name) {
  constexpr std::string_view kBefore = "label/";
  constexpr std::string_view kBehind = "/values";
  if (!name.starts_with(kBefore) || !name.ends_with(kBehind) || name.size() <= kBefore.size() + kBehind.size()) {
    return std::nullopt;
  }
  return name.substr(kBefore.size(), name.size() - kBefore.size() - kBehind.size());
}

// What is not in this list is not answered, but for /label/<name>/values.
constexpr std::array<std::string_view, 10> kNames = {
    "query",    "query_range",     "series", "labels", "format_query", "status/buildinfo",
    "metadata", "query_exemplars", "rules",  "alerts"};

std::string json_list(const std::set<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) {
    out += out.size() > 1 ? "," : "";
    append_json_string(out, word);
  }
  return out + "]";
}

// What this program has none of, as Prometheus says it.
std::optional<std::string_view> constant_data(std::string_view name) {
  if (name == "query_exemplars") return "[]";
  if (name == "rules") return R"({"groups":[]})";
  if (name == "alerts") return R"({"alerts":[]})";
  return std::nullopt;
}

}  // namespace

struct HttpApi::Shared {
  HttpApiOptions options;
  const Clock& clock;
  HttpApiCounters counters;
  std::atomic<uint64_t> evaluating{0};
  std::atomic<bool> ending{false};

  Shared(HttpApiOptions o, const Clock& c) : options(std::move(o)), clock(c) {}

  HttpResponse counted(HttpResponse response) {
    switch (response.status) {
      case 200:
        counters.answer_bytes += response.body.size();
        break;
      case 422:
        ++counters.failed;
        break;
      case 500:
        ++counters.internal_errors;
        break;
      case 503:
        break;  // counted where the reason is known
      default:
        ++counters.refused;
    }
    return response;
  }
};

// One request: reads its parameters and answers it. A method returns the refusal, or nothing when all went well.
class HttpApi::Request {
 public:
  Request(HttpApi& api, const HttpRequest& http, HttpServer::Respond respond)
      : api_(api), shared_(api.shared_), http_(http), respond_(std::move(respond)), now_ms_(api.clock_.utc_ms()) {}

  void answer() {
    if (auto refusal = dispatch()) {
      respond_(shared_->counted(std::move(*refusal)));
    }
  }

 private:
  using Refusal = std::optional<HttpResponse>;

  Refusal dispatch() {
    if (!HttpApi::serves(http_.path)) {
      return error_response(404, "not_found", "there is nothing at " + http_.path);
    }
    if (http_.method != "GET" && http_.method != "POST") {
      return error_response(405, "bad_data", "method " + http_.method + " is not served here; use GET or POST");
    }
    const std::string_view name = std::string_view(http_.path).substr(kPrefix.size());
    if (name == "query" || name == "query_range") {
      ++shared_->counters.queries;
      return name == "query" ? query() : query_range();
    }
    if (name == "series") return series();
    if (name == "labels") return labels(std::nullopt);
    if (const auto label = label_of_path(name)) return labels(label);
    if (name == "format_query") return format_query();
    if (name == "metadata") return metadata();
    if (name == "status/buildinfo") {
      std::string data = "{\"version\":";
      append_json_string(data, kInterfaceVersion);
      data += ",\"revision\":";
      append_json_string(data, "lambda-edge " + shared_->options.version);
      return succeed(data + ",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}", {});
    }
    return succeed(*constant_data(name), {});
  }

  Refusal succeed(std::string_view data, const std::vector<std::string>& warnings) {
    respond_(shared_->counted({200, "application/json", data_body(data, warnings)}));
    return std::nullopt;
  }

  // --- parameters: null when absent ---
  const std::string* parameter(const std::string& name) const {
    const auto found = http_.parameters.find(name);
    return found == http_.parameters.end() || found->second.empty() ? nullptr : &found->second;
  }

  // `otherwise` when it is absent; a refusal when neither is there or it is no time.
  Refusal time(const std::string& name, std::optional<int64_t> otherwise, int64_t& out) const {
    const std::string* text = parameter(name);
    if (text == nullptr) {
      if (!otherwise) {
        return bad_parameter(name, "it is missing");
      }
      out = *otherwise;
      return std::nullopt;
    }
    const auto parsed = parse_time_ms(*text);
    if (!parsed) {
      return bad_parameter(name, parsed.error().text);
    }
    out = *parsed;
    return std::nullopt;
  }

  Refusal positive(const std::string& name, std::optional<int64_t> otherwise, int64_t& out) const {
    const std::string* text = parameter(name);
    if (text == nullptr) {
      if (!otherwise) {
        return bad_parameter(name, "it is missing");
      }
      out = *otherwise;
      return std::nullopt;
    }
    const auto parsed = parse_step_ms(*text);
    if (!parsed) {
      return bad_parameter(name, parsed.error().text);
    }
    if (*parsed <= 0) {
      return bad_parameter(name, "it must be greater than 0");
    }
    out = *parsed;
    return std::nullopt;
  }

  Refusal limit(uint64_t& out) const {
    const std::string* text = parameter("limit");
    if (text == nullptr) {
      return std::nullopt;
    }
    const auto parsed = parse_number(*text);
    if (!parsed || !(*parsed >= 0) || *parsed != std::floor(*parsed) || *parsed > 1e15) {
      return bad_parameter("limit", quoted(*text) + " is not a whole number");
    }
    out = *parsed == 0 ? UINT64_MAX : static_cast<uint64_t>(*parsed);  // 0: none
    return std::nullopt;
  }

  // --- endpoints ---
  Refusal format_query() {
    const std::string* text = parameter("query");
    const auto expression = parse_expression(text == nullptr ? std::string_view() : *text);
    if (!expression) {
      return bad_parameter("query", expression.error().text);
    }
    std::string data;
    append_json_string(data, to_string(**expression));
    return succeed(data, {});
  }

  // As Prometheus: a list for each metric, of which there is one here.
  Refusal metadata() {
    uint64_t metrics_max = UINT64_MAX;
    if (auto refusal = limit(metrics_max)) return refusal;
    const std::string* metric = parameter("metric");
    const MetricFactsByName facts = shared_->options.metadata ? shared_->options.metadata() : MetricFactsByName();
    std::string data = "{";
    for (const auto& [name, known] : facts) {
      if (metric != nullptr && name != *metric) continue;
      if (metrics_max-- == 0) break;
      data += data.size() > 1 ? "," : "";
      append_json_string(data, name);
      data += ":[{\"type\":";
      append_json_string(data, known.type);
      data += ",\"help\":";
      append_json_string(data, known.help);
      data += ",\"unit\":";
      append_json_string(data, known.unit);
      data += "}]";
    }
    return succeed(data + "}", {});
  }

  Refusal query() {
    QueryTimes times;
    if (auto refusal = time("time", now_ms_, times.start_ms)) {
      return refusal;
    }
    times.end_ms = times.start_ms;
    return evaluate(times);
  }

  Refusal query_range() {
    QueryTimes times;
    times.range = true;
    if (auto refusal = time("start", std::nullopt, times.start_ms)) return refusal;
    if (auto refusal = time("end", std::nullopt, times.end_ms)) return refusal;
    if (times.end_ms < times.start_ms) {
      return bad_parameter("end", "it must not be before start");
    }
    if (auto refusal = positive("step", std::nullopt, times.step_ms)) return refusal;
    if (static_cast<uint64_t>((times.end_ms - times.start_ms) / times.step_ms) > shared_->options.points_max) {
      return error_response(400, "bad_data",
                            "a series would have more than " + std::to_string(shared_->options.points_max) +
                                " points: use a larger step or a shorter time");
    }
    return evaluate(times);
  }

  Refusal evaluate(const QueryTimes& times) {
    const HttpApiOptions& options = shared_->options;
    QueryLimits limits = options.limits;
    int64_t timeout_ms = options.timeout_ms;
    uint64_t series_limit = UINT64_MAX;
    if (auto refusal = positive("timeout", timeout_ms, timeout_ms)) return refusal;
    if (auto refusal = positive("lookback_delta", limits.lookback_ms, limits.lookback_ms)) return refusal;
    if (auto refusal = limit(series_limit)) return refusal;
    timeout_ms = std::min(timeout_ms, options.timeout_ms);

    const std::string* text = parameter("query");
    auto expression = parse_expression(text == nullptr ? std::string_view() : *text);
    if (!expression) {
      return expression.error().code == ErrorCode::kUnsupported ? response_for(expression.error())
                                                                : bad_parameter("query", expression.error().text);
    }
    if (shared_->ending) {
      ++shared_->counters.unavailable;
      return error_response(503, "unavailable", "the program is ending");
    }
    if (shared_->evaluating >= options.queries_max) {
      ++shared_->counters.unavailable;
      return error_response(503, "unavailable",
                            std::to_string(options.queries_max) + " queries are being evaluated: try again later");
    }
    auto prepared = Evaluation::prepare(std::move(*expression), times, limits, api_.source_);
    if (!prepared) {
      if (prepared.error().code == ErrorCode::kInvalid) {
        return bad_parameter("query", prepared.error().text);
      }
      shared_->counters.unavailable += prepared.error().code == ErrorCode::kUnavailable ? 1 : 0;
      return response_for(prepared.error());
    }
    ++shared_->evaluating;
    const int64_t deadline_us = shared_->clock.mono_us() + timeout_ms * 1000;
    auto task = [shared = shared_, respond = std::move(respond_), deadline_us, series_limit,
                 evaluation = std::make_shared<Evaluation>(std::move(*prepared))] {
      HttpResponse response = run(*shared, *evaluation, deadline_us, series_limit);
      --shared->evaluating;
      respond(shared->counted(std::move(response)));
    };
    if (api_.executor_) {
      api_.executor_(std::move(task));
    } else {
      task();
    }
    return std::nullopt;
  }

  // On any thread; touches nothing but its arguments.
  static HttpResponse run(Shared& shared, Evaluation& evaluation, int64_t deadline_us, uint64_t series_limit) {
    bool late = false;
    const bool ended = shared.ending;
    auto result =
        ended ? Result<QueryResult>(fail(ErrorCode::kUnavailable, "the program is ending")) : evaluation.run([&] {
          late = shared.clock.mono_us() >= deadline_us;
          return late || shared.ending;
        });
    if (!result) {
      if (late) {
        ++shared.counters.timed_out;
        return error_response(503, "timeout", "the query took longer than its timeout");
      }
      shared.counters.unavailable += result.error().code == ErrorCode::kUnavailable ? 1 : 0;
      return response_for(result.error());
    }
    if (result->series.size() > series_limit) {
      result->series.resize(series_limit);
      result->warnings.push_back("results truncated due to limit");
    }
    auto body = result_body(*result, shared.options.response_bytes_max);
    if (!body) {
      return response_for(body.error());
    }
    return {200, "application/json", std::move(*body)};
  }

  // Calls `use(labels)` for each series that matches any of match[] (or is there at all, when `match_needed` is false
  // and none is given) within start and end.
  template <class Use>
  Refusal each_series(bool match_needed, std::vector<std::string>& warnings, Use use) {
    int64_t from_ms = 0;
    int64_t to_ms = 0;
    if (auto refusal = time("end", now_ms_, to_ms)) return refusal;
    if (auto refusal = time("start", to_ms - kDayMs, from_ms)) return refusal;
    if (to_ms < from_ms) {
      return bad_parameter("end", "it must not be before start");
    }
    std::vector<std::vector<Matcher>> selectors;
    const auto [first, last] = http_.parameters.equal_range("match[]");
    for (auto text = first; text != last; ++text) {
      auto matchers = parse_selector(text->second);
      if (!matchers) {
        return bad_parameter("match[]", matchers.error().text);
      }
      selectors.push_back(std::move(*matchers));
    }
    if (selectors.empty() && match_needed) {
      return error_response(400, "bad_data", "no match[] parameter is given");
    }
    if (selectors.empty()) {
      selectors.emplace_back();
    }
    for (const auto& matchers : selectors) {
      auto selection = api_.source_.list(matchers, from_ms, to_ms, shared_->options.limits.series_max);
      if (!selection) {
        shared_->counters.unavailable += selection.error().code == ErrorCode::kUnavailable ? 1 : 0;
        return response_for(selection.error());
      }
      for (const SelectedSeries& found : selection->series) {
        use(found.labels);
      }
      std::ranges::move(selection->warnings, std::back_inserter(warnings));
    }
    return std::nullopt;
  }

  // Cuts to the `limit` parameter; says so in the warnings.
  template <class Set>
  Refusal cut(Set& set, std::vector<std::string>& warnings) const {
    uint64_t size_max = UINT64_MAX;
    if (auto refusal = limit(size_max)) {
      return refusal;
    }
    if (set.size() > size_max) {
      set.erase(std::next(set.begin(), static_cast<std::ptrdiff_t>(size_max)), set.end());
      warnings.push_back("results truncated due to limit");
    }
    return std::nullopt;
  }

  Refusal series() {
    std::set<Labels> found;
    std::vector<std::string> warnings;
    if (auto refusal = each_series(true, warnings, [&](const Labels& labels) { found.insert(labels); })) {
      return refusal;
    }
    if (auto refusal = cut(found, warnings)) {
      return refusal;
    }
    std::string data = "[";
    for (const Labels& labels : found) {
      data += data.size() > 1 ? "," : "";
      append_json_labels(data, labels);
    }
    return succeed(data + "]", warnings);
  }

  // Label names, or the values of one label.
  Refusal labels(std::optional<std::string_view> values_of) {
    std::set<std::string> found;
    std::vector<std::string> warnings;
    const auto collect = [&](const Labels& labels) {
      for (const auto& [name, value] : labels) {
        if (!values_of) {
          found.insert(name);
        } else if (name == *values_of) {
          found.insert(value);
        }
      }
    };
    if (auto refusal = each_series(false, warnings, collect)) {
      return refusal;
    }
    if (auto refusal = cut(found, warnings)) {
      return refusal;
    }
    return succeed(json_list(found), warnings);
  }

  HttpApi& api_;
  std::shared_ptr<Shared> shared_;
  const HttpRequest& http_;
  HttpServer::Respond respond_;
  int64_t now_ms_;
};

HttpApi::HttpApi(SeriesSource& source, const Clock& clock, HttpApiOptions options, Executor executor)
    : source_(source),
      clock_(clock),
      shared_(std::make_shared<Shared>(std::move(options), clock)),
      executor_(std::move(executor)) {}

HttpApi::~HttpApi() = default;

void HttpApi::cancel() {
  shared_->ending = true;
}

bool HttpApi::serves(std::string_view path) {
  if (!path.starts_with(kPrefix)) {
    return false;
  }
  const std::string_view name = path.substr(kPrefix.size());
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || label_of_path(name);
}

std::vector<std::string> HttpApi::paths() {
  std::vector<std::string> out;
  for (const std::string_view name : kNames) out.push_back(std::string(kPrefix) + std::string(name));
  out.push_back(std::string(kPrefix) + "label/job/values");
  return out;
}

void HttpApi::handle(const HttpRequest& request, HttpServer::Respond respond) {
  Request(*this, request, std::move(respond)).answer();
}

const HttpApiCounters& HttpApi::counters() const {
  return shared_->counters;
}

}  // namespace lambda::query
