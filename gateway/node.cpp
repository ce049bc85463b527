#include "gateway/node.h"

#include <algorithm>
#include <map>
#include <set>

#include "gateway/api/api.h"
#include "gateway/broker/broker.h"
#include "gateway/broker/session_ender.h"
#include "gateway/questions/questions.h"
#include "gateway/rules_live.h"
#include "gateway/site/names.h"
#include "gateway/site/registry.h"
#include "gateway/site/site.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kConnectDelayMs = 50, kConnectDelayMsMax = 5'000;
constexpr int64_t kRegistryLookMs = 50;  // at most so often, also under load
constexpr int64_t kStrangerLookMs = 2;
constexpr int64_t kBackgroundMs = 1'000;       // when there was nothing more to do
constexpr int64_t kBackgroundBusyMs = 10;      // when there was
constexpr int64_t kEndSessionMs = 200;         // after the revocation list was handed to the broker
constexpr int64_t kEndSessionAgainMs = 2'000;  // a session that slipped in between

// What counts for whether a session may go on.
struct Standing {
  bool revoked = false;
  PublicKey key{};
  friend bool operator==(const Standing&, const Standing&) = default;
};

std::vector<std::string> default_names(Env& env, const std::string& address) {
  std::vector<std::string> names = {"localhost", "127.0.0.1"};
  const bool loopback = address.rfind("127.", 0) == 0 || address == "::1";
  if (loopback) return names;
  if (auto text = env.disk.read_all("/proc/sys/kernel/hostname", 256)) {
    std::string name = text->substr(0, text->find('\n'));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool usable = !name.empty() && name != "localhost" && name != "(none)" &&
                        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
    if (usable) names.push_back(name);
  }
  return names;
}

}  // namespace

struct Node::Parts {
  explicit Parts(Env& env, const GatewayConfig& config) : registry(env.disk, env.log, config.site_directory) {}
  ~Parts() { *alive = false; }

  // Destroyed in the reverse order: the interface first, the store last.
  Registry registry;
  std::optional<Site> site;
  std::map<std::string, Standing> standings;  // of the registry as it was acted upon
  std::unique_ptr<Store> store;
  std::unique_ptr<Broker> broker;
  std::unique_ptr<SessionEnder> sessions;
  std::unique_ptr<Ingest> ingest;
  std::unique_ptr<LiveLane> live;
  std::unique_ptr<Questions> questions;
  std::unique_ptr<MessageBus> bus;
  std::unique_ptr<RulesLive> rules_live;
  std::unique_ptr<Rules> rules;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> http;

