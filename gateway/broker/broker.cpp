#include "gateway/broker/broker.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

namespace lambda::gateway {
namespace {

using Json = nlohmann::ordered_json;

// Below the range from which systems take the ports of outgoing connections.
constexpr uint16_t kPortFirst = 20'000, kPortCount = 10'000;
constexpr int64_t kEarlyMs = 1'500;                 // an exit that soon means: port taken, or configuration refused
constexpr uint32_t kEarlyExitsOfARecordedPort = 6;  // about 8 s: a former broker of ours may still be ending
constexpr uint64_t kRecordBytesMax = 64u << 10;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::string own_host(const std::string& address) {
  if (address.empty() || address == "0.0.0.0") return "127.0.0.1";
  return address == "::" ? "::1" : address;
}

Broker::Broker(Env& env, BrokerOptions options)
    : env_(env), options_(std::move(options)), port_is_ours_(options_.config.port == 0) {
  delay_ms_ = options_.restart_delay_ms;
}

Broker::~Broker() {
  *alive_ = false;
  env_.loop.cancel(timer_);
}

Status Broker::start() {
  if (port_is_ours_) pick_port(true);
  if (auto made = env_.disk.make_dirs(options_.directory); !made) return made;
  if (auto written = write_configuration(); !written) return written;
  spawn();
  return {};
}

void Broker::pick_port(bool keep_recorded) {
  if (keep_recorded) {
    auto text = env_.disk.read_all(options_.site_directory + "/broker.json", kRecordBytesMax);
    Json json = text ? Json::parse(*text, nullptr, false) : Json();
    if (json.is_object() && json.contains("port") && json["port"].is_number_unsigned()) {
      const auto port = json["port"].get<uint64_t>();
      if (port > 0 && port < 65536) {
        options_.config.port = static_cast<uint16_t>(port);
        port_recorded_ = true;
        return;
      }
    }
  }
  port_recorded_ = false;
  options_.config.port = static_cast<uint16_t>(kPortFirst + env_.random.below(kPortCount));
}

Status Broker::write_configuration() {
  options_.config.acl_file = options_.directory + "/mosquitto.acl";
  const std::string conf = mosquitto_conf(options_.config), acl = mosquitto_acl(options_.config);
  if (auto written = env_.disk.replace(options_.config.acl_file, bytes_of(acl)); !written) return written;
  return env_.disk.replace(options_.directory + "/mosquitto.conf", bytes_of(conf));
}

void Broker::spawn() {
  timer_ = 0;
  if (stopping_) return;
  started_mono_ms_ = env_.clock.mono_ms();
  ++starts_;
  const uint64_t generation = ++generation_;
  auto child = env_.processes.spawn({options_.program, "-c", options_.directory + "/mosquitto.conf"},
                                    [this, generation, alive = alive_](int status) {
                                      if (*alive && generation == generation_) exited(status);
                                    });
  if (!child) {
    env_.log.error("broker_not_started", {{"program", options_.program}, {"why", child.error().text}});
    exited(127);
    return;
  }
  child_ = std::move(*child);
  env_.log.info("broker_started", {{"pid", child_->pid()}, {"port", uint64_t{options_.config.port}}});
}

void Broker::exited(int status) {
  child_.reset();
  ++generation_;
  if (stopping_) return;
  ++exits_;
  const int64_t lived_ms = env_.clock.mono_ms() - started_mono_ms_;
  const bool early = lived_ms < kEarlyMs;
  early_exits_ = early ? early_exits_ + 1 : 0;
  if (lived_ms >= options_.settled_after_ms) delay_ms_ = options_.restart_delay_ms;
  // A port nobody was told yet is changed at once; one that stands in devices' bundles only when it stays taken.
  if (port_is_ours_ && early && (!port_recorded_ || early_exits_ >= kEarlyExitsOfARecordedPort)) {
    early_exits_ = 0;
    pick_port(false);
    if (auto written = write_configuration(); !written) {
      env_.log.error("broker_configuration_not_written", {{"why", written.error().text}});
    }
  }
  env_.log.error("broker_exited", {{"status", status}, {"lived_ms", lived_ms}, {"again_in_ms", delay_ms_}});
  timer_ = env_.loop.after(delay_ms_, [this] { spawn(); });
  delay_ms_ = std::min(delay_ms_ * 2, options_.restart_delay_ms_max);
}

void Broker::reload() {
  if (child_) child_->signal(SIGHUP);
}

void Broker::stop() {
  stopping_ = true;
  env_.loop.cancel(timer_);
  timer_ = 0;
  if (child_) child_->signal(SIGTERM);
}

void Broker::proved() {
  early_exits_ = 0;
  Json json{{"port", options_.config.port}, {"urls", Json::array()}};
  for (const auto& name : options_.names) {
    const bool v6 = name.find(':') != std::string::npos;
    json["urls"].push_back("mqtts://" + (v6 ? "[" + name + "]" : name) + ":" + std::to_string(options_.config.port));
  }
  port_recorded_ = true;
  const std::string path = options_.site_directory + "/broker.json", text = json.dump() + "\n";
  auto before = env_.disk.read_all(path, kRecordBytesMax);
  if (before && *before == text) return;
  if (auto written = env_.disk.replace(path, bytes_of(text)); !written) {
    env_.log.error("broker_record_not_written", {{"why", written.error().text}});
  }
}

std::string Broker::url() const {
  std::string host = own_host(options_.config.address);
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return "mqtts://" + host + ":" + std::to_string(options_.config.port);
}

}  // namespace lambda::gateway
