// Messages between programs (MQTT) and questions to them (HTTP). Real ones: base/os (Paho, Beast). Lying ones:
// tests/sim.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/env/http_fetch.h"
#include "base/result.h"

namespace lambda {

struct BusOptions {
  std::vector<std::string> urls;  // tried in order: mqtts://host:port, mqtt://host:port
  std::string client_id;
  std::string ca_file, certificate_file, key_file;  // PEM; empty for mqtt://
  // What the broker's certificate must name, as DNS name or IP address; empty: the url's host. The real bus can check
  // the url's host only and refuses to connect when another name is asked for.
  std::string server_name;
  std::string will_topic, will_payload;  // retained, QoS 1; empty topic: none
  int64_t keepalive_s = 30;
  int64_t connect_timeout_ms = 10'000;
  uint64_t outgoing_bytes_max = 8u << 20;  // published and not yet taken by the broker
  // Arrived and not yet handled. Past it messages are dropped and counted: only our own acks settle anything, so what
  // mattered comes again.
  uint64_t incoming_bytes_max = 64u << 20;
};

struct BusCounters {
  uint64_t incoming_dropped = 0;  // messages past incoming_bytes_max
  uint64_t outgoing_refused = 0;  // publishes past outgoing_bytes_max
  uint64_t outgoing_bytes = 0;    // on their way now
};

// A connection to one broker. Sessions are clean. It does not reconnect by itself: the owner calls connect() again,
// and so owns the backoff.
class MessageBus {
 public:
  struct Handlers {
    std::function<void(const std::string& url)> connected;
    std::function<void(const Error&)> disconnected;  // also when connect() fails; once for each connect()
    std::function<void(std::string_view topic, std::span<const std::byte> payload)> message;
    // The broker confirmed a subscription of this connection: what is published from now on comes here. May be empty.
    std::function<void(const std::string& filter)> subscribed;
  };
  virtual ~MessageBus() = default;  // no handler runs afterwards; not from inside a handler of its own

  // Tries the urls in order until one works. Nothing happens when it is connecting or connected already.
  virtual void connect() = 0;
  // Ends the connection cleanly (no will) or gives up connecting; `disconnected` follows, with kUnavailable. Nothing
  // happens when there is neither.
  virtual void disconnect() = 0;
  // kUnavailable when not connected, kFull when `outgoing_bytes_max` would be passed; nothing was sent then.
  // Success says only that it is on its way.
  virtual Status publish(const std::string& topic, std::span<const std::byte> payload, int qos, bool retained) = 0;
  // The same with QoS 1, not retained. After success `done` runs from the loop, once: good when the broker has
  // acknowledged the message, kUnavailable when the connection ended before; never when the bus is destroyed before.
  virtual Status publish_acknowledged(const std::string& topic, std::span<const std::byte> payload,
                                      std::function<void(const Status&)> done) = 0;
  // A broker that refuses the subscription ends the connection: disconnected(kDenied).
  virtual Status subscribe(const std::string& filter, int qos) = 0;
  virtual BusCounters counters() const { return {}; }
};

struct HttpRequest {
  std::string method;  // "GET" or "POST", "PUT" and "DELETE" where they are served; HEAD is answered as GET is
  std::string path;    // "/api/v1/query", decoded
  std::multimap<std::string, std::string> parameters;  // of the query string, and of a body that is a form
  std::map<std::string, std::string> headers;          // names in lower case
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // further ones: "Retry-After", "1"
};

struct HttpOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;                       // 0: any free one, see HttpServer::port()
  std::string token;                       // when set, "Authorization: Bearer <token>" is asked of everyone
  std::string certificate_file, key_file;  // TLS when set
  std::string client_ca_file;              // and client certificates of this CA are asked for
  // Past it the one that has waited longest for its client is closed; a further one gets 503 when none waits.
  uint32_t connections_max = 256;
  uint64_t body_bytes_max = 4u << 20;
  // Bodies of requests and answers at a time. Past it those go that have waited longest for their client; a request
  // gets 503 when none is left.
  uint64_t held_bytes_max = 64u << 20;
  int64_t idle_timeout_ms = 30'000;  // for a whole request to come, for an answer to be taken, between two requests
};

struct HttpCounters {
  uint64_t requests = 0;               // that were whole
  uint64_t requests_refused = 0;       // malformed, too large, unauthorised, or without room
  uint64_t requests_without_room = 0;  // of these: past held_bytes_max
  uint64_t connections = 0;            // now
  uint64_t connections_refused = 0;    // past connections_max, when none could make room
  uint64_t connections_dropped = 0;    // closed while they waited for their client, to make room
  uint64_t held_bytes = 0;             // now
};

class HttpServer {
 public:
  using Respond = std::function<void(HttpResponse)>;
  // Runs on the loop thread; `respond` may be called from any thread, now or later, once. When all copies of it are
  // gone and none was called, the client gets a 500.
  using Handler = std::function<void(const HttpRequest&, Respond)>;
  virtual ~HttpServer() = default;  // no handler runs afterwards; not from inside its handler
  virtual uint16_t port() const = 0;
  virtual HttpCounters counters() const { return {}; }
};

class Network {
 public:
  virtual ~Network() = default;
  virtual std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) = 0;
  // kDenied when `address` is not loopback and neither a token nor client certificates are configured.
  virtual Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions options, HttpServer::Handler handler) = 0;
  // Null in a world without other programs to ask.
  virtual std::unique_ptr<HttpFetcher> http_fetcher() { return nullptr; }
};

}  // namespace lambda