  std::string bus_url;
  bool connected = false;
  std::set<std::string> unconfirmed;  // filters of this connection that the broker has not confirmed
  uint64_t connections = 0;
  int64_t connect_delay_ms = kConnectDelayMs;
  int64_t registry_looked_ms = 0;
  bool registry_error_told = false;
  EventLoop::TimerId connect_timer = 0, registry_timer = 0, background_timer = 0, stop_timer = 0;
  bool stopping = false, left = false;
  int64_t stop_by_mono_ms = 0;
  std::function<void()> stopped;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

Node::Node(Env& env, GatewayConfig config, NodeHelpers helpers)
    : env_(env), config_(std::move(config)), helpers_(std::move(helpers)) {
  config_.store.site = config_.site;
  if (config_.quarantine.directory.empty()) config_.quarantine.directory = config_.store.directory + "/quarantine";
  if (config_.rules.directory.empty()) config_.rules.directory = config_.store.directory + "/rules";
  config_.rules.site = config_.site;
  config_.rules.gateway = config_.gateway;
  if (config_.broker_names.empty()) config_.broker_names = default_names(env_, config_.broker_address);
}

Node::~Node() {
  if (!parts_) return;
  for (EventLoop::TimerId timer :
       {parts_->connect_timer, parts_->registry_timer, parts_->background_timer, parts_->stop_timer}) {
    env_.loop.cancel(timer);
  }
}

Store& Node::store() {
  return *parts_->store;
}
const Ingest& Node::ingest() const {
  return *parts_->ingest;
}
Rules& Node::rules() {
  return *parts_->rules;
}
LiveLane& Node::live() {
  return *parts_->live;
}
bool Node::ready() const {
  return parts_ && parts_->api && parts_->api->ready();
}
uint16_t Node::http_port() const {
  return parts_ && parts_->http ? parts_->http->port() : uint16_t{0};
}
std::string Node::broker_url() const {
  return parts_ && parts_->broker ? parts_->broker->url() : config_.broker_url;
}

Status Node::start() {
  LAMBDA_ASSERT(!parts_);
  parts_ = std::make_unique<Parts>(env_, config_);
  Parts& p = *parts_;
  if (auto opened = open_site(); !opened) return opened;
  if (auto opened = open_registry(); !opened) return opened;
  if (auto made = env_.disk.make_dirs(config_.store.directory); !made) return made;
  auto store = Store::open(env_, config_.store);
  if (!store) return tl::unexpected(store.error());
  p.store = std::move(*store);

  IngestPort port;
  port.publish = [this](const std::string& topic, std::string_view message) {
    return parts_->bus->publish(topic, std::as_bytes(std::span(message.data(), message.size())), 1, false);
  };
  port.refresh_registry = [this](bool stranger) { refresh_registry(stranger); };
  port.end_session = [this](const std::string& device) {
    if (parts_->sessions) parts_->sessions->end(device);
  };
  port.stored = [this](const std::string& device, uint64_t boot, std::string_view parcel, const Decision& decision) {
    parts_->live->stored(device, boot, parcel, decision);
  };
  p.ingest =
      std::make_unique<Ingest>(env_, IngestOptions{config_.site, config_.gateway, config_.ingest, config_.quarantine},
                               *p.store, p.registry, std::move(port));
  make_live();
  make_questions();
  if (config_.broker_mode == "child") start_broker();
  if (p.broker) {
    if (auto started = p.broker->start(); !started) return started;
  }
  if (config_.uses_tls()) {
    p.sessions = std::make_unique<SessionEnder>(
        env_, SessionEnderOptions{}, [this] { return broker_url(); },
        [this](const std::string& device) -> Result<EvictionFiles> {
          auto files = parts_->site->eviction_credentials(device);
          if (!files) return tl::unexpected(files.error());
          return EvictionFiles{files->ca_file, files->certificate_file, files->key_file};
        });
  }
  if (auto started = start_rules(); !started) return started;
  ApiView view{config_.site,
               config_.gateway,
               p.store.get(),
               p.ingest.get(),
               p.live.get(),
               &p.registry,
               p.broker.get(),
               p.sessions.get(),
               [this] { return parts_->connected && parts_->unconfirmed.empty(); },
               [this] { return parts_->connections; },
               env_.clock.mono_ms(),
               [this] { return parts_->http == nullptr ? HttpCounters{} : parts_->http->counters(); },
               p.rules.get(),
               p.questions.get()};
  p.api = std::make_unique<Api>(env_, std::move(view), helpers_.queries);
  auto http = env_.network.listen_http(config_.http, [this](const HttpRequest& request, HttpServer::Respond respond) {
    parts_->api->handle(request, std::move(respond));
  });
  if (!http) return tl::unexpected(http.error());
  p.http = std::move(*http);

  p.connect_timer = env_.loop.after(p.broker ? kConnectDelayMs : 0, [this] { connect_bus(); });
  p.registry_timer = env_.loop.after(config_.registry_poll_ms, [this] { poll_registry(); });
  p.background_timer = env_.loop.after(kBackgroundMs, [this] { background(); });
  env_.log.info("gateway_started", {{"site", config_.site},
                                    {"gateway", config_.gateway},
                                    {"version", kVersion},
                                    {"http_port", uint64_t{p.http->port()}},
                                    {"broker", broker_url()},
                                    {"devices", static_cast<uint64_t>(p.registry.devices().size())}});
  return {};
}

Status Node::start_rules() {
  Rules::Port port;
  port.publish = [this](const std::string& topic, const std::string& message,
                        std::function<void(const Status&)> done) -> Status {
    if (!parts_->bus) return fail(ErrorCode::kUnavailable, "not connected to the broker");
    return parts_->bus->publish_acknowledged(topic, std::as_bytes(std::span(message.data(), message.size())),
                                             std::move(done));
  };
  Parts& p = *parts_;
  p.rules_live = std::make_unique<RulesLive>(env_, *p.live);
  port.reads = [this](const std::vector<std::string>& metrics) { parts_->rules_live->reads(metrics); };
  port.live = [this](const std::string& selector, int64_t ms) { parts_->rules_live->request(selector, ms); };
  p.rules =
      std::make_unique<Rules>(env_, config_.rules, *parts_->store, helpers_.http, std::move(port), helpers_.rules);
  p.rules_live->set_rules(p.rules.get());
  return p.rules->start();
}

Status Node::open_site() {
  if (!config_.uses_tls()) return env_.disk.make_dirs(config_.site_directory);
  // The gateway itself checks the certificate by the address it connects to.
  std::vector<std::string> names = config_.broker_names;
  const std::string own = own_host(config_.broker_address);
  if (std::find(names.begin(), names.end(), own) == names.end()) names.push_back(own);
  auto site = Site::open_or_make(env_, {config_.site_directory, config_.site, config_.gateway, names});
  if (!site) return tl::unexpected(site.error());
  parts_->site = std::move(*site);
  return {};
}

// Reads the registry and makes the revocation list from it, since it may have changed while nobody ran.
Status Node::open_registry() {
  Parts& p = *parts_;
  if (auto read = p.registry.refresh(); !read) return tl::unexpected(read.error());
  for (const auto& [id, device] : p.registry.devices()) p.standings[id] = {device.revoked, device.public_key};
  if (!p.site) return {};
  if (auto written = p.site->write_revocation_list(p.registry.dead_serials()); !written) {
    // Without the authority's key here the last list stays; ingest goes by the registry in any case.
    env_.log.error("revocation_list_not_written", {{"why", written.error().text}});
  }
  return {};
}

void Node::make_live() {
  LiveOptions options = config_.live;
  options.fresh.site = config_.site;
  options.fresh.ahead_ms_max = config_.ingest.ahead_ms_max;
  LivePort port;
  port.publish = [this](std::string_view message) {
    return parts_->bus->publish("lambda/v1/" + config_.site + "/interest/all",
                                std::as_bytes(std::span(message.data(), message.size())), 1, true);
  };
  port.refresh_registry = [this](bool stranger) { refresh_registry(stranger); };
  port.end_session = [this](const std::string& device) {
    if (parts_->sessions) parts_->sessions->end(device);
  };
  parts_->live = std::make_unique<LiveLane>(env_, std::move(options), parts_->ingest->answerer(), *parts_->store,
                                            parts_->registry, std::move(port));
}

void Node::make_questions() {
  QuestionsOptions options = config_.questions;
  options.site = config_.site;
  QuestionsPort port;
  port.publish = [this](const std::string& topic, std::string_view message) {
    return parts_->bus->publish(topic, std::as_bytes(std::span(message.data(), message.size())), 1, false);
  };
  parts_->questions = std::make_unique<Questions>(env_, std::move(options), std::move(port));
}

void Node::start_broker() {
  BrokerOptions options;
  options.program = config_.broker_program;
  options.site_directory = config_.site_directory;
  options.directory = config_.site_directory + "/broker";
  options.names = config_.broker_names;
  const Credentials server = parts_->site->server_credentials();
  options.config = {config_.site,
                    config_.gateway,
                    config_.broker_address,
                    config_.broker_port,
                    server.ca_file,
                    server.certificate_file,
                    server.key_file,
                    parts_->site->crl_file(),
                    {},
                    config_.broker_limits,
                    config_.broker_alert_readers};
  parts_->broker = std::make_unique<Broker>(env_, std::move(options));
}

void Node::connect_bus() {
  Parts& p = *parts_;
  p.connect_timer = 0;
  if (p.stopping) return;
  const std::string url = broker_url();
  if (p.bus && p.bus_url == url) {
    p.bus->connect();
    return;
  }
  // The first time, or the child has moved to another port.
  p.bus_url = url;
  BusOptions options;
  options.urls = {url};
  options.client_id = config_.gateway;
  options.outgoing_bytes_max = config_.outgoing_bytes_max;
  if (config_.uses_tls()) {
    const Credentials own = p.site->gateway_credentials();
    options.ca_file = own.ca_file;
    options.certificate_file = own.certificate_file;
    options.key_file = own.key_file;
  }
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string&) { on_connected(); };
  handlers.subscribed = [this](const std::string& filter) { parts_->unconfirmed.erase(filter); };
  handlers.disconnected = [this](const Error& error) {
    if (parts_->connected && !parts_->stopping) env_.log.warn("broker_lost", {{"why", error.text}});
    // A child needs a moment to listen; what lasts is worth a line.
    if (!parts_->connected) {
      const bool lasting = parts_->connect_delay_ms >= kConnectDelayMsMax;
      env_.log.write(lasting ? LogLevel::kWarn : LogLevel::kDebug, "broker_not_reached", {{"why", error.text}});
    }
    parts_->connected = false;
    parts_->live->disconnected();
    parts_->questions->disconnected();
    connect_later();
  };
  handlers.message = [this](std::string_view topic, std::span<const std::byte> payload) {
    if (parts_->stopping) return;
    const auto from = device_topic(topic, config_.site);
    if (from && from->leaf == "live") {
      parts_->live->message(std::string(from->device), payload);
    } else if (from && from->leaf == "up" && is_answer(payload)) {
      parts_->questions->message(from->device, payload);
    } else {
      parts_->ingest->message(topic, payload);
    }
  };
  p.bus = env_.network.bus(std::move(options), std::move(handlers));
  p.bus->connect();
}

