// What the segments hold and the index lacks: found at the start by comparing lengths, read in slices from the loop.
// The same way takes a merged segment into the index when it has been published.
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "base/record/record.h"
#include "base/record/write_again.h"
#include "gateway/store/merge.h"
#include "gateway/store/retention.h"
#include "gateway/store/store_impl.h"

namespace lambda::gateway {
namespace {

constexpr uint64_t kSliceBytes = 1u << 20;
constexpr size_t kProgressFiles = 16;  // between two lines in the log
constexpr int64_t kRetryMs = 1000;

}  // namespace

Status StoreImpl::open_catalog() {
  bool made = false;
  const std::string path = options_.index_in_memory ? std::string() : options_.directory + "/index.db";
  auto catalog = Catalog::open(path, options_.coverage_bytes_max, options_.merge_points_min, &made);
  if (!catalog && !path.empty() && catalog.error().code != ErrorCode::kFull) {
    // It opens and cannot be read: no better than none.
    env_.log.error("index_unusable", {{"error", catalog.error().text}});
    if (auto removed = Index::remove(path); !removed) return removed;
    catalog = Catalog::open(path, options_.coverage_bytes_max, options_.merge_points_min, &made);
  }
  if (!catalog) return tl::unexpected(catalog.error());
  if (catalog_) chain_breaks_before_ += catalog_->chain_breaks();
  catalog_ = std::move(*catalog);
  return {};
}

// Lets go of the database; an empty one in memory stands in, so that there always is one to ask.
Status StoreImpl::close_catalog() {
  bool made = false;
  auto empty = Catalog::open("", options_.coverage_bytes_max, options_.merge_points_min, &made);
  if (!empty) return tl::unexpected(empty.error());
  chain_breaks_before_ += catalog_->chain_breaks();
  catalog_ = std::move(*empty);
  return {};
}

// Opens the index and finds what it lacks. Also after an index error while running.
Status StoreImpl::load() {
  if (auto status = open_catalog(); !status) return status;
  auto files = env_.disk.list(options_.directory);
  if (!files) return tl::unexpected(files.error());
  bool any = false;
  for (const DirEntry& file : *files) any = any || parse_numbered_name(kSegmentPrefix, file.name).has_value();
  if (any && catalog_->segments().empty()) {
    counters_.index_rebuilds++;
    env_.log.warn("index_rebuild", {{"directory", options_.directory}, {"why", "it is missing or was unusable"}});
  }
  if (compare_segments(*files)) return {};

  // Files that the index knows are gone or shorter, and nothing explains it: the segments are the truth, so what was
  // computed from those files must not stay.
  counters_.index_rebuilds++;
  if (auto status = close_catalog(); !status) return status;
  if (!options_.index_in_memory) {
    auto removed = Index::remove(options_.directory + "/index.db");
    if (!removed) return removed;
  }
  if (auto status = open_catalog(); !status) return status;
  if (!compare_segments(*files)) return fail(ErrorCode::kIo, options_.directory + ": segments cannot be read");
  return {};
}

// False: the index knows more than the files hold.
bool StoreImpl::compare_segments(const std::vector<DirEntry>& files) {
  behind_.clear();
  unsynced_.clear();
  when_synced_.clear();
  newest_ = 0;
  FoundSegments found = find_segments(files);
  read_headers(&found);
  if (!index_is_covered(found)) return false;
  queue_catch_up(found);
  return true;
}

// What never held anything is removed.
StoreImpl::FoundSegments StoreImpl::find_segments(const std::vector<DirEntry>& files) {
  FoundSegments found;
  for (const DirEntry& file : files) {
    if (file.name.ends_with(kWriteAgainSuffix)) (void)env_.disk.remove(options_.directory + "/" + file.name);
    const auto number = parse_numbered_name(kSegmentPrefix, file.name);
    if (!number) continue;
    next_number_ = std::max(next_number_, *number + 1);
    if (file.bytes == 0 && *number != writer_.active()) {
      (void)env_.disk.remove(segment_path(options_.directory, *number));  // begun, or cut to nothing
    } else {
      found.bytes[*number] = file.bytes;
    }
  }
  return found;
}

// Leaves in `found` what counts. A merged segment that ends properly speaks for those it replaces, another one is none.
void StoreImpl::read_headers(FoundSegments* found) {
  for (auto at = found->bytes.begin(); at != found->bytes.end();) {
    const uint64_t number = at->first;
    const auto header = read_header(number);
    const auto known = catalog_->segments().find(number);
    const bool dead = header && known != catalog_->segments().end() && known->second.dead;
    if (!header || dead) {
      if (dead) bury(number);
      at = found->bytes.erase(at);
      continue;
    }
    if (header->owner == kOwnerMerged) {
      auto numbers = replaces_of(number, at->second);
      if (!numbers) {
        env_.log.info("merge_unfinished", {{"segment", number}});
        (void)env_.disk.remove(segment_path(options_.directory, number));
        at = found->bytes.erase(at);
        continue;
      }
      found->replaced.insert(numbers->begin(), numbers->end());
      found->replaces[number] = std::move(*numbers);
    }
    if (header->owner == kOwnerArrivals) newest_ = number;
    ++at;
  }
}

// Whether the files hold all that the index has of them. Rows of dead segments whose files are gone go with them.
bool StoreImpl::index_is_covered(const FoundSegments& found) {
  std::vector<uint64_t> gone;
  for (const auto& [number, segment] : catalog_->segments()) {
    next_number_ = std::max(next_number_, number + 1);
    const auto file = found.bytes.find(number);
    if (file != found.bytes.end() && file->second >= segment.indexed_to) continue;
    if (file == found.bytes.end() && segment.dead) {
      gone.push_back(number);
    } else if (found.replaced.count(number) == 0) {
      env_.log.error("segment_missing", {{"segment", number},
                                         {"indexed_bytes", segment.indexed_to},
                                         {"file_bytes", file == found.bytes.end() ? 0 : file->second}});
      return false;
    }
  }
  for (const uint64_t number : gone) {
    if (dying_.count(number) == 0) catalog_->forget_segment(number);
  }
  if (!gone.empty()) drive_drop();
  return true;
}

void StoreImpl::queue_catch_up(const FoundSegments& found) {
  for (const auto& [number, length] : found.bytes) {
    const auto known = catalog_->segments().find(number);
    if (found.replaced.count(number) != 0) {
      // All of it is in the merged one. Rows that still point here go when that one is indexed.
      if (known == catalog_->segments().end()) when_synced_.push_back([this, number = number] { bury(number); });
      continue;
    }
    const auto merged = found.replaces.find(number);
    if (known != catalog_->segments().end() && known->second.indexed_to >= length) {
      catalog_->segment(number).sealed = true;
      if (merged != found.replaces.end()) {
        unsynced_.push_back(number);
        when_synced_.push_back([this, old = merged->second] { end_segments(old); });
      }
      continue;
    }
    CatchUp work;
    work.number = number;
    work.end = length;
    if (merged != found.replaces.end()) {
      work.owner = kOwnerMerged;
      work.replaces = merged->second;
      work.finished = [this, old = merged->second] { end_segments(old); };
    }
    behind_.push_back(std::move(work));
    unsynced_.push_back(number);
  }
}

// The header of a segment, mended when it is damaged; nothing for a file that must be left alone.
Result<FileHeader> StoreImpl::read_header(uint64_t number) {
  const std::string path = segment_path(options_.directory, number);
  std::byte bytes[kFileHeaderBytes];
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto got = env_.disk.read(path, 0, bytes);
    if (!got) return tl::unexpected(got.error());
    auto header = parse_file_header({bytes, *got});
    if (header && header->kind == FileKind::kSegment && header->number == number) return header;
    const bool other = !header && header.error().code == ErrorCode::kUnsupported;
    env_.log.error(
        other ? "segment_left_alone" : "segment_header_damaged",
        {{"file", path}, {"error", header ? std::string("the number is another file's") : header.error().text}});
    if (other) return fail(ErrorCode::kUnsupported, path);
    damaged_records_++;
    if (auto status = mend_header(number); !status) return tl::unexpected(status.error());
  }
  return fail(ErrorCode::kCorrupt, path + ": the header cannot be mended");
}

