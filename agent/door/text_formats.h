// Bodies in text forms that programs hand in, read line by line: a line that is wrong costs itself, with its reason.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/door/feeder.h"

namespace lambda::agent {

// One JSON object a line: {"name":"queue_length","labels":{"queue":"mail"},"t":1700000000123,"value":12,
// "kind":"gauge","unit":"1"}. `t` is UTC in milliseconds, `now_ms` when it is missing; `kind` gauge (default) or
// counter; labels and unit may be missing. Other names are refused, so that a slip of the pen does not pass. Empty
// lines count and are passed over.
void read_json_lines(std::string_view body, int64_t now_ms, FeedBatch& batch);

// InfluxDB's line protocol: `measurement,tag=a field=1.5,other=3i 1700000000000000000`. Each numeric or boolean field
// is a series of its own, `measurement_field`, or `measurement` when the field is called `value`; characters that names
// may not have become '_'. Texts are refused by name. `unit_ns` is the length of a timestamp's unit in nanoseconds; a
// line without one is of `now_ms`.
void read_line_protocol(std::string_view body, int64_t unit_ns, int64_t now_ms, FeedBatch& batch);

// `text` with every character that a metric or label name may not have as '_'; a digit in front gets a '_' before it.
std::string plain_name(std::string_view text, bool colons);

}  // namespace lambda::agent
