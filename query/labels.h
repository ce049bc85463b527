// What is done with label sets: they are short, sorted by name and compared often, so plain vectors serve.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "query/series_source.h"

namespace lambda::query {

inline constexpr std::string_view kMetricName = "__name__";

// The value of a label; empty when it is absent, which is the same thing here.
std::string_view label_value(const Labels& labels, std::string_view name);

// In alphabetic order of names; labels with empty values are dropped, of equal names the last one stays.
Labels sorted_labels(std::vector<std::pair<std::string, std::string>> labels);

// Without its name, and without "__type__" and "__unit__", which say what the metric of that name is.
Labels without_metric_name(Labels labels);
Labels without_labels(const Labels& labels, const std::vector<std::string>& names);
Labels only_labels(const Labels& labels, const std::vector<std::string>& names);
// Of equal labels equal; otherwise spread, but not against somebody who wants it otherwise. The same on every machine.
uint64_t hash_of(const Labels& labels);
// An empty value removes the label.
void set_label(Labels& labels, std::string_view name, std::string_view value);

// As one writes it: up{instance="press-7",site="hall"}.
std::string to_string(const Labels& labels);
// In double quotes, escaped; any bytes.
std::string quoted(std::string_view text);

}  // namespace lambda::query
