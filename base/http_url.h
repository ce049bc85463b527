// Addresses of HTTP servers, as people write them in settings and on command lines.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace lambda {

struct HttpUrl {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string path;  // "/" when there is none; without a slash at its end otherwise
};
// http://host:port/path or https://...; the port is 80 or 443 when left out. kInvalid for anything else: user names,
// queries and fragments too.
Result<HttpUrl> parse_http_url(std::string_view url);

// "host:port", with brackets around an IPv6 address: as it stands in a Host header.
std::string host_and_port(const HttpUrl& url);

}  // namespace lambda
