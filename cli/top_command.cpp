#include "cli/top_command.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "query/number.h"

namespace lambda::cli {
namespace {

using nlohmann::json;

constexpr int64_t kHistoryS = 600;
constexpr size_t kProcessesMax = 10;
constexpr size_t kTextMax = 200;

// A line of the screen and the two questions behind it. Counters over 30 s in the history, by their last two points
// now: fresh for whoever looks, whatever the collectors' interval is.
struct Question {
  const char* row;
  const char* label;
  Unit unit;
  const char* history;
  const char* now;
};
constexpr Question kMachine[] = {
    {"cpu", "cpu", Unit::kRatio, R"(1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[30s])))",
     R"(1 - avg by (instance) (irate(node_cpu_seconds_total{mode="idle"}[30s])))"},
    {"load", "load 1m", Unit::kNumber, "max by (instance) (node_load1)", "max by (instance) (node_load1)"},
    {"memory", "memory", Unit::kRatio,
     "1 - max by (instance) (node_memory_MemAvailable_bytes) / max by (instance) (node_memory_MemTotal_bytes)",
     "1 - max by (instance) (node_memory_MemAvailable_bytes) / max by (instance) (node_memory_MemTotal_bytes)"},
    {"disk_read", "disk read", Unit::kBytesPerSecond, "sum by (instance) (rate(node_disk_read_bytes_total[30s]))",
     "sum by (instance) (irate(node_disk_read_bytes_total[30s]))"},
    {"disk_write", "disk write", Unit::kBytesPerSecond, "sum by (instance) (rate(node_disk_written_bytes_total[30s]))",
     "sum by (instance) (irate(node_disk_written_bytes_total[30s]))"},
    {"disk_busy", "disk busy", Unit::kRatio, "max by (instance) (rate(node_disk_io_time_seconds_total[30s]))",
     "max by (instance) (irate(node_disk_io_time_seconds_total[30s]))"},
    {"net_in", "net in", Unit::kBytesPerSecond,
     R"(sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[30s])))",
     R"(sum by (instance) (irate(node_network_receive_bytes_total{device!="lo"}[30s])))"},
    {"net_out", "net out", Unit::kBytesPerSecond,
     R"(sum by (instance) (rate(node_network_transmit_bytes_total{device!="lo"}[30s])))",
     R"(sum by (instance) (irate(node_network_transmit_bytes_total{device!="lo"}[30s])))"},
    {"filesystem", "fullest disk", Unit::kRatio,
     "1 - min by (instance) (node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0))",
     "1 - min by (instance) (node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0))"},
};

// Further things of now, of an agent.
constexpr std::pair<const char*, const char*> kFacts[] = {
    {"cores", R"(count by (instance) (node_cpu_seconds_total{mode="idle"}))"},
    {"memory_total", "max by (instance) (node_memory_MemTotal_bytes)"},
    {"boot_time", "max by (instance) (node_boot_time_seconds)"},
    {"process_cpu", "topk(10, sum by (process) (rate(lambda_process_cpu_seconds_total[1m])))"},
    {"process_memory", "topk(10, sum by (process) (lambda_process_resident_memory_bytes))"},
    {"process_count", "sum by (process) (lambda_process_count)"},
    {"agent_cpu", "rate(lambda_agent_cpu_seconds_total[30s])"},
    {"agent_memory", "lambda_agent_resident_memory_bytes"},
    {"statsd_series", "lambda_agent_statsd_series"},
    {"targets", R"(count(up{job!=""}))"},
    {"targets_up", R"(sum(up{job!=""}))"},
    {"scraped", "sum(scrape_samples_scraped)"},
};

// Every answer is told apart by the label `row`.
std::string named(const char* row, const std::string& expression) {
  return "label_replace(" + expression + ", \"row\", \"" + row + "\", \"row\", \"\")";
}

// ---- What came, of which nothing is taken for granted

const json& at(const json& value, const char* key) {
  static const json kNothing;
  const auto found = value.is_object() ? value.find(key) : value.end();
  return value.is_object() && found != value.end() ? *found : kNothing;
}
std::string printable(std::string text) {
  if (text.size() > kTextMax) text.resize(kTextMax);
  for (char& c : text) c = c >= ' ' && c <= '~' ? c : '?';
  return text;
}
std::string text_at(const json& value, const char* key) {
  const json& text = at(value, key);
  return text.is_string() ? printable(text.get<std::string>()) : std::string();
}
double number_at(const json& value, const char* key) {
  const json& number = at(value, key);
  return number.is_number() ? number.get<double>() : NAN;
}
bool true_at(const json& value, const char* key) {
  const json& flag = at(value, key);
  return flag.is_boolean() && flag.get<bool>();
}
struct Point {
  double time_s = 0, value = NAN;
};
Point point_of(const json& pair) {
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_string()) return {};
  const auto value = query::parse_number(pair[1].get<std::string>());
  return {pair[0].get<double>(), value ? *value : NAN};
}

// One look at the server, and what the screen makes of it.
class Look {
 public:
  Look(const TopOptions& options, const TopStyle& style, int64_t now_ms, const Ask& ask)
      : options_(options), style_(style), now_s_(now_ms / 1000), ask_(ask) {}