// Records do not depend on the header: it is written again from the file's name, so that they are not lost with it.
Status StoreImpl::mend_header(uint64_t number) {
  const std::string path = segment_path(options_.directory, number);
  auto bytes = env_.disk.read_all(path, options_.segment_bytes_max + (uint64_t{64} << 20));
  if (!bytes) return tl::unexpected(bytes.error());
  if (bytes->size() <= kFileHeaderBytes) return env_.disk.remove(path);  // it never held anything
  const auto first = static_cast<uint8_t>((*bytes)[kFileHeaderBytes + 2]);
  std::vector<std::byte> mended;
  append_file_header(mended, {FileKind::kSegment, number, 0,
                              first == static_cast<uint8_t>(SegmentRecord::kReplaces) ? kOwnerMerged : kOwnerArrivals});
  const auto* records = reinterpret_cast<const std::byte*>(bytes->data());
  mended.insert(mended.end(), records + kFileHeaderBytes, records + bytes->size());
  return env_.disk.replace(path, mended);
}

// What a merged segment replaces; nothing when it has no End, and so was never in force.
std::optional<std::set<uint64_t>> StoreImpl::replaces_of(uint64_t number, uint64_t bytes) {
  const std::string path = segment_path(options_.directory, number);
  std::vector<std::byte> body;
  if (bytes < kFileHeaderBytes + kEndRecordBytes) return std::nullopt;
  auto type = read_record(env_.disk, path, bytes - kEndRecordBytes, body);
  if (!type || *type != static_cast<uint8_t>(SegmentRecord::kEnd)) return std::nullopt;
  const auto end = parse_end(body);
  if (!end || end->bytes != bytes - kEndRecordBytes) return std::nullopt;
  type = read_record(env_.disk, path, kFileHeaderBytes, body);
  if (!type || *type != static_cast<uint8_t>(SegmentRecord::kReplaces)) {
    // It was in force: the End says so. Whom it replaced is lost with the damage; they are gone already, or their
    // points are told twice and counted once.
    damaged_records_++;
    return std::set<uint64_t>{};
  }
  const auto numbers = parse_replaces(body);
  if (!numbers) return std::set<uint64_t>{};
  return std::set<uint64_t>(numbers->begin(), numbers->end());
}

