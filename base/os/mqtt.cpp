// A MessageBus by Eclipse Paho's async_client.
//
// Paho holds a lock of its own, over all its clients, while it resolves names and makes connections. So that the loop
// never waits for a name server, every call into Paho is made by a thread of the bus (PahoThread::run); the loop hands
// it work through a queue, and Paho's callbacks only post.
//
// Invariants
// - Each connect() has a number. Events of earlier numbers are dropped on the loop.
// - `alive_` is used on the loop thread alone: after the bus's destructor no handler runs.
// - After close_gate() nothing touches the loop or the log. So a thread that is stuck in a name server's silence may
//   outlive its bus; it owns all else that it needs.
// - Paho's own threads may be about to use a client, also one that has just been disconnected, and nobody can ask them
//   (paho.mqtt.c 1219, 1669). So there is one client for each url, used again for each connection, and the clients of a
//   bus that has ended are kept until as many younger ones are.
#include <dirent.h>
#include <mqtt/async_client.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/os/network.h"

#ifdef __SANITIZE_THREAD__
// Debian's Paho is built without the sanitizer, which therefore does not see the counts of shared pointers that Paho's
// threads take and give back.
extern "C" const char* __tsan_default_suppressions() {
  return "race:libpaho-mqttpp3.so\nrace:libpaho-mqtt3as.so\nrace:mqtt::\n";
}
#endif

namespace lambda {
namespace {

constexpr int64_t kDisconnectMsMax = 2'000;
constexpr int64_t kEndMsMax = 3'000;
constexpr int kInFlightMax = 1'000;
constexpr size_t kEndedMax = 16;

std::string host_of(const std::string& url) {
  const auto start = url.find("://");
  const std::string rest = start == std::string::npos ? url : url.substr(start + 3);
  if (!rest.empty() && rest[0] == '[') return rest.substr(1, rest.find(']') - 1);
  return rest.substr(0, rest.find(':'));
}

uint16_t port_of(const std::string& url) {
  return static_cast<uint16_t>(std::strtoul(url.c_str() + url.rfind(':') + 1, nullptr, 10));
}

// Paho leaves Nagle's algorithm on and gives its sockets to nobody: a small message behind a small one would wait for
// the peer's delayed acknowledgement, 40 ms for every ack of ours. So: every TCP socket of this process that is
// connected to `port`.
void send_at_once(uint16_t port) {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    in_port_t at = 0;
    if (peer.ss_family == AF_INET) at = reinterpret_cast<const sockaddr_in&>(peer).sin_port;
    if (peer.ss_family == AF_INET6) at = reinterpret_cast<const sockaddr_in6&>(peer).sin6_port;
    const int on = 1;
    if (at == htons(port)) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ::closedir(folder);
}

// mqtts://h:p -> ssl://h:p, mqtt://h:p -> tcp://h:p; empty when it is neither.
std::string paho_url(const std::string& url) {
  if (url.rfind("mqtts://", 0) == 0) return "ssl://" + url.substr(8);
  if (url.rfind("mqtt://", 0) == 0) return "tcp://" + url.substr(7);
  return {};
}

// Waits on the system clock: older thread sanitizers do not know a wait on the steady one.
template <class Condition>
bool wait_for_ms(std::condition_variable& variable, std::unique_lock<std::mutex>& lock, int64_t ms,
                 Condition condition) {
  return variable.wait_until(lock, std::chrono::system_clock::now() + std::chrono::milliseconds(ms), condition);
}

// Where events go. Called on any thread; runs nothing itself.
struct Sink {
  std::function<void(uint32_t connection, std::string url)> connected;
  std::function<void(uint32_t connection, Error)> lost;
  std::function<void(uint32_t connection, mqtt::const_message_ptr)> message;
  std::function<void(uint32_t connection, std::string filter)> subscribed;
  std::function<void(uint32_t connection, uint64_t awaited, bool good)> acknowledged;
};

enum class Work { kConnect, kDisconnect, kPublish, kSubscribe };
struct Item {
  Work work = Work::kDisconnect;
  uint32_t connection = 0;
  mqtt::message_ptr message;
  std::string filter;
  uint64_t number = 0;   // bytes of a publish, QoS of a subscription
  uint64_t awaited = 0;  // who waits for a publish's acknowledgement; 0: nobody
};

class PahoThread final : public mqtt::iaction_listener {
 public:
  PahoThread(BusOptions options, Sink sink)
      : options_(std::move(options)), sink_(std::move(sink)), connect_listener_(*this) {}