void Node::connect_later() {
  Parts& p = *parts_;
  if (p.stopping || p.connect_timer != 0) return;
  // Full jitter, but never at once.
  const auto spread = static_cast<uint64_t>(p.connect_delay_ms);
  const int64_t delay_ms = p.connect_delay_ms / 2 + static_cast<int64_t>(env_.random.below(spread / 2 + 1));
  p.connect_delay_ms = std::min(p.connect_delay_ms * 2, kConnectDelayMsMax);
  p.connect_timer = env_.loop.after(delay_ms, [this] { connect_bus(); });
}

void Node::on_connected() {
  Parts& p = *parts_;
  const std::string root = "lambda/v1/" + config_.site + "/";
  p.unconfirmed.clear();
  // What is lost of the live lane comes with its block: it needs no second message for each.
  for (const auto& [leaf, qos] : {std::pair{"+/up", 1}, {"+/state", 1}, {"+/live", 0}}) {
    p.unconfirmed.insert(root + leaf);
    if (auto asked = p.bus->subscribe(root + leaf, qos); !asked) {
      env_.log.error("not_subscribed", {{"topic", root + leaf}, {"why", asked.error().text}});
    }
  }
  p.live->connected();  // announces this gateway
  p.connected = true;
  ++p.connections;
  p.connect_delay_ms = kConnectDelayMs;
  if (p.broker) p.broker->proved();
  env_.log.info("broker_connected", {{"url", broker_url()}});
  p.ingest->connected();
  p.rules->connected();
}

