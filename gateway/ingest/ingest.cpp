#include "gateway/ingest/ingest.h"

#include <algorithm>

#include "base/planted.h"
#include "gateway/ingest/ack_ranges.h"
#include "gateway/site/names.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kAcksRetryMs = 20;

uint32_t clamp_delay(int64_t ms) {
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 50, 60'000));
}

}  // namespace

Ingest::Ingest(Env& env, IngestOptions options, Store& store, const Registry& registry, IngestPort port)
    : env_(env),
      options_(std::move(options)),
      store_(store),
      registry_(registry),
      port_(std::move(port)),
      quarantine_(env, options_.quarantine) {
  answerer_.gateway = options_.gateway;
  while (answerer_.incarnation == 0) answerer_.incarnation = env_.random.u64();
}

Ingest::~Ingest() {
  *alive_ = false;
  env_.loop.cancel(acks_timer_);
}

std::string Ingest::down_topic(const std::string& device_id) const {
  return "lambda/v1/" + options_.site + "/" + device_id + "/down";
}

const DeviceSeen* Ingest::seen(std::string_view device_id) const {
  auto it = devices_.find(device_id);
  return it == devices_.end() ? nullptr : &it->second.seen;
}

void Ingest::set_limits(const IngestLimits& limits) {
  options_.limits = limits;
  for (auto& [id, device] : devices_) {
    device.bytes.change(limits.device_bytes_per_s, 2 * limits.device_bytes_per_s);
    device.messages.change(limits.device_messages_per_s, 2 * limits.device_messages_per_s);
    device.nacks.change(limits.device_nacks_per_s, 2 * limits.device_nacks_per_s);
  }
}

Ingest::Device& Ingest::device(const std::string& device_id) {
  auto it = devices_.find(device_id);
  if (it != devices_.end()) return it->second;
  const int64_t now = env_.clock.mono_us();
  const IngestLimits& limits = options_.limits;
  Device fresh{{},
               {limits.device_bytes_per_s, 2 * limits.device_bytes_per_s, now},
               {limits.device_messages_per_s, 2 * limits.device_messages_per_s, now},
               {limits.device_nacks_per_s, 2 * limits.device_nacks_per_s, now},
               0};
  return devices_.emplace(device_id, std::move(fresh)).first->second;
}

void Ingest::connected() {
  for (auto& [id, device] : devices_) device.seen.online = false;
  if (!acks_wanted_.empty()) send_acks();
}

void Ingest::message(std::string_view topic, std::span<const std::byte> payload) {
  ++counters_.messages;
  counters_.bytes += payload.size();
  const auto split = device_topic(topic, options_.site);
  if (!split || (split->leaf != "up" && split->leaf != "state")) {
    ++counters_.foreign_topic;
    return;
  }
  const std::string device_id(split->device);
  if (port_.refresh_registry) port_.refresh_registry(registry_.find(device_id) == nullptr);
  if (split->leaf == "up") {
    up(device_id, payload);
    return;
  }
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  const Enrolled* enrolled = registry_.find(device_id);
  // Retained states of devices long gone are no reason to end a session.
  if (enrolled != nullptr) device(device_id).seen.online = text == "online" && !enrolled->revoked;
}

bool Ingest::admitted(const std::string& device_id, const Enrolled** enrolled) {
  *enrolled = registry_.find(device_id);
  if (*enrolled != nullptr && (!(*enrolled)->revoked || planted("ingest_ignores_revocation"))) return true;
  ++(*enrolled == nullptr ? counters_.unknown_device : counters_.revoked_device);
  env_.log.warn("message_of_stranger", {{"device", device_id}, {"revoked", *enrolled != nullptr}});
  if (port_.end_session) port_.end_session(device_id);
  return false;
}

void Ingest::up(const std::string& device_id, std::span<const std::byte> payload) {
  const Enrolled* enrolled = nullptr;
  if (!admitted(device_id, &enrolled)) return;
  Device& from = device(device_id);
  from.seen.last_seen_ms = env_.clock.utc_ms();
  const auto head = read_up_head(payload);
  if (!head || (head->body == UpHead::Body::kParcel && (head->boot == 0 || head->seq == 0))) {
    // Not even an answer can be addressed. Costs a token all the same, and only what has one is looked at.
    const bool look = from.messages.take(1, env_.clock.mono_us()) &&
                      from.bytes.take(static_cast<double>(payload.size()), env_.clock.mono_us());
    ++counters_.unanswerable;
    ++from.seen.refused;
    if (look) quarantine_.keep(device_id, "unanswerable", payload);
    return;
  }
  if (head->body == UpHead::Body::kParcel && payload.size() > options_.limits.message_bytes_max) {
    ++counters_.too_large;
    refuse(device_id, *head, RefusalCode::kTooLarge,
           std::to_string(payload.size()) + " bytes, at most " + std::to_string(options_.limits.message_bytes_max));
    return;
  }
  if (!within_rates(device_id, from, *head, payload.size())) return;
  if (head->body == UpHead::Body::kHello) {
    hello(device_id, *enrolled, from, *head, payload);
  } else {
    parcel(device_id, *enrolled, from, *head, payload);
  }
}

