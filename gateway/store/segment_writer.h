// Writes the segment of arrivals: one append and one sync for each batch, one batch at a time.
//
// Invariants
// - done(ok) only after the sync that covers the batch, and after the folder was synced for a new file.
// - After a failed append or sync nothing more is written to that file: it is cut at the last good sync, the cut is
//   synced, and only then a new file is begun. A failed sync is never asked again.
// - A file that passed `segment_bytes_max` ends with an End record in the same batch.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

inline constexpr std::string_view kSegmentPrefix = "seg-";
std::string segment_path(const std::string& directory, uint64_t number);

class SegmentWriter {
 public:
  struct Counters {
    uint64_t syncs = 0, sync_errors = 0, append_errors = 0;
  };
  // Numbers are taken from `*next_number`, which is shared with the merger.
  SegmentWriter(Env& env, std::string directory, uint64_t segment_bytes_max, uint64_t* next_number);
  ~SegmentWriter();

  // Where the first byte of the next batch will stand. Only while not busy().
  struct Place {
    uint64_t segment = 0;
    uint64_t offset = 0;
  };
  Place place();

  bool busy() const { return busy_; }
  // Writes whole records; `records` of them. `done` runs from the loop, not after this object is gone; on an error
  // nothing of the batch may be believed (kFull: the disk is). Only while not busy().
  void write(std::vector<std::byte> batch, uint64_t records, std::function<void(Status)> done);

  // The file being written, 0: none. Its length as far as it is synced.
  uint64_t active() const { return file_ == 0 ? 0 : number_; }
  uint64_t synced_bytes() const { return synced_; }
  // Where the last good batch ends in its file.
  uint64_t last_end() const { return last_end_; }
  // The next batch begins a new file. Only while not busy().
  void roll();
  const Counters& counters() const { return counters_; }

 private:
  struct Flight;
  void launch(std::shared_ptr<Flight> flight);
  void finish(const std::shared_ptr<Flight>& flight, Status status);
  void sync_again(const std::shared_ptr<Flight>& flight);
  void cut(const std::shared_ptr<Flight>& flight, const Error& error);
  void close();

  Env& env_;
  std::string directory_;
  uint64_t segment_bytes_max_;
  uint64_t* next_number_;
  Counters counters_;
  bool busy_ = false;
  FileId file_ = 0;
  uint64_t number_ = 0;  // of the open file, or the one place() has promised
  uint64_t synced_ = 0;
  uint64_t last_end_ = 0;
  uint64_t records_ = 0;
  bool begun_ = false;  // the file's name is synced
  struct Cut {
    uint64_t number;
    uint64_t bytes;
  };
  std::vector<Cut> uncut_;  // files with a doubtful tail; nothing is written before they are cut
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace lambda::gateway