  Result<TopFrame> frame() {
    const size_t columns = options_.site ? kTopDeviceColumns : top_history_columns(style_.columns);
    step_s_ = std::max<int64_t>(1, (kHistoryS + static_cast<int64_t>(columns) - 1) / static_cast<int64_t>(columns));
    columns_ = columns;
    auto own = get(options_.site ? "/api/v1/lambda/devices" : "/api/v1/lambda/status", {});
    if (!own) return tl::unexpected(own.error());
    auto now = get("/api/v1/query", {{"query", now_expression()}});
    if (!now) return tl::unexpected(now.error());
    end_s_ = now_s_ / step_s_ * step_s_;
    start_s_ = end_s_ - step_s_ * (static_cast<int64_t>(columns) - 1);
    auto past = get("/api/v1/query_range", {{"query", history_expression()},
                                            {"start", std::to_string(start_s_)},
                                            {"end", std::to_string(end_s_)},
                                            {"step", std::to_string(step_s_)}});
    if (!past) return tl::unexpected(past.error());
    now_ = at(at(*now, "data"), "result");
    past_ = at(at(*past, "data"), "result");
    return options_.site ? site(*own) : machine(*own);
  }

 private:
  bool wanted(const Question& question) const {
    const std::string_view row = question.row;
    return !options_.site || row == "cpu" || row == "memory" || row == "load";
  }
  std::string now_expression() const {
    std::string all;
    const auto add = [&](const char* row, const std::string& expression) {
      all += (all.empty() ? "" : " or ") + named(row, expression);
    };
    for (const Question& question : kMachine) {
      if (wanted(question)) add(question.row, question.now);
    }
    if (!options_.site) {
      for (const auto& [row, expression] : kFacts) add(row, expression);
    }
    return all;
  }
  std::string history_expression() const {
    std::string all;
    for (const Question& question : kMachine) {
      if (wanted(question)) all += (all.empty() ? "" : " or ") + named(question.row, question.history);
    }
    return all;
  }

  Result<json> get(const std::string& path, std::multimap<std::string, std::string> parameters) const {
    const bool post = !parameters.empty();
    const HttpCall call = make_call(options_.server, path, std::move(parameters), post);
    const auto response = ask_(call);
    if (!response) return tl::unexpected(response.error());
    json body = json::parse(response->body, nullptr, false);
    if (response->status != 200 || !body.is_object()) {
      const std::string why = text_at(body, "error");
      return fail(response->status == 401 || response->status == 403 ? ErrorCode::kDenied : ErrorCode::kInvalid,
                  options_.server.url + " answered with status " + std::to_string(response->status) +
                      (why.empty() ? "" : ": " + why));
    }
    return body;
  }

  // The value of `row` now, of the series whose `label` is `value` (any, when it is empty); NaN: none.
  double now(const char* row, const char* label = "", const std::string& value = "") const {
    for (const json& series : now_) {
      const json& metric = at(series, "metric");
      if (text_at(metric, "row") != row) continue;
      if (*label != '\0' && text_at(metric, label) != value) continue;
      return point_of(at(series, "value")).value;
    }
    return NAN;
  }
  std::vector<double> history(const char* row, const std::string& instance) const {
    std::vector<double> out(columns_, NAN);
    for (const json& series : past_) {
      const json& metric = at(series, "metric");
      if (text_at(metric, "row") != row) continue;
      if (!instance.empty() && text_at(metric, "instance") != instance) continue;
      for (const json& pair : at(series, "values")) {
        const Point point = point_of(pair);
        const double index = (point.time_s - static_cast<double>(start_s_)) / static_cast<double>(step_s_);
        if (index >= 0 && index < static_cast<double>(columns_)) out[static_cast<size_t>(index)] = point.value;
      }
      break;
    }
    return out;
  }
  // The newest that is known: blocks of a device come to a gateway with a delay.
  static double newest(double now, const std::vector<double>& history) {
    if (!std::isnan(now)) return now;
    for (auto value = history.rbegin(); value != history.rend(); ++value) {
      if (!std::isnan(*value)) return *value;
    }
    return NAN;
  }

