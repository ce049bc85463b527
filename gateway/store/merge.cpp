#include "gateway/store/merge.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/planted.h"
#include "gateway/store/record_body.h"
#include "lambda/codecs.h"
#include "lambda/stored_block.h"

namespace lambda::gateway {
namespace {

constexpr uint64_t kGatherBytes = 512u << 10;  // of a slice
constexpr size_t kBlocksASlice = 512;
constexpr size_t kBufferBytes = 256u << 10;
constexpr size_t kSourcesMax = 256;
constexpr size_t kFewFiles = 4;  // fewer tiny files than this are left alone

}  // namespace

MergeJob::~MergeJob() {
  if (file_ != 0) store_.env_.disk.close(file_);
}

std::string MergeJob::source_path(uint64_t number) const {
  return segment_path(store_.options_.directory, number);
}

bool MergeJob::slice() {
  if (waiting_) return false;
  if (!failure_.empty()) {
    abandon("merge_failed", failure_);
    return false;
  }
  switch (stage_) {
    case Stage::kIdle:
      return choose() && begin();
    case Stage::kGather:
      return gather();
    case Stage::kWrite:
      return write();
    case Stage::kVerify:
      return verify();
    case Stage::kEnd:
      end();
      return false;
    case Stage::kIndex:
      return false;
  }
  return false;
}

// Segments of arrivals with many small blocks, when there are enough of them; else many tiny files of any origin.
bool MergeJob::choose() {
  const uint64_t bytes_max = store_.options_.segment_bytes_max;
  const auto usable = [&](const IndexedSegment& segment) {
    return !segment.dead && segment.sealed && segment.number != store_.writer_.active() &&
           store_.unmergeable_.count(segment.number) == 0 && !store_.retiring(segment.number) &&
           segment.indexed_to > kFileHeaderBytes &&
           (segment.owner != kOwnerArrivals || segment.number < store_.held_from_);
  };
  if (!store_.behind_.empty()) return false;  // the index must know all of them
  const auto collect = [&](const auto& wanted) {
    uint64_t bytes = 0;
    sources_.clear();
    for (const auto& [number, segment] : store_.catalog_->segments()) {
      if (!usable(segment) || !wanted(segment)) continue;
      if (bytes + segment.indexed_to > bytes_max + bytes_max / 4 && !sources_.empty()) break;
      bytes += segment.indexed_to;
      sources_.insert(number);
      if (sources_.size() == kSourcesMax) break;
    }
    return bytes;
  };
  uint64_t bytes = collect([](const IndexedSegment& segment) {
    return segment.owner == kOwnerArrivals && segment.small_blocks * 4 > segment.blocks;
  });
  if (sources_.empty() || (bytes < bytes_max / 4 && sources_.size() < kFewFiles)) {
    bytes = collect([&](const IndexedSegment& segment) { return segment.indexed_to < bytes_max / 8; });
    if (sources_.size() < kFewFiles) sources_.clear();
  }
  const auto free = store_.env_.disk.free_bytes(store_.options_.directory);
  if (!free || *free < store_.options_.free_bytes_min + bytes + bytes / 4) sources_.clear();
  return !sources_.empty();
}

bool MergeJob::begin() {
  number_ = store_.next_number_++;
  auto file = store_.env_.disk.open_append(source_path(number_));
  if (!file) {
    abandon("merge_failed", file.error().text);
    return false;
  }
  file_ = *file;
  append_file_header(*buffer_, {FileKind::kSegment, number_, store_.env_.clock.utc_ms(), kOwnerMerged});
  replaces_ = sources_;
  // Files that a source replaced and that still wait for a reader to end must not come back without it.
  for (const auto& [dying, pin] : store_.dying_) replaces_.insert(dying);
  append_replaces(*buffer_, std::vector<uint64_t>(replaces_.begin(), replaces_.end()));
  records_ = 1;
  stage_ = Stage::kGather;
  source_ = sources_.begin();
  source_at_ = kFileHeaderBytes;
  return true;
}

// Reads the sources in order: what is no block goes into the new file at once, of the blocks it is noted where they
// are.
bool MergeJob::gather() {
  const uint64_t segment = *source_;
  const uint64_t stop = source_at_ + kGatherBytes;
  bool stopped = false;
  const auto result = scan_records(store_.env_.disk, source_path(segment), source_at_, [&](const RecordView& record) {
    if (record.offset >= stop || !failure_.empty()) {
      stopped = true;
      return false;
    }
    source_at_ = record.offset + kRecordHeadBytes + record.body.size();
    gather_record(segment, record);
    return true;
  });
  if (!result) {
    failure_ = result.error().text;
  } else if (result->damage_count != 0 || (!stopped && result->torn_tail)) {
    failure_ = source_path(segment) + ": has damaged records";
  }
  if (!failure_.empty()) return true;
  if (!stopped) {
    source_at_ = kFileHeaderBytes;
    if (++source_ == sources_.end()) {
      records_ += retired_.append_to(*buffer_);
      retired_.clear();
      sort_pieces();
      stage_ = Stage::kWrite;
    }
  }
  if (buffer_->size() >= kBufferBytes) flush();
  return !waiting_;
}

void MergeJob::gather_record(uint64_t segment, const RecordView& record) {
  switch (static_cast<SegmentRecord>(record.type)) {
    case SegmentRecord::kStoredParcel:
      return gather_parcel(segment, record);
    case SegmentRecord::kMerged: {
      const auto merged = parse_merged(record.body);
      if (!merged) {
        failure_ = merged.error().text;
        return;
      }
      add_piece(merged->device, segment, record.offset + kRecordHeadBytes, merged->block, merged->block.accepted[0]);
      return;
    }
    case SegmentRecord::kRetired: {
      const auto retired = parse_retired(record.body);
      if (!retired) {
        failure_ = retired.error().text;
        return;
      }
      return retired_.add(*retired);
    }
    case SegmentRecord::kReplaces:
    case SegmentRecord::kEnd:
      return;
    case SegmentRecord::kStoredHello:
    case SegmentRecord::kSkeleton:
      break;
  }
  append_record(*buffer_, record.type, record.body);  // unknown types too: a newer program may know them
  ++records_;
}

void MergeJob::gather_parcel(uint64_t segment, const RecordView& record) {
  const auto parcel = parse_stored_parcel(record.body);
  if (!parcel) {
    failure_ = parcel.error().text;
    return;
  }
  std::vector<Digest> roots;
  std::vector<Point> points(kBlockPointsMax);
  for (const StoredBlock& block : parcel->blocks) {
    BlockInfo info;
    const BlockStatus status = decode_block(block.bytes, parcel->boot, &info, points, kAllCodings);
    if (!status.ok()) {
      failure_ = std::string("a block cannot be decoded: ") + block_error_name(status.error);
      return;
    }
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < info.count; ++i) root.add(points[i]);
    root.finish(roots.emplace_back().data());
    for (const OrdinalRun& run : block.accepted) {
      add_piece(parcel->device, segment, record.offset + kRecordHeadBytes, block, run);
    }
  }
  if (auto status = append_skeleton(*buffer_, record.body, roots); !status) {
    failure_ = status.error().text;
    return;
  }
  ++records_;
}

