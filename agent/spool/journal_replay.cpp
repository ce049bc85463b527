#include "agent/spool/journal_replay.h"

#include <algorithm>
#include <utility>

#include "base/record/record.h"

namespace lambda::agent {

namespace {

// For a file whose JournalOpen cannot be read: the first mark names the boot, and as a rule it stands before all rows.
// If not, where the file begins is not known: the rows before that mark may stand in later files again.
Status start_by_mark(Disk& disk, const std::string& path, JournalStart* start) {
  Status found = fail(ErrorCode::kCorrupt, path + ": neither a JournalOpen nor a mark");
  const auto scanned = scan_records(
      disk, path, 0,
      [&](const RecordView& record) {
        if (record.type != kRecordMark) return true;
        auto mark = parse_mark(record.body);
        if (!mark) return true;
        start->head = {mark->boot, 0, 0, mark->clock};
        start->ordinals_known = mark->rows == 0;
        if (start->ordinals_known) start->ordinals = std::move(mark->ordinals);
        found = {};
        return false;
      },
      HeaderRule::kMayBeDamaged);
  if (!scanned) return tl::unexpected(scanned.error());
  return found;
}

// `opened` says whether `start` is known; the result, what is wrong with the file.
Result<ScanResult> read_start(Disk& disk, const std::string& path, JournalStart* start, Status* opened) {
  *opened = fail(ErrorCode::kNotFound, "no record");
  auto scanned = scan_records(
      disk, path, 0,
      [&](const RecordView& record) {
        if (record.offset != kFileHeaderBytes || record.type != kRecordJournalOpen) {
          *opened = fail(ErrorCode::kCorrupt, "the first record is not a JournalOpen");
        } else if (auto parsed = parse_journal_open(record.body)) {
          *start = std::move(*parsed);
          *opened = {};
        } else {
          *opened = tl::unexpected(parsed.error());
        }
        return false;
      },
      HeaderRule::kMayBeDamaged);
  if (scanned && !*opened && opened->error().code == ErrorCode::kCorrupt) *opened = start_by_mark(disk, path, start);
  return scanned;
}

}  // namespace

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
    JournalStart start;
    Status opened;
    const auto scanned = read_start(disk, dir + "/" + entry.name, &start, &opened);
    if (opened && scanned) {
      listing.files.push_back({*number, entry.bytes, start.head});
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

std::vector<RequestNote> read_requests(Disk& disk, const std::string& path) {
  std::vector<RequestNote> notes;
  uint64_t expected = kFileHeaderBytes;
  (void)scan_records(
      disk, path, 0,
      [&](const RecordView& record) {
        if (record.offset != expected) return false;
        expected += kRecordHeadBytes + record.body.size();
        if (record.type != kRecordRequests) return true;
        const auto some = parse_requests(record.body);
        if (some) notes.insert(notes.end(), some->begin(), some->end());
        return some.has_value();
      },
      HeaderRule::kMustBeGood);
  return notes;
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
  for (const JournalFile& file : files_) {
    Status opened;
    JournalStart start;
    const auto scanned = read_start(disk_, dir_ + "/" + numbered_name("journal-", file.number), &start, &opened);
    const bool known = scanned && opened && start.ordinals_known;
    starts_.push_back(known ? std::optional(std::move(start)) : std::nullopt);
  }
}

void JournalReplay::reach(uint32_t ref) {
  while (reached_.size() <= ref) {
    const auto next = static_cast<uint32_t>(reached_.size());
    reached_.push_back(next < table_.size() ? table_.at(next).covered : 0);
  }
}

void JournalReplay::begin_file(ReplayPiece& piece) {
  decoder_ = std::make_unique<JournalDecoder>(table_);
  damaged_ = false;
  // The least ordinal at which any later file goes on; a series that a later file does not list begins at 0 there. A
  // file that was there when they were listed and cannot be read any more says nothing.
  void_from_.clear();
  void_beyond_ = false;
  for (size_t later = at_ + 1; later < files_.size(); ++later) {
    if (!starts_[later]) continue;
    std::vector<uint64_t> starts;
    for (const auto& [ref, ordinal] : starts_[later]->ordinals) {
      if (ref >= (1u << 20)) continue;
      if (ref >= starts.size()) starts.resize(ref + 1, 0);
      starts[ref] = ordinal;
    }
    if (!std::exchange(void_beyond_, true)) {
      void_from_ = std::move(starts);
      continue;
    }
    void_from_.resize(std::min(void_from_.size(), starts.size()));
    for (size_t ref = 0; ref < void_from_.size(); ++ref) void_from_[ref] = std::min(void_from_[ref], starts[ref]);
  }
  // What is missing before this file was lost with others.
  if (!starts_[at_]) return;
  for (const auto& [ref, ordinal] : starts_[at_]->ordinals) lost_up_to(piece, ref, ordinal);
}

void JournalReplay::take(ReplayPiece& piece, uint32_t ref, uint64_t ordinal, Point point, uint32_t clock) {
  if (void_beyond_ && (ref >= void_from_.size() || ordinal >= void_from_[ref])) return;
  reach(ref);
  if (ordinal < reached_[ref]) {
    if (ordinal >= table_.at(ref).covered || !pending_.contains(ref, ordinal, GapReason::kCorrupt)) return;
  } else {
    reached_[ref] = ordinal + 1;
  }
  if (ref >= open_run_.size()) open_run_.resize(ref + 1, 0);
  if (open_run_[ref] > 0) {
    PointRun& run = piece.runs[open_run_[ref] - 1];
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
  bool full = false;
  uint64_t expected = offset_ == 0 ? kFileHeaderBytes : offset_;
  const auto damage = [&](uint64_t offset, const std::string& what) {
    log_.error("journal_damaged", {{"file", path}, {"offset", offset}, {"what", what}});
    damaged_ = true;
  };
  const auto visit = [&](const RecordView& record) {
    if (record.offset != expected) {
      damage(expected, "a record cannot be read");
      decoder_->lose();
    }
    const auto status = decoder_->apply(
        record.type, record.body, [&](uint32_t ref, uint64_t ordinal, int64_t time_ms, uint64_t bits, uint32_t clock) {
          take(piece, ref, ordinal, {time_ms, bits}, clock);
        });
    if (!status) damage(record.offset, status.error().text);
    expected = record.offset + kRecordHeadBytes + record.body.size();
    full = piece.points >= points_max_;
    return !full;
  };
  const auto scanned = scan_records(disk_, path, offset_, visit, HeaderRule::kMayBeDamaged);
  if (!scanned) {
    damage(expected, scanned.error().text);
  } else if (full) {
    offset_ = expected;
    return false;
  } else if (!damaged_ && scanned->damage_count > 0) {
    damage(expected, "the file header or the last whole record cannot be read");
  }
  if (damaged_) {
    files_damaged_++;
    piece.files_damaged.push_back(file.number);
  }
  // What is lost here is told by where the next file of the boot goes on. Behind the last one nobody says it: as far as
  // marks and rows that cannot be placed tell.
  if (damaged_ && at_ + 1 == files_.size()) {
    for (uint32_t ref = 0; ref < decoder_->refs(); ++ref) lost_up_to(piece, ref, decoder_->next_ordinal(ref));
  }
  return true;
}

void JournalReplay::lost_up_to(ReplayPiece& piece, uint32_t ref, uint64_t ordinal) {
  if (!table_.reach(ref)) return;
  reach(ref);
  if (ordinal <= reached_[ref]) return;
  piece.gaps.push_back({{ref, reached_[ref], ordinal - reached_[ref]}, missing_reason_});
  reached_[ref] = ordinal;
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
