// Brings events to their receivers, one after the other for each, until they have them: webhooks, Alertmanagers, topics
// of the broker, programs of this machine.
//
// A receiver is a word and where: "webhook http://host/path", "alertmanager http://host:9093", "mqtt pumps",
// "exec [\"/usr/bin/horn\",\"loud\"]". What a receiver does not take is tried again, after 1 s, 2 s ... up to
// `retry_ms_max`, for as long as the outbox keeps it; what it refuses for good (HTTP 4xx but for 408 and 429) is given
// up and counted. The broker has an event when it acknowledged it.
//
// A program gets the event on its standard input, sees nothing of this process (Processes::spawn_apart), and is ended
// with all it started after `exec_ms_max`. It has the event when it has ended, whatever its status; one that this
// process took along when it ended is run again by the next. Programs of one receiver run one after the other,
// `exec_count_max` of all at once; receivers that wait for a place get one in the order in which they came.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
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
  int64_t event_age_ms_max = 0;       // an older one is not worth telling any more (counted, said once); 0: any age
  std::vector<std::string> programs;  // that may be run; of events that an earlier configuration left too
  int64_t exec_ms_max = 10'000;       // then the program is ended
  uint32_t exec_count_max = 4;        // running at once; further ones wait
  std::string ca_file;                // https: trusted; empty: what the system trusts
};

struct DeliveryCounters {
  uint64_t too_old = 0, delivered = 0, failed_attempts = 0, refused = 0, exec_started = 0, exec_failed = 0,
           exec_ended_late = 0;
};

class Delivery {
 public:
  // To a topic of the gateway's broker, QoS 1. After success `done` follows, from the loop: good when the broker has
  // acknowledged it; or nothing does.
  using Publish = std::function<Status(const std::string& topic, const std::string& message,
                                       std::function<void(const Status&)> done)>;

  // `http` may be null: then whatever needs it waits.
  Delivery(Env& env, HttpPoster* http, DeliverySettings settings, Outbox& outbox, Publish publish);
  ~Delivery();

  // Something was put into the outbox.
  void wake();
  // What waits for the broker waits no longer.
  void broker_back();
  const DeliveryCounters& counters() const { return counters_; }

 private:
  struct Receiver {
    bool busy = false;
    int64_t delay_ms = 0;          // of the next attempt; 0: none failed
    EventLoop::TimerId timer = 0;  // of it
    uint64_t attempt = 0;          // an answer to an earlier one comes too late
    EventLoop::TimerId limit = 0;  // of an attempt that nobody else ends
    bool late = false;             // its events are too old: told already
    bool failing = false;          // its program: told already
  };
  struct Running {
    uint64_t number = 0;  // of the event
    std::unique_ptr<ChildProcess> child;
    EventLoop::TimerId timer = 0;
    bool late = false;  // ended by us
  };
  void work(const std::string& name);
  void ask(const std::string& name, const OutboxItem& item, const std::string& url, std::string body);
  void answered(const std::string& name, uint64_t number, const Result<HttpPage>& answer);
  void publish(const std::string& name, const OutboxItem& item, const std::string& topic);
  void published(std::string name, uint64_t number, uint64_t attempt, const Status& status);
  void run(const std::string& name, const OutboxItem& item, const std::string& arguments);
  bool may_run(const std::vector<std::string>& command) const;
  void exited(std::string name, int status);
  void start_waiting();
  void done(const std::string& name, uint64_t number);
  void later(const std::string& name, const std::string& why);

  Env& env_;
  HttpPoster* http_;
  const DeliverySettings settings_;
  Outbox& outbox_;
  Publish publish_;
  std::map<std::string, Receiver> receivers_;
  std::map<std::string, Running> running_;  // by receiver; at most exec_count_max
  std::deque<std::string> waiting_;         // receivers whose programs wait for a place, each once
  uint64_t attempts_ = 0;
  bool woken_ = false;
  DeliveryCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
