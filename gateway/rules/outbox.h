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
// - A disk that takes nothing (counted) delays nothing: what could not be written lives in memory, within the bound.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

struct OutboxItem {
  uint64_t number = 0;
  std::string id;
  std::string body;  // JSON
};

struct OutboxCounters {
  uint64_t put = 0, known = 0, finished = 0, dropped = 0, dropped_bytes = 0, write_errors = 0, damaged = 0;
};

class Outbox {
 public:
  // Reads what is there; damage is counted and survived. The error is the folder's.
  static Result<std::unique_ptr<Outbox>> open(Env& env, const std::string& directory, uint64_t bytes_max);
  ~Outbox();

  // False: the id is known, and nothing was done. Without receivers only the id is kept.
  bool put(const std::string& id, const std::vector<std::string>& receivers, const std::string& body);
  // The oldest event a receiver does not have; null: none. Valid until the next call of anything here.
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
  struct File {
    std::string path;
    uint64_t bytes = 0;
    std::map<uint64_t, std::vector<std::string>> open;  // events, and the receivers that wait for them
    std::vector<std::string> ids;
    uint64_t last_event = 0;
    bool failed = false;  // takes no more
  };
  Outbox(Env& env, std::string directory, uint64_t bytes_max);
  Status read();
  void read_file(uint64_t number, const std::string& path);
  void write(uint64_t file, uint8_t type, const std::string& body);
  uint64_t writable_file();
  void write_failed_again();
  uint64_t note_again(uint64_t number, const std::string& id);
  void failed(uint64_t file);
  void close_current();
  void drop_file(uint64_t number);
  void enforce_bound();
  void settle(uint64_t number, const std::string& receiver);

  Env& env_;
  const std::string directory_;
  const uint64_t bytes_max_;
  std::map<uint64_t, File> files_;
  uint64_t next_file_ = 1, next_number_ = 1;
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
