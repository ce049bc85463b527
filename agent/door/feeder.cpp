#include "agent/door/feeder.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace lambda::agent {
namespace {

constexpr uint64_t kAppendsOutMax = 16;  // at the journal at a time: collectors find room beside us

}  // namespace

FeedBatch::FeedBatch(Feeder& feeder) : feeder_(feeder) {}

double double_of(int64_t whole, FeedBatch& batch) {
  const auto value = static_cast<double>(whole);
  // 2^63 itself is a double and no int64.
  if (value >= 0x1p63 || static_cast<int64_t>(value) != whole) batch.value_was_rounded();
  return value;
}

double double_of(uint64_t whole, FeedBatch& batch) {
  const auto value = static_cast<double>(whole);
  if (value >= 0x1p64 || static_cast<uint64_t>(value) != whole) batch.value_was_rounded();
  return value;
}

KnownSeries& FeedBatch::known() {
  return feeder_.known_;
}

void FeedBatch::say(const MetricSaid& said) {
  if (feeder_.ports_.said) feeder_.ports_.said(said);
}

Result<SeriesRef> FeedBatch::series(SeriesSpec spec) {
  // The two labels that say which device it was; a client's own are kept as Prometheus keeps those of its targets.
  for (auto& [name, text] : spec.labels) {
    if (name == "instance" || name == "site") name = "exported_" + name;
  }
  const bool same = has_last_ && last_.name == spec.name && last_.labels == spec.labels && last_.kind == spec.kind;
  if (same) return last_ref_;
  last_ref_ = feeder_.ref_of(spec);
  last_ = std::move(spec);
  has_last_ = true;
  return last_ref_;
}

void FeedBatch::add(uint64_t item, const Result<SeriesRef>& series, int64_t time_ms, double value) {
  if (!series) return refuse(item, series.error().text);
  if (points_.size() >= feeder_.options_.points_waiting_max) too_large_ = true;
  if (!too_large_) points_.push_back({item, *series, time_ms, value});
}

void FeedBatch::refuse(uint64_t item, std::string why) {
  refused_++;
  if (errors_.size() < feeder_.options_.errors_max) errors_.push_back({item, std::move(why)});
}

Result<SeriesRef> Feeder::ref_of(const SeriesSpec& spec) {
  bool fresh = false;
  const auto ref = ports_.series(spec, counters_.series < options_.series_max, &fresh);
  if (!ref) return ref;
  if (last_.size() <= *ref) last_.resize(*ref + 1);
  if (!std::exchange(last_[*ref].ours, true)) counters_.series++;
  return ref;
}

void Feeder::each_in_use(const std::function<void(SeriesRef)>& in_use) const {
  for (SeriesRef ref = 0; ref < last_.size(); ++ref) {
    if (last_[ref].undecided > 0) in_use(ref);
  }
}

void Feeder::forget(const std::vector<bool>& gone) {
  for (SeriesRef ref = 0; ref < std::min(last_.size(), gone.size()); ++ref) {
    if (!gone[ref]) continue;
    LAMBDA_ASSERT(last_[ref].undecided == 0);
    if (last_[ref].ours) counters_.series--;
    last_[ref] = {};
  }
  known_.clear();
}

Places Feeder::places(const std::function<bool(SeriesRef)>& ended) const {
  Places places{counters_.series, options_.series_max, 0};
  for (SeriesRef ref = 0; ref < last_.size(); ++ref) places.ended += last_[ref].ours && ended(ref) ? 1 : 0;
  return places;
}

Feeder::Admission Feeder::admit(SeriesRef ref, int64_t now, int64_t time_ms, uint64_t bits, std::string* why) {
  if (time_ms > now && time_ms - now > options_.future_ms_max) {
    *why = "its time is " + std::to_string((time_ms - now) / 1000) + " s ahead of this machine's clock";
    return Admission::kRefused;
  }
  if (time_ms < now - options_.past_ms_max) {
    *why = "its time is further back than " + std::to_string(options_.past_ms_max / 1000) + " s; is the unit right?";
    return Admission::kRefused;
  }
  Last& last = last_[ref];
  if (last.failed) return Admission::kLater;
  if (time_ms > last.time_ms) {
    last.time_ms = time_ms;
    last.bits = bits;
    last.undecided++;
    return Admission::kTaken;
  }
  if (time_ms == last.time_ms && bits == last.bits) return Admission::kAgain;
  *why = time_ms == last.time_ms
             ? "the series has another value for this time"
             : "out of order: the series is " + std::to_string(last.time_ms - time_ms) + " ms further";
  return Admission::kRefused;
}

