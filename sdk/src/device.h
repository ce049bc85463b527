// A device in one piece of memory: the series store, a few parcels, the uplink. What lambda/lambda.h promises is kept
// here.
//
// Invariants
// - A sealed block is in the store until a parcel holds its bytes; from then on the parcel is what is sent, and the
// block
//   in the store is for reading only. So memory pressure never undoes a parcel, and a gap never names points of one.
// - A parcel's slot is free again only after an ack, or after a later parcel named its points as gaps.
// - Every place and every list has a bound: what does not fit stays where it was and goes with the next parcel.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lambda/lambda.h"
#include "lambda/messages.h"
#include "lambda/series_store.h"
#include "lambda/uplink.h"

namespace lambda {

// Answers questions, where the firmware asked for it (device_questions.cpp): a device without does not link it.
class DeviceQuestions {
 public:
  virtual bool incoming(std::span<const uint8_t> message, int64_t mono_ms) = 0;  // false: no question
  virtual int64_t tick(int64_t mono_ms) = 0;
  virtual void disconnected() = 0;
  virtual void counters(lam_question_counters* counters) const = 0;

 protected:
  ~DeviceQuestions() = default;
};

class Device;

// What a device does with thinned blocks, where its owner chose so (device_thinning.cpp): one without does not link it.
struct DevicePressure {
  const Thinning* thinning;
  // Plans a block with the gap that goes with it. False: they do not fit, and nothing was planned.
  bool (*plan)(const SealedBlock& block, ParcelPlan* plan);
  // Says the gaps that go with the blocks of `boot` that are ready, so many of them.
  void (*tell)(const Device& device, uint8_t boot, uint32_t blocks, ParcelBuilder* parcel);
};
// By its name in C, see lambda/lambda.h.
extern "C" {
extern const DevicePressure lam_pressure_thin;
}

class Device final : private Shelf {
 public:
  static size_t memory_min(const lam_config& config);  // 0: the configuration is not valid
  // LAM_E_INVALID: the configuration; LAM_E_MEMORY: less than memory_min(). The port is whole.
  static lam_status make(void* memory, size_t size, const lam_config& config, const lam_port& port, Device** device);

  lam_status declare(const lam_series_spec* spec, lam_series* series);
  lam_status append(lam_series ref, lam_type type, uint64_t bits);
  lam_status append_at(lam_series ref, int64_t time_ms, uint64_t bits);
  uint32_t poll();
  void flush() {
    store_.seal_all();
    flushing_ = true;
  }
  void connected() { uplink_.connected(mono_ms()); }
  void disconnected() {
    uplink_.disconnected(mono_ms());
    if (questions_ != nullptr) questions_->disconnected();
  }
  void incoming(lam_topic topic, std::span<const uint8_t> message);
  int64_t now_ms();
  uint64_t boot() const { return present().id; }
  const lam_config& config() const { return config_; }

  const SeriesStore& store() const { return store_; }
  const lam_series_spec* spec(lam_series ref) const;
  void counters(lam_counters* counters) const;

  void set_questions(DeviceQuestions* questions) { questions_ = questions; }
  const DeviceQuestions* questions() const { return questions_; }
  DeclarationView declaration_of(lam_series ref, LabelView labels[LAM_LABELS_MAX]) const;
  // What is added to the times of a clock segment, if that is known (still).
  bool clock(uint64_t boot, uint32_t segment, ClockView* clock) const;
  static bool publish_up(void* device, std::span<const uint8_t> message);

 private:
  friend class DeviceFlash;     // device_flash.h: what outlives a reset
  friend class ThinnedParcels;  // device_thinning.cpp

  // So few that all of a boot's fit into the smallest parcel.
  static constexpr size_t kPendingGapsMax = 16;
  static constexpr size_t kClocksMax = 4;
  static constexpr int kAnyBoot = -1;
  static constexpr int kNoBoot = SeriesStore::kBootsMax;

  struct Series {
    const lam_series_spec* spec;
    uint8_t declared;  // a bit for each place of boots_: a parcel of that boot declares it
    uint8_t wanted;    // a bit for each place of boots_: the gateway asks for it
    bool in_plan;      // goes with the parcel being built
  };
  struct Boot {
    uint64_t id = 0;
    uint64_t previous = 0;
    uint32_t order = 0;      // boots begin 1, 2, 3 ...; 0: a free place
    int64_t started_ms = 0;  // UTC, 0: not known then
    uint64_t next_seq = 0;
    bool has_digest = false;
    bool has_signature = false;
    uint8_t digest[kDigestBytes] = {};        // of the last parcel, if there is one
    uint8_t signature[kSignatureBytes] = {};  // of the hello, if there is one
  };
  struct Slot {
    enum class State : uint8_t { kFree, kHeld, kRefused };
    State state = State::kFree;
    uint8_t boot = 0;      // place in boots_
    bool in_plan = false;  // what it held is named in the parcel being built
    uint32_t bytes = 0;
    uint32_t points = 0;
    uint64_t seq = 0;
  };
  // The parcels of a boot that are held.
  struct Waiting {
    uint64_t floor_seq;  // lower ones will not come any more
    uint32_t parcels, bytes;
  };
  // Points that are gone and that no parcel has named yet.
  struct PendingGap : GapView {
    // All zero, so that many are made at once.
    constexpr PendingGap() : PendingGap({0, 0, 0, GapReason()}, 0) {}
    constexpr PendingGap(const GapView& gap, uint8_t place) : GapView(gap), boot(place) {}
    uint8_t boot;  // place in boots_
  };
  // A clock segment whose record has to reach the gateway.
  struct Clock {
    ClockView view;
    uint8_t boot = 0;  // place in boots_
    bool used = false;
    bool to_send = false;  // only what is used
    bool goes_with(int parcel_boot) const { return to_send && boot == parcel_boot; }
  };
  // What a parcel is going to hold, beside the plan's sizes.
  struct Choice {
    int boot = 0;                // place in boots_
    bool declares_only = false;  // asked for by the gateway: these go alone and may take the last slot
    bool names_refused = false;  // what slots held that were refused
    int names_of = kNoBoot;      // the boot whose gaps_ and refused slots it names: its own, or none
    uint32_t blocks = 0;         // so many of the boot's oldest loose ones
  };
  struct Layout;
  class Named;

