#include "cli/query_command.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "base/os/loop.h"
#include "cli/block_files.h"
#include "query/duration.h"
#include "query/http_api.h"
#include "query/labels.h"
#include "query/number.h"

namespace lambda::cli {
namespace {

using nlohmann::json;

constexpr int64_t kPointsWanted = 250;               // of a range query that names no step
constexpr int64_t kBlocksRangeMs = 600'000;          // of one over files that names no start
constexpr int64_t kAheadMs = 300'000;                // a clock may be so far ahead before its points are not the newest
constexpr uint64_t kBlocksSamplesMax = 100'000'000;  // of one question to files: as much memory as it takes, 1.6 GB

std::string seconds(int64_t time_ms) {
  std::string out;
  query::append_seconds(out, time_ms);
  return out;
}

// What the server says is another program's input: nothing in it is taken for granted.
std::string text_at(const json& value, const char* key) {
  const auto found = value.is_object() ? value.find(key) : value.end();
  return value.is_object() && found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

json value_at(const json& value, const char* key) {
  return value.is_object() && value.contains(key) ? value[key] : json();
}

std::string series_name(const json& metric) {
  query::Labels labels;
  if (metric.is_object()) {
    for (const auto& [name, value] : metric.items()) {
      labels.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return query::to_string(query::sorted_labels(std::move(labels)));
}

struct Shown {
  std::string time, value;
};
Shown sample(const json& pair) {
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_string()) {
    return {"?", "?"};
  }
  const auto time_ms = query::parse_time_ms(pair[0].dump());
  return {time_ms ? query::format_time(*time_ms) : pair[0].dump(), pair[1].get<std::string>()};
}

void print_result(Output& output, const json& data) {
  const std::string type = text_at(data, "resultType");
  const json result = value_at(data, "result");
  if (type == "scalar" || type == "string") {
    output.out << shown(sample(result).value) << "\n";
  } else if (type == "vector") {
    Table table({"SERIES", "VALUE"});
    for (const json& series : result) {
      table.add({series_name(value_at(series, "metric")), sample(value_at(series, "value")).value});
    }
    table.print(output.out);
  } else {
    Table table({"SERIES", "TIME", "VALUE"});
    for (const json& series : result) {
      std::string name = series_name(value_at(series, "metric"));
      for (const json& pair : value_at(series, "values")) {
        auto [time, value] = sample(pair);
        table.add({std::exchange(name, "\""), std::move(time), std::move(value)});  // " : as above
      }
    }
    table.print(output.out);
  }
}

int show(Output& output, const std::string& url, const HttpResponse& response) {
  const json body = json::parse(response.body, nullptr, false);
  const std::string status = text_at(body, "status");
  if (status == "success") {
    if (output.json) {
      output.out << response.body << "\n";
      return kExitDone;
    }
    print_result(output, value_at(body, "data"));
    for (const auto& [list, word] : {std::pair{"warnings", "warning"}, std::pair{"infos", "info"}}) {
      for (const json& text : value_at(body, list)) {
        output.err << "lambda: " << word << ": " << shown(text.is_string() ? text.get<std::string>() : text.dump())
                   << "\n";
      }
    }
    return kExitDone;
  }
  if (status == "error") {
    return report(output, {ErrorCode::kInvalid, text_at(body, "errorType") + ": " + text_at(body, "error")});
  }
  return report(output, {ErrorCode::kInvalid, url + " answered " + std::to_string(response.status) +
                                                  ", but not as a gateway or an agent does"});
}

Status set_time(std::multimap<std::string, std::string>& parameters, const char* name, const std::string& text,
                int64_t now_ms, int64_t& time_ms) {
  const auto parsed = parse_moment_ms(text, now_ms);
  if (!parsed) {
    return fail(ErrorCode::kInvalid, std::string("--") + name + ": " + parsed.error().text);
  }
  time_ms = *parsed;
  parameters.emplace(name, seconds(time_ms));
  return {};
}

Status set_range(std::multimap<std::string, std::string>& parameters, const QueryOptions& options, int64_t now_ms) {
  int64_t start_ms = 0;
  int64_t end_ms = 0;
  if (options.start.empty()) {
    return fail(ErrorCode::kInvalid, "--start is missing: --end and --step need it");
  }
  if (auto done = set_time(parameters, "end", options.end.empty() ? "now" : options.end, now_ms, end_ms); !done) {
    return done;
  }
  if (auto done = set_time(parameters, "start", options.start, now_ms, start_ms); !done) {
    return done;
  }
  const int64_t step_ms = std::max<int64_t>(1'000, (end_ms - start_ms) / kPointsWanted / 1'000 * 1'000);
  parameters.emplace("step", options.step.empty() ? seconds(step_ms) : options.step);
  return {};
}

}  // namespace

HttpCall make_call(const Server& server, const std::string& path, std::multimap<std::string, std::string> parameters,
                   bool post) {
  std::string url = server.url;
  while (url.ends_with('/')) {
    url.pop_back();
  }
  HttpCall call;
  call.url = url + path;
  call.parameters = std::move(parameters);
  call.post = post;
  call.token = server.token;
  call.ca_file = server.ca_file;
  call.certificate_file = server.certificate_file;
  call.key_file = server.key_file;
  call.timeout_ms = server.timeout_s * 1000;
  return call;
}

Result<int64_t> parse_moment_ms(const std::string& text, int64_t now_ms) {
  if (text == "now") {
    return now_ms;
  }
  if (text.starts_with("now-")) {
    const auto before_ms = query::parse_duration_ms(text.substr(4));
    if (!before_ms) {
      return tl::unexpected(before_ms.error());
    }
    return now_ms - *before_ms;
  }
  return query::parse_time_ms(text);
}

int query(Output& output, const QueryOptions& options, int64_t now_ms, const Ask& ask) {
  // The points of a selector are what PromQL's range of it is.
  const std::string text = options.last.empty() ? options.expression : options.expression + "[" + options.last + "]";
  std::multimap<std::string, std::string> parameters{{"query", text}};
  if (!options.device.empty()) parameters.emplace("device", options.device);
  const bool range = !options.start.empty() || !options.end.empty() || !options.step.empty();
  Status ready;
  int64_t time_ms = 0;
  if (range && !options.time.empty()) {
    ready = fail(ErrorCode::kInvalid, "--time goes with neither --start, --end nor --step");
  } else if (range && !options.last.empty()) {
    ready = fail(ErrorCode::kInvalid, "--last goes with neither --start, --end nor --step");
  } else if (!options.last.empty() && !query::parse_duration_ms(options.last)) {
    ready = fail(ErrorCode::kInvalid, "--last: " + query::parse_duration_ms(options.last).error().text);
  } else if (range) {
    ready = set_range(parameters, options, now_ms);
  } else if (!options.time.empty()) {
    ready = set_time(parameters, "time", options.time, now_ms, time_ms);
  }
  if (!ready) {
    report(output, ready.error());
    return kExitUsage;
  }
  const HttpCall call =
      make_call(options.server, range ? "/api/v1/query_range" : "/api/v1/query", std::move(parameters), true);
  const auto response = ask(call);
  if (!response) {
    return report(output, response.error());
  }
  return show(output, call.url, *response);
}

namespace {

// What a command line leaves open is taken from the data.
Status fill_times(QueryOptions& options, const BlockFiles& files, int64_t now_ms) {
  const auto span = files.span(now_ms + kAheadMs);
  const int64_t last_ms = span ? span->last_ms : now_ms;
  const bool range = !options.start.empty() || !options.end.empty() || !options.step.empty();
  if (!range) {
    options.time = options.time.empty() ? seconds(last_ms) : options.time;
    return {};
  }
  options.end = options.end.empty() ? seconds(last_ms) : options.end;
  if (options.start.empty()) {
    const auto end_ms = parse_moment_ms(options.end, now_ms);
    if (!end_ms) {
      return fail(ErrorCode::kInvalid, "--end: " + end_ms.error().text);
    }
    options.start = seconds(*end_ms - kBlocksRangeMs);
  }
  return {};
}

}  // namespace

int query_blocks(Output& output, QueryOptions options, int64_t now_ms, Disk& disk) {
  const bool range = !options.start.empty() || !options.end.empty() || !options.step.empty();
  if (range && !options.time.empty()) {
    return query(output, options, now_ms, {});  // refuses it
  }
  const auto files = BlockFiles::open(disk, options.blocks);
  if (!files) {
    return report(output, files.error());
  }
  if (auto filled = fill_times(options, **files, now_ms); !filled) {
    report(output, filled.error());
    return kExitUsage;
  }
  const OsClock clock;
  query::HttpApiOptions api_options;
  api_options.limits.samples_max = kBlocksSamplesMax;
  api_options.limits.series_max = 1'000'000;
  api_options.response_bytes_max = uint64_t{1} << 30;
  api_options.timeout_ms = options.server.timeout_s * 1000;
  query::HttpApi api(**files, clock, api_options);
  options.server.url = "http://blocks";
  const Ask ask = [&](const HttpCall& call) -> Result<HttpResponse> {
    HttpRequest request;
    request.method = "POST";
    request.path = call.url.substr(options.server.url.size());
    request.parameters = call.parameters;
    HttpResponse answer;
    api.handle(request, [&](HttpResponse response) { answer = std::move(response); });
    return answer;
  };
  return query(output, options, now_ms, ask);
}

int watch(Output& output, const QueryOptions& options, const Watching& watching, const Ask& ask) {
  constexpr const char* kClear = "\x1b[H\x1b[2J";  // to the corner, and everything away
  int status = kExitDone;
  for (bool first = true;; first = false) {
    if (watching.clear) {
      output.out << kClear;
    } else if (!first) {
      output.out << "\n";
    }
    status = query(output, options, watching.now_ms(), ask);
    output.out.flush();
    if (status == kExitUsage || !output.out || !watching.pause()) {
      return status;
    }
  }
}

}  // namespace lambda::cli
