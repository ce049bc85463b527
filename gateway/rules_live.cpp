#include "gateway/rules_live.h"

#include <memory>
#include <utility>

#include "query/parser.h"

namespace lambda::gateway {

RulesLive::~RulesLive() {
  for (const auto& [selector, request] : requests_) env_.loop.cancel(request.timer);
}

void RulesLive::reads(const std::vector<std::string>& metrics) {
  if (subscribed_) live_.unsubscribe(subscription_);
  subscribed_ = false;
  if (metrics.empty()) return;
  std::vector<std::vector<query::Matcher>> selectors;
  for (const std::string& metric : metrics) selectors.push_back({{"__name__", query::MatchOp::kEqual, metric}});
  auto subscription = live_.subscribe(selectors, *this);
  if (!subscription) {
    // Rules see the points all the same, when their blocks come.
    env_.log.warn("rules_not_live", {{"why", subscription.error().text}});
    return;
  }
  subscription_ = *subscription;
  subscribed_ = true;
}

void RulesLive::request(const std::string& selector, int64_t duration_ms) {
  auto found = requests_.find(selector);
  if (found == requests_.end()) {
    const auto matchers = query::parse_selector(selector);
    Status good = matchers ? Status() : Status(tl::unexpected(matchers.error()));
    if (good && requests_.size() >= kRequestsMax) good = fail(ErrorCode::kFull, "too many requests at once");
    Request request;
    if (good) {
      auto subscription = live_.subscribe({*matchers}, nobody_);
      if (subscription) {
        request.subscription = *subscription;
      } else {
        good = tl::unexpected(subscription.error());
      }
    }
    if (!good) {
      env_.log.warn("live_not_requested", {{"selector", selector}, {"why", good.error().text}});
      return;
    }
    found = requests_.emplace(selector, request).first;
  }
  env_.loop.cancel(found->second.timer);
  found->second.timer = env_.loop.after(duration_ms, [this, selector] {
    const auto over = requests_.find(selector);
    if (over == requests_.end()) return;
    live_.unsubscribe(over->second.subscription);
    requests_.erase(over);
  });
}

void RulesLive::take(const FreshRun& run) {
  if (rules_ == nullptr || run.lane != Lane::kLive || run.timeless) return;
  auto series = std::make_shared<KnownSeries>();
  for (const auto& [name, value] : run.series.labels) {
    if (name == "__name__") {
      series->name = value;
    } else if (name != "instance" && name != "site") {
      series->labels.emplace_back(name, value);
    }
  }
  std::vector<LivePoint> points;
  points.reserve(run.points.size());
  for (const FreshPoint& point : run.points) {
    points.push_back({run.series.device, run.boot, run.ref, point.ordinal, point.time_ms,
                      number_of(run.series, point.bits), series});
  }
  rules_->live(std::move(points));
}

}  // namespace lambda::gateway
