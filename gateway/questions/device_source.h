// A device as something that PromQL can be asked of. An expression is looked at twice by the same evaluator: first over
// a Rehearsal, which has one made-up series for each selector and notes what was wanted of it; then over what the
// device answered to just that. So an expression means the same wherever it is asked, and a sum over ten minutes costs
// the device a few numbers instead of its points.
//
// Loop thread, as SeriesSource; cursors stand alone and are for any one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/questions/questions.h"
#include "query/matcher.h"
#include "query/series_source.h"

namespace lambda::gateway {

// One selector of an expression.
struct Wanted {
  std::vector<query::Matcher> matchers;
  int64_t from_ms = 0, to_ms = 0;
  bool other_device = false;  // its matchers rule this device out: nothing need be asked
  DeviceQuestion question;
};

// The labels that the gateway gives a device's series.
query::Labels full_labels(const Declared& declared, const std::string& device, const std::string& site);

class Rehearsal final : public query::SeriesSource {
 public:
  Rehearsal(std::string device, std::string site) : device_(std::move(device)), site_(std::move(site)) {}

  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;
  // What has to be asked, when the evaluation is over. `newest`: the expression is nothing but a selector at one
  // moment.
  std::vector<Wanted> wanted(bool newest) const;

 private:
  struct Notes {
    bool read = false;
    bool gathered = false;
    query::Windows windows{};
  };
  class Cursor;
  const std::string device_, site_;
  std::vector<Wanted> wanted_;
  std::vector<std::shared_ptr<Notes>> notes_;
};

// The answers, in the order of what was wanted.
class AnswerSource final : public query::SeriesSource {
 public:
  AnswerSource(std::string device, std::string site, std::vector<Wanted> wanted, std::vector<DeviceAnswer> answers);

  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;

 private:
  class Cursor;
  const std::string device_, site_;
  const std::vector<Wanted> wanted_;
  std::vector<DeviceAnswer> answers_;
  size_t next_ = 0;
};

// Whether a SUMMARY says all: false when some series that `wanted` means has to be asked for its range.
bool summed_up(const Wanted& wanted, const DeviceAnswer& answer, const std::string& device, const std::string& site);

}  // namespace lambda::gateway