void Node::poll_registry() {
  refresh_registry(false);
  parts_->registry_timer = env_.loop.after(config_.registry_poll_ms, [this] { poll_registry(); });
}

void Node::refresh_registry(bool stranger) {
  Parts& p = *parts_;
  const int64_t now = env_.clock.mono_ms();
  // The registry only grows: between the looks its size tells, so that a revocation counts from the next message on.
  const bool looked = now - p.registry_looked_ms < (stranger ? kStrangerLookMs : kRegistryLookMs);
  if (looked && !p.registry.looks_changed()) return;
  p.registry_looked_ms = now;
  auto changed = p.registry.refresh();
  if (!changed) {
    if (!p.registry_error_told) env_.log.error("registry_not_read", {{"why", changed.error().text}});
    p.registry_error_told = true;
    return;
  }
  p.registry_error_told = false;
  if (*changed) on_registry_changed();
}

// Ends the sessions of devices that were revoked, or whose key is another one now. Their parcels are refused from the
// moment the registry was read; this is about the connection.
void Node::on_registry_changed() {
  Parts& p = *parts_;
  std::vector<std::string> ended;
  for (const auto& [id, device] : p.registry.devices()) {
    auto before = p.standings.find(id);
    const Standing now{device.revoked, device.public_key};
    if (before == p.standings.end()) {
      if (device.revoked) ended.push_back(id);
    } else if (!(before->second == now) && (now.revoked || now.key != before->second.key)) {
      ended.push_back(id);
    }
    p.standings[id] = now;
  }
  env_.log.info("registry_changed", {{"devices", static_cast<uint64_t>(p.registry.devices().size())},
                                     {"sessions_to_end", static_cast<uint64_t>(ended.size())}});
  if (!p.site || ended.empty()) return;
  if (auto written = p.site->write_revocation_list(p.registry.dead_serials()); !written) {
    env_.log.error("revocation_list_not_written", {{"why", written.error().text}});
  } else if (p.broker) {
    p.broker->reload();
  }
  for (const auto& id : ended) {
    p.sessions->end_after(id, kEndSessionMs);
    p.sessions->end_after(id, kEndSessionAgainMs);
  }
}