  static void start(const std::shared_ptr<PahoThread>& self) {
    std::thread([self]() mutable {
      self->run();
      keep_ended(std::move(self));
    }).detach();
  }

  void ask(Item item) {
    {
      std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
    }
    wake_.notify_all();
  }

  void give_up(uint32_t connection) {
    {
      std::lock_guard lock(mutex_);
      given_up_ = connection;
    }
    wake_.notify_all();
  }

  // Ends the thread, after what was asked of it before but connecting: a last word ("offline") is still said. Waits for
  // that, but not for ever. After it returned, `sink` is not called any more.
  void end() {
    std::unique_lock lock(mutex_);
    ending_ = true;
    wake_.notify_all();
    wait_for_ms(wake_, lock, kEndMsMax, [&] { return ended_; });
    lock.unlock();
    std::lock_guard gate(gate_);
    sink_ = {};
  }

  // Counts bytes as on their way on this connection; false when they are too many.
  bool take(uint64_t bytes) {
    std::lock_guard lock(outgoing_mutex_);
    if (outgoing_bytes_ + bytes > options_.outgoing_bytes_max) return false;
    outgoing_bytes_ += bytes;
    return true;
  }
  void begin_connection(uint32_t connection) {
    std::lock_guard lock(outgoing_mutex_);
    outgoing_connection_ = connection;
    outgoing_bytes_ = 0;
  }
  uint64_t outgoing_bytes() {
    std::lock_guard lock(outgoing_mutex_);
    return outgoing_bytes_;
  }

 private:
  // What a token of a publish or subscription stands for.
  struct Sent {
    uint32_t connection;
    uint64_t bytes;
    std::string filter;    // empty: a publish
    uint64_t awaited = 0;  // of a publish
  };

  // Success and failure of publishes and subscriptions; on one of Paho's threads.
  void on_success(const mqtt::token& token) override {
    const auto sent = sent_of(token);
    if (!sent) return;
    given(sent->connection, sent->bytes);
    if (!sent->filter.empty()) subscribed(sent->connection, sent->filter);
    if (sent->awaited != 0) acknowledged(sent->connection, sent->awaited, true);
  }
  void on_failure(const mqtt::token& token) override {
    const auto sent = sent_of(token);
    if (!sent) return;
    given(sent->connection, sent->bytes);
    if (!sent->filter.empty()) lost(sent->connection, {ErrorCode::kDenied, "the broker refused a subscription"});
    if (sent->awaited != 0) acknowledged(sent->connection, sent->awaited, false);
  }
  static std::unique_ptr<Sent> sent_of(const mqtt::token& token) {
    return std::unique_ptr<Sent>(static_cast<Sent*>(token.get_user_context()));
  }

  // The outcome of a connect.
  struct ConnectListener final : mqtt::iaction_listener {
    explicit ConnectListener(PahoThread& o) : owner(o) {}
    void on_success(const mqtt::token&) override { owner.connect_ended(true, {}); }
    void on_failure(const mqtt::token&) override { owner.connect_ended(false, {}); }
    PahoThread& owner;
  };

  void connect_ended(bool good, const std::string& why) {
    {
      std::lock_guard lock(mutex_);
      connecting_ = false;
      connect_good_ = good;
      connect_why_ = why;
    }
    wake_.notify_all();
  }

  void given(uint32_t connection, uint64_t bytes) {
    std::lock_guard lock(outgoing_mutex_);
    // A late token of an older connection is no part of this one's sum.
    if (connection == outgoing_connection_) outgoing_bytes_ -= std::min(outgoing_bytes_, bytes);
  }

  void connected(uint32_t connection, const std::string& url) {
    std::lock_guard gate(gate_);
    if (sink_.connected) sink_.connected(connection, url);
  }
  void subscribed(uint32_t connection, const std::string& filter) {
    std::lock_guard gate(gate_);
    if (sink_.subscribed) sink_.subscribed(connection, filter);
  }
  void acknowledged(uint32_t connection, uint64_t awaited, bool good) {
    std::lock_guard gate(gate_);
    if (sink_.acknowledged) sink_.acknowledged(connection, awaited, good);
  }
  void lost(uint32_t connection, Error error) {
    std::lock_guard gate(gate_);
    if (sink_.lost) sink_.lost(connection, std::move(error));
  }

