#include "agent/source/metered_source.h"

#include <algorithm>

namespace lambda::agent {
namespace {

class CountingSink final : public Sink {
 public:
  CountingSink(Sink& sink, uint64_t& points) : sink_(sink), points_(points) {}
  Result<SeriesRef> series(const SeriesSpec& spec) override { return sink_.series(spec); }
  uint32_t epoch() const override { return sink_.epoch(); }
  void append(SeriesRef series, uint64_t bits) override {
    ++points_;
    sink_.append(series, bits);
  }

 private:
  Sink& sink_;
  uint64_t& points_;
};

}  // namespace

Status MeteredSource::collect(Sink& sink, int64_t time_ms) {
  CountingSink counting(sink, cost_.points);
  const int64_t start = clock_.mono_us();
  auto status = source_->collect(counting, time_ms);
  const int64_t spent = clock_.mono_us() - start;
  ++cost_.collections;
  cost_.microseconds += static_cast<uint64_t>(spent);
  if (!status) ++cost_.errors;
  if (spent > interval_ms() * 1000) {
    ++cost_.overruns;
    slowdown_ = std::min(slowdown_ * 2, kSlowdownMax);
  } else if (slowdown_ > 1 && 2 * spent <= interval_ms() / 2 * 1000) {
    slowdown_ /= 2;
  }
  return status;
}

}  // namespace lambda::agent
