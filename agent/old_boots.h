// Boots of earlier starts whose journals still hold points, in a long outage perhaps many: a bounded number of them is
// made into parcels at a time, the others wait on disk.
//
// A boot that is in hand has its series in RAM (about 150 KB for 1,000 series) from the moment its journals are read
// until a gateway has all its parcels. So at most `boots_max` are: further journals are neither read nor held, only
// their names and heads are known (about 100 bytes a file), and they are taken up, oldest first, as those before are
// finished. The present boot never waits. A boot that made parcels counts among them but is never put off: the spool
// knows how far its seqs and ordinals came, so its series are there anyway.
//
// What waits counts for the bound of the spool. When no spool file is left that could go, the oldest boot that waits is
// given up: its points are counted, said in the log, and its journals removed. No gap names them, the one loss that the
// gateway does not hear of: a gap a series for each of any number of boots would have to be held until it is there. The
// chain of previous boots says that there was one.
// Loop thread only; everything handed in outlives this.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "agent/rounds.h"
#include "agent/spool/journal_replay.h"
#include "agent/spool/packer.h"
#include "agent/spool/spool.h"

namespace lambda::agent {

struct JournalContent {
  uint64_t points = 0;  // that can be read
  uint64_t lost = 0;    // before them in the boot, or between them
};
// What is in journals of one boot. Reads all of them.
JournalContent count_journals(Env& env, const std::string& dir, std::vector<JournalFile> files, uint32_t series_max);

class OldBoots {
 public:
  struct Parts {
    Env& env;
    Spool& spool;
    Rounds& rounds;
    const Packer& packer;
    const SigningKey& key;
    std::string dir;
    uint32_t series_max = kSeriesMaxDefault;
    uint32_t boots_max = 16;
  };
  explicit OldBoots(Parts parts) : parts_(parts) {}

  // The journals that a start found, by number; the spool is open. Takes up as many boots as may be.
  void found(std::vector<JournalFile> files);
  // The boot that a next one comes after, of those in the spool and those that wait; 0: none.
  uint64_t newest() const;
  // Takes up what may be taken up now; to be called now and then. `present` does not count.
  void take_up(uint64_t present);
  // Gives up the oldest boot that waits, and says how many points that were. False: none waits.
  bool drop_oldest(uint64_t* points);

  uint64_t waiting() const { return waiting_.size(); }  // boots
  uint64_t waiting_bytes() const;

 private:
  struct Waiting {
    JournalHead head;
    std::vector<JournalFile> files;
  };
  void begin(Waiting boot);
  bool comes_after(uint64_t later, uint64_t earlier) const;

  Parts parts_;
  std::deque<Waiting> waiting_;  // oldest first
};

}  // namespace lambda::agent
