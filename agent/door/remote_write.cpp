#include "agent/door/remote_write.h"

#include <utility>

#include "proto/prometheus_write.pb.h"

namespace lambda::agent {

Status read_remote_write(std::string_view message, FeedBatch& batch) {
  prometheus::WriteRequest request;
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return fail(ErrorCode::kInvalid, "the body is not a WriteRequest");
  }
  uint64_t number = 0;
  for (const auto& series : request.timeseries()) {
    SeriesSpec spec;
    for (const auto& label : series.labels()) {
      if (label.name() == "__name__") {
        spec.name = label.value();
      } else if (!label.value().empty()) {  // an empty label is none
        spec.labels.emplace_back(label.name(), label.value());
      }
    }
    for (const auto& sample : series.samples()) {
      ++number;
      if (spec.name.empty()) {
        batch.refuse(number, "the series has no __name__");
      } else {
        batch.add(number, spec, sample.timestamp(), sample.value());
      }
    }
    for (int i = 0; i < series.histograms_size(); ++i) batch.refuse(++number, spec.name + ": a native histogram");
  }
  return {};
}

}  // namespace lambda::agent
