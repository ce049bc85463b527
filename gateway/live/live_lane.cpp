#include "gateway/live/live_lane.h"

#include <utility>

#include "query/matcher.h"

namespace lambda::gateway {

LiveLane::LiveLane(Env& env, LiveOptions options, Answerer answerer, Store& store, const Registry& registry,
                   LivePort port)
    : env_(env),
      options_(std::move(options)),
      answerer_(std::move(answerer)),
      store_(store),
      registry_(registry),
      port_(std::move(port)),
      fresh_(env, options_.fresh, store),
      interest_(env, options_.interest,
                [this](uint64_t version, uint32_t lease_s, const std::vector<std::string>& selectors) {
                  return port_.publish(make_interest(answerer_, version, lease_s, selectors));
                }),
      overlay_(store, fresh_, env.clock, [this](const std::vector<query::Matcher>& matchers) {
        if (options_.enabled) interest_.want(query::to_string(matchers));
      }) {}

Result<uint64_t> LiveLane::subscribe(const std::vector<std::vector<query::Matcher>>& selectors,
                                     FreshConsumer& consumer) {
  auto added = fresh_.add(selectors, consumer);
  if (!added || !options_.enabled) return added;
  std::vector<std::string>& held = held_[*added];
  for (const auto& matchers : selectors) {
    std::string text = query::to_string(matchers);
    if (auto status = interest_.hold(text); !status) {
      unsubscribe(*added);
      return tl::unexpected(status.error());
    }
    held.push_back(std::move(text));
  }
  return added;
}

void LiveLane::unsubscribe(uint64_t subscription) {
  fresh_.remove(subscription);
  const auto held = held_.find(subscription);
  if (held == held_.end()) return;
  for (const std::string& selector : held->second) interest_.release(selector);
  held_.erase(held);
}

bool LiveLane::admitted(const std::string& device) {
  if (port_.refresh_registry) port_.refresh_registry(registry_.find(device) == nullptr);
  const Enrolled* enrolled = registry_.find(device);
  if (enrolled != nullptr && !enrolled->revoked) return true;
  ++(enrolled == nullptr ? counters_.unknown_device : counters_.revoked_device);
  if (port_.end_session) port_.end_session(device);
  return false;
}

bool LiveLane::within_rates(const std::string& device, size_t bytes) {
  const int64_t now = env_.clock.mono_us();
  auto found = rates_.find(device);
  if (found == rates_.end()) {
    const double per_s = options_.device_bytes_per_s, messages = options_.device_messages_per_s;
    found = rates_.emplace(device, Rates{{per_s, 2 * per_s, now}, {messages, 2 * messages, now}}).first;
  }
  return found->second.messages.take(1, now) && found->second.bytes.take(static_cast<double>(bytes), now);
}

void LiveLane::message(const std::string& device, std::span<const std::byte> payload) {
  ++counters_.messages;
  counters_.bytes += payload.size();
  if (!options_.enabled) {
    ++counters_.disabled;
    return;
  }
  if (!admitted(device)) return;
  if (payload.size() > options_.message_bytes_max) {
    ++counters_.too_large;
    return;
  }
  if (!within_rates(device, payload.size())) {
    ++counters_.rate;
    return;
  }
  if (!store_.ready()) {
    ++counters_.not_ready;
    return;
  }
  LiveMessage message;
  const Decoded decoded = decode_live(payload, &message);
  if (decoded.verdict != DecodeVerdict::kOk) {
    ++(decoded.verdict == DecodeVerdict::kUnsupported ? counters_.version : counters_.malformed);
    env_.log.debug("live_refused", {{"device", device}, {"why", decoded.text}});
    return;
  }
  fresh_.live(device, message);
}

}  // namespace lambda::gateway
