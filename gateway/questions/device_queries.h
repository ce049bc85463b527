// /api/v1/query and /api/v1/query_range with the parameter device=D: the expression is answered by the device itself,
// out of the minutes in its memory, in the same envelope and with the same numbers as the store's answer will have.
//
// Order: who is asked (registered, not revoked, connected), what the expression wants of it (device_source.h), one
// question after the other, then the evaluator, which runs where all questions' evaluation runs.
//
// Bounds: `requests_max` requests at once and `device_requests_max` for one device (503 past them), kQuestionsMax
// selectors in an expression (422). Loop thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/env/env.h"
#include "gateway/questions/device_source.h"
#include "gateway/questions/questions.h"
#include "query/http_api.h"

namespace lambda::gateway {

class DeviceQueries {
 public:
  static constexpr size_t kQuestionsMax = 8;

  // Nothing: it may be asked. Else why not, and whether it would help to come again (kUnavailable).
  using Standing = std::function<Status(const std::string& device)>;

  // `questions` must outlive it. `options` and `executor` are those of the store's HttpApi.
  DeviceQueries(Env& env, std::string site, Questions& questions, Standing standing, query::HttpApiOptions options,
                query::HttpApi::Executor executor);
  ~DeviceQueries();
  DeviceQueries(const DeviceQueries&) = delete;
  DeviceQueries& operator=(const DeviceQueries&) = delete;

  // Whether the request is for a device.
  static bool serves(const HttpRequest& request);
  void handle(const HttpRequest& request, HttpServer::Respond respond);

  uint64_t requests() const { return requests_->all; }
  uint64_t refused() const { return refused_; }  // for want of room

 private:
  struct Requests {
    std::atomic<uint64_t> all{0};
  };
  struct Place;
  struct Job;
  void leave(const std::string& device);
  void rehearse(const std::shared_ptr<Job>& job);
  void ask(const std::shared_ptr<Job>& job);
  void answered(const std::shared_ptr<Job>& job, Result<DeviceAnswer> answer);
  void evaluate(const std::shared_ptr<Job>& job);

  Env& env_;
  const std::string site_;
  Questions& questions_;
  const Standing standing_;
  const query::HttpApiOptions options_;
  const query::HttpApi::Executor executor_;
  std::shared_ptr<Requests> requests_ = std::make_shared<Requests>();
  std::map<std::string, uint64_t> of_device_;  // requests that ask it now
  uint64_t refused_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
