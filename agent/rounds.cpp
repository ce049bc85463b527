#include "agent/rounds.h"

#include <algorithm>
#include <set>

#include "base/planted.h"
#include "base/record/record.h"

namespace lambda::agent {
namespace {

// Blocks made of a piece of an old journal.
class PieceFeed final : public BlockFeed {
 public:
  PieceFeed(const ReplayPiece& piece, const SeriesTable& table, uint64_t parcel_bytes_max)
      : points_max_(std::clamp<size_t>((parcel_bytes_max / 2 - 80) / kPointBytesMax, 1, kBlockPointsMax)) {
    for (const PointRun& run : piece.runs) add(run, table.at(run.ref));
  }
  bool peek(BlockHead* head) override {
    if (at_ == heads_.size()) return false;
    *head = heads_[at_];
    head->data = bytes_.data() + offsets_[at_];
    return true;
  }
  void take() override { ++at_; }
  bool copy(const BlockHead&, std::span<uint8_t>) override { return false; }

 private:
  void add(const PointRun& run, const Series& series) {
    size_t next = 0;
    while (next < run.points.size()) {
      std::vector<uint8_t> space(block_bytes_max(points_max_));
      BlockOptions options;
      options.ref = run.ref;
      options.clock = run.clock;
      options.type = series.type;
      options.scale = series.scale;
      options.first_ordinal = run.first_ordinal + next;
      BlockWriter writer(space, options);
      ContentRoot root(host_hash());
      while (next < run.points.size() && writer.count() < points_max_ &&
             writer.append(run.points[next]) == AppendResult::kOk) {
        root.add(run.points[next++]);
      }
      LAMBDA_ASSERT(writer.count() > 0);
      BlockHead head;
      head.info = writer.info();
      const auto sealed = writer.seal();
      head.bytes = static_cast<uint32_t>(sealed.size());
      root.finish(head.root);
      offsets_.push_back(bytes_.size());
      bytes_.insert(bytes_.end(), sealed.begin(), sealed.end());
      heads_.push_back(head);
    }
  }

  const size_t points_max_;
  std::vector<uint8_t> bytes_;
  std::vector<size_t> offsets_;
  std::vector<BlockHead> heads_;
  size_t at_ = 0;
};

}  // namespace

void Rounds::set_present(uint64_t boot, Journal& journal) {
  present_ = boot;
  journal_ = &journal;
  clocks_told_ = 0;
}

void Rounds::live(bool force, std::function<void()> done) {
  if (live_waiting_ && !force && !done) return;
  live_waiting_ = true;
  Job job;
  job.kind = Kind::kLive;
  job.boot = present_;
  job.force = force;
  job.done = std::move(done);
  add(std::move(job));
}

void Rounds::replay(uint64_t boot, std::vector<JournalFile> files) {
  replays_left_++;
  Job job;
  job.kind = Kind::kReplay;
  job.boot = boot;
  job.files = std::move(files);
  add(std::move(job));
}

uint64_t Rounds::replay_bytes() const {
  uint64_t bytes = 0;
  for (const Job& job : jobs_) {
    for (const JournalFile& file : job.files) bytes += file.bytes;
  }
  return bytes;
}

void Rounds::declare(uint64_t boot, std::vector<uint32_t> refs) {
  for (Job& waiting : jobs_) {
    if (waiting.kind != Kind::kDeclare || waiting.boot != boot) continue;
    for (const uint32_t ref : refs) {
      if (std::find(waiting.refs.begin(), waiting.refs.end(), ref) == waiting.refs.end()) waiting.refs.push_back(ref);
    }
    return;
  }
  Job job;
  job.kind = Kind::kDeclare;
  job.boot = boot;
  job.refs = std::move(refs);
  add(std::move(job));
}

void Rounds::name_gaps() {
  for (const auto& boot : parts_.spool.state().boots()) {
    if (boot->pending.empty() || boot->id == present_ || boot->held) continue;
    const bool waiting = std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.boot == boot->id; });
    if (waiting) continue;
    Job job;
    job.kind = Kind::kGaps;
    job.boot = boot->id;
    add(std::move(job));
  }
}

