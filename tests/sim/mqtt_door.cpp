#include "tests/sim/mqtt_door.h"

#include "tests/sim/machines.h"

namespace lambda::sim {
namespace {

enum Type : uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kSubscribe = 8,
  kSuback = 9,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
};

std::string number16(size_t number) {
  return {static_cast<char>(number >> 8), static_cast<char>(number)};
}

}  // namespace

// What is left of a packet. `bad`: it ended too soon.
struct MqttDoor::Packet {
  std::string_view rest;
  bool bad = false;

  std::string_view bytes(size_t count) {
    bad = bad || count > rest.size();
    if (bad) return {};
    const std::string_view out = rest.substr(0, count);
    rest.remove_prefix(count);
    return out;
  }
  uint8_t byte() {
    const std::string_view one = bytes(1);
    return bad ? 0 : static_cast<uint8_t>(one[0]);
  }
  uint16_t number() {
    const unsigned high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  std::string text() { return std::string(bytes(number())); }
};

void MqttDoor::broke(const std::string& rule) {
  ended_ = true;
  bus_.reset();  // with its will
  handlers_.client_broke(rule);
  handlers_.ended();
}

void MqttDoor::wait_for_client() {
  loop_.cancel(patience_);
  if (silent_ms_max_ == 0) return;
  patience_ = loop_.after(silent_ms_max_, [this] {
    if (!ended_) broke("it says nothing, not even that it is there");
  });
}

void MqttDoor::received(std::string_view bytes) {
  wait_for_client();
  waiting_ += bytes;
  while (!ended_) {
    size_t size = 0, at = 1;
    bool whole = false;
    for (; at < waiting_.size() && at <= 4 && !whole; ++at) {
      size |= (static_cast<size_t>(waiting_[at]) & 0x7F) << (7 * (at - 1));
      whole = (waiting_[at] & 0x80) == 0;
    }
    if (!whole && at > 4) return broke("a length of more than four bytes");
    if (!whole || waiting_.size() < at + size) return;
    const std::string packet = waiting_.substr(0, at + size);
    waiting_.erase(0, at + size);
    take(static_cast<uint8_t>(packet[0]), std::string_view(packet).substr(at));
  }
}

void MqttDoor::take(uint8_t head, std::string_view body) {
  const Packet packet{body};
  const uint8_t type = head >> 4;
  if ((type == kConnect) == (bus_ != nullptr)) return broke("a second CONNECT, or none");
  if (type != kConnect && type != kDisconnect && !open_) return broke("it did not wait for CONNACK");
  switch (type) {
    case kConnect:
      return connect(packet);
    case kPublish:
      return published(head, packet);
    case kPuback:
      return acknowledged(packet);
    case kSubscribe:
      return subscribe(head, packet);
    case kPingreq:
      return send(kPingresp << 4, "");
    case kDisconnect:
      ended_ = true;
      return bus_->disconnect();
    default:
      return broke("packet type " + std::to_string(type));
  }
}

void MqttDoor::connect(Packet packet) {
  BusOptions options;
  options.urls = {kBrokerUrl};
  const bool named = packet.text() == "MQTT" && packet.byte() == 4;
  const uint8_t flags = packet.byte();
  options.connect_timeout_ms = 3'000;
  silent_ms_max_ = packet.number() * 1'500;
  options.client_id = packet.text();
  if ((flags & 4) != 0) {
    options.will_topic = packet.text();
    options.will_payload = packet.text();
  }
  if (packet.bad || !named || (flags & 1) != 0 || !packet.rest.empty()) return broke("CONNECT is malformed");
  wait_for_client();
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string&) {
    open_ = true;
    send(kConnack << 4, std::string(2, '\0'));
  };
  handlers.disconnected = [this](const Error&) {
    if (!std::exchange(ended_, true)) handlers_.ended();
  };
  handlers.subscribed = [this](const std::string& filter) {
    const auto asked = subscriptions_.find(filter);
    if (asked == subscriptions_.end()) return;
    send(kSuback << 4, number16(asked->second) + '\1');
    subscriptions_.erase(asked);
  };
  handlers.message = [this](std::string_view topic, std::span<const std::byte> payload) {
    deliver(topic, {reinterpret_cast<const char*>(payload.data()), payload.size()});
  };
  bus_ = network_.bus(std::move(options), std::move(handlers));
  bus_->connect();
}

// Acknowledged at once: what a broker says of a message says nothing of a gateway.
void MqttDoor::published(uint8_t head, Packet packet) {
  const std::string topic = packet.text();
  const bool wants_ack = (head & 6) == 2;
  const uint16_t number = wants_ack ? packet.number() : 0;
  if (packet.bad || topic.empty() || (head & 4) != 0 || (wants_ack && number == 0)) {
    return broke("PUBLISH is malformed, or of QoS 2");
  }
  const auto sent = bus_->publish(topic, std::as_bytes(std::span(packet.rest)), 1, (head & 1) != 0);
  if (sent && wants_ack) send(kPuback << 4, number16(number));
}

void MqttDoor::acknowledged(Packet packet) {
  const uint16_t number = packet.number();
  if (packet.bad || unacknowledged_.erase(number) == 0) broke("PUBACK of what it was not sent");
}

void MqttDoor::subscribe(uint8_t head, Packet packet) {
  const uint16_t number = packet.number();
  const std::string filter = packet.text();
  (void)packet.byte();
  if (packet.bad || head != (kSubscribe << 4 | 2) || number == 0 || !packet.rest.empty()) {
    return broke("SUBSCRIBE is malformed, or for several");
  }
  subscriptions_.emplace(filter, number);
  (void)bus_->subscribe(filter, 1);
}

void MqttDoor::deliver(std::string_view topic, std::string_view payload) {
  if (++last_number_ == 0) ++last_number_;
  unacknowledged_.insert(last_number_);
  std::string body = number16(topic.size());
  body += topic;
  body += number16(last_number_);
  body += payload;
  send(kPublish << 4 | 2, body);
}

void MqttDoor::send(uint8_t head, const std::string& body) {
  std::string packet(1, static_cast<char>(head));
  size_t size = body.size();
  do {
    packet += static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
    size >>= 7;
  } while (size > 0);
  handlers_.send(packet + body);
}

}  // namespace lambda::sim
