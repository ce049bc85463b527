#include "bench/query/store_filler.h"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "base/crypto/crypto.h"
#include "base/os/environment.h"
#include "base/os/log.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "lambda/block.h"
#include "lambda/hash.h"
#include "proto/lambda.pb.h"
#include "query/labels.h"

namespace lambda::bench {
namespace {

using gateway::Decision;
using gateway::StoreRequest;
using query::ResultSeries;

constexpr int64_t kBlockMs = 600'000;
constexpr uint32_t kBlockPointsMax = 1'000;
constexpr int kWaiting = 64;  // parcels that the store has at once

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

// All parcels of one device: the next block of each of its series in each.
class Device {
 public:
  Device(std::string name, uint64_t boot, std::vector<const ResultSeries*> series)
      : name_(std::move(name)), boot_(boot), series_(std::move(series)), next_(series_.size()) {}

  // False when all is sent.
  bool parcel(StoreRequest* request) {
    v1::Parcel parcel;
    request->device = name_;
    request->boot = boot_;
    request->seq = ++seq_;
    parcel.set_version(1);
    parcel.set_device(name_);
    parcel.set_boot(boot_);
    parcel.set_seq(seq_);
    std::vector<Digest> roots;
    for (size_t i = 0; i < series_.size(); ++i) {
      if (seq_ == 1) {
        declare(i, parcel, request);
      }
      add_block(i, parcel, roots);
    }
    if (roots.empty()) {
      return false;
    }
    parcel.set_signature(std::string(64, 's'));
    request->message = parcel.SerializeAsString();
    request->digest = sha256({reinterpret_cast<const uint8_t*>(request->message.data()), request->message.size()});
    add_slips(parcel, roots, request);
    return true;
  }

 private:
  void declare(size_t i, v1::Parcel& parcel, StoreRequest* request) {
    auto* declaration = parcel.add_declarations();
    gateway::Declared declared;
    declared.ref = static_cast<uint32_t>(i + 1);
    declaration->set_ref(declared.ref);
    declared.name = query::label_value(series_[i]->labels, query::kMetricName);
    declaration->set_name(declared.name);
    declaration->set_kind(v1::GAUGE);
    declaration->set_type(v1::F64);
    for (const auto& [name, value] : series_[i]->labels) {
      if (name != query::kMetricName && name != "instance" && name != "site") {
        auto* label = declaration->add_labels();
        label->set_name(name);
        label->set_value(value);
        declared.labels.push_back({name, value});
      }
    }
    request->declarations.push_back(std::move(declared));
  }

  void add_block(size_t i, v1::Parcel& parcel, std::vector<Digest>& roots) {
    const auto& samples = series_[i]->samples;
    size_t& next = next_[i];
    if (next == samples.size()) {
      return;
    }
    BlockOptions options;
    options.boot = boot_;
    options.ref = static_cast<uint32_t>(i + 1);
    options.first_ordinal = next;
    options.tick_ms = 1000;
    BlockWriter writer(space_, options);
    ContentRoot root(host_hash());
    const int64_t end_ms = samples[next].time_ms + kBlockMs;
    for (; next < samples.size() && samples[next].time_ms < end_ms; ++next) {
      const Point point{samples[next].time_ms, std::bit_cast<uint64_t>(samples[next].value)};
      if (writer.append(point) != AppendResult::kOk) {
        break;
      }
      root.add(point);
    }
    const auto bytes = writer.seal();
    parcel.add_blocks(bytes.data(), bytes.size());
    root.finish(roots.emplace_back().data());
  }

  void add_slips(const v1::Parcel& parcel, const std::vector<Digest>& roots, StoreRequest* request) const {
    size_t at = 0;
    for (int b = 0; b < parcel.blocks_size(); ++b) {
      gateway::BlockSlip slip;
      at = request->message.find(parcel.blocks(b), at);
      slip.bytes = std::string_view(request->message).substr(at, parcel.blocks(b).size());
      at += slip.bytes.size();
      BlockReader reader;
      if (!reader.open({reinterpret_cast<const uint8_t*>(slip.bytes.data()), slip.bytes.size()}, boot_).ok()) {
        give_up("a block does not read back");
      }
      slip.info = reader.info();
      slip.root = roots[static_cast<size_t>(b)];
      request->blocks.push_back(slip);
    }
  }

  std::string name_;
  uint64_t boot_;
  uint64_t seq_ = 0;
  std::vector<const ResultSeries*> series_;
  std::vector<size_t> next_;  // sample of each series
  std::vector<uint8_t> space_ = std::vector<uint8_t>(block_bytes_max(kBlockPointsMax));
};

}  // namespace

struct FilledStore::World {
  OsLoop loop;
  OsClock clock;
  std::unique_ptr<Log> log = make_log({.level = LogLevel::kWarn}, clock);
  OsDisk disk{loop};
  OsNetwork network{loop, *log};
  OsRandom random;
  OsProcesses processes{loop};
  Env env{clock, loop, disk, network, random, processes, *log};
  gateway::StoreOptions options;
  std::unique_ptr<gateway::Store> store;

  void wait_ready() {
    loop.post([this] { store->ready() ? loop.stop() : wait_ready(); });
  }
};

FilledStore::FilledStore(const std::string& folder, const std::vector<ResultSeries>& series)
    : world_(std::make_unique<World>()) {
  World& world = *world_;
  world.options.directory = folder;
  world.options.site = "bench";
  auto opened = gateway::Store::open(world.env, world.options);
  if (!opened) {
    give_up(opened.error().text);
  }
  world.store = std::move(*opened);
  world.wait_ready();
  world.loop.run();

  std::map<std::string, std::vector<const ResultSeries*>> by_device;
  for (const ResultSeries& one : series) {
    by_device[std::string(query::label_value(one.labels, "instance"))].push_back(&one);
  }
  std::vector<Device> devices;
  for (auto& [name, of_device] : by_device) {
    devices.emplace_back(name, devices.size() + 1, std::move(of_device));
  }
  int waiting = 0;
  bool all_made = false;
  size_t turn = 0;
  const auto send = [&](auto& self) -> void {
    while (!all_made && waiting < kWaiting) {
      StoreRequest request;
      if (devices[turn].parcel(&request)) {
        ++waiting;
        world.store->put(std::move(request), [&](const Decision& decision) {
          if (decision.verdict != gateway::Verdict::kStored) {
            give_up("the store refused a parcel");
          }
          --waiting;
          self(self);
        });
      } else {
        all_made = ++turn == devices.size();
      }
    }
    if (all_made && waiting == 0) {
      world.loop.stop();
    }
  };
  world.loop.post([&] { send(send); });
  world.loop.run();
}

FilledStore::~FilledStore() = default;

OsLoop& FilledStore::loop() {
  return world_->loop;
}
Network& FilledStore::network() {
  return world_->network;
}
gateway::Store& FilledStore::store() {
  return *world_->store;
}

}  // namespace lambda::bench