void MergeJob::add_piece(const std::string& device, uint64_t segment, uint64_t body, const StoredBlock& block,
                         const OrdinalRun& run) {
  const auto [at, fresh] = name_at_.try_emplace(device, static_cast<uint32_t>(names_.size()));
  if (fresh) names_.push_back(device);
  Piece piece;
  piece.device = at->second;
  piece.ref = block.info.ref;
  piece.boot = block.info.boot;
  piece.type = block.info.type;
  piece.scale = block.info.scale;
  piece.row.first = run.first;
  piece.row.count = static_cast<uint32_t>(run.count());
  piece.row.clock = block.info.clock;
  piece.row.t_min = block.info.t_min;
  piece.row.t_max = block.info.t_max;
  piece.row.segment = segment;
  piece.row.offset = body + block.body_offset;
  piece.row.length = static_cast<uint32_t>(block.bytes.size());
  pieces_.push_back(piece);
}

void MergeJob::sort_pieces() {
  const auto key = [](const Piece& p) { return std::tuple(p.device, p.boot, p.ref, p.row.first, p.row.segment); };
  std::sort(pieces_.begin(), pieces_.end(), [&](const Piece& a, const Piece& b) { return key(a) < key(b); });
  // An ordinal that stands in two places counts once, the earlier one.
  size_t kept = 0;
  for (Piece& piece : pieces_) {
    if (kept > 0) {
      const Piece& before = pieces_[kept - 1];
      if (before.device == piece.device && before.boot == piece.boot && before.ref == piece.ref &&
          before.row.end() > piece.row.first) {
        if (before.row.end() >= piece.row.end()) continue;
        const uint64_t cut = before.row.end() - piece.row.first;
        piece.row.first += cut;
        piece.row.count -= static_cast<uint32_t>(cut);
      }
    }
    pieces_[kept++] = piece;
  }
  pieces_.resize(kept);
}