void Rounds::then(std::function<void()> task) {
  Job job;
  job.done = std::move(task);
  add(std::move(job));
}

void Rounds::add(Job job) {
  jobs_.push_back(std::move(job));
  parts_.env.loop.post([this, alive = alive_] {
    if (*alive) run();
  });
}

void Rounds::run() {
  if (running_ || jobs_.empty() || !parts_.spool.started()) return;
  running_ = true;
  const Job& job = jobs_.front();
  Boot* boot = parts_.spool.state().find(job.boot);
  switch (job.kind) {
    case Kind::kLive:
      run_live(job);
      return;
    case Kind::kReplay:
      if (boot == nullptr) return end();
      replay_ = std::make_unique<JournalReplay>(parts_.env.disk, parts_.env.log, parts_.dir, job.files, *boot->series,
                                                boot->pending, GapReason::kCorrupt);
      run_replay();
      return;
    case Kind::kDeclare:
    case Kind::kGaps: {
      if (boot == nullptr) return end();
      boot->packing = true;
      auto input = std::make_shared<PackInput>();
      input->declare.assign(job.refs.begin(), job.refs.end());
      if (!boot->held || boot->id == present_) {
        for (const Gap& gap : boot->gaps_to_name()) input->gaps.push_back(gap);
      }
      pack(job.boot, input, false, [this] { end(); });
      return;
    }
    case Kind::kTask:
      end();
      return;
  }
}

void Rounds::end() {
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  running_ = false;
  if (Boot* boot = parts_.spool.state().find(job.boot)) boot->packing = false;
  if (job.kind == Kind::kReplay) replays_left_--;
  parcels_made_();
  if (job.done) job.done();
  if (jobs_.empty()) return;
  parts_.env.loop.post([this, alive = alive_] {
    if (*alive) run();
  });
}

// ---- What is in memory

void Rounds::run_live(const Job& job) {
  live_waiting_ =
      std::any_of(jobs_.begin() + 1, jobs_.end(), [](const Job& other) { return other.kind == Kind::kLive; });
  journal_->rotate(job.force, [this, alive = alive_, id = job.boot](uint64_t number) {
    if (!*alive) return;
    Boot* boot = parts_.spool.state().find(id);
    LAMBDA_ASSERT(boot != nullptr);
    parts_.memory.store().seal_all();
    add_memory_gaps();
    auto input = std::make_shared<PackInput>();
    for (const Gap& gap : boot->gaps_to_name()) input->gaps.push_back(gap);
    tell_clocks(*boot, *input);
    if (planted("journal_released_early")) journal_->release_below(number);
    pack(id, input, true, [this, number] {
      counters_.rounds++;
      journal_->release_below(number);
      end();
    });
  });
}

void Rounds::tell_clocks(Boot& boot, PackInput& input) {
  for (; clocks_told_ < boot.clocks.size(); ++clocks_told_) input.clocks.push_back(boot.clocks[clocks_told_]);
}

// What the store had to let go of before it was in a parcel.
void Rounds::add_memory_gaps() {
  std::map<uint64_t, std::vector<Gap>> gaps;
  StoreGap gap;
  while (parts_.memory.store().take_gap(&gap)) {
    gaps[gap.boot].push_back({{gap.ref, gap.first_ordinal, gap.count}, GapReason::kMemory});
    counters_.points_memory += gap.count;
  }
  for (const auto& [boot, list] : gaps) parts_.spool.add_gaps(boot, list);
}

