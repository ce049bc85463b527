// The journal's writer: points that are in no parcel yet, on disk. Format and rules: proto/spool.md.
//
// Invariants
// - A point is made when the append of its row succeeded, and then only: `done` of append() says so, and the series'
//   next_ordinal grows at that moment. A row that could not be written used up no ordinal.
// - One append is written at a time, so a failed one is the last of its file: nothing that counts stands behind it. It
//   takes what has come meanwhile with it, up to about `write_bytes`: all of that is made, or none.
// - Every row that was written and not yet synced is also in RAM. After any error (append, sync, or of the folder) the
//   file is left for good, a new one begins at the last synced ordinals and repeats those rows: nothing that a failed
//   sync pretended to keep is believed, and the sync is never asked again.
// - A file is released only by its owner, when all its points are in synced parcels. Releasing removes it (or renames
//   it to kept-*): a crash before or after that changes nothing, because points below `covered` are skipped.
//
// kill -9: rows written are in the page cache; the reader finds all of them, the last one perhaps torn (not made).
// Power cut: what was synced is there, that is all but the last `journal_sync_ms`, and the names of files, because the
// folder is synced with a file's first sync. A file whose name was lost held nothing that was called synced.
//
// after_sync() is for those who must not say a word before that: it asks for a sync at once, and all who ask while one
// is under way share the next.
//
// Bounds: `rows_waiting_max` appends queue for the disk; over it append() fails and the points are not made.
// `unsynced_bytes_max` is for the rows in RAM that no sync has covered: past half of it a sync comes early, over it
// append() fails too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/spool/journal_format.h"
#include "base/env/env.h"

namespace lambda::agent {

struct JournalOptions {
  std::string dir;
  int64_t sync_ms = 1'000;
  uint64_t file_bytes = 1u << 20;  // a round begins another file when the present one is larger
  bool keep = false;
  uint32_t rows_waiting_max = 64;
  uint64_t unsynced_bytes_max = 8u << 20;
  uint64_t write_bytes = 256u << 10;  // several appends that wait are one write up to here
};

struct JournalCounters {
  uint64_t rows = 0, points = 0, points_unmade = 0, bytes = 0, syncs = 0, append_errors = 0, sync_errors = 0,
           rows_repeated = 0;
};

class Journal {
 public:
  // Success: the points are made. The row is handed back.
  using Done = std::function<void(Status, const Row&)>;

  // `table` gives types and takes the ordinals; it and `env` outlive this. `first_number`: above all files there.
  Journal(Env& env, JournalOptions options, JournalHead head, SeriesTable& table, uint64_t first_number);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Writes the points of one moment. All series in it are in the table. `done` runs from the loop.
  void append(Row row, Done done);

  // Of several moments, all or none of them, in one clock segment; a series' points in the order in which they are to
  // count; at most kRowsPointsMax. `made` runs for each row in turn, when the ordinals of its points are the last ones
  // of their series; `done` behind them.
  using RowMade = std::function<void(const Row&)>;
  using RowsDone = std::function<void(Status, std::span<const Row>)>;
  // With a `request` it is known of a start after this one that the rows are made, too: they are that request's.
  void append(std::vector<Row> rows, RowMade made, RowsDone done,
              const std::optional<RequestNote>& request = std::nullopt);
  // The requests that each new file begins with, besides those whose rows it has itself: all whose rows are made.
  void carry_requests(std::function<std::vector<RequestNote>()> made) { requests_made_ = std::move(made); }

  // Calls `done` from the loop when everything that is made now is synced. While the disk fails it waits.
  void after_sync(std::function<void()> done);
  // Everything made is in synced parcels: who waits for a sync need not any more.
  void settle();

  // Calls `done` when all rows appended so far were decided, and what comes later goes into a file of a higher number:
  // the points of the files below that number, which is handed over, are all in the caller's hands. With `force`
  // always, else only if the file is over `file_bytes`.
  void rotate(bool force, std::function<void(uint64_t number)> done);

