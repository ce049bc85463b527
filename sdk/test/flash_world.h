// A device with flash, beside the gateway of device_world.h: it can be reset, with its power cut or not.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "device_world.h"
#include "model_flash.h"

namespace lambda::test {

inline const lam_label kPlace[] = {{"line", "2"}};
inline const lam_series_spec kFlashSeries[4] = {
    {"press_strokes_total", kPlace, 1, LAM_COUNTER, LAM_I64, 0, nullptr},
    {"press_force", nullptr, 0, LAM_GAUGE, LAM_F64, 0, "newton"},
    {"press_temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"},
    {"press_door_open", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr},
};

// All that can be read of a device: per series its points, its last one, its summary.
struct Readable {
  struct One {
    int64_t time_ms;
    uint64_t ordinal;
    double value;
    auto operator<=>(const One&) const = default;
  };
  std::vector<One> points[4];
  std::vector<One> last[4];
  std::vector<double> summary[4];
  bool operator==(const Readable&) const = default;
  size_t count() const { return points[0].size() + points[1].size() + points[2].size() + points[3].size(); }
};

struct FlashWorld : DeviceWorld {
  explicit FlashWorld(
      ModelFlash* its_flash, size_t extra_bytes = 16'384, lam_flash_config its_config = {},
      std::function<void(lam_config*)> change = [](lam_config*) {})
      : DeviceWorld(extra_bytes, change), flash_port(&its_flash->port), model(its_flash), flash_config(its_config) {
    power_lost_before = std::exchange(model->power_lost, [this] { linked = false; });
    static uint64_t worlds = 1'000;
    random.seed(++worlds);  // no two devices begin boots of the same number
    start(memory.size() * 8);
    begin();
  }

  // The flash may outlive the device, and go to another one or back.
  ~FlashWorld() { model->power_lost = std::move(power_lost_before); }
  FlashWorld(const FlashWorld&) = delete;
  FlashWorld& operator=(const FlashWorld&) = delete;

  void begin() {
    for (const lam_series_spec& spec : kFlashSeries) {
      lam_series ref = 0;
      ASSERT_EQ(lam_declare(device, &spec, &ref), LAM_OK);
    }
    const size_t size = lam_flash_memory(&config, flash_port, &flash_config);
    ASSERT_GT(size, 0u);
    flash_memory.assign((size + 7) / 8, 0);
    ASSERT_EQ(lam_flash_start(flash_memory.data(), size, device, flash_port, &flash_config, &flash, &report), LAM_OK);
  }
  // RAM is lost, the clock that nobody sets begins anew, and `off_ms` pass.
  void reset(int64_t off_ms = 3'000) {
    linked = false;
    outgoing.clear();
    incoming.clear();
    utc_offset += mono + off_ms - 1'000;
    mono = 1'000;
    model->revive();
    std::fill(memory.begin(), memory.end(), 0xA5A5A5A5A5A5A5A5u);
    start(memory.size() * 8);
    begin();
  }
  // As DeviceWorld's, through the flash's turn.
  uint32_t turn() {
    const uint32_t wait = lam_flash_poll(flash);
    EXPECT_GE(wait, 1u);
    carry();
    return wait;
  }
  void run(int64_t ms) {
    const int64_t end = mono + ms;
    while (mono < end && !model->dead) {
      const int64_t wait = turn();
      mono = std::min(end, mono + wait);
    }
    if (!model->dead) turn();
  }
  void go_online() {
    linked = true;
    lam_connected(device);
    turn();
  }
  // A point of each series.
  void measure(int64_t value) {
    for (lam_series ref = 1; ref <= 4; ++ref) {
      const uint64_t bits = ref == 2 ? std::bit_cast<uint64_t>(static_cast<double>(value) * 0.5)
                                     : static_cast<uint64_t>(ref == 4 ? value / 7 % 2 : value);
      if (lam_append_at(device, ref, lam_now_ms(device), bits) != LAM_OK) continue;
      made[{lam_boot(device), ref, next[{lam_boot(device), ref}]++}] = static_cast<int64_t>(bits);
    }
  }
  void live(int seconds, int64_t* value) {
    for (int i = 0; i < seconds && !model->dead; ++i) {
      measure((*value)++);
      run(1'000);
    }
  }
  lam_flash_counters flash_counters() const {
    lam_flash_counters counted;
    lam_flash_get_counters(flash, &counted);
    return counted;
  }
  Readable read() const {
    Readable all;
    std::vector<lam_point> points(20'000);
    for (lam_series ref = 1; ref <= 4; ++ref) {
      size_t count = 0;
      lam_range(device, ref, INT64_MIN, INT64_MAX, points.data(), points.size(), &count);
      for (size_t i = 0; i < count; ++i) {
        all.points[ref - 1].push_back({points[i].time_ms, points[i].ordinal, points[i].value});
      }
      lam_point last;
      if (lam_last(device, ref, &last) == LAM_OK) all.last[ref - 1] = {{last.time_ms, last.ordinal, last.value}};
      lam_summary summary;
      if (lam_summarise(device, ref, INT64_MIN, INT64_MAX, &summary) == LAM_OK) {
        all.summary[ref - 1] = {static_cast<double>(summary.count), summary.min, summary.max, summary.sum};
      }
    }
    return all;
  }
  // No point counts twice or under another's name, none that a gateway could miss is unnamed: whatever is neither
  // stored nor named lies behind all that a gateway ever heard of its series and boot.
  void expect_no_holes() const {
    std::map<std::pair<uint64_t, uint32_t>, uint64_t> heard;
    const auto hear = [&](const Identity& one) {
      uint64_t& end = heard[{one.boot, one.ref}];
      end = std::max(end, one.ordinal + 1);
      EXPECT_EQ(made.count(one), 1u) << "never made: boot " << one.boot << " ref " << one.ref << " ordinal "
                                     << one.ordinal;
    };
    for (const auto& [identity, point] : gateway.points) hear(identity);
    for (const Identity& identity : gateway.gaps) hear(identity);
    for (const auto& [identity, value] : made) {
      const auto stored = gateway.points.find(identity);
      if (stored != gateway.points.end()) {
        if (!gateway.is_of_thinned(identity)) {
          EXPECT_EQ(static_cast<int64_t>(stored->second.bits), value);
        }
        continue;
      }
      if (gateway.gaps.count(identity) != 0) continue;
      const auto end = heard.find({identity.boot, identity.ref});
      EXPECT_TRUE(end == heard.end() || identity.ordinal >= end->second)
          << "a hole that nobody named: boot " << identity.boot << " ref " << identity.ref << " ordinal "
          << identity.ordinal;
    }
  }

  const lam_flash_port* flash_port;
  ModelFlash* model;
  std::function<void()> power_lost_before;
  lam_flash_config flash_config;
  std::vector<uint64_t> flash_memory;
  lam_flash* flash = nullptr;
  lam_flash_report report{};
};

inline constexpr int kMinute = 60;

// Three minutes in which the first were settled, the rest not.
inline void fill(FlashWorld* world, int64_t* value) {
  world->go_online();
  world->live(2 * kMinute + 20, value);
  world->linked = false;
  world->outgoing.clear();
  lam_disconnected(world->device);
  world->live(kMinute + 10, value);
}

}  // namespace lambda::test