  TopFrame machine(const json& status) const {
    TopFrame frame;
    frame.title = text_at(status, "device");
    const std::string on = text_at(status, "site");
    if (!on.empty()) frame.title += " in " + on;
    if (const double booted = now("boot_time"); !std::isnan(booted)) {
      frame.title += ", up " + duration(static_cast<double>(now_s_) - booted);
    }
    for (const Question& question : kMachine) {
      TopRow row{question.label, question.unit, NAN, history(question.row, ""), ""};
      row.now = newest(now(question.row), row.history);
      if (std::string_view(question.row) == "cpu" && !std::isnan(now("cores"))) {
        row.beside = "of " + std::to_string(std::llround(now("cores"))) + " cores";
      }
      if (std::string_view(question.row) == "memory" && !std::isnan(now("memory_total"))) {
        row.beside = "of " + shown_value(now("memory_total"), Unit::kBytes);
      }
      if (std::any_of(row.history.begin(), row.history.end(), [](double v) { return !std::isnan(v); }) ||
          !std::isnan(row.now)) {
        frame.rows.push_back(std::move(row));
      }
    }
    frame.processes = processes();
    frame.foot = agent_lines(status);
    return frame;
  }

  std::vector<TopProcess> processes() const {
    std::vector<TopProcess> out;
    const auto of = [&](const std::string& name) -> TopProcess& {
      const auto found = std::find_if(out.begin(), out.end(), [&](const TopProcess& p) { return p.name == name; });
      if (found != out.end()) return *found;
      return out.emplace_back(TopProcess{name, NAN, NAN, NAN});
    };
    for (const json& series : now_) {
      const json& metric = at(series, "metric");
      const std::string row = text_at(metric, "row"), name = text_at(metric, "process");
      const double value = point_of(at(series, "value")).value;
      if (row == "process_cpu") of(name).cores = value;
      if (row == "process_memory") of(name).bytes = value;
    }
    for (TopProcess& process : out) process.count = now("process_count", "process", process.name);
    const auto key = [](double value) { return std::isnan(value) ? -1 : value; };
    std::stable_sort(out.begin(), out.end(), [&](const TopProcess& a, const TopProcess& b) {
      return key(a.cores) != key(b.cores) ? key(a.cores) > key(b.cores) : key(a.bytes) > key(b.bytes);
    });
    if (out.size() > kProcessesMax) out.resize(kProcessesMax);
    return out;
  }

  std::vector<std::string> agent_lines(const json& status) const {
    const auto count = [](double value) { return std::isnan(value) ? "-" : std::to_string(std::llround(value)); };
    std::string agent = "agent " + text_at(status, "version") + ": " + count(number_at(status, "series")) +
                        " series, " + count(number_at(status, "made")) + " points made, " +
                        shown_value(now("agent_cpu"), Unit::kRatio) + " cpu, " +
                        shown_value(now("agent_memory"), Unit::kBytes);
    const std::string uplink = !true_at(status, "enrolled")   ? "not enrolled"
                               : true_at(status, "answered")  ? "answered"
                               : true_at(status, "connected") ? "connected, no gateway answers"
                                                              : "away";
    std::string spool = "uplink: " + uplink + "; waiting: " + count(number_at(status, "backlog_parcels")) +
                        " parcels, " + shown_value(number_at(status, "backlog_bytes"), Unit::kBytes) + "; journal " +
                        shown_value(number_at(status, "journal_bytes"), Unit::kBytes);
    double lost = number_at(status, "unmade");
    for (const json& part : at(status, "dropped")) lost += part.is_number() ? part.get<double>() : 0;
    if (lost > 0) spool += "; lost " + count(lost) + " points";
    if (true_at(status, "disk_full")) spool += "; DISK FULL";
    std::vector<std::string> lines{std::move(agent), std::move(spool)};
    std::string fed;
    if (const double series = now("statsd_series"); !std::isnan(series)) fed = "statsd: " + count(series) + " series";
    if (const double targets = now("targets"); !std::isnan(targets)) {
      fed += (fed.empty() ? "" : "; ") + ("scraped: " + count(now("targets_up")) + " of " + count(targets)) +
             " targets up, " + count(now("scraped")) + " samples";
    }
    if (!fed.empty()) lines.push_back(std::move(fed));
    return lines;
  }

  TopFrame site(const json& answer) const {
    TopFrame frame;
    frame.title = "site " + text_at(answer, "site") + " at " + text_at(answer, "gateway");
    double parcels = 0, online = 0;
    for (const json& one : at(answer, "devices")) {
      TopDevice device;
      device.name = text_at(one, "device");
      device.state = text_at(one, "state");
      device.lag_s = number_at(one, "lag_ms") / 1000;
      device.backlog_parcels = number_at(one, "backlog_parcels");
      device.cpu_history = history("cpu", device.name);
      device.cpu = newest(now("cpu", "instance", device.name), device.cpu_history);
      device.memory = newest(now("memory", "instance", device.name), history("memory", device.name));
      device.load = newest(now("load", "instance", device.name), history("load", device.name));
      parcels += std::isnan(device.backlog_parcels) ? 0 : device.backlog_parcels;
      online += device.state == "online" ? 1 : 0;
      frame.devices.push_back(std::move(device));
    }
    // Those that want to be looked at first.
    std::stable_sort(frame.devices.begin(), frame.devices.end(), [](const TopDevice& a, const TopDevice& b) {
      return (a.state != "online") > (b.state != "online");
    });
    frame.foot = {std::to_string(frame.devices.size()) + " devices, " + std::to_string(std::llround(online)) +
                  " online, " + std::to_string(std::llround(parcels)) + " parcels waiting on devices"};
    return frame;
  }