// What the process before wrote may be in memory and not on the disk. It is synced before anything of it is believed,
// and above all before anything that it replaces is deleted.
void StoreImpl::sync_found() {
  found_ = unsynced_;
  found_synced_ = found_.empty() || planted("store_no_start_sync");
  if (!found_synced_) return sync_next();
  found_durable();
}

void StoreImpl::found_durable() {
  found_synced_ = true;
  for (const auto& then : std::exchange(when_synced_, {})) then();
  schedule_catch_up();
}

// One step: a file, or at the end their names. Each answer leads back here.
void StoreImpl::sync_next() {
  if (found_synced_ || syncing_found_) return;
  syncing_found_ = true;
  if (unsynced_.empty()) {
    env_.disk.sync_dir(options_.directory, [this, alive = std::weak_ptr(alive_)](const Status& status) {
      if (!alive.expired()) names_synced(status);
    });
    return;
  }
  const uint64_t number = unsynced_.front();
  const auto done = [this, alive = std::weak_ptr(alive_), number](const Status& status) {
    if (!alive.expired()) found_synced(number, status);
  };
  const std::string path = segment_path(options_.directory, number);
  if (doubtful_.count(number) != 0) {
    const auto bytes = env_.disk.size(path);
    if (bytes) return write_again(env_, path, *bytes, done);
    env_.loop.post([done, error = bytes.error()] { done(tl::unexpected(error)); });
    return;
  }
  auto file = env_.disk.open_append(path);
  if (!file) {
    env_.loop.post([done, error = file.error()] { done(tl::unexpected(error)); });
    return;
  }
  env_.disk.sync(*file, done);
  env_.disk.close(*file);
}

