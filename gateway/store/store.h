// The gateway's store: what was acked is here, once. Bytes: proto/segment.md.
//
// Invariants
// - A point identity (device, boot, ref, ordinal) is accepted at most once, however points were packed, whatever was
//   restarted, merged or deleted by retention in between.
// - `decided` says kStored only after the fdatasync that covers the parcel's record.
// - Segments are the truth. The SQLite index is a cache, advanced after the sync; when it is missing, damaged or
//   behind, it is computed again from the segments, and until then parcels are answered kBusy. It is behind by at most
//   two seconds of arrivals or 64 MiB of segments, whichever is less, and the batches under way.
// - No memory grows with what is on the disk: coverage is cached within `coverage_bytes_max`.
//
// Threading: everything on the loop thread; cursors made by select() may be read on any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "base/result.h"
#include "gateway/store/runs.h"
#include "lambda/block.h"
#include "lambda/parcel.h"
#include "query/series_source.h"

namespace lambda::gateway {

struct StoreOptions {
  std::string directory;
  std::string site;
  uint64_t segment_bytes_max = 64u << 20;
  // Of segments with points; the oldest go when they are more. 0: as much as the disk has, above the watermark. What is
  // kept of deleted segments for ever (retired ordinals, gaps, hellos, names that are needed) does not count and is not
  // bounded: it grows with boots and series, not with points, and is rewritten with runs merged. It is counted in
  // StoreCounters::carried_bytes.
  uint64_t retention_bytes_max = 0;
  int64_t retention_age_ms_max = 0;         // 0: for ever
  uint64_t free_bytes_min = 256u << 20;     // below: kFull, acks are withheld
  uint64_t free_bytes_resume = 320u << 20;  // and taken up again above
  uint64_t batch_bytes_max = 8u << 20;      // waiting for one sync; past it: kBusy
  uint64_t batch_parcels_max = 4096;
  uint64_t coverage_bytes_max = 32u << 20;
  int64_t merge_interval_ms = 60'000;  // 0: never
  uint32_t merge_points_min = 256;     // blocks below are small
  uint64_t summaries_max = 320'000;    // of runs that were read, in memory for later questions: about 160 bytes each
  // References to blocks that questions hold, about 120 bytes each: of one selector, past which it is refused as too
  // large, and of all questions together, past which one is told to come again.
  uint64_t selected_blocks_max = 1'000'000;
  uint64_t held_blocks_max = 2'000'000;
  bool index_in_memory = false;  // the simulator's: the index dies with the process
};

// A block of a verified parcel.
struct BlockSlip {
  BlockInfo info;
  Digest root{};
  std::string_view bytes;  // within StoreRequest::message
};

struct Declared {
  uint32_t ref = 0;
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted; without `instance` and `site`
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  std::string unit;
};

// A parcel whose signature was verified and whose blocks were decoded and found well formed.
struct StoreRequest {
  std::string device;
  uint64_t boot = 0, seq = 0, floor_seq = 0;
  int64_t received_ms = 0;
  Digest digest{}, previous{};
  std::string message;  // the Parcel message's bytes, as published
  std::vector<Declared> declarations;
  std::vector<BlockSlip> blocks;
  std::vector<GapView> gaps;
  std::vector<ClockView> clocks;
};

enum class Verdict {
  kStored,      // durable now; `points_new` of them were new
  kDuplicate,   // everything in it was stored, durably, before
  kConflict,    // an ordinal is stored with other content; nothing of this parcel was stored
  kUndeclared,  // `refs` are unknown for this boot; nothing was stored
  kFull,        // disk below the watermark, or full; nothing was stored
  kBusy,        // too much waiting, or the index is being computed; nothing was stored
};
// Ordinals [first, end) of a parcel's block, the first one being block 0.
struct AcceptedOrdinals {
  uint32_t block = 0;
  uint64_t first = 0, end = 0;
};
struct Decision {
  Verdict verdict = Verdict::kBusy;
  uint64_t points_new = 0, points_duplicate = 0;
  std::vector<AcceptedOrdinals> accepted;  // of kStored: the points that were new, block by block
  std::vector<uint32_t> refs;
  std::string text;
};

struct AckState {
  uint64_t contiguous_seq = 0;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;  // above it, ascending, at most 64
};

struct HelloRecord {
  std::string device;
  uint64_t boot = 0, previous_boot = 0;
  int64_t started_ms = 0, received_ms = 0;
  std::string message;
};

struct DeviceTotals {
  std::string device;
  uint64_t boots = 0;
  uint64_t points = 0;        // ever stored, each identity once; retention does not lower it
  uint64_t blocks = 0;        // there now
  uint64_t gap_points = 0;    // declared as lost and not stored after all
  uint64_t chain_breaks = 0;  // parcels whose `previous` is not the digest of the one before
  int64_t last_received_ms = 0, t_max = 0;
};

struct StoreCounters {
  uint64_t parcels_stored, parcels_duplicate, parcels_conflict, points_stored, points_duplicate, blocks_stored, syncs,
      sync_errors, append_errors, segments, segment_bytes, carried_bytes, retired_segments, retired_points,
      merged_blocks, merge_mismatches, damaged_records, torn_bytes, index_rebuilds, parcels_withheld_full,
      parcels_withheld_busy, chain_breaks, index_commits_early,  // at the bound of rows or bytes, not by age
      summary_hits, summaries_dropped;  // blocks that were not read again; those forgotten at summaries_max
};

class Store : public query::SeriesSource {
 public:
  // Opens or begins a store. Takes as long with a terabyte as with nothing: what the index lacks is read afterwards, in
  // slices from the loop. Damage is counted, named in the log and survived. Errors: the folder cannot be used at all,
  // or another process has it.
  static Result<std::unique_ptr<Store>> open(Env& env, const StoreOptions& options);
  ~Store() override = default;

