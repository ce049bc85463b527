// `lambda enroll`, `lambda revoke`, `lambda devices`: who belongs to a site. Each takes parsed options and returns the
// program's exit status: 0 done, 1 refused or failed (the reason is on `err`), as the other commands do.
// With `json` the answer on `out` is one JSON object or array, errors too: {"error":"..."}.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/env/env.h"

namespace lambda::cli {

inline constexpr const char* kSiteDirectory = "/var/lib/lambda-gateway/site";

struct SiteWorld {
  Env& env;
  std::function<void()> run;  // runs env.loop until `stop` was called
  std::function<void()> stop;
  std::ostream& out;
  std::ostream& err;
};

struct EnrollOptions {
  std::string request_file;
  std::string site_directory = kSiteDirectory;
  std::string bundle_file;            // empty: <device>.bundle.json in the working directory
  int64_t days = 397;                 // 1 ... 3650
  std::vector<std::string> gateways;  // empty: what the gateway wrote to the site's directory
  bool replace = false;
  bool json = false;
};
int enroll(SiteWorld& world, const EnrollOptions& options);

struct RevokeOptions {
  std::string device;
  std::string site_directory = kSiteDirectory;
  bool json = false;
};
int revoke(SiteWorld& world, const RevokeOptions& options);

// Asks a running gateway for /api/v1/lambda/devices and prints a table, or the JSON as it came.
struct DevicesOptions {
  bool json = false;
};
// `answer`: the body of the gateway's answer. The request itself is made by the caller, with its HTTP client.
int devices(SiteWorld& world, const DevicesOptions& options, const std::string& answer);

}  // namespace lambda::cli
