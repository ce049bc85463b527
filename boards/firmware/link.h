// The session with the site's broker: TCP, mutual TLS 1.2 and MQTT 3.1.1, by lwIP's client and mbedTLS. Connects, and
// when that fails or ends connects again after a pause that grows from one second to half a minute, with jitter.
//
// Nothing is queued here beyond lwIP's one buffer of MQTT_OUTPUT_RINGBUF_SIZE bytes: what does not fit is refused, and
// the SDK offers it again. A broker's PUBACK settles nothing; the gateway's answers do.
#pragma once

#include <lwip/apps/mqtt.h>
#include <lwip/apps/mqtt_priv.h>

#include <span>

#include "boards/firmware/certificate_check.h"
#include "boards/firmware/identity.h"
#include "lambda/lambda.h"

namespace lambda::boards {

// Who is told. Called from poll(), or from inside Board::poll_network().
class LinkListener {
 public:
  virtual void session_begun() = 0;  // subscribed: messages can come
  virtual void session_ended() = 0;
  virtual void message(lam_topic topic, std::span<const uint8_t> bytes) = 0;

 protected:
  ~LinkListener() = default;
};

struct LinkCounters {
  uint32_t attempts, sessions, certificates_refused, messages_too_long, publishes_refused;
};

class Link {
 public:
  // All must outlive the link.
  Link(const Board& board, const Identity& identity, const DeviceClock& clock, LinkListener& listener);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // False: certificates or key of the identity are unusable.
  bool start();
  // Does what is due: connects, subscribes, ends what takes too long.
  void poll();
  // False: no session, or no room now.
  bool publish(std::span<const uint8_t> bytes);
  // Ends the session, if there is one, and connects again after the pause. Not from a callback of lwIP.
  void drop(const char* reason);
  // The clock was set: looks again at the dates of the session's certificates and ends it when they do not hold.
  void clock_was_set();
  const LinkCounters& counters() const { return counters_; }

 private:
  enum class State : uint8_t { kIdle, kConnecting, kConnected, kSubscribing, kUp };
  static constexpr size_t kTopicBytesMax = 160;
  static constexpr size_t kMessageBytesMax = 2048;

  static void on_connection(mqtt_client_t* client, void* link, mqtt_connection_status_t status);
  static void on_topic(void* link, const char* topic, u32_t bytes);
  static void on_data(void* link, const u8_t* data, u16_t bytes, u8_t flags);
  static void on_subscribed(void* link, err_t outcome);

  void connect();
  void subscribe();
  void close(const char* reason);
  void ended();
  void topic(char out[kTopicBytesMax], const char* name) const;

  const Board& board_;
  const Identity& identity_;
  LinkListener& listener_;
  CertificateCheck check_;
  mqtt_client_t client_ = {};
  altcp_tls_config* tls_ = nullptr;
  State state_ = State::kIdle;
  uint8_t subscriptions_ = 0;  // answered
  bool failed_ = false;        // something in a callback asks for the end of the session
  bool refused_ = false;       // ... and it is the broker's certificate
  uint32_t surprises_ = 0;     // tls_surprises() when the session began
  uint32_t pause_ms_;
  int64_t due_ms_ = 0;  // monotonic: the next attempt, or the end of patience

  char up_[kTopicBytesMax], down_[kTopicBytesMax], state_topic_[kTopicBytesMax], interest_[kTopicBytesMax];
  lam_topic incoming_topic_ = LAM_DOWN;
  bool incoming_wanted_ = false;
  size_t incoming_bytes_ = 0;
  LinkCounters counters_ = {};
};

}  // namespace lambda::boards
