// Brings events to their receivers, one after the other for each, until they have them: webhooks, Alertmanagers, topics
// of the broker, programs of this machine.
//
// A receiver is a word and where: "webhook http://host/path", "alertmanager http://host:9093", "mqtt pumps",
// "exec [\"/usr/bin/horn\",\"loud\"]". What a receiver does not take is tried again, after 1 s, 2 s ... up to
// `retry_ms_max`, for as long as the outbox keeps it; what it refuses for good (HTTP 4xx but for 408 and 429) is given
// up and counted. A program is run once for each event, whatever it answers.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/env/http_post.h"
#include "gateway/rules/outbox.h"

namespace lambda::gateway {

struct DeliverySettings {
  std::string site;
  int64_t timeout_ms = 5'000;  // of one HTTP question
  int64_t retry_ms_max = 60'000;
  bool exec = false;
  int64_t exec_ms_max = 10'000;  // then the program is ended
  uint32_t exec_count_max = 4;   // running at once; further ones wait
  std::string ca_file;           // https: trusted; empty: what the system trusts
};

struct DeliveryCounters {
  uint64_t delivered = 0, failed_attempts = 0, refused = 0, exec_started = 0, exec_failed = 0, exec_ended_late = 0;
};

class Delivery {
 public:
  // To a topic of the gateway's broker, QoS 1.
  using Publish = std::function<Status(const std::string& topic, const std::string& message)>;

  // `http` may be null: then whatever needs it waits.
  Delivery(Env& env, HttpPoster* http, DeliverySettings settings, Outbox& outbox, Publish publish);
  ~Delivery();

  // Something was put into the outbox, or the broker is back.
  void wake();
  const DeliveryCounters& counters() const { return counters_; }

 private:
  struct Receiver {
    bool busy = false;
    int64_t delay_ms = 0;  // of the next attempt; 0: none failed
    EventLoop::TimerId timer = 0;
  };
  struct Running {
    std::unique_ptr<ChildProcess> child;
    EventLoop::TimerId timer = 0;
  };
  void work(const std::string& name);
  void ask(const std::string& name, const OutboxItem& item, const std::string& url, std::string body);
  void answered(const std::string& name, uint64_t number, const Result<HttpPage>& answer);
  void publish(const std::string& name, const OutboxItem& item, const std::string& topic);
  void run(const std::string& name, const OutboxItem& item, const std::string& arguments);
  void exited(uint64_t number, int status);
  void done(const std::string& name, uint64_t number);
  void later(const std::string& name, const std::string& why);

  Env& env_;
  HttpPoster* http_;
  const DeliverySettings settings_;
  Outbox& outbox_;
  Publish publish_;
  std::map<std::string, Receiver> receivers_;
  std::map<uint64_t, Running> running_;
  uint64_t next_running_ = 1;
  bool woken_ = false;
  DeliveryCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