// The pieces from `from` that fit one block.
size_t MergeJob::group_end(size_t from) const {
  const Piece& first = pieces_[from];
  uint64_t count = first.row.count;
  int64_t t_min = first.row.t_min;
  int64_t t_max = first.row.t_max;
  size_t to = from + 1;
  for (; to < pieces_.size(); ++to) {
    const Piece& next = pieces_[to];
    if (next.device != first.device || next.boot != first.boot || next.ref != first.ref || next.type != first.type ||
        next.scale != first.scale || next.row.clock != first.row.clock || next.row.first != pieces_[to - 1].row.end() ||
        count + next.row.count > kBlockPointsMax) {
      break;
    }
    t_min = std::min(t_min, next.row.t_min);
    t_max = std::max(t_max, next.row.t_max);
    if (t_max - t_min > kBlockSpanMsMax) break;
    count += next.row.count;
  }
  return to;
}

Result<std::vector<Point>> MergeJob::points_of(const Piece& piece) {
  BlockInfo info;
  auto points = read_points(store_.env_.disk, source_path(piece.row.segment), piece.row, piece.boot, &info);
  if (!points) return points;
  const auto from = static_cast<ptrdiff_t>(piece.row.first - info.first_ordinal);
  return std::vector<Point>(points->begin() + from, points->begin() + from + piece.row.count);
}

bool MergeJob::write() {
  for (size_t blocks = 0; blocks < kBlocksASlice && next_ < pieces_.size();) {
    const size_t to = group_end(next_);
    if (!write_group(next_, to)) return true;
    blocks += to - next_;
    next_ = to;
  }
  const bool last = next_ == pieces_.size();
  if (last) {
    stage_ = Stage::kVerify;
    next_ = 0;
  }
  if (last || buffer_->size() >= kBufferBytes) flush();
  return !waiting_;
}

bool MergeJob::write_group(size_t from, size_t to) {
  std::vector<Point> points;
  for (size_t i = from; i < to; ++i) {
    auto part = points_of(pieces_[i]);
    if (!part) {
      failure_ = part.error().text;
      return false;
    }
    points.insert(points.end(), part->begin(), part->end());
  }
  if (planted("store_merge_ends_unverified") && points.size() > 2) points[1].bits ^= 1;
  if (points_that_fit(points, kBlockSpanMsMax) != points.size()) {
    failure_ = "a merged block does not take a point of its sources";
    return false;
  }
  StoredOptions options;
  options.block.boot = pieces_[from].boot;
  options.block.first_ordinal = pieces_[from].row.first;
  options.block.ref = pieces_[from].ref;
  options.block.clock = pieces_[from].row.clock;
  options.block.type = pieces_[from].type;
  options.block.scale = pieces_[from].scale;
  options.block.write_boot = true;
  std::vector<uint8_t> space(stored_bytes_max(points.size()));
  const auto block = pack_block(options, points, space);
  Merged merged;
  merged.record_offset = written_ + buffer_->size();
  merged.first_piece = from;
  merged.end_piece = to;
  merged.first_ordinal = options.block.first_ordinal;
  merged.count = static_cast<uint32_t>(points.size());
  append_merged(*buffer_, names_[pieces_[from].device], block);
  ++records_;
  merged_.push_back(merged);
  return true;
}

bool MergeJob::verify() {
  for (size_t blocks = 0; blocks < kBlocksASlice && next_ < merged_.size(); ++next_) {
    const Merged& merged = merged_[next_];
    if (!planted("store_merge_ends_unverified") && !same_points(merged)) {
      store_.counters_.merge_mismatches++;
      abandon("merge_mismatch", source_path(number_) + ": block at byte " + std::to_string(merged.record_offset));
      return false;
    }
    blocks += merged.end_piece - merged.first_piece;
  }
  if (next_ == merged_.size()) stage_ = Stage::kEnd;
  return true;
}

