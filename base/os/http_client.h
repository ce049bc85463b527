// One question over HTTP, for programs that have nothing else to do while they wait: the command line. By Boost.Beast.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/env/network.h"
#include "base/http_url.h"
#include "base/result.h"

namespace lambda {

struct HttpCall {
  std::string url;                                     // as above
  std::multimap<std::string, std::string> parameters;  // of the query string; of a form when `post`
  bool post = false;
  std::string token;                       // sent as "Authorization: Bearer ..." when set
  std::string ca_file;                     // https: trusted; empty: what the system trusts
  std::string certificate_file, key_file;  // https: shown to the server when set
  int64_t timeout_ms = 60'000;             // for all of it
  uint64_t body_bytes_max = 256u << 20;
};

// Blocks the calling thread. An answer of any status is a success. kUnavailable: no connection, or no whole answer in
// time; kDenied: TLS did not agree; kFull: the answer is longer than `body_bytes_max`; kInvalid: url or files.
Result<HttpResponse> call_http(const HttpCall& call);

}  // namespace lambda
