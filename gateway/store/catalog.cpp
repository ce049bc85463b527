#include "gateway/store/catalog.h"

#include <algorithm>

#include "gateway/store/series_name.h"

namespace lambda::gateway {
namespace {

constexpr size_t kStreamBytes = sizeof(Stream) + 128;  // with its places in the list and the map
// Digests of settled parcels that are kept below the contiguous ones: re-sent parcels of a lost ack are told by them.
constexpr uint64_t kDigestsKept = 64;

}  // namespace

uint64_t Boot::contiguous() const {
  const RunSet& settled = row.settled;
  if (settled.empty() || settled.runs().front().first > 1) return 0;
  return settled.runs().front().end - 1;
}

Result<std::unique_ptr<Catalog>> Catalog::open(const std::string& index_path, uint64_t coverage_bytes_max,
                                               uint32_t small_points, bool* made) {
  auto index = Index::open(index_path, made);
  if (!index) return tl::unexpected(index.error());
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(*index), coverage_bytes_max, small_points));
  if (!catalog->ok()) return tl::unexpected(catalog->index_->error());
  return catalog;
}

Catalog::Catalog(std::unique_ptr<Index> index, uint64_t coverage_bytes_max, uint32_t small_points)
    : index_(std::move(index)), coverage_bytes_max_(coverage_bytes_max), small_points_(small_points) {
  next_device_ = index_->id_max("devices") + 1;
  next_boot_ = index_->id_max("boots") + 1;
  next_series_ = index_->id_max("series") + 1;
  next_stream_ = index_->id_max("streams") + 1;
  for (DeviceRow& row : index_->devices()) {
    Device& device = devices_[row.name];
    device.row = std::move(row);
    device_at_[device.row.id] = &device;
  }
  for (const IndexedSegment& segment : index_->segments()) segments_[segment.number] = segment;
}

Index& Catalog::index() {
  drain();
  return *index_;
}

Device* Catalog::find_device(const std::string& name) {
  const auto found = devices_.find(name);
  return found == devices_.end() ? nullptr : &found->second;
}

Device* Catalog::find_device(int64_t id) {
  const auto found = device_at_.find(id);
  return found == device_at_.end() ? nullptr : found->second;
}

Device& Catalog::device(const std::string& name) {
  Device& device = devices_[name];
  if (device.row.id == 0) {
    device.row.id = next_device_++;
    device.row.name = name;
    device.changed = true;
    device_at_[device.row.id] = &device;
  }
  return device;
}

Boot* Catalog::find_boot(const Device& device, uint64_t boot) {
  const BootKey key{device.row.id, boot};
  if (const auto found = boot_at_.find(key); found != boot_at_.end()) {
    boots_.splice(boots_.begin(), boots_, found->second);
    return &*found->second;
  }
  auto row = index_->boot(device.row.id, boot);
  if (!row) return nullptr;
  boots_.emplace_front();
  Boot& made = boots_.front();
  made.row = std::move(*row);
  boot_at_[key] = boots_.begin();
  return &made;
}

Boot& Catalog::boot(const Device& device, uint64_t boot) {
  if (Boot* found = find_boot(device, boot)) return *found;
  boots_.emplace_front();
  Boot& made = boots_.front();
  made.row.id = next_boot_++;
  made.row.device = device.row.id;
  made.row.boot = boot;
  boot_at_[{device.row.id, boot}] = boots_.begin();
  return made;
}

Stream* Catalog::find_stream(const Boot& boot, uint32_t ref) {
  const StreamKey key{boot.row.id, ref};
  if (const auto found = stream_at_.find(key); found != stream_at_.end()) {
    streams_.splice(streams_.begin(), streams_, found->second);
    return &*found->second;
  }
  auto row = index_->stream(boot.row.id, ref);
  if (!row) return nullptr;
  streams_.emplace_front();
  Stream& made = streams_.front();
  made.declared = row->series != 0;
  if (auto runs = index_->coverage(row->id)) made.stored = std::move(*runs);
  made.row = std::move(*row);
  stream_at_[key] = streams_.begin();
  account(made);
  return &made;
}

