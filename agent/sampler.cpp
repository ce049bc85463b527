#include "agent/sampler.h"

#include <algorithm>

namespace lambda::agent {

Sampler::~Sampler() {
  env_.loop.cancel(timer_);
}

void Sampler::start(std::vector<std::unique_ptr<Source>> sources) {
  for (auto& source : sources) {
    const int64_t interval = source->interval_ms();
    due_.push_back({std::move(source), 0, false, interval, false});
  }
  restart_clock();
  schedule();
}

void Sampler::restart_clock() {
  segment_ = 0;
  offset_ms_ = env_.clock.utc_ms() - env_.clock.mono_ms();
  align();
}

void Sampler::stop() {
  env_.loop.cancel(timer_);
  timer_ = 0;
  due_.clear();
}

void Sampler::align() {
  for (Due& due : due_) {
    const int64_t interval = due.source->interval_ms();
    due.at_ms = (now_ms() / interval + 1) * interval;
  }
}

void Sampler::follow_clock() {
  const int64_t ahead = env_.clock.utc_ms() - env_.clock.mono_ms() - offset_ms_;
  if (std::abs(ahead) > step_ms_) {
    counters_.clock_steps++;
    segment_++;
    offset_ms_ += ahead;
    env_.log.warn("clock_stepped", {{"by_ms", ahead}, {"segment", segment_}});
    align();
    handlers_.clock_stepped(segment_);
  } else if (ahead != 0 && env_.clock.mono_ms() - slewed_ms_ >= 1'000) {
    slewed_ms_ = env_.clock.mono_ms();
    offset_ms_ += ahead > 0 ? 1 : -1;
  }
}

void Sampler::schedule() {
  if (due_.empty()) return;
  const auto next = std::min_element(due_.begin(), due_.end(), [](auto& a, auto& b) { return a.at_ms < b.at_ms; });
  // A clock that is set forward is noticed at the latest after this.
  constexpr int64_t kLookMs = 1'000;
  const int64_t wait = std::clamp<int64_t>(next->at_ms - now_ms(), 0, kLookMs);
  timer_ = env_.loop.after(wait, [this] {
    timer_ = 0;
    fire();
  });
}

void Sampler::fire() {
  follow_clock();
  const int64_t now = now_ms();
  std::vector<int64_t> moments;
  for (Due& due : due_) {
    const int64_t interval = due.source->interval_ms();
    if (now - due.at_ms >= interval) {
      const int64_t skipped = (now - due.at_ms) / interval;
      counters_.moments_missed += static_cast<uint64_t>(skipped);
      due.at_ms += skipped * interval;
    }
    if (due.at_ms <= now) moments.push_back(due.at_ms);
  }
  std::sort(moments.begin(), moments.end());
  moments.erase(std::unique(moments.begin(), moments.end()), moments.end());
  for (const int64_t at : moments) collect(at);
  schedule();
}

void Sampler::collect(int64_t at_ms) {
  points_.clear();
  for (Due& due : due_) {
    if (due.at_ms != at_ms) continue;
    due.at_ms += due.source->interval_ms();
    counters_.collections++;
    owner_ = due.source->owner();
    const Status status = due.source->collect(*this, at_ms);
    if (!status) counters_.collections_failed++;
    if (!status && !due.failed) {
      env_.log.warn("collection_failed", {{"source", due.source->name()}, {"error", status.error().text}});
    }
    due.failed = !status;
    tell_slowdown(due);
  }
  emit(at_ms);
}

// Once when a source begins to take longer, once when it is back at its interval; not each time that it changes.
void Sampler::tell_slowdown(Due& due) {
  const int64_t interval = due.source->interval_ms();
  if (interval == due.interval_ms && due.slowed) {
    env_.log.info("source_at_its_interval", {{"source", due.source->name()}, {"interval_ms", interval}});
  } else if (interval > due.interval_ms && !due.slowed) {
    env_.log.warn("source_slowed", {{"source", due.source->name()},
                                    {"why", "a collection took longer than its interval"},
                                    {"interval_ms", interval},
                                    {"configured_ms", due.interval_ms}});
  }
  due.slowed = interval > due.interval_ms;
}

// A series may stand in a row once: what comes twice goes into a row of its own.
void Sampler::emit(int64_t at_ms) {
  const auto by_ref = [](const RowPoint& a, const RowPoint& b) { return a.ref < b.ref; };
  if (!std::is_sorted(points_.begin(), points_.end(), by_ref)) std::stable_sort(points_.begin(), points_.end(), by_ref);
  while (!points_.empty()) {
    Row row{at_ms, segment_, {}};
    row.points.reserve(points_.size());
    std::vector<RowPoint> again;
    for (const RowPoint& point : points_) {
      const bool twice = !row.points.empty() && row.points.back().ref == point.ref;
      (twice ? again : row.points).push_back(point);
    }
    handlers_.row(std::move(row));
    points_.swap(again);
  }
}

Result<SeriesRef> Sampler::add_series(const SeriesSpec& spec, SeriesOwner owner, bool may_add, bool* fresh) {
  const uint32_t before = table_->known_count();
  auto ref = table_->find_or_add(spec, may_add, owner);
  if (!ref) {
    uint64_t& count = ref.error().code == ErrorCode::kFull     ? counters_.series_refused
                      : ref.error().code == ErrorCode::kDenied ? counters_.series_of_others
                                                               : counters_.series_invalid;
    if (ref.error().code == ErrorCode::kFull) offenders_.add(spec.name);
    if (count++ == 0) env_.log.warn("series_refused", {{"error", ref.error().text}});
    return ref;
  }
  *fresh = table_->known_count() > before;
  if (*fresh) handlers_.series_added(*ref);
  return ref;
}

void Sampler::tell_refused() {
  constexpr int64_t kPauseMs = 60'000;
  const int64_t now = env_.clock.mono_ms();
  if (offenders_.total() == refused_told_ || (refused_told_ > 0 && now - refused_told_ms_ < kPauseMs)) return;
  env_.log.warn("series_over_cap",
                {{"refused", offenders_.total() - refused_told_}, {"worst_since_start", offenders_.text()}});
  refused_told_ = offenders_.total();
  refused_told_ms_ = now;
}

}  // namespace lambda::agent
