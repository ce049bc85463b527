// The keys that each of our programs has: [http] and [log].
#pragma once

#include <string>

#include "base/config/config.h"
#include "base/env/network.h"
#include "base/log.h"

namespace lambda {

// Fields must outlive the table.
void http_keys(ConfigTable& table, HttpOptions& http);

struct LogSettings {
  std::string level = "info";  // and above
  std::string format = "text";
};
void log_keys(ConfigTable& table, LogSettings& log);

}  // namespace lambda
