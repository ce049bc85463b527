// The program that is asked: a gateway or an agent, over HTTP.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/os/http_client.h"
#include "base/result.h"

namespace lambda::cli {

inline constexpr const char* kGatewayUrl = "http://127.0.0.1:8700";
inline constexpr const char* kAgentUrl = "http://127.0.0.1:8600";

struct Server {
  std::string url = kGatewayUrl;
  std::string token;
  std::string ca_file, certificate_file, key_file;
  int64_t timeout_s = 60;
};

using Ask = std::function<Result<HttpResponse>(const HttpCall&)>;  // call_http, or a test's

// A call of `path` ("/api/v1/query") on the server.
HttpCall make_call(const Server& server, const std::string& path, std::multimap<std::string, std::string> parameters,
                   bool post);

}  // namespace lambda::cli