void Feeder::take(FeedBatch batch, std::function<void(FeedResult)> done) {
  counters_.batches++;
  const auto request = std::make_shared<Request>();
  request->done = std::move(done);
  request->failures = failures_;
  if (batch.too_large_) {
    request->result.status =
        fail(ErrorCode::kInvalid, "more than " + std::to_string(options_.points_waiting_max) +
                                      " points at once (doors.points_waiting_max); send fewer at a time");
    return finish(*request);
  }
  if (points_waiting_ + batch.points_.size() > options_.points_waiting_max) {
    counters_.batches_full++;
    request->result.status = fail(ErrorCode::kFull, std::to_string(points_waiting_) + " points wait for the journal");
    return finish(*request);
  }
  // In the order of time, whatever the order of the lines.
  const auto earlier = [](const FeedBatch::Item& a, const FeedBatch::Item& b) { return a.time_ms < b.time_ms; };
  if (!std::is_sorted(batch.points_.begin(), batch.points_.end(), earlier)) {
    std::stable_sort(batch.points_.begin(), batch.points_.end(), earlier);
  }
  const int64_t now = ports_.now_ms();
  std::string why;
  for (const FeedBatch::Item& point : batch.points_) {
    const uint64_t bits = std::bit_cast<uint64_t>(point.value);
    switch (admit(point.series, now, point.time_ms, bits, &why)) {
      case Admission::kTaken:
        enqueue(request, point.time_ms, {point.series, bits});
        break;
      case Admission::kAgain:
        request->has_again = true;
        request->result.accepted++;
        counters_.points_again++;
        break;
      case Admission::kLater:
        request->result.status = fail(ErrorCode::kIo, "the journal could not be written a moment ago; send it again");
        break;
      case Admission::kRefused:
        batch.refuse(point.item, why);
        break;
    }
  }
  request->result.refused = batch.refused_;
  request->result.rounded = batch.rounded_;
  counters_.values_rounded += batch.rounded_;
  request->result.errors = std::move(batch.errors_);
  counters_.points_refused += batch.refused_;
  if (request->appends == 0 && request->has_again && (appends_out_ > 0 || !waiting_.empty())) {
    // The batch that brought them first may not be decided yet: an empty one comes behind all that wait.
    waiting_.push_back({{}, 0, request, {}});
    request->appends++;
  }
  if (request->appends == 0) return finish(*request);
  // In several appends the first may fail and the last be made, and so may what came before: then only a good answer
  // says that all of it is.
  Waiting& own = waiting_.back();
  if (batch.request_ && request->appends == 1 && !request->has_again && request->result.status) {
    own.note = {*batch.request_, static_cast<uint32_t>(own.points), static_cast<uint32_t>(batch.refused_)};
  }
  pump();
}

// Points of one moment that come one after the other are one row.
void Feeder::enqueue(const std::shared_ptr<Request>& request, int64_t time_ms, RowPoint point) {
  const bool joins =
      !waiting_.empty() && waiting_.back().request == request && waiting_.back().points < options_.append_points_max;
  if (!joins) {
    waiting_.push_back({{}, 0, request, {}});
    request->appends++;
  }
  std::vector<Row>& rows = waiting_.back().rows;
  if (rows.empty() || rows.back().time_ms != time_ms) rows.push_back({time_ms, 0, {}});
  rows.back().points.push_back(point);
  waiting_.back().points++;
  points_waiting_++;
}

void Feeder::pump() {
  const auto by_ref = [](const RowPoint& a, const RowPoint& b) { return a.ref < b.ref; };
  while (!waiting_.empty() && appends_out_ < kAppendsOutMax) {
    if (waiting_.front().rows.empty() && appends_out_ > 0) return;  // it waits for those before it
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    if (next.rows.empty()) {
      decided(next.request, {}, {});
      continue;
    }
    for (Row& row : next.rows) {
      row.clock = ports_.segment();
      if (!std::is_sorted(row.points.begin(), row.points.end(), by_ref)) {
        std::sort(row.points.begin(), row.points.end(), by_ref);
      }
    }
    appends_out_++;
    ports_.rows(
        std::move(next.rows), next.note,
        [this, alive = alive_, request = next.request, points = next.points](Status status, std::span<const Row> rows) {
          if (!*alive) return;
          appends_out_--;
          points_waiting_ -= points;
          decided(request, rows, status);
          pump();
        });
  }
}

void Feeder::decided(const std::shared_ptr<Request>& request, std::span<const Row> rows, const Status& status) {
  uint64_t points = 0;
  for (const Row& row : rows) {
    points += row.points.size();
    for (const RowPoint& point : row.points) {
      Last& last = last_[point.ref];
      last.undecided--;
      if (status) {
        last.made_ms = row.time_ms;
        last.made_bits = point.bits;
      }
      if (!status) last.failed = true;
      if (last.failed && last.undecided == 0) {
        last.failed = false;
        last.time_ms = last.made_ms;
        last.bits = last.made_bits;
      }
    }
  }
  if (status) {
    request->result.accepted += points;
    counters_.points += points;
  } else {
    failures_++;
    counters_.points_failed += points;
    request->result.status = fail(ErrorCode::kIo, status.error().text);
  }
  if (--request->appends == 0) finish(*request);
}

void Feeder::finish(Request& request) {
  // An append failed since: it may have been the one that these points stand in.
  if (request.has_again && failures_ != request.failures && request.result.status) {
    request.result.status = fail(ErrorCode::kIo, "points of this batch that came before could not be written");
  }
  std::exchange(request.done, nullptr)(std::move(request.result));
}

}  // namespace lambda::agent
