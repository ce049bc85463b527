#include "gateway/store/retention.h"

#include <algorithm>

#include "base/planted.h"
#include "gateway/store/record_body.h"
#include "lambda/codecs.h"

namespace lambda::gateway {
namespace {

constexpr uint64_t kReadBytes = 1u << 20;  // of a slice

}  // namespace

bool RetentionJob::slice() {
  if (waiting_) return false;
  switch (stage_) {
    case Stage::kIdle:
      return choose();
    case Stage::kRead:
      return read();
    case Stage::kForget:
      return forget();
  }
  return false;
}

// By bytes, only what a deletion would free is counted. The segment whose newest arrival is the oldest; merged segments
// have high numbers and old content.
bool RetentionJob::choose() {
  const StoreOptions& options = store_.options_;
  if ((options.retention_bytes_max == 0 && options.retention_age_ms_max == 0) || !store_.behind_.empty()) return false;
  uint64_t bytes = 0;
  const IndexedSegment* oldest = nullptr;
  for (const auto& [number, segment] : store_.catalog_->segments()) {
    // One that holds no points any more goes by being merged.
    if (segment.dead || segment.blocks == 0) continue;
    bytes += segment.indexed_to - std::min(segment.indexed_to, segment.carried_bytes);
    if (oldest == nullptr || segment.received_max < oldest->received_max) oldest = &segment;
  }
  if (oldest == nullptr) return false;
  const int64_t horizon = store_.env_.clock.utc_ms() - options.retention_age_ms_max;
  const bool too_old = options.retention_age_ms_max > 0 && oldest->received_max < horizon;
  const bool too_much = options.retention_bytes_max > 0 && bytes > options.retention_bytes_max;
  if (!too_old && !too_much) return false;
  if (store_.merging(oldest->number)) return false;  // its merged form is retired, later
  if (oldest->number == store_.writer_.active()) {
    // Its last arrival is too old as well; a new file is begun for what comes.
    if (store_.writer_.busy()) return false;
    store_.writer_.roll();
    store_.catalog_->seal(oldest->number);
  }
  number_ = oldest->number;
  at_ = kFileHeaderBytes;
  stage_ = Stage::kRead;
  return true;
}

bool RetentionJob::read() {
  const uint64_t stop = at_ + kReadBytes;
  bool stopped = false;
  const auto result = scan_records(store_.env_.disk, segment_path(store_.options_.directory, number_), at_,
                                   [&](const RecordView& record) {
                                     if (record.offset >= stop) {
                                       stopped = true;
                                       return false;
                                     }
                                     at_ = record.offset + kRecordHeadBytes + record.body.size();
                                     read_record(record);
                                     return true;
                                   });
  if (!result) {
    store_.env_.log.error("retention_failed", {{"segment", number_}, {"error", result.error().text}});
    reset();
    return false;
  }
  if (stopped) return true;
  write();
  return false;
}

void RetentionJob::read_record(const RecordView& record) {
  switch (static_cast<SegmentRecord>(record.type)) {
    case SegmentRecord::kStoredParcel:
    case SegmentRecord::kSkeleton: {
      const bool skeleton = static_cast<SegmentRecord>(record.type) == SegmentRecord::kSkeleton;
      const auto parcel = skeleton ? parse_skeleton(record.body) : parse_stored_parcel(record.body);
      if (!parcel) return;
      for (const StoredBlock& block : parcel->blocks) {
        for (const OrdinalRun& run : block.accepted) {
          retired_.add_run(parcel->device, parcel->boot, block.info.ref, run);
        }
      }
      carry(record, *parcel);
      return;
    }
    case SegmentRecord::kMerged: {
      const auto merged = parse_merged(record.body);
      if (!merged) return;
      retired_.add_run(merged->device, merged->block.info.boot, merged->block.info.ref, merged->block.accepted[0]);
      return;
    }
    case SegmentRecord::kRetired: {
      if (const auto retired = parse_retired(record.body)) retired_.add(*retired);
      return;
    }
    case SegmentRecord::kStoredHello: {
      const auto hello = parse_stored_hello(record.body);
      if (!hello) return;
      const BootFacts boot = facts(hello->device, hello->boot);
      if (!boot.outlives && !has_left_anything(boot)) return;
      std::vector<std::byte>& carried = hellos_[{hello->device, hello->boot}];
      carried.clear();  // one is enough
      append_record(carried, record.type, record.body);
      return;
    }
    case SegmentRecord::kReplaces:
    case SegmentRecord::kEnd:
      return;
  }
}

RetentionJob::BootFacts RetentionJob::facts(const std::string& device_name, uint64_t boot_id) {
  const auto [found, fresh] = facts_.try_emplace(device_name);
  const Device* device = fresh ? store_.catalog_->find_device(device_name) : nullptr;
  if (device != nullptr) {
    store_.catalog_->write_boots();
    Index& index = store_.catalog_->index();
    const std::vector<BootRow> boots = index.boots(device->row.id);
    const auto ranks = boot_ranks(boots);
    for (const BootRow& boot : boots) {
      const std::vector<uint64_t> segments = store_.catalog_->segments_of(boot);
      BootFacts& of = found->second[boot.boot];
      of.outlives = ranks.at(boot.id) + 1 == ranks.size() ||
                    std::any_of(segments.begin(), segments.end(), [&](uint64_t number) { return number != number_; });
      of.id = boot.id;
    }
  }
  const auto boot = found->second.find(boot_id);
  return boot == found->second.end() ? BootFacts{} : boot->second;
}

bool RetentionJob::has_left_anything(const BootFacts& boot) {
  Index& index = store_.catalog_->index();
  return index.has_streams(boot.id) || index.has_gaps(boot.id);
}

// Names and clocks outlive the points that came with them: later points of the boot need them.
void RetentionJob::carry(const RecordView& record, const ParcelRecord& parcel) {
  const bool outlives = facts(parcel.device, parcel.boot).outlives;
  // A gap is kept even of a boot that has nothing else here: what comes of it later, out of an older backlog, would
  // leave a hole that nothing explains.
  if (outlives || !planted("store_forgets_old_gaps")) {
    for (const GapView& gap : parcel.gaps) retired_.add_gap(parcel.device, parcel.boot, gap);
  }
  if (parcel.declarations.empty() && parcel.clocks.empty()) return;
  if (!outlives) {
    dropped_.insert({parcel.device, parcel.boot});
    return;
  }
  Carried carried;
  carried.device = parcel.device;
  carried.boot = parcel.boot;
  for (const Declared& declared : parcel.declarations) carried.refs.push_back(declared.ref);
  for (const ClockView& clock : parcel.clocks) carried.clocks.push_back(clock.segment);
  if (static_cast<SegmentRecord>(record.type) == SegmentRecord::kSkeleton) {
    append_record(carried.record, record.type, record.body);
    carried_.push_back(std::move(carried));
    return;
  }
  std::vector<Digest> roots;
  std::vector<Point> points(kBlockPointsMax);
  for (const StoredBlock& block : parcel.blocks) {
    BlockInfo info;
    Digest& digest = roots.emplace_back();
    if (!decode_block(block.bytes, parcel.boot, &info, points, kAllCodings).ok()) continue;
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < info.count; ++i) root.add(points[i]);
    root.finish(digest.data());
  }
  if (append_skeleton(carried.record, record.body, roots)) carried_.push_back(std::move(carried));
}