void Node::background() {
  Parts& p = *parts_;
  const bool more_merges = p.store->merge_slice();
  const bool more_retention = p.store->retention_slice();
  p.background_timer =
      env_.loop.after(more_merges || more_retention ? kBackgroundBusyMs : kBackgroundMs, [this] { background(); });
}

Status Node::reload(const GatewayConfig& config) {
  auto fixed = [](const char* key, bool same) -> Status {
    if (same) return {};
    return fail(ErrorCode::kInvalid, std::string(key) + ": needs a restart to change");
  };
  const StoreOptions &old_store = config_.store, &new_store = config.store;
  const std::pair<const char*, bool> checks[] = {
      {"gateway.id", config.gateway == config_.gateway},
      {"site.name", config.site == config_.site},
      {"site.directory", config.site_directory == config_.site_directory},
      {"broker", config.broker_mode == config_.broker_mode && config.broker_url == config_.broker_url &&
                     config.broker_address == config_.broker_address && config.broker_port == config_.broker_port &&
                     config.broker_program == config_.broker_program &&
                     config.broker_alert_readers == config_.broker_alert_readers &&
                     (config.broker_names.empty() || config.broker_names == config_.broker_names)},
      {"http",
       config.http.address == config_.http.address && config.http.port == config_.http.port &&
           config.http.token == config_.http.token && config.http.certificate_file == config_.http.certificate_file &&
           config.http.key_file == config_.http.key_file && config.http.client_ca_file == config_.http.client_ca_file},
      {"rules", config.rules.exec == config_.rules.exec && config.rules.exec_programs == config_.rules.exec_programs &&
                    config.rules.alertmanagers == config_.rules.alertmanagers &&
                    (config.rules.directory.empty() || config.rules.directory == config_.rules.directory)},
      {"store", new_store.directory == old_store.directory &&
                    new_store.segment_bytes_max == old_store.segment_bytes_max &&
                    new_store.retention_bytes_max == old_store.retention_bytes_max &&
                    new_store.retention_age_ms_max == old_store.retention_age_ms_max &&
                    new_store.free_bytes_min == old_store.free_bytes_min &&
                    new_store.free_bytes_resume == old_store.free_bytes_resume},
      {"live", config.live == config_.live},
      {"questions", config.questions == config_.questions},
  };
  for (const auto& [key, same] : checks) {
    if (auto ok = fixed(key, same); !ok) return ok;
  }
  config_.ingest = config.ingest;
  config_.registry_poll_ms = config.registry_poll_ms;
  if (parts_ && parts_->ingest) parts_->ingest->set_limits(config.ingest);
  if (parts_ && parts_->rules) parts_->rules->reload();
  return {};
}

void Node::stop(std::function<void()> done) {
  Parts& p = *parts_;
  LAMBDA_ASSERT(!p.stopping);
  p.stopping = true;
  p.stopped = std::move(done);
  p.stop_by_mono_ms = env_.clock.mono_ms() + kStopMsMax;
  env_.loop.cancel(p.connect_timer);
  env_.loop.cancel(p.registry_timer);
  env_.loop.cancel(p.background_timer);
  p.http.reset();
  p.api->cancel_queries();
  finish_stop();
}

// Until the store has decided what was taken, then a moment for the answers to leave, then the end.
void Node::finish_stop() {
  Parts& p = *parts_;
  const bool decided = p.ingest->waiting_messages() == 0;
  if (!decided && env_.clock.mono_ms() < p.stop_by_mono_ms) {
    p.stop_timer = env_.loop.after(10, [this] { finish_stop(); });
    return;
  }
  if (!decided) env_.log.warn("stopped_with_messages_waiting", {{"messages", p.ingest->waiting_messages()}});
  // The rules' state is worth a moment, not more: without it the next start reads again what arrived since the last.
  p.stop_timer = env_.loop.after(kStopMsMax, [this] { leave(); });
  p.rules->stop([this] {
    env_.loop.cancel(parts_->stop_timer);
    leave();
  });
}

void Node::leave() {
  if (parts_->left) return;
  parts_->left = true;
  parts_->stop_timer = env_.loop.after(100, [this] {
    Parts& rest = *parts_;
    if (rest.bus) rest.bus->disconnect();
    if (rest.broker) rest.broker->stop();
    rest.stop_timer = env_.loop.after(50, [this] {
      env_.log.info("gateway_stopped");
      auto stopped = std::move(parts_->stopped);
      stopped();
    });
  });
}

}  // namespace lambda::gateway