Stream& Catalog::stream(const Boot& boot, uint32_t ref) {
  if (Stream* found = find_stream(boot, ref)) return *found;
  streams_.emplace_front();
  Stream& made = streams_.front();
  made.row.id = next_stream_++;
  made.row.boot = boot.row.id;
  made.row.ref = ref;
  stream_at_[{boot.row.id, ref}] = streams_.begin();
  account(made);
  return made;
}

void Catalog::account(Stream& stream) {
  const size_t bytes = kStreamBytes + stream.stored.memory_bytes() + stream.pending[0].runs.memory_bytes() +
                       stream.pending[1].runs.memory_bytes();
  stream_bytes_ += bytes - stream.counted_bytes;
  stream.counted_bytes = bytes;
}

void Catalog::mark(Boot& boot) {
  if (!boot.changed) boots_changed_.push_back(&boot);
  boot.changed = true;
}

void Catalog::mark(Stream& stream) {
  if (!stream.changed) streams_changed_.push_back(&stream);
  stream.changed = true;
  account(stream);
}

bool Catalog::declared_alike(const Device& device, const Stream& stream, const Declared& declared) {
  const auto row = index().series_row(stream.row.series);
  return row && stream.row.kind == declared.kind && stream.row.type == declared.type &&
         stream.row.scale == declared.scale && stream.row.unit == declared.unit &&
         row->gid == series_gid(device.row.name, canonical_name(declared.name, declared.labels));
}

void Catalog::widen(Boot& boot, Device& device, IndexedSegment& segment, const PlacedBlock& block) {
  segment.t_min = std::min(segment.t_min, block.t_min);
  segment.t_max = std::max(segment.t_max, block.t_max);
  if (!boot.row.segments.contains(segment.number, segment.number + 1)) {
    boot.row.segments.add(segment.number, segment.number + 1);
    mark(boot);
  }
  if (block.t_min < boot.row.t_min || block.t_max > boot.row.t_max) {
    boot.row.t_min = std::min(boot.row.t_min, block.t_min);
    boot.row.t_max = std::max(boot.row.t_max, block.t_max);
    mark(boot);
  }
  device.row.t_max = std::max(device.row.t_max, block.t_max);
}

void Catalog::settle(Arrival arrival) {
  Device& owner = device(arrival.device);
  Boot& from = boot(owner, arrival.boot);
  for (const Declared& declared : arrival.declarations) {
    Stream& target = stream(from, declared.ref);
    target.declared = true;
  }
  IndexedSegment& home = segment(arrival.segment);
  for (PlacedBlock& block : arrival.blocks) {
    Stream& target = block.at != nullptr ? *block.at : stream(from, block.ref);
    block.at = nullptr;
    block.stream = target.row.id;
    owner.row.points += target.stored.add(block.first, block.first + block.count);
    mark(target);
    widen(from, owner, home, block);
    home.blocks++;
    home.points += block.count;
    if (block.count < small_points_) home.small_blocks++;
  }
  if (!arrival.blocks.empty()) {
    owner.row.blocks += arrival.blocks.size();
    held_[{arrival.segment, owner.row.id}] += static_cast<int64_t>(arrival.blocks.size());
  }
  home.received_min = std::min(home.received_min, arrival.received_ms);
  home.received_max = std::max(home.received_max, arrival.received_ms);
  owner.row.last_received_ms = std::max(owner.row.last_received_ms, arrival.received_ms);
  owner.changed = true;
  if (arrival.seq > 0) arrival.seq_known = from.row.settled.add(arrival.seq, arrival.seq + 1) == 0;
  if (arrival.floor_seq > 1) from.row.settled.add(1, arrival.floor_seq);
  mark(from);
  queue_.push_back(std::move(arrival));
}

void Catalog::settle_hello(const HelloRecord& hello, uint64_t segment_number, uint64_t end) {
  Device& owner = device(hello.device);
  Boot& from = boot(owner, hello.boot);
  from.row.has_hello = true;
  from.row.previous_boot = hello.previous_boot;
  from.row.started_ms = hello.started_ms;
  from.hello_pending = 0;
  mark(from);
  owner.row.last_received_ms = std::max(owner.row.last_received_ms, hello.received_ms);
  owner.changed = true;
  IndexedSegment& home = segment(segment_number);
  home.received_min = std::min(home.received_min, hello.received_ms);
  home.received_max = std::max(home.received_max, hello.received_ms);
  advance(segment_number, end);
}

