// A broker and the links to it. It does what MQTT 3.1.1 says (topics, wildcards, retained messages, wills) and breaks
// what it does not promise end to end: messages are dropped after they were acknowledged, come late, twice, in another
// order; a link works one way only; the broker is restarted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env/network.h"
#include "tests/sim/sim_loop.h"

namespace lambda::sim {

struct LinkFaults {
  double drop = 0;  // probability for each message and direction
  double duplicate = 0;
  double reorder = 0;  // probability that a message does not wait for those before it
  int64_t delay_us_min = 100;
  int64_t delay_us_max = 3'000;
  bool up_cut = false;  // towards the broker
  bool down_cut = false;
};

class SimBus;

class SimBroker {
 public:
  explicit SimBroker(Scheduler& scheduler, SimRandom random) : scheduler_(scheduler), random_(random) {}

  std::map<std::string, LinkFaults> links;  // by machine
  // All sessions end; retained messages are kept or not. For `down_us` nobody can connect.
  void restart(bool keep_retained, int64_t down_us);
  bool is_down() const { return scheduler_.now_us() < down_until_us_; }
  // Ends the connections of one machine, with wills.
  void cut(const std::string& machine);
  // Sees every message when it is handed to the network, before any fault.
  std::function<void(const std::string& machine, const std::string& topic, std::string_view payload)> on_publish;

 private:
  friend class SimBus;
  struct Session {
    uint64_t id = 0;
    std::string machine;
    SimBus* bus = nullptr;  // null: the program is gone and the broker has not noticed yet
    std::string client_id;
    std::string will_topic, will_payload;
    std::vector<std::string> filters;
    int64_t up_us = 0, down_us = 0;  // when the last message in that direction arrives
  };

  Session* find(uint64_t id);
  void open(SimBus* bus);
  void close(uint64_t id, bool will, const std::string& why);
  void go_up(uint64_t id, size_t bytes, std::function<void()> arrive);
  void published(uint64_t id, const std::string& topic, const std::string& payload, bool retained);
  void spread(const std::string& topic, const std::string& payload, bool retained);
  void deliver(Session& session, const std::string& topic, const std::string& payload);
  void watch_keepalive(uint64_t id);

  Scheduler& scheduler_;
  SimRandom random_;
  std::map<uint64_t, Session> sessions_;
  std::map<std::string, std::string> retained_;
  uint64_t last_ = 0;
  int64_t down_until_us_ = 0;
};

bool topic_matches(std::string_view filter, std::string_view topic);

// One program's network: buses to the one broker, and HTTP servers that nobody asks.
class SimNetwork final : public Network {
 public:
  SimNetwork(SimBroker& broker, SimLoop& loop, std::string machine)
      : broker_(broker), loop_(loop), machine_(std::move(machine)) {}
  std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) override;
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions options, HttpServer::Handler handler) override;

 private:
  SimBroker& broker_;
  SimLoop& loop_;
  const std::string machine_;
};

class NoProcesses final : public Processes {
 public:
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>&, std::function<void(int)>) override {
    return fail(ErrorCode::kUnavailable, "there are no child processes here");
  }
};

}  // namespace lambda::sim
