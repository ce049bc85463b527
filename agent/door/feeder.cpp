#include "agent/door/feeder.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace lambda::agent {
namespace {

constexpr uint64_t kRowsOutMax = 16;  // at the journal at a time: collectors find room beside us

}  // namespace

void FeedBatch::add(uint64_t item, SeriesSpec series, int64_t time_ms, double value) {
  // The two labels that say which device it was; a client's own are kept as Prometheus keeps those of its targets.
  for (auto& [name, text] : series.labels) {
    if (name == "instance" || name == "site") name = "exported_" + name;
  }
  // Clients send what belongs together in a row.
  const bool same = !series_.empty() && series_.back().name == series.name && series_.back().labels == series.labels;
  if (!same) series_.push_back(std::move(series));
  points_.push_back({item, static_cast<uint32_t>(series_.size() - 1), time_ms, value});
}

void FeedBatch::refuse(uint64_t item, std::string why) {
  refused_++;
  if (errors_.size() < errors_max_) errors_.push_back({item, std::move(why)});
}

Result<SeriesRef> Feeder::ref_of(const SeriesSpec& spec) {
  bool fresh = false;
  const auto ref = ports_.series(spec, &fresh);
  if (!ref) return ref;
  if (last_.size() <= *ref) last_.resize(*ref + 1);
  if (fresh) last_[*ref].ours = true;
  if (!last_[*ref].ours) return fail(ErrorCode::kInvalid, spec.name + ": a collector makes this series");
  return ref;
}

Feeder::Admission Feeder::admit(SeriesRef ref, int64_t time_ms, uint64_t bits, std::string* why) {
  const int64_t now = ports_.now_ms();
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
  if (points_waiting_ + batch.points_.size() > options_.points_waiting_max) {
    counters_.batches_full++;
    request->result.status = fail(ErrorCode::kFull, std::to_string(points_waiting_) + " points wait for the journal");
    return finish(*request);
  }
  std::vector<Result<SeriesRef>> refs;
  refs.reserve(batch.series_.size());
  for (const SeriesSpec& spec : batch.series_) refs.push_back(ref_of(spec));
  // In the order of time, whatever the order of the lines.
  const auto earlier = [](const FeedBatch::Item& a, const FeedBatch::Item& b) { return a.time_ms < b.time_ms; };
  std::stable_sort(batch.points_.begin(), batch.points_.end(), earlier);
  std::string why;
  for (const FeedBatch::Item& point : batch.points_) {
    const auto& ref = refs[point.series];
    if (!ref) {
      batch.refuse(point.item, ref.error().text);
      continue;
    }
    const uint64_t bits = std::bit_cast<uint64_t>(point.value);
    switch (admit(*ref, point.time_ms, bits, &why)) {
      case Admission::kTaken:
        enqueue(request, point.time_ms, {*ref, bits});
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
  request->result.errors = std::move(batch.errors_);
  counters_.points_refused += batch.refused_;
  if (request->rows == 0 && request->has_again && (rows_out_ > 0 || !waiting_.empty())) {
    // The batch that brought them first may not be decided yet: an empty row comes behind all of its rows.
    waiting_.push_back({{}, request});
    request->rows++;
  }
  if (request->rows == 0) return finish(*request);
  pump();
}

// Points of one moment that come one after the other are one row.
void Feeder::enqueue(const std::shared_ptr<Request>& request, int64_t time_ms, RowPoint point) {
  const bool joins = !waiting_.empty() && waiting_.back().request == request && waiting_.back().row.time_ms == time_ms;
  if (!joins) {
    waiting_.push_back({{time_ms, 0, {}}, request});
    request->rows++;
  }
  waiting_.back().row.points.push_back(point);
  points_waiting_++;
}

void Feeder::pump() {
  while (!waiting_.empty() && rows_out_ < kRowsOutMax) {
    Waiting next = std::move(waiting_.front());
    if (next.row.points.empty() && rows_out_ > 0) {
      waiting_.front() = std::move(next);
      return;  // it waits for those before it
    }
    waiting_.pop_front();
    if (next.row.points.empty()) {
      decided(next.request, next.row, {});
      continue;
    }
    std::sort(next.row.points.begin(), next.row.points.end(),
              [](const RowPoint& a, const RowPoint& b) { return a.ref < b.ref; });
    next.row.clock = ports_.segment();
    rows_out_++;
    ports_.row(std::move(next.row), [this, alive = alive_, request = next.request](Status status, const Row& row) {
      if (!*alive) return;
      rows_out_--;
      points_waiting_ -= row.points.size();
      decided(request, row, status);
      pump();
    });
  }
}

void Feeder::decided(const std::shared_ptr<Request>& request, const Row& row, const Status& status) {
  const uint64_t points = row.points.size();
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
  if (status) {
    request->result.accepted += points;
    counters_.points += points;
  } else {
    failures_++;
    counters_.points_failed += points;
    request->result.status = fail(ErrorCode::kIo, status.error().text);
  }
  if (--request->rows == 0) finish(*request);
}

void Feeder::finish(Request& request) {
  // A row failed since: it may have been the one that these points stand in.
  if (request.has_again && failures_ != request.failures && request.result.status) {
    request.result.status = fail(ErrorCode::kIo, "points of this batch that came before could not be written");
  }
  std::exchange(request.done, nullptr)(std::move(request.result));
}

}  // namespace lambda::agent
