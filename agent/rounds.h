// Makes parcels of points: of what is in memory, each seal round, and of what old journals still hold. One job at a
// time, one parcel at a time, each synced in the spool before the next is built, so that its seq, its place in the
// chain and the series it must declare are known.
//
// Order within a live round: the journal goes on in a new file (if the present one is large), everything in memory is
// sealed, parcels are made until nothing is loose, and only when all of them are synced the journal files before are
// released. A crash at any point leaves each point in a journal, in the spool, or in both (then `covered` says so).
// Order within a replay: a piece of an old journal, its parcels, a flush of the spool, then its files are released.
// Nothing begins before the spool has started: what it found at the start says which points of old journals are in
// parcels already, and must be durable before a point is left out for that.
// Loop thread only.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "agent/memory/memory.h"
#include "agent/spool/journal.h"
#include "agent/spool/journal_replay.h"
#include "agent/spool/packer.h"
#include "agent/spool/spool.h"

namespace lambda::agent {

struct RoundsCounters {
  uint64_t rounds = 0, points_packed = 0, points_recovered = 0, points_too_large = 0, points_memory = 0,
           journals_damaged = 0;
};

class Rounds {
 public:
  struct Parts {
    Env& env;
    Memory& memory;
    Spool& spool;
    Packer& packer;
    std::string dir;
    bool keep_journals = false;
  };

  Rounds(Parts parts, std::function<void()> parcels_made) : parts_(parts), parcels_made_(std::move(parcels_made)) {}
  ~Rounds() { *alive_ = false; }
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;

  // The boot whose points are in memory, and its journal. Both outlive this, or the next call.
  void set_present(uint64_t boot, Journal& journal);
  // A round over everything in memory; `done` (may be empty) when its parcels are synced and its journals released.
  // With `force` the journal begins a new file whatever its size. Rounds that wait already are not doubled.
  void live(bool force, std::function<void()> done);
  // Old journals of one boot, by number.
  void replay(uint64_t boot, std::vector<JournalFile> files);
  // A parcel with these declarations, and with pending gaps of the boot.
  void declare(uint64_t boot, std::vector<uint32_t> refs);
  // Parcels for gaps of boots that make none otherwise.
  void name_gaps();
  // Runs `task` when all jobs before it are done.
  void then(std::function<void()> task);

  // The spool has started: jobs given before begin now.
  void spool_started() { run(); }

  bool idle() const { return !running_ && jobs_.empty(); }
  bool live_waiting() const { return live_waiting_; }
  size_t replays_left() const { return replays_left_; }
  uint64_t replay_bytes() const;  // of the old journals that are not released yet
  const RoundsCounters& counters() const { return counters_; }

 private:
  enum class Kind { kLive, kReplay, kDeclare, kGaps, kTask };
  struct Job {
    Kind kind = Kind::kTask;
    uint64_t boot = 0;
    bool force = false;
    std::vector<uint32_t> refs;
    std::vector<JournalFile> files;
    std::function<void()> done;
  };

  void add(Job job);
  void run();
  void end();
  void run_live(const Job& job);
  void run_replay();
  void finish_piece(const ReplayPiece& piece, uint64_t boot);
  void pack(uint64_t boot, std::shared_ptr<PackInput> input, bool live, std::function<void()> done);
  void add_memory_gaps();
  void tell_clocks(Boot& boot, PackInput& input);

  Parts parts_;
  std::function<void()> parcels_made_;
  uint64_t present_ = 0;
  Journal* journal_ = nullptr;
  std::deque<Job> jobs_;
  bool running_ = false;
  bool live_waiting_ = false;
  size_t replays_left_ = 0;
  std::unique_ptr<JournalReplay> replay_;
  size_t clocks_told_ = 0;  // of the present boot
  RoundsCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::agent