  // Decides in order of arrival for each device. `decided` runs later, never inside this call, and not after the store
  // is gone. kBusy and kFull for what is not even queued may come before the answers to earlier parcels.
  virtual void put(StoreRequest request, std::function<void(const Decision&)> decided) = 0;
  // Keeps a boot's hello, durably, once. `done` as above; it also runs, in order, when the hello is known already.
  virtual void put_hello(HelloRecord hello, std::function<void(const Status&)> done) = 0;
  // What is settled of a boot, pending parcels not counted.
  virtual AckState ack_state(const std::string& device, uint64_t boot) = 0;
  // Seqs below will not come (a device's floor_seq).
  virtual void raise_floor(const std::string& device, uint64_t boot, uint64_t floor_seq) = 0;

  // What is known of a stream; nothing of one that was never heard of, and not of what is under way. They may read the
  // index.
  virtual std::optional<Declared> declared(const std::string& device, uint64_t boot, uint32_t ref) = 0;
  virtual RunSet coverage(const std::string& device, uint64_t boot, uint32_t ref) = 0;  // deleted points, too
  // The clock segment of a boot, as far as it was told; of others nobody knows more than that times are UTC.
  virtual std::optional<ClockView> clock(const std::string& device, uint64_t boot, uint32_t segment) = 0;

  virtual bool ready() const = 0;  // the index is complete
  virtual bool full() const = 0;   // below the watermark
  virtual std::vector<DeviceTotals> devices() = 0;
  virtual const StoreCounters& counters() const = 0;

  // Background work; the node calls them, tests call them at will. Each does a bounded slice and says whether there
  // is more to do at once. Work that waits for the disk goes on by itself when the disk answers.
  virtual bool merge_slice() = 0;
  virtual bool retention_slice() = 0;

  // Each metric's name once, with what its newest declaration says. Nothing while the index is being computed.
  virtual void each_metric(
      const std::function<void(const std::string& name, Kind kind, const std::string& unit)>& visit) = 0;

  // query::SeriesSource: labels are the declaration's plus instance=<device> and site=<site>.
};

}  // namespace lambda::gateway
