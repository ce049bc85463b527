// The spool's reading half: start-up, indices of older files, and what follows from a file about parcels that cannot be
// read.
#include <algorithm>

#include "agent/spool/spool.h"
#include "base/planted.h"
#include "base/record/record.h"
#include "base/record/write_again.h"

namespace lambda::agent {
namespace {

bool before(const uint64_t boot_a, uint64_t seq_a, uint64_t boot_b, uint64_t seq_b) {
  return boot_a != boot_b ? boot_a < boot_b : seq_a < seq_b;
}

}  // namespace

Result<uint64_t> Spool::read_head(uint64_t number, SpoolState* state, Covers* covers) {
  bool whole = false;
  uint64_t expected = kFileHeaderBytes;
  Status wrong;
  const auto scanned = scan_records(env_.disk, path(number), 0, [&](const RecordView& record) {
    if (record.type != kRecordCheckpoint || record.offset != expected) return false;
    if (covers != nullptr) wrong = add_covers(record.body, *covers);
    if (wrong && state != nullptr) {
      auto more = state->apply_checkpoint(record.body);
      if (!more) wrong = tl::unexpected(more.error());
    }
    if (!wrong) return false;
    expected += kRecordHeadBytes + record.body.size();
    const auto more = checkpoint_goes_on(record.body);
    whole = more && !*more;
    return more && *more;
  });
  if (!scanned) return tl::unexpected(scanned.error());
  if (!wrong) return tl::unexpected(wrong.error());
  if (!whole) return fail(ErrorCode::kNotFound, path(number) + ": no whole checkpoint");
  return expected;
}

// ---- Start-up

Status Spool::open() {
  if (auto status = env_.disk.make_dirs(options_.dir); !status) return status;
  auto entries = env_.disk.list(options_.dir);
  if (!entries) return tl::unexpected(entries.error());
  std::vector<uint64_t> numbers;
  for (const DirEntry& entry : *entries) {
    if (const auto number = parse_numbered_name("spool-", entry.name)) {
      numbers.push_back(*number);
      next_number_ = std::max(next_number_, *number + 1);
    } else if (entry.name.ends_with(".bad")) {
      if (const auto bad = parse_numbered_name("spool-", entry.name, ".lam.bad")) {
        next_number_ = std::max(next_number_, *bad + 1);
      }
      bad_files_.emplace_back(entry.name, entry.bytes);
      bad_bytes_ += entry.bytes;
    } else if (entry.name.ends_with(kWriteAgainSuffix)) {
      (void)env_.disk.remove(options_.dir + "/" + entry.name);
    }
  }
  std::sort(numbers.begin(), numbers.end());

  // The newest file with a whole checkpoint. What is newer never had a synced record, unless its head went bad since.
  uint64_t base = 0, after_head = 0;
  size_t at = numbers.size();
  while (at > 0 && base == 0) {
    SpoolState state(options_.series_max);
    if (const auto head = read_head(numbers[at - 1], &state, nullptr)) {
      state_ = std::move(state);
      base = numbers[at - 1];
      after_head = *head;
    } else {
      --at;
    }
  }
  if (base != 0) {
    const bool newest = base == numbers.back();
    SpoolFile file{base, env_.disk.size(path(base)).value_or(0), 0, {}, 0};
    read_tail(file, after_head, newest);
    // Only now: a file that the tail's records call finished may be gone, and nothing is missing then.
    match_files(numbers, base);
    state_.files().push_back(std::move(file));
  }
  read_headless(numbers, base);
  if (!state_.files().empty()) found_ = state_.files().back().number;
  return {};
}

// Files behind the newest checkpoint, or all files when there is none.
void Spool::read_headless(const std::vector<uint64_t>& numbers, uint64_t base) {
  for (const uint64_t number : numbers) {
    if (number <= base) continue;
    const std::string name = numbered_name("spool-", number);
    SpoolFile file{number, env_.disk.size(path(number)).value_or(0), 0, {}, 0};
    uint64_t records = 0;
    const auto scanned = scan_records(env_.disk, path(number), 0, [&](const RecordView&) {
      records++;
      return false;
    });
    if (!scanned && scanned.error().code == ErrorCode::kUnsupported) {
      env_.log.error("spool_file_left_alone", {{"file", name}, {"error", scanned.error().text}});
      continue;
    }
    if (records == 0 && number == numbers.back()) {
      // Begun, and the process or the power ended before its checkpoint was synced.
      (void)env_.disk.remove(path(number));
      continue;
    }
    if (!scanned || records == 0) {
      env_.log.error("spool_file_unreadable", {{"file", name}});
      quarantine(name);
      continue;
    }
    counters_.records_damaged++;
    env_.log.error("spool_checkpoint_damaged", {{"file", name}});
    damaged_.push_back(number);
    read_tail(file, 0, number == numbers.back());
    state_.files().push_back(std::move(file));
  }
}

void Spool::match_files(const std::vector<uint64_t>& numbers, uint64_t base) {
  auto& files = state_.files();
  for (const uint64_t number : numbers) {
    if (number >= base) continue;
    const bool listed =
        std::any_of(files.begin(), files.end(), [&](const auto& file) { return file.number == number; });
    if (!listed) (void)env_.disk.remove(path(number));  // finished before the checkpoint, removed too late
  }
  for (auto file = files.begin(); file != files.end();) {
    if (std::binary_search(numbers.begin(), numbers.end(), file->number)) {
      ++file;
      continue;
    }
    if (!state_.finished(*file)) {
      counters_.files_missing++;
      env_.log.error("spool_file_missing", {{"file", path(file->number)}, {"points", file->points_left}});
      for (const FileRun& run : file->runs) {
        if (Boot* boot = state_.find(run.boot)) boot->gone.add(run.first_seq, run.last_seq);
      }
      counters_.points_corrupt += file->points_left;
    }
    file = files.erase(file);
  }
}

void Spool::read_tail(SpoolFile& file, uint64_t from, bool newest) {
  struct Left {
    uint64_t boot, seq, points;
  };
  std::vector<Left> parcels;
  const auto scanned = scan_records(env_.disk, path(file.number), from, [&](const RecordView& record) {
    Status status;
    if (record.type == kRecordSpooledParcel) {
      const auto view = parse_spooled(record.body);
      const auto facts = view ? parse_parcel(view->parcel) : tl::unexpected(view.error());
      status = facts ? state_.apply_parcel(*facts, view->digest, file) : Status(tl::unexpected(facts.error()));
      if (status) parcels.push_back({facts->boot, facts->seq, facts->points});
    } else if (record.type != kRecordCheckpoint) {
      status = state_.apply(record.type, record.body);
    }
    if (!status) {
      counters_.records_damaged++;
      env_.log.error("spool_record_wrong",
                     {{"file", path(file.number)}, {"offset", record.offset}, {"error", status.error().text}});
    }
    return true;
  });
  file.points_left = 0;
  for (const Left& left : parcels) {
    const Boot* boot = state_.find(left.boot);
    if (boot != nullptr && !boot->gone.contains(left.seq)) file.points_left += left.points;
  }
  if (!scanned) {
    env_.log.error("spool_file_unreadable", {{"file", path(file.number)}, {"error", scanned.error().text}});
    damaged_.push_back(file.number);
    return;
  }
  for (const RecordDamage& damage : scanned->damage) {
    env_.log.error(
        "spool_record_damaged",
        {{"file", path(file.number)}, {"offset", damage.offset}, {"bytes", damage.bytes}, {"what", damage.what}});
  }
  counters_.records_damaged += scanned->damage_count;
  if (scanned->damage_count > 0) damaged_.push_back(file.number);
  if (newest && scanned->torn_tail) {
    env_.log.info("spool_tail_cut", {{"file", path(file.number)}, {"offset", scanned->good_end}});
    if (auto status = env_.disk.truncate(path(file.number), scanned->good_end); !status) {
      env_.log.warn("spool_tail_cut_failed", {{"error", status.error().text}});
    }
  }
  file.bytes = scanned->good_end;
}

// ---- Reading parcels

SpoolFile* Spool::file_of(uint64_t boot, uint64_t seq) {
  const auto holds = [&](const SpoolFile& file) {
    return std::any_of(file.runs.begin(), file.runs.end(), [&](const FileRun& run) {
      return run.boot == boot && seq >= run.first_seq && seq <= run.last_seq;
    });
  };
  if (holds(present_)) return &present_;
  for (SpoolFile& file : state_.files()) {
    if (holds(file)) return &file;
  }
  return nullptr;
}

Spool::Index* Spool::index_of(SpoolFile& file) {
  if (file.number == present_.number) return &present_index_;
  for (auto index = indices_.begin(); index != indices_.end(); ++index) {
    if (index->file != file.number) continue;
    indices_.splice(indices_.begin(), indices_, index);
    return &indices_.front();
  }
  Index index{file.number, {}};
  const auto scanned = scan_records(env_.disk, path(file.number), 0, [&](const RecordView& record) {
    if (record.offset >= file.bytes) return false;
    if (record.type != kRecordSpooledParcel) return true;
    if (const auto view = parse_spooled(record.body)) {
      index.entries.push_back({view->boot, view->seq, record.offset, static_cast<uint32_t>(view->parcel.size()),
                               static_cast<uint32_t>(view->points)});
    }
    return true;
  });
  if (!scanned) {
    env_.log.error("spool_file_unreadable", {{"file", path(file.number)}, {"error", scanned.error().text}});
  }
  std::sort(index.entries.begin(), index.entries.end(),
            [](const Entry& a, const Entry& b) { return before(a.boot, a.seq, b.boot, b.seq); });
  indices_.push_front(std::move(index));
  while (indices_.size() > options_.indices_max) indices_.pop_back();
  return &indices_.front();
}

Spool::Entry* Spool::find(uint64_t boot, uint64_t seq, SpoolFile** file) {
  *file = file_of(boot, seq);
  if (*file == nullptr) return nullptr;
  auto& entries = index_of(**file)->entries;
  if ((*file)->number == present_.number) {
    // In the order of writing: seqs of one boot ascend.
    const auto found = std::find_if(entries.rbegin(), entries.rend(),
                                    [&](const Entry& entry) { return entry.boot == boot && entry.seq == seq; });
    return found == entries.rend() ? nullptr : &*found;
  }
  const auto found = std::lower_bound(entries.begin(), entries.end(), seq, [&](const Entry& entry, uint64_t wanted) {
    return before(entry.boot, entry.seq, boot, wanted);
  });
  return found == entries.end() || found->boot != boot || found->seq != seq ? nullptr : &*found;
}

// The points of a parcel that is about to be settled or given up: they are no longer left in its file.
uint64_t Spool::take_points(uint64_t boot, uint64_t seq) {
  SpoolFile* file = file_of(boot, seq);
  if (file == nullptr) return 0;
  const bool loaded =
      file->number == present_.number ||
      std::any_of(indices_.begin(), indices_.end(), [&](auto& index) { return index.file == file->number; });
  if (!loaded) return 0;  // counted with the file when it goes
  const Entry* entry = find(boot, seq, &file);
  if (entry == nullptr) return 0;
  const uint64_t points = std::min<uint64_t>(entry->points, file->points_left);
  file->points_left -= points;
  return points;
}

bool Spool::next(uint64_t id, uint64_t after_seq, uint64_t before_seq, uint64_t* seq, size_t* up_bytes) {
  Boot* boot = state_.find(id);
  if (boot == nullptr) return false;
  while (true) {
    *seq = boot->gone.next_missing(after_seq + 1);
    if (*seq >= std::min(before_seq, boot->next_seq)) return false;
    SpoolFile* file = nullptr;
    const Entry* entry = find(id, *seq, &file);
    if (file != nullptr && file->number == found_ && !planted("spool_offers_unsynced")) return false;
    if (entry != nullptr) {
      size_t head = 1;
      for (uint64_t rest = entry->parcel_bytes; rest > 0; rest >>= 7) head++;
      *up_bytes = entry->parcel_bytes + head;
      return true;
    }
    unreadable(file, {id, *seq, *seq});
    after_seq = *seq;
  }
}

std::span<const uint8_t> Spool::read(uint64_t boot, uint64_t seq) {
  up_.clear();
  if (up_.capacity() > (512u << 10)) up_.shrink_to_fit();
  SpoolFile* file = nullptr;
  const Entry* entry = find(boot, seq, &file);
  if (entry != nullptr) {
    const auto type = read_record(env_.disk, path(file->number), entry->offset, body_);
    const auto view = type ? parse_spooled(body_) : tl::unexpected(type.error());
    if (view && view->boot == boot && view->seq == seq) {
      append_up(up_, view->parcel);
      return up_;
    }
    env_.log.error("spool_parcel_unreadable",
                   {{"file", path(file->number)}, {"offset", entry->offset}, {"boot", boot}, {"seq", seq}});
    counters_.records_damaged++;
  }
  unreadable(file, {boot, seq, seq});
  return {};
}

// Gives up the parcels of a file that cannot be read any more.
void Spool::unreadable(SpoolFile* file, const FileRun& seqs) {
  if (file == nullptr) {
    env_.log.error("spool_parcel_missing", {{"boot", seqs.boot}, {"seq", seqs.first_seq}});
    give_up({seqs}, {}, {});
    return;
  }
  const Content content = content_of(*file, nullptr);
  const bool lost = std::any_of(content.seqs.begin(), content.seqs.end(), [&](const FileRun& run) {
    return run.boot == seqs.boot && run.first_seq == seqs.first_seq;
  });
  if (!lost) {
    // It is there after all: what looked for it was wrong, and nothing may be given up for that.
    env_.log.error("spool_index_wrong", {{"file", path(file->number)}, {"boot", seqs.boot}, {"seq", seqs.first_seq}});
    indices_.remove_if([&](const Index& index) { return index.file == file->number; });
    return;
  }
  if (std::find(damaged_.begin(), damaged_.end(), file->number) == damaged_.end()) damaged_.push_back(file->number);
  uint64_t points = 0;
  for (const auto& [boot, gap] : content.lost) points += gap.run.count;
  counters_.points_corrupt += points;
  env_.log.error("spool_parcels_lost", {{"file", path(file->number)}, {"points", points}});
  give_up(content.seqs, content.lost, {});
}

Spool::Content Spool::content_of(const SpoolFile& file, const GapReason* reason) {
  Content content;
  Covers at;
  const bool headed = read_head(file.number, nullptr, &at).has_value();
  const auto gone = [&](uint64_t boot, uint64_t seq) {
    const Boot* state = state_.find(boot);
    return state == nullptr || state->gone.contains(seq);
  };
  struct Seen {
    SeqSet seqs;
    std::vector<Run> holes;  // ordinals that no readable parcel of this file has, though later ones go on behind them
  };
  std::map<uint64_t, Seen> seen;
  const auto next_of = [&](uint64_t boot) -> std::vector<uint64_t>& {
    for (auto& of : at.boots) {
      if (of.boot == boot) return of.next;
    }
    at.boots.push_back({boot, {}});
    return at.boots.back().next;
  };
  const auto walk = [&](uint64_t boot, const Run& run) {
    auto& next = next_of(boot);
    if (run.ref >= next.size()) next.resize(run.ref + 1, 0);
    if (headed && run.first > next[run.ref]) {
      seen[boot].holes.push_back({run.ref, next[run.ref], run.first - next[run.ref]});
    }
    next[run.ref] = std::max(next[run.ref], run.first + run.count);
  };
  (void)scan_records(env_.disk, path(file.number), 0, [&](const RecordView& record) {
    if (record.offset >= file.bytes) return false;
    if (record.type != kRecordSpooledParcel) return true;
    const auto view = parse_spooled(record.body);
    const auto facts = view ? parse_parcel(view->parcel) : tl::unexpected(view.error());
    if (!facts) return true;
    seen[facts->boot].seqs.add(facts->seq);
    for (const Run& run : facts->runs) walk(facts->boot, run);
    for (const Gap& gap : facts->gaps) walk(facts->boot, gap.run);
    if (reason == nullptr || gone(facts->boot, facts->seq)) return true;
    for (const Run& run : facts->runs) content.lost.push_back({facts->boot, {run, *reason}});
    for (const Gap& gap : facts->gaps) content.lost.push_back({facts->boot, gap});
    return true;
  });

  // Where the series went on in the next file.
  Covers after;
  bool bounded = false;
  const auto& files = state_.files();
  auto later = std::find_if(files.begin(), files.end(), [&](const auto& other) { return other.number > file.number; });
  if (later != files.end()) bounded = read_head(later->number, nullptr, &after).has_value();
  for (const FileRun& run : file.runs) {
    const Boot* boot = state_.find(run.boot);
    if (boot == nullptr) continue;
    bool lost = false;
    for (uint64_t seq = boot->gone.next_missing(run.first_seq); seq <= run.last_seq;
         seq = boot->gone.next_missing(seq + 1)) {
      const bool readable = seen[run.boot].seqs.contains(seq);
      lost = lost || !readable;
      if (!readable || reason != nullptr) content.seqs.push_back({run.boot, seq, seq});
    }
    if (!lost || !headed) continue;
    const Covers::OfBoot* end = after.find(run.boot);
    for (uint32_t ref = 0; ref < boot->series->size(); ++ref) {
      const uint64_t to =
          bounded ? (end != nullptr && ref < end->next.size() ? end->next[ref] : 0) : boot->series->at(ref).covered;
      if (to > 0) walk(run.boot, {ref, to, 0});
    }
    for (const Run& hole : seen[run.boot].holes) content.lost.push_back({run.boot, {hole, GapReason::kCorrupt}});
  }
  return content;
}

}  // namespace lambda::agent
