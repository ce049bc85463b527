// Questions over HTTP, by Boost.Beast: one at a time for programs that have nothing else to do while they wait, the
// command line; and many at once for those that have a loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/env/clock.h"
#include "base/env/http_client.h"
#include "base/env/network.h"
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

struct HttpCall {
  std::string url;                                     // as above
  std::multimap<std::string, std::string> parameters;  // of the query string; of a form when `post`
  bool post = false;
  std::string method;  // "PUT", "DELETE" ...; empty: by `post`
  std::string body;    // sent when `content_type` is set; `parameters` go into the query string then
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string token;                       // sent as "Authorization: Bearer ..." when set
  std::string ca_file;                     // https: trusted; empty: what the system trusts
  std::string certificate_file, key_file;  // https: shown to the server when set
  int64_t timeout_ms = 60'000;             // for all of it
  uint64_t body_bytes_max = 256u << 20;
};

// Blocks the calling thread. An answer of any status is a success. kUnavailable: no connection, or no whole answer in
// time; kDenied: TLS did not agree; kFull: the answer is longer than `body_bytes_max`; kInvalid: url or files.
Result<HttpResponse> call_http(const HttpCall& call);

// Many at once, on a thread of its own, which begins with the first question.
class OsHttpClient final : public HttpClient {
 public:
  explicit OsHttpClient(EventLoop& loop);
  ~OsHttpClient() override;
  OsHttpClient(const OsHttpClient&) = delete;
  OsHttpClient& operator=(const OsHttpClient&) = delete;
  // Loop thread.
  Status ask(HttpQuestion question, Answered answered) override;

 private:
  struct Core;
  std::unique_ptr<Core> core_;
};

}  // namespace lambda
