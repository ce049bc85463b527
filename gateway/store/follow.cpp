#include "gateway/store/follow.h"

#include <algorithm>
#include <map>

#include "gateway/store/series_name.h"
#include "gateway/store/store_impl.h"

namespace lambda::gateway {
namespace {

struct Followed {
  uint64_t end = 0;
  bool dead = false;
};

}  // namespace

StoreFollow& follow(Store& store) {
  return static_cast<StoreImpl&>(store);  // there is no other
}

Arrivals StoreImpl::arrivals(StorePlace from) {
  Arrivals all;
  all.end = from;
  if (!ready_ || !catalog_->ok()) return all;
  if (from.segment >= next_number_) {  // of a store that was here before this one
    all.missed = true;
    all.end = from = {};
  }
  // The index lags behind what is durable; the newest segments may not be in it at all.
  std::map<uint64_t, Followed> segments;
  for (auto at = catalog_->segments().lower_bound(from.segment); at != catalog_->segments().end(); ++at) {
    if (at->second.owner == kOwnerArrivals) segments[at->first] = {at->second.indexed_to, at->second.dead};
  }
  const auto& ahead = catalog_->ahead_of_index();
  for (auto at = ahead.lower_bound(from.segment); at != ahead.end(); ++at) {
    uint64_t& end = segments[at->first].end;
    end = std::max(end, at->second);
  }
  bool found = from.segment == 0;
  for (const auto& [number, segment] : segments) {
    const uint64_t begin = number == from.segment ? from.offset : 0;
    found = found || (number == from.segment && (!segment.dead || from.offset >= segment.end));
    if (segment.dead) {
      all.missed = all.missed || begin < segment.end;
      continue;
    }
    if (segment.end <= std::max<uint64_t>(begin, kFileHeaderBytes)) continue;
    ArrivalsPiece piece;
    piece.segment = number;
    piece.pin = pin(number);
    piece.path = segment_path(options_.directory, number);
    piece.begin = std::max<uint64_t>(begin, kFileHeaderBytes);
    piece.end = segment.end;
    all.bytes += piece.end - piece.begin;
    all.end = {number, piece.end};
    all.pieces.push_back(std::move(piece));
  }
  all.missed = all.missed || !found;
  all.complete_ms = INT64_MAX;
  const auto waits = [&all](const Waiting& waiting) {
    if (!waiting.is_hello) all.complete_ms = std::min(all.complete_ms, waiting.request.received_ms);
  };
  for (const Waiting& waiting : queue_) waits(waiting);
  for (const Waiting& waiting : deferred_) waits(waiting);
  for (const auto& batch : {open_, flying_}) {
    if (!batch) continue;
    for (const Item& item : batch->items) waits(item.waiting);
  }
  return all;
}

std::optional<KnownSeries> StoreImpl::series_of(const std::string& device, uint64_t boot, uint32_t ref) {
  if (!catalog_->ok()) return std::nullopt;
  const Device* owner = catalog_->find_device(device);
  const Boot* from = owner == nullptr ? nullptr : catalog_->find_boot(*owner, boot);
  if (from == nullptr) return std::nullopt;
  catalog_->drain();
  const Stream* stream = catalog_->find_stream(*from, ref);
  if (stream == nullptr || stream->row.series == 0) return std::nullopt;
  const auto row = catalog_->index().series_row(stream->row.series);
  KnownSeries known;
  if (!row || !parse_canonical(row->canonical, &known.name, &known.labels)) return std::nullopt;
  return known;
}

std::vector<ClockView> StoreImpl::clocks_of(const std::string& device, uint64_t boot) {
  if (!catalog_->ok()) return {};
  const Device* owner = catalog_->find_device(device);
  const Boot* from = owner == nullptr ? nullptr : catalog_->find_boot(*owner, boot);
  return from == nullptr ? std::vector<ClockView>{} : catalog_->index().clocks(from->row.id);
}

}  // namespace lambda::gateway
