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
  const auto scanned = scan_records(
      env_.disk, path(number), 0,
      [&](const RecordView& record) {
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
      },
      HeaderRule::kMayBeDamaged);
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
    for (const uint64_t number : numbers) {
      const auto& files = state_.files();
      const bool listed =
          std::any_of(files.begin(), files.end(), [&](const auto& other) { return other.number == number; });
      // Finished before the checkpoint, and removed too late.
      if (number < base && !listed) (void)env_.disk.remove(path(number));
    }
    state_.files().push_back(std::move(file));
  }
  read_headless(numbers, base);
  // Only now: a file that a later record called finished may be gone, and nothing is missing then.
  match_files(numbers);
  state_.share_names();
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
    const auto scanned = scan_records(
        env_.disk, path(number), 0,
        [&](const RecordView&) {
          records++;
          return false;
        },
        HeaderRule::kMayBeDamaged);
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

// Files that the checkpoint names and that are not there.
void Spool::match_files(const std::vector<uint64_t>& numbers) {
  auto& files = state_.files();
  std::vector<SpoolFile> missing;
  std::erase_if(files, [&](const SpoolFile& file) {
    if (std::binary_search(numbers.begin(), numbers.end(), file.number)) return false;
    if (!state_.finished(file)) missing.push_back(file);
    return true;
  });
  for (size_t begin = 0, end = 0; begin < missing.size(); begin = end) {
    // Neighbours together: nothing between them says what was in which.
    std::set<uint64_t> boots;
    bool reaches_back = false;
    const auto after =
        std::find_if(files.begin(), files.end(), [&](const auto& file) { return file.number > missing[begin].number; });
    for (; end < missing.size() && (after == files.end() || missing[end].number < after->number); ++end) {
      for (const FileRun& run : missing[end].runs) boots.insert(run.boot);
      reaches_back = reaches_back || missing[end].reaches_back;
    }
    for (const auto& [id, gaps] : lost_in(missing[begin].number, missing[end - 1].number, boots, reaches_back)) {
      if (planted("spool_forgets_vanished_files")) continue;
      for (const Gap& gap : gaps.all()) state_.find(id)->pending.add(gap);
    }
  }
  // The file that this start begins says all of it at once.
  for (const SpoolFile& file : missing) {
    counters_.files_missing++;
    counters_.points_corrupt += file.points_left;
    env_.log.error("spool_file_missing", {{"file", path(file.number)}, {"points", file.points_left}});
    for (const FileRun& run : file.runs) {
      Boot* boot = state_.find(run.boot);
      if (boot == nullptr) continue;
      boot->gone.add(run.first_seq, std::min(run.last_seq, boot->next_seq - 1));
    }
  }
}

void Spool::read_tail(SpoolFile& file, uint64_t from, bool newest) {
  struct Left {
    uint64_t boot, seq, points;
  };
  std::vector<Left> parcels;
  const auto scanned = scan_records(
      env_.disk, path(file.number), from,
      [&](const RecordView& record) {
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
      },
      HeaderRule::kMayBeDamaged);
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
  const auto scanned = scan_records(
      env_.disk, path(file.number), 0,
      [&](const RecordView& record) {
        if (record.offset >= file.bytes) return false;
        if (record.type != kRecordSpooledParcel) return true;
        if (const auto view = parse_spooled(record.body)) {
          index.entries.push_back({view->boot, view->seq, record.offset, static_cast<uint32_t>(view->parcel.size()),
                                   static_cast<uint32_t>(view->points)});
        }
        return true;
      },
      HeaderRule::kMayBeDamaged);
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
    if (file != nullptr && file->number == found_) return false;
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
  // Given up while the uplink had it in flight: its points were named then.
  if (const Boot* known = state_.find(boot); known == nullptr || known->gone.contains(seq)) return {};
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
    // No file has it, and so nothing says what was in it: all of its boot that no other parcel has is named.
    std::vector<std::pair<uint64_t, Gap>> lost;
    for (const auto& [id, gaps] : lost_in(0, UINT64_MAX, {seqs.boot}, true)) {
      for (const Gap& gap : gaps.all()) lost.push_back({id, gap});
    }
    give_up({seqs}, lost, {});
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
  points = std::min(points, file->points_left);  // a file that reaches back names what a gateway has, too
  counters_.points_corrupt += points;
  env_.log.error("spool_parcels_lost", {{"file", path(file->number)}, {"points", points}});
  give_up(content.seqs, content.lost, {});
}

