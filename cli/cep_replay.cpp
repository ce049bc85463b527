#include "cli/cep_replay.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <tuple>
#include <utility>

#include "cli/cep_command.h"
#include "cli/cep_events.h"
#include "cli/query_command.h"
#include "gateway/rules/rule_set.h"
#include "query/labels.h"
#include "query/number.h"

namespace lambda::cli {
namespace {

constexpr uint64_t kFileBytesMax = 16 << 20;
constexpr size_t kBatchRows = 1024;

struct Event {
  int64_t t;
  uint32_t stream;  // in RuleSet::streams
  uint32_t series;  // in Replay::columns_
  double value;
};

class Replay {
 public:
  Replay(Output& output, gateway::RuleSet& set) : output_(output), set_(set) {}

  Status read(const ReplaySource& source, int64_t from_ms, int64_t to_ms) {
    for (uint32_t i = 0; i < set_.streams.size(); ++i) {
      auto all = source(set_.streams[i].metric, from_ms, to_ms);
      if (!all) {
        return tl::unexpected(all.error());
      }
      for (const ReplaySeries& series : *all) {
        const auto number = static_cast<uint32_t>(columns_.size());
        columns_.push_back(columns_of(set_.streams[i], series.labels));
        for (const query::Sample& sample : series.samples) {
          if (!query::is_stale(sample.value)) {
            events_.push_back({sample.time_ms, i, number, sample.value});
          }
        }
        if (events_.size() > kReplayPointsMax) {
          return fail(ErrorCode::kFull,
                      "more than " + std::to_string(kReplayPointsMax) + " points in this range; ask for a shorter one");
        }
      }
    }
    std::ranges::stable_sort(events_, [](const Event& a, const Event& b) {
      return std::tie(a.t, a.stream, a.series) < std::tie(b.t, b.stream, b.series);
    });
    return {};
  }

  void run(int64_t to_ms) {
    for (size_t begin = 0; begin < events_.size();) {
      size_t end = begin + 1;
      while (end < events_.size() && end - begin < kBatchRows && events_[end].stream == events_[begin].stream) {
        ++end;
      }
      push(begin, end);
      begin = end;
    }
    set_.engine->advance_to(to_ms);
  }

 private:
  std::vector<cep::Value> columns_of(const gateway::StreamColumns& stream, const query::Labels& labels) {
    const auto& schema = set_.engine->catalog().stream(stream.stream).columns;
    std::vector<cep::Value> values;
    for (size_t i = 0; i < schema.size(); ++i) {
      std::string_view label = schema[i].name;
      if (stream.from[i] == gateway::ColumnFrom::kDevice) {
        label = "instance";
      }
      const std::string_view text = query::label_value(labels, label);
      const auto symbol = text.empty() ? std::nullopt : set_.engine->symbols().try_intern(text);
      values.push_back(symbol ? cep::Value::of_text(*symbol) : cep::Value::null());
    }
    return values;
  }

  void push(size_t begin, size_t end) {
    const gateway::StreamColumns& stream = set_.streams[events_[begin].stream];
    const size_t width = stream.from.size();
    std::vector<int64_t> t;
    std::vector<double> numbers;
    std::vector<std::vector<cep::Symbol>> texts(width);
    std::vector<std::vector<uint8_t>> nulls(width);
    for (size_t i = begin; i < end; ++i) {
      t.push_back(events_[i].t);
      numbers.push_back(events_[i].value);
      for (size_t c = 0; c < width; ++c) {
        const cep::Value& value = columns_[events_[i].series][c];
        texts[c].push_back(value.is_null() ? 0 : value.text);
        nulls[c].push_back(value.is_null() ? 1 : 0);
      }
    }
    cep::Batch batch;
    batch.stream = stream.stream;
    batch.rows = end - begin;
    batch.first_index = begin;
    batch.t = t.data();
    for (size_t c = 0; c < width; ++c) {
      if (stream.from[c] == gateway::ColumnFrom::kValue) {
        batch.columns.push_back({cep::Type::kDouble, numbers.data(), nullptr});
      } else {
        batch.columns.push_back({cep::Type::kText, texts[c].data(), nulls[c].data()});
      }
    }
    set_.engine->push(batch);
  }