void Catalog::advance(uint64_t number, uint64_t end) {
  Arrival position;
  position.segment = number;
  position.end = end;
  queue_.push_back(std::move(position));
  ahead_of_index_[number] = std::max(ahead_of_index_[number], end);
}

void Catalog::seal(uint64_t number) {
  if (segments_.count(number) != 0) segment(number).sealed = true;
}

void Catalog::drain() {
  while (!queue_.empty()) {
    const Arrival arrival = std::move(queue_.front());
    queue_.pop_front();
    if (!arrival.device.empty()) index_arrival(arrival);
    // Only now: what follows the position has not been read yet.
    indexed(arrival.segment, arrival.end);
  }
}

void Catalog::indexed(uint64_t number, uint64_t end) {
  const auto ahead = ahead_of_index_.find(number);
  if (ahead != ahead_of_index_.end() && ahead->second <= end) ahead_of_index_.erase(ahead);
  IndexedSegment& home = segment(number);
  if (end <= home.indexed_to) return;
  uncommitted_bytes_ += end - home.indexed_to;
  home.indexed_to = end;
}

void Catalog::index_arrival(const Arrival& arrival) {
  Device& owner = device(arrival.device);
  Boot& from = boot(owner, arrival.boot);
  for (const Declared& declared : arrival.declarations) declare(owner, from, declared);
  BlockRow row;
  row.segment = arrival.segment;
  for (const PlacedBlock& block : arrival.blocks) {
    row.stream = block.stream;
    row.first = block.first;
    row.count = block.count;
    row.clock = block.clock;
    row.t_min = block.t_min;
    row.t_max = block.t_max;
    row.offset = block.offset;
    row.length = block.length;
    index_->put_block(row);
  }
  for (const GapView& gap : arrival.gaps) index_->put_gap(from.row.id, gap);
  for (const ClockView& clock : arrival.clocks) index_->put_clock(from.row.id, clock, arrival.seq);
  // What is read again, from a merged segment, was checked when it came.
  if (arrival.seq == 0 || arrival.seq_known) return;
  check_chain(owner, from, arrival);
  index_->put_parcel(from.row.id, arrival.seq, {arrival.digest, arrival.previous});
}

void Catalog::declare(const Device& owner, const Boot& from, const Declared& declared) {
  Stream& target = stream(from, declared.ref);
  if (target.row.series != 0) return;  // the first declaration holds
  SeriesRow series;
  series.canonical = canonical_name(declared.name, declared.labels);
  series.gid = series_gid(owner.row.name, series.canonical);
  if (const auto known = index_->series(series.gid)) {
    target.row.series = *known;
  } else {
    series.id = next_series_++;
    series.device = owner.row.id;
    series.name = declared.name;
    index_->put_series(series);
    target.row.series = series.id;
  }
  target.row.kind = declared.kind;
  target.row.type = declared.type;
  target.row.scale = declared.scale;
  target.row.unit = declared.unit;
  target.declared = true;
  index_->put_stream(target.row);
}

// Each parcel names the digest of the one before. Both neighbours are asked, as parcels come in any order.
void Catalog::check_chain(Device& owner, Boot& from, const Arrival& arrival) {
  const auto before = arrival.seq - 1;
  uint64_t breaks = 0;
  if (before > 0 && before == from.last_seq) {
    breaks += from.last_digest != arrival.previous ? 1 : 0;
  } else if (before > 0 && from.row.settled.contains(before, before + 1)) {
    const auto known = index_->parcel(from.row.id, before);
    breaks += known && known->digest != arrival.previous ? 1 : 0;
  }
  if (from.row.settled.contains(arrival.seq + 1, arrival.seq + 2)) {
    const auto known = index_->parcel(from.row.id, arrival.seq + 1);
    breaks += known && known->previous != arrival.digest ? 1 : 0;
  }
  from.last_seq = arrival.seq;
  from.last_digest = arrival.digest;
  owner.row.chain_breaks += breaks;
  chain_breaks_ += breaks;
}

