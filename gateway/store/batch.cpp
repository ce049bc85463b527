// Group commit. Parcels that come while a batch is synced are decided in order against what is stored, and what is new
// of them becomes the next batch: one append and one sync, handed to the disk as soon as it is free; they are answered
// after it. A parcel that touches anything a batch under way may bring waits until that one is settled.
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "base/record/record.h"
#include "gateway/store/store_impl.h"
#include "lambda/codecs.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kCommitIntervalUs = 2'000'000;
// What a crash makes the next start read again is at most this, and the batches under way.
constexpr uint64_t kCommitBytes = 64u << 20;
constexpr uint64_t kCommitRows = 250'000;
static_assert(kCommitRows < kGatheredBlocksMax, "blocks are written at a commit, not in between");
constexpr int64_t kSpaceCheckUs = 250'000;
// A record may be 4 MiB; this leaves room for what stands beside the parcel.
constexpr size_t kMessageBytesMax = 3u << 20;

std::string ordinals(uint32_t ref, uint64_t first, uint64_t end) {
  return "ref " + std::to_string(ref) + ", ordinals " + std::to_string(first) + " to " + std::to_string(end - 1);
}

bool same_declaration(const Declared& a, const Declared& b) {
  return a.name == b.name && a.labels == b.labels && a.kind == b.kind && a.type == b.type && a.scale == b.scale &&
         a.unit == b.unit;
}

}  // namespace

void StoreImpl::put(StoreRequest request, std::function<void(const Decision&)> decided) {
  Waiting waiting;
  waiting.request = std::move(request);
  waiting.decided = std::move(decided);
  if (full_) check_space(false);
  if (!ready_) return refuse(std::move(waiting), Verdict::kBusy, "the index is being computed");
  if (full_) return refuse(std::move(waiting), Verdict::kFull, "the disk is nearly full");
  if (waiting_parcels() >= options_.batch_parcels_max || queue_bytes_ + waiting.bytes() > options_.batch_bytes_max) {
    return refuse(std::move(waiting), Verdict::kBusy, "too much waits for the disk");
  }
  queue_bytes_ += waiting.bytes();
  queue_.push_back(std::move(waiting));
  schedule_batch();
}

void StoreImpl::put_hello(HelloRecord hello, std::function<void(const Status&)> done) {
  Waiting waiting;
  waiting.is_hello = true;
  waiting.hello = std::move(hello);
  waiting.hello_done = std::move(done);
  if (full_) check_space(false);
  if (!ready_) return refuse(std::move(waiting), Verdict::kBusy, "the index is being computed");
  if (waiting_parcels() >= options_.batch_parcels_max || queue_bytes_ + waiting.bytes() > options_.batch_bytes_max) {
    return refuse(std::move(waiting), Verdict::kBusy, "too much waits for the disk");
  }
  queue_bytes_ += waiting.bytes();
  queue_.push_back(std::move(waiting));
  schedule_batch();
}

void StoreImpl::refuse(Waiting waiting, Verdict verdict, std::string text) {
  if (verdict == Verdict::kFull) {
    counters_.parcels_withheld_full++;
  } else {
    counters_.parcels_withheld_busy++;
  }
  env_.loop.post([waiting = std::move(waiting), verdict, text = std::move(text)] {
    if (waiting.is_hello) {
      waiting.hello_done(fail(verdict == Verdict::kFull ? ErrorCode::kFull : ErrorCode::kUnavailable, text));
    } else {
      Decision decision;
      decision.verdict = verdict;
      decision.text = text;
      waiting.decided(decision);
    }
  });
}

void StoreImpl::schedule_batch() {
  if (batch_scheduled_) return;
  batch_scheduled_ = true;
  env_.loop.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    batch_scheduled_ = false;
    decide_waiting();
    launch();
  });
}

void StoreImpl::write_background(std::vector<std::byte> bytes, uint64_t records,
                                 std::function<void(const Status&)> after) {
  background_.insert(background_.end(), bytes.begin(), bytes.end());
  background_records_ += records;
  background_after_.push_back(std::move(after));
  schedule_batch();
}

