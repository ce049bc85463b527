#include <algorithm>
#include <queue>
#include <utility>

#include "base/record/record.h"
#include "gateway/store/merge.h"
#include "gateway/store/retention.h"
#include "gateway/store/store_impl.h"
#include "lambda/messages.h"

namespace lambda::gateway {

Result<std::unique_ptr<Store>> Store::open(Env& env, const StoreOptions& options) {
  auto store = std::make_unique<StoreImpl>(env, options);
  if (auto status = store->begin(); !status) return tl::unexpected(status.error());
  return std::unique_ptr<Store>(std::move(store));
}

StoreImpl::StoreImpl(Env& env, StoreOptions options)
    : env_(env),
      options_(std::move(options)),
      writer_(env, options_.directory, options_.segment_bytes_max, &next_number_) {}

StoreImpl::~StoreImpl() {
  env_.loop.cancel(commit_timer_);
  env_.loop.cancel(retry_timer_);
  if (catalog_ && catalog_->ok()) catalog_->commit();
}

Status StoreImpl::begin() {
  if (auto status = env_.disk.make_dirs(options_.directory); !status) return status;
  auto lock = env_.disk.lock(options_.directory + "/lock");
  if (!lock) return tl::unexpected(lock.error());
  lock_ = std::move(*lock);
  if (auto status = load(); !status) return status;
  check_space(true);
  sync_found();
  return {};
}

AckState StoreImpl::ack_state(const std::string& device, uint64_t boot) {
  AckState state;
  const Device* owner = catalog_->find_device(device);
  const Boot* known = owner == nullptr ? nullptr : catalog_->find_boot(*owner, boot);
  if (known == nullptr) return state;
  state.contiguous_seq = known->contiguous();
  for (const OrdinalRun& run : known->row.settled.runs()) {
    if (run.end <= state.contiguous_seq + 1) continue;
    if (state.ranges.size() == kAckRangesMax) break;
    state.ranges.emplace_back(run.first, run.end - 1);
  }
  return state;
}

void StoreImpl::raise_floor(const std::string& device, uint64_t boot, uint64_t floor_seq) {
  // Only boots that are known: a floor alone is no reason to remember one.
  const Device* owner = catalog_->find_device(device);
  Boot* known = owner == nullptr ? nullptr : catalog_->find_boot(*owner, boot);
  if (known == nullptr || floor_seq <= 1) return;
  if (known->row.settled.add(1, floor_seq) > 0) catalog_->mark(*known);
}

std::vector<DeviceTotals> StoreImpl::devices() {
  std::vector<DeviceTotals> all;
  if (!catalog_->ok()) return all;
  catalog_->write_boots();
  for (const auto& [name, device] : catalog_->devices()) {
    DeviceTotals totals;
    totals.device = name;
    totals.points = device.row.points;
    totals.blocks = device.row.blocks;
    totals.chain_breaks = device.row.chain_breaks;
    totals.last_received_ms = device.row.last_received_ms;
    totals.t_max = device.row.t_max;
    for (const BootRow& row : catalog_->index().boots(device.row.id)) {
      totals.boots++;
      // What was declared lost and was not stored, each ordinal once.
      std::map<uint32_t, RunSet> declared;
      for (const GapView& gap : catalog_->index().gaps(row.id)) {
        declared[gap.ref].add(gap.first_ordinal, gap.first_ordinal + gap.count);
      }
      if (declared.empty()) continue;
      const Boot* boot = catalog_->find_boot(device, row.boot);
      for (const auto& [ref, runs] : declared) {
        const Stream* stream = boot == nullptr ? nullptr : catalog_->find_stream(*boot, ref);
        for (const OrdinalRun& run : runs.runs()) {
          if (stream == nullptr) {
            totals.gap_points += run.count();
          } else {
            for (const OrdinalRun& part : stream->stored.missing(run.first, run.end)) totals.gap_points += part.count();
          }
        }
      }
    }
    all.push_back(std::move(totals));
  }
  return all;
}

const StoreCounters& StoreImpl::counters() const {
  StoreCounters& c = counters_;
  const SegmentWriter::Counters& written = writer_.counters();
  c.syncs = written.syncs;
  c.append_errors = written.append_errors;
  c.sync_errors = written.sync_errors + start_sync_errors_;
  c.damaged_records = damaged_records_ + read_counters_->damaged_blocks.load(std::memory_order_relaxed);
  c.summary_hits = summaries_->hits();
  c.summaries_dropped = summaries_->dropped();
  c.chain_breaks = chain_breaks_before_ + catalog_->chain_breaks();
  c.segments = 0;
  c.segment_bytes = 0;
  c.carried_bytes = 0;
  for (const auto& [number, segment] : catalog_->segments()) {
    if (segment.dead) continue;
    c.segments++;
    c.segment_bytes += segment.indexed_to;
    c.carried_bytes += segment.blocks == 0 ? segment.indexed_to : segment.carried_bytes;
  }
  return c;
}

SegmentPin StoreImpl::pin(uint64_t number) {
  SegmentPin& held = pins_[number];
  if (!held) held = std::make_shared<SegmentFile>(SegmentFile{number, segment_path(options_.directory, number)});
  return held;
}

void StoreImpl::bury(uint64_t number) {
  if (dying_.count(number) != 0) return;
  const SegmentPin held = pin(number);
  pins_.erase(number);
  dying_[number] = held;
}

void StoreImpl::delete_dying() {
  bool any = false;
  for (auto at = dying_.begin(); at != dying_.end();) {
    if (at->second.use_count() > 1) {
      ++at;
      continue;
    }
    const Status removed = env_.disk.remove(at->second->path);
    if (!removed && removed.error().code != ErrorCode::kNotFound) {
      env_.log.warn("segment_not_deleted", {{"file", at->second->path}, {"error", removed.error().text}});
      ++at;
      continue;
    }
    catalog_->forget_segment(at->first);
    at = dying_.erase(at);
    any = true;
  }
  if (!any) return;
  commit_if_due(true);
  drive_drop();
}

Result<std::vector<Point>> StoreImpl::read_block(const std::string& path, const BlockRow& row, uint64_t boot,
                                                 BlockInfo* info) {
  auto points = read_points(env_.disk, path, row, boot, info);
  if (!points) {
    damaged_records_++;
    env_.log.error("block_unreadable", {{"error", points.error().text}});
  }
  return points;
}

bool StoreImpl::merge_slice() {
  delete_dying();
  if (!ready_ || !catalog_->ok() || options_.merge_interval_ms == 0) return false;
  if (!merge_) merge_ = std::make_unique<MergeJob>(*this);
  return merge_->slice();
}

void StoreImpl::drive_merge() {
  if (std::exchange(merge_driven_, true)) return;
  env_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    merge_driven_ = false;
    if (merge_slice()) drive_merge();
  });
}

void StoreImpl::drive_drop() {
  if (std::exchange(drop_driven_, true)) return;
  env_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    drop_driven_ = false;
    if (catalog_->drop_slice()) drive_drop();
    commit_if_due(true);
  });
}

void StoreImpl::drive_retention() {
  if (std::exchange(retention_driven_, true)) return;
  env_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    retention_driven_ = false;
    if (retention_slice()) drive_retention();
  });
}

bool StoreImpl::merging(uint64_t segment) const {
  return merge_ && merge_->uses(segment);
}

bool StoreImpl::retiring(uint64_t segment) const {
  return retention_ && retention_->uses(segment);
}

bool StoreImpl::retention_slice() {
  delete_dying();
  if (!ready_ || !catalog_->ok()) return false;
  if (!retention_) retention_ = std::make_unique<RetentionJob>(*this);
  return retention_->slice();
}

}  // namespace lambda::gateway