  Device(const Layout& layout, std::span<uint8_t> memory, const lam_port& port);

  lam_status keep(lam_series ref, Point point);  // the series is known
  int64_t mono_ms() const { return port_.mono_ms(port_.context); }
  static uint64_t draw(void* context);
  static bool sign(void* context, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]);

  // Time: device.cpp.
  void begin_clock(int64_t offset_ms, int64_t mono);
  void note_clock(bool relative, int64_t offset_ms, bool known);
  void note_past(int64_t utc_ms);
  void follow_clock();

  // Parcels: device_parcels.cpp.
  Boot& present() { return boots_[present_]; }
  const Boot& present() const { return boots_[present_]; }
  std::span<Series> all_series() const { return {series_, store_.series_count()}; }
  int find_boot(uint64_t id) const;
  void begin_boot();
  void start_boot(int place, uint64_t id);
  bool in_use(int boot) const;
  int64_t build_due(int64_t mono);
  bool build();
  bool choose_boot(Choice* choice) const;
  void choose(ParcelPlan* plan, Choice* choice);
  bool plan_declaration(ParcelPlan* plan, lam_series ref) const;
  void choose_wanted(ParcelPlan* plan, int boot);
  void choose_blocks(ParcelPlan* plan, Choice* choice);
  std::span<const uint8_t> write(const ParcelHead& head, const ParcelPlan& plan, const Choice& choice,
                                 std::span<uint8_t> space, uint8_t digest[kDigestBytes]);
  uint32_t commit(const Choice& choice);
  // Do the gateways take it?
  bool is_taken(const SealedBlock& block) const;
  // The next loose block of one boot or of kAnyBoot; from a new `block` on the first.
  bool next_loose(int boot, SealedBlock* block) const;
  // The next of those that the gateways take.
  bool next_ready(int boot, SealedBlock* block) const;
  size_t loose_bytes() const;  // of what may go, no more than fills a parcel
  int wanted_boot() const;
  BlockCodings codings() const {
    return kFurtherCodecs ? BlockCodings(config_.codecs, config_.codec_count) : BlockCodings();
  }
  void choose_codec(lam_series ref);
  Waiting waiting_of(int boot) const;
  Slot* next_slot(const Slot* after, Slot::State state, int boot = kAnyBoot) const;
  bool held(int boot) const { return next_slot(nullptr, Slot::State::kHeld, boot) != nullptr; }
  Slot* next_held(const Slot* after, uint64_t boot, const SeqRange& range) const;
  Slot* find_slot(ParcelKey key) const;
  Slot* free_slot(const Choice& choice) const;
  uint8_t* space_of(const Slot& slot) const;  // parcel_bytes_max
  std::span<const uint8_t> message_of(const Slot& slot) const { return {space_of(slot), slot.bytes}; }
  void take_gaps();
  void keep_gap(const StoreGap& gap);
  void forget_declared(int boot);

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override;
  std::span<const uint8_t> read(ParcelKey key) override;
  bool boot(size_t index, uint64_t* boot) override;
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override;
  void settled(ParcelKey key) override;
  void settled_through(uint64_t boot, uint64_t seq) override;
  void settled_between(uint64_t boot, const SeqRange& range) override;
  void refused(ParcelKey key, RefusalCode code) override;
  void declare(uint64_t boot, std::span<const uint32_t> refs) override;
  void new_boot() override;
  void gateway_time(int64_t utc_ms) override;
  void gateways_take(uint32_t codecs) override;

  // What is small stands first: a small core reaches members near the start with shorter instructions.
  int64_t clock_offset_ms_ = 0;  // point time - monotonic time
  int64_t clock_read_ms_ = 0;    // monotonic
  int64_t loose_since_ms_ = 0;   // monotonic, while loose_waits_
  int64_t build_again_ms_ = 0;   // not before this, after the signer would not
  int64_t gap_parcel_ms_ = 0;    // not before this a parcel of nothing but gaps
  uint32_t clock_segment_ = 0;
  uint32_t codecs_ = kCodecsOfEverybody;  // that the gateways take
  size_t gap_count_ = 0;
  uint8_t present_ = 0;  // place in boots_
  bool clock_relative_ = false;
  bool flushing_ = false;  // until nothing is loose, parcels need not be full
  bool loose_waits_ = false;
  DeviceQuestions* questions_ = nullptr;
  Series* const series_;
  Slot* const slots_;
  uint8_t* const parcels_;  // parcels_max x parcel_bytes_max
  uint8_t* const scratch_;  // one block, or one hello
  size_t scratch_bytes_;
  uint32_t boots_begun_ = 0;

  const lam_config config_;
  const lam_port port_;
  const HashPort hash_;
  uint64_t points_settled_ = 0;
  uint64_t points_refused_ = 0;
  uint64_t points_rejected_ = 0;
  EventCount parcels_made_ = 0;
  EventCount sign_failures_ = 0;
  EventCount publish_failures_ = 0;

  Boot boots_[SeriesStore::kBootsMax];
  SeriesStore store_;
  UplinkMachine uplink_;
  Clock clocks_[kClocksMax];  // of the last segments; the oldest makes room
  PendingGap gaps_[kPendingGapsMax];
};

}  // namespace lambda