Spool::Content Spool::content_of(const SpoolFile& file, const GapReason* reason) {
  Content content;
  std::map<uint64_t, SeqSet> readable;
  (void)scan(file, [&](const SpooledView& view, const ParcelFacts& facts) {
    readable[view.boot].add(view.seq);
    const Boot* boot = state_.find(view.boot);
    if (reason == nullptr || boot == nullptr || boot->gone.contains(view.seq)) return;
    for (const Run& run : facts.runs) content.lost.push_back({view.boot, {run, *reason}});
    for (const Gap& gap : facts.gaps) content.lost.push_back({view.boot, gap});
  });
  std::set<uint64_t> torn;  // boots with parcels that cannot be read
  for (const FileRun& run : file.runs) {
    const Boot* boot = state_.find(run.boot);
    if (boot == nullptr) continue;
    for (uint64_t seq = boot->gone.next_missing(run.first_seq); seq <= run.last_seq;
         seq = boot->gone.next_missing(seq + 1)) {
      const bool there = readable[run.boot].contains(seq);
      if (!there) torn.insert(run.boot);
      if (!there || reason != nullptr) content.seqs.push_back({run.boot, seq, seq});
    }
  }
  if (torn.empty()) return content;
  for (const auto& [id, gaps] : lost_in(file.number, file.number, torn, file.reaches_back)) {
    for (const Gap& gap : gaps.all()) content.lost.push_back({id, gap});
  }
  return content;
}

Status Spool::scan(const SpoolFile& file, const std::function<void(const SpooledView&, const ParcelFacts&)>& visit) {
  const auto scanned = scan_records(
      env_.disk, path(file.number), 0,
      [&](const RecordView& record) {
        if (record.offset >= file.bytes) return false;
        if (record.type != kRecordSpooledParcel) return true;
        const auto view = parse_spooled(record.body);
        if (!view) return true;
        if (const auto facts = parse_parcel(view->parcel)) visit(*view, *facts);
        return true;
      },
      HeaderRule::kMayBeDamaged);
  if (!scanned) return tl::unexpected(scanned.error());
  return {};
}

std::map<uint64_t, GapSet> Spool::lost_in(uint64_t first, uint64_t last, const std::set<uint64_t>& boots,
                                          bool reaches_back) {
  std::vector<const SpoolFile*> files;
  for (const SpoolFile& file : state_.files()) files.push_back(&file);
  if (present_.number != 0) files.push_back(&present_);

  // From the last checkpoint before to the first one after; without one, all that the boot has.
  Covers low, high;
  size_t from = 0, to = files.size();
  bool bounded = false;
  for (size_t i = files.size(); i-- > 0 && !reaches_back;) {
    Covers found;
    if (files[i]->number > first || !read_head(files[i]->number, nullptr, &found)) continue;
    low = std::move(found);
    from = i;
    break;
  }
  for (size_t i = 0; i < files.size() && !bounded; ++i) {
    Covers found;
    if (files[i]->number <= last || !read_head(files[i]->number, nullptr, &found)) continue;
    high = std::move(found);
    bounded = true;
    if (!reaches_back) to = i;
  }
  const auto at = [](const Covers& covers, uint64_t boot, uint32_t ref) {
    const Covers::OfBoot* of = covers.find(boot);
    return of != nullptr && ref < of->next.size() ? of->next[ref] : 0;
  };
  std::map<uint64_t, GapSet> lost;
  for (const uint64_t id : boots) {
    const Boot* boot = state_.find(id);
    if (boot == nullptr) continue;
    for (uint32_t ref = 0; ref < boot->series->size(); ++ref) {
      const uint64_t begin = at(low, id, ref);
      const uint64_t end = bounded ? at(high, id, ref) : boot->series->at(ref).covered;
      if (end > begin) lost[id].add({{ref, begin, end - begin}, GapReason::kCorrupt});
    }
  }
  for (size_t i = from; i < to; ++i) {
    (void)scan(*files[i], [&](const SpooledView& view, const ParcelFacts& facts) {
      const auto of = lost.find(view.boot);
      // A parcel that was given up may have been named in one that is lost.
      if (of == lost.end() || (reaches_back && state_.find(view.boot)->gone.contains(view.seq))) return;
      for (const Run& run : facts.runs) of->second.subtract(run);
      for (const Gap& gap : facts.gaps) of->second.subtract(gap.run);
    });
  }
  return lost;
}

}  // namespace lambda::agent
