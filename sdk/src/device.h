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

class Device final : private Shelf {
 public:
  static size_t memory_min(const lam_config& config);
  // The configuration must be valid (memory_min() is not 0) and `size` at least that.
  static Device* make(void* memory, size_t size, const lam_config& config, const lam_port& port);

  lam_status declare(const lam_series_spec* spec, lam_series* series);
  lam_status append(lam_series ref, lam_type type, uint64_t bits);
  lam_status append_at(lam_series ref, int64_t time_ms, uint64_t bits);
  uint32_t poll();
  void flush() {
    store_.seal_all();
    flushing_ = true;
  }
  void connected() { uplink_.connected(mono_ms()); }
  void disconnected() { uplink_.disconnected(mono_ms()); }
  void incoming(lam_topic topic, std::span<const uint8_t> message);
  int64_t now_ms();
  uint64_t boot() const { return present().id; }

  const SeriesStore& store() const { return store_; }
  const lam_series_spec* spec(lam_series ref) const;
  bool last(lam_series ref, uint64_t* ordinal, Point* point) const;
  void counters(lam_counters* counters) const;

 private:
  static constexpr size_t kPendingGapsMax = 16;
  static constexpr size_t kClocksMax = 4;

  struct Series {
    const lam_series_spec* spec;
    Point last;
    uint64_t last_ordinal;
    uint8_t declared;  // a bit for each place of boots_: a parcel of that boot declares it
    uint8_t wanted;    // a bit for each place of boots_: the gateway asks for it
    bool has_last;
    bool in_plan;  // goes with the parcel being built
  };
  struct Boot {
    uint64_t id = 0;
    uint64_t previous = 0;
    uint64_t order = 0;      // boots begin 1, 2, 3 ...; 0: a free place
    int64_t started_ms = 0;  // UTC, 0: not known then
    uint64_t next_seq = 1;
    bool has_digest = false;
    bool has_signature = false;
    uint8_t digest[kDigestBytes] = {};        // of the last parcel
    uint8_t signature[kSignatureBytes] = {};  // of the hello
  };
  struct Slot {
    enum class State : uint8_t { kFree, kHeld, kRefused };
    State state = State::kFree;
    uint8_t boot = 0;  // place in boots_
    uint32_t bytes = 0;
    uint32_t points = 0;
    uint64_t seq = 0;
  };
  // A clock segment whose record has to reach the gateway.
  struct Clock {
    ClockView view;
    uint8_t boot = 0;  // place in boots_
    bool used = false;
    bool to_send = false;
  };
  // What a parcel is going to hold, beside the plan's sizes.
  struct Choice {
    uint8_t boot = 0;
    bool declares_only = false;  // asked for by the gateway: these go alone and may take the last slot
    uint32_t blocks = 0;         // so many of the boot's oldest loose ones
    uint32_t gaps = 0;           // bits of gaps_
    uint32_t refused = 0;        // bits of slots whose points it names
    uint32_t clocks = 0;         // bits of clocks_
  };
  struct Layout;

  Device(const Layout& layout, uint8_t* memory, const lam_config& config, const lam_port& port);

  int64_t mono_ms() const { return port_.mono_ms(port_.context); }
  static uint64_t draw(void* context);
  static bool publish_up(void* context, std::span<const uint8_t> message);
  static bool sign(void* context, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]);

  // Time: device.cpp.
  void begin_clock(bool relative, int64_t offset_ms);
  void note_clock(const ClockView& view);
  void follow_clock();

  // Parcels: device_parcels.cpp.
  Boot& present() { return boots_[present_]; }
  const Boot& present() const { return boots_[present_]; }
  int find_boot(uint64_t id) const;
  void begin_boot();
  bool in_use(uint8_t boot) const;
  int64_t build_due(int64_t mono);
  bool build();
  bool choose_boot(Choice* choice) const;
  void choose(ParcelPlan* plan, Choice* choice);
  void choose_wanted(ParcelPlan* plan, uint8_t boot);
  void choose_blocks(ParcelPlan* plan, Choice* choice);
  std::span<const uint8_t> write(const ParcelHead& head, const ParcelPlan& plan, const Choice& choice,
                                 std::span<uint8_t> space, uint8_t digest[kDigestBytes]);
  uint32_t commit(const Choice& choice);
  bool first_loose(uint8_t boot, SealedBlock* block) const;
  bool next_loose(uint8_t boot, SealedBlock* block) const;
  bool enough_loose(bool* any) const;
  bool any_wanted() const;
  uint64_t floor_of(uint8_t boot) const;
  DeclarationView declaration_of(lam_series ref, LabelView labels[LAM_LABELS_MAX]) const;
  Slot* find_slot(ParcelKey key);
  Slot* free_slot(const Choice& choice);
  std::span<uint8_t> space_of(const Slot& slot) {
    return {parcels_ + size_t(&slot - slots_) * config_.parcel_bytes_max, config_.parcel_bytes_max};
  }
  std::span<const uint8_t> message_of(const Slot& slot) const {
    return {parcels_ + size_t(&slot - slots_) * config_.parcel_bytes_max, slot.bytes};
  }
  void take_gaps();
  void settle(Slot* slot);

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override;
  std::span<const uint8_t> read(ParcelKey key) override;
  bool boot(size_t index, uint64_t* boot) override;
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override;
  void settled(ParcelKey key) override;
  void settled_through(uint64_t boot, uint64_t seq) override;
  void refused(ParcelKey key, RefusalCode code) override;
  void declare(uint64_t boot, std::span<const uint32_t> refs) override;
  void new_boot() override;
  void gateway_time(int64_t utc_ms) override;

  const lam_config config_;
  const lam_port port_;
  const HashPort hash_;
  Series* const series_;
  Slot* const slots_;
  uint8_t* const parcels_;  // parcels_max x parcel_bytes_max
  uint8_t* const scratch_;  // one block, or one hello
  size_t scratch_bytes_;
  SeriesStore store_;
  UplinkMachine uplink_;

  Boot boots_[SeriesStore::kBootsMax];
  uint8_t present_ = 0;
  uint64_t boots_begun_ = 0;
  StoreGap gaps_[kPendingGapsMax];
  size_t gap_count_ = 0;

  Clock clocks_[kClocksMax];  // of the last segments; the oldest makes room
  uint32_t clock_segment_ = 0;
  bool clock_relative_ = false;
  int64_t clock_offset_ms_ = 0;  // point time - monotonic time
  int64_t clock_read_ms_ = 0;    // monotonic

  bool flushing_ = false;  // until nothing is loose, parcels need not be full
  bool loose_waits_ = false;
  int64_t loose_since_ms_ = 0;  // monotonic, while loose_waits_
  int64_t build_again_ms_ = 0;  // not before this, after the signer would not
  int64_t gap_parcel_ms_ = 0;   // not before this a parcel of nothing but gaps
  uint64_t points_settled_ = 0;
  uint64_t points_refused_ = 0;
  uint64_t points_rejected_ = 0;
  uint64_t parcels_made_ = 0;
  uint64_t sign_failures_ = 0;
  uint64_t publish_failures_ = 0;
};

}  // namespace lambda
