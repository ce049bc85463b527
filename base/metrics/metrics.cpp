#include "base/metrics/metrics.h"

#include <charconv>
#include <cmath>

#include "base/result.h"

namespace lambda {
namespace {

bool is_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (const char c : name) {
    const bool good =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
    if (!good) return false;
  }
  return true;
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string render_labels(const Metrics::Labels& labels) {
  if (labels.empty()) return {};
  std::string out = "{";
  for (const auto& [name, value] : labels) {
    if (out.size() > 1) out += ',';
    out += name;
    out += "=\"";
    append_escaped(out, value, true);
    out += '"';
  }
  return out + "}";
}

std::string render_value(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

}  // namespace

Metrics::Series& Metrics::series_of(Type type, std::string_view name, std::string_view help, const Labels& labels) {
  LAMBDA_ASSERT(is_name(name));
  for (const auto& [label, value] : labels) LAMBDA_ASSERT(is_name(label));
  auto family = families_.find(name);
  if (family == families_.end()) {
    family = families_.emplace(std::string(name), Family{type, std::string(help), {}}).first;
  }
  LAMBDA_ASSERT(family->second.type == type);
  const std::string key = render_labels(labels);
  if (const auto found = family->second.series.find(key); found != family->second.series.end()) return *found->second;
  if (series_count_ >= series_max_) {
    dropped_count_++;
    return overflow_;
  }
  series_count_++;
  auto series = std::make_shared<Series>();
  series->labels = labels;
  return *family->second.series.emplace(key, std::move(series)).first->second;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(mutex_);
  Series& series = series_of(Type::kCounter, name, help, labels);
  if (!series.counter) series.counter = std::make_unique<Counter>();
  return *series.counter;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(mutex_);
  Series& series = series_of(Type::kGauge, name, help, labels);
  if (!series.gauge) series.gauge = std::make_unique<Gauge>();
  return *series.gauge;
}

void Metrics::counter_callback(std::string_view name, std::string_view help, const Labels& labels,
                               std::function<double()> read) {
  std::lock_guard lock(mutex_);
  series_of(Type::kCounter, name, help, labels).read = std::move(read);
}

void Metrics::gauge_callback(std::string_view name, std::string_view help, const Labels& labels,
                             std::function<double()> read) {
  std::lock_guard lock(mutex_);
  series_of(Type::kGauge, name, help, labels).read = std::move(read);
}

void Metrics::remove(std::string_view label_name, std::string_view label_value) {
  std::lock_guard lock(mutex_);
  for (auto& [name, family] : families_) {
    series_count_ -= std::erase_if(family.series, [&](const auto& entry) {
      for (const auto& [label, value] : entry.second->labels) {
        if (label == label_name && value == label_value) return true;
      }
      return false;
    });
  }
}

std::string Metrics::render() const {
  struct Line {
    std::string prefix;  // all before the value
    std::shared_ptr<Series> series;
  };
  std::vector<Line> lines;
  uint64_t dropped = 0;
  {
    // Callbacks may count themselves, so they run without the lock.
    std::lock_guard lock(mutex_);
    dropped = dropped_count_;
    for (const auto& [name, family] : families_) {
      if (family.series.empty()) continue;
      std::string head = "# HELP " + name + " ";
      append_escaped(head, family.help, false);
      head += "\n# TYPE " + name + (family.type == Type::kCounter ? " counter\n" : " gauge\n");
      for (const auto& [labels, series] : family.series) {
        lines.push_back({std::exchange(head, "") + name + labels + " ", series});
      }
    }
  }
  std::string out;
  for (const auto& [prefix, series] : lines) {
    out += prefix;
    if (series->read) {
      out += render_value(series->read());
    } else if (series->counter) {
      out += std::to_string(series->counter->value());
    } else {
      out += render_value(series->gauge ? series->gauge->value() : 0);
    }
    out += '\n';
  }
  out +=
      "# HELP lambda_metrics_dropped_total Times a metric was asked for past the bound on their number.\n"
      "# TYPE lambda_metrics_dropped_total counter\n"
      "lambda_metrics_dropped_total " +
      std::to_string(dropped) + "\n";
  return out;
}

}  // namespace lambda
