// What a program counts, as Prometheus' text format 0.0.4. A registry belongs to one node; nothing is global.
//
// Thread-safe: counters and gauges may be changed from any thread; callbacks run on the thread that calls render().
// The counters live as long as the registry.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lambda {

class Counter {
 public:
  void add(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // Past `series_max` counters and gauges, all further ones share one that is not rendered;
  // lambda_metrics_dropped_total says how often that was asked for.
  explicit Metrics(size_t series_max = 10'000) : series_max_(series_max) {}
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The same name and labels give the same object. Names are [a-zA-Z_:][a-zA-Z0-9_:]*; a name has one type and the help
  // text of its first use. Counters end in _total.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // A number that something else keeps. A second callback of the same name and labels replaces the first.
  void counter_callback(std::string_view name, std::string_view help, const Labels& labels,
                        std::function<double()> read);
  void gauge_callback(std::string_view name, std::string_view help, const Labels& labels, std::function<double()> read);
  // Forgets all series whose labels contain `label`: when a device is gone. References to them become invalid.
  void remove(std::string_view label_name, std::string_view label_value);

  // Families by name, series by labels. Content type: kContentType.
  std::string render() const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  enum class Type { kCounter, kGauge };
  struct Series {
    Labels labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::function<double()> read;
  };
  struct Family {
    Type type = Type::kCounter;
    std::string help;
    std::map<std::string, std::shared_ptr<Series>> series;  // by rendered labels
  };

  Series& series_of(Type type, std::string_view name, std::string_view help, const Labels& labels);

  const size_t series_max_;
  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
  Series overflow_;  // past series_max
  size_t series_count_ = 0;
  uint64_t dropped_count_ = 0;
};

}  // namespace lambda
