// The machine against a model of the world: a network that loses, doubles and reorders in both directions, a broker
// that breaks connections, gateways that restart and forget what they had not synced. Every run is named by its seed.
#include <deque>
#include <functional>
#include <queue>
#include <set>

#include "uplink_world.h"

namespace lambda::test {
namespace {

struct Weather {
  double lost = 0, doubled = 0;
  int64_t delay_ms_max = 5;
};

// Stores what reaches it, a while later; until then a restart forgets it.
struct ModelGateway {
  std::string name;
  uint64_t incarnation = 1;
  std::map<uint64_t, std::set<uint64_t>> stored;        // by boot
  std::set<std::pair<uint64_t, uint64_t>> pending;      // arrived, not synced
  std::deque<std::pair<uint64_t, uint64_t>> questions;  // hellos behind what is pending: boot, nonce
  std::set<std::pair<uint64_t, uint64_t>> undeclared;   // parcels that want a declaration first

  std::string ack(uint64_t boot, uint64_t nonce) const {
    AckOf ack{.boot = boot, .nonce = nonce, .incarnation = incarnation, .gateway = name};
    const auto found = stored.find(boot);
    if (found != stored.end()) {
      for (const uint64_t seq : found->second) {
        if (seq == ack.contiguous + 1) {
          ack.contiguous = seq;
        } else if (!ack.ranges.empty() && ack.ranges.back().second + 1 == seq) {
          ack.ranges.back().second = seq;
        } else if (ack.ranges.size() < kAckRangesMax) {
          ack.ranges.emplace_back(seq, seq);
        }
      }
    }
    return ack.write();
  }
};

class Model {
 public:
  Model(uint64_t seed, UplinkOptions options)
      : random_(seed), options_(options), uplink_(shelf_, {this, publish, draw}, options) {
    gateways_.emplace_back().name = "fog-1";
    if (seed % 3 == 0) gateways_.emplace_back().name = "fog-2";
    shelf_.on_settled = [this](ParcelKey key) {
      EXPECT_TRUE(refused_.count({key.boot, key.seq}) == 0);
      bool stored = false;
      for (const ModelGateway& gateway : gateways_) {
        const auto found = gateway.stored.find(key.boot);
        stored = stored || (found != gateway.stored.end() && found->second.count(key.seq) > 0);
      }
      EXPECT_TRUE(stored) << "freed what no gateway has: " << key.boot << "/" << key.seq;
      EXPECT_TRUE(settled_.insert({key.boot, key.seq}).second) << "settled twice";
    };
    shelf_.on_declare = [this](uint64_t boot) {
      for (ModelGateway& gateway : gateways_) {
        std::erase_if(gateway.undeclared, [&](const auto& one) { return one.first == boot; });
      }
      make(boot, Lane::kFresh);
    };
    const uint64_t old_boots = random_() % 12;
    for (uint64_t boot = 1; boot <= old_boots; ++boot) {
      for (uint64_t n = random_() % 40; n > 0; --n) make(boot, Lane::kBacklog);
    }
    present_ = old_boots + 1;
    shelf_.boots.push_back(present_);
    shelf_.present_first = seed % 2 == 0;
  }

  void storm(int64_t ms) { run(ms, {0.2, 0.2, 3000}, true); }
  // Good weather until all is settled; gives up after ten minutes: waits that grew in the storm are a minute at most.
  void calm() {
    if (!link_up_) connect();
    for (int minutes = 0; minutes < 10 && !shelf_.parcels.empty(); ++minutes) run(60'000, {}, false);
  }

  void expect_all_settled() const {
    EXPECT_TRUE(shelf_.parcels.empty()) << shelf_.parcels.size() << " parcels are still held";
    for (const auto& one : made_) {
      EXPECT_EQ(settled_.count(one) + refused_.count(one), 1u) << one.first << "/" << one.second;
    }
    EXPECT_EQ(uplink_.in_flight_parcels(), 0u);
    EXPECT_EQ(uplink_.in_flight_bytes(), 0u);
  }
  const UplinkCounters& counters() const { return uplink_.counters(); }
  size_t made() const { return made_.size(); }

 private:
  struct Event {
    int64_t at;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::pair(at, order) > std::pair(other.at, other.order); }
  };

