#include "agent/door/remote_write.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <bit>
#include <iterator>
#include <utility>
#include <vector>

namespace lambda::agent {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Of prometheus_write.proto: number and wire type.
constexpr uint32_t tag_of(int number, WireFormatLite::WireType type) {
  return static_cast<uint32_t>(number << 3) | type;
}
constexpr uint32_t kSeries = tag_of(1, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kMetadata = tag_of(3, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kFactsType = tag_of(1, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kFactsName = tag_of(2, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kFactsHelp = tag_of(4, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kFactsUnit = tag_of(5, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr std::string_view kMetricTypes[] = {"unknown",        "counter", "gauge", "histogram",
                                             "gaugehistogram", "summary", "info",  "stateset"};
constexpr uint32_t kLabels = tag_of(1, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kSamples = tag_of(2, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kHistograms = tag_of(4, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kLabelName = tag_of(1, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kLabelValue = tag_of(2, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kSampleValue = tag_of(1, WireFormatLite::WIRETYPE_FIXED64);
constexpr uint32_t kSampleTime = tag_of(2, WireFormatLite::WIRETYPE_VARINT);

struct Sample {
  double value = 0;
  int64_t time_ms = 0;
};

// A message's fields, in their order. The library reads the bytes; nothing is copied.
class Fields {
 public:
  explicit Fields(std::string_view message)
      : message_(message), in_(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size())) {}

  // 0: the end, or what cannot be read, as whole() says.
  uint32_t next() { return in_.ReadTag(); }
  bool whole() { return static_cast<size_t>(in_.CurrentPosition()) == message_.size() && in_.ConsumedEntireMessage(); }
  size_t at() const { return static_cast<size_t>(in_.CurrentPosition()); }
  bool bytes(std::string_view* out) {
    uint32_t size = 0;
    if (!in_.ReadVarint32(&size) || size > message_.size() - at()) return false;
    *out = message_.substr(at(), size);
    return in_.Skip(static_cast<int>(size));
  }
  bool number(uint64_t* out) { return in_.ReadVarint64(out); }
  bool fixed(uint64_t* out) { return in_.ReadLittleEndian64(out); }
  bool skip(uint32_t tag) { return WireFormatLite::SkipField(&in_, tag); }

 private:
  const std::string_view message_;
  CodedInputStream in_;
};

bool read_sample(std::string_view message, Sample* sample) {
  Fields fields(message);
  uint64_t bits = 0;
  while (const uint32_t tag = fields.next()) {
    if (tag == kSampleValue) {
      if (!fields.fixed(&bits)) return false;
      sample->value = std::bit_cast<double>(bits);
    } else if (tag == kSampleTime) {
      if (!fields.number(&bits)) return false;
      sample->time_ms = static_cast<int64_t>(bits);
    } else if (!fields.skip(tag)) {
      return false;
    }
  }
  return fields.whole();
}

bool read_label(std::string_view message, std::string_view* name, std::string_view* value) {
  Fields fields(message);
  while (const uint32_t tag = fields.next()) {
    const bool good = tag == kLabelName    ? fields.bytes(name)
                      : tag == kLabelValue ? fields.bytes(value)
                                           : fields.skip(tag);
    if (!good) return false;
  }
  return fields.whole();
}

// All labels of a series' message, wherever they stand in it.
bool read_labels(std::string_view message, SeriesSpec* spec) {
  Fields fields(message);
  while (const uint32_t tag = fields.next()) {
    if (tag != kLabels) {
      if (!fields.skip(tag)) return false;
      continue;
    }
    std::string_view label, name, value;
    if (!fields.bytes(&label) || !read_label(label, &name, &value)) return false;
    if (name == "__name__") {
      spec->name = value;
    } else if (!value.empty()) {  // an empty label is none
      spec->labels.emplace_back(name, value);
    }
  }
  return fields.whole();
}

bool read_facts(std::string_view message, MetricSaid* facts) {
  Fields fields(message);
  facts->type = kMetricTypes[0];
  while (const uint32_t tag = fields.next()) {
    uint64_t type = 0;
    const bool good = tag == kFactsType   ? fields.number(&type)
                      : tag == kFactsName ? fields.bytes(&facts->metric)
                      : tag == kFactsHelp ? fields.bytes(&facts->help)
                      : tag == kFactsUnit ? fields.bytes(&facts->unit)
                                          : fields.skip(tag);
    if (!good) return false;
    if (tag == kFactsType) facts->type = kMetricTypes[type < std::size(kMetricTypes) ? type : 0];
  }
  return fields.whole();
}

struct SeriesMessage {
  std::string_view labels;  // as they were sent; empty: they do not stand together at its beginning
  std::vector<Sample> samples;
  uint64_t histograms = 0;
};

bool read_series(std::string_view message, SeriesMessage* series) {
  Fields fields(message);
  series->samples.clear();
  series->histograms = 0;
  size_t labels_end = 0;
  bool together = true;
  for (uint32_t tag = 0; (tag = fields.next()) != 0;) {
    std::string_view part;
    if (tag == kLabels) {
      together = together && series->samples.empty() && series->histograms == 0;
      if (!fields.bytes(&part)) return false;
      if (together) labels_end = fields.at();
    } else if (tag == kSamples) {
      if (!fields.bytes(&part) || !read_sample(part, &series->samples.emplace_back())) return false;
    } else if (!fields.skip(tag)) {
      return false;
    } else {
      series->histograms += tag == kHistograms ? 1 : 0;
    }
  }
  series->labels = together ? message.substr(0, labels_end) : std::string_view();
  return fields.whole();
}

}  // namespace

Status read_remote_write(std::string_view message, FeedBatch& batch) {
  const auto wrong = [] { return fail(ErrorCode::kInvalid, "the body is not a WriteRequest"); };
  if (message.size() > INT32_MAX) return wrong();
  Fields fields(message);
  SeriesMessage series;
  uint64_t number = 0;
  for (uint32_t tag = 0; (tag = fields.next()) != 0;) {
    if (batch.too_large()) return {};
    if (tag == kMetadata) {
      std::string_view body;
      MetricSaid said;
      if (!fields.bytes(&body) || !read_facts(body, &said)) return wrong();
      batch.say(said);
      continue;
    }
    if (tag != kSeries) {
      if (!fields.skip(tag)) return wrong();
      continue;
    }
    std::string_view body;
    if (!fields.bytes(&body) || !read_series(body, &series)) return wrong();
    KnownSeries& known = batch.known();
    const SeriesRef* found = series.labels.empty() ? nullptr : known.find(series.labels);
    Result<SeriesRef> ref = found != nullptr ? *found : SeriesRef{0};
    std::string name;
    if (found == nullptr || series.histograms > 0) {
      SeriesSpec spec;
      if (!read_labels(body, &spec)) return wrong();
      name = spec.name;
      if (series.samples.empty() || found != nullptr) {
        // Nothing of it is made: nothing is asked of the table.
      } else if (name.empty()) {
        ref = fail(ErrorCode::kInvalid, "the series has no __name__");
      } else if ((ref = batch.series(std::move(spec))) && !series.labels.empty()) {
        known.put(series.labels, *ref);
      }
    }
    for (const Sample& sample : series.samples) batch.add(++number, ref, sample.time_ms, sample.value);
    for (uint64_t i = 0; i < series.histograms; ++i) batch.refuse(++number, name + ": a native histogram");
  }
  return fields.whole() ? Status() : wrong();
}

}  // namespace lambda::agent
