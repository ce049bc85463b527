// The spool: signed parcels on disk until a gateway has them. Format and rules: proto/spool.md.
//
// Invariants, and what each crash point leaves
// - append() says "done" only after the parcel's sync: what is offered to a gateway is never forgotten. A crash before
//   leaves the points in the journal; a parcel whose bytes happen to be there all the same is simply found spooled.
// - One batch of records is written and synced at a time, and applied to the state after the sync. So a checkpoint,
//   which begins every file, speaks of synced records only.
// - A file is never appended to by two processes, and never again after an error: a failed append or sync is not asked
//   again; the file is cut where the last good batch ended, a new file begins, the batch is written there once more.
// - At start the newest file with a whole checkpoint is read to its end, then synced (kill -9 leaves written bytes that
//   no sync covered), and only then a new file begins, a parcel of that file is offered to anybody, and journals are
//   read against it. If the sync fails the file is written once more, until that is durable: base/record/write_again.h.
//   A newer file without a whole checkpoint held nothing.
// - A parcel is given up (bound, refused, corrupt) in one step with the pending gaps for its points: they reach RAM
//   together, so every checkpoint has both or neither, and on disk the gaps are synced before the Settled record is
//   written, so a crash can only leave a gap too many: the gateway ignores a gap over points it has.
// - A file is removed only after a synced record or checkpoint said that everything in it is settled or given up. A
//   crash in between leaves a file that the next start finds finished.
// - A file that is gone or cannot be read leaves pending gaps for exactly what was in it, by what the checkpoints
//   around it say; proto/spool.md says what cannot be known. A gap too many is harmless, a hole is not.
// - Losing Settled records (they wait for the next batch) only means that parcels are sent again.
//
// Bounds: `bytes_max` for all files together with the journals (`extra_bytes`), `age_ms_max`: over it the oldest file
// goes. RAM: about 100 bytes a file, an index of at most `indices_max` files, one parcel, and 32 bytes a series for
// each boot that has something left here (a gateway may ask for its names, and a lost file is told by its ordinals).
// Nothing else grows with the backlog. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/spool/spool_state.h"
#include "base/env/env.h"

namespace lambda::agent {

struct SpoolOptions {
  std::string dir;
  uint64_t bytes_max = 1u << 30;
  int64_t age_ms_max = int64_t{7} * 24 * 3600 * 1000;
  uint64_t file_bytes = 0;  // 0: a sixteenth of bytes_max, within 64 KB and 16 MB
  uint32_t indices_max = 3;
  uint32_t bad_files_max = 8;  // quarantined files that are kept; older ones are removed
  uint32_t series_max = kSeriesMaxDefault;
  int64_t settled_flush_ms = 1'000;
  int64_t retry_ms = 1'000;  // after an error of the disk
};

struct SpoolCounters {
  uint64_t parcels_written = 0, points_written = 0, bytes_written = 0, batches = 0;
  uint64_t parcels_settled = 0, points_settled = 0;
  uint64_t points_dropped_bytes = 0, points_dropped_age = 0, points_refused = 0, points_corrupt = 0;
  uint64_t parcels_given_up = 0, files_dropped = 0, files_removed = 0;
  uint64_t append_errors = 0, sync_errors = 0;
  uint64_t records_damaged = 0, files_bad = 0, files_missing = 0;
};

class Spool {
 public:
  using Done = std::function<void(Status)>;