void StoreImpl::decide_waiting() {
  if (queue_.empty()) return;
  check_space(false);
  catalog_->trim();
  Batch& batch = open_batch();
  for (; !queue_.empty(); queue_.pop_front()) {
    Item item;
    item.waiting = std::move(queue_.front());
    const std::string& device = item.waiting.is_hello ? item.waiting.hello.device : item.waiting.request.device;
    Step step = Step::kDefer;
    if (blocked_.count(device) == 0) step = item.waiting.is_hello ? decide_hello(batch, item) : decide(batch, item);
    if (step == Step::kTaken) {
      batch.waiting_bytes += item.waiting.bytes();
      batch.items.push_back(std::move(item));
    } else {
      blocked_.insert(device);
      deferred_.push_back(std::move(item.waiting));
    }
  }
  if (!catalog_->ok()) fail_waiting();
}

// The index failed: nothing was decided that may be believed.
void StoreImpl::fail_waiting() {
  open_batch();
  for (Waiting& waiting : deferred_) open_->items.emplace_back().waiting = std::move(waiting);
  deferred_.clear();
  blocked_.clear();
  queue_bytes_ = 0;
  for (Item& item : open_->items) item.needs_sync = true;
  env_.loop.post([this, alive = std::weak_ptr(alive_), batch = drop_open()] {
    if (!alive.expired()) answer(batch, fail(ErrorCode::kUnavailable, "the index failed"));
  });
}

StoreImpl::Batch& StoreImpl::open_batch() {
  if (!open_) {
    open_ = std::make_shared<Batch>();
    open_->turn = std::exchange(turn_, turn_ ^ 1);
  }
  return *open_;
}

// The next one takes its turn.
std::shared_ptr<StoreImpl::Batch> StoreImpl::drop_open() {
  unstage(*open_);
  turn_ = open_->turn;
  return std::exchange(open_, nullptr);
}

void StoreImpl::launch() {
  if (flying_ || writer_.busy()) return;
  if (!background_after_.empty()) {
    Batch& batch = open_batch();
    batch.bytes.insert(batch.bytes.end(), background_.begin(), background_.end());
    batch.records += std::exchange(background_records_, 0);
    batch.carried_bytes += background_.size();
    background_.clear();
    batch.after = [all = std::exchange(background_after_, {})](const Status& status) {
      for (const auto& after : all) after(status);
    };
  }
  if (!open_) return;
  if (open_->items.empty() && !open_->after) return (void)drop_open();
  const auto batch = flying_ = std::exchange(open_, nullptr);
  queue_bytes_ -= batch->waiting_bytes;
  if (batch->bytes.empty()) {
    env_.loop.post([this, alive = std::weak_ptr(alive_), batch] {
      if (!alive.expired()) finish_batch(batch, {});
    });
    return;
  }
  batch->place = writer_.place();
  writer_.write(std::move(batch->bytes), batch->records, [this, batch](Status status) { finish_batch(batch, status); });
}

StoreImpl::Step StoreImpl::decide_hello(Batch& batch, Item& item) {
  const HelloRecord& hello = item.waiting.hello;
  Boot& boot = catalog_->boot(catalog_->device(hello.device), hello.boot);
  const auto own = static_cast<uint8_t>(1u << batch.turn);
  if ((boot.hello_pending & ~own) != 0) return Step::kDefer;
  if (boot.hello_pending == own) item.needs_sync = true;
  if (boot.row.has_hello || boot.hello_pending == own) return Step::kTaken;
  if (full_) {
    item.decision.verdict = Verdict::kFull;
    return Step::kTaken;
  }
  boot.hello_pending = own;
  item.needs_sync = item.writes = true;
  const size_t before = batch.bytes.size();
  append_stored_hello(batch.bytes, hello);
  batch.carried_bytes += batch.bytes.size() - before;
  batch.records++;
  item.arrival.end = batch.bytes.size();
  return Step::kTaken;
}

