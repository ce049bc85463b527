#include "bench/path/device.h"

#include <algorithm>

#include "lambda/block.h"

namespace lambda::bench {
namespace {

constexpr int64_t kStepMs = 1000;

SignPort signer_of(const SigningKey& key) {
  return {const_cast<SigningKey*>(&key), [](void* context, const uint8_t digest[kDigestBytes], uint8_t* signature) {
            Digest wanted;
            std::copy_n(digest, kDigestBytes, wanted.begin());
            const Signature made = static_cast<const SigningKey*>(context)->sign(wanted);
            std::copy(made.begin(), made.end(), signature);
            return true;
          }};
}

}  // namespace

Device::Device(Env& env, DeviceIdentity identity, std::string url, Tally& tally)
    : env_(env), identity_(std::move(identity)), url_(std::move(url)), tally_(tally) {}

Device::~Device() {
  env_.loop.cancel(timer_);
}

void Device::begin_boot() {
  disconnect();
  boot_ = env_.random.u64();
  started_ms_ = env_.clock.utc_ms();
  parcels_.clear();
  series_.clear();
  released_ = settled_through_ = 0;
  previous_ = {};
  Digest digest;
  hello_digest(host_hash(), identity_.site, identity_.device, boot_, 0, started_ms_, digest.data());
  hello_signature_ = identity_.key.sign(digest);
}

void Device::build(Lane lane, uint32_t blocks, uint32_t points_per_block) {
  const bool declares = series_.size() < blocks;
  if (declares) series_.resize(blocks, Series{0, started_ms_ / kStepMs * kStepMs, 1000});
  ParcelHead head;
  head.site = identity_.site;
  head.device = identity_.device;
  head.boot = boot_;
  head.seq = parcels_.size() + 1;
  head.created_ms = started_ms_;
  head.previous = parcels_.empty() ? nullptr : previous_.data();

  struct Sealed {
    std::vector<uint8_t> bytes;
    BlockInfo info;
    Digest root;
  };
  std::vector<Sealed> sealed;
  std::vector<std::string> names;
  for (uint32_t ref = 0; ref < blocks; ++ref) {
    Series& series = series_[ref];
    std::vector<uint8_t> space(block_bytes_max(points_per_block));
    BlockOptions options;
    options.boot = boot_;
    options.first_ordinal = series.next_ordinal;
    options.ref = ref;
    options.type = ValueType::kDec;
    options.scale = 2;
    BlockWriter writer(space, options);
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < points_per_block; ++i) {
      series.time_ms += kStepMs;
      series.value += static_cast<int64_t>(env_.random.below(21)) - 10;
      const Point point{series.time_ms, static_cast<uint64_t>(series.value)};
      LAMBDA_ASSERT(writer.append(point) == AppendResult::kOk);
      root.add(point);
    }
    series.next_ordinal += points_per_block;
    Sealed one;
    one.info = writer.info();
    const auto bytes = writer.seal();
    one.bytes.assign(bytes.begin(), bytes.end());
    root.finish(one.root.data());
    sealed.push_back(std::move(one));
    names.push_back("bench_gauge_" + std::to_string(ref));
  }

  ParcelPlan plan(head, 1u << 20);
  std::vector<DeclarationView> declarations;
  for (uint32_t ref = 0; declares && ref < blocks; ++ref) {
    DeclarationView view;
    view.ref = ref;
    view.name = names[ref];
    view.type = ValueType::kDec;
    view.scale = 2;
    declarations.push_back(view);
    LAMBDA_ASSERT(plan.add(declarations.back()));
  }
  for (const auto& one : sealed) LAMBDA_ASSERT(plan.add_block(one.bytes.size()));
  Parcel parcel;
  parcel.message.resize(plan.bytes());
  ParcelBuilder builder(host_hash(), head, plan, parcel.message);
  for (const auto& view : declarations) builder.declaration(view);
  for (const auto& one : sealed) builder.block(one.info, one.root.data(), one.bytes);
  const auto message = builder.finish(signer_of(identity_.key), previous_.data());
  LAMBDA_ASSERT(message.size() == parcel.message.size());
  parcel.lane = lane;
  parcel.blocks = blocks;
  parcel.points = uint64_t{blocks} * points_per_block;
  parcels_.push_back(std::move(parcel));
}

void Device::release(size_t count) {
  while (count-- > 0 && released_ < parcels_.size()) parcels_[released_++].released = true;
  turn();
}

std::string Device::topic(const char* leaf) const {
  return "lambda/v1/" + identity_.site + "/" + identity_.device + "/" + leaf;
}

