// A mosquitto of our own: configured, started, started again when it dies, and ended with us.
//
// The port: a configured one, or (0) one that is found once and kept, since devices' bundles name it. What listens is
// written to `<site directory>/broker.json` when the gateway's own connection has proved it.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"
#include "gateway/broker/mosquitto_config.h"

namespace lambda::gateway {

struct BrokerOptions {
  std::string program = "/usr/sbin/mosquitto";
  std::string site_directory;      // for broker.json
  std::string directory;           // for its configuration
  std::vector<std::string> names;  // by which devices reach it
  MosquittoConfig config;          // port 0: find one
  int64_t restart_delay_ms = 250;  // first; doubles
  int64_t restart_delay_ms_max = 30'000;
  int64_t settled_after_ms = 10'000;  // alive that long: the delay is the first one again
};

// Where the gateway itself reaches a broker that listens on `address`: loopback when that means "all".
std::string own_host(const std::string& address);

class Broker {
 public:
  Broker(Env& env, BrokerOptions options);
  ~Broker();

  // Writes its configuration and starts it. kIo: the configuration cannot be written. That the program cannot be
  // started, or ends, is no error here: it is tried again for as long as this object lives.
  Status start();
  // Reads certificates, revocation list and access rules again; sessions go on.
  void reload();
  // Asks it to end; the object may be destroyed then or later.
  void stop();
  // The gateway's own connection stands: this port is good, and the devices may be told.
  void proved();

  uint16_t port() const { return options_.config.port; }
  // For the gateway itself.
  std::string url() const;
  int64_t pid() const { return child_ ? child_->pid() : 0; }
  uint64_t starts() const { return starts_; }
  uint64_t exits() const { return exits_; }

 private:
  Status write_configuration();
  void pick_port(bool keep_recorded);
  void spawn();
  void exited(int status);

  Env& env_;
  BrokerOptions options_;
  const bool port_is_ours_;
  bool port_recorded_ = false;
  bool stopping_ = false;
  std::unique_ptr<ChildProcess> child_;
  uint64_t generation_ = 0;  // of the child: an exit that comes late must not be taken for the next one's
  int64_t started_mono_ms_ = 0;
  int64_t delay_ms_ = 0;
  uint32_t early_exits_ = 0;
  uint64_t starts_ = 0, exits_ = 0;
  EventLoop::TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