StoreImpl::Step StoreImpl::decide(Batch& batch, Item& item) {
  const StoreRequest& request = item.waiting.request;
  Device& device = catalog_->device(request.device);
  Boot& boot = catalog_->boot(device, request.boot);
  Decision& decision = item.decision;

  uint64_t points = 0;
  for (const BlockSlip& slip : request.blocks) points += slip.info.count;
  const auto sibling = batch.parcels.find({boot.row.id, request.seq});
  if (sibling != batch.parcels.end() && !planted("store_ignores_siblings")) {
    if (sibling->second != request.digest) return Step::kDefer;
    item.needs_sync = true;
    decision.verdict = Verdict::kDuplicate;
    decision.points_duplicate = points;
    return Step::kTaken;
  }
  if (flying_ && flying_->parcels.count({boot.row.id, request.seq}) != 0) return Step::kDefer;
  if (boot.row.settled.contains(request.seq, request.seq + 1)) {
    const auto known = catalog_->index().parcel(boot.row.id, request.seq);
    if (known && (known->digest == request.digest || planted("store_seq_is_enough"))) {
      decision.verdict = Verdict::kDuplicate;
      decision.points_duplicate = points;
      return Step::kTaken;
    }
  }

  Finding finding = examine(batch, device, boot, request);
  if (finding.defer) return Step::kDefer;
  decision.text = finding.text;
  if (finding.conflict) {
    decision.verdict = Verdict::kConflict;
  } else if (!finding.undeclared.empty()) {
    decision.verdict = Verdict::kUndeclared;
    decision.refs = std::move(finding.undeclared);
  } else if (finding.points_new == 0 && finding.fresh_declarations.empty() && finding.fresh_gaps.empty() &&
             finding.fresh_clocks.empty()) {
    decision.verdict = Verdict::kDuplicate;
    decision.points_duplicate = points;
    boot.row.settled.add(request.seq, request.seq + 1);
    if (request.floor_seq > 1) boot.row.settled.add(1, request.floor_seq);
    catalog_->mark(boot);
  } else if (full_) {
    decision.verdict = Verdict::kFull;
    decision.text = "the disk is nearly full";
  } else {
    write_parcel(batch, item, device, boot, finding);
  }
  return Step::kTaken;
}

StoreImpl::Finding StoreImpl::examine(const Batch& batch, const Device& device, Boot& boot,
                                      const StoreRequest& request) {
  Finding finding;
  if (request.message.size() > kMessageBytesMax) {
    finding.conflict = true;
    finding.text = "a parcel of more than 3 MiB cannot be stored";
    return finding;
  }
  ++examination_;
  examine_declarations(device, boot, request, &finding);
  std::map<uint32_t, RunSet> own;
  for (size_t i = 0; i < request.blocks.size() && !finding.conflict && !finding.defer; ++i) {
    examine_block(batch, boot, request, i, &own, &finding);
  }
  if (finding.conflict || finding.defer || !finding.undeclared.empty()) return finding;
  for (const GapView& gap : request.gaps) {
    if (!catalog_->index().has_gap(boot.row.id, gap) || planted("store_counts_gaps_twice")) {
      finding.fresh_gaps.push_back(gap);
    }
  }
  if (!request.clocks.empty()) {
    const auto known = catalog_->index().clocks(boot.row.id);
    for (const ClockView& clock : request.clocks) {
      const bool same = std::any_of(known.begin(), known.end(), [&](const ClockView& k) {
        return k.segment == clock.segment && k.relative == clock.relative && k.offset_ms == clock.offset_ms &&
               k.known == clock.known;
      });
      if (!same) finding.fresh_clocks.push_back(clock);
    }
  }
  return finding;
}

void StoreImpl::examine_declarations(const Device& device, Boot& boot, const StoreRequest& request, Finding* finding) {
  for (size_t i = 0; i < request.declarations.size(); ++i) {
    const Declared& declared = request.declarations[i];
    bool alike = true;
    bool repeated = false;
    for (size_t j = 0; j < i && request.declarations.size() <= 64; ++j) {
      if (request.declarations[j].ref != declared.ref) continue;
      repeated = true;
      alike = alike && same_declaration(request.declarations[j], declared);
    }
    const Stream* stream = catalog_->find_stream(boot, declared.ref);
    if (stream != nullptr && (stream->pending[0].declared || stream->pending[1].declared)) {
      finding->defer = true;
      return;
    }
    const bool known = stream != nullptr && stream->declared;
    if (known) alike = alike && catalog_->declared_alike(device, *stream, declared);
    if (!alike) {
      finding->conflict = true;
      finding->text = "ref " + std::to_string(declared.ref) + " is declared already, as another series";
      return;
    }
    if (!known && !repeated) finding->fresh_declarations.push_back(i);
  }
}

