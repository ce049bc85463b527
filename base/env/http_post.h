// Something told to other programs over HTTP while the loop goes on. The real one: base/os (Beast).
#pragma once

#include <string>

#include "base/env/http_fetch.h"

namespace lambda {

class HttpPoster {
 public:
  virtual ~HttpPoster() = default;  // what is under way is given up; no `done` runs afterwards
  // POSTs `body`; all else as HttpFetcher::get().
  virtual void post(HttpFetch fetch, std::string content_type, std::string body, HttpFetcher::Done done) = 0;
};

}  // namespace lambda
