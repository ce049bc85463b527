// Prometheus' remote-write 1.0: a WriteRequest (proto/prometheus_write.proto), packed with snappy.
#pragma once

#include <string_view>

#include "agent/door/feeder.h"
#include "base/result.h"

namespace lambda::agent {

// `message` is unpacked. It is read where it lies; labels are taken apart only of series that are not known yet by
// these bytes. Samples are counted from 1 over the whole message. Exemplars and native histograms are passed over;
// histograms are counted as refused. What it says of metrics goes to the batch. kInvalid: no WriteRequest; the batch is
// to be thrown away.
Status read_remote_write(std::string_view message, FeedBatch& batch);

}  // namespace lambda::agent
