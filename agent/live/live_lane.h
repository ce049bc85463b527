// The agent's half of the live lane: what gateways want to see at once leaves at once, beside the blocks that are the
// record. Messages: proto/parcel.md, "The live lane"; why it is so: docs/decisions/0009-live-lane.md.
//
// Invariants
// - Only points that are made (in the journal) are sent, with the ordinals they have there.
// - Nothing is sent but for an interest within its lease; leases run on monotonic time.
// - A selector is asked about a series once for each content of an interest, not for each point.
// - It takes nothing from the block lane: it sends only while the bus has little on its way, at most `bytes_per_s`,
//   and what waits past `points_waiting_max` is dropped, the oldest first: the block brings it, and what is fresh is
//   what was asked for. Without an interest a row costs one comparison.
//
// A series that begins to be wanted is sent with its open block, all that is in no parcel yet, so that nothing lacks
// between what the gateway has stored and what comes now. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/spool/journal_format.h"
#include "agent/spool/series_table.h"
#include "base/env/env.h"
#include "base/result.h"
#include "lambda/messages.h"
#include "query/matcher.h"

namespace lambda::agent {

struct LiveOptions {
  bool enabled = true;
  uint64_t bytes_per_s = 256u << 10;         // and as much at once
  uint64_t points_waiting_max = 20'000;      // 40 bytes each
  uint64_t message_bytes_max = 32u << 10;    // what does not fit goes with the next message
  uint64_t outgoing_bytes_max = 256u << 10;  // on the bus, of both lanes: with more on its way this lane waits
  int64_t batch_ms = 50;                     // points of so long share a message
  int64_t lease_s_max = 300;                 // a longer lease counts as this
};

struct LiveCounters {
  uint64_t interests = 0, interests_left_out = 0, selectors_refused = 0, messages = 0, bytes = 0, points = 0,
           points_dropped = 0, blocks_dropped = 0, declarations = 0, waits = 0;
};

// How it reaches the rest of the agent; all must outlive it.
struct LivePorts {
  // Publishes on `live` with QoS 0. An error: nothing was sent.
  std::function<Status(std::span<const uint8_t> message)> publish;
  std::function<uint64_t()> outgoing_bytes;  // on the bus
  // The open block of a series, as SeriesStore::copy_open().
  std::function<size_t(SeriesRef ref, std::span<uint8_t> out)> open_block;
};

inline constexpr size_t kInterestsMax = 8;  // gateways; of more the one whose lease ends first gives way

class LiveLane {
 public:
  // `device` and `site`: the labels `instance` and `site` that selectors may name.
  LiveLane(Env& env, LiveOptions options, std::string device, std::string site, LivePorts ports);
  ~LiveLane();
  LiveLane(const LiveLane&) = delete;
  LiveLane& operator=(const LiveLane&) = delete;

  // Points are of this boot from now on; what waits is dropped.
  void begin_boot(uint64_t boot, std::shared_ptr<const SeriesTable> table);
  void connected();
  void disconnected();
  // An Interest message. Malformed ones and those of a higher version change nothing; nor does one that is older than
  // what this start of the gateway said last.
  void interest(std::span<const uint8_t> message);
  // Some lease may be running: only then rows need to be told.
  bool listening() const { return lease_end_ms_ != 0; }
  // A row that was made: each point has the ordinal before its series' next one.
  void row(const Row& row);

  const LiveCounters& counters() const { return counters_; }
  size_t points_waiting() const { return points_.size(); }
  // Gateways whose lease runs.
  size_t interests() const;

 private:
  // What one gateway wants.
  struct Interest {
    std::string gateway;
    bool heard = false;
    uint64_t incarnation = 0;
    uint64_t version = 0;
    int64_t until_ms = 0;  // monotonic
    std::vector<std::string> texts;
    std::vector<query::MatcherSet> selectors;
  };
  // What is known of one series: a bit for each of interests_.
  struct Watch {
    uint8_t asked = 0;      // that the interest's selectors were asked
    uint8_t matches = 0;    // of these
    bool begun = false;     // its open block was sent, or waits to be, and so does all that was made since
    bool declared = false;  // to those who listen now
    uint64_t sent_first = 0, sent_end = 0;  // ordinals of the open block that was sent last
  };
  struct Waiting {
    SeriesRef ref = 0;
    uint32_t clock = 0;
    uint64_t ordinal = 0;
    Point point{};
  };
  class Message;

  int64_t now_ms() const { return env_.clock.mono_ms(); }
  Interest* place_for(std::string_view gateway);
  void take_selectors(std::span<const uint8_t> message, Interest& interest);
  uint8_t running();
  Watch& watch(SeriesRef ref);
  bool wanted(SeriesRef ref, uint8_t running);
  void look(SeriesRef ref, Watch& watch, uint8_t unknown);
  void begin(SeriesRef ref, Watch& watch);
  void begin_anew();
  void drop_waiting();
  void stop_sending();
  void wake(int64_t delay_ms);
  void tick();
  bool may_send();
  bool send_message();
  bool add_open_blocks(Message& message);
  bool add_points(Message& message);
  bool declare(Message& message, SeriesRef ref);

  Env& env_;
  const LiveOptions options_;
  const std::string device_, site_;
  const LivePorts ports_;
  uint64_t boot_ = 0;
  std::shared_ptr<const SeriesTable> table_;
  std::vector<Interest> interests_;
  uint64_t newest_version_ = 0;  // of the interest that came last: what messages name
  int64_t lease_end_ms_ = 0;     // the last of them; 0: none
  int64_t declared_ms_ = 0;      // when all were to be declared again
  std::vector<Watch> watches_;   // by ref
  std::deque<SeriesRef> open_;   // whose open blocks wait; each once, so series_max is their bound
  std::deque<Waiting> points_;
  SeriesRef scan_next_ = 0;  // series that are still to be asked about a new interest; 0: none
  bool connected_ = false;
  double budget_bytes_;
  int64_t budget_at_us_;
  EventLoop::TimerId timer_ = 0;
  std::vector<uint8_t> space_, block_;
  std::vector<LabelView> labels_;
  LiveCounters counters_;
};

}  // namespace lambda::agent