bool Ingest::within_rates(const std::string& device_id, Device& from, const UpHead& head, size_t bytes) {
  const int64_t now = env_.clock.mono_us();
  const auto size = static_cast<double>(bytes);
  int64_t wait_ms = 0;
  if (!from.messages.take(1, now)) {
    wait_ms = from.messages.wait_ms(1, now);
  } else if (!from.bytes.take(size, now)) {
    wait_ms = from.bytes.wait_ms(size, now);
  } else {
    return true;
  }
  if (head.body == UpHead::Body::kHello) {
    ++counters_.hello_rate;
  } else {
    ++counters_.rate;
    retry_after(device_id, head, clamp_delay(wait_ms), "rate");
  }
  return false;
}

void Ingest::parcel(const std::string& device_id, const Enrolled& enrolled, Device& from, const UpHead& head,
                    std::span<const std::byte> payload) {
  const IngestLimits& limits = options_.limits;
  if (from.waiting_bytes + 2 * payload.size() > limits.device_waiting_bytes_max ||
      waiting_bytes_ + 2 * payload.size() > limits.waiting_bytes_max) {
    ++counters_.waiting;
    retry_after(device_id, head, limits.busy_delay_ms, "busy");
    return;
  }
  if (head.version > kMessageVersion) {
    ++counters_.version;
    retry_after(device_id, head, limits.version_delay_ms, "version");
    return;
  }
  if (head.site != options_.site || head.device != device_id) {
    ++counters_.wrong_sender;
    quarantine_.keep(device_id, "wrong-sender", payload);
    refuse(device_id, head, RefusalCode::kWrongSender, "site or device is not the topic's");
    return;
  }
  DecodedParcel decoded;
  const int64_t now_ms = env_.clock.utc_ms();
  const Decoded result = decoder_.decode(head, now_ms, {limits.ahead_ms_max}, &decoded);
  if (result.verdict == DecodeVerdict::kUnsupported) {
    ++counters_.version;
    env_.log.warn("parcel_newer_than_gateway", {{"device", device_id}, {"seq", head.seq}, {"why", result.text}});
    retry_after(device_id, head, limits.version_delay_ms, "version: " + result.text);
    return;
  }
  if (result.verdict == DecodeVerdict::kMalformed) {
    ++counters_.malformed;
    quarantine_.keep(device_id, "malformed", payload);
    refuse(device_id, head, RefusalCode::kMalformed, result.text);
    return;
  }
  const std::span<const uint8_t> signature(reinterpret_cast<const uint8_t*>(decoded.signature.data()),
                                           decoded.signature.size());
  if ((decoded.key_spec != enrolled.key_spec || signature.size() != sizeof(Signature) ||
       !verify(enrolled.public_key, decoded.request.digest, signature)) &&
      !planted("ingest_skips_signature")) {
    ++counters_.signature;
    quarantine_.keep(device_id, "signature", payload);
    refuse(device_id, head, RefusalCode::kSignature, "signature does not match the enrolled key");
    return;
  }
  ++counters_.parcels;
  ++from.seen.parcels;
  from.seen.boot = head.boot;
  counters_.points_ahead += decoded.points_ahead;

  StoreRequest& request = decoded.request;
  request.received_ms = now_ms;
  const uint64_t bytes = 2 * payload.size(), boot = head.boot, seq = head.seq;  // the store's copy and ours
  from.waiting_bytes += bytes;
  waiting_bytes_ += bytes;
  ++waiting_messages_;
  const uint64_t floor = request.floor_seq;
  if (planted("ingest_acks_before_sync")) {
    AckState state = store_.ack_state(device_id, boot);
    state.contiguous_seq = std::max(state.contiguous_seq, seq);
    if (port_.publish) (void)port_.publish(down_topic(device_id), make_ack(answerer_, boot, state, 0, now_ms));
  }
  // The copy is for the quarantine, should there be a conflict.
  store_.put(std::move(request), [this, alive = alive_, device_id, boot, seq, bytes,
                                  copy = std::string(head.inner)](const Decision& decision) {
    if (*alive) decided(device_id, boot, seq, bytes, decision, copy);
  });
  if (floor > 0) store_.raise_floor(device_id, boot, floor);
}

