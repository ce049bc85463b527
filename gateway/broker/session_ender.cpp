#include "gateway/broker/session_ender.h"

#include <algorithm>

namespace lambda::gateway {
namespace {

constexpr int64_t kFarewellMs = 5'000;

}  // namespace

SessionEnder::SessionEnder(Env& env, SessionEnderOptions options, Url url, Files files)
    : env_(env), options_(std::move(options)), url_(std::move(url)), files_(std::move(files)) {}

SessionEnder::~SessionEnder() {
  *alive_ = false;
  env_.loop.cancel(timer_);
}

void SessionEnder::end(const std::string& device) {
  auto served = served_mono_ms_.find(device);
  if (served != served_mono_ms_.end() && env_.clock.mono_ms() - served->second < options_.again_after_ms) return;
  enqueue(device);
}

void SessionEnder::end_after(const std::string& device, int64_t delay_ms) {
  env_.loop.after(delay_ms, [this, device, alive = alive_] {
    if (*alive) enqueue(device);
  });
}

void SessionEnder::enqueue(const std::string& device) {
  if (current_ == device || std::find(queue_.begin(), queue_.end(), device) != queue_.end()) return;
  if (queue_.size() >= options_.waiting_devices_max) {
    tries_.erase(queue_.front());
    queue_.pop_front();
    ++counters_.dropped;
  }
  queue_.push_back(device);
  next();
}

// Starts the next take-over from a task of its own: callers may be deep inside a handler.
void SessionEnder::next() {
  if (posted_ || !current_.empty() || queue_.empty()) return;
  posted_ = true;
  env_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    posted_ = false;
    if (!current_.empty() || queue_.empty()) return;
    current_ = queue_.front();
    queue_.pop_front();
    auto files = files_(current_);
    if (!files) {
      env_.log.error("session_not_ended", {{"device", current_}, {"why", files.error().text}});
      finish(false);
      return;
    }
    BusOptions bus;
    bus.urls = {url_()};
    bus.client_id = current_;
    bus.ca_file = files->ca_file;
    bus.certificate_file = files->certificate_file;
    bus.key_file = files->key_file;
    bus.connect_timeout_ms = options_.give_up_ms;
    const uint64_t round = ++round_;
    MessageBus::Handlers handlers;
    handlers.connected = [this, round](const std::string&) {
      if (round == round_) finish(true);
    };
    handlers.disconnected = [this, round](const Error& error) {
      if (round != round_) return;
      env_.log.warn("session_not_ended", {{"device", current_}, {"why", error.text}});
      finish(false);
    };
    handlers.message = [](std::string_view, std::span<const std::byte>) {};
    bus_ = env_.network.bus(std::move(bus), std::move(handlers));
    timer_ = env_.loop.after(2 * options_.give_up_ms, [this] { finish(false); });
    bus_->connect();
  });
}

// The bus is destroyed later: this may run inside its handler, and it leaves the broker in its own time.
void SessionEnder::finish(bool ended) {
  if (current_.empty()) return;
  ++round_;  // what this bus still has to say concerns nobody
  env_.loop.cancel(timer_);
  timer_ = 0;
  const std::string device = std::move(current_);
  current_.clear();
  if (bus_) {
    bus_->disconnect();
    std::shared_ptr<MessageBus> last = std::move(bus_);
    env_.loop.after(kFarewellMs, [last] {});
  }
  if (ended) {
    ++counters_.ended;
    tries_.erase(device);
    env_.log.info("session_ended", {{"device", device}});
  } else {
    ++counters_.failed;
    const uint32_t tries = ++tries_[device];
    if (tries < options_.tries_max) {
      end_after(device, int64_t{500} << tries);
    } else {
      tries_.erase(device);
    }
  }
  forget_old();
  served_mono_ms_[device] = env_.clock.mono_ms();
  next();
}

void SessionEnder::forget_old() {
  if (served_mono_ms_.size() < options_.waiting_devices_max) return;
  auto oldest = std::min_element(served_mono_ms_.begin(), served_mono_ms_.end(),
                                 [](const auto& a, const auto& b) { return a.second < b.second; });
  served_mono_ms_.erase(oldest);
}

}  // namespace lambda::gateway