  Output& output_;
  gateway::RuleSet& set_;
  std::vector<std::vector<cep::Value>> columns_;  // by series
  std::vector<Event> events_;
};

// The rules and tables as a gateway would have them in its folder; false: said why.
bool read_folder(Output& output, const ReplayOptions& options, Disk& disk, gateway::RuleFolder& folder, int& status) {
  const auto read = [&](const std::string& name, const std::string& path, std::vector<gateway::RuleText>& list) {
    auto text = disk.read_all(path, kFileBytesMax);
    if (!text) {
      status = report(output, text.error());
      return false;
    }
    list.push_back({name, std::move(*text)});
    return true;
  };
  if (!read(options.rules_file, options.rules_file, folder.rules)) {
    return false;
  }
  for (const std::string& table : options.tables) {
    const size_t equals = table.find('=');
    if (equals == std::string::npos) {
      report(output, {ErrorCode::kInvalid, "--table " + table + ": expected NAME=FILE"});
      status = kExitUsage;
      return false;
    }
    if (!read(table.substr(0, equals) + ".jsonl", table.substr(equals + 1), folder.tables)) {
      return false;
    }
  }
  return true;
}

}  // namespace

int cep_replay(Output& output, const ReplayOptions& options, int64_t now_ms, Disk& disk, const ReplaySource& source) {
  const auto from_ms = parse_moment_ms(options.from, now_ms);
  const auto to_ms = parse_moment_ms(options.to.empty() ? "now" : options.to, now_ms);
  if (!from_ms || !to_ms || *from_ms > *to_ms) {
    report(output, !from_ms ? Error{ErrorCode::kInvalid, "--from: " + from_ms.error().text}
                   : !to_ms ? Error{ErrorCode::kInvalid, "--to: " + to_ms.error().text}
                            : Error{ErrorCode::kInvalid, "--from is later than --to"});
    return kExitUsage;
  }
  gateway::RuleFolder folder;
  int status = kExitDone;
  if (!read_folder(output, options, disk, folder, status)) {
    return status;
  }
  gateway::RuleSetSettings settings;
  settings.exec_any = true;  // nothing is run
  gateway::RuleSet* rules = nullptr;
  const auto set = gateway::make_rule_set(folder, settings, [&](std::span<const cep::Output> outputs) {
    for (cep::Output out : outputs) {
      out.late = true;
      output.out << write_cep_output(out, rules->engine->rule(out.rule), rules->engine->symbols()) << '\n';
    }
  });
  rules = set.get();
  for (const gateway::RuleFileState& file : set->files) {
    for (const std::string& note : file.notes) {
      output.err << file.name << ": " << note << "\n";
    }
    for (const cep::Diagnostic& error : file.errors) {
      output.err << format_diagnostic(file.name, error) << "\n";
      status = kExitRules;
    }
  }
  if (status != kExitDone) {
    return status;
  }
  Replay replay(output, *set);
  if (const Status read = replay.read(source, *from_ms, *to_ms); !read) {
    return report(output, read.error());
  }
  replay.run(*to_ms);
  return kExitDone;
}

Result<std::vector<ReplaySeries>> read_series(query::SeriesSource& store, const std::string& metric, int64_t from_ms,
                                              int64_t to_ms) {
  constexpr uint64_t kSeriesMax = 1'000'000;
  auto selection = store.select({{"__name__", query::MatchOp::kEqual, metric}}, from_ms, to_ms, kSeriesMax);
  if (!selection) {
    return tl::unexpected(selection.error());
  }
  std::vector<ReplaySeries> all;
  for (query::SelectedSeries& series : selection->series) {
    auto samples = series.cursor->read(kReplayPointsMax);
    if (!samples) {
      return tl::unexpected(samples.error());
    }
    all.push_back({std::move(series.labels), std::move(*samples)});
  }
  return all;
}

HttpCall replay_question(const Server& server, const std::string& metric, int64_t from_ms, int64_t to_ms) {
  std::string time;
  query::append_seconds(time, to_ms);
  // A range begins behind its first moment.
  const std::string range = "[" + std::to_string(to_ms - from_ms + 1) + "ms]";
  return make_call(server, "/api/v1/query",
                   {{"query", "{__name__=" + query::quoted(metric) + "}" + range}, {"time", time}}, true);
}

Result<std::vector<ReplaySeries>> read_matrix(const std::string& body) {
  const auto bad = [](const std::string& what) {
    return fail(ErrorCode::kInvalid, "the answer is no matrix: " + what);
  };
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object() || json.value("status", nlohmann::json()) != "success") {
    return bad(json.is_object() && json.contains("error") ? json["error"].dump() : "it says no success");
  }
  std::vector<ReplaySeries> all;
  if (!json.contains("data") || !json["data"].is_object() || !json["data"].contains("result")) {
    return bad("it has no result");
  }
  for (const auto& one : json["data"]["result"]) {
    ReplaySeries series;
    if (!one.is_object() || !one.contains("metric") || !one.contains("values")) {
      return bad("a series has no values");
    }
    for (const auto& [name, value] : one["metric"].items()) {
      series.labels.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    }
    for (const auto& pair : one["values"]) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_string()) {
        return bad("a sample is none");
      }
      const auto time_ms = query::parse_time_ms(pair[0].dump());
      const auto value = query::parse_number(pair[1].get<std::string>());
      if (!time_ms || !value) {
        return bad("a sample is none");
      }
      series.samples.push_back({*time_ms, *value});
    }
    all.push_back(std::move(series));
  }
  return all;
}

}  // namespace lambda::cli
