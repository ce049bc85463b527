// The firmware of a device: samples, keeps, sends. The same on every board, and on a host as a process.
#include <lwip/init.h>
#include <lwip/stats.h>
#include <lwip/timeouts.h>

#include <iterator>
#include <new>

#include "boards/firmware/board.h"
#include "boards/firmware/crypto.h"
#include "boards/firmware/device_clock.h"
#include "boards/firmware/identity.h"
#include "boards/firmware/keeper.h"
#include "boards/firmware/line.h"
#include "boards/firmware/link.h"
#include "boards/firmware/platform.h"
#include "boards/firmware/sample_ring.h"
#include "boards/firmware/sensors.h"

#ifndef LAMBDA_BUILT_S
#error "LAMBDA_BUILT_S, when this is built in UTC seconds, is the floor of the device's clock"
#endif

namespace lambda::boards {
namespace {

constexpr int64_t kStatsEveryMs = 2'000;
constexpr uint32_t kWaitMsMax = 100;
// So many questions in a row without any message: the session may be one that only looks alive.
constexpr uint64_t kUnansweredMax = 4;
constexpr size_t kQuestionBytes = 2'560;  // a question and a piece of its answer, which is a block and its head
constexpr uint32_t kPollMsMax = 1'000;    // appending may give lam_poll() work before it asked for its turn

class Firmware final : LinkListener {
 public:
  Firmware(const Board& board, const Identity& identity)
      : board_(board),
        identity_(identity),
        clock_(board, LAMBDA_BUILT_S),
        link_(board, identity, clock_, *this),
        keeper_(board, identity.flash_save_s) {}

  bool start(std::span<uint8_t> memory);
  void turn();

 private:
  void session_begun() override {
    learn_from_next_ack_ = true;
    heard_ = true;
    lam_connected(device_);
    lam_due_ms_ = 0;
  }
  void session_ended() override { lam_disconnected(device_); }
  void message(lam_topic topic, std::span<const uint8_t> bytes) override {
    heard_ = true;
    lam_incoming(device_, topic, bytes.data(), bytes.size());
    lam_due_ms_ = 0;
  }

  bool start_device(std::span<uint8_t> memory);
  void gateway_time(int64_t utc_ms);
  void drain();
  void doubt_silence();
  void say_stats();
  int64_t mono_ms() const { return board_.mono_ms(board_.context); }

  static void sample(void* context) {
    Firmware& firmware = *static_cast<Firmware*>(context);
    const uint32_t tick = firmware.tick_++;
    firmware.ring_.put({tick, read_vibration(tick)});
  }

