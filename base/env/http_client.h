// Questions to other programs' HTTP servers. The real client: base/os/http_client.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/env/network.h"
#include "base/result.h"

namespace lambda {

struct HttpQuestion {
  std::string method = "GET";  // or POST, PUT, DELETE
  std::string url;             // http:// or https://
  std::string content_type;    // of the body
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string token;    // sent as "Authorization: Bearer ..." when set
  std::string ca_file;  // https: trusted; empty: what the system trusts
  std::string certificate_file, key_file;
  int64_t timeout_ms = 10'000;  // for all of it
  uint64_t answer_bytes_max = 1u << 20;
};

class HttpClient {
 public:
  // An answer of any status is a success. kUnavailable: no connection, or no whole answer in time; kDenied: TLS did not
  // agree; kFull: the answer is too long; kInvalid: files.
  using Answered = std::function<void(Result<HttpResponse>)>;

  virtual ~HttpClient() = default;  // nothing is answered afterwards
  // `answered` runs once, from the loop, never inside this call. Errors, after which it does not run: kFull,
  // kQuestionsMax are on their way; kInvalid, the url is none.
  virtual Status ask(HttpQuestion question, Answered answered) = 0;
  static constexpr uint32_t kQuestionsMax = 64;
};

}  // namespace lambda
