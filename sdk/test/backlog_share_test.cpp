#include "lambda/backlog_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <queue>

#include "uplink_world.h"

namespace lambda::test {
namespace {

TEST(BacklogShare, BeginsSmallAndGrowsToAllWhileAnswersAreQuick) {
  BacklogShare share(24);
  EXPECT_EQ(share.parcels(), 4u);
  for (int64_t now = 10; now <= 10 * 20; now += 10) share.answered(now - 10, now, true);
  EXPECT_EQ(share.parcels(), 24u);
  EXPECT_EQ(share.shrunk(), 0u);
}

TEST(BacklogShare, DoesNotGrowOnAnswersOfAWindowThatIsNotFull) {
  BacklogShare share(24);
  for (int64_t now = 10; now <= 1000; now += 10) share.answered(now - 10, now, false);
  EXPECT_EQ(share.parcels(), 4u);
}

TEST(BacklogShare, ShrinksInProportionOnceForEachTimeThatItsEffectCanBeSeen) {
  BacklogShare share(24);
  for (int64_t now = 10; now <= 10 * 20; now += 10) share.answered(now - 10, now, true);
  ASSERT_EQ(share.parcels(), 24u);
  share.answered(1000, 1140, true);
  EXPECT_EQ(share.parcels(), 24u * 100 / 130);
  share.answered(1001, 1500, true);
  share.answered(1139, 1900, true);
  EXPECT_EQ(share.parcels(), 18u) << "those were sent before it shrank";
  share.answered(1140, 3000, true);
  EXPECT_EQ(share.parcels(), 9u) << "at most half at once";
  for (int64_t sent = 3000; sent < 100'000; sent += 2000) share.answered(sent, sent + 2000, true);
  EXPECT_EQ(share.parcels(), 1u) << "never to nothing";
}

TEST(BacklogShare, GrowsByOneForEachWindowOnceAnswersWereSlow) {
  BacklogShare share(24);
  share.answered(0, 10, true);
  share.answered(10, 1000, true);
  const uint32_t before = share.parcels();
  for (uint32_t i = 0; i < before - 1; ++i) share.answered(1000, 1010, true);
  EXPECT_EQ(share.parcels(), before);
  share.answered(1000, 1010, true);
  EXPECT_EQ(share.parcels(), before + 1);
}

TEST(BacklogShare, ALongPathIsNoLine) {
  BacklogShare share(24);
  for (int64_t sent = 0; sent < 40 * 600; sent += 600) share.answered(sent, sent + 600, true);
  EXPECT_EQ(share.parcels(), 24u);
  BacklogShare crawling(24);
  for (int64_t sent = 0; sent < 40 * 2000; sent += 2000) crawling.answered(sent, sent + 2000, true);
  EXPECT_EQ(crawling.parcels(), 1u) << "what takes two seconds was not a path, whatever else was seen";
}

TEST(BacklogShare, ForgetsThePathAfterTwentyMinutesAndWithTheConnection) {
  BacklogShare share(24);
  share.answered(0, 10, true);
  int64_t now = 10;
  for (; now < 1'300'000; now += 300) share.answered(now, now + 300, true);
  EXPECT_EQ(share.parcels(), 24u) << "the way became longer, and stays so";
  share.answered(now, now + 410, true);
  EXPECT_LT(share.parcels(), 24u);
  share.begin(now + 410);
  EXPECT_EQ(share.parcels(), 4u);
  share.answered(now + 410, now + 910, true);
  EXPECT_EQ(share.parcels(), 5u) << "another path";
}

TEST(BacklogShare, HalvesWhenTheGatewayAsksForTime) {
  BacklogShare share(24);
  for (int64_t now = 10; now <= 10 * 20; now += 10) share.answered(now - 10, now, true);
  share.refused(500, 510);
  share.refused(500, 511);
  EXPECT_EQ(share.parcels(), 12u);
  share.refused(511, 520);
  EXPECT_EQ(share.parcels(), 6u);
}

TEST(BacklogShare, TakesAnyTimesAndAnySize) {
  for (const uint32_t most : {0u, 1u, 2u, 64u}) {
    BacklogShare share(most);
    std::mt19937_64 random(most + 1);
    for (int i = 0; i < 100'000; ++i) {
      const auto sent = static_cast<int64_t>(random() >> 2), now = static_cast<int64_t>(random() >> 2);
      if (random() % 5 == 0) share.refused(sent, now);
      share.answered(sent, now, random() % 2 == 0);
      ASSERT_GE(share.parcels(), 1u);
      ASSERT_LE(share.parcels(), std::max(1u, most));
    }
  }
}

// ---- Devices that share one gateway, which takes parcels one after the other

constexpr uint64_t kOldBoot = 9, kPresentBoot = 1;

// Backlog without end, and fresh parcels as they are made.
class Supply final : public Shelf {
 public:
  uint64_t fresh_made = 0, fresh_settled = 0, backlog_settled = 0;

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override {
    const uint64_t boot = lane == Lane::kFresh ? kPresentBoot : kOldBoot;
    const uint64_t first = (lane == Lane::kFresh ? fresh_settled : backlog_settled) + 1;
    *key = {boot, std::max(first, after.boot == boot ? after.seq + 1 : 1)};
    *bytes = 3000;
    return lane == Lane::kBacklog || key->seq <= fresh_made;
  }
  std::span<const uint8_t> read(ParcelKey key) override {
    message_ = write_sent({'P', key.boot, key.seq});
    return bytes_of(message_);
  }
  bool boot(size_t index, uint64_t* boot) override {
    *boot = index == 0 ? kPresentBoot : kOldBoot;
    return index < 2;
  }
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override {
    message_ = write_sent({'H', boot, nonce});
    return bytes_of(message_);
  }
  void settled(ParcelKey key) override { settled_through(key.boot, key.seq); }  // in order, here
  void settled_through(uint64_t boot, uint64_t seq) override {
    uint64_t& mine = boot == kPresentBoot ? fresh_settled : backlog_settled;
    mine = std::max(mine, seq);
  }
  void refused(ParcelKey, RefusalCode) override { ADD_FAILURE(); }
  void declare(uint64_t, std::span<const uint32_t>) override { ADD_FAILURE(); }
  void new_boot() override { ADD_FAILURE(); }
  void gateway_time(int64_t) override {}

 private:
  std::string message_;
};

class Site {
 public:
  // `path_ms`: one way. `parcel_us`: what the gateway needs for a parcel of anyone.
  Site(size_t devices, int64_t path_ms, int64_t parcel_us, UplinkOptions options = {})
      : path_us_(path_ms * 1000), parcel_us_(parcel_us) {
    for (size_t i = 0; i < devices; ++i) {
      devices_.push_back(std::make_unique<Device>(*this, options));
      // Not in step: each has made its first fresh parcel at another moment.
      const auto start_us = static_cast<int64_t>(random_() % kFreshUs);
      at(start_us, [this, i, start_us] { make_fresh(*devices_[i], start_us); });
      at(0, [this, i] {
        devices_[i]->uplink.connected(now_ms());
        turn(*devices_[i]);
      });
    }
  }

  void set_parcel_us(int64_t us) { parcel_us_ = us; }
  // Runs on, and forgets what was measured before.
  void run_ms(int64_t ms) {
    fresh_us_.clear();
    backlog_done_ = served_ = 0;
    const int64_t end = now_us_ + ms * 1000;
    while (!events_.empty() && events_.top().at_us <= end) {
      const Event event = events_.top();
      events_.pop();
      now_us_ = event.at_us;
      event.run();
    }
    now_us_ = end;
  }
  int64_t fresh_ms_p99() {
    if (fresh_us_.empty()) return INT64_MAX;
    const size_t place = fresh_us_.size() * 99 / 100;
    std::nth_element(fresh_us_.begin(), fresh_us_.begin() + static_cast<std::ptrdiff_t>(place), fresh_us_.end());
    return fresh_us_[place] / 1000;
  }
  size_t fresh_done() const { return fresh_us_.size(); }
  uint64_t backlog_done() const { return backlog_done_; }
  uint64_t served() const { return served_; }

 private:
  static constexpr int64_t kFreshUs = 500'000;
  struct Device {
    Device(Site& of, const UplinkOptions& options) : site(of), uplink(supply, {this, publish, draw}, options) {}
    static bool publish(void* context, std::span<const uint8_t> message) {
      auto& self = *static_cast<Device*>(context);
      self.site.carry(self, read_sent(message));
      return true;
    }
    static uint64_t draw(void* context) { return static_cast<Device*>(context)->site.random_(); }

    Site& site;
    Supply supply;
    std::map<uint64_t, int64_t> made_us;  // of fresh parcels that are not settled
    int64_t wake_us = INT64_MAX;
    Uplink uplink;
  };
  struct Event {
    int64_t at_us;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::pair(at_us, order) > std::pair(other.at_us, other.order); }
  };

  int64_t now_ms() const { return now_us_ / 1000; }
  void at(int64_t us, std::function<void()> run) { events_.push({us, order_++, std::move(run)}); }

  void make_fresh(Device& device, int64_t now_us) {
    device.made_us[++device.supply.fresh_made] = now_us;
    turn(device);
    at(now_us + kFreshUs, [this, &device, next = now_us + kFreshUs] { make_fresh(device, next); });
  }
  void turn(Device& device) {
    const int64_t wake_us = device.uplink.tick(now_ms()) * 1000;
    if (device.wake_us > now_us_ && device.wake_us <= wake_us) return;
    device.wake_us = wake_us;
    at(wake_us, [this, &device, wake_us] {
      if (device.wake_us == wake_us) turn(device);
    });
  }
  void carry(Device& device, const Sent& sent) {
    at(now_us_ + path_us_, [this, &device, sent] {
      free_us_ = std::max(free_us_, now_us_) + (sent.kind == 'P' ? parcel_us_ : 0);
      at(free_us_, [this, &device, sent] { served(device, sent); });
    });
  }
  void served(Device& device, const Sent& sent) {
    ++served_;
    uint64_t& stored = stored_[{&device, sent.boot}];
    if (sent.kind == 'P') stored = std::max(stored, sent.number);
    const AckOf ack{.boot = sent.boot, .contiguous = stored, .nonce = sent.kind == 'H' ? sent.number : 0};
    at(now_us_ + path_us_, [this, &device, message = ack.write()] {
      const uint64_t backlog = device.supply.backlog_settled;
      device.uplink.down(bytes_of(message), now_ms());
      backlog_done_ += device.supply.backlog_settled - backlog;
      auto& made = device.made_us;
      while (!made.empty() && made.begin()->first <= device.supply.fresh_settled) {
        fresh_us_.push_back(now_us_ - made.begin()->second);
        made.erase(made.begin());
      }
      turn(device);
    });
  }

  const int64_t path_us_;
  int64_t parcel_us_;
  std::mt19937_64 random_{5};
  std::priority_queue<Event> events_;
  uint64_t order_ = 0;
  int64_t now_us_ = 0, free_us_ = 0;
  std::map<std::pair<Device*, uint64_t>, uint64_t> stored_;
  std::vector<int64_t> fresh_us_;
  uint64_t backlog_done_ = 0, served_ = 0;
  std::vector<std::unique_ptr<Device>> devices_;
};

TEST(BacklogShare, AHundredDevicesKeepTheGatewayBusyAndWhatIsFreshQuick) {
  Site site(100, 2, 300);  // 3,333 parcels a second
  site.run_ms(10'000);
  EXPECT_LE(site.fresh_ms_p99(), 350) << "from the first moment on";
  EXPECT_GE(site.fresh_done(), 1900u);
  EXPECT_GE(site.served(), 10'000u * 1000 / 300 * 95 / 100);
  site.run_ms(20'000);
  EXPECT_LE(site.fresh_ms_p99(), 200);
  EXPECT_GE(site.served(), 20'000u * 1000 / 300 * 98 / 100);
}

TEST(BacklogShare, AGatewayThatBecomesTenTimesSlowerAndFastAgainIsFollowed) {
  Site site(20, 2, 300);
  site.run_ms(5'000);
  site.set_parcel_us(3'000);
  site.run_ms(3'000);
  site.run_ms(10'000);
  EXPECT_LE(site.fresh_ms_p99(), 200);
  EXPECT_GE(site.served(), 10'000u * 1000 / 3'000 * 95 / 100);
  site.set_parcel_us(300);
  site.run_ms(5'000);
  site.run_ms(5'000);
  EXPECT_LE(site.fresh_ms_p99(), 200);
  EXPECT_GE(site.served(), 5'000u * 1000 / 300 * 95 / 100);
}

TEST(BacklogShare, WithOneParcelEachTheLineIsNoLongerThanTheDevicesAreMany) {
  Site site(100, 2, 1'500);
  site.run_ms(10'000);
  site.run_ms(10'000);
  // 200 fresh parcels a second take three tenths of the gateway; the line is 100 parcels of the backlog, and those.
  EXPECT_LE(site.fresh_ms_p99(), 500);
  EXPECT_GE(site.backlog_done(), 10'000u * 1000 / 1'500 * 65 / 100) << "the backlog goes on";
}

TEST(BacklogShare, ASatellitesPathIsFilled) {
  Site site(1, 300, 300);
  site.run_ms(30'000);
  site.run_ms(30'000);
  // 24 of 32 parcels for each 600 ms.
  EXPECT_GE(site.backlog_done(), 24u * 30'000 / 600 * 90 / 100);
  EXPECT_LE(site.fresh_ms_p99(), 650);
}

}  // namespace
}  // namespace lambda::test
