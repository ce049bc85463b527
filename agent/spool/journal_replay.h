// Reads the journals that earlier starts left and hands over the points that are in no parcel yet, piece by piece, so
// that memory stays bounded however long the journals are. Rules: proto/spool.md. Never writes.
//
// What it relies on: files of a boot in the order of their numbers; a point below its series' `covered` is in a synced
// parcel (unless a pending gap, reason CORRUPT, says that it was lost there); a point at or above the first ordinal of
// any later file of its boot is void. So reading the same files again after a crash gives what is still missing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/spool/gap_set.h"
#include "agent/spool/journal_format.h"
#include "base/env/disk.h"
#include "base/log.h"

namespace lambda::agent {

struct JournalListing {
  std::vector<JournalFile> files;    // by number
  std::vector<uint64_t> empty;       // no whole JournalOpen in it: nothing was made
  std::vector<uint64_t> bad;         // not readable as a journal, though it is no torn beginning
  std::vector<std::string> foreign;  // of a higher version: left alone
  uint64_t number_max = 0;           // over all names, of kept and bad ones too
};
Result<JournalListing> list_journals(Disk& disk, const std::string& dir);

// What a file says of requests whose points are made, as far as it can be read without a doubt: behind damage a note
// may stand for points that were lost with it. Nothing when there is no such file.
std::vector<RequestNote> read_requests(Disk& disk, const std::string& path);

// Consecutive points of one series.
struct PointRun {
  uint32_t ref = 0;
  uint32_t clock = 0;
  uint64_t first_ordinal = 0;
  std::vector<Point> points;
};

struct ReplayPiece {
  std::vector<PointRun> runs;
  std::vector<Gap> gaps;                // lost with damaged or missing files
  std::vector<uint64_t> files_done;     // may be released once the runs and gaps are in synced parcels
  std::vector<uint64_t> files_damaged;  // among them those that are to be quarantined
  uint64_t points = 0;
  bool last = false;
};

class JournalReplay {
 public:
  // `files` are all of one boot, by number; their first records are read here. `table` is the boot's; its `covered` and
  // `pending` say what is in parcels. All must outlive this, and `covered` must have been raised for a piece before the
  // next one is asked for.
  JournalReplay(Disk& disk, Log& log, std::string dir, std::vector<JournalFile> files, SeriesTable& table,
                const GapSet& pending, GapReason missing_reason, uint64_t points_max = 64 * 1024);

  ReplayPiece next();
  uint64_t files_damaged() const { return files_damaged_; }

 private:
  void begin_file(ReplayPiece& piece);
  bool read_file(ReplayPiece& piece);
  void take(ReplayPiece& piece, uint32_t ref, uint64_t ordinal, Point point, uint32_t clock);
  void reach(uint32_t ref);
  void lost_up_to(ReplayPiece& piece, uint32_t ref, uint64_t ordinal);

  Disk& disk_;
  Log& log_;
  const std::string dir_;
  const std::vector<JournalFile> files_;
  std::vector<std::optional<JournalStart>> starts_;  // of each file; none: it cannot be known
  SeriesTable& table_;
  const GapSet& pending_;
  const GapReason missing_reason_;
  const uint64_t points_max_;

  size_t at_ = 0;         // index of the file being read
  uint64_t offset_ = 0;   // 0: not begun
  bool damaged_ = false;  // the file being read
  std::unique_ptr<JournalDecoder> decoder_;
  std::vector<uint64_t> void_from_;  // by ref, for the file being read
  bool void_beyond_ = false;         // refs past void_from_ are void from 0
  std::vector<uint64_t> reached_;    // by ref: ordinals below were handed over, in parcels before, or named
  std::vector<uint32_t> open_run_;   // by ref: index + 1 into the piece's runs
  uint64_t files_damaged_ = 0;
};

}  // namespace lambda::agent
