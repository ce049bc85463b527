#include "cep/stream/reorder.h"

#include <algorithm>
#include <tuple>

namespace lambda::cep {
namespace {

bool newer(const WaitingEvent& x, const WaitingEvent& y) {
  return std::tie(x.t, x.arrival) > std::tie(y.t, y.arrival);
}

size_t bytes_of(const WaitingEvent& event) {
  return sizeof(WaitingEvent) + event.columns.size() * sizeof(Value);
}

}  // namespace

bool ReorderBuffer::add(TimelineId timeline, WaitingEvent event) {
  std::vector<WaitingEvent>& events = waiting_[timeline];
  const auto place = std::ranges::upper_bound(events, event, newer);
  bytes_ += bytes_of(event);
  events.insert(place, std::move(event));
  return events.size() <= kEventsMax;
}

WaitingEvent ReorderBuffer::take_oldest(TimelineId timeline) {
  const auto found = waiting_.find(timeline);
  LAMBDA_ASSERT(found != waiting_.end());
  WaitingEvent oldest = std::move(found->second.back());
  bytes_ -= bytes_of(oldest);
  found->second.pop_back();
  if (found->second.empty()) {
    waiting_.erase(found);
  }
  return oldest;
}

std::optional<WaitingEvent> ReorderBuffer::take(TimelineId timeline, int64_t t, uint64_t arrival) {
  const auto found = waiting_.find(timeline);
  if (found == waiting_.end() || found->second.back().t != t || found->second.back().arrival != arrival) {
    return std::nullopt;
  }
  return take_oldest(timeline);
}

std::optional<int64_t> ReorderBuffer::last_of(const std::vector<WaitingEvent>& events, int64_t clock) const {
  const auto counts = [&](const WaitingEvent& event) {
    return event.clock <= clock && event.t <= event.clock + clock_skew_ms_;
  };
  const auto last = std::ranges::find_if(events, counts);
  return last == events.end() ? std::nullopt : std::optional(last->t);
}

std::optional<ReorderBuffer::Last> ReorderBuffer::last_by(int64_t clock, std::optional<TimelineId> timeline) const {
  std::optional<Last> out;
  const auto look_at = [&](TimelineId id, const std::vector<WaitingEvent>& events) {
    const auto t = last_of(events, clock);
    if (t && (!out || std::pair(*t, id) > std::pair(out->t, out->timeline))) {
      out = Last{id, *t};
    }
  };
  if (!timeline) {
    for (const auto& [id, events] : waiting_) {
      look_at(id, events);
    }
  } else if (const auto found = waiting_.find(*timeline); found != waiting_.end()) {
    look_at(*timeline, found->second);
  }
  return out;
}

size_t ReorderBuffer::count() const {
  size_t count = 0;
  for (const auto& [timeline, events] : waiting_) {
    count += events.size();
  }
  return count;
}

void ReorderBuffer::save(StateWriter& out) const {
  std::vector<TimelineId> timelines;  // sorted: the same state gives the same bytes
  for (const auto& [timeline, events] : waiting_) {
    timelines.push_back(timeline);
  }
  std::ranges::sort(timelines);
  out.u32(static_cast<uint32_t>(timelines.size()));
  for (const TimelineId timeline : timelines) {
    const std::vector<WaitingEvent>& events = waiting_.at(timeline);
    out.u32(timeline);
    out.u32(static_cast<uint32_t>(events.size()));
    for (const WaitingEvent& event : events) {
      out.i64(event.t);
      out.u64(event.arrival);
      out.i64(event.on_input);
      out.i64(event.clock);
      out.u32(event.stream);
      out.u32(static_cast<uint32_t>(event.columns.size()));
      for (const Value& value : event.columns) {
        out.value(value);
      }
    }
  }
}

void ReorderBuffer::load(StateReader& in) {
  waiting_.clear();
  bytes_ = 0;
  const size_t timelines = in.count(8);
  for (size_t i = 0; i < timelines && in.ok(); ++i) {
    const TimelineId timeline = in.u32();
    std::vector<WaitingEvent> events(in.count(40));
    for (WaitingEvent& event : events) {
      event.t = in.i64();
      event.arrival = in.u64();
      event.on_input = in.i64();
      event.clock = in.i64();
      event.stream = in.u32();
      event.columns.resize(in.count(1));
      for (Value& value : event.columns) {
        value = in.value();
      }
      bytes_ += bytes_of(event);
    }
    if (!events.empty()) {
      waiting_[timeline] = std::move(events);
    }
  }
}

}  // namespace lambda::cep
