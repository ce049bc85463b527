// The connection to a gateway's broker: subscribe, speak, and come back after a while when it ends. The uplink machine
// decides what is said; this gives it a bus, a timer and random numbers.
//
// Backoff has full jitter and doubles up to `backoff_ms_max`; it begins anew only after a connection that lasted
// `steady_ms`, so that two agents under one name, each ending the other's session, do not spin. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/uplink/shelf.h"
#include "base/env/env.h"
#include "lambda/uplink.h"

namespace lambda::agent {

struct ConnectionOptions {
  std::vector<std::string> gateways;
  std::string site, device;
  std::string ca_file, certificate_file, key_file;
  std::string server_name;
  int64_t backoff_ms = 1'000;
  int64_t backoff_ms_max = 60'000;
  int64_t steady_ms = 10'000;
  uint64_t outgoing_bytes_max = 8u << 20;
  UplinkOptions uplink;
};

// Who else listens on the connection: the live lane, and who answers questions.
struct ConnectionListener {
  std::function<void()> connected, disconnected;
  std::function<void(std::span<const uint8_t> message)> interest;  // an Interest message, whatever is in it
  // A message on `down`. True: it was for the listener, and the uplink does not see it.
  std::function<bool(std::span<const uint8_t> message)> down;
};

class Connection {
 public:
  Connection(Env& env, ConnectionOptions options, SpoolShelf& shelf);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // Before start().
  void listen(ConnectionListener listener) { listener_ = std::move(listener); }
  // A Live message, QoS 0. kUnavailable, kFull: as the bus says.
  Status publish_live(std::span<const uint8_t> message);
  // A message of another kind than the uplink's on `up`, QoS 1. Errors as above.
  Status publish_up(std::span<const uint8_t> message);
  uint64_t outgoing_bytes() const { return connected_ ? bus_->counters().outgoing_bytes : 0; }
  // Something new is on the shelf.
  void wake();
  // Says "offline" and leaves; nothing is sent afterwards.
  void stop();

  bool connected() const { return connected_; }
  bool answered() const { return connected_ && machine_.answered(); }
  uint64_t connects() const { return connects_; }
  const UplinkMachine& machine() const { return machine_; }

 private:
  void connect();
  void on_connected(const std::string& url);
  void on_disconnected(const Error& error);
  void on_message(std::string_view topic, std::span<const std::byte> payload);
  void tick();
  int64_t now_ms() const { return env_.clock.mono_ms(); }

  Env& env_;
  const ConnectionOptions options_;
  SpoolShelf& shelf_;
  const std::string up_topic_, down_topic_, state_topic_, live_topic_, interest_topic_;
  Uplink machine_;
  std::unique_ptr<MessageBus> bus_;
  ConnectionListener listener_;
  bool connected_ = false;
  bool stopped_ = false;
  int64_t connected_at_ms_ = 0;
  int64_t backoff_ms_ = 0;
  uint64_t connects_ = 0;
  bool failure_told_ = false;
  bool tick_posted_ = false;
  EventLoop::TimerId tick_timer_ = 0;
  EventLoop::TimerId connect_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::agent
