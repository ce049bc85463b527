#include "agent/uplink/connection.h"

#include <algorithm>

#include "base/planted.h"
#include "lambda/messages.h"

namespace lambda::agent {
namespace {

std::span<const uint8_t> bytes_of(std::span<const std::byte> payload) {
  return {reinterpret_cast<const uint8_t*>(payload.data()), payload.size()};
}

}  // namespace

Connection::Connection(Env& env, ConnectionOptions options, SpoolShelf& shelf)
    : env_(env),
      options_(std::move(options)),
      shelf_(shelf),
      up_topic_("lambda/v1/" + options_.site + "/" + options_.device + "/up"),
      down_topic_("lambda/v1/" + options_.site + "/" + options_.device + "/down"),
      state_topic_("lambda/v1/" + options_.site + "/" + options_.device + "/state"),
      live_topic_("lambda/v1/" + options_.site + "/" + options_.device + "/live"),
      interest_topic_("lambda/v1/" + options_.site + "/interest/all"),
      machine_(shelf,
               {this,
                [](void* context, std::span<const uint8_t> message) {
                  auto& self = *static_cast<Connection*>(context);
                  return self.connected_ &&
                         self.bus_->publish(self.up_topic_, std::as_bytes(message), 1, false).has_value();
                },
                [](void* context) { return static_cast<Connection*>(context)->env_.random.u64(); }},
               options_.uplink) {}

Connection::~Connection() {
  *alive_ = false;
  env_.loop.cancel(tick_timer_);
  env_.loop.cancel(connect_timer_);
}

void Connection::start() {
  if (options_.gateways.empty()) {
    env_.log.warn("no_gateway_configured", {});
    return;
  }
  BusOptions bus;
  bus.urls = options_.gateways;
  bus.client_id = options_.device;
  bus.ca_file = options_.ca_file;
  bus.certificate_file = options_.certificate_file;
  bus.key_file = options_.key_file;
  bus.server_name = options_.server_name;
  bus.will_topic = state_topic_;
  bus.will_payload = "offline";
  bus.outgoing_bytes_max = options_.outgoing_bytes_max;
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string& url) { on_connected(url); };
  handlers.disconnected = [this](const Error& error) { on_disconnected(error); };
  handlers.message = [this](std::string_view topic, std::span<const std::byte> payload) { on_message(topic, payload); };
  bus_ = env_.network.bus(bus, std::move(handlers));
  if (bus_ != nullptr) connect();
}

void Connection::connect() {
  if (!stopped_) bus_->connect();
}

void Connection::on_connected(const std::string& url) {
  if (stopped_) return;
  connects_++;
  failure_told_ = false;
  connected_at_ms_ = now_ms();
  env_.log.info("connected", {{"gateway", url}});
  for (const auto& topic : {down_topic_, interest_topic_}) {
    if (auto status = bus_->subscribe(topic, 1); !status) {
      env_.log.warn("subscribe_failed", {{"topic", topic}, {"error", status.error().text}});
      bus_->disconnect();
      return;
    }
  }
  const std::string_view online = "online";
  (void)bus_->publish(state_topic_, std::as_bytes(std::span(online)), 1, true);
  connected_ = true;
  shelf_.begin_connection();
  machine_.connected(now_ms());
  if (listener_.connected) listener_.connected();
  tick();
}

void Connection::on_disconnected(const Error& error) {
  if (stopped_) return;
  if (connected_) {
    connected_ = false;
    machine_.disconnected(now_ms());
    if (listener_.disconnected) listener_.disconnected();
    if (now_ms() - connected_at_ms_ >= options_.steady_ms) backoff_ms_ = 0;
    env_.log.info("disconnected", {{"why", error.text}});
  } else if (!failure_told_) {
    failure_told_ = true;
    env_.log.warn("connect_failed", {{"why", error.text}});
  }
  backoff_ms_ = std::clamp(backoff_ms_ * 2, options_.backoff_ms, options_.backoff_ms_max);
  const auto delay = static_cast<int64_t>(env_.random.below(static_cast<uint64_t>(backoff_ms_)));
  env_.loop.cancel(connect_timer_);
  connect_timer_ = env_.loop.after(100 + delay, [this] {
    connect_timer_ = 0;
    connect();
  });
}

void Connection::on_message(std::string_view topic, std::span<const std::byte> payload) {
  if (stopped_) return;
  if (topic == down_topic_) {
    if (listener_.down && listener_.down(bytes_of(payload))) return;
    DownMessage down;
    if (planted("uplink_drops_what_is_nacked") && decode_down(bytes_of(payload), &down) == MessageError::kNone &&
        down.body == DownMessage::Body::kNack && down.nack.seq != 0) {
      shelf_.settled({down.nack.boot, down.nack.seq});
    }
    machine_.down(bytes_of(payload), now_ms());
  } else if (topic == interest_topic_) {
    machine_.interest(bytes_of(payload), now_ms());
    if (listener_.interest) listener_.interest(bytes_of(payload));
  } else {
    return;
  }
  wake();
}

Status Connection::publish_live(std::span<const uint8_t> message) {
  if (!connected_) return fail(ErrorCode::kUnavailable, "not connected to a broker");
  return bus_->publish(live_topic_, std::as_bytes(message), 0, false);
}

Status Connection::publish_up(std::span<const uint8_t> message) {
  if (!connected_) return fail(ErrorCode::kUnavailable, "not connected to a broker");
  return bus_->publish(up_topic_, std::as_bytes(message), 1, false);
}

void Connection::wake() {
  if (tick_posted_ || !connected_) return;
  tick_posted_ = true;
  env_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    tick_posted_ = false;
    tick();
  });
}

void Connection::tick() {
  env_.loop.cancel(tick_timer_);
  tick_timer_ = 0;
  if (!connected_) return;
  const int64_t at = machine_.tick(now_ms());
  const int64_t delay = std::clamp<int64_t>(at - now_ms(), 1, 60'000);
  tick_timer_ = env_.loop.after(delay, [this] {
    tick_timer_ = 0;
    tick();
  });
}

void Connection::stop() {
  stopped_ = true;
  env_.loop.cancel(tick_timer_);
  env_.loop.cancel(connect_timer_);
  if (bus_ == nullptr) return;
  if (connected_) {
    const std::string_view offline = "offline";
    (void)bus_->publish(state_topic_, std::as_bytes(std::span(offline)), 1, true);
  }
  connected_ = false;
  bus_->disconnect();
}

}  // namespace lambda::agent