void Rounds::pack(uint64_t id, std::shared_ptr<PackInput> input, bool live, std::function<void()> done) {
  Boot* boot = parts_.spool.state().find(id);
  if (boot == nullptr) return done();
  if (boot->seq_known_max >= boot->next_seq) {
    boot->gone.add(boot->next_seq, boot->seq_known_max);
    boot->next_seq = boot->seq_known_max + 1;
  }
  std::unique_ptr<MemoryFeed> feed;
  if (live) {
    feed = std::make_unique<MemoryFeed>(parts_.memory.store(), id);
    input->blocks = feed.get();
  }
  auto packed = std::make_shared<Packed>();
  std::vector<BlockHead> too_large;
  const bool any = parts_.packer.pack(*boot, parts_.env.clock.utc_ms(), *input, packed.get(), &too_large);
  if (live) input->blocks = nullptr;
  for (const BlockHead& block : too_large) {
    const Run run{block.info.ref, block.info.first_ordinal, block.info.count};
    if (block.data == nullptr) parts_.memory.store().safe(block.id);
    counters_.points_too_large += run.count;
    parts_.env.log.error("block_larger_than_a_parcel", {{"ref", run.ref}, {"points", run.count}});
    parts_.spool.add_gaps(id, {{run, GapReason::kMemory}});
  }
  if (!any) return done();
  counters_.points_packed += packed->points;
  // Not before the next task: `packed` must be in the spool's hands, and this must not recurse.
  parts_.spool.append(packed->up, packed->digest,
                      [this, alive = alive_, id, input, live, packed, done = std::move(done)](Status status) {
                        if (!*alive) return;
                        LAMBDA_ASSERT(status.has_value());
                        for (const BlockHead& block : packed->blocks) {
                          if (block.data == nullptr) parts_.memory.store().safe(block.id);
                        }
                        parcels_made_();
                        pack(id, input, live, done);
                      });
  packed->up = {};
}

// ---- What old journals hold

void Rounds::run_replay() {
  const uint64_t id = jobs_.front().boot;
  Boot* boot = parts_.spool.state().find(id);
  LAMBDA_ASSERT(boot != nullptr);
  auto piece = std::make_shared<ReplayPiece>(replay_->next());
  counters_.journals_damaged += piece->files_damaged.size();
  counters_.points_recovered += piece->points;
  if (!piece->gaps.empty()) parts_.spool.add_gaps(id, piece->gaps);
  auto input = std::make_shared<PackInput>();
  // Nobody knows whether the boot came to tell of its clock segments: they are told with the points that need them.
  std::set<uint32_t> segments;
  for (const PointRun& run : piece->runs) segments.insert(run.clock);
  for (const uint32_t segment : segments) input->clocks.push_back({segment, false, 0, true});
  auto feed = std::make_shared<PieceFeed>(*piece, *boot->series, parts_.packer.options().parcel_bytes_max);
  piece->runs = {};
  input->blocks = feed.get();
  pack(id, input, false, [this, id, piece, feed] {
    // Gaps are named when all that may fill them was read.
    Boot* of = parts_.spool.state().find(id);
    if (!piece->last || of == nullptr || of->pending.empty()) return finish_piece(*piece, id);
    auto gaps = std::make_shared<PackInput>();
    for (const Gap& gap : of->gaps_to_name()) gaps->gaps.push_back(gap);
    pack(id, gaps, false, [this, id, piece] { finish_piece(*piece, id); });
  });
}

void Rounds::finish_piece(const ReplayPiece& piece, uint64_t id) {
  parts_.spool.flush([this, alive = alive_, id, piece](Status) {
    if (!*alive) return;
    for (const uint64_t number : piece.files_done) {
      const bool damaged =
          std::find(piece.files_damaged.begin(), piece.files_damaged.end(), number) != piece.files_damaged.end();
      if (damaged) {
        parts_.spool.quarantine(numbered_name("journal-", number));
      } else if (auto status = release_journal_file(parts_.env.disk, parts_.dir, number, parts_.keep_journals);
                 !status) {
        parts_.env.log.warn("journal_release_failed", {{"error", status.error().text}});
      }
    }
    if (!piece.last) return run_replay();
    replay_.reset();
    parts_.spool.state().share_names();
    if (Boot* boot = parts_.spool.state().find(id)) boot->held = false;
    end();
  });
}

}  // namespace lambda::agent
