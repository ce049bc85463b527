// What each of our programs counts about its HTTP server.
#pragma once

#include <functional>

#include "base/env/network.h"
#include "base/metrics/metrics.h"

namespace lambda {

// `read` is called by render(), as long as the registry lives.
void register_http_metrics(Metrics& metrics, const std::function<HttpCounters()>& read);

}  // namespace lambda