void Ingest::decided(const std::string& device_id, uint64_t boot, uint64_t seq, uint64_t bytes,
                     const Decision& decision, std::string_view message) {
  Device& from = device(device_id);
  from.waiting_bytes -= bytes;
  waiting_bytes_ -= bytes;
  --waiting_messages_;
  UpHead head;
  head.boot = boot;
  head.seq = seq;
  switch (decision.verdict) {
    case Verdict::kStored:
    case Verdict::kDuplicate:
      if (port_.stored) port_.stored(device_id, boot, message, decision);
      want_ack(device_id, boot, seq);
      return;
    case Verdict::kConflict:
      if (planted("ingest_acks_conflicts")) {
        const AckState state{store_.ack_state(device_id, boot).contiguous_seq, {{seq, seq}}};
        (void)port_.publish(down_topic(device_id), make_ack(answerer_, boot, state, 0, env_.clock.utc_ms()));
        return;
      }
      ++counters_.conflict;
      quarantine_.keep(device_id, "conflict", std::as_bytes(std::span(message.data(), message.size())));
      refuse(device_id, head, RefusalCode::kConflict, decision.text);
      return;
    case Verdict::kUndeclared:
      if (planted("ingest_undeclared_is_poison")) return refuse(device_id, head, RefusalCode::kMalformed, "undeclared");
      ++counters_.undeclared;
      nack(device_id, make_declare(answerer_, boot, seq, decision.refs));
      return;
    case Verdict::kFull:
      if (planted("ingest_full_is_poison")) return refuse(device_id, head, RefusalCode::kMalformed, "full");
      ++counters_.store_full;
      retry_after(device_id, head, options_.limits.full_delay_ms, "full");
      return;
    case Verdict::kBusy:
      ++counters_.store_busy;
      retry_after(device_id, head, options_.limits.busy_delay_ms, "busy");
      return;
  }
}

void Ingest::hello(const std::string& device_id, const Enrolled& enrolled, Device& from, const UpHead& head,
                   std::span<const std::byte> payload) {
  if (head.version > kMessageVersion) {
    // There is no answer that says so; the device asks again, and its parcels are answered.
    ++counters_.version;
    return;
  }
  DecodedHello decoded;
  Decoded result = decode_hello(head, &decoded);
  if (result.verdict == DecodeVerdict::kOk && (head.site != options_.site || head.device != device_id)) {
    result = {DecodeVerdict::kMalformed, "site or device is not the topic's"};
  }
  if (result.verdict != DecodeVerdict::kOk) {
    ++counters_.hello_malformed;
    ++from.seen.refused;
    env_.log.warn("hello_refused", {{"device", device_id}, {"why", result.text}});
    quarantine_.keep(device_id, "hello", payload);
    return;
  }
  const std::span<const uint8_t> signature(reinterpret_cast<const uint8_t*>(decoded.signature.data()),
                                           decoded.signature.size());
  if (decoded.key_spec != enrolled.key_spec || signature.size() != sizeof(Signature) ||
      !verify(enrolled.public_key, decoded.digest, signature)) {
    ++counters_.hello_signature;
    ++from.seen.refused;
    env_.log.warn("hello_refused", {{"device", device_id}, {"why", "signature does not match the enrolled key"}});
    quarantine_.keep(device_id, "hello-signature", payload);
    return;
  }
  ++counters_.hellos;
  const int64_t now_ms = env_.clock.utc_ms();
  from.seen.last_hello_ms = now_ms;
  from.seen.boot = head.boot;
  from.seen.backlog_parcels = decoded.backlog_parcels;
  from.seen.backlog_bytes = decoded.backlog_bytes;
  from.seen.software = decoded.software;
  from.seen.clock_offset_known = decoded.sent_ms != 0;
  from.seen.clock_offset_ms = decoded.sent_ms != 0 ? now_ms - decoded.sent_ms : 0;
  decoded.record.received_ms = now_ms;
  const uint64_t boot = head.boot, nonce = decoded.nonce, floor = decoded.floor_seq, bytes = payload.size();
  waiting_bytes_ += bytes;
  from.waiting_bytes += bytes;
  ++waiting_messages_;
  store_.put_hello(std::move(decoded.record),
                   [this, alive = alive_, device_id, boot, nonce, bytes](const Status& status) {
                     if (!*alive) return;
                     Device& asked = device(device_id);
                     asked.waiting_bytes -= bytes;
                     waiting_bytes_ -= bytes;
                     --waiting_messages_;
                     if (!status) {
                       // Not kept, so not answered: the device asks again.
                       ++counters_.hello_not_kept;
                       return;
                     }
                     RunSet none;
                     if (!send_ack(device_id, boot, nonce, &none)) ++counters_.acks_dropped;
                   });
  if (floor > 0) store_.raise_floor(device_id, boot, floor);
}

