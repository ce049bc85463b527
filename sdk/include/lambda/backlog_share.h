// How many parcels of the backlog may be in flight: as many as keep answers quick.
//
// At the gateway everything waits in one line, so each backlog parcel that many devices send ahead makes what is fresh
// wait. A full window is needed only while the way there is long; beyond that it makes the line longer and nothing
// faster. So the share follows the time to the answer, as delay-based congestion windows do (RFC 6817 is the best
// known): it shrinks in proportion while answers take more than `kBacklogDelayMs` over the least that was seen of this
// path, and grows by one for each window of answers that are quick, faster until the first that is not.
//
// The least seen is remembered for ten to twenty minutes and counts as at most kBacklogPathMsMax: a device that joins
// while the line is long takes the line for the path. At least one parcel may always go.
// Whole numbers only; about 48 bytes; not thread-safe. Times are monotonic milliseconds.
#pragma once

#include <stdint.h>

namespace lambda {

inline constexpr uint32_t kBacklogDelayMs = 100;    // time in line that the backlog may cause
inline constexpr uint32_t kBacklogPathMsMax = 700;  // the slowest path whose own time is believed: a far satellite's
inline constexpr uint32_t kBacklogParcelsMax = 1u << 20;

class BacklogShare {
 public:
  // `parcels_max`: at most kBacklogParcelsMax count.
  explicit BacklogShare(uint32_t parcels_max);

  // A new connection, perhaps to another gateway: what was learned of the path is forgotten.
  void begin(int64_t now_ms);
  // A parcel of either lane that was sent once, at `sent_ms`, is answered. `used`: the backlog had as many in flight as
  // it may.
  void answered(int64_t sent_ms, int64_t now_ms, bool used);
  // A backlog parcel was put off by the gateway, or its answer did not come in time.
  void refused(int64_t sent_ms, int64_t now_ms);

  uint32_t parcels() const { return parcels_; }  // 1 to parcels_max
  uint64_t shrunk() const { return shrunk_; }    // how often

 private:
  uint32_t path_ms() const;
  void note(uint32_t took_ms, int64_t now_ms);
  void shrink_to(uint32_t parcels, int64_t now_ms);

  const uint32_t parcels_max_;
  uint32_t parcels_ = 1;
  uint32_t quick_ = 0;         // quick answers since it last grew
  uint32_t least_ms_[2] = {};  // in this period and in the one before
  int64_t period_ms_ = 0;      // when this one began
  int64_t shrunk_ms_ = 0;      // answers to what was sent before say nothing of the present share
  uint64_t shrunk_ = 0;
  bool starting_ = true;  // no answer was slow yet
};

// In its place where there is no backlog.
class NoBacklogShare {
 public:
  explicit NoBacklogShare(uint32_t) {}
  void begin(int64_t) {}
  void answered(int64_t, int64_t, bool) {}
  void refused(int64_t, int64_t) {}
  uint32_t parcels() const { return 0; }
  uint64_t shrunk() const { return 0; }
};

}  // namespace lambda