void StoreImpl::examine_block(const Batch& batch, Boot& boot, const StoreRequest& request, size_t index,
                              std::map<uint32_t, RunSet>* own, Finding* finding) {
  const BlockSlip& slip = request.blocks[index];
  const uint64_t first = slip.info.first_ordinal;
  const uint64_t end = first + slip.info.count;
  finding->points_all += slip.info.count;
  Stream* stream = catalog_->find_stream(boot, slip.info.ref);
  // What the batch before may bring, it may also fail to bring.
  if (stream != nullptr && !stream->declared && stream->pending[batch.turn ^ 1].declared) {
    finding->defer = true;
    return;
  }
  const bool known = stream != nullptr && (stream->declared || stream->pending[batch.turn].declared);
  if (!known && std::none_of(request.declarations.begin(), request.declarations.end(),
                             [&](const Declared& declared) { return declared.ref == slip.info.ref; })) {
    auto& refs = finding->undeclared;
    if (std::find(refs.begin(), refs.end(), slip.info.ref) == refs.end()) refs.push_back(slip.info.ref);
    return;
  }
  if (stream != nullptr && !planted("store_ignores_pending") &&
      (stream->pending[0].runs.intersects(first, end) || stream->pending[1].runs.intersects(first, end))) {
    finding->defer = true;
    return;
  }
  if (twice(stream, request, index, own) && !planted("store_twice_in_one_parcel")) {
    finding->conflict = true;
    finding->text = ordinals(slip.info.ref, first, end) + ": twice in this parcel";
    return;
  }
  if (stream == nullptr || planted("store_no_dedupe") || !stream->stored.intersects(first, end)) {
    finding->accepted.push_back({static_cast<uint32_t>(index), {first, end}});
    finding->streams.push_back(stream);
    finding->points_new += slip.info.count;
    return;
  }
  if (!same_content(boot, *stream, slip)) {
    finding->conflict = true;
    finding->text = ordinals(slip.info.ref, first, end) + ": stored already, with other content";
    return;
  }
  finding->partial = true;
  for (const OrdinalRun& run : stream->stored.missing(first, end)) {
    finding->accepted.push_back({static_cast<uint32_t>(index), run});
    finding->streams.push_back(stream);
    finding->points_new += run.count();
  }
}

// Whether an earlier block of the parcel has some of the ordinals. Where each block of a stream stands behind the one
// before, as nearly always, `own` is not needed.
bool StoreImpl::twice(Stream* stream, const StoreRequest& request, size_t index, std::map<uint32_t, RunSet>* own) {
  const BlockInfo& info = request.blocks[index].info;
  const uint64_t end = info.first_ordinal + info.count;
  if (stream != nullptr && own->count(info.ref) == 0) {
    if (stream->examination != examination_ || info.first_ordinal >= stream->examined_end) {
      stream->examination = examination_;
      stream->examined_end = end;
      return false;
    }
    for (size_t i = 0; i < index; ++i) {
      const BlockInfo& other = request.blocks[i].info;
      if (other.ref == info.ref) (*own)[info.ref].add(other.first_ordinal, other.first_ordinal + other.count);
    }
  }
  RunSet& mine = (*own)[info.ref];
  if (mine.intersects(info.first_ordinal, end)) return true;
  mine.add(info.first_ordinal, end);
  return false;
}

bool StoreImpl::same_content(const Boot& boot, const Stream& stream, const BlockSlip& slip) {
  if (planted("store_no_conflict")) return true;
  const uint64_t first = slip.info.first_ordinal;
  const uint64_t end = first + slip.info.count;
  std::vector<Point> points;
  for (const BlockRow& row : catalog_->overlapping(boot, stream, first, end)) {
    if (points.empty()) {
      points.resize(slip.info.count);
      BlockInfo info;
      const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(slip.bytes.data()), slip.bytes.size());
      if (!decode_block(bytes, boot.row.boot, &info, points, kAllCodings).ok()) return false;
    }
    BlockInfo info;
    const auto stored = read_block(segment_path(options_.directory, row.segment), row, boot.row.boot, &info);
    if (!stored) continue;  // counted and named by read_block()
    if (info.type != slip.info.type || info.scale != slip.info.scale || info.clock != slip.info.clock) return false;
    const uint64_t low = std::max(first, row.first);
    const uint64_t high = std::min(end, row.end());
    for (uint64_t at = low; at < high; ++at) {
      if (!((*stored)[at - info.first_ordinal] == points[at - first])) return false;
    }
  }
  return true;
}

