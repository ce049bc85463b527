// What the spool knows without reading its parcels: its boots and files. Pure: records in, records out; no disk.
// Rules: proto/spool.md, "Applying the records".
//
// Invariants
// - Applying a record twice, or one that a checkpoint holds already, changes nothing.
// - `covered` of a series never passes an ordinal that is neither in a parcel, nor named by a parcel's gap, nor a
//   pending gap: a hole becomes one (CORRUPT) in the same step.
// - checkpoint() after any records, applied to an empty state, gives the same state.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "agent/spool/gap_set.h"
#include "agent/spool/journal_format.h"
#include "agent/spool/parcel_facts.h"
#include "agent/spool/seq_set.h"
#include "agent/spool/series_table.h"
#include "base/crypto/crypto.h"

namespace lambda::agent {

inline constexpr uint8_t kRecordCheckpoint = 32;
inline constexpr uint8_t kRecordSpooledParcel = 33;
inline constexpr uint8_t kRecordSettled = 34;
inline constexpr uint8_t kRecordBegun = 35;
inline constexpr uint8_t kRecordPendingGap = 36;

struct Boot {
  uint64_t id = 0;
  uint64_t previous = 0;
  int64_t started_ms = 0;
  uint64_t next_seq = 1;
  uint64_t seq_known_max = 0;  // a gateway knows seqs up to here (of a restored copy): number above
  SeqSet gone;                 // settled or given up
  SeqSet gone_unsaved;         // of those, the ones no record says yet
  Digest last_digest{};
  bool has_digest = false;
  std::shared_ptr<SeriesTable> series;
  GapSet pending;                        // to be named
  GapSet named;                          // in parcels of the spool or acked ones, as far as this process knows
  std::vector<uint8_t> hello_signature;  // 64 bytes, or empty: not signed yet
  std::vector<Clock64> clocks;
  bool held = false;     // the present boot, or one with journals: kept although nothing is left of it here
  bool packing = false;  // a parcel of it is being made: the boot must still be known when that is in the spool

  // What the next parcel should name: the pending gaps, each joined with those beside it that were named before. Else
  // each drop of a parcel that named gaps would leave more and smaller pieces; naming one twice changes nothing.
  std::vector<Gap> gaps_to_name() const;
  uint64_t floor_seq() const { return gone.next_missing(1); }
  uint64_t unsettled() const { return next_seq - 1 - gone.count(); }
};

struct FileRun {
  uint64_t boot = 0;
  uint64_t first_seq = 0;
  uint64_t last_seq = 0;
};

struct SpoolFile {
  uint64_t number = 0;
  uint64_t bytes = 0;  // that may be believed
  int64_t newest_ms = 0;
  std::vector<FileRun> runs;
  uint64_t points_left = 0;
  bool reaches_back = false;  // a parcel of it has or names ordinals that were covered when it was written

  void add(uint64_t boot, uint64_t seq);
};

class SpoolState {
 public:
  explicit SpoolState(uint32_t series_max) : series_max_(series_max) {}

  Boot* find(uint64_t id);
  Boot& find_or_add(uint64_t id);
  void move_before(uint64_t id, uint64_t other);                 // both are known
  void forget_finished();                                        // boots with nothing left that nobody holds or packs
  std::deque<std::unique_ptr<Boot>>& boots() { return boots_; }  // in the order in which they began
  const std::deque<std::unique_ptr<Boot>>& boots() const { return boots_; }
  std::deque<SpoolFile>& files() { return files_; }  // oldest first, without the present one
  const std::deque<SpoolFile>& files() const { return files_; }

  // Boots with the same series have their names in RAM once. To be called when tables are complete.
  void share_names();

  // Bodies of Checkpoint records, in order.
  std::vector<std::vector<std::byte>> checkpoint() const;
  // False from `more`: this was the last one. kCorrupt: it is none.
  Result<bool> apply_checkpoint(std::span<const std::byte> body);
  // Any other record, except parcels. kCorrupt: it is not what its type says.
  Status apply(uint8_t type, std::span<const std::byte> body);
  // A parcel that is in the file `file` now.
  Status apply_parcel(const ParcelFacts& facts, const Digest& digest, SpoolFile& file);

  bool finished(const SpoolFile& file) const;  // all its parcels are settled or given up

 private:
  uint32_t series_max_;
  std::deque<std::unique_ptr<Boot>> boots_;
  std::deque<SpoolFile> files_;
};

std::vector<std::byte> encode_settled(uint64_t boot, const SeqSet& seqs);
std::vector<std::byte> encode_begun(const Boot& boot);
std::vector<std::byte> encode_pending_gap(uint64_t boot, const Gap& gap);

// The ordinals at which each boot's series went on, as a checkpoint says.
struct Covers {
  struct OfBoot {
    uint64_t boot = 0;
    std::vector<uint64_t> next;  // by ref
  };
  std::vector<OfBoot> boots;
  const OfBoot* find(uint64_t boot) const;
};
// Whether the checkpoint goes on in the next record.
Result<bool> checkpoint_goes_on(std::span<const std::byte> body);
// Adds what one Checkpoint record says.
Status add_covers(std::span<const std::byte> body, Covers& covers);

}  // namespace lambda::agent
