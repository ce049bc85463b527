// The broker's end of a client's TCP connection: MQTT 3.1.1 as bytes on one side, a bus to the simulated broker on the
// other. The bytes arrive as they were sent, as TCP promises; what the world does to messages it does behind this.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "tests/sim/sim_network.h"

namespace lambda::sim {

class MqttDoor {
 public:
  struct Handlers {
    std::function<void(std::string_view bytes)> send;
    std::function<void()> ended;                                // by the broker
    std::function<void(const std::string& rule)> client_broke;  // a rule of MQTT; ended() follows
  };
  MqttDoor(SimNetwork& network, SimLoop& loop, Handlers handlers)
      : network_(network), loop_(loop), handlers_(std::move(handlers)) {}
  ~MqttDoor() { loop_.cancel(patience_); }
  MqttDoor(const MqttDoor&) = delete;
  MqttDoor& operator=(const MqttDoor&) = delete;

  void received(std::string_view bytes);

 private:
  struct Packet;
  void take(uint8_t head, std::string_view body);
  void connect(Packet packet);
  void published(uint8_t head, Packet packet);
  void acknowledged(Packet packet);
  void subscribe(uint8_t head, Packet packet);
  void broke(const std::string& rule);
  void wait_for_client();
  void deliver(std::string_view topic, std::string_view payload);
  void send(uint8_t head, const std::string& body);

  SimNetwork& network_;
  SimLoop& loop_;
  const Handlers handlers_;
  std::string waiting_;  // of a packet that is not whole
  bool open_ = false, ended_ = false;
  std::multimap<std::string, uint16_t> subscriptions_;  // filters that the broker has not confirmed
  std::set<uint16_t> unacknowledged_;                   // messages to the client
  uint16_t last_number_ = 0;
  int64_t silent_ms_max_ = 0;  // so long may the client say nothing; 0: for ever
  EventLoop::TimerId patience_ = 0;
  std::unique_ptr<MessageBus> bus_;
};

}  // namespace lambda::sim