void StoreImpl::write_parcel(Batch& batch, Item& item, const Device& device, Boot& boot, const Finding& finding) {
  const StoreRequest& request = item.waiting.request;
  item.needs_sync = item.writes = true;
  item.decision.verdict = Verdict::kStored;
  item.decision.points_new = finding.points_new;
  item.decision.points_duplicate = finding.points_all - finding.points_new;
  item.decision.accepted.reserve(finding.accepted.size());
  for (const AcceptedRun& run : finding.accepted) {
    item.decision.accepted.push_back({run.block, run.run.first, run.run.end});
  }
  const size_t message_at = append_stored_parcel(
      batch.bytes, request, finding.partial,
      finding.partial ? std::span<const AcceptedRun>(finding.accepted) : std::span<const AcceptedRun>());
  batch.records++;
  Arrival& arrival = item.arrival;
  arrival.device = device.row.name;
  arrival.boot = request.boot;
  arrival.seq = request.seq;
  arrival.floor_seq = request.floor_seq;
  arrival.received_ms = request.received_ms;
  arrival.digest = request.digest;
  arrival.previous = request.previous;
  arrival.gaps = finding.fresh_gaps;
  arrival.clocks = finding.fresh_clocks;
  arrival.end = batch.bytes.size();
  const auto stage = [&](Stream& stream) {
    if (!stream.pending[batch.turn].any()) batch.staged.push_back(&stream);
  };
  for (const size_t i : finding.fresh_declarations) {
    Stream& stream = catalog_->stream(boot, request.declarations[i].ref);
    stage(stream);
    stream.pending[batch.turn].declared = true;
    arrival.declarations.push_back(request.declarations[i]);
  }
  arrival.blocks.reserve(finding.accepted.size());
  for (size_t i = 0; i < finding.accepted.size(); ++i) {
    const AcceptedRun& run = finding.accepted[i];
    const BlockSlip& slip = request.blocks[run.block];
    Stream& stream = finding.streams[i] != nullptr ? *finding.streams[i] : catalog_->stream(boot, slip.info.ref);
    stage(stream);
    stream.pending[batch.turn].runs.add(run.run.first, run.run.end);
    PlacedBlock block;
    block.ref = slip.info.ref;
    block.at = &stream;
    block.first = run.run.first;
    block.count = static_cast<uint32_t>(run.run.count());
    block.clock = slip.info.clock;
    block.t_min = slip.info.t_min;
    block.t_max = slip.info.t_max;
    block.offset = message_at + static_cast<size_t>(slip.bytes.data() - request.message.data());
    block.length = static_cast<uint32_t>(slip.bytes.size());
    arrival.blocks.push_back(block);
  }
  batch.parcels[{boot.row.id, request.seq}] = request.digest;
  batch.boots.push_back(&boot);
  ++boot.under_way;
}

void StoreImpl::finish_batch(const std::shared_ptr<Batch>& batch, const Status& status) {
  flying_ = nullptr;
  const uint64_t end = writer_.last_end();
  const bool sealed = batch->records > 0 && writer_.active() != batch->place.segment;
  if (!status && status.error().code == ErrorCode::kFull) full_ = true;
  // The disk works on the next batch while this one is settled and answered.
  if (open_) launch();
  unstage(*batch);
  settle_batch(*batch, status);
  if (batch->records > 0 && status) {
    catalog_->carried(batch->place.segment, batch->carried_bytes);
    catalog_->advance(batch->place.segment, end);
  }
  if (sealed) catalog_->seal(batch->place.segment);
  // Those that had to see this come before those that came meanwhile.
  blocked_.clear();
  queue_.insert(queue_.begin(), std::make_move_iterator(deferred_.begin()), std::make_move_iterator(deferred_.end()));
  deferred_.clear();
  decide_waiting();
  launch();
  const std::weak_ptr<int> alive = alive_;
  if (batch->records > 0 && status && when_stored_) when_stored_();
  if (!alive.expired()) answer(batch, status);
}

// Nothing of it is pending any more.
void StoreImpl::unstage(Batch& batch) {
  for (Stream* stream : batch.staged) {
    stream->pending[batch.turn].runs.clear();
    stream->pending[batch.turn].declared = false;
  }
  batch.staged.clear();
  for (Boot* boot : batch.boots) --boot->under_way;
  batch.boots.clear();
  for (const Item& item : batch.items) {
    if (!item.writes || !item.waiting.is_hello) continue;
    const HelloRecord& hello = item.waiting.hello;
    if (Boot* boot = catalog_->find_boot(catalog_->device(hello.device), hello.boot)) boot->hello_pending = 0;
  }
}

