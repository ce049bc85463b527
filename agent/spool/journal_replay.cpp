#include "agent/spool/journal_replay.h"

#include <algorithm>

#include "base/planted.h"
#include "base/record/record.h"

namespace lambda::agent {

Result<JournalListing> list_journals(Disk& disk, const std::string& dir) {
  auto entries = disk.list(dir);
  if (!entries) return tl::unexpected(entries.error());
  JournalListing listing;
  for (const DirEntry& entry : *entries) {
    for (const char* suffix : {".lam", ".lam.bad"}) {
      for (const char* prefix : {"journal-", "kept-"}) {
        if (auto number = parse_numbered_name(prefix, entry.name, suffix)) {
          listing.number_max = std::max(listing.number_max, *number);
        }
      }
    }
    const auto number = parse_numbered_name("journal-", entry.name);
    if (!number) continue;
    JournalFile file{*number, entry.bytes, {}};
    Status opened = fail(ErrorCode::kNotFound, "no record");
    const auto scanned = scan_records(disk, dir + "/" + entry.name, 0, [&](const RecordView& record) {
      if (record.offset != kFileHeaderBytes || record.type != kRecordJournalOpen) {
        opened = fail(ErrorCode::kCorrupt, "the first record is not a JournalOpen");
      } else if (auto start = parse_journal_open(record.body)) {
        file.start = std::move(*start);
        opened = {};
      } else {
        opened = tl::unexpected(start.error());
      }
      return false;
    });
    if (opened && scanned) {
      listing.files.push_back(std::move(file));
    } else if (!scanned && scanned.error().code == ErrorCode::kUnsupported) {
      listing.foreign.push_back(entry.name);
    } else if (entry.bytes <= kFileHeaderBytes ||
               (scanned && opened.error().code == ErrorCode::kNotFound && scanned->damage_count == 0)) {
      listing.empty.push_back(*number);
    } else {
      listing.bad.push_back(*number);
    }
  }
  return listing;
}

JournalReplay::JournalReplay(Disk& disk, Log& log, std::string dir, std::vector<JournalFile> files, SeriesTable& table,
                             const GapSet& pending, GapReason missing_reason, uint64_t points_max)
    : disk_(disk),
      log_(log),
      dir_(std::move(dir)),
      files_(std::move(files)),
      table_(table),
      pending_(pending),
      missing_reason_(missing_reason),
      points_max_(points_max) {
  for (uint32_t ref = 0; ref < table_.size(); ++ref) reach(ref);
}

void JournalReplay::reach(uint32_t ref) {
  while (reached_.size() <= ref) {
    const auto next = static_cast<uint32_t>(reached_.size());
    reached_.push_back(next < table_.size() ? table_.at(next).covered : 0);
  }
}

void JournalReplay::begin_file(ReplayPiece& piece) {
  decoder_ = std::make_unique<JournalDecoder>(table_);
  // The least ordinal at which any later file goes on; a series that a later file does not list begins at 0 there.
  void_from_.clear();
  void_beyond_ = at_ + 1 < files_.size();
  for (size_t later = at_ + 1; later < files_.size(); ++later) {
    std::vector<uint64_t> starts;
    for (const auto& [ref, ordinal] : files_[later].start.ordinals) {
      if (ref >= (1u << 20)) continue;
      if (ref >= starts.size()) starts.resize(ref + 1, 0);
      starts[ref] = ordinal;
    }
    if (later == at_ + 1) {
      void_from_ = std::move(starts);
      continue;
    }
    void_from_.resize(std::min(void_from_.size(), starts.size()));
    for (size_t ref = 0; ref < void_from_.size(); ++ref) void_from_[ref] = std::min(void_from_[ref], starts[ref]);
  }
  // What is missing before this file was lost with others.
  for (const auto& [ref, ordinal] : files_[at_].start.ordinals) {
    if (!table_.reach(ref)) continue;
    reach(ref);
    if (ordinal <= reached_[ref]) continue;
    piece.gaps.push_back({{ref, reached_[ref], ordinal - reached_[ref]}, missing_reason_});
    reached_[ref] = ordinal;
  }
}

void JournalReplay::take(ReplayPiece& piece, uint32_t ref, uint64_t ordinal, Point point, uint32_t clock) {
  if (void_beyond_ && !planted("journal_believes_failed_rows") &&
      (ref >= void_from_.size() || ordinal >= void_from_[ref]))
    return;
  reach(ref);
  if (ordinal < reached_[ref]) {
    if (ordinal >= table_.at(ref).covered || !pending_.contains(ref, ordinal, GapReason::kCorrupt)) return;
  } else {
    reached_[ref] = ordinal + 1;
  }
  if (ref >= open_run_.size()) open_run_.resize(ref + 1, 0);
  if (open_run_[ref] > 0) {
    PointRun& run = piece.runs[open_run_[ref] - 1];
    if (planted("replay_drops_a_clock_set_back") && point.time_ms < run.points.back().time_ms) return;
    if (run.first_ordinal + run.points.size() == ordinal && run.clock == clock) {
      run.points.push_back(point);
      piece.points++;
      return;
    }
  }
  piece.runs.push_back({ref, clock, ordinal, {point}});
  open_run_[ref] = static_cast<uint32_t>(piece.runs.size());
  piece.points++;
}

// Reads on in the present file. True: it is done with.
bool JournalReplay::read_file(ReplayPiece& piece) {
  const JournalFile& file = files_[at_];
  const std::string path = dir_ + "/" + numbered_name("journal-", file.number);
  bool damaged = false, full = false;
  uint64_t expected = offset_ == 0 ? kFileHeaderBytes : offset_;
  const auto visit = [&](const RecordView& record) {
    if (record.offset != expected) {
      damaged = true;
      return false;
    }
    const auto status = decoder_->apply(
        record.type, record.body, [&](uint32_t ref, uint64_t ordinal, int64_t time_ms, uint64_t bits, uint32_t clock) {
          take(piece, ref, ordinal, {time_ms, bits}, clock);
        });
    if (!status) {
      log_.error("journal_record_wrong", {{"file", path}, {"offset", record.offset}, {"error", status.error().text}});
      damaged = true;
      return false;
    }
    expected = record.offset + kRecordHeadBytes + record.body.size();
    full = piece.points >= points_max_;
    return !full;
  };
  const auto scanned = scan_records(disk_, path, offset_, visit);
  if (!scanned) {
    log_.error("journal_unreadable", {{"file", path}, {"error", scanned.error().text}});
    damaged = true;
  } else if (!full && !damaged && scanned->damage_count > 0) {
    damaged = true;  // the last whole record is bad, though not cut short
  }
  if (full) {
    offset_ = expected;
    return false;
  }
  if (damaged) {
    records_damaged_++;
    log_.error("journal_damaged", {{"file", path}, {"offset", expected}});
    piece.files_damaged.push_back(file.number);
  }
  return true;
}

ReplayPiece JournalReplay::next() {
  ReplayPiece piece;
  open_run_.clear();
  while (at_ < files_.size()) {
    if (offset_ == 0) begin_file(piece);
    if (!read_file(piece)) return piece;
    piece.files_done.push_back(files_[at_].number);
    ++at_;
    offset_ = 0;
  }
  piece.last = true;
  return piece;
}

}  // namespace lambda::agent
