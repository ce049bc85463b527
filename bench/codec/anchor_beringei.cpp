#include "bench/codec/anchors.h"

#ifdef LAMBDA_BERINGEI
#include <bit>

#include "beringei/lib/TimeSeriesStream.h"
#endif

namespace lambda::bench {

#ifdef LAMBDA_BERINGEI
namespace {

using facebook::gorilla::TimeSeriesStream;
using facebook::gorilla::TimeValuePair;

// Its times have 31 bits and 0 is one that it leaves out: milliseconds since the first point, and one more.
constexpr int64_t kFirst = 1;

class Beringei final : public Anchor {
 public:
  const char* name() const override { return "Beringei TimeSeriesStream"; }
  void encode(std::span<const Point> points, std::string* to) override {
    stream_.reset();  // it remembers its last time, and would refuse an earlier one
    for (const Point& point : points) {
      stream_.append(point.time_ms - points[0].time_ms + kFirst, std::bit_cast<double>(point.bits), INT64_MIN);
    }
    stream_.readData(*to);
  }
  void decode(const std::string& from, size_t count, std::vector<Point>* points) override {
    pairs_.clear();
    TimeSeriesStream::readValues(pairs_, from, static_cast<int>(count));
    points->resize(pairs_.size());
    for (size_t i = 0; i < pairs_.size(); ++i) {
      (*points)[i] = {pairs_[i].unixTime - kFirst, std::bit_cast<uint64_t>(pairs_[i].value)};
    }
  }

 private:
  TimeSeriesStream stream_;
  std::vector<TimeValuePair> pairs_;
};

}  // namespace

std::unique_ptr<Anchor> beringei() {
  return std::make_unique<Beringei>();
}
#else
std::unique_ptr<Anchor> beringei() {
  return nullptr;
}
#endif

}  // namespace lambda::bench