  static bool publish(void* context, std::span<const uint8_t> message) {
    Model& model = *static_cast<Model*>(context);
    if (!model.link_up_ || model.chance(0.02)) return false;
    const Sent sent = read_sent(message);
    for (size_t i = 0; i < model.gateways_.size(); ++i) {
      model.carry([&model, sent, i] { model.arrive(model.gateways_[i], sent); });
    }
    return true;
  }
  static uint64_t draw(void* context) { return static_cast<Model*>(context)->random_(); }

  bool chance(double probability) { return static_cast<double>(random_() % 1'000'000) < probability * 1e6; }
  int64_t up_to(int64_t ms) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(ms + 1)); }
  void after(int64_t ms, std::function<void()> run) { events_.push({now_ + ms, order_++, std::move(run)}); }

  // One message over the network, if it gets through; of a connection that is gone nothing arrives.
  void carry(std::function<void()> arrives) {
    const uint64_t connection = connection_;
    const int copies = chance(weather_.lost) ? 0 : chance(weather_.doubled) ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      after(up_to(weather_.delay_ms_max), [this, connection, arrives] {
        if (connection == connection_ && link_up_) arrives();
      });
    }
  }
  void answer(const std::string& message) {
    carry([this, message] {
      uplink_.down(bytes_of(message), now_);
      tick();
    });
  }

  void make(uint64_t boot, Lane lane) {
    const uint64_t seq = ++next_seq_[boot];
    shelf_.put(boot, seq, lane, 50 + random_() % 2000);
    made_.insert({boot, seq});
    if (lane == Lane::kFresh && boot != present_) return;
    if (chance(0.03)) {
      for (ModelGateway& gateway : gateways_) gateway.undeclared.insert({boot, seq});
    }
  }

  void arrive(ModelGateway& gateway, const Sent& sent) {
    if (sent.kind == 'H') {
      gateway.questions.emplace_back(sent.boot, sent.number);
      if (gateway.pending.empty()) answer_questions(gateway);
      return;
    }
    const std::pair<uint64_t, uint64_t> key{sent.boot, sent.number};
    v1::Nack nack = nack_of(sent.boot, sent.number, gateway.incarnation);
    nack.set_gateway(gateway.name);
    if (gateway.undeclared.count(key) > 0) {
      nack.mutable_declare()->add_refs(1);
      answer(write(nack));
    } else if (stormy_ && chance(0.1)) {
      nack.mutable_retry_after()->set_delay_ms(static_cast<uint32_t>(random_() % 5000));
      answer(write(nack));
    } else if (key.second % 37 == 5 && &gateway == &gateways_[0] && gateways_.size() == 1) {
      nack.mutable_permanent()->set_code(v1::MALFORMED);
      answer(write(nack));
    } else if (gateway.pending.insert(key).second) {
      const uint64_t incarnation = gateway.incarnation;
      after(up_to(20), [this, &gateway, key, incarnation] {
        if (gateway.incarnation != incarnation) return;
        gateway.pending.erase(key);
        gateway.stored[key.first].insert(key.second);
        answer(gateway.ack(key.first, 0));
        if (gateway.pending.empty()) answer_questions(gateway);
      });
    }
  }
  void answer_questions(ModelGateway& gateway) {
    for (const auto& [boot, nonce] : gateway.questions) answer(gateway.ack(boot, nonce));
    gateway.questions.clear();
  }

  void restart(ModelGateway& gateway) {
    ++gateway.incarnation;
    gateway.pending.clear();
    gateway.questions.clear();
    announce(gateway);
  }
  void announce(const ModelGateway& gateway) {
    const std::string message = write_interest(gateway.incarnation, gateway.name);
    carry([this, message] {
      uplink_.interest(bytes_of(message), now_);
      tick();
    });
  }
  void connect() {
    ++connection_;
    link_up_ = true;
    uplink_.connected(now_);
    for (const ModelGateway& gateway : gateways_) announce(gateway);
    tick();
  }
  void disconnect() {
    link_up_ = false;
    uplink_.disconnected(now_);
    for (ModelGateway& gateway : gateways_) gateway.questions.clear();
  }

  void tick() {
    const int64_t wake = uplink_.tick(now_);
    EXPECT_GT(wake, now_);
    EXPECT_LE(uplink_.in_flight_parcels(), options_.window_parcels_max);
    EXPECT_LE(uplink_.in_flight_bytes(), options_.window_bytes_max);
    wake_ = wake;
    for (const auto& [key, code] : shelf_.refusals) refused_.insert({key.boot, key.seq});
    shelf_.refusals.clear();
  }

  void mishap() {
    switch (random_() % 8) {
      case 0:
        if (link_up_) disconnect();
        break;
      case 1:
      case 2:
        if (!link_up_) connect();
        break;
      case 3:
        restart(gateways_[random_() % gateways_.size()]);
        break;
      case 4:
        shelf_.boots.push_back(++present_);
        make(present_, Lane::kFresh);
        break;
      default:
        break;
    }
  }

  void run(int64_t ms, Weather weather, bool stormy) {
    weather_ = weather;
    stormy_ = stormy;
    const int64_t end = now_ + ms;
    int64_t next_made = now_, next_mishap = now_ + up_to(4000);
    tick();
    while (now_ < end) {
      int64_t next = std::min({wake_, end, stormy ? std::min(next_made, next_mishap) : end});
      if (!events_.empty()) next = std::min(next, events_.top().at);
      now_ = std::max(now_, next);
      while (!events_.empty() && events_.top().at <= now_) {
        const Event event = events_.top();
        events_.pop();
        event.run();
      }
      if (stormy && now_ >= next_made) {
        make(present_, Lane::kFresh);
        next_made = now_ + up_to(2000);
      }
      if (stormy && now_ >= next_mishap) {
        mishap();
        next_mishap = now_ + up_to(4000);
      }
      tick();
    }
  }

  std::mt19937_64 random_;
  const UplinkOptions options_;
  FakeShelf shelf_;
  std::deque<ModelGateway> gateways_;
  std::priority_queue<Event> events_;
  std::map<uint64_t, uint64_t> next_seq_;
  std::set<std::pair<uint64_t, uint64_t>> made_, settled_, refused_;
  Weather weather_;
  bool stormy_ = false, link_up_ = false;
  uint64_t order_ = 0, connection_ = 0, present_ = 0;
  int64_t now_ = 0, wake_ = 0;
  Uplink uplink_;
};

class UplinkModel : public testing::TestWithParam<uint64_t> {};

TEST_P(UplinkModel, EverythingMadeIsSettledOnceItIsStoredAndNothingBefore) {
  for (uint64_t seed = GetParam(); seed < GetParam() + 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 pick(seed * 7919);
    const UplinkOptions options{.window_parcels_max = static_cast<uint32_t>(2 + pick() % 30),
                                .window_bytes_max = static_cast<uint32_t>(3000 + pick() % 30'000),
                                .answer_timeout_ms = static_cast<uint32_t>(500 + pick() % 8000)};
    Model model(seed, options);
    model.storm(static_cast<int64_t>(30'000 + pick() % 120'000));
    model.calm();
    model.expect_all_settled();
    EXPECT_GT(model.made(), 5u);
    if (testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, UplinkModel, testing::Range(uint64_t{0}, uint64_t{400}, uint64_t{25}));

}  // namespace
}  // namespace lambda::test
