// A store that is not running, looked at and mended: what `lambda store check|repair|export` does. Reads the segments
// with nothing but their format; the index is compared with them, never believed.
//
// All calls act at once and take the store's lock: kDenied when a program has the store open.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"
#include "query/series_source.h"

namespace lambda::gateway {

struct DamageFound {
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string what;
};

struct DoubleFound {  // an identity that stands in two places
  std::string device;
  uint64_t boot = 0;
  uint32_t ref = 0;
  uint64_t first_ordinal = 0;
  uint64_t count = 0;
  std::string file;  // of the second one
};

enum class IndexState { kMissing, kAgrees, kBehind, kDisagrees, kUnusable };
const char* index_state_name(IndexState state);

struct StoreReport {
  uint64_t segments = 0, segment_bytes = 0;
  uint64_t segments_replaced = 0;    // waiting to be deleted: a merged segment has their content
  uint64_t segments_unfinished = 0;  // merges that did not end; the next start deletes them
  uint64_t segments_refused = 0;     // of a higher version, left alone
  uint64_t records = 0, parcels = 0, hellos = 0, merged_blocks = 0, blocks = 0, devices = 0;
  uint64_t points = 0;          // identities stored, each once
  uint64_t retired_points = 0;  // deleted by retention
  uint64_t gap_points = 0;      // declared as lost by devices and not stored
  uint64_t torn_bytes = 0;      // at the end of the newest file: never acknowledged
  uint64_t damage_count = 0;
  std::vector<DamageFound> damage;  // at most 256
  uint64_t doubled_points = 0;
  std::vector<DoubleFound> doubled;  // at most 256
  IndexState index = IndexState::kMissing;
  std::string index_text;  // where it disagrees
  // Nothing is wrong. An index that is missing or behind is no fault: the next start computes it.
  bool ok() const {
    return damage_count == 0 && doubled_points == 0 && segments_refused == 0 && index != IndexState::kDisagrees &&
           index != IndexState::kUnusable;
  }
};

// Reads every record and decodes every block. `progress` (may be empty) is called now and then with bytes read and all.
Result<StoreReport> check_store(Disk& disk, const std::string& directory,
                                const std::function<void(uint64_t, uint64_t)>& progress = {});

struct RepairReport {
  uint64_t torn_bytes_cut = 0;
  uint64_t records_lost = 0;             // damaged ones
  std::vector<std::string> quarantined;  // files "seg-<number>.lam.damaged": the damaged originals
  std::vector<std::string> deleted;      // unfinished merges and what finished ones replaced
  bool index_dropped = false;
};

// Cuts a torn tail; keeps a copy of each damaged segment beside it as ".damaged" and leaves the good records in its
// place; drops the index, which the next start computes again. May be repeated; at no moment is a good record in no
// file or a point in two. Holds one segment in memory.
Result<RepairReport> repair_store(Disk& disk, const std::string& directory);

enum class ExportFormat { kJsonLines, kCsv };

// Writes the points of the series that match, each series ascending in time.
// JSON lines: {"labels":{...},"time_ms":...,"value":...}; CSV: series,time_ms,value with a head line.
// NaN and infinities are the words NaN, +Inf and -Inf (in JSON as strings). `sink` gets whole lines; an error ends it.
// Returns the number of points; warnings of the source are added to `warnings`.
Result<uint64_t> export_points(query::SeriesSource& source, const std::vector<query::Matcher>& matchers,
                               int64_t from_ms, int64_t to_ms, ExportFormat format,
                               const std::function<Status(const std::string&)>& sink,
                               std::vector<std::string>* warnings);

}  // namespace lambda::gateway