  void run() {
    while (true) {
      Item item;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return ending_ || !items_.empty(); });
        if (items_.empty()) break;
        item = std::move(items_.front());
        items_.pop_front();
        if (ending_ && item.work == Work::kConnect) continue;
      }
      try {
        perform(item);
      } catch (const std::exception& problem) {
        if (item.work == Work::kPublish) given(item.connection, item.number);
        if (item.awaited != 0) acknowledged(item.connection, item.awaited, false);
        if (item.work == Work::kSubscribe) lost(item.connection, {ErrorCode::kUnavailable, problem.what()});
      }
    }
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return !connecting_; });  // Paho always answers, after its time limit at the latest
    }
    disconnect();
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
  }

  // With its clients, and what their callbacks use.
  static void keep_ended(std::shared_ptr<PahoThread> ended) {
    static std::mutex mutex;
    static auto& kept = *new std::deque<std::shared_ptr<PahoThread>>;  // also while the process ends
    std::shared_ptr<PahoThread> oldest;
    std::lock_guard lock(mutex);
    kept.push_back(std::move(ended));
    if (kept.size() <= kEndedMax) return;
    oldest = std::move(kept.front());
    kept.pop_front();
  }

  void perform(Item& item) {
    switch (item.work) {
      case Work::kConnect:
        connect(item.connection);
        break;
      case Work::kDisconnect:
        if (item.connection == connection_) disconnect();
        break;
      case Work::kPublish: {
        if (client_ == nullptr || item.connection != connection_) {
          given(item.connection, item.number);
          break;
        }
        auto sent = std::make_unique<Sent>(Sent{item.connection, item.number, {}, item.awaited});
        client_->publish(item.message, sent.get(), *this);
        (void)sent.release();  // the listener has it
        break;
      }
      case Work::kSubscribe: {
        if (client_ == nullptr || item.connection != connection_) break;
        auto sent = std::make_unique<Sent>(Sent{item.connection, 0, item.filter, 0});
        client_->subscribe(item.filter, static_cast<int>(item.number), sent.get(), *this);
        (void)sent.release();
        break;
      }
    }
  }

  void connect(uint32_t connection) {
    disconnect();
    connection_ = connection;
    std::string why;
    for (const auto& url : options_.urls) {
      const auto status = try_url(connection, url);
      if (status) {
        send_at_once(port_of(url));
        return connected(connection, url);
      }
      why += (why.empty() ? "" : "; ") + url + ": " + status.error().text;
      std::lock_guard lock(mutex_);
      if (ending_ || given_up_ == connection) return;
    }
    lost(connection, {ErrorCode::kUnavailable, why.empty() ? "no url of a broker is configured" : why});
  }

  Status try_url(uint32_t connection, const std::string& url) {
    const std::string uri = paho_url(url);
    if (uri.empty()) return fail(ErrorCode::kInvalid, "is no mqtt:// or mqtts:// url");
    if (!options_.server_name.empty() && options_.server_name != host_of(url)) {
      return fail(ErrorCode::kUnsupported,
                  "server_name \"" + options_.server_name + "\" is not the url's host, and only that can be checked");
    }
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return !connecting_ || ending_; });  // an attempt that was given up
    if (ending_) return fail(ErrorCode::kUnavailable, "ending");
    connecting_ = true;
    connect_good_ = false;
    lock.unlock();
    mqtt::token_ptr token;
    try {
      client_ = &client_for(uri);
      if (client_->is_connected()) client_->disconnect(0)->wait_for(std::chrono::milliseconds(kDisconnectMsMax));
      token = client_->connect(connect_options(uri), nullptr, connect_listener_);
    } catch (const std::exception& problem) {
      connect_ended(false, problem.what());
    }
    lock.lock();
    wake_.wait(lock, [&] { return !connecting_ || ending_ || given_up_ == connection; });
    if (connecting_) return fail(ErrorCode::kUnavailable, "given up");
    if (connect_good_) return {};
    std::string why = connect_why_;
    lock.unlock();
    return fail(ErrorCode::kUnavailable, why.empty() ? reason_of(token) : why);
  }

  // Why a token failed: only its exception knows.
  static std::string reason_of(const mqtt::token_ptr& token) {
    try {
      token->wait_for(std::chrono::milliseconds(0));
    } catch (const std::exception& problem) {
      return problem.what();
    }
    return "no connection";
  }

  mqtt::async_client& client_for(const std::string& uri) {
    auto& client = clients_[uri];
    if (!client) {
      client = std::make_unique<mqtt::async_client>(uri, options_.client_id);
      client->set_message_callback([this](const mqtt::const_message_ptr& message) {
        std::lock_guard gate(gate_);
        if (sink_.message) sink_.message(connection_, message);
      });
      client->set_connection_lost_handler([this](const std::string& cause) {
        lost(connection_, {ErrorCode::kUnavailable, cause.empty() ? "connection lost" : "connection lost: " + cause});
      });
    }
    return *client;
  }

  mqtt::connect_options connect_options(const std::string& uri) const {
    mqtt::connect_options connect;
    connect.set_mqtt_version(MQTTVERSION_3_1_1);
    connect.set_clean_session(true);
    connect.set_automatic_reconnect(false);
    connect.set_keep_alive_interval(static_cast<int>(options_.keepalive_s));
    connect.set_connect_timeout(static_cast<int>(std::max<int64_t>(1, (options_.connect_timeout_ms + 999) / 1000)));
    connect.set_max_inflight(kInFlightMax);
    if (!options_.will_topic.empty()) {
      connect.set_will(mqtt::will_options(options_.will_topic, mqtt::binary_ref(options_.will_payload), 1, true));
    }
    if (uri.rfind("ssl://", 0) == 0) {
      mqtt::ssl_options ssl;
      ssl.set_trust_store(options_.ca_file);
      if (!options_.certificate_file.empty()) ssl.set_key_store(options_.certificate_file);
      if (!options_.key_file.empty()) ssl.set_private_key(options_.key_file);
      ssl.set_ssl_version(MQTT_SSL_VERSION_TLS_1_2);
      ssl.set_enable_server_cert_auth(true);
      ssl.set_verify(true);  // and the name in the certificate
      connect.set_ssl(std::move(ssl));
    }
    return connect;
  }

  void disconnect() {
    if (client_ == nullptr) return;
    try {
      if (client_->is_connected()) {
        client_->disconnect(static_cast<int>(kDisconnectMsMax))->wait_for(std::chrono::milliseconds(kDisconnectMsMax));
      }
    } catch (const std::exception&) {  // it was gone already, which is what we want
    }
    client_ = nullptr;
  }

  const BusOptions options_;
  std::mutex gate_;
  Sink sink_;  // guarded by gate_

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;  // guarded by mutex_, as all to the next blank line; bounded by outgoing_bytes_max
  bool ending_ = false;
  bool ended_ = false;
  bool connecting_ = false;
  bool connect_good_ = false;
  std::string connect_why_;
  uint32_t given_up_ = 0;

  std::mutex outgoing_mutex_;
  uint64_t outgoing_bytes_ = 0;       // guarded by outgoing_mutex_
  uint32_t outgoing_connection_ = 0;  // guarded by outgoing_mutex_

  std::atomic<uint32_t> connection_{0};
  ConnectListener connect_listener_;
  std::map<std::string, std::unique_ptr<mqtt::async_client>> clients_;  // by Paho's url; the thread's
  mqtt::async_client* client_ = nullptr;                                // the one in use; the thread's
};