  const Board& board_;
  const Identity& identity_;
  DeviceClock clock_;
  Link link_;
  Keeper keeper_;
  Sensors sensors_;
  SampleRing ring_;
  uint32_t tick_ = 0;  // the sampling interrupt's
  uint64_t ticks_taken_ = 0;
  int64_t sampling_ms_ = 0;  // monotonic: tick 0
  lam_device* device_ = nullptr;
  bool learn_from_next_ack_ = false;
  bool heard_ = false;              // a message since the last look
  uint64_t timeouts_heard_at_ = 0;  // the SDK's count of unanswered questions then
  int64_t lam_due_ms_ = 0;
  int64_t stats_due_ms_ = 0;
  alignas(8) uint8_t question_memory_[kQuestionBytes];
};

bool Firmware::start_device(std::span<uint8_t> memory) {
  lam_port port = {};
  const HashPort hash = device_hash();
  port.context = this;
  port.mono_ms = [](void* context) { return static_cast<Firmware*>(context)->mono_ms(); };
  port.utc_ms = [](void* context, int64_t* utc_ms) { return static_cast<Firmware*>(context)->clock_.utc_ms(utc_ms); };
  port.random = [](void*) {
    uint64_t number = 0;
    draw_random(reinterpret_cast<uint8_t*>(&number), sizeof number);
    return number;
  };
  port.sha256_start = hash.start;
  port.sha256_update = hash.update;
  port.sha256_finish = hash.finish;
  port.sign = [](void* context, const uint8_t digest[32], uint8_t signature[64]) {
    return sign_digest(static_cast<Firmware*>(context)->identity_.signing_key, digest, signature);
  };
  port.publish = [](void* context, lam_topic, const uint8_t* bytes, size_t size) {
    return static_cast<Firmware*>(context)->link_.publish({bytes, size});
  };
  port.gateway_ms = [](void* context, int64_t utc_ms) { static_cast<Firmware*>(context)->gateway_time(utc_ms); };

  lam_config config = {};
  config.site = identity_.site;
  config.device = identity_.device;
  config.software = "lambda-device";
  config.series_max = Sensors::kSeriesMax;
  config.parcels_max = 4;
  config.block_bytes_max = 1024;
  config.seal_age_ms = identity_.seal_age_ms;
  config.codecs = Sensors::kCodecs;
  config.codec_count = std::size(Sensors::kCodecs);
  memory = keeper_.reserve(config, memory);
  const uint32_t most = identity_.memory_bytes_max;
  const size_t least = lam_memory_min(&config);
  size_t size = most != 0 && most < memory.size() ? most : memory.size();
  if (size < least) size = least;
  if (size > memory.size() || lam_init(memory.data(), size, &config, &port, &device_) != LAM_OK) return false;
  if (lam_answer_questions(device_, question_memory_, sizeof question_memory_) != LAM_OK) {
    Line(board_, "questions_not_answered").field("bytes_needed", lam_questions_memory(&config));
  }
  Line(board_, "device").hex("boot", lam_boot(device_)).field("memory_bytes", size).field("memory_bytes_min", least);
  if (!sensors_.declare(device_)) return false;
  keeper_.start(device_);
  return true;
}

bool Firmware::start(std::span<uint8_t> memory) {
  start_platform(board_, clock_);
  if (!start_random()) restart_because("no entropy");
  lwip_init();
  if (!board_.start_network(board_.context, identity_.network)) restart_because("the network does not answer");
  if (!link_.start()) {
    Line(board_, "identity_refused").field("because", "certificates_or_key_are_unusable");
    return false;
  }
  if (!start_device(memory)) {
    Line(board_, "identity_refused").field("because", "site_device_or_seal_age_is_not_valid");
    return false;
  }
  sampling_ms_ = mono_ms();
  board_.start_sampling(board_.context, sample, this);
  return true;
}

void Firmware::turn() {
  board_.poll_network(board_.context);
  sys_check_timeouts();
  link_.poll();
  drain();
  if (mono_ms() >= lam_due_ms_) {
    const uint32_t wait_ms = keeper_.poll();
    lam_due_ms_ = mono_ms() + (wait_ms < kPollMsMax ? wait_ms : kPollMsMax);
  }
  keeper_.look_at_power();
  clock_.save_when_due();
  if (mono_ms() >= stats_due_ms_) {
    doubt_silence();
    say_stats();
  }
  const int64_t wait = lam_due_ms_ - mono_ms();
  board_.wait(board_.context, wait < 1 ? 1 : wait > kWaitMsMax ? kWaitMsMax : static_cast<uint32_t>(wait));
}

// A sample belongs to when it was taken, however long a handshake kept the loop.
void Firmware::drain() {
  Sample taken;
  if (!ring_.take(&taken)) return;
  const int64_t boot_to_clock_ms = lam_now_ms(device_) - mono_ms();
  do {
    ticks_taken_ += taken.tick - static_cast<uint32_t>(ticks_taken_);  // which wraps after 497 days
    const int64_t taken_ms = sampling_ms_ + static_cast<int64_t>(ticks_taken_) * kSamplePeriodMs;
    sensors_.append(device_, taken, taken_ms + boot_to_clock_ms);
  } while (ring_.take(&taken));
}

// The first answer of a session sets the clock; a device with a clock of its own keeps to that.
void Firmware::gateway_time(int64_t utc_ms) {
  if (!learn_from_next_ack_) return;
  learn_from_next_ack_ = false;
  int64_t own_ms = 0;
  if (board_.utc_ms != nullptr && board_.utc_ms(board_.context, &own_ms)) return;
  if (!clock_.learn(utc_ms)) {
    Line(board_, "gateway_clock_refused").field("utc_ms", static_cast<uint64_t>(utc_ms));
    return;
  }
  Line(board_, "clock_set").field("utc_ms", static_cast<uint64_t>(utc_ms));
  link_.clock_was_set();
}

// TCP that still acknowledges says nothing about what becomes of the bytes: gateways that answer do.
void Firmware::doubt_silence() {
  lam_counters made;
  lam_get_counters(device_, &made);
  if (!heard_ && made.timeouts - timeouts_heard_at_ >= kUnansweredMax) {
    link_.drop("silence");
    heard_ = true;
  }
  if (!heard_) return;
  heard_ = false;
  timeouts_heard_at_ = made.timeouts;
}

void Firmware::say_stats() {
  stats_due_ms_ = mono_ms() + kStatsEveryMs;
  lam_counters made;
  lam_get_counters(device_, &made);
  const LinkCounters& link = link_.counters();
  Line(board_, "stats")
      .field("made", made.points_made)
      .field("settled", made.points_settled)
      .field("refused", made.points_refused)
      .field("dropped", made.points_dropped)
      .field("waiting", made.points_waiting)
      .field("rejected", made.points_rejected)
      .field("missed", ring_.missed())
      .field("parcels", made.parcels_made)
      .field("sent", made.parcels_sent)
      .field("resent", made.parcels_resent)
      .field("acks", made.acks)
      .field("nacks", made.nacks);
  lam_question_counters questions;
  lam_get_question_counters(device_, &questions);
  Line(board_, "questions")
      .field("asked", questions.asked)
      .field("answered", questions.answered)
      .field("pieces", questions.pieces)
      .field("refused", questions.refused)
      .field("malformed", questions.malformed)
      .field("expired", questions.expired);
  Line(board_, "link")
      .field("attempts", link.attempts)
      .field("sessions", link.sessions)
      .field("refused", link.certificates_refused)
      .field("too_long", link.messages_too_long)
      .field("busy", link.publishes_refused)
      .field("heap", lwip_stats.mem.used)
      .field("heap_peak", lwip_stats.mem.max)
      .field("heap_failures", lwip_stats.mem.err)
      .field("sign_failures", made.sign_failures);
}

alignas(Firmware) uint8_t g_firmware[sizeof(Firmware)];
Identity g_identity;

}  // namespace

void run_firmware(const Board& board, std::span<uint8_t> memory) {
  Line(board, "start").field("board", board.name).field("built_s", LAMBDA_BUILT_S);
  const char* problem = read_identity(board.identity(board.context), &g_identity);
  if (problem != nullptr) {
    Line(board, "identity_refused").field("because", problem);
    return;
  }
  auto* firmware = new (g_firmware) Firmware(board, g_identity);
  if (!firmware->start(memory)) return;
  for (;;) firmware->turn();
}

}  // namespace lambda::boards
