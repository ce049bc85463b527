// Pages of other programs, asked for while the loop goes on. The real one: base/os (Beast).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lambda {

struct HttpFetch {
  std::string url;  // http://host:port/path?query or https://...
  std::vector<std::pair<std::string, std::string>> headers;
  std::string token;                       // sent as "Authorization: Bearer ..." when set
  std::string ca_file;                     // https: trusted; empty: what the system trusts
  std::string certificate_file, key_file;  // https: shown to the server when set
  int64_t timeout_ms = 10'000;             // for all of it, from looking up the name to the last byte
  uint64_t body_bytes_max = 4u << 20;      // as it comes, and when it is unpacked
};

struct HttpPage {
  int status = 0;
  std::string content_type;
  std::string body;  // unpacked
};

class HttpFetcher {
 public:
  // An answer of any status is a success. kUnavailable: no connection, or no whole answer in time; kDenied: TLS did not
  // agree; kFull: the answer is longer than `body_bytes_max`, or too many names are being looked up; kInvalid: the url,
  // a file, or what came is not what it says it is.
  using Done = std::function<void(Result<HttpPage>)>;

  virtual ~HttpFetcher() = default;  // what is under way is given up; no `done` runs afterwards
  // `done` runs on the loop thread, once, never inside this call. Redirections are not followed. Loop thread only.
  virtual void get(HttpFetch fetch, Done done) = 0;
};

}  // namespace lambda