// A failed sync is told once, and the next one proves nothing: the file is written once more, and believed when that is
// durable. A merged file whose sources are all still there is not worth the doubt.
void StoreImpl::found_synced(uint64_t number, const Status& status) {
  syncing_found_ = false;
  if (status || planted("store_believes_failed_start_sync")) {
    doubtful_.erase(number);
    if (!unsynced_.empty() && unsynced_.front() == number) unsynced_.pop_front();
    return sync_next();
  }
  const std::string path = segment_path(options_.directory, number);
  env_.log.error("segment_sync_failed", {{"file", path}, {"error", status.error().text}});
  start_sync_errors_++;
  const bool again = !doubtful_.insert(number).second;
  const auto work =
      std::find_if(behind_.begin(), behind_.end(), [&](const CatchUp& one) { return one.number == number; });
  const bool sources = work != behind_.end() && !work->replaces.empty() &&
                       std::all_of(work->replaces.begin(), work->replaces.end(), [&](uint64_t source) {
                         return env_.disk.size(segment_path(options_.directory, source)).has_value();
                       });
  if (sources) {
    (void)env_.disk.remove(path);
    doubtful_.erase(number);
    when_synced_.clear();
    unsynced_.clear();
    return retry_load();
  }
  again ? sync_later() : sync_next();
}

void StoreImpl::names_synced(const Status& status) {
  syncing_found_ = false;
  if (status) return found_durable();
  env_.log.error("folder_sync_failed", {{"folder", options_.directory}, {"error", status.error().text}});
  start_sync_errors_++;
  unsynced_ = found_;
  doubtful_.insert(found_.begin(), found_.end());  // each is given its name anew
  sync_later();
}

void StoreImpl::sync_later() {
  env_.loop.after(kRetryMs, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) sync_next();
  });
}

void StoreImpl::schedule_catch_up() {
  if (catch_up_scheduled_) return;
  catch_up_scheduled_ = true;
  env_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    catch_up_scheduled_ = false;
    catch_up_slice();
  });
}

void StoreImpl::catch_up_slice() {
  if (!found_synced_) return;
  if (!catalog_->ok()) return index_failed();
  if (!behind_.empty()) {
    CatchUp& work = behind_.front();
    if (catch_up_file(work, kSliceBytes)) {
      const auto finished = std::move(work.finished);
      behind_.pop_front();
      if (!ready_ && behind_.size() % kProgressFiles == 0) {
        env_.log.info("index_progress", {{"files_left", static_cast<uint64_t>(behind_.size())}});
      }
      if (catalog_->ok() && finished) finished();
    }
    catalog_->trim();
    commit_if_due(false);
    if (catalog_->ok() && !behind_.empty()) schedule_catch_up();
  }
  if (catalog_->ok() && !ready_ &&
      std::none_of(behind_.begin(), behind_.end(), [](const CatchUp& work) { return work.blocks_ready; })) {
    become_ready();
  }
}

void StoreImpl::become_ready() {
  ready_ = true;
  catalog_->commit();
  env_.log.info("store_ready", {{"segments", static_cast<uint64_t>(catalog_->segments().size())},
                                {"devices", static_cast<uint64_t>(catalog_->devices().size())}});
}

// True: done with this file.
bool StoreImpl::catch_up_file(CatchUp& work, uint64_t bytes_max) {
  const std::string path = segment_path(options_.directory, work.number);
  IndexedSegment& segment = catalog_->segment(work.number);
  segment.owner = work.owner;
  const uint64_t from = std::max<uint64_t>(segment.indexed_to, kFileHeaderBytes);
  bool stopped = false;
  uint64_t reached = from;
  const auto result = scan_records(env_.disk, path, from, [&](const RecordView& record) {
    if (record.offset >= from + bytes_max) {
      stopped = true;
      return false;
    }
    index_record(work, record);
    reached = record.offset + kRecordHeadBytes + record.body.size();
    return true;
  });
  if (!result) {
    env_.log.error("segment_unreadable", {{"file", path}, {"error", result.error().text}});
    damaged_records_++;
    catalog_->indexed(work.number, work.end);
    return true;
  }
  note_damage(work.number, result->damage, result->damage_count);
  if (stopped) {
    catalog_->indexed(work.number, reached);
    return false;
  }
  if (result->torn_tail && work.number == newest_) cut_torn_tail(work, path, *result);
  const auto length = env_.disk.size(path);
  catalog_->indexed(work.number, length ? *length : work.end);
  segment.sealed = true;
  return true;
}