void Device::connect() {
  UplinkPort port;
  port.context = this;
  port.publish_up = [](void* context, std::span<const uint8_t> message) {
    auto* self = static_cast<Device*>(context);
    return self->bus_->publish(self->topic("up"), std::as_bytes(message), 1, false).has_value();
  };
  port.random = [](void* context) { return static_cast<Device*>(context)->env_.random.u64(); };
  uplink_ = std::make_unique<Uplink>(static_cast<Shelf&>(*this), port, UplinkOptions{});

  BusOptions options;
  options.urls = {url_};
  options.client_id = identity_.device;
  options.ca_file = identity_.ca_file;
  options.certificate_file = identity_.certificate_file;
  options.key_file = identity_.key_file;
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string&) {
    const bool subscribed = bus_->subscribe(topic("down"), 1).has_value() &&
                            bus_->subscribe("lambda/v1/" + identity_.site + "/interest/all", 1).has_value();
    LAMBDA_ASSERT(subscribed);
    uplink_->connected(env_.clock.mono_ms());
    turn();
  };
  handlers.disconnected = [this](const Error& error) {
    env_.log.warn("bench_device_disconnected", {{"device", identity_.device}, {"error", error.text}});
    uplink_->disconnected(env_.clock.mono_ms());
    env_.loop.after(200 + static_cast<int64_t>(env_.random.below(300)), [this] {
      if (bus_) bus_->connect();
    });
  };
  handlers.message = [this](std::string_view name, std::span<const std::byte> payload) {
    const std::span bytes(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    if (name.ends_with("/down")) {
      uplink_->down(bytes, env_.clock.mono_ms());
    } else {
      uplink_->interest(bytes, env_.clock.mono_ms());
    }
    turn();
  };
  bus_ = env_.network.bus(options, std::move(handlers));
  bus_->connect();
}

void Device::disconnect() {
  env_.loop.cancel(timer_);
  timer_ = 0;
  bus_.reset();
  uplink_.reset();
}

void Device::turn() {
  if (!uplink_) return;
  const int64_t now_ms = env_.clock.mono_ms();
  const int64_t again_ms = uplink_->tick(now_ms);
  env_.loop.cancel(timer_);
  timer_ = env_.loop.after(std::clamp<int64_t>(again_ms - now_ms, 1, 1000), [this] { turn(); });
}

size_t Device::unsettled() const {
  size_t count = 0;
  for (size_t i = settled_through_; i < parcels_.size(); ++i) count += parcels_[i].settled ? 0 : 1;
  return count;
}

void Device::settle(Parcel& parcel) {
  if (parcel.settled) return;
  parcel.settled = true;
  const int64_t now_us = env_.clock.mono_us();
  tally_.parcels_settled += 1;
  tally_.blocks_settled += parcel.blocks;
  tally_.points_settled += parcel.points;
  tally_.publish_to_ack_us.push_back(now_us - parcel.published_us);
  if (parcel.newest_point_us != 0) tally_.fresh_age_us.push_back(now_us - parcel.newest_point_us);
  while (settled_through_ < parcels_.size() && parcels_[settled_through_].settled) ++settled_through_;
}

bool Device::next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) {
  for (size_t i = std::max<size_t>(after.seq, settled_through_); i < released_; ++i) {
    if (parcels_[i].settled || parcels_[i].lane != lane) continue;
    *key = {boot_, i + 1};
    *bytes = parcels_[i].message.size();
    return true;
  }
  return false;
}

std::span<const uint8_t> Device::read(ParcelKey key) {
  if (key.boot != boot_ || key.seq == 0 || key.seq > parcels_.size()) return {};
  Parcel& parcel = parcels_[key.seq - 1];
  if (parcel.published_us == 0) parcel.published_us = env_.clock.mono_us();
  return parcel.message;
}

bool Device::boot(size_t index, uint64_t* boot) {
  *boot = boot_;
  return index == 0;
}

std::span<const uint8_t> Device::hello(uint64_t boot, uint64_t nonce) {
  HelloView view;
  view.site = identity_.site;
  view.device = identity_.device;
  view.boot = boot;
  view.started_ms = started_ms_;
  view.signature = hello_signature_.data();
  view.nonce = nonce;
  view.sent_ms = env_.clock.utc_ms();
  view.next_seq = parcels_.size() + 1;
  view.software = "bench_path";
  hello_.resize(kHelloBytesMax);
  hello_.resize(encode_hello(view, hello_));
  return hello_;
}

void Device::settled(ParcelKey key) {
  if (key.boot == boot_ && key.seq >= 1 && key.seq <= parcels_.size()) settle(parcels_[key.seq - 1]);
}

void Device::settled_through(uint64_t boot, uint64_t seq) {
  if (boot != boot_) return;
  for (size_t i = settled_through_; i < std::min<size_t>(seq, parcels_.size()); ++i) settle(parcels_[i]);
}

void Device::refused(ParcelKey key, RefusalCode code) {
  env_.log.error("bench_parcel_refused", {{"seq", key.seq}, {"code", static_cast<uint64_t>(code)}});
  tally_.refused += 1;
  settled(key);
}

void Device::declare(uint64_t, std::span<const uint32_t>) {
  tally_.refused += 1;
}

}  // namespace lambda::bench
