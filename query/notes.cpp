#include "query/notes.h"

#include <algorithm>
#include <array>
#include <utility>

#include "query/labels.h"
#include "query/number.h"

namespace lambda::query {
namespace {

std::string place_of(const Expression& at) {
  return " (" + std::to_string(at.line) + ":" + std::to_string(at.column) + ")";
}

}  // namespace

void Notes::add(std::set<std::string>& notes, std::string note) {
  if (notes.size() < kNotesHeldMax) {
    notes.insert(std::move(note));
  }
}

std::vector<std::string> Notes::shown(const std::set<std::string>& notes, std::string_view kind) {
  std::vector<std::string> out(notes.begin(), notes.end());
  // That the answer is partial is what must not be left out; only sources say that.
  std::stable_partition(out.begin(), out.end(), [](const std::string& note) { return !note.starts_with("PromQL "); });
  if (out.size() > kNotesShownMax) {
    const size_t more = out.size() - kNotesShownMax;
    out.resize(kNotesShownMax);
    out.push_back(std::to_string(more) + (notes.size() == kNotesHeldMax ? " or more " : " more ") + std::string(kind) +
                  " annotations omitted");
  }
  return out;
}

void Notes::warn(const std::string& what, const Expression& at) {
  add(warnings, "PromQL warning: " + what + place_of(at));
}

void Notes::inform(const std::string& what, const Expression& at) {
  add(infos, "PromQL info: " + what + place_of(at));
}

void Notes::check_quantile(double quantile, const Expression& at) {
  if (!(quantile >= 0 && quantile <= 1)) {
    warn("quantile value should be between 0 and 1, got " + format_number(quantile), at);
  }
}

void Notes::check_counter(std::string_view metric, const Expression& at) {
  static constexpr std::array<std::string_view, 4> kEndings{"_total", "_sum", "_count", "_bucket"};
  if (!metric.empty() && std::ranges::none_of(kEndings, [&](auto ending) { return metric.ends_with(ending); })) {
    inform("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: " + quoted(metric), at);
  }
}

std::string for_metric(std::string_view metric) {
  return metric.empty() ? std::string() : " for metric name " + quoted(metric);
}

}  // namespace lambda::query