// The merged block as the disk gives it back, against its sources as the disk gives them.
bool MergeJob::same_points(const Merged& merged) {
  std::vector<std::byte> body;
  const auto type = read_record(store_.env_.disk, source_path(number_), merged.record_offset, body);
  if (!type || *type != static_cast<uint8_t>(SegmentRecord::kMerged)) return false;
  const auto record = parse_merged(body);
  if (!record) return false;
  BlockInfo info;
  std::vector<Point> points(kBlockPointsMax);
  if (!lambda::read_block(record->block.bytes, 0, &info, points).ok()) return false;
  const Piece& first = pieces_[merged.first_piece];
  if (record->device != names_[first.device] || info.boot != first.boot || info.ref != first.ref ||
      info.clock != first.row.clock || info.type != first.type || info.scale != first.scale ||
      info.first_ordinal != first.row.first) {
    return false;
  }
  size_t at = 0;
  for (size_t i = merged.first_piece; i < merged.end_piece; ++i) {
    const auto part = points_of(pieces_[i]);
    if (!part || at + part->size() > info.count) return false;
    if (!std::equal(part->begin(), part->end(), points.begin() + static_cast<ptrdiff_t>(at))) return false;
    at += part->size();
  }
  return at == info.count;
}

void MergeJob::end() {
  // Now it may be believed: the End record puts it in force.
  append_end(*buffer_, {records_, written_ + buffer_->size()});
  flush();
}

// Hands the buffer to the disk; after the End record it is synced, then its name.
void MergeJob::flush() {
  if (buffer_->empty()) return;
  waiting_ = true;
  const auto bytes = buffer_;
  written_ += bytes->size();
  buffer_ = std::make_shared<std::vector<std::byte>>();
  const bool last = stage_ == Stage::kEnd;
  if (last && planted("store_merge_ends_sources_first")) {
    for (const uint64_t source : sources_) (void)store_.env_.disk.remove(source_path(source));
  }
  store_.env_.disk.append(file_, *bytes, [this, alive = std::weak_ptr(alive_), bytes, last](Status status) {
    if (alive.expired()) return;
    if (!status) failure_ = status.error().text;
    if (last && status) {
      if (planted("store_merge_no_sync")) return synced({});
      store_.env_.disk.sync(file_, [this, alive](Status done) {
        if (alive.expired()) return;
        if (!done || planted("store_merge_no_dir_sync")) return synced(done);
        store_.env_.disk.sync_dir(store_.options_.directory, [this, alive](Status named) {
          if (!alive.expired()) synced(named);
        });
      });
      return;
    }
    waiting_ = false;
    store_.drive_merge();
  });
}

void MergeJob::synced(const Status& status) {
  waiting_ = false;
  if (!status) {
    failure_ = status.error().text;
    return store_.drive_merge();
  }
  store_.env_.disk.close(file_);
  file_ = 0;
  store_.counters_.merged_blocks += merged_.size();
  store_.env_.log.info("merged", {{"segment", number_},
                                  {"sources", static_cast<uint64_t>(sources_.size())},
                                  {"blocks_before", static_cast<uint64_t>(pieces_.size())},
                                  {"blocks_after", static_cast<uint64_t>(merged_.size())},
                                  {"bytes", written_}});
  stage_ = Stage::kIndex;
  store_.publish_merged(number_, replaces_, written_);
}

void MergeJob::abandon(const char* why, const std::string& text) {
  store_.env_.log.error(why, {{"error", text}, {"segment", number_}});
  for (const uint64_t source : sources_) store_.unmergeable_.insert(source);
  if (file_ != 0) {
    store_.env_.disk.close(file_);
    // Without an End it is not in force; if it cannot be removed now, the next start does it.
    (void)store_.env_.disk.remove(source_path(number_));
  }
  file_ = 0;
  reset();
}

void MergeJob::reset() {
  stage_ = Stage::kIdle;
  sources_.clear();
  replaces_.clear();
  written_ = 0;
  records_ = 0;
  number_ = 0;
  next_ = 0;
  buffer_ = std::make_shared<std::vector<std::byte>>();
  names_.clear();
  name_at_.clear();
  retired_.clear();
  pieces_.clear();
  pieces_.shrink_to_fit();
  merged_.clear();
  merged_.shrink_to_fit();
  failure_.clear();
}

}  // namespace lambda::gateway
