#include "boards/firmware/link.h"

#include <lwip/altcp_tls.h>
#include <mbedtls/ssl.h>
#include <string.h>

#include "boards/firmware/crypto.h"
#include "boards/firmware/line.h"
#include "boards/firmware/mqtt_packets.h"
#include "boards/firmware/platform.h"

namespace lambda::boards {
namespace {

constexpr uint32_t kPauseMsMin = 1'000;
constexpr uint32_t kPauseMsMax = 30'000;
constexpr int64_t kConnectMsMax = 40'000;  // a handshake takes a slow processor several seconds
constexpr int64_t kSubscribeMsMax = 15'000;
constexpr uint16_t kKeepAliveS = 20;
// What lwIP's ring cannot tell from an empty one is a full one: some of it is always left free, for its own answers.
constexpr size_t kRingBytesSpare = 192;

// altcp_tls' configuration begins with mbedTLS' one.
mbedtls_ssl_config* config_of(altcp_tls_config* config) {
  return reinterpret_cast<mbedtls_ssl_config*>(config);
}

size_t bytes_in(const mqtt_ringbuf_t& ring) {
  return ring.put >= ring.get ? size_t{ring.put} - ring.get : size_t{ring.put} + MQTT_OUTPUT_RINGBUF_SIZE - ring.get;
}

}  // namespace

Link::Link(const Board& board, const Identity& identity, const DeviceClock& clock, LinkListener& listener)
    : board_(board), identity_(identity), listener_(listener), check_(clock), pause_ms_(kPauseMsMin) {
  topic(up_, "up");
  topic(down_, "down");
  topic(state_topic_, "state");
  strcpy(interest_, "lambda/v1/");
  strcat(interest_, identity.site);
  strcat(interest_, "/interest/all");
}

// Site and device have at most 64 bytes each: read_identity() has seen to that.
void Link::topic(char out[kTopicBytesMax], const char* name) const {
  strcpy(out, "lambda/v1/");
  strcat(out, identity_.site);
  strcat(out, "/");
  strcat(out, identity_.device);
  strcat(out, "/");
  strcat(out, name);
}

bool Link::start() {
  const Identity& id = identity_;
  tls_ = altcp_tls_create_config_client_2wayauth(id.authority.data(), id.authority.size(), id.tls_key.data(),
                                                 id.tls_key.size(), nullptr, 0, id.certificate.data(),
                                                 id.certificate.size());
  if (tls_ == nullptr) return false;
  check_.install(config_of(tls_));
  return true;
}

void Link::poll() {
  const int64_t mono = board_.mono_ms(board_.context);
  if (failed_) close(refused_ ? "certificate" : "session");
  if (state_ != State::kIdle && tls_surprises() != surprises_) close("tls");
  switch (state_) {
    case State::kIdle:
      if (mono >= due_ms_) connect();
      break;
    case State::kConnecting:
    case State::kSubscribing:
      if (mono >= due_ms_) close("timeout");
      break;
    case State::kConnected:
      subscribe();
      break;
    case State::kUp:
      break;
  }
}

void Link::connect() {
  ++counters_.attempts;
  check_.begin();
  mqtt_connect_client_info_t info = {};
  info.client_id = identity_.device;
  info.keep_alive = kKeepAliveS;
  info.will_topic = state_topic_;
  info.will_msg = "offline";
  info.will_qos = 1;
  info.will_retain = 1;
  info.tls_config = tls_;
  const uint8_t* octets = identity_.broker_address;
  ip_addr_t address;
  IP_ADDR4(&address, octets[0], octets[1], octets[2], octets[3]);
  state_ = State::kConnecting;
  failed_ = refused_ = false;
  surprises_ = tls_surprises();
  due_ms_ = board_.mono_ms(board_.context) + kConnectMsMax;
  const err_t begun = mqtt_client_connect(&client_, &address, identity_.broker_port, on_connection, this, &info);
  if (begun != ERR_OK) {
    Line(board_, "connect_failed").field("error", static_cast<uint64_t>(-begun));
    ended();
    return;
  }
  auto* tls = static_cast<mbedtls_ssl_context*>(altcp_tls_context(client_.conn));
  // Before the first packet comes: without this any name would do.
  if (tls == nullptr || mbedtls_ssl_set_hostname(tls, identity_.broker_name) != 0) close("memory");
}

void Link::on_connection(mqtt_client_t*, void* context, mqtt_connection_status_t status) {
  Link& link = *static_cast<Link*>(context);
  if (status == MQTT_CONNECT_ACCEPTED) {
    link.state_ = State::kConnected;
    return;
  }
  if (link.state_ == State::kIdle) return;
  const char* complaint = link.check_.complaint();
  if (complaint != nullptr) {
    ++link.counters_.certificates_refused;
    Line(link.board_, "certificate_refused").field("because", complaint);
  } else {
    Line(link.board_, "disconnected").field("status", static_cast<uint64_t>(status));
  }
  link.ended();
}

void Link::subscribe() {
  state_ = State::kSubscribing;
  due_ms_ = board_.mono_ms(board_.context) + kSubscribeMsMax;
  subscriptions_ = 0;
  mqtt_set_inpub_callback(&client_, on_topic, on_data, this);
  const bool asked = mqtt_subscribe(&client_, down_, 1, on_subscribed, this) == ERR_OK &&
                     mqtt_subscribe(&client_, interest_, 1, on_subscribed, this) == ERR_OK &&
                     mqtt_publish(&client_, state_topic_, "online", 6, 1, 1, nullptr, nullptr) == ERR_OK;
  if (!asked) close("memory");
}

void Link::on_subscribed(void* context, err_t outcome) {
  Link& link = *static_cast<Link*>(context);
  if (link.state_ != State::kSubscribing) return;
  if (outcome != ERR_OK) {
    link.failed_ = true;
    return;
  }
  if (++link.subscriptions_ < 2) return;
  link.state_ = State::kUp;
  link.pause_ms_ = kPauseMsMin;
  ++link.counters_.sessions;
  Line(link.board_, "session_begun").field("sessions", link.counters_.sessions);
  link.listener_.session_begun();
}

void Link::on_topic(void* context, const char* topic, u32_t bytes) {
  Link& link = *static_cast<Link*>(context);
  const bool down = strcmp(topic, link.down_) == 0, interest = strcmp(topic, link.interest_) == 0;
  const bool too_long = bytes > kMessageBytesMax || mqtt_packet().cut_short;
  link.incoming_wanted_ = (down || interest) && !too_long;
  if ((down || interest) && too_long) ++link.counters_.messages_too_long;
  link.incoming_topic_ = down ? LAM_DOWN : LAM_INTEREST;
  link.incoming_bytes_ = bytes;
}

// mqtt.c hands a message on piece by piece, and all of it lies at the end of the packet.
void Link::on_data(void* context, const u8_t*, u16_t, u8_t flags) {
  Link& link = *static_cast<Link*>(context);
  if (!link.incoming_wanted_ || (flags & MQTT_DATA_FLAG_LAST) == 0) return;
  link.incoming_wanted_ = false;
  link.listener_.message(link.incoming_topic_, mqtt_packet().bytes.last(link.incoming_bytes_));
}

bool Link::publish(std::span<const uint8_t> bytes) {
  if (state_ != State::kUp || failed_) return false;
  const size_t needed = bytes.size() + strlen(up_) + 8;
  const bool fits = bytes_in(client_.output) + needed + kRingBytesSpare < MQTT_OUTPUT_RINGBUF_SIZE;
  if (fits &&
      mqtt_publish(&client_, up_, bytes.data(), static_cast<u16_t>(bytes.size()), 1, 0, nullptr, nullptr) == ERR_OK) {
    return true;
  }
  ++counters_.publishes_refused;
  return false;
}

void Link::drop(const char* reason) {
  if (state_ != State::kIdle) close(reason);
}

void Link::clock_was_set() {
  if (state_ == State::kIdle || check_.still_valid()) return;
  ++counters_.certificates_refused;
  Line(board_, "certificate_refused").field("because", "expired_or_not_valid_yet_now_that_the_time_is_known");
  failed_ = refused_ = true;  // ended by poll(): this may run inside a callback of lwIP
}

// From poll() only, never from a callback of lwIP, which would go on with what is freed here.
void Link::close(const char* reason) {
  Line(board_, "closed").field("reason", reason);
  mqtt_disconnect(&client_);
  ended();
}

void Link::ended() {
  const bool was_up = state_ == State::kUp;
  state_ = State::kIdle;
  failed_ = refused_ = false;
  const int64_t jitter = lambda_lwip_random() % (pause_ms_ / 2 + 1);
  due_ms_ = board_.mono_ms(board_.context) + pause_ms_ / 2 + jitter;
  pause_ms_ = pause_ms_ * 2 < kPauseMsMax ? pause_ms_ * 2 : kPauseMsMax;
  if (was_up) listener_.session_ended();
}

}  // namespace lambda::boards