class PahoBus final : public MessageBus {
 public:
  PahoBus(EventLoop& loop, Log& log, BusOptions options, Handlers handlers)
      : loop_(loop),
        log_(log),
        incoming_bytes_max_(options.incoming_bytes_max),
        handlers_(std::move(handlers)),
        thread_(std::make_shared<PahoThread>(std::move(options), sink())) {
    PahoThread::start(thread_);
  }

  ~PahoBus() override {
    *alive_ = false;
    thread_->end();
  }

  void connect() override {
    if (state_ != State::kIdle) return;
    state_ = State::kConnecting;
    ++connection_;
    thread_->begin_connection(connection_);
    ask(Work::kConnect);
  }

  void disconnect() override {
    if (state_ == State::kIdle) return;
    thread_->give_up(connection_);
    post([this, connection = connection_] { lost(connection, {ErrorCode::kUnavailable, "ended by this side"}); });
  }

  Status publish(const std::string& topic, std::span<const std::byte> payload, int qos, bool retained) override {
    return send(topic, payload, qos, retained, 0);
  }

  Status publish_acknowledged(const std::string& topic, std::span<const std::byte> payload,
                              std::function<void(const Status&)> done) override {
    if (auto sent = send(topic, payload, 1, false, last_awaited_ + 1); !sent) return sent;
    awaited_.emplace(++last_awaited_, std::move(done));
    return {};
  }

  Status subscribe(const std::string& filter, int qos) override {
    if (state_ != State::kConnected) return fail(ErrorCode::kUnavailable, "not connected to a broker");
    thread_->ask({Work::kSubscribe, connection_, nullptr, filter, static_cast<uint64_t>(qos), 0});
    return {};
  }

