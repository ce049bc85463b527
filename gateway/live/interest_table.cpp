#include "gateway/live/interest_table.h"

#include <algorithm>
#include <utility>

#include "base/planted.h"

namespace lambda::gateway {

InterestTable::InterestTable(Env& env, InterestOptions options, Publish publish)
    : env_(env), options_(options), publish_(std::move(publish)) {}

InterestTable::~InterestTable() {
  env_.loop.cancel(timer_);
}

void InterestTable::want(const std::string& selector) {
  const int64_t until_ms = now_ms() + options_.keep_ms;
  if (const auto found = entries_.find(selector); found != entries_.end()) {
    found->second.until_ms = until_ms;
    return;
  }
  if (selector.size() > options_.selector_bytes_max || !make_room(selector.size())) {
    ++counters_.refused;
    return;
  }
  entries_[selector].until_ms = until_ms;
  bytes_ += selector.size();
  changed();
}

Status InterestTable::hold(const std::string& selector) {
  if (selector.size() > options_.selector_bytes_max) {
    ++counters_.refused;
    return fail(ErrorCode::kInvalid,
                "the selector is longer than " + std::to_string(options_.selector_bytes_max) + " bytes");
  }
  if (const auto found = entries_.find(selector); found != entries_.end()) {
    ++found->second.holds;
    return {};
  }
  if (!make_room(selector.size())) {
    ++counters_.refused;
    return fail(ErrorCode::kFull, "rules hold all " + std::to_string(options_.selectors_max) + " selectors, or all " +
                                      std::to_string(options_.bytes_max) + " bytes of them");
  }
  entries_[selector].holds = 1;
  bytes_ += selector.size();
  changed();
  return {};
}

void InterestTable::release(const std::string& selector) {
  const auto found = entries_.find(selector);
  LAMBDA_ASSERT(found != entries_.end() && found->second.holds > 0);
  --found->second.holds;
  schedule();
}

// The questions that were asked least recently give way.
bool InterestTable::make_room(size_t bytes) {
  while (entries_.size() >= options_.selectors_max || bytes_ + bytes > options_.bytes_max) {
    auto least = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->second.holds > 0) continue;
      if (least == entries_.end() || at->second.until_ms < least->second.until_ms) least = at;
    }
    if (least == entries_.end()) return false;
    bytes_ -= least->first.size();
    entries_.erase(least);
    ++counters_.replaced;
    dirty_ = true;
  }
  return true;
}

void InterestTable::changed() {
  dirty_ = true;
  schedule();
}

void InterestTable::connected() {
  connected_ = true;
  expire();
  publish();
  schedule();
}

void InterestTable::disconnected() {
  connected_ = false;
  env_.loop.cancel(std::exchange(timer_, 0));
}

void InterestTable::expire() {
  const int64_t now = now_ms();
  const auto gone = std::erase_if(entries_, [&](const auto& entry) {
    if (entry.second.holds > 0 || entry.second.until_ms > now) return false;
    bytes_ -= entry.first.size();
    return true;
  });
  if (gone > 0) dirty_ = true;
}

void InterestTable::publish() {
  const bool renewal = !std::exchange(dirty_, false);
  if (!renewal) ++version_;
  std::vector<std::string> selectors;
  selectors.reserve(entries_.size());
  for (const auto& [selector, entry] : entries_) selectors.push_back(selector);
  const auto lease_s = selectors.empty() ? 0u : static_cast<uint32_t>((options_.lease_ms + 999) / 1000);
  published_ms_ = now_ms();
  const Status told = publish_(version_, lease_s, selectors);
  failed_ = !told;
  if (failed_) {
    ++counters_.publish_errors;
    env_.log.warn("interest_not_published", {{"why", told.error().text}});
    return;
  }
  ++counters_.published;
  if (renewal) ++counters_.renewals;
}

// One timer for what comes next: a change to be told, a renewal, a selector that nobody wants any more.
void InterestTable::schedule() {
  env_.loop.cancel(std::exchange(timer_, 0));
  if (!connected_) return;
  int64_t at = INT64_MAX;
  if (dirty_) at = published_ms_ + options_.change_ms_min;
  if (failed_) at = published_ms_ + options_.retry_ms;
  if (!entries_.empty() && !failed_ && !planted("live_no_renewal")) {
    at = std::min(at, published_ms_ + options_.lease_ms / 2);
  }
  for (const auto& [selector, entry] : entries_) {
    if (entry.holds == 0) at = std::min(at, entry.until_ms);
  }
  if (at == INT64_MAX) return;
  timer_ = env_.loop.after(std::max<int64_t>(0, at - now_ms()), [this] {
    timer_ = 0;
    act();
  });
}

void InterestTable::act() {
  expire();
  const int64_t since = now_ms() - published_ms_;
  const bool renew = !entries_.empty() && since >= options_.lease_ms / 2 && !planted("live_no_renewal");
  const bool tell = dirty_ && since >= options_.change_ms_min;
  if (failed_ ? since >= options_.retry_ms : renew || tell) publish();
  schedule();
}

}  // namespace lambda::gateway