uint64_t Catalog::place(const std::string& device_name, uint64_t boot_id, PlacedBlock block, uint64_t segment_number,
                        const std::set<uint64_t>& replaced) {
  drain();
  Device& owner = device(device_name);
  Boot& from = boot(owner, boot_id);
  Stream& target = stream(from, block.ref);
  const uint64_t end = block.first + block.count;
  std::vector<OrdinalRun> free{{block.first, end}};
  const bool sources_count = std::any_of(replaced.begin(), replaced.end(), [&](uint64_t number) {
    const auto source = segments_.find(number);
    return source != segments_.end() && !source->second.dead;
  });
  if (!sources_count && target.stored.intersects(block.first, end)) {
    RunSet held;
    for (const BlockRow& row : overlapping(from, target, block.first, end)) held.add(row.first, row.end());
    free = held.missing(block.first, end);
  }
  if (target.row.series == 0 && target.stored.empty()) {
    // Its declaration is damaged, or comes later.
    index_->put_stream(target.row);
  }
  owner.row.points += target.stored.add(block.first, end);
  owner.changed = true;
  mark(from);
  mark(target);
  IndexedSegment& home = segment(segment_number);
  widen(from, owner, home, block);
  home.blocks++;
  home.points += block.count;
  if (block.count < small_points_) home.small_blocks++;

  uint64_t placed = 0;
  for (const OrdinalRun& run : free) {
    BlockRow row;
    row.stream = target.row.id;
    row.first = run.first;
    row.count = static_cast<uint32_t>(run.count());
    row.clock = block.clock;
    row.t_min = block.t_min;
    row.t_max = block.t_max;
    row.segment = segment_number;
    row.offset = block.offset;
    row.length = block.length;
    index_->put_block(row);
    owner.row.blocks++;
    held_[{segment_number, owner.row.id}]++;
    placed += run.count();
  }
  return block.count - placed;
}

void Catalog::retire(const std::string& device_name, uint64_t boot_id, uint32_t ref, OrdinalRun run) {
  drain();
  Device& owner = device(device_name);
  Boot& from = boot(owner, boot_id);
  Stream& target = stream(from, ref);
  if (target.row.series == 0 && target.stored.empty()) index_->put_stream(target.row);
  owner.row.points += target.stored.add(run.first, run.end);
  owner.changed = true;
  mark(from);
  mark(target);
}

void Catalog::undeclare(const Boot& boot) {
  drain();
  for (const uint32_t ref : index_->declared_refs(boot.row.id)) {
    Stream* const target = find_stream(boot, ref);
    if (target == nullptr) continue;
    target->declared = false;
    target->row.series = 0;
    index_->put_stream(target->row);
  }
  index_->drop_clocks(boot.row.id);
}

void Catalog::retire_gap(const std::string& device_name, uint64_t boot_id, const GapView& gap) {
  drain();
  Boot& from = boot(device(device_name), boot_id);
  mark(from);
  index_->put_gap(from.row.id, gap);
}

void Catalog::carried(uint64_t number, uint64_t bytes) {
  if (bytes > 0) segment(number).carried_bytes += bytes;
}

std::vector<uint64_t> Catalog::segments_in(int64_t from, int64_t to) const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, segment] : segments_) {
    if (!segment.dead && segment.t_max >= from && segment.t_min <= to) numbers.push_back(number);
  }
  return numbers;
}

std::vector<uint64_t> Catalog::segments_of(const BootRow& boot, const std::vector<uint64_t>& among) {
  std::vector<uint64_t> numbers;
  const auto& runs = boot.segments.runs();
  auto end = among.end();
  for (auto run = runs.rbegin(); run != runs.rend() && end != among.begin(); ++run) {
    end = std::lower_bound(among.begin(), end, run->end);
    for (; end != among.begin() && *std::prev(end) >= run->first; --end) numbers.push_back(*std::prev(end));
  }
  return numbers;
}

std::vector<uint64_t> Catalog::segments_of(const BootRow& boot) const {
  std::vector<uint64_t> numbers;
  const auto& runs = boot.segments.runs();
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    const auto begin = segments_.lower_bound(run->first);
    for (auto at = segments_.lower_bound(run->end); at != begin;) {
      --at;
      if (!at->second.dead && at->second.t_min <= at->second.t_max) numbers.push_back(at->first);
    }
  }
  return numbers;
}