  BusCounters counters() const override { return {incoming_->dropped, outgoing_refused_, thread_->outgoing_bytes()}; }

 private:
  enum class State { kIdle, kConnecting, kConnected };
  struct Incoming {
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> dropped{0};
  };

  Status send(const std::string& topic, std::span<const std::byte> payload, int qos, bool retained, uint64_t awaited) {
    if (state_ != State::kConnected) return fail(ErrorCode::kUnavailable, "not connected to a broker");
    const uint64_t bytes = topic.size() + payload.size();
    if (!thread_->take(bytes)) {
      outgoing_refused_++;
      return fail(ErrorCode::kFull, "outgoing_bytes_max are waiting for the broker");
    }
    auto message = mqtt::make_message(topic, payload.data(), payload.size(), qos, retained);
    thread_->ask({Work::kPublish, connection_, std::move(message), {}, bytes, awaited});
    return {};
  }

  void ask(Work work) { thread_->ask({work, connection_, nullptr, {}, 0, 0}); }

  // Runs `task` on the loop unless the bus is gone by then. Any thread.
  void post(std::function<void()> task) {
    loop_.post([alive = alive_, task = std::move(task)] {
      if (*alive) task();
    });
  }

  Sink sink() {
    Sink sink;
    sink.connected = [this](uint32_t connection, const std::string& url) {
      post([this, connection, url] {
        if (connection != connection_ || state_ != State::kConnecting) return;
        state_ = State::kConnected;
        if (handlers_.connected) handlers_.connected(url);
      });
    };
    sink.lost = [this](uint32_t connection, const Error& error) {
      post([this, connection, error] { lost(connection, error); });
    };
    sink.subscribed = [this](uint32_t connection, const std::string& filter) {
      post([this, connection, filter] {
        if (connection != connection_ || state_ != State::kConnected) return;
        if (handlers_.subscribed) handlers_.subscribed(filter);
      });
    };
    sink.acknowledged = [this](uint32_t connection, uint64_t awaited, bool good) {
      post([this, connection, awaited, good] {
        if (connection != connection_) return;
        auto one = awaited_.extract(awaited);
        if (!one) return;
        one.mapped()(good ? Status() : Status(fail(ErrorCode::kUnavailable, "the broker did not take it")));
      });
    };
    sink.message = [this](uint32_t connection, const mqtt::const_message_ptr& message) {
      arrived(connection, message);
    };
    return sink;
  }

  // On one of Paho's threads. The message is handed on as it is: its payload was copied once, out of Paho's buffer.
  void arrived(uint32_t connection, const mqtt::const_message_ptr& message) {
    const uint64_t bytes = message->get_payload_ref().size() + message->get_topic().size();
    if (incoming_->bytes + bytes > incoming_bytes_max_) {
      if (incoming_->dropped++ == 0) log_.warn("mqtt_incoming_dropped", {{"topic", message->get_topic()}});
      return;
    }
    incoming_->bytes += bytes;
    loop_.post([this, connection, message, bytes, incoming = incoming_, alive = alive_] {
      incoming->bytes -= bytes;
      if (!*alive || connection != connection_ || state_ == State::kIdle || !handlers_.message) return;
      const auto& payload = message->get_payload_ref();
      handlers_.message(message->get_topic(), std::as_bytes(std::span(payload.data(), payload.size())));
    });
  }

  void lost(uint32_t connection, const Error& error) {
    if (connection != connection_ || state_ == State::kIdle) return;
    state_ = State::kIdle;
    ask(Work::kDisconnect);
    for (auto& [number, done] : std::exchange(awaited_, {})) done(tl::unexpected(error));
    if (handlers_.disconnected) handlers_.disconnected(error);
  }

  EventLoop& loop_;
  Log& log_;
  const uint64_t incoming_bytes_max_;
  const Handlers handlers_;
  const std::shared_ptr<Incoming> incoming_ = std::make_shared<Incoming>();
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // loop thread only
  State state_ = State::kIdle;
  uint32_t connection_ = 0;
  uint64_t outgoing_refused_ = 0;
  std::map<uint64_t, std::function<void(const Status&)>> awaited_;  // of this connection; bounded as its bytes are
  uint64_t last_awaited_ = 0;
  const std::shared_ptr<PahoThread> thread_;
};

}  // namespace

std::unique_ptr<MessageBus> make_paho_bus(EventLoop& loop, Log& log, BusOptions options,
                                          MessageBus::Handlers handlers) {
  return std::make_unique<PahoBus>(loop, log, std::move(options), std::move(handlers));
}

}  // namespace lambda