  static std::string duration(double seconds) {
    const int64_t minutes = std::max<int64_t>(0, static_cast<int64_t>(seconds) / 60);
    char text[64];
    std::snprintf(text, sizeof text, "%lld d %lld:%02lld", static_cast<long long>(minutes / 1440),
                  static_cast<long long>(minutes / 60 % 24), static_cast<long long>(minutes % 60));
    return text;
  }

  const TopOptions& options_;
  const TopStyle& style_;
  const int64_t now_s_;
  const Ask& ask_;
  int64_t step_s_ = 10, start_s_ = 0, end_s_ = 0;
  size_t columns_ = 0;
  json now_, past_;
};

json history_json(const std::vector<double>& values) {
  json out = json::array();
  for (const double value : values) out.push_back(std::isfinite(value) ? json(value) : json());
  return out;
}

std::string frame_json(const TopFrame& frame) {
  const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(); };
  nlohmann::ordered_json out = {{"title", frame.title}, {"time", frame.clock}};
  for (const TopRow& row : frame.rows) {
    out["rows"].push_back({{"name", row.name}, {"now", number(row.now)}, {"history", history_json(row.history)}});
  }
  for (const TopProcess& process : frame.processes) {
    out["processes"].push_back({{"name", process.name},
                                {"cores", number(process.cores)},
                                {"bytes", number(process.bytes)},
                                {"count", number(process.count)}});
  }
  for (const TopDevice& device : frame.devices) {
    out["devices"].push_back({{"name", device.name},
                              {"state", device.state},
                              {"lag_s", number(device.lag_s)},
                              {"backlog_parcels", number(device.backlog_parcels)},
                              {"load", number(device.load)},
                              {"memory", number(device.memory)},
                              {"cpu", number(device.cpu)},
                              {"cpu_history", history_json(device.cpu_history)}});
  }
  out["notes"] = frame.foot;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Takes a terminal over and gives it back as it was.
class Terminal {
 public:
  Terminal(std::ostream& out, bool real) : out_(out), real_(real) {
    if (real_) out_ << "\x1b[?1049h\x1b[?25l";  // a screen of its own, no cursor
  }
  ~Terminal() {
    if (real_) out_ << "\x1b[?25h\x1b[?1049l";
    out_.flush();
  }
  void show(const std::string& frame, bool first) {
    if (!real_) {
      out_ << (first ? "" : "\n") << frame << "\n";
    } else {
      out_ << "\x1b[H";
      for (const char c : frame) c == '\n' ? out_ << "\x1b[K\r\n" : out_ << c;
      out_ << "\x1b[K\x1b[J";
    }
    out_.flush();
  }

 private:
  std::ostream& out_;
  const bool real_;
};

}  // namespace

int top(Output& output, const TopOptions& options, const TopWorld& world, const Ask& ask) {
  if (options.once) {
    TopStyle style = world.style();
    style.colours = false;
    const int64_t now_ms = world.now_ms();
    auto frame = Look(options, style, now_ms, ask).frame();
    if (!frame) return report(output, frame.error());
    frame->clock = query::format_time(now_ms / 1000 * 1000);
    output.out << (output.json ? frame_json(*frame) : render(*frame, style)) << "\n";
    return kExitDone;
  }
  Terminal terminal(output.out, world.terminal && !output.json);
  TopFrame shown;
  shown.title = options.server.url;
  for (bool first = true;; first = false) {
    TopStyle style = world.style();
    const int64_t now_ms = world.now_ms();
    auto frame = Look(options, style, now_ms, ask).frame();
    if (frame) {
      shown = std::move(*frame);
      shown.clock = query::format_time(now_ms / 1000 * 1000);
    } else {
      // The reason first: narrow screens show the beginning.
      std::string why = frame.error().text;
      if (why.starts_with(options.server.url)) why.erase(0, std::min(why.size(), why.find(": ") + 2));
      shown.trouble = printable("not fresh, asking again: " + why + " (" + options.server.url + ")");
    }
    if (output.json) {
      if (frame) output.out << frame_json(shown) << std::endl;
      if (!frame) report(output, frame.error());
    } else {
      terminal.show(render(shown, style), first);
    }
    if (!output.out || !world.pause()) return kExitDone;
  }
}

}  // namespace lambda::cli
