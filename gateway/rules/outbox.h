// Events on their way to others, on the disk until each receiver has them: a gateway that is killed, or whose
// uplink is away for a day, still delivers.
//
// Files outbox-<number>.lam (proto/record.md, kind 'O') hold records of JSON: type 1 an event and its receivers, type 2
// that a receiver is done with one.
//
// Invariants
// - Events leave in the order they came, for each receiver.
// - The files are at most `bytes_max`, and one event: past it the oldest file goes with what it still held (counted).
// - An id that was put is known until forget() after it was delivered to all: put() of it again does nothing. So what
//   rules say again after a crash is not told again.
// - A disk that takes nothing (counted, and said once) delays nothing: what could not be written lives in memory,
// within
//   the bound, and is written by a later sync().
//
// Loop thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

struct OutboxItem {
  uint64_t number = 0;
  std::string id;
  std::string body;   // JSON
  int64_t at_ms = 0;  // UTC: put
};

struct OutboxCounters {
  uint64_t put = 0, known = 0, finished = 0, dropped = 0, dropped_bytes = 0, write_errors = 0, damaged = 0;
};

class Outbox {
 public:
  using Recall = std::function<void(const std::string& note)>;
  // Reads what is there; damage is counted and survived. `recall` gets the notes of all events there are, in the order
  // in which these were put. The error is the folder's.
  static Result<std::unique_ptr<Outbox>> open(Env& env, const std::string& directory, uint64_t bytes_max,
                                              const Recall& recall = {});
  ~Outbox();

  // False: the id is known, and nothing was done. Without receivers only the id and the note are kept, which is for
  // whoever opens it next.
  bool put(const std::string& id, const std::vector<std::string>& receivers, const std::string& body,
           const std::string& note = "");
  // Events below this number may leave: what others have been told must be known after a crash.
  void release(uint64_t before) { released_ = std::max(released_, before); }
  // The oldest event that a receiver does not have and that may leave; null: none. Valid until the next call of
  // anything here.
  const OutboxItem* front(const std::string& receiver) const;
  // It has it, or never will.
  void finish(const std::string& receiver, uint64_t number);
  std::vector<std::string> receivers() const;  // that wait for something

  // All that was put survives a power cut when `done` says so. An error: try again later.
  void sync(std::function<void(Status)> done);
  // The number that the next event gets.
  uint64_t next_number() const { return next_number_; }
  // Deletes files of which every event is older than `before` and at all its receivers. The engine must not say them
  // again: the state that led to them is durable.
  void forget(uint64_t before);

  uint64_t bytes() const;    // of the files
  uint64_t waiting() const;  // deliveries
  const OutboxCounters& counters() const { return counters_; }

 private:
  struct Known {  // an event that was put, delivered or not
    uint64_t number = 0;
    std::string id, note;
  };
  struct File {
    std::string path;
    uint64_t bytes = 0;
    std::map<uint64_t, std::vector<std::string>> open;  // events, and the receivers that wait for them
    std::vector<Known> known;
    uint64_t last_event = 0;
    bool failed = false;  // takes no more
  };
  Outbox(Env& env, std::string directory, uint64_t bytes_max);
  Status read(const Recall& recall);
  void read_file(uint64_t number, const std::string& path);
  void write_event(uint64_t to, Known known, const std::vector<std::string>& receivers);
  void write(uint64_t file, uint8_t type, const std::string& body);
  uint64_t writable_file();
  void write_failed_again();
  void failed(uint64_t file, const Error& error);
  void take_over(File old);
  void close_current();
  void drop_file(uint64_t number);
  void enforce_bound();
  void settle(uint64_t number, const std::string& receiver);

  Env& env_;
  const std::string directory_;
  const uint64_t bytes_max_;
  std::map<uint64_t, File> files_;
  uint64_t next_file_ = 1, next_number_ = 1, released_ = 0;
  bool failing_ = false;  // told already
  uint64_t current_ = 0;  // file being written; 0: none
  FileId handle_ = 0;
  std::map<uint64_t, OutboxItem> items_;
  std::map<uint64_t, uint64_t> file_of_;  // of items_
  std::map<std::string, std::deque<uint64_t>> queues_;
  std::unordered_map<std::string, uint64_t> ids_;  // and how many files have them
  OutboxCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