void StoreImpl::settle_batch(Batch& batch, const Status& status) {
  for (Item& item : batch.items) {
    if (!item.writes) continue;
    Arrival& arrival = item.arrival;
    arrival.segment = batch.place.segment;
    arrival.end += batch.place.offset;
    if (item.waiting.is_hello) {
      if (status) catalog_->settle_hello(item.waiting.hello, arrival.segment, arrival.end);
    } else if (status || planted("store_remembers_failed_batch")) {
      counters_.parcels_stored++;
      counters_.blocks_stored += arrival.blocks.size();
      counters_.points_stored += item.decision.points_new;
      for (PlacedBlock& block : arrival.blocks) block.offset += batch.place.offset;
      catalog_->settle(std::move(arrival));
    }
  }
}

void StoreImpl::answer(std::shared_ptr<Batch> batch, const Status& status) {
  const std::weak_ptr<int> alive = alive_;
  for (Item& item : batch->items) {
    Decision& decision = item.decision;
    if (item.needs_sync && !status) {
      decision = Decision{};
      decision.verdict = status.error().code == ErrorCode::kFull ? Verdict::kFull : Verdict::kBusy;
      decision.text = status.error().text;
    }
    if (item.waiting.is_hello) {
      const bool failed = item.needs_sync ? !status : decision.verdict == Verdict::kFull;
      item.waiting.hello_done(failed ? Status(fail(ErrorCode::kUnavailable, "the hello could not be stored"))
                                     : Status());
    } else {
      switch (decision.verdict) {
        case Verdict::kDuplicate:
          counters_.parcels_duplicate++;
          break;
        case Verdict::kConflict:
          counters_.parcels_conflict++;
          break;
        case Verdict::kFull:
          counters_.parcels_withheld_full++;
          break;
        case Verdict::kBusy:
          counters_.parcels_withheld_busy++;
          break;
        case Verdict::kStored:
        case Verdict::kUndeclared:
          break;
      }
      counters_.points_duplicate += decision.points_duplicate;
      item.waiting.decided(decision);
    }
    if (alive.expired()) return;  // a callback ended the store
  }
  if (batch->after) batch->after(status);
  if (alive.expired()) return;
  commit_if_due(true);
}

void StoreImpl::commit_if_due(bool drain) {
  if (drain) catalog_->drain();
  if (!catalog_->ok()) return index_failed();
  if (catalog_->uncommitted() == 0 && catalog_->uncommitted_bytes() == 0) return;
  const int64_t now = env_.clock.mono_us();
  if (commit_due_us_ == 0) commit_due_us_ = now + kCommitIntervalUs;
  const bool much = catalog_->uncommitted() >= kCommitRows || catalog_->uncommitted_bytes() >= kCommitBytes;
  if (much || now >= commit_due_us_) {
    if (now < commit_due_us_) counters_.index_commits_early++;
    commit_due_us_ = 0;
    catalog_->commit();
    if (!catalog_->ok()) return index_failed();
  }
  if (commit_due_us_ != 0 && commit_timer_ == 0) {
    commit_timer_ = env_.loop.after(kCommitIntervalUs / 1000, [this, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      commit_timer_ = 0;
      commit_if_due(true);
    });
  }
}

void StoreImpl::check_space(bool now) {
  const int64_t at = env_.clock.mono_us();
  if (!now && space_checked_us_ != 0 && at - space_checked_us_ < kSpaceCheckUs) return;
  space_checked_us_ = at;
  const auto free = env_.disk.free_bytes(options_.directory);
  if (!free) return;
  const uint64_t resume = std::max(options_.free_bytes_min, options_.free_bytes_resume);
  const bool was = full_;
  if (*free < options_.free_bytes_min) full_ = true;
  if (*free >= resume) full_ = false;
  if (full_ != was) {
    env_.log.warn(full_ ? "disk_nearly_full" : "disk_has_room",
                  {{"free_bytes", *free}, {"directory", options_.directory}});
  }
}

}  // namespace lambda::gateway