  Spool(Env& env, SpoolOptions options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Reads what is there. Damaged files are counted, named and put aside; an error means that the folder itself is of no
  // use.
  Status open();
  // Makes what open() read durable and begins a file. Records may be queued before; they are written then. `durable`
  // (may be empty) runs from the loop when what was found is believed: late, or never, while the disk takes nothing.
  void start(std::function<void()> durable = {});
  bool started() const { return started_; }

  SpoolState& state() { return state_; }
  const SpoolState& state() const { return state_; }

  // A new boot, durable before any parcel of it because records keep their order.
  Boot& begin_boot(uint64_t id, uint64_t previous, int64_t started_ms, std::shared_ptr<SeriesTable> series,
                   std::vector<uint8_t> hello_signature);
  // Says a boot's head again, when its hello was signed later.
  void tell_boot(const Boot& boot);

  // Takes an Up message. Success: it is synced, in the state, and next() finds it. It does not fail while this lives:
  // errors of the disk are tried again in another file; kInvalid if the message is no parcel.
  void append(std::span<const uint8_t> up, const Digest& digest, Done done);
  uint64_t waiting_bytes() const { return waiting_bytes_; }

  // The boot's first parcel after `after_seq` and below `before_seq` that is neither settled nor given up, and is known
  // to be durable. Gives up what turns out to be unreadable.
  bool next(uint64_t boot, uint64_t after_seq, uint64_t before_seq, uint64_t* seq, size_t* up_bytes);
  // The Up message, byte for byte as before; empty if it cannot be read, and then it is given up. Valid until the next
  // call.
  std::span<const uint8_t> read(uint64_t boot, uint64_t seq);

  void settled(uint64_t boot, uint64_t first_seq, uint64_t last_seq);
  // Gives a parcel up; its points become pending gaps. What a parcel without points named is not named again.
  void refused(uint64_t boot, uint64_t seq);
  // Adds pending gaps that do not come from a parcel.
  void add_gaps(uint64_t boot, const std::vector<Gap>& gaps);

  // Applies the bounds; `extra_bytes` is what else the agent has on disk. Called by the owner now and then.
  void enforce(uint64_t extra_bytes);
  // Writes what waits, Settled records too, and syncs it.
  void flush(Done done);
  // The same, and begins another file: its checkpoint says where everything went on that was written until now, so that
  // any one file may be lost and its ordinals are still known. For an orderly end, after which no journal says it.
  void finish(Done done);
  // Renames a file to *.bad; the oldest of those go over bad_files_max.
  void quarantine(const std::string& name);

  uint64_t bytes() const;
  uint64_t parcels_left() const;
  uint64_t points_left() const;
  bool failing() const { return failing_; }
  bool ready() const { return open_; }
  const SpoolCounters& counters() const { return counters_; }

 private:
  struct Op {
    std::vector<std::byte> record;
    bool durable = false;
    bool begins_file = false;
    std::function<void(uint64_t offset)> apply;  // after the sync; `offset` of the record in the present file
    Done done;
  };
  struct Entry {
    uint64_t boot = 0;
    uint64_t seq = 0;
    uint64_t offset = 0;
    uint32_t parcel_bytes = 0;
    uint32_t points = 0;
  };
  struct Index {
    uint64_t file = 0;
    std::vector<Entry> entries;  // by boot, seq
  };
  struct Content {
    std::vector<std::pair<uint64_t, Gap>> lost;  // boot, what
    std::vector<FileRun> seqs;                   // the unsettled ones it speaks of
  };

  // spool.cpp: writing
  void sync_found();
  void write_found_again();
  void found_durable();
  void queue(Op op);
  void pump();
  void begin_file();
  void file_begun(uint64_t number, Status status);
  void batch_written(Status status);
  void batch_synced(Status status);
  void leave_file(const Status& status);
  void retry_later();
  void start_flush_timer();
  void flush_settled();
  void sweep();
  std::string path(uint64_t number) const;

  void remove_file(uint64_t number);
  void give_up(const std::vector<FileRun>& seqs, const std::vector<std::pair<uint64_t, Gap>>& lost, Done done);
  void drop_oldest(GapReason reason);

  // spool_read.cpp: start-up and reading
  // Applies the checkpoint at the head of a file; returns the offset behind it.
  Result<uint64_t> read_head(uint64_t number, SpoolState* state, Covers* covers);
  void read_tail(SpoolFile& file, uint64_t from, bool newest);
  void match_files(const std::vector<uint64_t>& numbers);
  void read_headless(const std::vector<uint64_t>& numbers, uint64_t base);
  Index* index_of(SpoolFile& file);
  Entry* find(uint64_t boot, uint64_t seq, SpoolFile** file);
  SpoolFile* file_of(uint64_t boot, uint64_t seq);
  // What goes with the unsettled parcels of a file: of unreadable ones always (it follows from the others, reason
  // CORRUPT), of readable ones too when `reason` is given.
  Content content_of(const SpoolFile& file, const GapReason* reason);
  // Visits the parcels of a file that can be read. Error: the file cannot.
  Status scan(const SpoolFile& file, const std::function<void(const SpooledView&, const ParcelFacts&)>& visit);
  // Ordinals of these boots that were in parcels of the files `first` to `last` and are in none that can be read: what
  // the checkpoints around them say was added there, less what is found. With `reaches_back` more than that was in
  // them, down to the boot's first points: then all that is not in an unsettled parcel is named, and what a gateway has
  // of it the gateway passes over. Reads those files and their neighbours; with `reaches_back` all files.
  std::map<uint64_t, GapSet> lost_in(uint64_t first, uint64_t last, const std::set<uint64_t>& boots, bool reaches_back);
  void unreadable(SpoolFile* file, const FileRun& seqs);
  uint64_t take_points(uint64_t boot, uint64_t seq);

  Env& env_;
  const SpoolOptions options_;
  const uint64_t file_bytes_;
  SpoolState state_;
  SpoolCounters counters_;

  std::deque<Op> ops_;
  std::vector<Op> batch_;
  std::shared_ptr<std::vector<std::byte>> buffer_ = std::make_shared<std::vector<std::byte>>();
  uint64_t waiting_bytes_ = 0;
  bool started_ = false;
  bool open_ = false;
  bool busy_ = false;
  bool failing_ = false;
  FileId file_ = 0;
  SpoolFile present_;  // bytes: up to the last good batch
  Index present_index_;
  uint64_t next_number_ = 1;
  uint64_t found_ = 0;  // number of the file that open() read, until it is durable; 0: none
  std::function<void()> durable_;
  std::list<Index> indices_;  // most recently used first
  std::vector<std::byte> body_;
  std::vector<uint8_t> up_;
  std::vector<uint64_t> damaged_;                           // files to quarantine instead of removing them
  std::deque<std::pair<std::string, uint64_t>> bad_files_;  // name, bytes
  uint64_t bad_bytes_ = 0;
  bool dropping_ = false;
  bool sweeping_ = false;
  uint64_t extra_bytes_ = 0;
  EventLoop::TimerId flush_timer_ = 0;
  EventLoop::TimerId retry_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::agent