  // All points in files below `number` are in synced parcels.
  void release_below(uint64_t number);

  // Writes and syncs everything that waits.
  void flush(std::function<void(Status)> done);

  uint64_t bytes() const;                  // of the files that are not released
  std::vector<JournalFile> files() const;  // those
  uint64_t first_number() const { return first_number_; }
  uint64_t next_number() const { return next_number_; }
  // Gives up the oldest closed file, whatever is in it. False when only the present one is left.
  bool drop_oldest(uint64_t* points);
  const JournalCounters& counters() const { return counters_; }
  bool failing() const { return failing_; }

 private:
  enum class JobKind { kRow, kRotate, kFlush };
  struct Job {
    JobKind kind = JobKind::kRow;
    std::vector<Row> rows;
    RowMade made;
    RowsDone done;
    std::optional<RequestNote> request;
    bool force = false;
    std::function<void(uint64_t)> rotated;
    std::function<void(Status)> flushed;
  };
  struct File {
    uint64_t number = 0;
    uint64_t bytes = 0;
    uint64_t points = 0;
  };

  void pump();
  bool run_barrier(Job& job);
  void write(size_t jobs);
  Status begin_file(const Row* first);
  void encode(std::span<const Row> rows);
  bool mark_is_due(const Job& job, uint64_t bytes) const;
  void mark();
  void written(Status status);
  void fail_written(const Status& status);
  void make(Job& job);
  void sync_now();
  void synced(Status status, size_t rows);
  void leave_file(bool cut);
  void start_timer();
  void sync_as_asked();
  std::string path(uint64_t number) const;

  Env& env_;
  const JournalOptions options_;
  JournalHead head_;
  SeriesTable& table_;
  std::function<std::vector<RequestNote>()> requests_made_;
  uint64_t first_number_;
  uint64_t next_number_;

  std::deque<Job> jobs_;
  uint32_t rows_waiting_ = 0;
  std::deque<Row> unsynced_;  // made, in order, since the last good sync
  uint64_t unsynced_bytes_ = 0;
  std::deque<File> files_;  // the last one is the present one while open_
  bool open_ = false;
  FileId file_ = 0;
  uint64_t generation_ = 0;  // of the present file: answers about an earlier one say nothing
  bool dir_synced_ = false;
  bool repeat_ = false;        // unsynced_ must be written again
  uint32_t declared_ = 0;      // refs below were declared in the present file,
  size_t declared_again_ = 0;  // and so many of those that the table gave to other series than the boot before
  uint64_t rows_in_file_ = 0;
  uint64_t since_mark_bytes_ = 0;
  uint64_t mark_bytes_ = 0;   // the last one
  bool rows_at_end_ = false;  // the last record is a Rows
  uint32_t clock_ = 0;        // segment that the present file is in
  JournalEncoder encoder_;
  std::shared_ptr<std::vector<std::byte>> buffer_ = std::make_shared<std::vector<std::byte>>();
  bool writing_ = false;
  size_t writing_jobs_ = 0;  // so many of jobs_ are being written, besides repeats
  bool syncing_ = false;
  bool failed_sync_ = false;     // noticed while a row was being written
  bool barrier_waits_ = false;   // jobs_.front() waits for a sync
  bool barrier_failed_ = false;  // and that one failed
  bool failing_ = false;
  struct SyncWaiter {
    uint64_t rows;  // made when it asked
    std::function<void()> done;
  };
  std::deque<SyncWaiter> sync_waiters_;
  uint64_t since_sync_bytes_ = 0;
  bool sync_failing_ = false;
  bool making_ = false;
  EventLoop::TimerId timer_ = 0;
  JournalCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Removes a journal file whose points are all in synced parcels, or renames it for an audit.
Status release_journal_file(Disk& disk, const std::string& dir, uint64_t number, bool keep);

}  // namespace lambda::agent
