#include "tests/sim/packer_machine.h"

#include <algorithm>

#include "lambda/block.h"
#include "lambda/parcel.h"
#include "proto/lambda.pb.h"

namespace lambda::sim {
namespace {

constexpr uint32_t kRef = 5, kGapRef = 6;
constexpr size_t kOutstandingMax = 12;
constexpr size_t kRunMax = 120;
constexpr const char* kSeriesName = "sim_packed";

uint64_t seed_of(const std::string& text) {
  uint64_t hash = 0x9E3779B97F4A7C15;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

}  // namespace

PackerMachine::PackerMachine(World& world, Oracle& oracle, std::string name)
    : Machine(world, std::move(name)),
      oracle_(oracle),
      key_random_(seed_of(name_)),
      key_(key_random_),
      other_key_(key_random_),
      boot_(key_random_.next()),
      up_topic_("lambda/v1/" + std::string(kSite) + "/" + name_ + "/up"),
      down_topic_("lambda/v1/" + std::string(kSite) + "/" + name_ + "/down") {}

void PackerMachine::start() {
  begin_run();
  connected_ = false;
  BusOptions options;
  options.urls = {kBrokerUrl};
  options.client_id = name_;
  options.connect_timeout_ms = 3'000;
  MessageBus::Handlers handlers;
  handlers.connected = [this](const std::string&) {
    connected_ = true;
    (void)bus_->subscribe(down_topic_, 1);
  };
  handlers.disconnected = [this](const Error&) {
    connected_ = false;
    run_->loop.after(run_->random.between(200, 1'500), [this] { bus_->connect(); });
  };
  handlers.message = [this](std::string_view, std::span<const std::byte> payload) { down(payload); };
  bus_ = run_->network.bus(std::move(options), std::move(handlers));
  bus_->connect();
  run_->loop.after(1, [this] { tick(); });
}

void PackerMachine::kill() {
  if (!run_) return;
  run_->disk.die();
  bus_.reset();
  end_run();
}

void PackerMachine::finish() {
  finishing_ = true;
  for (size_t first = 0; first < points_.size(); first += kRunMax) {
    const size_t count = std::min(kRunMax, points_.size() - first);
    const uint64_t seq = next_seq_++;
    outstanding_[seq] = {"", first, count};
    outstanding_[seq].message = parcel(seq, first, count, Sort::kGood);
  }
}

void PackerMachine::tick() {
  SimRandom& random = run_->random;
  run_->loop.after(random.between(100, 400), [this] { tick(); });
  if (!finishing_) {
    for (int64_t i = random.between(1, 4); i > 0; --i) {
      const Point point{clock.utc_ms(), points_.size() * 1'000 + 7};
      oracle_.made({name_, boot_, kRef, points_.size()}, point);
      points_.push_back(point);
      acked_.push_back(false);
    }
  }
  if (!connected_) return;
  if (!finishing_ && outstanding_.size() < kOutstandingMax) {
    if (random.chance(0.1)) {
      send_bad();
    } else if (random.chance(0.1)) {
      send_gap();
    } else {
      send_new();
    }
  }
  if (finishing_ && outstanding_.empty() && !number_used_again_) use_number_again();
  // Byte for byte again, some of them.
  size_t again = 3;
  for (const auto& [seq, sent] : outstanding_) {
    if (again == 0) break;
    if (!random.chance(0.3)) continue;
    publish(sent.message);
    --again;
  }
}

void PackerMachine::send_new() {
  SimRandom& random = run_->random;
  const size_t count = 1 + random.below(std::min(kRunMax, points_.size()));
  const size_t last = points_.size() - count;
  const size_t first = random.chance(0.4) ? last : random.below(last + 1);
  const uint64_t seq = next_seq_++;
  Sent& sent = outstanding_[seq];
  sent = {"", first, count};
  sent.message = parcel(seq, first, count, Sort::kGood);
  publish(sent.message);
}

void PackerMachine::send_bad() {
  const auto acked = std::find(acked_.begin(), acked_.end(), true);
  Sort sort = run_->random.chance(0.3) ? Sort::kDoubled : Sort::kForged;
  if (acked != acked_.end() && run_->random.chance(0.5)) sort = Sort::kConflict;
  const size_t first = sort == Sort::kConflict  ? static_cast<size_t>(acked - acked_.begin())
                       : sort == Sort::kDoubled ? points_.size() - 1
                                                : 0;
  const uint64_t seq = next_seq_++;
  if (sort == Sort::kConflict) {
    oracle_.never_ack(name_, boot_, seq, Identity{name_, boot_, kRef, first});
  } else {
    oracle_.never_ack(name_, boot_, seq);
  }
  publish(parcel(seq, first, 1, sort));
}

// Twice in a row, so that both come into one batch; now and then a gap that was told before.
void PackerMachine::send_gap() {
  const uint64_t gap = gaps_ > 0 && run_->random.chance(0.4) ? run_->random.below(gaps_) : gaps_++;
  const uint64_t seq = next_seq_++;
  outstanding_[seq] = {"", 0, 0};
  outstanding_[seq].message = parcel(seq, gap, 1, Sort::kGap);
  publish(outstanding_[seq].message);
  publish(outstanding_[seq].message);
}

// A number says nothing about what is in a parcel: new points are stored, whatever had this number before. An ack for
// it proves nothing to this device, so it looks.
void PackerMachine::use_number_again() {
  if (last_acked_ == 0) {
    number_used_again_ = true;
    return;
  }
  const Identity identity{name_, boot_, kRef, points_.size() - 1};
  if (again_.empty()) {
    const Point point{clock.utc_ms(), points_.size() * 1'000 + 7};
    oracle_.made({name_, boot_, kRef, points_.size()}, point);
    oracle_.ack_proves_nothing(name_, boot_, last_acked_);
    points_.push_back(point);
    acked_.push_back(true);
    again_ = parcel(last_acked_, points_.size() - 1, 1, Sort::kGood);
  } else if (oracle_.durable(identity)) {
    number_used_again_ = true;
    return;
  }
  publish(again_);
}

std::string PackerMachine::parcel(uint64_t seq, size_t first, size_t count, Sort sort) {
  v1::Up up;
  v1::Parcel& parcel = *up.mutable_parcel();
  parcel.set_version(1);
  parcel.set_site(kSite);
  parcel.set_device(name_);
  parcel.set_boot(boot_);
  parcel.set_seq(seq);
  parcel.set_created_ms(clock.utc_ms());
  const uint64_t floor = outstanding_.empty() ? seq : outstanding_.begin()->first;
  parcel.set_floor_seq(std::min(floor, seq));
  auto& declaration = *parcel.add_declarations();
  declaration.set_ref(kRef);
  declaration.set_name(kSeriesName);
  declaration.set_kind(v1::GAUGE);
  declaration.set_type(v1::I64);

  ParcelHead head;
  head.site = parcel.site();
  head.device = parcel.device();
  head.boot = boot_;
  head.seq = seq;
  head.created_ms = parcel.created_ms();
  head.floor_seq = parcel.floor_seq();
  ParcelDigest digest(host_hash(), head);
  digest.declarations(1);
  DeclarationView view;
  view.ref = kRef;
  view.name = kSeriesName;
  view.type = ValueType::kI64;
  digest.declaration(view);

  const uint32_t blocks = sort == Sort::kGap ? 0 : sort == Sort::kDoubled ? 2 : 1;
  digest.blocks(blocks);
  if (blocks > 0) {
    BlockInfo info;
    uint8_t root[kDigestBytes];
    const std::string bytes = block(first, &count, sort, &info, root);
    if (const auto sent = outstanding_.find(seq); sent != outstanding_.end()) sent->second.count = count;
    for (uint32_t i = 0; i < blocks; ++i) {
      digest.block(info, root);
      parcel.add_blocks(bytes);
    }
  }
  digest.gaps(sort == Sort::kGap ? 1 : 0);
  if (sort == Sort::kGap) {
    digest.gap({kGapRef, first, count, GapReason::kMemory});
    auto& gap = *parcel.add_gaps();
    gap.set_ref(kGapRef);
    gap.set_first_ordinal(first);
    gap.set_count(count);
    gap.set_reason(v1::MEMORY);
  }
  digest.clocks(0);
  Digest signed_form;
  digest.finish(signed_form.data());
  const Signature signature = (sort == Sort::kForged ? other_key_ : key_).key.sign(signed_form);
  parcel.set_key_spec(1);
  parcel.set_signature(std::string(signature.begin(), signature.end()));
  return up.SerializeAsString();
}

// `count` is lowered when a clock that was set spread the points over more than a block may span.
std::string PackerMachine::block(size_t first, size_t* count, Sort sort, BlockInfo* info, uint8_t* content_root) {
  std::vector<uint8_t> space(block_bytes_max(*count));
  BlockOptions options;
  options.boot = boot_;
  options.ref = kRef;
  options.first_ordinal = first;
  options.type = ValueType::kI64;
  BlockWriter writer(space, options);
  ContentRoot root(host_hash());
  for (size_t i = first; i < first + *count; ++i) {
    Point point = points_[i];
    if (sort == Sort::kConflict) point.bits += 1;
    if (writer.append(point) != AppendResult::kOk) break;
    root.add(point);
  }
  *count = writer.count();
  root.finish(content_root);
  const auto bytes = writer.seal();
  *info = writer.info();
  return std::string(bytes.begin(), bytes.end());
}

void PackerMachine::publish(const std::string& message) {
  if (bus_) (void)bus_->publish(up_topic_, std::as_bytes(std::span(message)), 1, false);
}

void PackerMachine::down(std::span<const std::byte> payload) {
  v1::Down down;
  if (!down.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return;
  if (down.has_nack()) {
    const v1::Nack& nack = down.nack();
    if (nack.has_permanent() && outstanding_.count(nack.seq()) != 0) {
      oracle_.complain("a good parcel was refused for good: " + name_ + " seq " + std::to_string(nack.seq()) + ": " +
                       nack.permanent().text());
    }
    return;
  }
  if (!down.has_ack() || down.ack().boot() != boot_) return;
  const v1::Ack& ack = down.ack();
  std::erase_if(outstanding_, [&](const auto& entry) {
    const uint64_t seq = entry.first;
    bool covered = seq <= ack.contiguous_seq();
    for (const auto& range : ack.ranges()) covered = covered || (seq >= range.first() && seq <= range.last());
    if (covered) {
      last_acked_ = std::max(last_acked_, seq);
      for (size_t i = 0; i < entry.second.count; ++i) acked_[entry.second.first + i] = true;
    }
    return covered;
  });
  if (!finishing_ || !outstanding_.empty()) return;
  // Blocks that ended early left points out: those in turn.
  const auto left = std::find(acked_.begin(), acked_.end(), false);
  if (left == acked_.end()) return;
  const auto first = static_cast<size_t>(left - acked_.begin());
  const uint64_t seq = next_seq_++;
  outstanding_[seq] = {"", first, std::min(kRunMax, points_.size() - first)};
  outstanding_[seq].message = parcel(seq, first, outstanding_[seq].count, Sort::kGood);
}

}  // namespace lambda::sim