// Acks are cumulative, so one for each boot at the end of a batch of decisions says it all.
void Ingest::want_ack(const std::string& device_id, uint64_t boot, uint64_t seq) {
  const BootKey key{device_id, boot};
  const auto waiting = acks_wanted_.find(key);
  const bool lengthens = waiting != acks_wanted_.end() && waiting->second.intersects(seq - 1, seq + 2);
  if (!lengthens && acks_wanted_runs_ >= options_.limits.answers_waiting_max) {
    ++counters_.acks_dropped;  // the device asks again after its timeout
    return;
  }
  RunSet& answered = acks_wanted_[key];
  acks_wanted_runs_ -= answered.runs().size();
  answered.add(seq, seq + 1);
  acks_wanted_runs_ += answered.runs().size();
  if (acks_posted_ || acks_timer_ != 0) return;
  acks_posted_ = true;
  env_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    acks_posted_ = false;
    send_acks();
  });
}

void Ingest::send_acks() {
  env_.loop.cancel(acks_timer_);
  acks_timer_ = 0;
  while (!acks_wanted_.empty()) {
    auto& [key, answered] = *acks_wanted_.begin();
    acks_wanted_runs_ -= answered.runs().size();
    const Status sent = send_ack(key.device, key.boot, 0, &answered);
    acks_wanted_runs_ += answered.runs().size();
    if (!sent) {
      // What is to be acked is kept: until there is a connection again, see connected(), or until the one there is
      // takes more.
      ++counters_.acks_delayed;
      if (sent.error().code != ErrorCode::kUnavailable) {
        acks_timer_ = env_.loop.after(kAcksRetryMs, [this] {
          acks_timer_ = 0;
          send_acks();
        });
      }
      return;
    }
    if (answered.empty()) acks_wanted_.erase(acks_wanted_.begin());
  }
}

// Success: what the ack covers is off `answered`.
Status Ingest::send_ack(const std::string& device_id, uint64_t boot, uint64_t nonce, RunSet* answered) {
  // Between a parcel's arrival and its ack the device may have been revoked.
  const Enrolled* enrolled = registry_.find(device_id);
  if (enrolled == nullptr || enrolled->revoked) {
    answered->clear();
    return {};
  }
  RunSet left = *answered;
  AckState state = next_ack(store_.ack_state(device_id, boot), &left);
  if (planted("ingest_acks_past_holes") && !state.ranges.empty()) state.contiguous_seq = state.ranges.back().second;
  const std::string message = make_ack(answerer_, boot, state, nonce, env_.clock.utc_ms());
  Status sent = port_.publish(down_topic(device_id), message);
  if (!sent) return sent;
  ++counters_.acks;
  *answered = std::move(left);
  return sent;
}

void Ingest::retry_after(const std::string& device_id, const UpHead& head, uint32_t delay_ms, std::string_view reason) {
  nack(device_id, make_retry_after(answerer_, head.boot, head.seq, delay_ms, reason));
}

void Ingest::refuse(const std::string& device_id, const UpHead& head, RefusalCode code, const std::string& text) {
  ++device(device_id).seen.refused;
  env_.log.warn("parcel_refused", {{"device", device_id}, {"boot", head.boot}, {"seq", head.seq}, {"why", text}});
  nack(device_id, make_permanent(answerer_, head.boot, head.seq, code, text));
}

void Ingest::nack(const std::string& device_id, const std::string& message) {
  if (!device(device_id).nacks.take(1, env_.clock.mono_us()) || !port_.publish(down_topic(device_id), message)) {
    ++counters_.nacks_unsent;
    return;
  }
  ++counters_.nacks;
}

}  // namespace lambda::gateway