// The end of the newest file that is no record was never acknowledged. A record with a good head and a bad body is
// another thing: it may have been; it stays, named.
void StoreImpl::cut_torn_tail(const CatchUp& work, const std::string& path, const ScanResult& result) {
  uint64_t keep = result.good_end;
  for (const RecordDamage& damage : result.damage) keep = std::max(keep, damage.offset + damage.bytes);
  const auto length = env_.disk.size(path);
  if (!length || *length <= keep) return;
  counters_.torn_bytes += *length - keep;
  env_.log.info("segment_tail_cut", {{"segment", work.number}, {"offset", keep}, {"bytes", *length - keep}});
  if (auto status = env_.disk.truncate(path, keep); !status) {
    env_.log.error("segment_tail_cut_failed", {{"file", path}, {"error", status.error().text}});
  }
}

void StoreImpl::note_damage(uint64_t number, const std::vector<RecordDamage>& damage, uint64_t count) {
  if (count == 0) return;
  damaged_records_ += count;
  unmergeable_.insert(number);
  for (const RecordDamage& one : damage) {
    env_.log.error("segment_damaged", {{"file", segment_path(options_.directory, number)},
                                       {"offset", one.offset},
                                       {"bytes", one.bytes},
                                       {"what", one.what}});
  }
}

void StoreImpl::index_record(const CatchUp& work, const RecordView& record) {
  const auto bad = [&](const Error& error) {
    note_damage(work.number, {{record.offset, kRecordHeadBytes + record.body.size(), error.text}}, 1);
  };
  const auto type = static_cast<SegmentRecord>(record.type);
  // Among arrivals a Skeleton is what retention brought there; in a merged segment it is a parcel's rest.
  if (type == SegmentRecord::kStoredHello || type == SegmentRecord::kRetired ||
      (type == SegmentRecord::kSkeleton && work.owner == kOwnerArrivals)) {
    catalog_->carried(work.number, kRecordHeadBytes + record.body.size());
  }
  switch (type) {
    case SegmentRecord::kStoredParcel:
    case SegmentRecord::kSkeleton:
      index_parcel(work, record);
      return;
    case SegmentRecord::kStoredHello: {
      const auto hello = parse_stored_hello(record.body);
      if (!hello) return bad(hello.error());
      catalog_->settle_hello(*hello, work.number, 0);
      return;
    }
    case SegmentRecord::kRetired: {
      const auto retired = parse_retired(record.body);
      if (!retired) return bad(retired.error());
      if (planted("store_forgets_retired")) return;
      for (const RetiredRun& run : retired->runs) catalog_->retire(retired->device, run.boot, run.ref, run.run);
      for (const RetiredGap& gap : retired->gaps) catalog_->retire_gap(retired->device, gap.boot, gap.gap);
      return;
    }
    case SegmentRecord::kMerged: {
      const auto merged = parse_merged(record.body);
      if (!merged) return bad(merged.error());
      PlacedBlock block;
      const BlockInfo& info = merged->block.info;
      block.ref = info.ref;
      block.first = info.first_ordinal;
      block.count = info.count;
      block.clock = info.clock;
      block.t_min = info.t_min;
      block.t_max = info.t_max;
      block.offset = record.offset + kRecordHeadBytes + merged->block.body_offset;
      block.length = static_cast<uint32_t>(merged->block.bytes.size());
      if (catalog_->place(merged->device, info.boot, block, work.number, work.replaces) != 0) {
        env_.log.error("points_twice", {{"segment", work.number}, {"offset", record.offset}});
      }
      return;
    }
    case SegmentRecord::kReplaces:
    case SegmentRecord::kEnd:
      return;
  }
}

