#include "tests/sim/machines.h"

#include <bit>

#include "gateway/site/registry.h"

namespace lambda::sim {
namespace {

constexpr const char* kSiteFolder = "/var/site";

uint64_t seed_of(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

}  // namespace

Machine::Machine(World& world, std::string name)
    : clock(world.scheduler), media(SimRandom(world.random.next())), world_(world), name_(std::move(name)) {}

Machine::Run::Run(World& world, Machine& machine, uint64_t seed)
    : loop(world.scheduler),
      disk(world.scheduler, machine.media, loop),
      network(world.broker, loop, machine.name_),
      random(seed),
      log(world.scheduler, machine.name_, world.verbose, world.impossible),
      env{machine.clock, loop, disk, network, random, processes, log} {}

void Machine::begin_run() {
  world_.scheduler.note("start " + name_);
  run_ = std::make_unique<Run>(world_, *this, world_.random.next());
}

void Machine::end_run() {
  world_.scheduler.note("end " + name_);
  run_->loop.clear();
  run_.reset();
}

GatewayMachine::GatewayMachine(World& world)
    : Machine(world, "gateway-1"),
      high_water_(world.random.chance(0.5)),
      retains_(world.random.chance(0.4)),
      age_ms_max_(world.random.chance(0.3) ? 20'000 : 0) {
  media.folders.insert("/var");
}

void GatewayMachine::start() {
  begin_run();
  gateway::GatewayConfig config;
  config.site = kSite;
  config.gateway = "gateway-1";
  config.site_directory = kSiteFolder;
  config.broker_mode = "none";
  config.broker_url = kBrokerUrl;
  config.store.directory = store_folder();
  config.store.segment_bytes_max = retains_ ? 8u << 10 : 64u << 10;
  config.store.free_bytes_min = high_water_ ? 64u << 10 : 1;
  config.store.free_bytes_resume = high_water_ ? 96u << 10 : 256;
  if (retains_) {
    config.store.retention_bytes_max = 24u << 10;
    config.store.retention_age_ms_max = age_ms_max_;
  }
  config.store.merge_interval_ms = 5'000;
  config.store.index_in_memory = true;
  config.live.interest.lease_ms = kLeaseMs;
  node_ = std::make_unique<gateway::Node>(run_->env, config);
  if (auto started = node_->start(); !started) {
    // As a service would be: tried again a moment later.
    run_->log.error("gateway_not_started", {{"why", started.error().text}});
    world_.scheduler.after(500'000, [this, run = run_.get()] {
      if (run_.get() != run) return;
      kill();
      start();
    });
    return;
  }
  if (witness_ == nullptr) return;
  witness_->begin_run();
  LAMBDA_ASSERT(node_->live().subscribe({{{"__name__", query::MatchOp::kRegex, ".+"}}}, *witness_).has_value());
}

void GatewayMachine::kill() {
  if (!run_) return;
  run_->disk.die();
  node_.reset();
  stopping_ = false;
  end_run();
}

void GatewayMachine::stop() {
  if (!run_ || stopping_ || node_->http_port() == 0) return;
  stopping_ = true;
  node_->stop([this, run = run_.get()] {
    // From the top of the scheduler, not from inside the node.
    world_.scheduler.after(1, [this, run] {
      if (run_.get() == run) kill();
    });
  });
}

void GatewayMachine::enroll(const std::string& device, const PublicKey& key) {
  gateway::Enrolled enrolled;
  enrolled.device = device;
  enrolled.public_key = key;
  enrolled.fingerprint = std::string(64, '0');
  enrolled.serial = "01";
  enrolled.enrolled_ms = clock.utc_ms();
  media.folders.insert(kSiteFolder);
  auto& file = media.files[std::string(kSiteFolder) + "/registry.jsonl"];
  if (!file) file = std::make_shared<SimMedia::File>();
  file->data += gateway::Registry::enroll_line(enrolled, false);
  file->synced = file->data.size();
  media.synced_names[std::string(kSiteFolder) + "/registry.jsonl"] = file;
}

void GatewayMachine::revoke(const std::string& device) {
  auto& file = media.files[std::string(kSiteFolder) + "/registry.jsonl"];
  file->data += gateway::Registry::revoke_line(device, clock.utc_ms(), false);
  file->synced = file->data.size();
}

void Microcontroller::lose_power() {
  world_.scheduler.after(0, [this, run = run_.get()] {
    if (run_.get() != run) return;
    kill();
    power_lost_();
  });
}

DeviceMachine::DeviceMachine(World& world, Oracle& oracle, std::string name, Options options)
    : Microcontroller(world, std::move(name)),
      oracle_(oracle),
      options_(options),
      key_random_(seed_of(name_)),
      key_(SigningKey::make(key_random_)),
      public_key_(key_.public_key()),
      up_topic_("lambda/v1/" + std::string(kSite) + "/" + name_ + "/up"),
      down_topic_("lambda/v1/" + std::string(kSite) + "/" + name_ + "/down") {
  for (uint32_t i = 0; i < options_.series; ++i) {
    Series series;
    series.name = "sim_" + std::to_string(i);
    series_.push_back(std::move(series));
  }
  for (size_t i = 0; i < series_.size(); ++i) {
    lam_series_spec& spec = series_[i].spec;
    spec.name = series_[i].name.c_str();
    spec.kind = LAM_GAUGE;
    spec.type = i % 2 == 0 ? LAM_I64 : LAM_F64;
  }
  if (options_.flash) keeper_ = std::make_unique<Keeper>(*options_.flash, oracle_, name_, [this] { lose_power(); });
}

lam_port DeviceMachine::port() {
  lam_port port{};
  port.context = this;
  port.mono_ms = [](void* context) { return static_cast<DeviceMachine*>(context)->clock.mono_ms(); };
  port.utc_ms = [](void* context, int64_t* utc_ms) {
    auto* self = static_cast<DeviceMachine*>(context);
    *utc_ms = self->clock.utc_ms();
    return self->knows_time_now_;
  };
  port.random = [](void* context) { return static_cast<DeviceMachine*>(context)->run_->random.next(); };
  port.sha256_start = host_hash().start;
  port.sha256_update = host_hash().update;
  port.sha256_finish = host_hash().finish;
  port.sign = [](void* context, const uint8_t digest[32], uint8_t signature[64]) {
    Digest copy;
    std::copy(digest, digest + 32, copy.begin());
    const Signature made = static_cast<DeviceMachine*>(context)->key_.sign(copy);
    std::copy(made.begin(), made.end(), signature);
    return true;
  };
  port.publish = [](void* context, lam_topic, const uint8_t* bytes, size_t size) {
    auto* self = static_cast<DeviceMachine*>(context);
    return self->bus_ && self->has_power() &&
           self->bus_->publish(self->up_topic_, std::as_bytes(std::span(bytes, size)), 1, false).has_value();
  };
  return port;
}

void DeviceMachine::start() {
  begin_run();
  knows_time_now_ = options_.knows_time;
  lam_config config{};
  config.site = kSite;
  config.device = name_.c_str();
  config.series_max = options_.series;
  config.seal_age_ms = static_cast<uint32_t>(run_->random.between(1'000, 5'000));
  config.parcel_age_ms = 500;
  config.answer_timeout_ms = 2'000;
  memory_.assign(options_.memory_bytes / 8, 0);
  const lam_port made = port();
  LAMBDA_ASSERT(lam_init(memory_.data(), memory_.size() * 8, &config, &made, &device_) == LAM_OK);
  for (auto& series : series_) LAMBDA_ASSERT(lam_declare(device_, &series.spec, &series.id) == LAM_OK);
  if (keeper_) keeper_->start(device_, config, run_->log);

  BusOptions options;
  options.urls = {kBrokerUrl};
  options.client_id = name_;
  options.connect_timeout_ms = 3'000;
  options.will_topic = "lambda/v1/" + std::string(kSite) + "/" + name_ + "/state";
  options.will_payload = "offline";
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string&) {
    (void)bus_->subscribe(down_topic_, 1);
    (void)bus_->subscribe("lambda/v1/" + std::string(kSite) + "/interest/all", 1);
    lam_connected(device_);
    poll();
  };
  handlers.disconnected = [this](const Error&) {
    lam_disconnected(device_);
    run_->loop.after(run_->random.between(200, 1'500), [this] { connect(); });
  };
  handlers.message = [this](std::string_view topic, std::span<const std::byte> payload) {
    lam_incoming(device_, topic == down_topic_ ? LAM_DOWN : LAM_INTEREST,
                 reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    poll();
  };
  bus_ = run_->network.bus(std::move(options), std::move(handlers));
  connect();
  run_->loop.after(1, [this] { sample(); });
  poll();
  // A clock that is set some time after the start.
  if (!options_.knows_time) {
    run_->loop.after(run_->random.between(2'000, 20'000), [this] { knows_time_now_ = true; });
  }
}

void DeviceMachine::kill() {
  if (!run_) return;
  run_->disk.die();
  bus_.reset();
  if (keeper_) keeper_->end();
  device_ = nullptr;
  poll_timer_ = 0;
  end_run();
}

void DeviceMachine::connect() {
  bus_->connect();
}

void DeviceMachine::sample() {
  run_->loop.after(options_.interval_ms, [this] { sample(); });
  if (!making_ || !has_power()) return;
  for (auto& series : series_) {
    const uint64_t value = ++value_ * 64 + series.id;
    const lam_status status = series.spec.type == LAM_I64
                                  ? lam_append_i64(device_, series.id, static_cast<int64_t>(value))
                                  : lam_append_f64(device_, series.id, static_cast<double>(value));
    if (status != LAM_OK) continue;  // never made
    lam_point last{};
    LAMBDA_ASSERT(lam_last(device_, series.id, &last) == LAM_OK);
    const uint64_t bits = series.spec.type == LAM_I64 ? value : std::bit_cast<uint64_t>(static_cast<double>(value));
    const Identity identity{name_, lam_boot(device_), series.id, last.ordinal};
    oracle_.made(identity, {last.time_ms, bits});
    if (keeper_) keeper_->made(identity);
  }
  poll();
}

void DeviceMachine::poll() {
  if (!has_power()) return;
  run_->loop.cancel(poll_timer_);
  const uint32_t wait_ms = keeper_ ? keeper_->poll() : lam_poll(device_);
  poll_timer_ = run_->loop.after(std::max<uint32_t>(1, wait_ms), [this] { poll(); });
}

void DeviceMachine::flush() {
  if (device_ == nullptr || !has_power()) return;
  lam_flush(device_);
  poll();
}

uint64_t DeviceMachine::waiting() const {
  if (device_ == nullptr) return 0;
  lam_counters counters{};
  lam_get_counters(device_, &counters);
  return counters.points_waiting;
}

}  // namespace lambda::sim
