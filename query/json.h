// JSON text, appended piece by piece to a string: answers are large and simple, so no tree is built.
#pragma once

#include <string>
#include <string_view>

#include "query/series_source.h"

namespace lambda::query {

// In quotes, escaped. Bytes that are not UTF-8 become U+FFFD, so that the text is always valid JSON.
void append_json_string(std::string& out, std::string_view text);

// {"__name__":"up","instance":"press-7"}
void append_json_labels(std::string& out, const Labels& labels);

// [1700000000.250,"1.5"]: a time in seconds and a value, as Prometheus writes them.
void append_json_sample(std::string& out, const Sample& sample);

}  // namespace lambda::query
