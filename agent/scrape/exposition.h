// Prometheus' text formats, read line by line: text 0.0.4 and OpenMetrics 1.0.
//
// Both: `name{label="value",...} value [time]`, `# TYPE`, `# HELP`; a label's value has \\, \" and \n escaped. The
// differences: times are milliseconds, in OpenMetrics seconds with a fraction; OpenMetrics has `# UNIT`, exemplars
// behind a sample (read and passed over), no empty lines, and ends with `# EOF`. A text whose last line has no end, and
// an OpenMetrics text without its `# EOF`, were cut: an error, because a cut number is another number.
//
// Not read: names in quotes (they are sent only to who asks for them), native histograms.
// Views are into the text, which must outlive the reader. Nothing is allocated but for errors. Any one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/source/source.h"
#include "base/result.h"

namespace lambda::agent {

enum class ExpositionFormat { kText, kOpenMetrics };

// By the answer's Content-Type; anything that is not said to be another format is taken for text. kUnsupported: a
// format that was not asked for (protocol buffers, HTML).
Result<ExpositionFormat> exposition_format(std::string_view content_type);

struct ExpositionSample {
  std::string_view series;  // name and labels as they are written
  std::string_view name;
  std::string_view labels;  // what is written between the braces, checked
  double value = 0;
  bool timed = false;
  int64_t time_ms = 0;  // when timed
};

class ExpositionReader {
 public:
  ExpositionReader(std::string_view text, ExpositionFormat format) : rest_(text), format_(format) {}

  enum class Item { kSample, kType, kHelp, kUnit, kEnd };
  // The next line that says something. kInvalid, with the line's number: nothing behind it is read.
  Result<Item> next();

  const ExpositionSample& sample() const { return sample_; }  // of kSample
  std::string_view family() const { return family_; }         // of kType, kHelp, kUnit: which metric it is about
  std::string_view words() const { return words_; }  // of those: a type's name, a unit, a help text, still escaped
  size_t bytes_left() const { return rest_.size(); }

 private:
  Result<bool> comment(std::string_view line, Item* item);
  const char* read_sample(std::string_view line);
  const char* read_time(std::string_view word);
  const char* read_exemplar(std::string_view rest);
  Result<Item> ended();
  tl::unexpected<Error> wrong(std::string_view what) const;

  std::string_view rest_;
  ExpositionFormat format_;
  uint64_t line_ = 0;
  bool eof_ = false;  // OpenMetrics' own end was read
  ExpositionSample sample_;
  std::string_view family_, words_;
};

// The labels of a sample that was read. An empty one is an absent one, and left out.
LabelList exposition_labels(std::string_view labels);
// A help text as it was meant, at most `bytes_max` of it.
std::string exposition_help(std::string_view words, size_t bytes_max);

// What a sample of the family `family` with this type is: buckets, counts and sums of a histogram are counters.
Kind exposition_kind(std::string_view type, std::string_view family, std::string_view name);
// Whether `name` is a sample of the family: "http_seconds_bucket" of "http_seconds".
bool exposition_belongs(std::string_view family, std::string_view name);

}  // namespace lambda::agent
