#include "agent/spool/journal.h"

#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "base/record/record.h"

namespace lambda::agent {
namespace {

// A row that is damaged costs what it held and what is not told of until the next mark: one of 20 bytes or so for every
// KB of rows is cheap.
constexpr uint64_t kMarkEveryBytes = 1024;
// With many series that went their own ways a mark is long, and comes less often.
constexpr uint64_t kMarkShare = 16;
// Who waits for a sync waits for so many bytes of others at most.
constexpr uint64_t kSyncShareBytes = 1u << 20;

uint64_t ram_bytes(const Row& row) {
  return sizeof(Row) + row.points.capacity() * sizeof(RowPoint);
}

}  // namespace

Status release_journal_file(Disk& disk, const std::string& dir, uint64_t number, bool keep) {
  const std::string from = dir + "/" + numbered_name("journal-", number);
  if (keep) return disk.rename(from, dir + "/" + numbered_name("kept-", number));
  return disk.remove(from);
}

Journal::Journal(Env& env, JournalOptions options, JournalHead head, SeriesTable& table, uint64_t first_number)
    : env_(env),
      options_(std::move(options)),
      head_(head),
      table_(table),
      first_number_(first_number),
      next_number_(first_number) {}

Journal::~Journal() {
  *alive_ = false;
  env_.loop.cancel(timer_);
  if (open_) env_.disk.close(file_);
}

std::string Journal::path(uint64_t number) const {
  return options_.dir + "/" + numbered_name("journal-", number);
}

uint64_t Journal::bytes() const {
  uint64_t bytes = 0;
  for (const File& file : files_) bytes += file.bytes;
  return bytes;
}

std::vector<JournalFile> Journal::files() const {
  std::vector<JournalFile> out;
  for (const File& file : files_) out.push_back({file.number, file.bytes, head_});
  return out;
}

void Journal::append(Row row, Done done) {
  LAMBDA_ASSERT(done != nullptr);
  std::vector<Row> one;
  one.push_back(std::move(row));
  append(std::move(one), {},
         [done = std::move(done)](Status status, std::span<const Row> rows) { done(std::move(status), rows.front()); });
}

void Journal::append(std::vector<Row> rows, RowMade made, RowsDone done, const std::optional<RequestNote>& request) {
  LAMBDA_ASSERT(done != nullptr && !rows.empty());
  uint64_t points = 0;
  for (const Row& row : rows) {
    LAMBDA_ASSERT(!row.points.empty() && row.clock == rows.front().clock);
    points += row.points.size();
  }
  LAMBDA_ASSERT(points <= kRowsPointsMax);
  if (rows_waiting_ >= options_.rows_waiting_max || unsynced_bytes_ > options_.unsynced_bytes_max) {
    counters_.points_unmade += points;
    env_.loop.post([done = std::move(done), rows = std::move(rows)] {
      done(fail(ErrorCode::kFull, "the journal's disk does not keep up"), rows);
    });
    return;
  }
  rows_waiting_++;
  Job job;
  job.rows = std::move(rows);
  job.made = std::move(made);
  job.done = std::move(done);
  job.request = request;
  jobs_.push_back(std::move(job));
  pump();
}

void Journal::after_sync(std::function<void()> done) {
  sync_waiters_.push_back({counters_.rows, std::move(done)});
  if (!making_) sync_as_asked();  // else when all that was written is made
}

void Journal::settle() {
  for (SyncWaiter& waiter : std::exchange(sync_waiters_, {})) env_.loop.post(std::move(waiter.done));
}

void Journal::rotate(bool force, std::function<void(uint64_t)> done) {
  Job job;
  job.kind = JobKind::kRotate;
  job.force = force;
  job.rotated = std::move(done);
  jobs_.push_back(std::move(job));
  pump();
}

void Journal::flush(std::function<void(Status)> done) {
  Job job;
  job.kind = JobKind::kFlush;
  job.flushed = std::move(done);
  jobs_.push_back(std::move(job));
  pump();
}

void Journal::release_below(uint64_t number) {
  while (!files_.empty() && files_.front().number < number && (!open_ || files_.size() > 1)) {
    if (auto status = release_journal_file(env_.disk, options_.dir, files_.front().number, options_.keep);
        !status && status.error().code != ErrorCode::kNotFound) {
      env_.log.warn("journal_release_failed", {{"error", status.error().text}});  // the next start finds it covered
    }
    files_.pop_front();
  }
}

bool Journal::drop_oldest(uint64_t* points) {
  if (files_.size() < 2) return false;
  *points = files_.front().points;
  if (auto status = env_.disk.remove(path(files_.front().number)); !status) {
    env_.log.warn("journal_release_failed", {{"error", status.error().text}});
  }
  files_.pop_front();
  return true;
}

// Takes the next thing to do. Called whenever something ended or came.
void Journal::pump() {
  if (writing_) return;
  if (repeat_ && !failing_) {
    write(0);
    return;
  }
  while (!jobs_.empty()) {
    Job& job = jobs_.front();
    if (job.kind == JobKind::kRow) {
      write(jobs_.size());
      return;
    }
    if (!run_barrier(job)) return;  // waits for a sync
    jobs_.pop_front();
  }
  if (repeat_) start_timer();
}

bool Journal::run_barrier(Job& job) {
  if (syncing_) return false;
  const bool wanted = job.kind == JobKind::kFlush || job.force ||
                      (open_ && !files_.empty() && files_.back().bytes >= options_.file_bytes);
  if (open_ && wanted && !unsynced_.empty() && !barrier_failed_) {
    barrier_waits_ = true;
    sync_now();
    return false;
  }
  // After a failed sync the rows are in another file and wait for that one's own sync: no reason to hold up the caller.
  const bool failed = std::exchange(barrier_failed_, false);
  barrier_waits_ = false;
  if (job.kind == JobKind::kFlush) {
    Status status;
    if (!unsynced_.empty()) status = fail(ErrorCode::kIo, "the journal could not be written again after an error");
    env_.loop.post([done = std::move(job.flushed), status] { done(status); });
    return true;
  }
  if (open_ && wanted && !failed) {
    env_.disk.close(file_);
    open_ = false;
    generation_++;
  }
  const uint64_t number = open_ ? files_.back().number : next_number_;
  env_.loop.post([done = std::move(job.rotated), number] { done(number); });
  return true;
}

Status Journal::begin_file(const Row* first) {
  const uint64_t number = next_number_++;
  auto file = env_.disk.open_append(path(number));
  if (!file) return tl::unexpected(file.error());
  file_ = *file;
  open_ = true;
  dir_synced_ = false;
  generation_++;
  encoder_ = JournalEncoder();
  files_.push_back({number, 0, 0});

  std::vector<uint64_t> back(table_.size(), 0);
  for (const Row& again : unsynced_) {
    for (const RowPoint& point : again.points) back[point.ref]++;
  }
  if (planted("journal_repeats_nothing")) back.assign(back.size(), 0);
  if (planted("journal_ordinals_restart")) {
    for (SeriesRef ref = 0; ref < table_.size(); ++ref) back[ref] = table_.at(ref).next_ordinal;
  }
  if (!unsynced_.empty()) first = &unsynced_.front();
  if (first != nullptr) head_.clock = first->clock;
  clock_ = head_.clock;
  declared_ = table_.size();
  declared_again_ = table_.refs_retaken().size();
  append_file_header(*buffer_, {FileKind::kJournal, number, env_.clock.utc_ms(), 0});
  JournalEncoder::open(head_, table_, back, *buffer_);
  const size_t before_mark = buffer_->size();
  JournalEncoder::mark(head_, 0, table_, back, *buffer_);
  mark_bytes_ = buffer_->size() - before_mark;
  rows_in_file_ = since_mark_bytes_ = 0;
  rows_at_end_ = false;
  if (!planted("journal_repeats_nothing")) {
    for (const Row& again : unsynced_) encode({&again, 1});
  }
  // Behind them: who reads as far as this has read all that it says is made.
  if (const auto notes = requests_made_ ? requests_made_() : std::vector<RequestNote>(); !notes.empty()) {
    JournalEncoder::requests(notes, *buffer_);
  }
  return {};
}

void Journal::encode(std::span<const Row> rows) {
  for (; declared_ < table_.size(); ++declared_) {
    if (table_.known(declared_)) JournalEncoder::declaration(table_, declared_, *buffer_);
  }
  const auto& retaken = table_.refs_retaken();
  for (; declared_again_ < retaken.size(); ++declared_again_) {
    JournalEncoder::declaration(table_, retaken[declared_again_], *buffer_);
  }
  if (rows.front().clock != clock_) JournalEncoder::clock(clock_ = rows.front().clock, *buffer_);
  encoder_.rows(rows, table_, *buffer_);
  rows_in_file_ += rows.size();
  rows_at_end_ = rows.size() > 1;
}

// A reader that does not know Rows passes over it: the mark before the next Row tells it that something is missing.
bool Journal::mark_is_due(const Job& job, uint64_t bytes) const {
  if (rows_at_end_ && job.rows.size() == 1) return true;
  return since_mark_bytes_ + bytes >= std::max(kMarkEveryBytes, kMarkShare * mark_bytes_);
}

void Journal::mark() {
  head_.clock = clock_;
  const size_t before = buffer_->size();
  JournalEncoder::mark(head_, rows_in_file_, table_, {}, *buffer_);
  mark_bytes_ = buffer_->size() - before;
  since_mark_bytes_ = 0;
  rows_at_end_ = false;
}

// Writes at most so many of the appends that wait, in a new file if there is none; with none only what must be
// repeated. A mark says how far the series have come, so it can only stand before the first.
void Journal::write(size_t jobs) {
  writing_ = true;
  writing_jobs_ = 0;
  buffer_->clear();
  if (!open_) {
    if (auto status = begin_file(jobs > 0 ? &jobs_.front().rows.front() : nullptr); !status) {
      writing_jobs_ = jobs > 0 ? 1 : 0;
      env_.loop.post([this, alive = alive_, status] {
        if (*alive) written(status);
      });
      return;
    }
  } else if (jobs > 0 && mark_is_due(jobs_.front(), 0)) {
    mark();
  }
  const size_t before = buffer_->size();
  for (; writing_jobs_ < jobs && jobs_[writing_jobs_].kind == JobKind::kRow; ++writing_jobs_) {
    const Job& job = jobs_[writing_jobs_];
    const uint64_t bytes = buffer_->size() - before;
    if (writing_jobs_ > 0 && (bytes >= options_.write_bytes || mark_is_due(job, bytes))) break;
    encode(job.rows);
    if (job.request) JournalEncoder::requests({&*job.request, 1}, *buffer_);
  }
  since_mark_bytes_ += buffer_->size() - before;
  env_.disk.append(file_, *buffer_, [this, alive = alive_, bytes = buffer_, generation = generation_](Status status) {
    if (!*alive) return;
    LAMBDA_ASSERT(generation == generation_);
    written(std::move(status));
  });
}

void Journal::make(Job& job) {
  for (Row& row : job.rows) {
    for (const RowPoint& point : row.points) table_.at(point.ref).next_ordinal++;
    counters_.rows++;
    counters_.points += row.points.size();
    files_.back().points += row.points.size();
    unsynced_.push_back(row);
    unsynced_bytes_ += ram_bytes(unsynced_.back());
    if (job.made) job.made(row);
  }
}

void Journal::fail_written(const Status& status) {
  counters_.append_errors++;
  if (!failing_) env_.log.error("journal_append_failed", {{"error", status.error().text}});
  failing_ = true;
  if (open_) leave_file(true);
  writing_ = true;  // nothing is written before all of these are told
  for (; writing_jobs_ > 0; --writing_jobs_) {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    rows_waiting_--;
    for (const Row& row : job.rows) counters_.points_unmade += row.points.size();
    job.done(status, job.rows);
  }
  writing_ = false;
  repeat_ = !unsynced_.empty();
  pump();
}

void Journal::written(Status status) {
  writing_ = false;
  if (!status && std::exchange(failed_sync_, false)) {
    // A file takes nothing after a failed sync. That says nothing of these rows: they go into the next file, behind
    // those that are repeated.
    if (open_) leave_file(true);
    writing_jobs_ = 0;
    repeat_ = !unsynced_.empty();
    pump();
    return;
  }
  if (!status) return fail_written(status);
  if (failing_) env_.log.info("journal_append_works_again", {{"points_unmade", counters_.points_unmade}});
  failing_ = false;
  counters_.bytes += buffer_->size();
  since_sync_bytes_ += buffer_->size();
  files_.back().bytes += buffer_->size();
  if (repeat_) {
    counters_.rows_repeated += unsynced_.size();
    for (const Row& row : unsynced_) files_.back().points += row.points.size();
  }
  repeat_ = false;
  if (buffer_->capacity() > 2 * options_.write_bytes) *buffer_ = {};
  writing_ = making_ = true;  // nothing is written before all of these are made
  for (; writing_jobs_ > 0; --writing_jobs_) {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    rows_waiting_--;
    make(job);
    job.done({}, job.rows);
  }
  writing_ = making_ = false;
  if (failed_sync_ && open_) {
    leave_file(false);
    repeat_ = true;
  }
  failed_sync_ = false;
  start_timer();
  pump();
  sync_as_asked();
}

// At once, if somebody waits for it and nothing speaks against it. What is being written now shares it, within bounds.
// After an error the timer sets the pace.
void Journal::sync_as_asked() {
  if (unsynced_.empty()) return settle();
  const bool early = unsynced_bytes_ > options_.unsynced_bytes_max / 2;
  if ((sync_waiters_.empty() && !early) || !open_ || sync_failing_ || failing_ || repeat_ || failed_sync_) return;
  if (writing_ && since_sync_bytes_ < kSyncShareBytes) return;
  sync_now();
}

void Journal::start_timer() {
  if (timer_ != 0) return;
  timer_ = env_.loop.after(options_.sync_ms, [this] {
    timer_ = 0;
    if (open_ && !unsynced_.empty()) {
      sync_now();
    } else if (repeat_ && !writing_) {
      write(0);
    } else if (repeat_) {
      start_timer();
    }
  });
}

void Journal::sync_now() {
  if (syncing_) return;
  syncing_ = true;
  since_sync_bytes_ = 0;
  const size_t rows = unsynced_.size();
  const auto finish = [this, alive = alive_, rows, generation = generation_](Status status) {
    if (!*alive) return;
    syncing_ = false;
    if (generation == generation_) {
      synced(std::move(status), rows);
    } else {
      start_timer();
    }
    pump();
    sync_as_asked();
  };
  if (planted("journal_no_sync")) {
    env_.loop.post([finish] { finish({}); });
    return;
  }
  // The folder after the file: a name that survives leads to synced bytes.
  env_.disk.sync(file_, [this, alive = alive_, finish, generation = generation_](Status status) {
    if (!*alive) return;
    if (!status || dir_synced_ || generation != generation_ || planted("journal_no_dir_sync")) {
      finish(std::move(status));
      return;
    }
    env_.disk.sync_dir(options_.dir, [this, alive, finish, generation](Status dir_status) {
      if (!*alive) return;
      if (dir_status && generation == generation_) dir_synced_ = true;
      finish(std::move(dir_status));
    });
  });
}

void Journal::synced(Status status, size_t rows) {
  sync_failing_ = !status;
  if (!status) {
    counters_.sync_errors++;
    barrier_failed_ = barrier_waits_;
    env_.log.error("journal_sync_failed",
                   {{"error", status.error().text}, {"rows_to_repeat", uint64_t{unsynced_.size()}}});
    if (writing_) {
      failed_sync_ = true;  // the row under way ends first
    } else {
      leave_file(false);
      repeat_ = true;
    }
    return;
  }
  counters_.syncs++;
  for (; rows > 0; --rows) {
    unsynced_bytes_ -= ram_bytes(unsynced_.front());
    unsynced_.pop_front();
  }
  const uint64_t rows_synced = counters_.rows - unsynced_.size();
  while (!sync_waiters_.empty() && sync_waiters_.front().rows <= rows_synced) {
    env_.loop.post(std::move(sync_waiters_.front().done));
    sync_waiters_.pop_front();
  }
  if (!unsynced_.empty()) start_timer();
}

void Journal::leave_file(bool cut) {
  env_.disk.close(file_);
  open_ = false;
  generation_++;
  File& file = files_.back();
  if (file.bytes == 0) {
    // Nothing in it counts: what it was to repeat is in the file before.
    (void)env_.disk.remove(path(file.number));
    files_.pop_back();
  } else if (cut) {
    // A row that was written although the disk says it was not is not made; the next file says so too.
    (void)env_.disk.truncate(path(file.number), file.bytes);
  }
}

}  // namespace lambda::agent
