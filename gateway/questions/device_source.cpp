#include "gateway/questions/device_source.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "query/block_samples.h"
#include "query/labels.h"

namespace lambda::gateway {
namespace {

bool same(const query::Matcher& a, const query::Matcher& b) {
  return a.label == b.label && a.op == b.op && a.value == b.value;
}

DeviceQuestion question_of(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms) {
  DeviceQuestion question{Asked::kRange, from_ms, to_ms, {}, {}};
  for (const query::Matcher& matcher : matchers) {
    if (matcher.op != query::MatchOp::kEqual || matcher.label == "instance" || matcher.label == "site") continue;
    if (matcher.label == query::kMetricName) {
      question.name = matcher.value;
    } else {
      question.equal.emplace_back(matcher.label, matcher.value);
    }
  }
  return question;
}

}  // namespace

query::Labels full_labels(const Declared& declared, const std::string& device, const std::string& site) {
  query::Labels labels = declared.labels;
  labels.emplace_back(query::kMetricName, declared.name);
  labels.emplace_back("instance", device);
  labels.emplace_back("site", site);
  return query::sorted_labels(std::move(labels));
}

class Rehearsal::Cursor final : public query::SeriesCursor {
 public:
  Cursor(std::shared_ptr<Notes> notes, int64_t time_ms) : notes_(std::move(notes)), time_ms_(time_ms) {}
  Result<std::vector<query::Sample>> read(uint64_t) override {
    notes_->read = true;
    return std::vector<query::Sample>{{time_ms_, 1}};
  }
  Result<Gathered> gather(const query::Windows& windows, uint64_t) override {
    notes_->gathered = true;
    notes_->windows = windows;
    return Gathered{{{time_ms_, 1}}, {}};
  }

 private:
  const std::shared_ptr<Notes> notes_;
  const int64_t time_ms_;
};

Result<query::Selection> Rehearsal::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                           uint64_t) {
  auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  Wanted selector{matchers, from_ms, to_ms, false, question_of(matchers, from_ms, to_ms)};
  selector.other_device = !set->label_may_match("instance", device_) || !set->label_may_match("site", site_);
  wanted_.push_back(std::move(selector));
  notes_.push_back(std::make_shared<Notes>());
  Declared made_up;
  made_up.name = wanted_.back().question.name.empty() ? "any" : wanted_.back().question.name;
  made_up.labels = wanted_.back().question.equal;
  query::Selection selection;
  selection.series.push_back({full_labels(made_up, device_, site_), std::make_unique<Cursor>(notes_.back(), to_ms)});
  return selection;
}

std::vector<Wanted> Rehearsal::wanted(bool newest) const {
  std::vector<Wanted> all = wanted_;
  for (size_t i = 0; i < all.size(); ++i) {
    const Notes& notes = *notes_[i];
    DeviceQuestion& question = all[i].question;
    if (newest) {
      question.what = Asked::kLast;
    } else if (notes.gathered && !notes.read && notes.windows.count == 1 &&
               notes.windows.first_end_ms - notes.windows.range_ms + 1 >= question.from_ms &&
               notes.windows.first_end_ms <= question.to_ms) {
      question.what = Asked::kSummary;
      question.to_ms = notes.windows.first_end_ms;
      question.from_ms = question.to_ms - notes.windows.range_ms + 1;
    }
  }
  return all;
}

class AnswerSource::Cursor final : public query::SeriesCursor {
 public:
  explicit Cursor(std::vector<query::Sample> samples) : samples_(std::move(samples)) {
    query::keep_last_of_each_time(samples_);
  }
  explicit Cursor(const query::RunSummary& summary) : runs_{summary} {}

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    if (!runs_.empty()) return fail(ErrorCode::kUnavailable, "the device was asked for less than is needed");
    if (samples_.size() > samples_max) {
      return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples");
    }
    return std::move(samples_);
  }
  Result<Gathered> gather(const query::Windows&, uint64_t samples_max) override {
    if (!runs_.empty()) return Gathered{{}, std::move(runs_)};
    auto samples = read(samples_max);
    if (!samples) return tl::unexpected(samples.error());
    return Gathered{std::move(*samples), {}};
  }

 private:
  std::vector<query::Sample> samples_;
  std::vector<query::RunSummary> runs_;
};

AnswerSource::AnswerSource(std::string device, std::string site, std::vector<Wanted> wanted,
                           std::vector<DeviceAnswer> answers)
    : device_(std::move(device)), site_(std::move(site)), wanted_(std::move(wanted)), answers_(std::move(answers)) {}

Result<query::Selection> AnswerSource::select(const std::vector<query::Matcher>& matchers, int64_t from_ms,
                                              int64_t to_ms, uint64_t series_max) {
  const bool known = next_ < wanted_.size() && wanted_[next_].from_ms == from_ms && wanted_[next_].to_ms == to_ms &&
                     std::ranges::equal(wanted_[next_].matchers, matchers, same);
  if (!known) return fail(ErrorCode::kUnavailable, "the device was asked for something else");
  DeviceAnswer& answer = answers_[next_++];
  auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  query::Selection selection;
  if (answer.timeless) {
    selection.warnings.push_back(device_ + ": points whose device did not know the time yet are left out");
  }
  // Two refs may stand for one series: then both have its points.
  std::map<query::Labels, std::vector<AnsweredSeries*>> found;
  for (auto& [ref, series] : answer.series) {
    query::Labels labels = full_labels(series.declared, device_, site_);
    if (set->matches(labels)) found[std::move(labels)].push_back(&series);
  }
  for (auto& [labels, parts] : found) {
    std::unique_ptr<Cursor> cursor;
    if (parts.front()->summary) {
      cursor = std::make_unique<Cursor>(*parts.front()->summary);
    } else {
      std::vector<query::Sample> samples;
      for (AnsweredSeries* part : parts) std::ranges::move(part->samples, std::back_inserter(samples));
      if (samples.empty()) continue;
      cursor = std::make_unique<Cursor>(std::move(samples));
    }
    if (selection.series.size() == series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
    }
    selection.series.push_back({labels, std::move(cursor)});
  }
  return selection;
}

bool summed_up(const Wanted& wanted, const DeviceAnswer& answer, const std::string& device, const std::string& site) {
  const auto set = query::MatcherSet::compile(wanted.matchers);
  if (!set) return false;
  std::map<query::Labels, int> refs;
  for (const auto& [ref, series] : answer.series) {
    query::Labels labels = full_labels(series.declared, device, site);
    if (!set->matches(labels)) continue;
    if (series.unsummed || ++refs[std::move(labels)] > 1) return false;
  }
  return true;
}

}  // namespace lambda::gateway