void StoreImpl::index_parcel(const CatchUp& work, const RecordView& record) {
  const bool skeleton = static_cast<SegmentRecord>(record.type) == SegmentRecord::kSkeleton;
  auto parcel = skeleton ? parse_skeleton(record.body) : parse_stored_parcel(record.body);
  if (!parcel) {
    return note_damage(work.number, {{record.offset, kRecordHeadBytes + record.body.size(), parcel.error().text}}, 1);
  }
  Arrival arrival;
  arrival.device = parcel->device;
  arrival.boot = parcel->boot;
  arrival.seq = parcel->seq;
  arrival.floor_seq = parcel->floor_seq;
  arrival.received_ms = parcel->received_ms;
  arrival.digest = parcel->digest;
  arrival.previous = parcel->previous;
  arrival.declarations = std::move(parcel->declarations);
  arrival.gaps = std::move(parcel->gaps);
  arrival.clocks = std::move(parcel->clocks);
  arrival.segment = work.number;
  const uint64_t body = record.offset + kRecordHeadBytes;
  // Blocks after the declarations: a stream is known before it gets points.
  catalog_->settle(std::move(arrival));
  for (const StoredBlock& stored : parcel->blocks) {
    for (const OrdinalRun& run : stored.accepted) {
      PlacedBlock block;
      block.ref = stored.info.ref;
      block.first = run.first;
      block.count = static_cast<uint32_t>(run.count());
      block.clock = stored.info.clock;
      block.t_min = stored.info.t_min;
      block.t_max = stored.info.t_max;
      block.offset = body + stored.body_offset;
      block.length = static_cast<uint32_t>(stored.bytes.size());
      if (catalog_->place(parcel->device, parcel->boot, block, work.number, work.replaces) != 0) {
        env_.log.error("points_twice", {{"segment", work.number}, {"offset", record.offset}});
      }
    }
  }
}

void StoreImpl::publish_merged(uint64_t number, const std::set<uint64_t>& replaced, uint64_t bytes) {
  CatchUp work;
  work.number = number;
  work.owner = kOwnerMerged;
  work.replaces = replaced;
  work.blocks_ready = false;
  work.end = bytes;
  work.finished = [this, replaced] {
    end_segments(replaced);
    merge_.reset();
    drive_merge();
  };
  behind_.push_back(std::move(work));
  schedule_catch_up();
}

void StoreImpl::end_segments(const std::set<uint64_t>& numbers) {
  std::vector<uint64_t> old;
  for (const uint64_t one : numbers) {
    if (catalog_->segments().count(one) == 0) continue;
    catalog_->end_segment(one);
    old.push_back(one);
  }
  catalog_->commit(!old.empty());
  if (!catalog_->ok()) return;
  for (const uint64_t one : old) bury(one);
  delete_dying();
}

// The index failed while running. Want of space leaves what was committed; anything else is begun anew. Parcels wait
// until what is missing has been read from the segments again.
void StoreImpl::index_failed() {
  if (retry_timer_ != 0) return;
  if (!catalog_->ok()) env_.log.error("index_failed", {{"error", catalog_->index().error().text}});
  retry_load();
}

void StoreImpl::retry_load() {
  if (retry_timer_ != 0) return;
  ready_ = false;
  merge_.reset();
  retention_.reset();
  retry_timer_ = env_.loop.after(kRetryMs, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    retry_timer_ = 0;
    if (writer_.busy() || flying_ || open_) return retry_load();
    writer_.roll();
    const bool unusable = !catalog_->ok() && !catalog_->index().full();
    if (!close_catalog()) return retry_load();
    if (unusable && !options_.index_in_memory) (void)Index::remove(options_.directory + "/index.db");
    if (auto status = load(); !status) {
      env_.log.error("index_failed", {{"error", status.error().text}});
      return retry_load();
    }
    sync_found();
  });
}

}  // namespace lambda::gateway
