// A device and the flash that outlives its resets. What lambda/flash.h promises is kept here.
//
// Invariants
// - Before a parcel of the present boot is built, flash says how far the ordinals in it reach: by the snapshot in force
//   or by a note behind it. So what a gateway may know of is known here after a reset, and what of it is gone is named.
// - Before anything of an earlier boot is sent after a restore, flash says that this start has happened. Sequence
//   numbers of an earlier boot go on at starts x 2^32: none is given out a second time for other content.
// - A restored boot takes no points: its ordinals end with the snapshot.
#pragma once

#include "device.h"
#include "flash_banks.h"

namespace lambda {

class SnapshotWriter;

class DeviceFlash {
 public:
  static size_t memory(const lam_config& config);
  // Port and configuration must be valid, `memory` at least that large.
  static DeviceFlash* make(void* memory, Device& device, const lam_flash_port& port, const lam_flash_config& config);

  void start(lam_flash_report* report);
  uint32_t poll();
  lam_status save();
  void counters(lam_flash_counters* counters) const;

 private:
  static constexpr size_t kCandidatesMax = 8;
  static constexpr size_t kIdentityBytes = 16;
  static constexpr size_t kFingerprintBytes = 8;

  // A boot of before: of the snapshot (those come first, in its order), or one that only notes know.
  struct Candidate {
    uint64_t id = 0;
    uint64_t previous = 0;
    int64_t started_ms = 0;
    uint64_t next_seq = 1;
    bool needed = false;  // something of it is still to be said
    bool noted = false;   // only notes know it
    bool has_digest = false;
    int place = -1;  // in the device's boots; -1: given up
    uint8_t digest[kDigestBytes] = {};
  };
  // One reading of a snapshot: first to see that all of it is good and fits, then to take it.
  struct Reading {
    explicit Reading(BankReader from) : in(from) {}
    BankReader in;
    bool taking = false;
    uint32_t series = 0;
    uint32_t slots = 0;
    uint32_t boots = 0;
    lam_flash_found found = LAM_FLASH_RESTORED;
  };

  DeviceFlash(Device& device, const lam_flash_port& port, const lam_flash_config& config, uint64_t* marked,
              StoreGap* lost);

  // Saving: device_flash.cpp.
  void identity(uint8_t out[kIdentityBytes]) const;
  void fingerprint(const lam_series_spec& spec, uint8_t out[kFingerprintBytes]) const;
  void write_body(SnapshotWriter* out, uint32_t safe_left_out);
  uint8_t index_of(uint64_t boot) const;
  void write_boots(SnapshotWriter* out) const;
  void write_series(SnapshotWriter* out) const;
  void write_clocks(SnapshotWriter* out) const;
  void write_gap(SnapshotWriter* out, const StoreGap& gap) const;
  void write_gaps(SnapshotWriter* out) const;
  void write_parcels(SnapshotWriter* out) const;
  void write_blocks(SnapshotWriter* out, uint32_t safe_left_out);
  void write_block(SnapshotWriter* out, uint64_t boot, BlockState state, int64_t sealed_ms,
                   std::span<const uint8_t> bytes, uint32_t thinned = 0);
  uint32_t blocks_to_leave_out(uint32_t bytes_max);
  size_t list_boots(uint8_t places[SeriesStore::kBootsMax]) const;
  void note_what_goes();
  bool note(const uint8_t* bytes, size_t size);
  void name_lost();

  // Restoring: device_restore.cpp.
  lam_flash_found take(lam_flash_report* report);
  void read(Reading* reading);
  void read_boot(Reading* reading);
  void read_series(Reading* reading);
  void read_clock(Reading* reading);
  void read_gap(Reading* reading);
  void read_parcel(Reading* reading);
  void read_block(Reading* reading, uint32_t thinned);
  const Candidate* candidate(uint8_t index, Reading* reading) const;
  Candidate* find_candidate(uint64_t id);
  void read_notes();
  void read_made(BankReader* in);
  void take_clock(const Candidate& of, const ClockView& view, bool to_send);
  void place_boots(lam_flash_report* report);
  void lose(uint64_t boot, uint32_t ref, uint64_t first, uint64_t count);
  void forget_unsent();
  void describe(lam_flash_report* report);

  Device& device_;
  const lam_flash_port port_;
  const lam_flash_config config_;
  FlashBanks banks_;
  uint64_t* const marked_;  // series_max: up to here ordinals of the present boot are known in flash
  StoreGap* const lost_;    // of earlier boots: gone, not named yet
  const uint32_t lost_max_;
  uint32_t lost_count_ = 0;
  uint32_t starts_ = 1;
  uint64_t noted_boot_ = 0;  // the present one, as flash has it
  bool save_now_ = false;
  int64_t save_due_ms_ = INT64_MAX;  // monotonic
  int64_t saved_ms_ = 0;             // what a save takes for now, so that counting and writing agree
  lam_flash_counters counters_{};

  // While restoring only.
  Candidate candidates_[kCandidatesMax];
  size_t candidate_count_ = 0;
  uint32_t boots_in_snapshot_ = 0;
  uint64_t last_boot_ = 0;
  uint32_t starts_noted_ = 0;
  uint64_t points_given_up_ = 0;
  bool taking_notes_ = false;
};

}  // namespace lambda
