#include "tests/sim/sim_network.h"

#include <algorithm>

namespace lambda::sim {

bool topic_matches(std::string_view filter, std::string_view topic) {
  while (true) {
    const auto f = filter.find('/'), t = topic.find('/');
    const auto part = filter.substr(0, f);
    if (part == "#") return true;
    if (part != "+" && part != topic.substr(0, t)) return false;
    if (f == std::string_view::npos || t == std::string_view::npos) {
      return f == std::string_view::npos && t == std::string_view::npos;
    }
    filter = filter.substr(f + 1);
    topic = topic.substr(t + 1);
  }
}

class SimBus final : public MessageBus {
 public:
  SimBus(SimBroker& broker, SimLoop& loop, std::string machine, BusOptions options, Handlers handlers)
      : broker_(broker),
        loop_(loop),
        machine_(std::move(machine)),
        options_(std::move(options)),
        handlers_(std::move(handlers)) {}

  ~SimBus() override {
    *alive_ = false;
    if (SimBroker::Session* session = broker_.find(session_)) {
      session->bus = nullptr;
      const uint64_t id = session_;
      SimBroker& broker = broker_;
      broker_.scheduler_.after(broker_.random_.between(500, 20'000), [&broker, id] { broker.close(id, true, ""); });
    }
  }

  void connect() override {
    if (state_ != State::kIdle) return;
    state_ = State::kConnecting;
    ++attempt_;
    outgoing_bytes_ = 0;
    const LinkFaults& link = broker_.links[machine_];
    const bool reachable = !link.up_cut && !link.down_cut;
    // Nobody answers: the connect times out. Refused or accepted: after a round trip or two.
    const int64_t wait_us =
        reachable ? broker_.random_.between(300, 20'000) + 2 * link.delay_us_max : options_.connect_timeout_ms * 1000;
    broker_.scheduler_.after(wait_us, [this, alive = alive_, attempt = attempt_] {
      if (!*alive || attempt != attempt_ || state_ != State::kConnecting) return;
      const LinkFaults& now = broker_.links[machine_];
      if (now.up_cut || now.down_cut || broker_.is_down()) {
        return lost("no broker at " + options_.urls.front());
      }
      broker_.open(this);
      state_ = State::kConnected;
      post([this] {
        if (state_ == State::kConnected && handlers_.connected) handlers_.connected(options_.urls.front());
      });
    });
  }

  void disconnect() override {
    if (state_ == State::kIdle) return;
    if (state_ == State::kConnected) {
      broker_.close(std::exchange(session_, 0), false, "");
    }
    lost("ended by this side");
  }

  Status publish(const std::string& topic, std::span<const std::byte> payload, int, bool retained) override {
    return send(topic, payload, retained, 0);
  }
  Status publish_acknowledged(const std::string& topic, std::span<const std::byte> payload,
                              std::function<void(const Status&)> done) override {
    if (auto sent = send(topic, payload, false, last_awaited_ + 1); !sent) return sent;
    awaited_.emplace(++last_awaited_, std::move(done));
    return {};
  }

  Status send(const std::string& topic, std::span<const std::byte> payload, bool retained, uint64_t awaited) {
    if (state_ != State::kConnected) return fail(ErrorCode::kUnavailable, "not connected to a broker");
    const uint64_t bytes = topic.size() + payload.size();
    if (outgoing_bytes_ + bytes > options_.outgoing_bytes_max) {
      ++outgoing_refused_;
      return fail(ErrorCode::kFull, "outgoing_bytes_max are waiting for the broker");
    }
    std::string text(reinterpret_cast<const char*>(payload.data()), payload.size());
    if (broker_.on_publish) broker_.on_publish(machine_, topic, text);
    outgoing_bytes_ += bytes;
    const uint64_t id = session_;
    SimBroker& broker = broker_;
    broker_.scheduler_.after(broker_.random_.between(100, 5'000), [this, alive = alive_, id, bytes] {
      if (*alive && id == session_) outgoing_bytes_ -= bytes;
    });
    broker_.go_up(id, bytes, [&broker, id, topic, text, retained, awaited] {
      broker.published(id, topic, text, retained);
      SimBroker::Session* there = broker.find(id);
      if (awaited != 0 && there != nullptr && there->bus != nullptr) there->bus->acknowledged(awaited);
    });
    return {};
  }

  Status subscribe(const std::string& filter, int) override {
    if (state_ != State::kConnected) return fail(ErrorCode::kUnavailable, "not connected to a broker");
    const uint64_t id = session_;
    SimBroker& broker = broker_;
    // Never dropped: a subscription that is not answered ends the real connection.
    SimBroker::Session& session = *broker_.find(id);
    session.up_us = std::max(session.up_us + 1, broker_.scheduler_.now_us() + broker_.links[machine_].delay_us_max);
    broker_.scheduler_.at(session.up_us, [&broker, id, filter] {
      SimBroker::Session* there = broker.find(id);
      if (there == nullptr) return;
      there->filters.push_back(filter);
      if (there->bus != nullptr) there->bus->confirmed(filter);
      for (const auto& [topic, payload] : broker.retained_) {
        if (topic_matches(filter, topic)) broker.deliver(*there, topic, payload);
      }
    });
    return {};
  }

  BusCounters counters() const override { return {0, outgoing_refused_, outgoing_bytes_}; }

  // From the broker.
  void broken(const std::string& why) {
    session_ = 0;
    lost(why);
  }
  void message(const std::string& topic, const std::string& payload) {
    post([this, topic, payload, id = session_] {
      if (state_ != State::kConnected || id != session_ || !handlers_.message) return;
      handlers_.message(topic, std::as_bytes(std::span(payload.data(), payload.size())));
    });
  }
  void confirmed(const std::string& filter) {
    post([this, filter, id = session_] {
      if (state_ == State::kConnected && id == session_ && handlers_.subscribed) handlers_.subscribed(filter);
    });
  }
  void acknowledged(uint64_t awaited) {
    post([this, awaited] {
      if (auto one = awaited_.extract(awaited)) one.mapped()({});
    });
  }
  void opened(uint64_t id) { session_ = id; }
  const BusOptions& options() const { return options_; }
  const std::string& machine() const { return machine_; }

 private:
  enum class State { kIdle, kConnecting, kConnected };

  void post(std::function<void()> task) {
    loop_.post([alive = alive_, task = std::move(task)] {
      if (*alive) task();
    });
  }

  void lost(const std::string& why) {
    state_ = State::kIdle;
    post([this, why, awaited = std::exchange(awaited_, {})] {
      for (const auto& [number, done] : awaited) done(fail(ErrorCode::kUnavailable, why));
      if (handlers_.disconnected) handlers_.disconnected({ErrorCode::kUnavailable, why});
    });
  }

  SimBroker& broker_;
  SimLoop& loop_;
  const std::string machine_;
  const BusOptions options_;
  const Handlers handlers_;
  State state_ = State::kIdle;
  uint64_t session_ = 0;
  uint64_t attempt_ = 0;
  uint64_t outgoing_bytes_ = 0, outgoing_refused_ = 0;
  std::map<uint64_t, std::function<void(const Status&)>> awaited_;  // acknowledgements
  uint64_t last_awaited_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

SimBroker::Session* SimBroker::find(uint64_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

void SimBroker::open(SimBus* bus) {
  const BusOptions& options = bus->options();
  for (const auto& [id, session] : sessions_) {
    if (session.client_id == options.client_id) {
      close(id, true, "another client of this name");
      break;
    }
  }
  Session session;
  session.id = ++last_;
  session.machine = bus->machine();
  session.bus = bus;
  session.client_id = options.client_id;
  session.will_topic = options.will_topic;
  session.will_payload = options.will_payload;
  const uint64_t id = session.id;
  sessions_.emplace(id, std::move(session));
  bus->opened(id);
  scheduler_.note("open " + options.client_id);
  watch_keepalive(id);
}

void SimBroker::close(uint64_t id, bool will, const std::string& why) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const Session session = std::move(found->second);
  sessions_.erase(found);
  scheduler_.note("close " + session.client_id);
  if (session.bus != nullptr && !why.empty()) session.bus->broken(why);
  if (will && !session.will_topic.empty()) {
    retained_[session.will_topic] = session.will_payload;
    spread(session.will_topic, session.will_payload, true);
  }
}

// A link that swallows everything one way is noticed by the keepalive, by both sides.
void SimBroker::watch_keepalive(uint64_t id) {
  scheduler_.after(random_.between(8'000'000, 12'000'000), [this, id] {
    const Session* session = find(id);
    if (session == nullptr) return;
    const LinkFaults& link = links[session->machine];
    if (link.up_cut || link.down_cut) return close(id, true, "no answer to a ping");
    watch_keepalive(id);
  });
}

void SimBroker::restart(bool keep_retained, int64_t down_us) {
  down_until_us_ = scheduler_.now_us() + down_us;
  if (!keep_retained) retained_.clear();
  const auto sessions = sessions_;
  for (const auto& [id, session] : sessions) close(id, false, "the broker ended");
}

void SimBroker::cut(const std::string& machine) {
  const auto sessions = sessions_;
  for (const auto& [id, session] : sessions) {
    if (session.machine == machine) close(id, true, "connection reset");
  }
}

void SimBroker::go_up(uint64_t id, size_t bytes, std::function<void()> arrive) {
  Session* session = find(id);
  if (session == nullptr) return;
  const LinkFaults& link = links[session->machine];
  if (link.up_cut || random_.chance(link.drop)) return;
  const int copies = random_.chance(link.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t at =
        scheduler_.now_us() + random_.between(link.delay_us_min, link.delay_us_max) + static_cast<int64_t>(bytes) / 100;
    if (!random_.chance(link.reorder)) at = session->up_us = std::max(session->up_us + 1, at);
    scheduler_.at(at, arrive);
  }
}

void SimBroker::published(uint64_t id, const std::string& topic, const std::string& payload, bool retained) {
  if (find(id) == nullptr) return;
  scheduler_.note(topic, payload.size());
  scheduler_.note(payload);
  if (retained) {
    if (payload.empty()) {
      retained_.erase(topic);
    } else {
      retained_[topic] = payload;
    }
  }
  spread(topic, payload, retained);
}

void SimBroker::spread(const std::string& topic, const std::string& payload, bool) {
  for (auto& [id, session] : sessions_) {
    const bool wants = std::any_of(session.filters.begin(), session.filters.end(),
                                   [&](const auto& filter) { return topic_matches(filter, topic); });
    if (wants) deliver(session, topic, payload);
  }
}

void SimBroker::deliver(Session& session, const std::string& topic, const std::string& payload) {
  const LinkFaults& link = links[session.machine];
  if (link.down_cut || random_.chance(link.drop)) return;
  const int copies = random_.chance(link.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t at = scheduler_.now_us() + random_.between(link.delay_us_min, link.delay_us_max);
    if (!random_.chance(link.reorder)) at = session.down_us = std::max(session.down_us + 1, at);
    scheduler_.at(at, [this, id = session.id, topic, payload] {
      const Session* there = find(id);
      if (there != nullptr && there->bus != nullptr) there->bus->message(topic, payload);
    });
  }
}

namespace {

class SilentServer final : public HttpServer {
 public:
  uint16_t port() const override { return 1; }
};

}  // namespace

std::unique_ptr<MessageBus> SimNetwork::bus(BusOptions options, MessageBus::Handlers handlers) {
  return std::make_unique<SimBus>(broker_, loop_, machine_, std::move(options), std::move(handlers));
}

Result<std::unique_ptr<HttpServer>> SimNetwork::listen_http(HttpOptions, HttpServer::Handler) {
  return std::make_unique<SilentServer>();
}

}  // namespace lambda::sim