// The newest word on each declaration and clock segment lives on; older ones that add nothing do not.
void RetentionJob::append_carried(std::vector<std::byte>& out, uint64_t* count) {
  for (const auto& [boot, record] : hellos_) {
    out.insert(out.end(), record.begin(), record.end());
    ++*count;
  }
  std::set<Key> refs;
  std::set<Key> clocks;
  std::vector<const Carried*> kept;
  for (auto at = carried_.rbegin(); at != carried_.rend(); ++at) {
    bool news = false;
    for (const uint32_t ref : at->refs) news = refs.insert({at->device, at->boot, ref}).second || news;
    for (const uint32_t clock : at->clocks) news = clocks.insert({at->device, at->boot, clock}).second || news;
    if (news) kept.push_back(&*at);
  }
  for (auto at = kept.rbegin(); at != kept.rend(); ++at) {
    out.insert(out.end(), (*at)->record.begin(), (*at)->record.end());
    ++*count;
  }
  carried_.clear();
}

void RetentionJob::write() {
  std::vector<std::byte> bytes;
  uint64_t count = 0;
  append_carried(bytes, &count);
  count += retired_.append_to(bytes);
  retired_.clear();
  stage_ = Stage::kForget;
  if (bytes.empty()) return store_.drive_retention();
  waiting_ = true;
  store_.write_background(std::move(bytes), count, [this, alive = std::weak_ptr(alive_)](const Status& status) {
    if (alive.expired() || planted("store_retires_before_sync")) return;
    waiting_ = false;
    if (!status) {
      // Nothing was deleted; it is tried again when somebody asks.
      store_.env_.log.error("retention_failed", {{"segment", number_}, {"error", status.error().text}});
      return reset();
    }
    store_.drive_retention();
  });
  if (planted("store_retires_before_sync")) {
    waiting_ = false;
    store_.drive_retention();
  }
}

// Names that are gone must not count as known: what came under them would have none once the index is computed again.
// False: such a boot brought something in the meantime, so that it keeps its names.
bool RetentionJob::undeclare_dropped() {
  facts_.clear();
  std::vector<Boot*> boots;
  for (const auto& [device_name, boot_id] : dropped_) {
    const Device* device = store_.catalog_->find_device(device_name);
    Boot* boot = device == nullptr ? nullptr : store_.catalog_->find_boot(*device, boot_id);
    if (boot == nullptr) continue;
    if (boot->under_way != 0 || facts(device_name, boot_id).outlives) return false;
    boots.push_back(boot);
  }
  for (const Boot* boot : boots) store_.catalog_->undeclare(*boot);
  return true;
}

bool RetentionJob::forget() {
  if (!undeclare_dropped()) {
    // What was written is known twice for a while; the next attempt carries the names on.
    reset();
    return false;
  }
  store_.counters_.retired_points += store_.catalog_->segment(number_).points;
  store_.counters_.retired_segments++;
  store_.env_.log.info("segment_retired", {{"segment", number_}});
  store_.end_segments({number_});
  reset();
  return true;
}

void RetentionJob::reset() {
  stage_ = Stage::kIdle;
  number_ = 0;
  retired_.clear();
  dropped_.clear();
  facts_.clear();
  hellos_.clear();
  carried_.clear();
}

}  // namespace lambda::gateway