// Takes off those below the oldest segment in force: numbers only rise.
void Catalog::prune(RunSet* segments) const {
  const auto oldest =
      std::find_if(segments_.begin(), segments_.end(), [](const auto& entry) { return !entry.second.dead; });
  if (oldest == segments_.end() || segments->empty() || segments->runs().front().end > oldest->first) return;
  RunSet kept;
  for (const OrdinalRun& run : segments->runs()) {
    if (run.end > oldest->first) kept.add(run.first, run.end);
  }
  *segments = std::move(kept);
}

std::vector<BlockRow> Catalog::overlapping(const Boot& boot, const Stream& stream, uint64_t first, uint64_t end) {
  uint64_t points = 0;
  for (const OrdinalRun& run : stream.stored.covered(first, end)) points += run.count();
  return index().overlapping(stream.row.id, first, end, segments_of(boot.row), points);
}

IndexedSegment& Catalog::segment(uint64_t number) {
  IndexedSegment& segment = segments_[number];
  segment.number = number;
  segments_changed_.insert(number);
  return segment;
}

void Catalog::end_segment(uint64_t number) {
  write_held();
  segment(number).dead = true;
  for (const auto& [id, blocks] : index_->held(number)) {
    Device* device = find_device(id);
    if (device == nullptr) continue;
    device->row.blocks -= static_cast<uint64_t>(blocks);
    device->changed = true;
  }
  index_->drop_held(number);
}

void Catalog::forget_segment(uint64_t number) {
  drain();
  segments_.erase(number);
  segments_changed_.erase(number);
  dropping_.push_back(number);
}

bool Catalog::drop_slice() {
  if (dropping_.empty() || !ok()) return false;
  if (!index_->drop_extents(dropping_.back())) return true;
  index_->drop_held(dropping_.back());
  index_->drop_segment(dropping_.back());
  dropping_.pop_back();
  return !dropping_.empty();
}

void Catalog::write_held() {
  drain();
  for (const auto& [key, blocks] : held_) index_->add_held(key.first, key.second, blocks);
  held_.clear();
}

void Catalog::write_boots() {
  drain();
  for (Boot* boot : boots_changed_) {
    boot->changed = false;
    prune(&boot->row.segments);
    index_->put_boot(boot->row);
    const uint64_t contiguous = boot->contiguous();
    if (contiguous > kDigestsKept) index_->drop_parcels_below(boot->row.id, contiguous - kDigestsKept);
  }
  boots_changed_.clear();
}

void Catalog::write_changed() {
  drain();
  for (Stream* stream : streams_changed_) {
    stream->changed = false;
    index_->put_coverage(stream->row.id, stream->stored);
  }
  streams_changed_.clear();
  write_boots();
  write_held();
  for (auto& [name, device] : devices_) {
    if (device.changed) index_->put_device(device.row);
    device.changed = false;
  }
  for (const uint64_t number : segments_changed_) index_->put_segment(segments_[number]);
  segments_changed_.clear();
}

void Catalog::commit(bool durable) {
  write_changed();
  index_->commit(durable);
  uncommitted_bytes_ = 0;
}

void Catalog::trim() {
  if (stream_bytes_ <= coverage_bytes_max_ && boots_.size() <= kBootsCachedMax) return;
  write_changed();
  for (auto at = streams_.end(); stream_bytes_ > coverage_bytes_max_ && at != streams_.begin();) {
    --at;
    if (at->pending[0].any() || at->pending[1].any()) continue;
    stream_bytes_ -= at->counted_bytes;
    stream_at_.erase({at->row.boot, at->row.ref});
    at = streams_.erase(at);
  }
  for (auto at = boots_.end(); boots_.size() > kBootsCachedMax && at != boots_.begin();) {
    --at;
    if (at->hello_pending != 0 || at->under_way != 0) continue;
    boot_at_.erase({at->row.device, at->row.boot});
    at = boots_.erase(at);
  }
}

}  // namespace lambda::gateway
