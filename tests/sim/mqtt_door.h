// The broker's end of a client's TCP connection: MQTT 3.1.1 as bytes on one side, a bus to the simulated broker on the
// other. The bytes arrive as they were sent, as TCP promises; what the world does to messages it does behind this.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "tests/sim/sim_network.h"

namespace lambda::sim {

class MqttDoor {
 public:
  struct Handlers {
    std::function<void(std::string_view bytes)> send;
    std::function<void()> broken;                               // the broker ended the connection
    std::function<void(const std::string& rule)> client_broke;  // a rule of MQTT
  };
  MqttDoor(SimNetwork& network, Handlers handlers) : network_(network), handlers_(std::move(handlers)) {}

  void received(std::string_view bytes);

 private:
  struct Packet;
  void take(uint8_t head, std::string_view body);
  void connect(Packet packet);
  void published(uint8_t head, Packet packet);
  void subscribe(Packet packet);
  void deliver(std::string_view topic, std::string_view payload);
  void send(uint8_t head, const std::string& body);

  SimNetwork& network_;
  const Handlers handlers_;
  std::string waiting_;  // of a packet that is not whole
  bool open_ = false, ended_ = false;
  std::multimap<std::string, uint16_t> subscriptions_;  // filters that the broker has not confirmed
  uint16_t last_number_ = 0;
  std::unique_ptr<MessageBus> bus_;
};

}  // namespace lambda::sim
